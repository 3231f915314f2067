/**
 * What a page needs to recognise products: start with `loadRecogniser`.
 *
 * @typedef {import('./core/ranking.js').Prediction} Prediction
 * @typedef {import('./core/ranking.js').Ranking} Ranking
 */

export { centreSquare } from './core/crop.js'
export { DownloadError, ModelError, NoModelError } from './core/errors.js'
export { rank } from './core/ranking.js'
export { Recogniser, loadRecogniser } from './io/recogniser.js'
