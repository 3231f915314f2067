import { sha256 as digest } from '../core/digest.js'
import { ChecksumError, OfflineError } from '../core/errors.js'
import { howToRead, rangeHeaders } from '../core/parts.js'
import { throwUnlessOk } from './server.js'

/**
 * @typedef {import('../core/bundle.js').Piece} Piece
 * @typedef {import('./database.js').Part} Part
 * @typedef {import('./models.js').ModelCache} ModelCache
 * @typedef {import('./server.js').Server} Server
 *
 * @typedef {object} Source
 * @property {Server} server
 * @property {ModelCache} cache
 * @property {AbortSignal} [signal]
 */

const PART_BYTES = 256 * 1024
const TRIES = 2 // the second one begins with nothing: what was here already may have been the wrong part
const CUTS = 5 // a connection that breaks so often without a byte between is no connection
const PAUSE_MS = 500

// What is kept is checked by its hash and kept by us: a copy in the browser's own cache would be the second one, and
// one that arrived damaged would come from there again.
const CACHE = 'no-store'

/**
 * Return a small file, which must be the one that was published.
 *
 * @param {Source} source
 * @param {URL} url
 * @param {Piece} piece
 * @returns {Promise<string>}
 * @throws {ChecksumError} it is another one, twice
 * @throws {import('../core/errors.js').DownloadError}
 */
export async function fetchDocument({ server, signal }, url, piece) {
  for (let tries = 0; tries < TRIES; tries += 1) {
    const bytes = await server.ask(url, { signal, cache: CACHE }, bytesOf)
    const isRight = bytes.byteLength === piece.size && (await digest(bytes)) === piece.sha256
    if (isRight) return new TextDecoder().decode(bytes)
  }
  throw new ChecksumError(`${piece.path} is not the file that was published`)
}

/**
 * Get a shard into the cache, from where an earlier try has ended.
 *
 * @param {Source} source
 * @param {URL} url
 * @param {Piece} piece
 * @param {(receivedBytes: number) => void} onProgress
 * @throws {ChecksumError} what arrives is something else, twice
 * @throws {import('../core/errors.js').DownloadError}
 * @throws {import('../core/errors.js').NoRoomError}
 */
export async function fetchShard(source, url, piece, onProgress) {
  for (let tries = 0; tries < TRIES; tries += 1) {
    if (await arrives(source, url, piece, onProgress)) return
  }
  throw new ChecksumError(`${piece.path} is not the file that was published`)
}

/**
 * Get all of a shard, with a new request whenever the connection breaks; false if what arrived is something else.
 *
 * @param {Source} source
 * @param {URL} url
 * @param {Piece} piece
 * @param {(receivedBytes: number) => void} onProgress
 */
async function arrives(source, url, piece, onProgress) {
  const { cache, signal } = source
  let { end } = await cache.parts(piece)
  for (let cuts = 0; end < piece.size; ) {
    onProgress(end)
    const before = end
    end = await receive(source, url, piece, onProgress)
    cuts = end > before ? 0 : cuts + 1
    if (end === piece.size) break
    if (cuts >= CUTS || globalThis.navigator?.onLine === false) throw new OfflineError(`${piece.path} was cut off`)
    await pause(PAUSE_MS * cuts, signal)
  }
  return keep(source, piece)
}

/**
 * Receive what is missing of a shard, until it is whole or the connection breaks; return how many bytes are here.
 *
 * @param {Source} source
 * @param {URL} url
 * @param {Piece} piece
 * @param {(receivedBytes: number) => void} onProgress
 * @returns {Promise<number>}
 */
async function receive({ server, cache, signal }, url, piece, onProgress) {
  const { parts, end } = await cache.parts(piece)
  const headers = rangeHeaders({ offset: end, etag: parts.at(-1)?.etag ?? null, sha256: piece.sha256 })
  return server.ask(url, { signal, cache: CACHE, headers }, async (response, alive) => {
    const { status, headers: answered } = response
    if (status !== 416) throwUnlessOk(response)
    const contentRange = answered.get('content-range')
    const reading = howToRead({ status, contentRange }, { offset: end, size: piece.size })
    if (reading !== 'append') await cache.dropParts(piece.sha256)
    if (reading === 'start-over') {
      await response.body?.cancel()
      return 0
    }
    const inbox = new Inbox(cache, piece, reading === 'append' ? end : 0, answered.get('etag'))
    for await (const bytes of chunks(response)) {
      alive()
      await inbox.add(bytes)
      onProgress(inbox.end)
    }
    await inbox.flush()
    return inbox.end
  })
}

/** What arrives, written down in parts large enough to be worth a transaction. */
class Inbox {
  #cache
  #piece
  #etag
  #written
  /** @type {Uint8Array[]} */
  #waiting = []

  /**
   * @param {ModelCache} cache
   * @param {Piece} piece
   * @param {number} offset
   * @param {string | null} etag
   */
  constructor(cache, piece, offset, etag) {
    this.#cache = cache
    this.#piece = piece
    this.#etag = etag
    this.#written = this.end = offset
  }

  /** @param {Uint8Array} bytes */
  async add(bytes) {
    this.#waiting.push(bytes)
    this.end += bytes.byteLength
    if (this.end > this.#piece.size) {
      await this.#cache.dropParts(this.#piece.sha256)
      throw new ChecksumError(`${this.#piece.path} is longer than the file that was published`)
    }
    if (this.end - this.#written >= PART_BYTES) await this.flush()
  }

  async flush() {
    if (this.end === this.#written) return
    const bytes = joined(this.#waiting, this.end - this.#written)
    await this.#cache.addPart({ sha256: this.#piece.sha256, offset: this.#written, bytes, etag: this.#etag })
    this.#waiting = []
    this.#written = this.end
  }
}

/**
 * Put the parts of a shard together and keep it, if it is the one that was published; else drop them.
 *
 * @param {Source} source
 * @param {Piece} piece
 */
async function keep({ cache }, piece) {
  const { parts, end } = await cache.parts(piece)
  const bytes = joined(parts.map((part) => new Uint8Array(part.bytes)), end)
  if (end !== piece.size || (await digest(bytes)) !== piece.sha256) {
    await cache.dropParts(piece.sha256)
    return false
  }
  await cache.addShard(piece.sha256, bytes)
  return true
}

/**
 * Yield what arrives of an answer, until it ends or is cut off.
 *
 * @param {Response} response
 * @returns {AsyncGenerator<Uint8Array>}
 */
async function* chunks(response) {
  const reader = response.body?.getReader()
  try {
    while (reader) {
      const next = await reader.read().catch(() => null)
      if (!next || next.done) return
      yield next.value
    }
  } finally {
    reader?.cancel().catch(() => {}) // it may have been cut off; there is nothing to end then
  }
}

/**
 * @param {Uint8Array[]} pieces
 * @param {number} length
 * @returns {ArrayBuffer}
 */
function joined(pieces, length) {
  const whole = new Uint8Array(length)
  let offset = 0
  for (const piece of pieces) {
    whole.set(piece, offset)
    offset += piece.byteLength
  }
  return whole.buffer
}

/** @param {Response} response */
async function bytesOf(response) {
  throwUnlessOk(response)
  return response.arrayBuffer().catch((cause) => {
    throw new OfflineError(`${new URL(response.url).pathname} was cut off`, { cause })
  })
}

/**
 * @param {number} durationMs
 * @param {AbortSignal} [signal]
 */
async function pause(durationMs, signal) {
  if (durationMs > 0) await new Promise((resolve) => setTimeout(resolve, durationMs))
  signal?.throwIfAborted()
}
