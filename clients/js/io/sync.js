import {
  checkLabels,
  countOutputs,
  fileIn,
  parseManifest,
  parseMetadata,
  parseModel,
  weightPieces,
} from '../core/bundle.js'
import { choose } from '../core/choice.js'
import {
  BusyError,
  ChecksumError,
  ConfigRefusedError,
  DownloadError,
  ModelError,
  NoRoomError,
  OfflineError,
  OldAppError,
  UnsupportedError,
} from '../core/errors.js'
import { plainVersion } from '../core/versions.js'
import { fetchDocument, fetchShard } from './pieces.js'

/**
 * @typedef {import('../core/bundle.js').Piece} Piece
 * @typedef {import('../core/events.js').EventKind} EventKind
 * @typedef {import('../core/retention.js').Use} Use
 * @typedef {import('../core/trust.js').Config} Config
 * @typedef {import('../core/trust.js').ConfigFile} ConfigFile
 * @typedef {import('./configs.js').Configs} Configs
 * @typedef {import('./database.js').Model} Model
 * @typedef {import('./models.js').ModelCache} ModelCache
 * @typedef {import('./server.js').Server} Server
 *
 * @typedef {object} Means what it takes to look for news
 * @property {Configs} configs
 * @property {ModelCache} cache
 * @property {Server} server
 * @property {{ deviceId: string, appVersion?: string }} device
 * @property {(model: Model) => Promise<void>} trial throws a ModelError if a model does not work
 * @property {(receivedBytes: number, totalBytes: number) => void} onProgress of the model that is to answer
 * @property {(use: Use) => Promise<void>} onUse hears at once what is used from now on
 * @property {(kind: EventKind, reason: string, about: { version: string | null, isShadow: boolean }) => void} report
 * @property {AbortSignal} [signal]
 */

/**
 * Look for news, and use what is new. Whatever goes wrong, what is used stays as it was.
 *
 * @param {Means} means
 */
export async function synchronise(means) {
  const { configs, cache, device, signal, report } = means
  const config = await configs.ask(signal).catch((error) => {
    if (error instanceof ConfigRefusedError) report('config_failure', error.message, { version: null, isShadow: false })
    throw error
  })
  const { versions, shadow } = await choose(config, device)
  const { model, failure } = await firstThatWorks(means, config, versions)
  const shadowId = shadow && config.files[shadow] ? config.files[shadow].manifest.sha256 : null
  const wanted = { sequence: config.sequence, active: model.id, shadow: shadowId }
  const use = await activate(means, wanted)
  // The one that answers does not wait for the one that is only compared with it.
  const isMissing = shadow !== null && use.shadow === null
  const isDone = isMissing ? await addShadow(means, config, shadow, wanted) : true
  if (failure) throw failure
  if (isDone) await cache.sweep()
}

/**
 * Get the shadow, and let it run beside the active version; return false where that is to be tried again.
 *
 * @param {Means} means
 * @param {Config} config
 * @param {string} version
 * @param {{ sequence: number, active: string }} wanted
 */
async function addShadow(means, config, version, wanted) {
  try {
    const { id } = await obtain({ ...means, onProgress: () => {} }, config, version, { isShadow: true })
    await activate(means, { ...wanted, shadow: id })
    return true
  } catch (error) {
    means.signal?.throwIfAborted()
    return error instanceof ModelError
  }
}

/**
 * @param {Means} means
 * @param {{ sequence: number, active: string, shadow: string | null }} wanted
 * @returns {Promise<Use>}
 * @throws {DownloadError} the browser has removed a part of it meanwhile
 */
async function activate({ cache, onUse }, wanted) {
  const use = await cache.activate(wanted)
  if (!use) throw new DownloadError('a part of it is gone from this device')
  await onUse(use)
  return use
}

/**
 * Return the best version that can be had and works: the stable one where it is not the candidate.
 *
 * @param {Means} means
 * @param {Config} config
 * @param {string[]} versions the best first
 * @returns {Promise<{ model: Model, failure: DownloadError | null }>} `failure`: a better one may be had later
 */
async function firstThatWorks(means, config, versions) {
  /** @type {unknown} */
  let failure = new OldAppError('the channel’s versions are for a newer app')
  for (const version of versions) {
    try {
      const model = await obtain(means, config, version, { isShadow: false })
      return { model, failure: failure instanceof DownloadError ? failure : null }
    } catch (error) {
      if (!isOfOneVersion(error)) throw error
      failure = error
    }
  }
  throw failure
}

/**
 * Return whether another version may be had where this one was not: neither network, server nor device are to blame.
 *
 * @param {unknown} error
 */
