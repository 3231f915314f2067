import { NOTHING_SHOWN, steadied } from '../core/steady.js'
import { KNOWN, UNKNOWN, announcement, percent, priced } from '../core/words.js'
import { element, part, partOf } from './page.js'

/**
 * @typedef {import('../core/offers.js').Offer} Offer
 * @typedef {import('../core/offers.js').Offers} Offers
 * @typedef {import('./notices.js').Notices} Notices
 */

/** How many products are offered for one picture. */
export const OFFERS = 3

const IDLE = 'No answer yet'
const ASKED = `${UNKNOWN}. Could it be…`
const ADDED_MS = 900
const ICONS = { idle: '#icon-product', known: '#icon-known', unknown: '#icon-unknown' }

/** The three products that a picture is most likely of: tap one, and it is in the basket. */
export class Answers {
  #root = element('answers', HTMLElement)
  #words = element('verdict-words', HTMLElement)
  #icon = element('verdict-icon', SVGUseElement)
  #notices
  #buttons
  #steady = NOTHING_SHOWN
  #isHeld = false
  #said = ''
  #announced = ''

  /**
   * @param {Notices} notices
   * @param {object} listeners
   * @param {(offer: Offer, offers: Offers) => boolean} listeners.onChoose returns whether it is in the basket now
   * @param {(offers: Offers) => void} listeners.onAnother it is none of them
   */
  constructor(notices, { onChoose, onAnother }) {
    this.#notices = notices
    this.#buttons = makeButtons()
    this.#buttons.forEach((button, place) => button.addEventListener('click', () => this.#choose(place, onChoose)))
    element('another', HTMLElement).addEventListener('click', () => this.shown && onAnother(this.shown))
    // What is under a finger stays what it is until the finger is up.
    this.#root.addEventListener('pointerdown', () => (this.#isHeld = true))
    for (const end of ['pointerup', 'pointercancel']) addEventListener(end, () => setTimeout(() => (this.#isHeld = false)))
    this.clear()
  }

  /** @returns {Offers | null} */
  get shown() {
    return this.#steady.shown
  }

  /** Take back an answer whose picture is gone. */
  clear() {
    this.#steady = NOTHING_SHOWN
    this.#said = ''
    this.#notices.takeBack(this.#announced)
    this.#render(null)
  }

  /**
   * @param {Offers} offers
   * @param {{ isLive: boolean }} options a live picture is judged again and again: of its answers only what holds is shown
   */
  show(offers, { isLive }) {
    if (this.#isHeld) return
    this.#steady = isLive ? steadied(this.#steady, offers) : { ...NOTHING_SHOWN, shown: offers }
    if (!isLive) this.#said = ''
    this.#render(this.shown)
    if (this.shown) this.#announce(this.shown)
  }

  /** @param {Offers | null} result */
  #render(result) {
    const state = result === null ? 'idle' : result.known ? 'known' : 'unknown'
    this.#root.dataset.state = state
    const unknown = result?.offers.length ? ASKED : UNKNOWN
    this.#words.textContent = { idle: IDLE, known: KNOWN, unknown }[state]
    this.#icon.setAttribute('href', ICONS[state])
    this.#buttons.forEach((button, place) => fillButton(button, result?.offers[place]))
  }

  /**
   * @param {number} place
   * @param {(offer: Offer, offers: Offers) => boolean} onChoose
   */
  #choose(place, onChoose) {
    const offer = this.shown?.offers[place]
    if (!offer || !this.shown || !onChoose(offer, this.shown)) return
    const button = this.#buttons[place]
    button.dataset.added = ''
    partOf(button, '.offer-add use', SVGUseElement).setAttribute('href', '#icon-known')
    setTimeout(() => {
      delete button.dataset.added
      partOf(button, '.offer-add use', SVGUseElement).setAttribute('href', '#icon-add')
    }, ADDED_MS)
  }

  /**
   * Each answer is said once: anything else would be an endless stream of words.
   *
   * @param {Offers} result
   */
  #announce(result) {
    const key = `${result.known} ${result.known ? result.offers[0]?.product.id : ''}`
    if (key === this.#said) return
    this.#said = key
    this.#announced = announcement(result, navigator.language)
    this.#notices.say(this.#announced)
  }
}

function makeButtons() {
  const template = element('offer', HTMLTemplateElement)
  const rows = Array.from({ length: OFFERS }, () => part(document.importNode(template.content, true), 'li'))
  element('offers', HTMLElement).replaceChildren(...rows)
  return rows.map((row) => partOf(row, '.offer', HTMLButtonElement))
}

/**
 * @param {HTMLButtonElement} button
 * @param {Offer | undefined} offer
 */
function fillButton(button, offer) {
  button.toggleAttribute('data-empty', !offer)
  button.disabled = !offer
  if (!offer) return
  const { product, confidence } = offer
  const price = priced(product, navigator.language)
  write(button, '.offer-name', product.name || product.id)
  write(button, '.offer-price', price)
  write(button, '.percent', percent(confidence))
  part(button, '.track span').style.transform = `scaleX(${confidence})`
  const label = ['Add ' + (product.name || product.id), price, `${percent(confidence)} sure`].filter(Boolean).join(', ')
  if (button.getAttribute('aria-label') !== label) button.setAttribute('aria-label', label)
}

/**
 * @param {HTMLElement} row
 * @param {string} selector
 * @param {string} words
 */
function write(row, selector, words) {
  const place = part(row, selector)
  if (place.textContent !== words) place.textContent = words
}
