import { saleOf } from '../core/basket.js'
import { amountsText } from '../core/money.js'
import { quantityText } from '../core/quantities.js'
import { countWords, queueOf, refusalWords, soldWords } from '../core/sentences.js'
import { element, onPress, part } from './page.js'

/**
 * @typedef {import('@shelfsight/client').Client} Client
 * @typedef {import('@shelfsight/client').SalesOutcome} SalesOutcome
 * @typedef {import('../core/basket.js').Basket} Basket
 * @typedef {import('../core/money.js').Amount} Amount
 * @typedef {import('./kept.js').Kept} Kept
 *
 * @typedef {object} Listeners
 * @property {(sale: any, nameOf: (productId: string) => string) => void} onPutBack a refused sale is to be changed
 * @property {() => void} onRefused a sale was refused that was not before
 * @property {(isReached: boolean) => void} onReach whether the server has answered
 */

const ICONS = { sending: '#icon-known', sent: '#icon-known', unknown: '#icon-known', waiting: '#icon-clock', refused: '#icon-warning' }

/** The sales of this device: what was sold last, what waits to be sent, and what was refused. */
export class Sales {
  #client
  #kept
  #listeners
  #dialog = element('sales', HTMLDialogElement)
  #queue = element('queue', HTMLElement)
  #problem = element('checkout-problem', HTMLElement)
  /** @type {SalesOutcome} */
  outcome = { waiting: 0, refused: [], words: '' }
  #isSending = false
  #lastSold = /** @type {string | null} */ (null)

