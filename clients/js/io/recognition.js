import { ModelError, NoModelError } from '../core/errors.js'

/**
 * @typedef {import('../core/retention.js').Use} Use
 * @typedef {import('./database.js').Database} Database
 * @typedef {import('./database.js').Model} Model
 * @typedef {import('./live.js').LiveRecogniser} LiveRecogniser
 * @typedef {import('./live.js').Report} Report
 * @typedef {import('./models.js').ModelCache} ModelCache
 */

/** The recogniser of a client, with the code it takes, which is loaded when it is needed: a page can search before. */
export class Recognition {
  #database
  #cache
  #report
  #onRefused
  #live = /** @type {Promise<LiveRecogniser> | null} */ (null)
  #isWanted = false

  /**
   * @param {Database} database
   * @param {ModelCache} cache
   * @param {Report} report
   * @param {(error: ModelError) => Promise<void>} onRefused hears that a model in use does not work
   */
  constructor(database, cache, report, onRefused) {
    this.#database = database
    this.#cache = cache
    this.#report = report
    this.#onRefused = onRefused
  }

  /**
   * Return the recogniser, with the model that is in use; where that does not work, with the one before.
   *
   * @returns {Promise<LiveRecogniser>}
   * @throws {NoModelError} nothing is cached
   */
  async load() {
    this.#isWanted = true
    const live = await this.#recogniser()
    const isFirst = live.version === null
    while (!(await this.#follows(live)));
    if (isFirst) this.#report('cache_hit', {}, { version: String(live.version), isShadow: false })
    return live
  }

  /**
   * Build a model that may be used soon.
   *
   * @param {Model} model
   * @throws {ModelError} it does not work
   */
  async prepare(model) {
    await (await this.#recogniser()).prepare(model)
  }

  /** Answer with what is in use from now on, if anybody wants answers. */
  async follow() {
    const live = await this.#live
    if (!live) return
    if (this.#isWanted) {
      while (!(await this.#follows(live)));
    } else {
      const { active, shadow } = await this.#cache.use()
      live.forgetOthers([active, shadow])
    }
  }

  /** @returns {Promise<string | null>} on what it computes */
  async backend() {
    return (await this.#live)?.backend ?? null
  }

  async dispose() {
    const live = await this.#live?.catch(() => null)
    live?.dispose()
  }

  /**
   * @param {LiveRecogniser} live
   * @returns {Promise<boolean>} false: that model does not work, and another one is in use now
   */
  async #follows(live) {
    const use = await this.#cache.use()
    const model = await this.#cache.model(use.active)
    if (!model) throw new NoModelError('nothing is cached on this device yet')
    try {
      await live.use(model, await this.#cache.model(use.shadow))
      return true
    } catch (error) {
      if (!(error instanceof ModelError)) throw error
      const { id, version } = model
      await this.#cache.refuse({ id, version, reason: error.message })
      this.#report('load_failure', { reason: error.message }, { version, isShadow: false })
      await this.#onRefused(error)
      return false
    }
  }

  #recogniser() {
    this.#live ??= this.#import()
    return this.#live
  }

  async #import() {
    try {
      const [{ Builder }, { LiveRecogniser }] = await Promise.all([import('./builder.js'), import('./live.js')])
      return new LiveRecogniser(new Builder(this.#database), this.#cache, this.#report)
    } catch (error) {
      this.#live = null // the code did not arrive: it may the next time
      throw error
    }
  }
}
