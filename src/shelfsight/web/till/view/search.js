import { countWords } from '../core/sentences.js'
import { priced } from '../core/words.js'
import { closeByBackdrop, element, onPress, textNode } from './page.js'

/**
 * @typedef {import('@shelfsight/client').Product} Product
 * @typedef {import('@shelfsight/client').Search} Search
 *
 * @typedef {object} Purpose what a product is looked for
 * @property {string} title
 * @property {string} hint shown while nothing is typed
 * @property {string} [query]
 * @property {readonly Product[]} [proposals] shown while nothing is typed
 */

const SHOWN = 50
export const NO_LIST = 'The product list is not on this device yet: connect once, then it is searched without a network, too.'

/** Finds a product by name, SKU or barcode, in the list on the device. */
export class SearchDialog {
  #dialog = element('search', HTMLDialogElement)
  #query = element('query', HTMLInputElement)
  #words = element('search-words', HTMLElement)
  #list = element('found', HTMLElement)
  #searchOf
  /** @type {Product[]} */
  #found = []
  #active = -1
  #purpose = /** @type {Purpose | null} */ (null)
  #chosen = /** @type {Product | null} */ (null)

  /** @param {() => Search | null} searchOf null: there is no list yet */
  constructor(searchOf) {
    this.#searchOf = searchOf
    onPress('close-search', () => this.#dialog.close())
    this.#query.addEventListener('input', () => this.#look())
    this.#query.addEventListener('keydown', (event) => this.#onKey(event))
    this.#list.addEventListener('click', ({ target }) => this.#onClick(target))
    closeByBackdrop(this.#dialog)
    // Where it was opened by a key nothing had the focus that the browser could give back.
    this.#dialog.addEventListener('close', () => {
      const { activeElement } = document
      if (activeElement === document.body || this.#dialog.contains(activeElement)) element('open-search', HTMLElement).focus()
    })
  }

  get isOpen() {
    return this.#dialog.open
  }

  /**
   * Return the product that somebody chooses; null if nobody does.
   *
   * @param {Purpose} purpose
   * @returns {Promise<Product | null>}
   */
  choose(purpose) {
    this.#purpose = purpose
    this.#chosen = null
    element('search-title', HTMLElement).textContent = purpose.title
    this.#query.value = purpose.query ?? ''
    this.#dialog.showModal()
    this.#query.focus()
    this.#look()
    return new Promise((resolve) => {
      this.#dialog.addEventListener('close', () => resolve(this.#chosen), { once: true })
    })
  }

  /** @param {Product} product */
  take(product) {
    this.#chosen = product
    this.#dialog.close()
  }

  /**
   * Look for a code that no product has alone.
   *
   * @param {string} code
   */
  lookFor(code) {
    this.#query.value = code
    this.#look()
  }

  /** Look again, in a list that has come or changed meanwhile. */
  refresh() {
    if (this.isOpen) this.#look()
  }

  #look() {
    const query = this.#query.value.trim()
    const search = this.#searchOf()
    this.#found = query && search ? search.find(query, { limit: SHOWN }) : [...(this.#purpose?.proposals ?? [])]
    const options = this.#found.map(optionOf)
    this.#list.replaceChildren(...options)
    this.#query.setAttribute('aria-expanded', String(options.length > 0))
    this.#words.textContent = search ? this.#said(query) : NO_LIST
    this.#activate(query && options.length ? 0 : -1)
    this.#list.scrollTop = 0
  }

  /** @param {string} query */
  #said(query) {
    if (!query) return this.#purpose?.hint ?? ''
    const count = this.#found.length
    if (count === 0) return `Nothing found for “${query}”.`
    return count === SHOWN ? `The first ${SHOWN}: type more to find less.` : `${countWords(count, 'product')} found.`
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
    const count = this.#found.length
    if (step !== undefined && count > 0) {
      const from = this.#active < 0 && step < 0 ? 0 : this.#active
      this.#activate((from + step + count) % count)
    } else if (event.key === 'Enter' && this.#active >= 0) {
      this.take(this.#found[this.#active])
    } else {
      return
    }
    event.preventDefault()
  }

  /** @param {EventTarget | null} target */
  #onClick(target) {
    const option = target instanceof Element ? target.closest('[role="option"]') : null
    const place = option ? [...this.#list.children].indexOf(option) : -1
    if (place >= 0) this.take(this.#found[place])
  }

  /** @param {number} place */
  #activate(place) {
    const options = [...this.#list.children]
    options[this.#active]?.setAttribute('aria-selected', 'false')
    this.#active = place
    const option = options[place]
    if (!option) return this.#query.removeAttribute('aria-activedescendant')
    option.setAttribute('aria-selected', 'true')
    this.#query.setAttribute('aria-activedescendant', option.id)
    option.scrollIntoView({ block: 'nearest' })
  }
}

/**
 * @param {Product} product
 * @param {number} place
 */
function optionOf(product, place) {
  const codes = [product.sku, ...(product.barcodes ?? [])].filter(Boolean).join(' · ')
  const option = textNode('li', '', 'product')
  option.id = `found-${place}`
  option.setAttribute('role', 'option')
  option.setAttribute('aria-selected', 'false')
  option.append(
    textNode('span', product.name || product.id, 'product-name'),
    textNode('span', codes, 'product-codes'),
    textNode('span', priced(product, navigator.language), 'product-price'),
  )
  return option
}
