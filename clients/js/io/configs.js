import { ConfigRefusedError, NoModelError, UnsupportedError } from '../core/errors.js'
import { acceptConfig } from '../core/trust.js'
import { write } from './database.js'
import { bodyOf, throwUnlessOk } from './server.js'

/**
 * @typedef {import('../core/trust.js').Config} Config
 * @typedef {import('../core/trust.js').Trust} Trust
 * @typedef {import('./database.js').Database} Database
 * @typedef {import('./server.js').Server} Server
 *
 * @typedef {Trust & { pairedWith: string[] }} Pairing `pairedWith`: the keys of the pairing link, where trust began
 */

/** What the channel's devices are to run: the last config that was accepted, and the next one. */
export class Configs {
  #database
  #server
  #channel
  #headers

  /**
   * @param {Database} database
   * @param {Server} server
   * @param {{ channel: string, platform: string, tier: string }} device
   */
  constructor(database, server, { channel, platform, tier }) {
    this.#database = database
    this.#server = server
    this.#channel = channel
    this.#headers = { 'x-app-platform': platform, 'x-device-tier': tier }
  }

  /**
   * Begin to trust, with the keys of a pairing link. The same link again changes nothing, whatever keys the channel has
   * by now, and so does one with keys that are trusted already. Another one begins anew, as with another server.
   *
   * @param {readonly string[]} keyIds empty: only what was paired before
   * @throws {UnsupportedError} nothing was, or they are no key ids
   */
  async pair(keyIds) {
    const pairedWith = [...new Set(keyIds)].sort()
    await write(this.#database, ['state'], async (transaction) => {
      const state = transaction.objectStore('state')
      const before = /** @type {Pairing | undefined} */ (await state.get('trust'))
      if (pairedWith.length === 0) {
        if (before) return
        throw new UnsupportedError('this device is not paired yet: open the pairing link of the shop')
      }
      if (before && before.pairedWith.join() === pairedWith.join()) return
      if (before && pairedWith.every((id) => before.keyIds.includes(id))) {
        await state.put({ ...before, pairedWith }, 'trust')
        return
      }
      await state.put({ channelId: this.#channel, keyIds: pairedWith, sequence: 0, pairedWith }, 'trust')
      await state.delete('config')
      const use = await state.get('use')
      if (use) await state.put({ ...use, sequence: 0 }, 'use') // another server counts for itself
    })
  }

  /** @returns {Promise<Config | null>} the last one that was accepted */
  async last() {
    return (await this.#database.get('state', 'config')) ?? null
  }

  /** @returns {Promise<number>} sequence of the last config that was accepted */
  async sequence() {
    return (await this.#database.get('state', 'trust'))?.sequence ?? 0
  }

  /**
   * Ask the server, and return what counts from now on.
   *
   * @param {AbortSignal} [signal]
   * @returns {Promise<Config>}
   * @throws {NoModelError} the channel has no model
   * @throws {ConfigRefusedError} what came must not be gone by
   * @throws {import('../core/errors.js').DownloadError} the server does not answer
   */
  async ask(signal) {
    const last = await this.last()
    const isGood = last !== null && new Date(last.expiresAt) > new Date()
    const text = await this.#fetch(isGood ? last.etag : null, signal)
    if (text === null) return /** @type {Config} */ (last)
    return this.#accept(text)
  }

  /**
   * @param {string} text
   * @returns {Promise<Config>}
   */
  async #accept(text) {
    const before = /** @type {Pairing} */ (await this.#database.get('state', 'trust'))
    const { config, state: trust } = await acceptConfig(text, before, new Date())
    await write(this.#database, ['state'], async (transaction) => {
      const state = transaction.objectStore('state')
      await state.put({ ...trust, pairedWith: before.pairedWith }, 'trust')
      await state.put(config, 'config')
    })
    return config
  }

  /**
   * @param {string | null} etag
   * @param {AbortSignal} [signal]
   * @returns {Promise<string | null>} null: it is still the one with this tag
   */
  #fetch(etag, signal) {
    const url = this.#server.api(`v1/channels/${encodeURIComponent(this.#channel)}/model-config`)
    const headers = { ...this.#headers, ...(etag && { 'if-none-match': etag }) }
    // The server must be asked each time: what it lets others keep for hours is no answer for a device.
    return this.#server.ask(url, { signal, cache: 'no-cache', headers }, async (response) => {
      if (response.status === 304 && etag) return null
      if (response.status === 404) throw new NoModelError(`the channel ${this.#channel} has no model`)
      throwUnlessOk(response)
      return bodyOf(response)
    })
  }
}
