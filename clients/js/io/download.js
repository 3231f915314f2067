import { DownloadError, ModelError, NoModelError } from '../core/errors.js'
import { sizeBytes } from '../core/weights.js'

/**
 * @typedef {import('../core/weights.js').WeightGroup} WeightGroup
 * @typedef {import('../core/bundle.js').Metadata} Metadata
 * @typedef {import('../core/bundle.js').ModelFile} ModelFile
 *
 * @typedef {(progress: { receivedBytes: number, totalBytes: number }) => void} OnProgress
 */

/**
 * Return what metadata.json says.
 *
 * @param {URL} base folder of the bundle, ends in a slash
 * @returns {Promise<Metadata>}
 * @throws {NoModelError} there is no bundle
 * @throws {DownloadError}
 * @throws {ModelError} it names no labels
 */
export async function fetchMetadata(base) {
  const metadata = /** @type {Metadata} */ (await fetchJson(new URL('metadata.json', base)))
  if (!Array.isArray(metadata.labels)) throw new ModelError('metadata.json names no labels: train again')
  return metadata
}

/**
 * Return the topology, and the weights as one buffer per file.
 *
 * @param {URL} base folder of the bundle, ends in a slash
 * @param {OnProgress} onProgress called for every piece that arrives
 * @returns {Promise<{ topology: object, specs: import('../core/weights.js').WeightSpec[], data: ArrayBuffer[] }>}
 * @throws {NoModelError} there is no bundle
 * @throws {DownloadError} a file did not arrive whole
 * @throws {ModelError} model.json is not that of a TensorFlow.js layers model
 */
export async function fetchModel(base, onProgress) {
  const url = new URL('model.json', base)
  const model = /** @type {ModelFile} */ (await fetchJson(url))
  const groups = model.weightsManifest
  if (!Array.isArray(groups)) throw new ModelError('model.json names no weights: train again')
  const totalBytes = groups.reduce((total, group) => total + sizeBytes(group), 0)
  let receivedBytes = 0
  /** @param {number} count */
  const advance = (count) => {
    receivedBytes += count
    onProgress({ receivedBytes, totalBytes })
  }
  const fetched = groups.map((group) => Promise.all(group.paths.map((path) => fetchBytes(new URL(path, url), advance))))
  const data = await Promise.all(fetched)
  data.forEach((buffers, index) => requireWhole(groups[index], buffers))
  return { topology: model.modelTopology, specs: groups.flatMap((group) => group.weights), data: data.flat() }
}

/**
 * @param {WeightGroup} group
 * @param {ArrayBuffer[]} buffers
 */
function requireWhole(group, buffers) {
  const found = buffers.reduce((total, buffer) => total + buffer.byteLength, 0)
  if (found !== sizeBytes(group)) {
    throw new DownloadError(`${group.paths.join(', ')} should have ${sizeBytes(group)} bytes, ${found} came`)
  }
}

/** @param {URL} url */
async function fetchJson(url) {
  const response = await fetchOk(url)
  return response.json().catch((cause) => {
    throw new DownloadError(`${url.pathname} is not JSON`, { cause })
  })
}

/**
 * @param {URL} url
 * @param {(count: number) => void} advance called with the size of every piece
 */
async function fetchBytes(url, advance) {
  const { body } = await fetchOk(url)
  if (!body) throw new DownloadError(`${url.pathname} came empty`)
  const counting = new TransformStream({
    transform(piece, controller) {
      advance(piece.byteLength)
      controller.enqueue(piece)
    },
  })
  return new Response(body.pipeThrough(counting)).arrayBuffer().catch((cause) => {
    throw new DownloadError(`${url.pathname} was cut off`, { cause })
  })
}

/** @param {URL} url */
async function fetchOk(url) {
  // `latest` may name another version any time: always ask, which costs a 304 when nothing has changed.
  const response = await fetch(url, { cache: 'no-cache' }).catch((cause) => {
    throw new DownloadError(`${url.pathname} cannot be reached`, { cause })
  })
  if (response.status === 404) throw new NoModelError(`${url.pathname} does not exist`)
  if (!response.ok) throw new DownloadError(`${url.pathname} was answered with status ${response.status}`)
  return response
}
