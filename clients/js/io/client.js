import { saltFor } from '../core/choice.js'
import { hmacSha256 } from '../core/digest.js'
import { DownloadError, LoginError, ModelError, NoModelError, OldAppError, UnsupportedError } from '../core/errors.js'
import { failed, progress, ready } from '../core/state.js'
import { Configs } from './configs.js'
import { openDatabase } from './database.js'
import { askToPersist, deviceIdIn, emptyCache } from './device.js'
import { EventQueue } from './events.js'
import { ModelCache } from './models.js'
import { Products } from './products.js'
import { Recognition } from './recognition.js'
import { Repeater } from './repeater.js'
import { SalesQueue } from './sales.js'
import { Server } from './server.js'
import { synchronise } from './sync.js'
import { Tabs, exclusively } from './tabs.js'
import { listen } from './triggers.js'

/**
 * @typedef {import('../core/events.js').EventKind} EventKind
 * @typedef {import('../core/events.js').Facts} Facts
 * @typedef {import('../core/retention.js').Use} Use
 * @typedef {import('../core/state.js').State} State
 * @typedef {import('./database.js').Database} Database
 * @typedef {import('./database.js').Model} Model
 * @typedef {import('./live.js').LiveRecogniser} LiveRecogniser
 *
 * @typedef {object} Options
 * @property {string} serverUrl
 * @property {string} channel id
 * @property {string} [token] of the channel or the device
 * @property {readonly string[]} [trustedKeys] key ids of the pairing link; may be left out once the device is paired
 * @property {string} [appVersion] of the page; without one, versions that ask for an app are not for it
 * @property {string} [platform]
 * @property {string} [tier] of the device: low, mid, high or any
 * @property {(state: State) => void} [onState] hears every change
 * @property {() => void} [onSales] hears that the queue of sales is another one, in whichever tab
 */

const JITTER_MS = 3_000 // not all tills of a shop at once

/**
 * Return the client of a channel. It looks for news at once, every 30 minutes, when the network is back, and when the
 * server says that there are some; what is cached can be used before.
 *
 * @param {Options} options
 * @returns {Promise<Client>}
 * @throws {UnsupportedError} the page or the browser lacks what it takes, or the device is not paired
 */
export async function openClient(options) {
  if (!globalThis.isSecureContext || !globalThis.crypto?.subtle) {
    throw new UnsupportedError('browsers let only pages of https and localhost check what they download: open it so')
  }
  const address = new URL(options.serverUrl, globalThis.location?.href).href.replace(/\/+$/, '')
  const name = `shelfsight ${options.channel} ${address}`
  const client = new Client(await openDatabase(name), name, options)
  try {
    await client.start()
  } catch (error) {
    client.close()
    throw error
  }
  return client
}

/** What a page has of a channel: its recogniser, its products, and the sales that are not sent yet. */
export class Client {
  #database
  #name
  #options
  #server
  #cache
  #configs
  #events
  #products
  #looker
  #tabs
  #state = progress(null)
  #version = /** @type {string | null} */ (null)
  #deviceId = ''
  #heardSequence = 0
  #recognition
  #unlisten = () => {}

  /**
   * Use `openClient`.
   *
   * @param {Database} database
   * @param {string} name of what its tabs have in common
   * @param {Options} options
   */
  constructor(database, name, options) {
    const { serverUrl, channel, token, platform = 'web', tier = 'any' } = options
    this.#database = database
    this.#name = name
    this.#options = options
    this.#server = new Server({ serverUrl, token, onSequence: (sequence) => this.#onSequence(sequence) })
    this.#cache = new ModelCache(database)
    this.#configs = new Configs(database, this.#server, { channel, platform, tier })
    this.#events = new EventQueue(database, this.#server, { channel, lock: `${name} events` })
    this.#products = new Products(database, this.#server, channel)
    this.#recognition = new Recognition(
      database,
      this.#cache,
      (kind, facts, about) => this.#report(kind, facts, about),
      (error) => this.#onRefused(error),
    )
    this.#tabs = new Tabs(name, (message) => this.#onTab(message))
    this.#looker = new Repeater((signal) => this.#look(signal), { isPeriodic: true, isFinal })
    const onChange = () => {
      this.#tabs.tell({ kind: 'sales' })
      options.onSales?.()
    }
    const makeRoom = () => this.#cache.sweep({ hard: true })
    this.salesQueue = new SalesQueue(database, this.#server, { channel, lock: `${name} sales`, onChange, makeRoom })
  }

  /** @returns {State} */
  get state() {
    return this.#state
  }

