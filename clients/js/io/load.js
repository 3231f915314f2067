import { ModelError } from '../core/errors.js'
import { fetchMetadata, fetchModel } from './download.js'

/** @typedef {import('./recogniser.js').Recogniser} Recogniser */

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
  // The code is asked for beside the weights, and not before anybody wants a recogniser: a page may never do.
  const [files, { buildRecogniser }, { backends }] = await Promise.all([
    fetchModel(base, onProgress),
    import('./recogniser.js'),
    import('./backend.js'),
  ])
  /** @type {unknown} */
  let cause
  for (const backend of backends()) {
    try {
      return await buildRecogniser({ metadata, ...files }, backend)
    } catch (error) {
      cause = error // a graphics driver that fails on its first picture: the next backend needs none
    }
  }
  if (cause instanceof ModelError) throw cause
  throw new ModelError('the model does not run in this browser: update the browser, or train again', { cause })
}
