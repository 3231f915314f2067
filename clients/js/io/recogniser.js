import { tensor4d, tidy } from '@tensorflow/tfjs-core'
import { loadLayersModel } from '@tensorflow/tfjs-layers'
import { checkLabels } from '../core/bundle.js'
import { ModelError } from '../core/errors.js'
import { rank } from '../core/ranking.js'
import { startBackend } from './backend.js'
import { inputOf } from './picture.js'

/**
 * @typedef {import('@tensorflow/tfjs-core').Tensor} Tensor
 * @typedef {import('@tensorflow/tfjs-layers').LayersModel} LayersModel
 * @typedef {import('../core/bundle.js').Metadata} Metadata
 * @typedef {import('../core/bundle.js').WeightSpec} WeightSpec
 * @typedef {import('./backend.js').Backend} Backend
 * @typedef {import('./picture.js').Picture} Picture
 *
 * @typedef {object} ModelFiles
 * @property {Metadata} metadata
 * @property {object} topology
 * @property {WeightSpec[]} specs
 * @property {ArrayBuffer[]} data weights, in the order of `specs`
 */

const SIDE = 224

/**
 * Return the recogniser that files make, warmed up.
 *
 * @param {ModelFiles} files
 * @param {Backend} backend to compute on
 * @returns {Promise<Recogniser>}
 * @throws {ModelError} the files do not make a recogniser
 * @throws {import('../core/errors.js').UnsupportedError} the backend does not start
 * @throws {Error} the model does not run on this backend
 */
export async function buildRecogniser({ metadata, topology, specs, data }, backend) {
  await startBackend(backend)
  const load = async () => ({ modelTopology: topology, weightSpecs: specs, weightData: data })
  const model = await loadLayersModel({ load }).catch((cause) => {
    throw new ModelError('TensorFlow.js cannot build the model: train again', { cause })
  })
  try {
    checkLabels(metadata, Number(model.outputs[0].shape.at(-1)))
    const recogniser = new Recogniser(metadata, model, backend)
    await recogniser.warmUp()
    return recogniser
  } catch (error) {
    model.dispose()
    throw error
  }
}

/** Recognises the products of one channel. */
export class Recogniser {
  #model
  #running = 0
  #isRetired = false

  /**
   * @param {Metadata} metadata
   * @param {LayersModel} model
   * @param {Backend} backend
   */
  constructor(metadata, model, backend) {
    this.metadata = metadata
    this.backend = backend
    this.side = metadata.imageSize ?? SIDE
    this.#model = model
  }

  /**
   * Return the most likely products of a picture, judged by its centre square.
   *
   * @param {Picture} picture
   * @param {{ top?: number }} [options]
   * @returns {Promise<import('../core/ranking.js').Ranking>}
   */
  async recognise(picture, { top } = {}) {
    return this.judge(inputOf(picture, this.side), { top })
  }

  /**
   * Return the most likely products of a picture that is an input already.
   *
   * @param {Float32Array} input as `inputOf` returns it
   * @param {{ top?: number }} [options]
   * @returns {Promise<import('../core/ranking.js').Ranking>}
   */
  async judge(input, { top } = {}) {
    // A bundle made elsewhere has no threshold: its best answer is then always believed.
    const { labels, threshold = 0 } = this.metadata
    return rank(await this.#probabilities(input), labels, { top, threshold })
  }

  /** Answer once for nothing: the first answer takes longest. */
  async warmUp() {
    await this.judge(new Float32Array(this.side * this.side * 3))
  }

  /** Give its memory back, as soon as no answer is being computed. */
  dispose() {
    this.#isRetired = true
    if (this.#running === 0) this.#model.dispose()
  }

  /** @param {Float32Array} input */
  async #probabilities(input) {
    this.#running += 1
    try {
      const answer = tidy(() => {
        const pixels = tensor4d(input, [1, this.side, this.side, 3])
        return /** @type {Tensor} */ (this.#model.predict(pixels))
      })
      return await answer.data().finally(() => answer.dispose())
    } finally {
      this.#running -= 1
      if (this.#isRetired && this.#running === 0) this.#model.dispose()
    }
  }
}
