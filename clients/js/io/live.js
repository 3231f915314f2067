import { ModelError, NoModelError, OfflineError } from '../core/errors.js'
import { UNSETTLED, settle } from '../core/settling.js'
import { inputOf } from './picture.js'

/**
 * @typedef {import('../core/events.js').EventKind} EventKind
 * @typedef {import('../core/events.js').Facts} Facts
 * @typedef {import('../core/ranking.js').Ranking} Ranking
 * @typedef {import('./builder.js').Builder} Builder
 * @typedef {import('./database.js').Model} Model
 * @typedef {import('./models.js').ModelCache} ModelCache
 * @typedef {import('./picture.js').Picture} Picture
 * @typedef {import('./recogniser.js').Recogniser} Recogniser
 *
 * @typedef {Ranking & { version: string, latencyMs: number }} Answer
 * @typedef {{ model: Model, recogniser: Recogniser }} Loaded
 * @typedef {(kind: EventKind, facts: Facts, about: { version: string, isShadow: boolean }) => void} Report
 */

/** The recogniser of a channel, whichever version it is at the moment: it may change between two answers. */
export class LiveRecogniser {
  #builder
  #cache
  #report
  #active = /** @type {Loaded | null} */ (null)
  #shadow = /** @type {Loaded | null} */ (null)
  /** @type {Map<string, Recogniser>} tried before they are used, by the id of the model */
  #prepared = new Map()
  #settling = UNSETTLED
  #isShadowBusy = false
  #turn = Promise.resolve() // of who changes the models

  /**
   * @param {Builder} builder
   * @param {ModelCache} cache
   * @param {Report} report
   */
  constructor(builder, cache, report) {
    this.#builder = builder
    this.#cache = cache
    this.#report = report
  }

  /** @returns {string | null} of the model that answers */
  get version() {
    return this.#active?.model.version ?? null
  }

  /** @returns {import('../core/bundle.js').Metadata | null} */
  get metadata() {
    return this.#active?.model.metadata ?? null
  }

  /** @returns {import('./backend.js').Backend | null} */
  get backend() {
    return this.#active?.recogniser.backend ?? null
  }

  /**
   * Return the most likely products of a picture, judged by its centre square.
   *
   * @param {Picture} picture
   * @param {{ top?: number, isLive?: boolean }} [options] `isLive`: one of many pictures of a camera
   * @returns {Promise<Answer>}
   * @throws {NoModelError} there is no model yet
   */
  async recognise(picture, { top = 3, isLive = picture instanceof HTMLVideoElement } = {}) {
    const startedMs = performance.now()
    const active = this.#active
    if (!active) throw new NoModelError('the device has no model yet')
    const input = inputOf(picture, active.recogniser.side)
    const ranking = await this.#judge(active, input, top)
    const answer = { ...ranking, version: active.model.version, latencyMs: performance.now() - startedMs }
    if (this.#isWorthReporting(answer, isLive)) {
      this.#report('prediction', factsOf(answer), { version: answer.version, isShadow: false })
      this.#compare(input, active.recogniser.side, answer)
    }
    return answer
  }

