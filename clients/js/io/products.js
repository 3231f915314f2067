import { DownloadError } from '../core/errors.js'
import { withNews } from '../core/products.js'
import { createSearch } from '../core/search.js'
import { write } from './database.js'
import { bodyOf, throwUnlessOk } from './server.js'

/**
 * @typedef {import('../core/products.js').Listing} Listing
 * @typedef {import('./database.js').Database} Database
 * @typedef {import('./server.js').Server} Server
 *
 * @typedef {Listing & { etag: string | null, at: string }} Kept `at`: when the server said so, ISO 8601
 * @typedef {Kept & { search: import('../core/search.js').Search }} ProductList
 */

/** What the channel sells, as the server said last. */
export class Products {
  #database
  #server
  #channel
  /** @type {ProductList | null} */
  #list = null

  /**
   * @param {Database} database
   * @param {Server} server
   * @param {string} channel
   */
  constructor(database, server, channel) {
    this.#database = database
    this.#server = server
    this.#channel = channel
  }

  /**
   * Return the list: the server's where it answers, else the last one; null where there is none either.
   *
   * @param {{ signal?: AbortSignal, cachedOnly?: boolean }} [options] `cachedOnly`: do not ask the server
   * @returns {Promise<ProductList | null>}
   * @throws {import('../core/errors.js').LoginError} the server does not take the token
   */
  async list({ signal, cachedOnly = false } = {}) {
    this.#list ??= searched(await this.#database.get('state', 'products'))
    if (cachedOnly) return this.#list
    try {
      const kept = await this.#news(this.#list, signal)
      if (kept) await this.#keep(kept)
    } catch (error) {
      if (!(error instanceof DownloadError) || signal?.aborted) throw error
    }
    return this.#list
  }

  /** After the cache was emptied. */
  forget() {
    this.#list = null
  }

  /** @param {Kept} kept */
  async #keep(kept) {
    this.#list = searched(kept)
    await write(this.#database, ['state'], (transaction) => transaction.objectStore('state').put(kept, 'products'))
  }

  /**
   * @param {Kept | null} before
   * @param {AbortSignal} [signal]
   * @returns {Promise<Kept | null>} null: it is as it was
   */
  async #news(before, signal) {
    const found = await this.#ask(before, signal)
    if (found === null) return null
    const listing = withNews(before, found.listing)
    if (listing) return { ...listing, etag: found.etag, at: new Date().toISOString() }
    if (!before) throw new DownloadError('the list of products is only a part of it')
    return this.#news(null, signal)
  }

  /**
   * @param {Kept | null} before
   * @param {AbortSignal} [signal]
   * @returns {Promise<{ listing: Listing, etag: string | null } | null>} null: it is as it was
   */
  #ask(before, signal) {
    const url = this.#server.api(`api/v1/channels/${encodeURIComponent(this.#channel)}/till/products`)
    if (before?.revision) url.searchParams.set('since', before.revision)
    const headers = { ...(before?.etag && { 'if-none-match': before.etag }) }
    return this.#server.ask(url, { signal, cache: 'no-cache', headers }, async (response) => {
      if (response.status === 304 && before) return null
      throwUnlessOk(response)
      return { listing: parse(await bodyOf(response)), etag: response.headers.get('etag') }
    })
  }
}

/**
 * @param {string} text
 * @returns {Listing}
 */
function parse(text) {
  let document
  try {
    document = JSON.parse(text)
  } catch (cause) {
    throw new DownloadError('the list of products is not JSON', { cause })
  }
  if (!Array.isArray(document?.products)) throw new DownloadError('the list of products has none')
  return document
}

/**
 * @param {Kept | undefined} kept
 * @returns {ProductList | null}
 */
function searched(kept) {
  return kept ? { ...kept, search: createSearch(kept.products) } : null
}
