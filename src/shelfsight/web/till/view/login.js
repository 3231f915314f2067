import { isProblem } from '../client.js'
import { readLink, refusedLink } from '../core/pairing.js'
import { cameraAdvice } from '../core/words.js'
import { openCamera } from './camera.js'
import { element } from './page.js'

/**
 * @typedef {import('../core/pairing.js').Link} Link
 *
 * @typedef {{ detect: (source: HTMLVideoElement) => Promise<{ rawValue: string }[]> }} Detector
 */

const LOOK_EVERY_MS = 150
const PATIENCE_MS = 5_000

/** The page on which a device learns which till it is. */
export class LoginPage {
  #problem = element('login-problem', HTMLElement)
  #link = element('link', HTMLTextAreaElement)
  #scan = element('qr', HTMLElement)
  #start = element('qr-start', HTMLElement)
  #scanning = new AbortController()

  /** @param {(link: Link) => void} onLink */
  constructor(onLink) {
    element('login-form', HTMLFormElement).addEventListener('submit', (event) => {
      event.preventDefault()
      this.#try(this.#link.value, onLink)
    })
    this.#start.addEventListener('click', () => this.#look(onLink))
    element('qr-stop', HTMLElement).addEventListener('click', () => this.close())
    // A till that waits for its code is no till that types one: the Enter of a scanner sends the form.
    this.#link.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter') return
      event.preventDefault()
      this.#try(this.#link.value, onLink)
    })
  }

  /**
   * @param {string} told why it is shown
   * @param {string} [problem] with the link that was opened
   */
  async show(told, problem = '') {
    document.body.dataset.view = 'login'
    element('login-told', HTMLElement).textContent = told
    this.#link.value = ''
    this.#complain(problem)
    this.#start.hidden = !(await canReadCodes())
    if (matchMedia('(pointer: fine)').matches) this.#link.focus() // else the keyboard hides what can be tapped
  }

  /** End the camera. */
  close() {
    this.#scanning.abort()
    this.#scan.hidden = true
    this.#start.hidden = false
  }

  /**
   * @param {string} text
   * @param {(link: Link) => void} onLink
   */
  #try(text, onLink) {
    const link = readLink(text, location.origin)
    if ('problem' in link) return this.#complain(link.problem)
    this.#complain('')
    onLink(link)
  }

  /** @param {string} problem */
  #complain(problem) {
    this.#problem.textContent = problem
    this.#link.toggleAttribute('aria-invalid', problem !== '')
    if (problem) this.#problem.scrollIntoView({ block: 'nearest' })
  }

  /** @param {(link: Link) => void} onLink */
  async #look(onLink) {
    this.#scanning = new AbortController()
    const { signal } = this.#scanning
    this.#scan.hidden = false
    this.#start.hidden = true
    const video = element('qr-video', HTMLVideoElement)
    try {
      const close = await openCamera(video, () => this.close())
      signal.addEventListener('abort', close)
      if (signal.aborted) return close()
      const text = await codeIn(video, signal)
      this.close()
      if (text !== null) this.#try(text, onLink)
    } catch (error) {
      this.close()
      this.#complain(cameraAdvice(error, true).replace('choose a photo', 'paste the link'))
    }
  }
}

/**
 * Return why a link is none that the server takes; null: it takes it, or does not answer.
 *
 * @param {string} channel
 * @param {string} token
 * @returns {Promise<string | null>}
 */
export async function refusalOf(channel, token) {
  const headers = { authorization: `Bearer ${token}`, 'if-none-match': '*' } // not the list, only whether it may be had
  const asked = fetch(`/api/v1/channels/${encodeURIComponent(channel)}/till/products`, { headers }).catch(() => null)
  const response = await Promise.race([asked, new Promise((resolve) => setTimeout(resolve, PATIENCE_MS, null))])
  if (!response || ![401, 403, 404].includes(response.status)) return null
  const body = await response.json().catch(() => null)
  return isProblem({ status: response.status, body }) ? refusedLink(channel) : null
}

/** @returns {Promise<boolean>} */
async function canReadCodes() {
  const { BarcodeDetector } = /** @type {any} */ (globalThis)
  if (!BarcodeDetector || !navigator.mediaDevices) return false
  const formats = await BarcodeDetector.getSupportedFormats().catch(() => [])
  return formats.includes('qr_code')
}

/**
 * @param {HTMLVideoElement} video
 * @param {AbortSignal} signal
 * @returns {Promise<string | null>} null: it was ended
 */
async function codeIn(video, signal) {
  const { BarcodeDetector } = /** @type {any} */ (globalThis)
  const detector = /** @type {Detector} */ (new BarcodeDetector({ formats: ['qr_code'] }))
  while (!signal.aborted) {
    const [code] = await detector.detect(video).catch(() => [])
    if (code) return code.rawValue
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS))
  }
  return null
}
