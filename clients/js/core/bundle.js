import { ModelError } from './errors.js'
import { sizeBytes } from './weights.js'

/**
 * @typedef {import('./weights.js').WeightGroup} WeightGroup
 * @typedef {import('./weights.js').WeightSpec} WeightSpec
 *
 * @typedef {object} Piece a file that is known by its hash
 * @property {string} path relative to the folder of the version
 * @property {number} size bytes
 * @property {string} sha256
 *
 * @typedef {object} Manifest
 * @property {string} version
 * @property {string} channelId
 * @property {{ name: string, size: number, sha256: string }[]} files
 * @property {{ part: string, size: number, sha256: string }[]} blobs
 *
 * @typedef {object} Metadata the fields of metadata.json that a client uses
 * @property {string[]} labels product ids, in the order of the model's outputs
 * @property {string} [version] of the model
 * @property {string} [trainedAt] ISO 8601
 * @property {number} [imageSize] pixels
 * @property {number} [threshold] least confidence to believe, 0..1
 *
 * @typedef {object} ModelFile model.json, or model.shards.json
 * @property {object} modelTopology
 * @property {WeightGroup[]} weightsManifest
 */

const BLOB = /^(?:\.\.\/)*blobs\/([0-9a-f]{64})\.bin$/
const SHA256 = /^[0-9a-f]{64}$/

/**
 * Return what manifest.json says.
 *
 * @param {string} text
 * @param {string} version that it must be of, such as 1.4.2
 * @returns {Manifest}
 * @throws {ModelError} it is no manifest, or of another version
 */
export function parseManifest(text, version) {
  const manifest = /** @type {Manifest} */ (parse(text, 'manifest.json'))
  const { files, blobs = [] } = manifest
  if (!Array.isArray(files) || !Array.isArray(blobs) || ![...files, ...blobs].every(isEntry)) {
    throw new ModelError('manifest.json names no files with size and hash: publish again')
  }
  if (manifest.version !== version) {
    throw new ModelError(`manifest.json is of version ${manifest.version}, not of ${version}: publish again`)
  }
  return { ...manifest, blobs }
}

/**
 * Return what a manifest says of a file.
 *
 * @param {Manifest} manifest
 * @param {string} name
 * @returns {Piece}
 * @throws {ModelError} it does not name it
 */
export function fileIn(manifest, name) {
  const found = manifest.files.find((file) => file.name === name)
  if (!found) throw new ModelError(`manifest.json does not name ${name}: publish again`)
  return { path: name, size: found.size, sha256: found.sha256 }
}

/**
 * Return what the model's file says.
 *
 * @param {string} text
 * @param {string} name
 * @returns {ModelFile}
 * @throws {ModelError} it is not that of a TensorFlow.js layers model
 */
export function parseModel(text, name) {
  const model = /** @type {ModelFile} */ (parse(text, name))
  if (!Array.isArray(model.weightsManifest) || typeof model.modelTopology !== 'object' || !model.modelTopology) {
    throw new ModelError(`${name} is no TensorFlow.js layers model: train again`)
  }
  return model
}

/**
 * Return what metadata.json says.
 *
 * @param {string} text
 * @returns {Metadata}
 * @throws {ModelError} it names no labels
 */
export function parseMetadata(text) {
  const metadata = /** @type {Metadata} */ (parse(text, 'metadata.json'))
  if (!Array.isArray(metadata.labels)) throw new ModelError('metadata.json names no labels: train again')
  return metadata
}

/**
 * Return the pieces that hold a model's weights, in order.
 *
 * @param {ModelFile} model
 * @param {Manifest} manifest
 * @returns {Piece[]}
 * @throws {ModelError} the manifest does not name one, or they are not as long as the weights
 */
export function weightPieces(model, manifest) {
  return model.weightsManifest.flatMap((group) => {
    const pieces = group.paths.map((path) => pieceAt(path, manifest))
    const found = pieces.reduce((total, { size }) => total + size, 0)
    if (found !== sizeBytes(group)) {
      throw new ModelError(`${group.paths.join(', ')} should have ${sizeBytes(group)} bytes, not ${found}: train again`)
    }
    return pieces
  })
}

/**
 * Return how many probabilities a model answers with, as far as its topology says so.
 *
 * @param {object} topology
 * @returns {number | null} null where only building the model tells
 */
export function countOutputs(topology) {
  const { class_name: kind, config } = modelConfig(topology)
  const layers = Array.isArray(config) ? config : config?.layers
  if (!Array.isArray(layers)) return null
  const name = kind === 'Sequential' ? undefined : config.output_layers?.[0]?.[0]
  const last = name === undefined ? layers.at(-1) : layers.find((layer) => (layer.name ?? layer.config?.name) === name)
  if (last?.class_name === 'Dense') return last.config?.units ?? null
  return kind === 'Sequential' && last?.class_name === 'Sequential' ? countOutputs({ model_config: last }) : null
}

/**
 * Throw unless a model has one output for each label.
 *
 * @param {Metadata} metadata
 * @param {number} outputs
 * @throws {ModelError}
 */
export function checkLabels({ labels }, outputs) {
  if (labels.length !== outputs) {
    throw new ModelError(`the model has ${outputs} outputs for ${labels.length} labels: train again`)
  }
}

/**
 * @param {object} topology
 * @returns {any}
 */
function modelConfig(topology) {
  return /** @type {any} */ (topology).model_config ?? topology
}

/**
 * @param {string} path
 * @param {Manifest} manifest
 * @returns {Piece}
 */
function pieceAt(path, manifest) {
  const hash = BLOB.exec(path)?.[1]
  if (!hash) return fileIn(manifest, path)
  const found = manifest.blobs.find(({ sha256 }) => sha256 === hash)
  if (!found) throw new ModelError(`manifest.json does not name the blob ${hash}: publish again`)
  return { path, size: found.size, sha256: found.sha256 }
}

/**
 * @param {unknown} entry
 */
function isEntry(entry) {
  const { size, sha256 } = /** @type {{ size?: number, sha256?: string }} */ (entry ?? {})
  return Number.isSafeInteger(size) && Number(size) >= 0 && SHA256.test(sha256 ?? '')
}

/**
 * @param {string} text
 * @param {string} name
 * @returns {object}
 */
function parse(text, name) {
  let document
  try {
    document = JSON.parse(text)
  } catch (cause) {
    throw new ModelError(`${name} is not JSON: publish again`, { cause })
  }
  if (typeof document === 'object' && document !== null) return document
  throw new ModelError(`${name} is no JSON object: publish again`)
}
