import { DownloadError, LoginError, NoRoomError, OfflineError, QueueFullError } from '../core/errors.js'
import { BATCH_SALES, MOST_SALES, QUEUE_FULL, settleSales } from '../core/sales.js'
import { write } from './database.js'
import { Repeater } from './repeater.js'
import { exclusively } from './tabs.js'

/**
 * @typedef {import('../core/sales.js').Sale} Sale
 * @typedef {import('../core/sales.js').Settled} Settled
 * @typedef {import('./database.js').Database} Database
 * @typedef {import('./database.js').QueuedSale} QueuedSale
 * @typedef {import('./server.js').Server} Server
 *
 * @typedef {object} Outcome how the sales on this device are
 * @property {number} waiting to be sent
 * @property {{ id: string, sale: Sale, reason: string }[]} refused the server does not take them as they are: somebody
 *   has to look, then `retry` or `dismiss`
 * @property {string} words
 */

const KEPT_RECEIPTS = 500

/** The sales of this device, each kept until the server has said that it has it. */
export class SalesQueue {
  #database
  #server
  #channel
  #sender
  #onChange
  #makeRoom

  /**
   * @param {Database} database
   * @param {Server} server
   * @param {object} options
   * @param {string} options.channel
   * @param {string} options.lock what tabs have that send
   * @param {() => void} [options.onChange] hears that the queue is another one
   * @param {() => Promise<void>} [options.makeRoom] removes from the device what can be had again
   */
  constructor(database, server, { channel, lock, onChange = () => {}, makeRoom = async () => {} }) {
    this.#database = database
    this.#server = server
    this.#channel = channel
    this.#onChange = onChange
    this.#makeRoom = makeRoom
    const send = (/** @type {AbortSignal} */ signal) => exclusively(lock, () => this.#sendAll(signal), signal)
    this.#sender = new Repeater(send, { isFinal: (error) => error instanceof LoginError })
  }

  /**
   * Keep a sale, and send it as soon as the server can be reached.
   *
   * @param {Record<string, any>} sale as the server takes it; without `id` and `at` it gets them
   * @returns {Promise<string>} its id; the sale is safe on this device
   * @throws {QueueFullError} too many are waiting; this one is not kept, those are
   * @throws {NoRoomError} nor is it for want of room
   */
  async put(sale) {
    const complete = { at: new Date().toISOString(), ...sale, id: sale.id ?? crypto.randomUUID() }
    await this.#keep(complete).catch(async (error) => {
      if (!(error instanceof NoRoomError)) throw error
      await this.#makeRoom()
      await this.#keep(complete)
    })
    this.#onChange()
    this.#sender.wake()
    return complete.id
  }

  /** @returns {Promise<Outcome>} */
  async outcome() {
    const all = await this.#database.getAll('sales')
    const refused = all.flatMap(({ id, sale, refused: reason }) => (reason === null ? [] : [{ id, sale, reason }]))
    const waiting = all.length - refused.length
    return { waiting, refused, words: wordsOf(waiting, refused.length) }
  }

  /**
   * Return whether the server has a sale, as far as this device still knows.
   *
   * @param {string} id
   * @returns {Promise<'sent' | 'waiting' | 'refused' | 'unknown'>}
   */
  async fate(id) {
    const queued = await this.#database.getFromIndex('sales', 'id', id)
    if (queued) return queued.refused === null ? 'waiting' : 'refused'
    return (await this.#database.getKeyFromIndex('receipts', 'id', id)) === undefined ? 'unknown' : 'sent'
  }

  /**
   * Send all that waits, and return how things are then. What cannot be sent now is tried again by itself.
   *
   * @param {AbortSignal} [signal]
   * @returns {Promise<Outcome>}
   */
  async send(signal) {
    try {
      await this.#sender.now(signal)
      return await this.outcome()
    } catch (error) {
      if (signal?.aborted) throw error
      const outcome = await this.outcome()
      return { ...outcome, words: `${reasonOf(error)} ${outcome.words}` }
    }
  }

  /** Send what waits, if anything does. */
  async wake() {
    if ((await this.outcome()).waiting > 0) this.#sender.wake()
  }

  /**
   * Let a sale that the server has refused wait again, and send it: the reason may be gone.
   *
   * @param {string} id
   * @throws {QueueFullError} too many are waiting; it stays refused
   */
  async retry(id) {
    await write(this.#database, ['sales'], async (transaction) => {
      const sales = transaction.objectStore('sales')
      const queued = await sales.index('id').get(id)
      if (!queued || queued.refused === null) return
      await throwIfFull(sales)
      await sales.put({ ...queued, refused: null })
    })
    this.#onChange()
    this.#sender.wake()
  }

  /**
   * Forget a sale that the server has refused, once a person has looked at it.
   *
   * @param {string} id
   */
  async dismiss(id) {
    await write(this.#database, ['sales'], async (transaction) => {
      const sales = transaction.objectStore('sales')
      const queued = await sales.index('id').get(id)
      if (queued && queued.refused !== null) await sales.delete(Number(queued.order))
    })
    this.#onChange()
  }

  stop() {
    this.#sender.stop()
  }

  /** @param {Sale} sale */
  async #keep(sale) {
    await write(this.#database, ['sales', 'receipts'], async (transaction) => {
      const sales = transaction.objectStore('sales')
      const receipts = transaction.objectStore('receipts')
      const known = (await sales.index('id').getKey(sale.id)) ?? (await receipts.index('id').getKey(sale.id))
      if (known !== undefined) return // the same button twice
      await throwIfFull(sales)
      await sales.add({ id: sale.id, sale, putAt: new Date().toISOString(), refused: null })
    })
  }

  /** @param {AbortSignal} signal */
  async #sendAll(signal) {
    let most = BATCH_SALES
    /** @type {Set<string>} */
    const passedOver = new Set()
    for (;;) {
      const all = await this.#database.getAll('sales')
      const waiting = all.filter(({ id, refused }) => refused === null && !passedOver.has(id))
      const batch = waiting.slice(0, most).map(({ sale }) => sale)
      if (batch.length === 0) break
      const url = this.#server.api(`api/v1/channels/${encodeURIComponent(this.#channel)}/sales`)
      const answer = await this.#server.post(url, { sales: batch }, { signal })
      const settled = settleSales(batch, answer)
      await this.#settle(settled)
      if (settled.next === 'log-in') throw new LoginError('the server does not take the token')
      if (settled.next === 'later') throw new DownloadError(`sales were answered with status ${answer.status}`)
      if (settled.next === 'one-by-one') most = 1
      if (settled.next === 'pass-over') passedOver.add(batch[0].id)
    }
    if (passedOver.size > 0) throw new DownloadError(`${passedOver.size} sales were neither taken nor refused`)
  }

  /**
   * Write down what became of sales: one is gone only together with its receipt.
   *
   * @param {Settled} settled
   */
  async #settle({ recorded, refused }) {
    if (recorded.length + refused.length === 0) return
    await write(this.#database, ['sales', 'receipts'], async (transaction) => {
      const sales = transaction.objectStore('sales')
      const receipts = transaction.objectStore('receipts')
      for (const { id, receivedAt } of recorded) {
        const order = await sales.index('id').getKey(id)
        if (order === undefined) continue
        await receipts.add({ id, receivedAt })
        await sales.delete(order)
      }
      for (const { id, reason } of refused) {
        const queued = await sales.index('id').get(id)
        if (queued) await sales.put({ ...queued, refused: reason })
      }
      const surplus = (await receipts.count()) - KEPT_RECEIPTS
      if (surplus > 0) await Promise.all((await receipts.getAllKeys(null, surplus)).map((key) => receipts.delete(key)))
    })
    this.#onChange()
  }
}

/** @param {{ getAll: () => Promise<QueuedSale[]> }} sales */
async function throwIfFull(sales) {
  const waiting = (await sales.getAll()).filter(({ refused }) => refused === null)
  if (waiting.length >= MOST_SALES) throw new QueueFullError(QUEUE_FULL)
}

/**
 * @param {number} waiting
 * @param {number} refused
 */
function wordsOf(waiting, refused) {
  const parts = []
  if (waiting > 0) parts.push(waiting === 1 ? '1 sale waits to be sent.' : `${waiting} sales wait to be sent.`)
  if (refused === 1) parts.push('1 sale was refused: look at it.')
  if (refused > 1) parts.push(`${refused} sales were refused: look at them.`)
  return parts.join(' ') || 'All sales are sent.'
}

/** @param {unknown} error */
function reasonOf(error) {
  if (error instanceof OfflineError) return 'No connection: sales are sent when it is back.'
  if (error instanceof LoginError) return 'Log in again, so that sales can be sent.'
  return 'The server does not take sales now: they are sent later.'
}
