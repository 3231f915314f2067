import { element, part } from '../view/page.js'
import { KNOWN, NO_MODEL, UNKNOWN, announcement, downloaded, percent, priced } from '../core/words.js'

/** @typedef {import('../core/offers.js').Offers} Offers */

/** How many products are offered for one picture. */
export const OFFERS = 3

/** Everything the page says: loading, ready, the products, what went wrong. */
export class Answer {
  #main = element('till', HTMLElement)
  #progress = element('progress', HTMLProgressElement)
  #progressWords = element('progress-words', HTMLElement)
  #errorWords = element('error-words', HTMLElement)
  #noModel = element('no-model', HTMLElement)
  #panel = part(document, '.result-panel')
  #verdict = element('verdict', HTMLElement)
  #verdictIcon = element('verdict-icon', SVGUseElement)
  #announcement = element('announcement', HTMLElement)
  #rows = makeRows()
  #seen = ''
  #said = ''

  showLoading() {
    this.#progress.removeAttribute('value')
    this.#show('loading')
  }

  /** @param {{ receivedBytes: number, totalBytes: number }} progress */
  showProgress(progress) {
    this.#progress.value = progress.receivedBytes / progress.totalBytes
    this.#progressWords.textContent = downloaded(progress)
  }

  showReady() {
    this.#show('ready')
  }

  /** Take back an answer whose picture is gone. */
  forget() {
    this.#announcement.textContent = this.#said = ''
    if (this.#main.dataset.state === 'result') this.showReady()
  }

  showNoModel() {
    this.#show('no-model')
    this.#announcement.textContent = this.#noModel.textContent = NO_MODEL
  }

  /** @param {string} words what went wrong and what to do */
  showError(words) {
    this.#show('error')
    this.#announcement.textContent = this.#errorWords.textContent = words
  }

  /**
   * @param {Offers} result
   * @param {{ live: boolean }} options a live picture is judged four times a second
   */
  showOffers(result, { live }) {
    this.#panel.classList.toggle('known', result.known)
    this.#panel.classList.toggle('unknown', !result.known)
    this.#verdict.textContent = result.known ? KNOWN : UNKNOWN
    this.#verdictIcon.setAttribute('href', result.known ? '#icon-known' : '#icon-unknown')
    this.#rows.forEach((row, index) => fillRow(row, result.offers[index]))
    this.#show('result')
    this.#announce(result, live)
  }

  /**
   * Say the answer to who cannot see it. A live answer is said once it holds for two pictures, and once only:
   * anything else would be an endless stream of words.
   *
   * @param {Offers} result
   * @param {boolean} live
   */
  #announce(result, live) {
    const key = `${result.known} ${result.offers[0]?.product.id}`
    const holds = key === this.#seen
    this.#seen = key
    if (live && (!holds || key === this.#said)) return
    this.#said = key
    this.#announcement.textContent = announcement(result)
  }

  /** @param {'loading' | 'ready' | 'result' | 'error' | 'no-model'} state */
  #show(state) {
    this.#main.dataset.state = state
  }
}

function makeRows() {
  const template = element('offer', HTMLTemplateElement)
  const list = element('offers', HTMLElement)
  const rows = Array.from({ length: OFFERS }, () => part(document.importNode(template.content, true), '.offer'))
  list.replaceChildren(...rows)
  return rows
}

/**
 * Rows are kept and filled anew: a live list that is rebuilt four times a second flickers.
 *
 * @param {HTMLElement} row
 * @param {import('../core/offers.js').Offer | undefined} offer
 */
function fillRow(row, offer) {
  row.hidden = !offer
  if (!offer) return
  const product = /** @type {import('./demo.js').DemoProduct} */ (offer.product)
  part(row, '.name').textContent = product.name
  part(row, '.price').textContent = priced(product, navigator.language)
  part(row, '.percent').textContent = percent(offer.confidence)
  part(row, '.track span').style.transform = `scaleX(${offer.confidence})`
  if (row.dataset.product !== product.id) showPicture(row, product.picture)
  row.dataset.product = product.id
}

/**
 * @param {HTMLElement} row
 * @param {string} url
 */
function showPicture(row, url) {
  const image = /** @type {HTMLImageElement} */ (part(row, 'img'))
  image.hidden = true // the icon behind it, until it is there
  image.onload = () => {
    image.hidden = false
  }
  image.src = url
}
