import { statusOf } from '../core/sentences.js'
import { downloaded } from '../core/words.js'
import { element } from './page.js'

/**
 * @typedef {import('@shelfsight/client').State} State
 *
 * @typedef {object} Lack why there is no recogniser
 * @property {'loading' | 'error' | 'none'} kind
 * @property {string} words
 */

const ICONS = { loading: '#icon-download', error: '#icon-warning', none: '#icon-camera' }

/** Says how the recogniser does: beside the shop's name, and, while there is none, in the place of the picture. */
export class StatusPanel {
  #status = element('status', HTMLElement)
  #words = element('status-words', HTMLElement)
  #lacking = element('lacking', HTMLElement)
  #progress = element('progress', HTMLProgressElement)

  /**
   * @param {State} state
   * @param {{ isLoaded: boolean, loadFailure: string | null }} facts
   */
  show(state, { isLoaded, loadFailure }) {
    const { words, tone } = statusOf(state, { isLoaded, isOnline: navigator.onLine })
    this.#status.dataset.tone = tone
    if (this.#words.textContent !== words) this.#words.textContent = words
    const lack = isLoaded ? null : lackOf(state, loadFailure)
    this.#lacking.hidden = lack === null
    element('till', HTMLElement).dataset.lacks = lack?.kind ?? ''
    if (lack) this.#showLack(lack, state)
  }

  /**
   * @param {Lack} lack
   * @param {State} state
   */
  #showLack({ kind, words }, state) {
    this.#lacking.dataset.kind = kind
    this.#lacking.toggleAttribute('data-login', state.name === 'error' && state.retryable === false)
    element('lacking-icon', SVGUseElement).setAttribute('href', ICONS[kind])
    const place = element('lacking-words', HTMLElement)
    if (place.textContent !== words) place.textContent = words
    if (kind !== 'loading') return
    const { receivedBytes = 0, totalBytes = 0 } = state
    if (totalBytes > 0) this.#progress.value = receivedBytes / totalBytes
    else this.#progress.removeAttribute('value')
    element('lacking-detail', HTMLElement).textContent = state.name === 'downloading' ? downloaded(state) : ''
  }
}

/**
 * @param {State} state
 * @param {string | null} loadFailure
 * @returns {Lack}
 */
function lackOf(state, loadFailure) {
  if (loadFailure !== null) return { kind: 'error', words: loadFailure }
  if (state.name === 'no-model') return { kind: 'none', words: state.words }
  if (state.version === null && (state.name === 'offline' || state.name === 'error')) return { kind: 'error', words: state.words }
  return { kind: 'loading', words: state.name === 'downloading' ? state.words : 'The recogniser is being started.' }
}
