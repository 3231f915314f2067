import {
  afterSale,
  emptyBasket,
  lineAmount,
  removedWords,
  takenBack,
  totalsIn,
  withProduct,
  withQuantity,
  withSale,
  withoutProduct,
} from '../core/basket.js'
import { moneyText } from '../core/money.js'
import { oneLess, oneMore, quantityText, readQuantity } from '../core/quantities.js'
import { countWords } from '../core/sentences.js'
import { element, isNarrow, onPress, part, partOf } from './page.js'

/**
 * @typedef {import('@shelfsight/client').Product} Product
 * @typedef {import('../core/basket.js').Basket} Basket
 * @typedef {import('../core/basket.js').Line} Line
 * @typedef {import('./kept.js').Kept} Kept
 * @typedef {import('./notices.js').Notices} Notices
 */

const FULL = 'That is more than a sale can hold: check out first.'
const NO_QUANTITY = 'A quantity is more than 0, at most 100,000, and has three places at most.'
const LOCALE = navigator.language

/** What is being sold: on the device at every moment, and the same in every tab. */
export class BasketPanel {
  #root = element('basket', HTMLElement)
  #till = element('till', HTMLElement)
  #lines = element('lines', HTMLElement)
  #removed = element('removed', HTMLElement)
  #amounts = element('sum-amounts', HTMLElement)
  #checkout = element('checkout', HTMLButtonElement)
  #kept
  #notices
  #onChange
  /** @type {Map<string, HTMLElement>} by product id */
  #rows = new Map()
  #latest = '' // id of the product that came in last

  /**
   * @param {Kept} kept
   * @param {Notices} notices
   * @param {() => void} onChange hears that somebody has changed it
   */
  constructor(kept, notices, onChange) {
    this.#kept = kept
    this.#notices = notices
    this.#onChange = onChange
    onPress('empty-basket', () => this.#remove())
    onPress('undo', () => this.#takeBack())
    element('to-basket', HTMLElement).addEventListener('click', (event) => {
      event.preventDefault()
      element('basket-title', HTMLElement).scrollIntoView({ block: 'start' })
      element('basket-title', HTMLElement).focus({ preventScroll: true })
    })
    kept.listen((name) => name !== 'basket' || this.render())
    this.render()
  }

  /** @returns {Basket} as it is now, whichever tab has changed it last */
  get basket() {
    return this.#kept.basket ?? this.#renew()
  }

  /**
   * Put a product into the basket; say so where there is no room.
   *
   * @param {Product} product
   * @returns {boolean} whether it is in
   */
  add(product) {
    const after = withProduct(this.basket, product)
    if (!after) this.#notices.show(FULL, { tone: 'bad' })
    else this.#become(after, product.id)
    return after !== null
  }

  /**
   * Put what a refused sale was made of back into the basket.
   *
   * @param {any} sale
   * @param {(productId: string) => string} nameOf
   */
  putBack(sale, nameOf) {
    this.#become(withSale(this.basket, sale, nameOf))
  }

  /**
   * Begin a new one.
   *
   * @param {Basket} sold
   */
  finish(sold) {
    this.#kept.basket = afterSale(this.basket, sold, crypto.randomUUID())
    this.render()
  }

  /** Show what was sold, until something else comes in. */
  showSold() {
    if (this.basket.lines.length === 0) this.#enter('sold')
  }

  /** Show it as it is. */
  render() {
    const { basket } = this
    const { totals, unpriced } = totalsIn(basket)
    const count = basket.lines.length
    if (count > 0) this.#enter('full')
    else if (this.#root.dataset.state === 'full') this.#enter('empty')
    this.#renderLines(basket.lines)
    this.#renderLatest(basket.lines)
    const removed = removedWords(basket)
    this.#removed.hidden = removed === null
    element('removed-words', HTMLElement).textContent = removed
    for (const id of ['basket-count', 'sum-count']) element(id, HTMLElement).textContent = countLabel(count, unpriced)
    this.#amounts.textContent = totals.map(({ amount, currency }) => moneyText(amount, currency, LOCALE)).join('\n') || '–'
    this.#amounts.toggleAttribute('data-many', totals.length > 1)
    this.#checkout.disabled = count === 0
  }

  /**
   * @param {Basket} basket
   * @param {string} [fresh] id of the product to look at
   */
  #become(basket, fresh) {
    this.#kept.basket = basket
    this.#latest = fresh ?? this.#latest
    this.render()
    this.#onChange()
    const row = fresh === undefined ? undefined : this.#rows.get(fresh)
    if (!row) return
    row.removeAttribute('data-fresh')
    void row.offsetWidth // begins the animation anew
    row.setAttribute('data-fresh', '')
    if (!isNarrow()) row.scrollIntoView({ block: 'nearest' })
  }

  /** @param {'empty' | 'full' | 'sold'} state */
  #enter(state) {
    this.#root.dataset.state = this.#till.dataset.basket = state
  }

  #renew() {
    const basket = emptyBasket(crypto.randomUUID())
    this.#kept.basket = basket
    return basket
  }

