import { BATCH_EVENTS, MOST_EVENTS, afterEvents, deviceEvent } from '../core/events.js'
import { DownloadError, LoginError } from '../core/errors.js'
import { write } from './database.js'
import { Repeater } from './repeater.js'
import { exclusively } from './tabs.js'

/**
 * @typedef {import('../core/events.js').EventKind} EventKind
 * @typedef {import('../core/events.js').Facts} Facts
 * @typedef {import('../core/events.js').DeviceEvent} DeviceEvent
 * @typedef {import('./database.js').Database} Database
 * @typedef {import('./server.js').Server} Server
 */

const SOON_MS = 10_000 // several go together
const LAST_WORDS = 50 // of a page that is closed: browsers let it send 64 KB

/** What the device reports, kept until the server has it: the newest 2,000. */
export class EventQueue {
  #database
  #server
  #channel
  #sender
  /** @type {DeviceEvent[]} of this tab, not sent yet */
  #recent = []
  #batch = BATCH_EVENTS

  /**
   * @param {Database} database
   * @param {Server} server
   * @param {{ channel: string, lock: string }} options
   */
  constructor(database, server, { channel, lock }) {
    this.#database = database
    this.#server = server
    this.#channel = channel
    const send = (/** @type {AbortSignal} */ signal) => exclusively(lock, () => this.#sendAll(signal), signal)
    this.#sender = new Repeater(send, { isFinal: (error) => error instanceof LoginError })
  }

  /**
   * Keep an event until it is sent. It must not be in anybody's way: what goes wrong with it is not said.
   *
   * @param {EventKind} kind
   * @param {Facts} facts
   * @param {{ version: string | null, device: string | null }} about
   */
  async add(kind, facts, about) {
    const event = deviceEvent(kind, facts, { id: crypto.randomUUID(), at: new Date(), ...about })
    this.#recent = [...this.#recent, event].slice(-LAST_WORDS)
    await this.#keep(event).catch(() => {})
    this.#sender.wake(SOON_MS)
  }

  /** @returns {Promise<{ waiting: number, dropped: number }>} dropped: since the cache was made */
  async count() {
    const waiting = await this.#database.count('events')
    return { waiting, dropped: (await this.#database.get('state', 'droppedEvents')) ?? 0 }
  }

  /** Send what waits, if anything does. */
  async wake() {
    if ((await this.#database.count('events')) > 0) this.#sender.wake()
  }

  /**
   * Send all that waits.
   *
   * @param {AbortSignal} [signal]
   */
  send(signal) {
    return this.#sender.now(signal)
  }

  /** Send the newest from a page that is being closed: it may be the last one. The server takes each once. */
  sendLastWords() {
    if (this.#recent.length > 0) this.#server.postAndLeave(this.#url(), this.#document(this.#recent))
  }

  stop() {
    this.#sender.stop()
  }

  /** @param {DeviceEvent} event */
  async #keep(event) {
    await write(this.#database, ['events', 'state'], async (transaction) => {
      const events = transaction.objectStore('events')
      await events.add({ event })
      const surplus = (await events.count()) - MOST_EVENTS
      if (surplus <= 0) return
      const oldest = await events.getAllKeys(null, surplus)
      await Promise.all(oldest.map((order) => events.delete(order)))
      await addDropped(transaction, surplus)
    })
  }

  /** @param {AbortSignal} signal */
  async #sendAll(signal) {
    for (;;) {
      const batch = await this.#database.getAll('events', null, this.#batch)
      if (batch.length === 0) return
      const document = this.#document(batch.map(({ event }) => event))
      const answer = await this.#server.post(this.#url(), document, { signal })
      const next = afterEvents(answer, batch.length)
      if (next === 'later') throw failureOf(answer.status)
      if (next === 'smaller') this.#batch = Math.ceil(batch.length / 2)
      else await this.#forget(batch, { isDropped: next === 'drop' })
    }
  }

  /**
   * @param {{ order?: number, event: DeviceEvent }[]} batch
   * @param {{ isDropped: boolean }} how
   */
  async #forget(batch, { isDropped }) {
    await write(this.#database, ['events', 'state'], async (transaction) => {
      await Promise.all(batch.map(({ order }) => transaction.objectStore('events').delete(Number(order))))
      if (isDropped) await addDropped(transaction, batch.length)
    })
    const gone = new Set(batch.map(({ event }) => event.id))
    this.#recent = this.#recent.filter(({ id }) => !gone.has(id))
    this.#batch = BATCH_EVENTS
  }

  #url() {
    return this.#server.api('api/v1/events')
  }

  /** @param {DeviceEvent[]} events */
  #document(events) {
    return { channelId: this.#channel, events }
  }
}

/**
 * @param {import('./database.js').Transaction} transaction
 * @param {number} count
 */
async function addDropped(transaction, count) {
  const state = transaction.objectStore('state')
  await state.put(((await state.get('droppedEvents')) ?? 0) + count, 'droppedEvents')
}

/** @param {number} status */
function failureOf(status) {
  const sentence = `events were answered with status ${status}`
  return status === 401 || status === 403 ? new LoginError(sentence) : new DownloadError(sentence)
}