  /**
   * Build a model that may be used soon.
   *
   * @param {Model} model
   * @throws {ModelError} it does not work
   */
  async prepare(model) {
    if (!this.#prepared.has(model.id)) this.#prepared.set(model.id, await this.#build(model))
  }

  /**
   * Answer with a model from now on. An answer that is being computed still comes from the one before.
   *
   * @param {Model} active
   * @param {Model | null} shadow runs beside it
   * @returns {Promise<void>}
   * @throws {ModelError} the active one does not work; the one before goes on
   */
  use(active, shadow) {
    const turn = this.#turn.then(() => this.#switch(active, shadow))
    this.#turn = turn.catch(() => {})
    return turn
  }

  /**
   * Forget what was prepared and is not used.
   *
   * @param {readonly (string | null)[]} used ids of models
   */
  forgetOthers(used) {
    for (const [id, recogniser] of this.#prepared) {
      if (used.includes(id)) continue
      recogniser.dispose()
      this.#prepared.delete(id)
    }
  }

  /** Give all memory back. */
  dispose() {
    this.#active?.recogniser.dispose()
    this.#shadow?.recogniser.dispose()
    this.#active = this.#shadow = null
    this.forgetOthers([])
  }

  /**
   * @param {Loaded} active
   * @param {Float32Array} input
   * @param {number} top
   */
  async #judge(active, input, top) {
    try {
      return await active.recogniser.judge(input, { top })
    } catch (error) {
      if (error instanceof ModelError || active.recogniser.backend !== 'webgl') throw error
      // A graphics driver that has given up: the processor needs none.
      this.#turn = this.#turn.then(() => this.#leaveCard()).catch(() => {})
      await this.#turn
      if (!this.#active || this.#active.recogniser.side !== active.recogniser.side) throw error
      return this.#active.recogniser.judge(input, { top })
    }
  }

  /**
   * @param {Model} active
   * @param {Model | null} shadow
   */
  async #switch(active, shadow) {
    const before = [this.#active, this.#shadow]
    this.#active = await this.#load(active, before)
    this.#shadow = shadow && (await this.#load(shadow, before).catch(() => null))
    const used = [this.#active, this.#shadow].map((one) => one?.recogniser)
    for (const one of before) if (one && !used.includes(one.recogniser)) one.recogniser.dispose()
    this.forgetOthers([])
  }

  async #leaveCard() {
    const active = this.#active
    if (active?.recogniser.backend !== 'webgl') return
    const recogniser = await this.#builder.buildWithoutCard(await this.#files(active.model))
    this.#shadow?.recogniser.dispose()
    this.#shadow = null
    this.#active = { model: active.model, recogniser }
    active.recogniser.dispose()
  }

  /**
   * @param {Model} model
   * @param {(Loaded | null)[]} before that are loaded already
   * @returns {Promise<Loaded>}
   */
  async #load(model, before) {
    const here = before.find((one) => one?.model.id === model.id)
    if (here) return here
    const recogniser = this.#prepared.get(model.id) ?? (await this.#build(model))
    this.#prepared.delete(model.id)
    return { model, recogniser }
  }

  /** @param {Model} model */
  async #build(model) {
    return this.#builder.build(await this.#files(model))
  }

  /** @param {Model} model */
  async #files(model) {
    const data = await this.#cache.weights(model)
    // Not the model's fault: the browser has made room.
    if (!data) throw new OfflineError('a part of the recogniser is gone from this device')
    return { metadata: model.metadata, topology: model.topology, specs: model.specs, data }
  }

  /**
   * @param {Answer} answer
   * @param {boolean} isLive
   */
  #isWorthReporting({ known, predictions }, isLive) {
    if (!isLive) return true
    const product = known ? predictions[0].product : null
    const { after, isSettled } = settle(this.#settling, product, Date.now())
    this.#settling = after
    return isSettled
  }

  /**
   * Let the shadow answer, too, when the page has nothing better to do; nobody sees what it says.
   *
   * @param {Float32Array} input
   * @param {number} side of the input
   * @param {Answer} shown
   */
  #compare(input, side, shown) {
    const shadow = this.#shadow
    if (!shadow || this.#isShadowBusy || shadow.recogniser.side !== side) return
    this.#isShadowBusy = true
    const answer = async () => {
      const startedMs = performance.now()
      const ranking = await shadow.recogniser.judge(input, { top: 1 })
      const facts = factsOf({ ...ranking, latencyMs: performance.now() - startedMs })
      const agrees = facts.known === shown.known && (!shown.known || facts.productId === shown.predictions[0].product)
      this.#report('shadow', { ...facts, agrees }, { version: shadow.model.version, isShadow: true })
    }
    whenIdle(() => {
      const isUsed = this.#shadow === shadow
      const done = isUsed ? answer() : Promise.resolve()
      done.catch(() => {}).finally(() => (this.#isShadowBusy = false))
    })
  }
}

/**
 * @param {Ranking & { latencyMs: number }} answer
 * @returns {Facts}
 */
function factsOf({ predictions: [best], known, latencyMs }) {
  return { productId: best?.product, confidence: best?.confidence, known, latencyMs }
}

/** @param {() => void} work */
function whenIdle(work) {
  if ('requestIdleCallback' in globalThis) requestIdleCallback(work, { timeout: 2_000 })
  else setTimeout(work, 50)
}