  /** @param {string} [productId] without one, everything */
  #remove(productId) {
    const after = withoutProduct(this.basket, productId)
    this.#become(after)
    this.#notices.say(`${removedWords(after)}.`)
    element('undo', HTMLElement).focus()
  }

  #takeBack() {
    const [line] = this.basket.before?.filter(({ productId }) => !this.#rows.has(productId)) ?? []
    this.#become(takenBack(this.basket))
    const row = this.#rows.get(line?.productId ?? '')
    if (row) part(row, '.quantity').focus()
  }

  /** @param {readonly Line[]} lines */
  #renderLines(lines) {
    const ids = new Set(lines.map(({ productId }) => productId))
    for (const [id, row] of this.#rows) {
      if (ids.has(id)) continue
      row.remove()
      this.#rows.delete(id)
    }
    lines.forEach((line, place) => {
      const row = this.#rows.get(line.productId) ?? this.#makeRow(line)
      if (this.#lines.children[place] !== row) this.#lines.insertBefore(row, this.#lines.children[place] ?? null)
      fillRow(row, line)
    })
  }

  /**
   * Show what came in last where the basket itself lies below what can be seen.
   *
   * @param {readonly Line[]} lines
   */
  #renderLatest(lines) {
    const line = lines.find(({ productId }) => productId === this.#latest) ?? lines.at(-1)
    if (!line) return
    element('latest-name', HTMLElement).textContent = `${quantityText(line.quantity, LOCALE)} × ${line.name}`
    element('latest-amount', HTMLElement).textContent = amountWords(line)
  }

  /** @param {Line} line */
  #makeRow({ productId, name }) {
    const { content } = element('line', HTMLTemplateElement)
    const row = part(document.importNode(content, true), '.line')
    const quantity = partOf(row, '.quantity', HTMLInputElement)
    quantity.setAttribute('aria-label', `Quantity of ${name}`)
    part(row, '.stepper').setAttribute('aria-label', name)
    part(row, '.more').setAttribute('aria-label', `One more ${name}`)
    part(row, '.remove').setAttribute('aria-label', `Remove ${name}`)
    part(row, '.less').setAttribute('aria-label', `One less ${name}`)
    part(row, '.more').addEventListener('click', () => this.#step(productId, oneMore))
    part(row, '.less').addEventListener('click', () => this.#step(productId, oneLess))
    part(row, '.remove').addEventListener('click', () => this.#remove(productId))
    quantity.addEventListener('focus', () => quantity.select())
    quantity.addEventListener('change', () => this.#type(productId, quantity))
    quantity.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter') return
      event.preventDefault() // else it presses what gets the focus now
      quantity.blur()
    })
    this.#rows.set(productId, row)
    return row
  }

  /**
   * @param {string} productId
   * @param {(quantity: string) => string | null} step
   */
  #step(productId, step) {
    const line = this.#line(productId)
    if (!line) return
    const quantity = step(line.quantity)
    if (quantity !== null) this.#setQuantity(line, quantity)
    else if (step === oneLess) this.#remove(productId)
    else this.#notices.show(NO_QUANTITY, { tone: 'bad' })
  }

  /**
   * @param {string} productId
   * @param {HTMLInputElement} input
   */
  #type(productId, input) {
    const line = this.#line(productId)
    const quantity = readQuantity(input.value)
    if (!line) return
    if (quantity !== null) return this.#setQuantity(line, quantity)
    if (/^\s*0*[.,]?0*\s*$/.test(input.value) && input.value.trim()) return this.#remove(productId)
    input.value = quantityText(line.quantity, LOCALE)
    this.#notices.show(NO_QUANTITY, { tone: 'bad' })
  }

  /**
   * @param {Line} line
   * @param {string} quantity
   */
  #setQuantity(line, quantity) {
    this.#become(withQuantity(this.basket, line.productId, quantity))
    this.#notices.say(`${line.name}, ${quantityText(quantity, LOCALE)} in the basket`)
  }

  /** @param {string} productId */
  #line(productId) {
    return this.basket.lines.find((line) => line.productId === productId)
  }
}

/**
 * @param {HTMLElement} row
 * @param {Line} line
 */
function fillRow(row, line) {
  part(row, '.line-name').textContent = line.name
  part(row, '.line-amount').textContent = amountWords(line)
  part(row, '.line-price').textContent = lineAmount(line) ? moneyText(line.price, line.currency, LOCALE) : 'No price'
  const input = partOf(row, '.quantity', HTMLInputElement)
  const text = quantityText(line.quantity, LOCALE)
  if (document.activeElement !== input || readQuantity(input.value) !== line.quantity) input.value = text
}

/** @param {Line} line */
function amountWords(line) {
  const amount = lineAmount(line)
  return amount ? moneyText(amount.amount, amount.currency, LOCALE) : '–'
}

/**
 * @param {number} count
 * @param {number} unpriced
 */
function countLabel(count, unpriced) {
  if (count === 0) return 'Empty'
  const words = countWords(count, 'product')
  return unpriced > 0 ? `${words}, ${unpriced} without a price` : words
}
