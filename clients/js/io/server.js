import { parseRetryAfter } from '../core/backoff.js'
import { BusyError, DownloadError, LoginError, OfflineError } from '../core/errors.js'

const PATIENCE_MS = 30_000

/**
 * @typedef {object} Asking
 * @property {AbortSignal} [signal]
 * @property {string} [method]
 * @property {Record<string, string>} [headers]
 * @property {string} [body]
 * @property {RequestCache} [cache]
 * @property {number} [patienceMs] without a byte
 */

/** The server of a channel, as a device asks it. */
export class Server {
  #base
  #token
  #onSequence

  /**
   * @param {object} options
   * @param {string} options.serverUrl
   * @param {string} [options.token] of the channel or the device
   * @param {(sequence: number) => void} [options.onSequence] hears which sequence the channel has, whenever it says so
   */
  constructor({ serverUrl, token, onSequence = () => {} }) {
    this.#base = new URL(`${serverUrl.replace(/\/+$/, '')}/`, globalThis.location?.href)
    this.#token = token
    this.#onSequence = onSequence
  }

  /**
   * @param {string} path without a slash in front
   */
  api(path) {
    return new URL(path, this.#base)
  }

  /**
   * Return where a config says that files are; a path is one of this server.
   *
   * @param {string} address
   */
  files(address) {
    return new URL(address, this.#base)
  }

  /**
   * Ask, and return what `read` makes of the answer, whatever its status.
   *
   * @template T
   * @param {URL} url
   * @param {Asking} asking
   * @param {(response: Response, alive: () => void) => Promise<T>} read calls `alive` when something has arrived
   * @returns {Promise<T>}
   * @throws {OfflineError} there is no answer, or `read` waits for too long
   */
  async ask(url, { signal, patienceMs = PATIENCE_MS, headers = {}, ...asking }, read) {
    signal?.throwIfAborted()
    const watch = new Watch(patienceMs, signal)
    try {
      const answer = fetch(url, { ...asking, headers: { ...headers, ...this.#identity(url) }, signal: watch.signal })
      const response = await answer.catch((cause) => {
        throw new OfflineError(`${url.pathname} cannot be reached`, { cause })
      })
      this.#hear(response)
      return await read(response, () => watch.begin())
    } catch (error) {
      throw signal?.aborted ? signal.reason : error
    } finally {
      watch.end()
    }
  }

  /**
   * Send JSON, and return status and JSON of the answer; null where it has none.
   *
   * @param {URL} url
   * @param {unknown} document
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<{ status: number, body: any }>}
   * @throws {OfflineError} there is no answer
   * @throws {BusyError} not now
   */
  post(url, document, { signal } = {}) {
    const headers = { 'content-type': 'application/json' }
    const asking = { method: 'POST', headers, body: JSON.stringify(document), signal }
    return this.ask(url, asking, async (response) => {
      const text = await bodyOf(response)
      throwIfBusy(response)
      return { status: response.status, body: parse(text) }
    })
  }

  /**
   * Send JSON and look for no answer, from a page that is being closed.
   *
   * @param {URL} url
   * @param {unknown} document
   */
  postAndLeave(url, document) {
    const headers = { 'content-type': 'application/json', ...this.#identity(url) }
    fetch(url, { method: 'POST', headers, body: JSON.stringify(document), keepalive: true }).catch(() => {})
  }

  /**
   * Return who asks, in the way in which the API and the delivery each let pages of other origins say so.
   *
   * @param {URL} url
   * @returns {Record<string, string>} empty for files elsewhere, on a CDN: the token is none of its business
   */
  #identity(url) {
    if (!this.#token || url.origin !== this.#base.origin) return {}
    const isApi = url.pathname.startsWith(`${this.#base.pathname}api/`)
    return isApi ? { authorization: `Bearer ${this.#token}` } : { apikey: this.#token }
  }

  /** @param {Response} response */
  #hear({ headers }) {
    const sequence = headers.get('x-shelfsight-sequence') ?? ''
    if (/^\d{1,15}$/.test(sequence)) this.#onSequence(Number(sequence))
  }
}

/**
 * Return the body of an answer as text.
 *
 * @param {Response} response
 * @returns {Promise<string>}
 * @throws {OfflineError} it was cut off
 */
export function bodyOf(response) {
  return response.text().catch((cause) => {
    throw new OfflineError(`${pathOf(response)} was cut off`, { cause })
  })
}

/**
 * Throw unless an answer is a good one.
 *
 * @param {Response} response
 * @throws {BusyError} @throws {LoginError} @throws {DownloadError}
 */
export function throwUnlessOk(response) {
  throwIfBusy(response)
  if (response.status === 401 || response.status === 403) {
    throw new LoginError(`${pathOf(response)} was answered with status ${response.status}: log in again`)
  }
  if (!response.ok) throw new DownloadError(`${pathOf(response)} was answered with status ${response.status}`)
}

/** @param {Response} response */
function throwIfBusy(response) {
  const { status, headers } = response
  if (status !== 429 && status !== 503) return
  const wishMs = parseRetryAfter(headers.get('retry-after'), new Date())
  throw new BusyError(`${pathOf(response)} was answered with status ${status}`, wishMs)
}

/** Ends a request that nothing has come of for too long, or that is not wanted any more. */
class Watch {
  #controller = new AbortController()
  #timer = /** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined)
  #patienceMs
  #outer
  #stop = () => this.#controller.abort()

  /**
   * @param {number} patienceMs
   * @param {AbortSignal | undefined} outer
   */
  constructor(patienceMs, outer) {
    this.#patienceMs = patienceMs
    this.#outer = outer
    outer?.addEventListener('abort', this.#stop)
    this.begin()
  }

  get signal() {
    return this.#controller.signal
  }

  begin() {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(this.#stop, this.#patienceMs)
  }

  end() {
    clearTimeout(this.#timer)
    this.#outer?.removeEventListener('abort', this.#stop)
  }
}

/** @param {Response} response */
function pathOf({ url }) {
  return url ? new URL(url).pathname : 'the request'
}

/**
 * @param {string} text
 * @returns {any} null if it is no JSON
 */
function parse(text) {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