  /**
   * @param {Client} client
   * @param {Kept} kept
   * @param {Listeners} listeners
   * @param {AbortSignal} signal ends it
   */
  constructor(client, kept, listeners, signal) {
    this.#client = client
    this.#kept = kept
    this.#listeners = listeners
    const options = { signal }
    for (const id of ['queue', 'open-sales']) element(id, HTMLElement).addEventListener('click', () => this.open(), options)
    element('close-sales', HTMLElement).addEventListener('click', () => this.#dialog.close(), options)
    element('send-sales', HTMLElement).addEventListener('click', () => this.#send(), options)
    void this.look()
  }

  /**
   * Keep a basket as a sale, and send it as soon as the server can be reached.
   *
   * @param {Basket} basket
   * @param {{ device: string, modelVersion: string | null }} facts
   * @returns {Promise<boolean>} whether it is safe on the device; if not, the page says why
   */
  async record(basket, facts) {
    this.#problem.textContent = ''
    try {
      await this.#client.salesQueue.put(saleOf(basket, { at: new Date(), ...facts }))
      const names = basket.lines.map(({ productId, name }) => [productId, name])
      this.#kept.soldNames = { ...this.#kept.soldNames, ...Object.fromEntries(names) }
      return true
    } catch (error) {
      this.#problem.textContent = error instanceof Error ? error.message : String(error)
      return false
    }
  }

  /** The basket is another one: what was said of it does not count any more. */
  forgetProblem() {
    this.#problem.textContent = ''
  }

  /**
   * Show what was sold, and what becomes of it.
   *
   * @param {string} id
   * @param {Amount[]} totals
   * @param {number} count products
   */
  async showSold(id, totals, count) {
    this.#lastSold = id
    const total = amountsText(totals, navigator.language) || countWords(count, 'product')
    for (const place of ['sold-total', 'sold-short-total']) element(place, HTMLElement).textContent = total
    this.#showFate('sending')
    await this.#client.salesQueue.send().catch(() => {})
    await this.look()
    this.#listeners.onReach(this.outcome.waiting === 0)
  }

  /** Return whether a basket was sold already: by another tab, or by one that was closed in between. */
  async isSold(/** @type {string} */ id) {
    return (await this.#client.salesQueue.fate(id)) !== 'unknown'
  }

  /** Show how things are now. */
  async look() {
    const before = this.outcome
    const outcome = await this.#client.salesQueue.outcome().catch(() => null)
    if (!outcome) return // the client is closed
    this.outcome = outcome
    if (this.#lastSold !== null) this.#showFate(await this.#client.salesQueue.fate(this.#lastSold))
    this.#showQueue()
    if (this.#dialog.open) this.#render()
    if (outcome.waiting + outcome.refused.length === 0) this.#kept.soldNames = {}
    if (outcome.waiting < before.waiting) this.#listeners.onReach(true)
    if (outcome.refused.length > before.refused.length) this.#listeners.onRefused()
  }

  async open() {
    await this.look()
    this.#render()
    if (!this.#dialog.open) this.#dialog.showModal()
    element('sales-title', HTMLElement).focus()
    if (this.outcome.waiting > 0) await this.#send()
  }

  async #send() {
    this.#isSending = true
    this.#render()
    const outcome = await this.#client.salesQueue.send().catch(() => this.outcome)
    this.#isSending = false
    await this.look()
    element('sales-words', HTMLElement).textContent = outcome.words
  }

  /** @param {'sent' | 'waiting' | 'refused' | 'unknown' | 'sending'} fate */
  #showFate(fate) {
    const { words, detail } = soldWords(fate, this.outcome.waiting)
    for (const place of ['sold', 'sold-short']) element(place, HTMLElement).dataset.fate = fate
    for (const icon of ['sold-icon', 'sold-short-icon']) element(icon, SVGUseElement).setAttribute('href', ICONS[fate])
    for (const place of ['sold-words', 'sold-short-words']) element(place, HTMLElement).textContent = words
    element('sold-detail', HTMLElement).textContent = detail
  }

  #showQueue() {
    const queue = queueOf(this.outcome)
    this.#queue.hidden = queue === null
    element('till', HTMLElement).toggleAttribute('data-queue', queue !== null)
    this.#queue.dataset.tone = queue?.tone ?? ''
    element('queue-icon', SVGUseElement).setAttribute('href', queue?.tone === 'bad' ? '#icon-warning' : '#icon-clock')
    const words = element('queue-words', HTMLElement)
    if (words.textContent !== (queue?.words ?? '')) words.textContent = queue?.words ?? ''
    element('sales-facts', HTMLElement).textContent = this.outcome.words
  }

  #render() {
    element('sales-words', HTMLElement).textContent = this.#isSending ? 'Sending …' : this.outcome.words
    element('send-sales', HTMLButtonElement).disabled = this.#isSending || this.outcome.waiting === 0
    const list = element('refusals', HTMLElement)
    const shown = [...list.children].map((item) => (item instanceof HTMLElement ? item.dataset.sale : ''))
    const wanted = this.outcome.refused.map(({ id }) => id)
    if (shown.join() !== wanted.join()) list.replaceChildren(...this.outcome.refused.map((one) => this.#rowOf(one)))
  }

  /** @param {SalesOutcome['refused'][number]} refused */
  #rowOf({ id, sale: kept, reason }) {
    const sale = /** @type {any} */ (kept)
    const row = part(document.importNode(element('refusal', HTMLTemplateElement).content, true), '.refusal')
    row.dataset.sale = id
    const nameOf = (/** @type {string} */ productId) => this.#kept.soldNames[productId] ?? productId
    const words = refusalWords(reason, nameOf)
    part(row, '.refusal-when').textContent = new Date(sale.at).toLocaleString(navigator.language)
    part(row, '.refusal-reason').textContent = words.reason
    part(row, '.refusal-lines').textContent = linesOf(sale, nameOf)
    part(row, '.refusal-advice').textContent = words.advice
    part(row, '.put-back').addEventListener('click', async () => {
      this.#listeners.onPutBack(sale, nameOf)
      await this.#forget(id)
      this.#dialog.close()
    })
    part(row, '.retry').addEventListener('click', () => this.#retry(id))
    part(row, '.forget').addEventListener('click', () => this.#forget(id))
    return row
  }

  /** @param {string} id */
  async #retry(id) {
    try {
      await this.#client.salesQueue.retry(id)
    } catch (error) {
      element('sales-words', HTMLElement).textContent = error instanceof Error ? error.message : String(error)
      return
    }
    await this.look()
    element('sales-title', HTMLElement).focus()
    await this.#send()
  }

  /** @param {string} id */
  async #forget(id) {
    await this.#client.salesQueue.dismiss(id)
    await this.look()
    element('sales-title', HTMLElement).focus()
  }
}

/**
 * @param {{ lines: { productId: string, quantity: string }[] }} sale
 * @param {(productId: string) => string} nameOf
 */
function linesOf({ lines }, nameOf) {
  const words = lines.map(({ productId, quantity }) => `${quantityText(quantity, navigator.language)} × ${nameOf(productId)}`)
  return words.join(', ')
}
