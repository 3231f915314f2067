import { tensor4d, tidy } from '@tensorflow/tfjs-core'
import { loadLayersModel } from '@tensorflow/tfjs-layers'
import { centreSquare } from '../core/crop.js'
import { ModelError } from '../core/errors.js'
import { toInput } from '../core/pixels.js'
import { rank } from '../core/ranking.js'
import { backends, startBackend } from './backend.js'
import { fetchMetadata, fetchModel } from './download.js'

/**
 * @typedef {import('@tensorflow/tfjs-core').Tensor} Tensor
 * @typedef {import('@tensorflow/tfjs-layers').LayersModel} LayersModel
 * @typedef {import('./backend.js').Backend} Backend
 * @typedef {import('./download.js').Metadata} Metadata
 * @typedef {ImageBitmap | HTMLImageElement | HTMLVideoElement | HTMLCanvasElement} Picture
 */

/**
 * Download a bundle and return the recogniser it holds, warmed up: its first answer is as fast as the next.
 *
 * @param {object} options
 * @param {string} options.baseUrl folder of the bundle, ends in a slash; may be relative to the page
 * @param {import('./download.js').OnProgress} [options.onProgress] of the weights' download
 * @returns {Promise<Recogniser>}
 * @throws {import('../core/errors.js').NoModelError} the channel has no model
 * @throws {import('../core/errors.js').DownloadError} a file did not arrive whole
 * @throws {ModelError} the files do not make a recogniser
 */
export async function loadRecogniser({ baseUrl, onProgress = () => {} }) {
  const base = new URL(baseUrl, document.baseURI)
  const metadata = await fetchMetadata(base)
  const files = await fetchModel(base, onProgress)
  /** @type {unknown} */
  let cause
  for (const backend of backends()) {
    try {
      await startBackend(backend)
      return await warmedUp(new Recogniser(metadata, await build(files), backend))
    } catch (error) {
      cause = error // a graphics driver that fails on its first picture: the next backend needs none
    }
  }
  if (cause instanceof ModelError) throw cause
  throw new ModelError('the model does not run in this browser: update the browser, or train again', { cause })
}

/** Recognises the products of one channel. Made by `loadRecogniser`. */
export class Recogniser {
  #model
  #canvas = document.createElement('canvas')

  /**
   * @param {Metadata} metadata
   * @param {LayersModel} model
   * @param {Backend} backend
   */
  constructor(metadata, model, backend) {
    this.metadata = metadata
    this.backend = backend
    this.#model = model
    this.#canvas.width = this.#canvas.height = metadata.imageSize ?? 224
  }

  /**
   * Return the most likely products of a picture, judged by its centre square.
   *
   * @param {Picture} picture
   * @param {{ top?: number }} [options]
   * @returns {Promise<import('../core/ranking.js').Ranking>}
   */
  async recognise(picture, { top } = {}) {
    // A bundle made elsewhere has no threshold: its best answer is then always believed.
    const { labels, threshold = 0 } = this.metadata
    return rank(await this.#probabilities(picture), labels, { top, threshold })
  }

  /** @param {Picture} picture */
  async #probabilities(picture) {
    const { data, width, height } = this.#pixels(picture)
    const answer = tidy(() => {
      const input = tensor4d(toInput(data), [1, height, width, 3])
      return /** @type {Tensor} */ (this.#model.predict(input))
    })
    try {
      return await answer.data()
    } finally {
      answer.dispose()
    }
  }

  /** @param {Picture} picture */
  #pixels(picture) {
    const { width } = this.#canvas
    const context = this.#canvas.getContext('2d', { willReadFrequently: true })
    if (!context) throw new ModelError('this browser gives no canvas to draw on: close other tabs')
    context.fillStyle = 'white' // what is transparent is white in training, too
    context.fillRect(0, 0, width, width)
    const { x, y, side } = centreSquare(...sizeOf(picture))
    // Default smoothing, as in Teachable Machine: bilinear, which is what training uses.
    context.drawImage(picture, x, y, side, side, 0, 0, width, width)
    return context.getImageData(0, 0, width, width)
  }
}

/** @param {Recogniser} recogniser */
async function warmedUp(recogniser) {
  const blank = document.createElement('canvas')
  await recogniser.recognise(blank)
  return recogniser
}

/** @param {Awaited<ReturnType<typeof fetchModel>>} files */
function build({ topology, specs, data }) {
  return loadLayersModel({
    load: async () => ({ modelTopology: topology, weightSpecs: specs, weightData: data }),
  })
}

/**
 * @param {Picture} picture
 * @returns {[width: number, height: number]} pixels
 */
function sizeOf(picture) {
  if (picture instanceof HTMLVideoElement) return [picture.videoWidth, picture.videoHeight]
  if (picture instanceof HTMLImageElement) return [picture.naturalWidth, picture.naturalHeight]
  return [picture.width, picture.height]
}