function isOfOneVersion(error) {
  if (error instanceof OfflineError || error instanceof BusyError) return false
  return error instanceof ModelError || error instanceof DownloadError
}

/**
 * Return a model of which every part is in the cache, and which works.
 *
 * @param {Means} means
 * @param {Config} config
 * @param {string} version
 * @param {{ isShadow: boolean }} role
 * @returns {Promise<Model>}
 */
async function obtain(means, config, version, role) {
  const files = config.files[version]
  const about = { version, ...role }
  if (!files) throw new ModelError(`the config names no files of ${version}: publish it again`)
  const id = files.manifest.sha256
  const refused = await means.cache.refusal(id)
  if (refused) throw new ModelError(refused.reason)
  const cached = await means.cache.model(id)
  if (cached && (await means.cache.missing(cached.shards)).length === 0) return cached
  try {
    const model = await withRoom(means.cache, (room) => download(means, files, version, room))
    await means.trial(model)
    await means.cache.addModel(model)
    return model
  } catch (error) {
    await lament(means, error, { id, ...about })
    throw error
  }
}

/**
 * Get every part of a version into the cache, and return what it is.
 *
 * @param {Means} means
 * @param {ConfigFile} files
 * @param {string} version
 * @param {{ wanted: string[] }} room hears which shards must not be swept away
 * @returns {Promise<Model>}
 */
async function download(means, files, version, room) {
  const base = means.server.files(files.baseUrl)
  const document = (/** @type {Piece} */ piece) => fetchDocument(means, new URL(piece.path, base), piece)
  const plain = plainVersion(version)
  const manifest = parseManifest(await document({ path: 'manifest.json', ...files.manifest }), plain)
  const [model, metadata] = await Promise.all([
    document(fileIn(manifest, files.model)).then((text) => parseModel(text, files.model)),
    document(fileIn(manifest, 'metadata.json')).then(parseMetadata),
  ])
  checkLabels(metadata, countOutputs(model.modelTopology) ?? metadata.labels.length)
  const pieces = weightPieces(model, manifest)
  room.wanted = pieces.map(({ sha256 }) => sha256)
  await fetchMissing(means, base, pieces)
  return {
    id: files.manifest.sha256,
    version: plain,
    metadata,
    topology: model.modelTopology,
    specs: model.weightsManifest.flatMap(({ weights }) => weights),
    shards: pieces.map(({ sha256, size }) => ({ sha256, size })),
  }
}

/**
 * @param {Means} means
 * @param {URL} base
 * @param {Piece[]} pieces
 */
async function fetchMissing(means, base, pieces) {
  const missing = await means.cache.missing(pieces)
  const totalBytes = missing.reduce((total, { size }) => total + size, 0)
  let doneBytes = 0
  for (const piece of missing) {
    const onProgress = (/** @type {number} */ received) => means.onProgress(doneBytes + received, totalBytes)
    await fetchShard(means, new URL(piece.path, base), piece, onProgress)
    doneBytes += piece.size
    means.onProgress(doneBytes, totalBytes)
  }
}

/**
 * Do something that needs room on the device; where there is none, make some and do it again, once.
 *
 * @template T
 * @param {ModelCache} cache
 * @param {(room: { wanted: string[] }) => Promise<T>} work
 * @returns {Promise<T>}
 */
async function withRoom(cache, work) {
  const room = { wanted: /** @type {string[]} */ ([]) }
  try {
    return await work(room)
  } catch (error) {
    if (!(error instanceof NoRoomError)) throw error
    await cache.sweep({ hard: true, wanted: room.wanted })
    return work(room).catch(async (again) => {
      if (again instanceof NoRoomError) await cache.sweep() // what has arrived of it would be in the way of sales
      throw again
    })
  }
}

/**
 * Report why a version could not be had, and remember it if it never can.
 *
 * @param {Means} means
 * @param {unknown} error
 * @param {{ id: string, version: string, isShadow: boolean }} about
 */
async function lament({ cache, report, signal }, error, { id, version, isShadow }) {
  if (signal?.aborted) return
  const reason = error instanceof Error ? error.message : String(error)
  if (error instanceof ModelError) await cache.refuse({ id, version: plainVersion(version), reason })
  report(kindOf(error), reason, { version, isShadow })
}

/**
 * @param {unknown} error
 * @returns {EventKind}
 */
function kindOf(error) {
  if (error instanceof ChecksumError) return 'checksum_failure'
  return error instanceof ModelError || error instanceof UnsupportedError ? 'load_failure' : 'download_failure'
}
