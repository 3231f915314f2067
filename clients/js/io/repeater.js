import { INTERVAL_MS, nextLookMs, retryMs } from '../core/backoff.js'
import { BusyError } from '../core/errors.js'

/** Does something again: when it is woken, after failures with growing pauses, and once in a while if it is told so. */
export class Repeater {
  #work
  #isPeriodic
  #isFinal
  #timer = /** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined)
  #running = /** @type {Promise<void> | null} */ (null)
  #ending = /** @type {AbortController | null} */ (null)
  #isStopped = false
  #isWanted = false
  #failures = 0
  #dueAtMs = Infinity
  #notBeforeMs = 0
  #doneAtMs = 0

  /**
   * @param {(signal: AbortSignal) => Promise<void>} work tells by itself what it fails of
   * @param {object} [options]
   * @param {boolean} [options.isPeriodic]
   * @param {(error: unknown) => boolean} [options.isFinal] whether a failure is not one that soon passes
   */
  constructor(work, { isPeriodic = false, isFinal = () => false } = {}) {
    this.#work = work
    this.#isPeriodic = isPeriodic
    this.#isFinal = isFinal
  }

  /** @returns {boolean} whether it has not been done for longer than it should be */
  get isOverdue() {
    return Date.now() - this.#doneAtMs > INTERVAL_MS
  }

  get isRunning() {
    return this.#running !== null
  }

  /**
   * Do it soon, but not before the server wants to be asked again. A time that is set already counts if it is earlier.
   *
   * @param {number} [delayMs]
   */
  wake(delayMs = 0) {
    const dueAtMs = Math.max(Date.now() + delayMs, this.#notBeforeMs)
    if (this.#isStopped || dueAtMs >= this.#dueAtMs) return
    clearTimeout(this.#timer)
    this.#dueAtMs = dueAtMs
    this.#timer = setTimeout(() => this.#onTime(), dueAtMs - Date.now())
  }

  /**
   * Do it now, or wait for the one that is being done.
   *
   * @param {AbortSignal} [signal] ends it
   * @returns {Promise<void>} fails as the work does
   */
  async now(signal) {
    signal?.throwIfAborted()
    if (this.#isStopped) throw new DOMException('it was closed', 'AbortError')
    const end = () => this.#ending?.abort(signal?.reason)
    signal?.addEventListener('abort', end)
    this.#running ??= this.#run().finally(() => this.#rest())
    return this.#running.finally(() => signal?.removeEventListener('abort', end))
  }

  /** End the one that is being done; it is tried again later. */
  cancel() {
    this.#ending?.abort(new DOMException('it was stopped', 'AbortError'))
  }

  /** End it for ever. */
  stop() {
    this.#isStopped = true
    clearTimeout(this.#timer)
    this.#ending?.abort(new DOMException('it was closed', 'AbortError'))
  }

  #onTime() {
    this.#dueAtMs = Infinity
    if (this.#running) this.#isWanted = true
    else this.now().catch(() => {})
  }

  async #run() {
    clearTimeout(this.#timer)
    this.#dueAtMs = Infinity
    this.#ending = new AbortController()
    try {
      await this.#work(this.#ending.signal)
      this.#failures = 0
      this.#doneAtMs = Date.now()
      if (this.#isPeriodic) this.wake(nextLookMs(Math.random()))
    } catch (error) {
      this.#failures += 1
      const wishMs = error instanceof BusyError ? error.retryAfterMs : 0
      const pauseMs = this.#isFinal(error) ? INTERVAL_MS : retryMs(this.#failures, Math.random(), wishMs)
      if (wishMs > 0) this.#notBeforeMs = Date.now() + pauseMs
      this.wake(pauseMs)
      throw error
    }
  }

  /** What was wanted while it was being done may have come too late for it. */
  #rest() {
    this.#running = this.#ending = null
    if (this.#isWanted) this.wake()
    this.#isWanted = false
  }
}
