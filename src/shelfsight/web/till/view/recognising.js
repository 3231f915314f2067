import { NoModelError } from '../client.js'
import { offersFor } from '../core/offers.js'
import { failure } from '../core/words.js'
import { Answers, OFFERS } from './answers.js'
import { StatusPanel } from './status.js'
import { Viewfinder } from './viewfinder.js'

/**
 * @typedef {import('@shelfsight/client').Client} Client
 * @typedef {import('@shelfsight/client').LiveRecogniser} LiveRecogniser
 * @typedef {import('@shelfsight/client').Product} Product
 * @typedef {import('@shelfsight/client').State} State
 * @typedef {import('../core/offers.js').Offer} Offer
 * @typedef {import('../core/offers.js').Offers} Offers
 * @typedef {import('./notices.js').Notices} Notices
 *
 * @typedef {object} Needs
 * @property {() => ReadonlyMap<string, Product> | null} productsOf what may be offered, by id; null: not known yet
 * @property {(offer: Offer, offers: Offers) => boolean} onChoose returns whether it is in the basket now
 * @property {(offers: Offers) => void} onAnother it is none of them
 * @property {(isOn: boolean) => void} onCamera somebody has switched it
 */

/** The picture, what it is, and why there is no answer where there is none. */
export class Recognising {
  #needs
  #status = new StatusPanel()
  #answers
  #viewfinder
  #client = /** @type {Client | null} */ (null)
  #recogniser = /** @type {LiveRecogniser | null} */ (null)
  #loading = /** @type {Promise<void> | null} */ (null)
  #failure = /** @type {string | null} */ (null)
  #failedVersion = /** @type {string | null} */ (null)
  /** @type {number | null} of the last answer */
  latencyMs = null

  /**
   * @param {Notices} notices
   * @param {Needs} needs
   */
  constructor(notices, needs) {
    this.#needs = needs
    this.#answers = new Answers(notices, needs)
    this.#viewfinder = new Viewfinder({
      judge: (picture, signal) => this.#judge(picture, signal),
      onGone: () => this.#answers.clear(),
      onCamera: needs.onCamera,
    })
  }

  /** @returns {string | null} of the model that answers */
  get version() {
    return this.#recogniser?.version ?? null
  }

  /** @returns {string | null} ISO 8601 */
  get trainedAt() {
    return this.#recogniser?.metadata?.trainedAt ?? null
  }

  /** @param {Client} client */
  open(client) {
    this.#client = client
    this.show(client.state)
  }

  /** End what is shown, and forget what was known. */
  close() {
    this.#viewfinder.clear()
    this.#client = this.#recogniser = this.#failure = null
  }

  /**
   * Show how things are, and load a recogniser that has come.
   *
   * @param {State} state
   */
  show(state) {
    if (state.version === null) this.#recogniser = null
    if (state.version !== this.#failedVersion) this.#failure = null // another one may work
    const isLoaded = this.#recogniser !== null
    this.#status.show(state, { isLoaded, loadFailure: this.#failure })
    if (this.#client && state.version !== null && !isLoaded && this.#failure === null) void this.#load()
  }

  /**
   * @param {unknown} error why there will be no recogniser
   */
  showFailure(error) {
    this.#failure = failure(error)
    this.#status.show({ name: 'error', words: '', version: null }, { isLoaded: false, loadFailure: this.#failure })
  }

  /** Try again what has failed. */
  forgetFailure() {
    this.#failure = null
    if (this.#client) this.show({ ...this.#client.state, name: 'downloading', words: 'Trying again …' })
  }

  /** Judge the photo that is shown, now that there is something to offer. */
  judgeAgain() {
    return this.#viewfinder.judgeAgain()
  }

  /** Start the camera, if the browser lets this page without asking. */
  startIfAllowed() {
    return this.#viewfinder.startIfAllowed()
  }

  /** Load the recogniser that is on the device, once. */
  #load() {
    this.#loading ??= this.#loadNow().finally(() => (this.#loading = null))
    return this.#loading
  }

  async #loadNow() {
    const client = this.#client
    try {
      const recogniser = await client?.load()
      if (recogniser && client === this.#client) this.#recogniser = recogniser
    } catch (error) {
      if (!(error instanceof NoModelError)) this.#fail(error)
    }
    if (this.#client) this.show(this.#client.state)
    await this.judgeAgain()
  }

  /**
   * @param {HTMLImageElement | HTMLVideoElement} picture
   * @param {AbortSignal} signal
   */
  async #judge(picture, signal) {
    const recogniser = this.#recogniser
    const products = this.#needs.productsOf()
    if (!recogniser || !products) return
    const isLive = picture instanceof HTMLVideoElement
    try {
      const answer = await recogniser.recognise(picture, { top: recogniser.metadata?.labels.length, isLive })
      if (signal.aborted) return
      this.latencyMs = answer.latencyMs
      this.#answers.show(offersFor(answer, products, OFFERS), { isLive })
    } catch (error) {
      if (signal.aborted || error instanceof NoModelError) return // it is being cleared
      this.#viewfinder.clear()
      this.#recogniser = null
      this.#fail(error)
      if (this.#client) this.show(this.#client.state)
    }
  }

  /** @param {unknown} error why the recogniser does not answer */
  #fail(error) {
    this.#failure = failure(error)
    this.#failedVersion = this.#client?.state.version ?? null
  }
}