  /** Begin; `openClient` has done so. */
  async start() {
    await this.#configs.pair(this.#options.trustedKeys ?? [])
    this.#deviceId = await deviceIdIn(this.#database)
    this.#heardSequence = await this.#configs.sequence()
    await this.#readVersion()
    this.#become(this.#version === null ? progress(null) : ready(this.#version))
    this.#unlisten = listen({
      onOnline: () => this.#wake(Math.random() * JITTER_MS),
      onVisible: () => this.#wake(this.#looker.isOverdue ? 0 : null),
      onLeave: () => this.#events.sendLastWords(),
    })
    this.#wake(0)
  }

  /**
   * Look for news now, and return how things are then.
   *
   * @param {{ signal?: AbortSignal }} [options] what has arrived when it is ended is not asked for again
   * @returns {Promise<State>}
   */
  async sync({ signal } = {}) {
    await this.#looker.now(signal).catch((error) => {
      if (signal?.aborted) throw error // anything else is in the state
    })
    return this.#state
  }

  /**
   * Return the recogniser, from what is cached. It stays the same when versions change.
   *
   * @returns {Promise<LiveRecogniser>}
   * @throws {NoModelError} nothing is cached yet: wait until the state is `ready`
   */
  async load() {
    try {
      return await this.#recognition.load()
    } catch (error) {
      if (error instanceof DownloadError) this.#looker.wake() // a part of it is gone from the device
      throw error
    }
  }

  /**
   * Return what the channel sells: as the server says now, or, where it does not answer, as it said last.
   *
   * @param {{ signal?: AbortSignal, cachedOnly?: boolean }} [options] `cachedOnly`: do not wait for the server
   * @returns {Promise<import('./products.js').ProductList | null>} null: it was never there
   * @throws {LoginError} the server does not take the token
   */
  productList(options) {
    return this.#products.list(options)
  }

  /**
   * Report that a person chose another product than the recogniser's answer.
   *
   * @param {{ from: string, to: string, confidence: number }} correction product ids; `confidence` of the answer
   */
  correct({ from, to, confidence }) {
    const facts = { productId: from, correctProductId: to, confidence }
    return this.#report('correction', facts, { version: this.#version, isShadow: false })
  }

  /** Send what is reported now; it is sent by itself after a while. */
  async sendEvents() {
    await this.#events.send()
  }

  /** Return what a person who looks for a fault wants to know. */
  async diagnostics() {
    const [use, config, sales, events] = await Promise.all([
      this.#cache.use(),
      this.#configs.last(),
      this.salesQueue.outcome(),
      this.#events.count(),
    ])
    const [previous, shadow] = await Promise.all([this.#cache.model(use.previous), this.#cache.model(use.shadow)])
    const { usage, quota } = (await globalThis.navigator?.storage?.estimate?.()) ?? {}
    return {
      state: this.#state,
      version: this.#version,
      previousVersion: previous?.version ?? null,
      shadowVersion: shadow?.version ?? null,
      sequence: use.sequence,
      configExpiresAt: config?.expiresAt ?? null,
      backend: await this.#recognition.backend(),
      modelBytes: await this.#cache.sizeBytes(),
      usedBytes: usage ?? null,
      quotaBytes: quota ?? null,
      sales: { waiting: sales.waiting, refused: sales.refused.length },
      events,
    }
  }

  /**
   * Empty the cache, and begin anew. Sales that are not sent stay.
   *
   * @returns {Promise<{ unsentSales: number, words: string }>}
   */
  async clear() {
    const left = await this.#empty({ isLogout: false })
    this.#tabs.tell({ kind: 'cleared' })
    this.#wake(0)
    return { unsentSales: left, words: `The cache is empty.${unsentWords(left, 'as soon as possible')}` }
  }

  /**
   * Empty the cache and forget the pairing; the client is closed then. Sales that are not sent stay.
   *
   * @returns {Promise<{ unsentSales: number, words: string }>}
   */
  async logout() {
    const left = await this.#empty({ isLogout: true })
    this.#tabs.tell({ kind: 'logged-out' })
    this.#leave()
    return { unsentSales: left, words: `This device is logged out.${unsentWords(left, 'after the next login')}` }
  }

  /** End everything; what is cached stays. */
  close() {
    for (const one of [this.#looker, this.#events, this.salesQueue]) one.stop()
    this.#unlisten()
    this.#tabs.close()
    this.#recognition.dispose()
    this.#database.close()
  }

  /** @param {AbortSignal} signal */
  async #look(signal) {
    const before = this.#state
    try {
      await exclusively(`${this.#name} sync`, () => synchronise(this.#means(signal)), signal)
      this.#heardSequence = Math.max(this.#heardSequence, await this.#configs.sequence())
      if (this.#version !== null) this.#become(ready(this.#version))
    } catch (error) {
      this.#become(signal.aborted ? before : failed(error, this.#version))
      throw error
    }
  }

  /**
   * @param {AbortSignal} signal
   * @returns {import('./sync.js').Means}
   */
  #means(signal) {
    const tell = (/** @type {number} */ received, /** @type {number} */ total) => {
      this.#become(progress(this.#version, received, total))
      this.#tabs.tell({ kind: 'progress', received, total })
    }
    return {
      configs: this.#configs,
      cache: this.#cache,
      server: this.#server,
      device: { deviceId: this.#deviceId, appVersion: this.#options.appVersion },
      trial: (model) => this.#recognition.prepare(model),
      onProgress: tell,
      onUse: () => this.#onUse(),
      report: (kind, reason, about) => this.#report(kind, { reason }, about),
      signal,
    }
  }

  async #onUse() {
    await this.#readVersion()
    this.#tabs.tell({ kind: 'use' })
    await this.#recognition.follow()
    await askToPersist(this.#database).catch(() => {}) // it is no more than a wish
  }

  /** @param {ModelError} error */
  async #onRefused(error) {
    await this.#readVersion()
    this.#become(failed(error, this.#version))
    this.#tabs.tell({ kind: 'use' })
  }

  async #readVersion() {
    const { active } = await this.#cache.use()
    this.#version = (await this.#cache.model(active))?.version ?? null
  }

  /**
   * @param {EventKind} kind
   * @param {Facts} facts
   * @param {{ version: string | null, isShadow: boolean }} about
   */
  async #report(kind, facts, { version, isShadow }) {
    try {
      const config = version === null ? null : await this.#configs.last()
      const salt = config && version !== null ? saltFor(config, version, { isShadow }) : null
      const device = salt === null ? null : await hmacSha256(salt, this.#deviceId)
      await this.#events.add(kind, facts, { version, device })
    } catch {
      // What is reported must be in nobody's way: the client may be closed by now.
    }
  }

  /** @param {State} state */
  #become(state) {
    if (JSON.stringify(state) === JSON.stringify(this.#state)) return
    this.#state = state
    this.#options.onState?.(state)
  }

  /** @param {number} sequence that the channel has, as any answer may say */
  #onSequence(sequence) {
    if (sequence <= this.#heardSequence) return
    this.#heardSequence = sequence
    this.#looker.wake(Math.random() * JITTER_MS)
  }

  /** @param {number | null} delayMs until the look for news; null: no look */
  #wake(delayMs) {
    if (delayMs !== null) this.#looker.wake(delayMs)
    this.salesQueue.wake().catch(() => {}) // the database may be closed by now
    this.#events.wake().catch(() => {})
  }

  /** @param {{ kind: string, received?: number, total?: number }} message of another tab */
  async #onTab({ kind, received, total }) {
    if (kind === 'progress') {
      this.#become(progress(this.#version, received, total))
      if (!this.#looker.isRunning) this.#looker.wake() // our turn comes when that tab is done, or closed
    }
    if (kind === 'sales') this.#options.onSales?.()
    if (kind === 'stop') this.#looker.cancel()
    if (kind === 'logged-out') return this.#leave()
    if (kind !== 'use' && kind !== 'cleared') return
    if (kind === 'cleared') {
      this.#products.forget()
      await this.#recognition.dispose()
    }
    await this.#readVersion()
    this.#become(this.#version === null ? progress(null) : ready(this.#version))
    if (this.#version !== null) await this.#recognition.follow().catch(() => this.#looker.wake())
  }

  /** @param {{ isLogout: boolean }} how */
  async #empty(how) {
    this.#tabs.tell({ kind: 'stop' })
    this.#looker.cancel()
    const left = await exclusively(`${this.#name} sync`, () => emptyCache(this.#database, how))
    this.#products.forget()
    await this.#recognition.dispose()
    this.#version = null
    this.#become(progress(null))
    return left
  }

  #leave() {
    this.#version = null
    this.#become(failed(new LoginError('logged out'), null))
    this.close()
  }
}

/**
 * Return whether a failure to look for news is none that passes in seconds.
 *
 * @param {unknown} error
 */
function isFinal(error) {
  return [LoginError, ModelError, NoModelError, OldAppError, UnsupportedError].some((kind) => error instanceof kind)
}

/**
 * @param {number} unsentSales
 * @param {string} when they are sent
 */
function unsentWords(unsentSales, when) {
  if (unsentSales === 0) return ''
  const sales = unsentSales === 1 ? 'sale is not sent yet: it stays' : 'sales are not sent yet: they stay'
  return ` ${unsentSales} ${sales} on this device and will be sent ${when}.`
}
