import { version_core as tensorFlowVersion } from '@tensorflow/tfjs-core'
import { ModelError, UnsupportedError } from '../core/errors.js'
import { graphicsCard, startBackend } from './backend.js'
import { buildRecogniser } from './recogniser.js'

/**
 * @typedef {import('./backend.js').Backend} Backend
 * @typedef {import('./database.js').Database} Database
 * @typedef {import('./recogniser.js').ModelFiles} ModelFiles
 * @typedef {import('./recogniser.js').Recogniser} Recogniser
 */

const MEASURED = 5 // answers of each backend; the middle one counts

/** Builds recognisers on the backend that is fastest on this machine, which it measures once. */
export class Builder {
  #database
  #backend = /** @type {Backend | null} */ (null)

  /** @param {Database} database */
  constructor(database) {
    this.#database = database
  }

  /**
   * Return the recogniser that files make, warmed up.
   *
   * @param {ModelFiles} files
   * @returns {Promise<Recogniser>}
   * @throws {ModelError} the files do not make a recogniser
   * @throws {UnsupportedError} this browser runs none
   */
  async build(files) {
    const backend = await this.#chosen()
    if (backend === null) return this.#measure(files)
    if (backend === 'wasm') return onProcessor(files)
    try {
      return await buildRecogniser(files, 'webgl')
    } catch {
      return this.buildWithoutCard(files) // a driver that fails, or the model: the processor tells
    }
  }

  /**
   * Return the recogniser on the processor, where all are built from now on.
   *
   * @param {ModelFiles} files
   * @returns {Promise<Recogniser>}
   */
  async buildWithoutCard(files) {
    const recogniser = await onProcessor(files)
    await this.#choose('wasm')
    return recogniser
  }

  /** @returns {Promise<Backend | null>} null: it is to be measured */
  async #chosen() {
    if (this.#backend) return this.#backend
    const card = graphicsCard()
    if (card === null) return (this.#backend = 'wasm')
    const kept = await this.#database.get('state', 'backend')
    return kept?.machine === machineOf(card) ? (this.#backend = kept.backend) : null
  }

  /**
   * Build on both, and keep the one that answers faster.
   *
   * @param {ModelFiles} files
   */
  async #measure(files) {
    const onCard = await buildRecogniser(files, 'webgl').catch(() => null)
    const cardMs = onCard ? await medianMs(onCard).catch(() => Infinity) : Infinity
    const here = await onProcessor(files).catch((error) => {
      onCard?.dispose()
      throw error
    })
    if (!onCard || (await medianMs(here)) <= cardMs) {
      onCard?.dispose()
      await this.#choose('wasm')
      return here
    }
    here.dispose()
    await startBackend('webgl')
    await this.#choose('webgl')
    return onCard
  }

  /** @param {Backend} backend */
  async #choose(backend) {
    this.#backend = backend
    const machine = machineOf(graphicsCard())
    await this.#database.put('state', { backend, machine }, 'backend').catch(() => {}) // then it is measured again
  }
}

/**
 * Return the recogniser on the processor, where nothing but the files can be at fault.
 *
 * @param {ModelFiles} files
 * @returns {Promise<Recogniser>}
 */
async function onProcessor(files) {
  try {
    return await buildRecogniser(files, 'wasm')
  } catch (cause) {
    if (cause instanceof ModelError || cause instanceof UnsupportedError) throw cause
    throw new ModelError('the model does not run: train again', { cause })
  }
}

/** @param {Recogniser} recogniser */
async function medianMs(recogniser) {
  const durations = []
  for (let answers = 0; answers < MEASURED; answers += 1) {
    const startedMs = performance.now()
    await recogniser.warmUp()
    durations.push(performance.now() - startedMs)
  }
  return durations.sort((a, b) => a - b)[Math.floor(MEASURED / 2)]
}

/** @param {string | null} card */
function machineOf(card) {
  return `TensorFlow.js ${tensorFlowVersion}, ${card}`
}
