import { element } from './page.js'

const TOAST_MS = 5_000
const AGAIN = '\u00a0'

/** What floats above the till for a while, and what is said to who cannot see it. */
export class Notices {
  #toast = element('toast', HTMLElement)
  #announcement = element('announcement', HTMLElement)
  #timer = /** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined)

  /**
   * Say something, and show it for a while.
   *
   * @param {string} words
   * @param {{ tone?: 'good' | 'bad' }} [options]
   */
  show(words, { tone = 'good' } = {}) {
    this.#toast.textContent = words
    this.#toast.dataset.tone = tone
    this.#toast.hidden = false
    this.say(words)
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => (this.#toast.hidden = true), TOAST_MS)
  }

  /** @param {string} words */
  say(words) {
    // The same words again are news, too, and browsers report only what changes.
    this.#announcement.textContent = this.#announcement.textContent === words ? `${words}${AGAIN}` : words
  }

  /**
   * Say no more what does not hold any more.
   *
   * @param {string} words
   */
  takeBack(words) {
    if ([words, words + AGAIN].includes(this.#announcement.textContent ?? '')) this.#announcement.textContent = ''
  }
}
