/**
 * What a page needs to recognise products and to sell them: start with `openClient`.
 *
 * `loadRecogniser` is for a page that has the address of a bundle and nothing else: it keeps nothing, and checks nothing.
 *
 * @typedef {import('./core/ranking.js').Prediction} Prediction
 * @typedef {import('./core/ranking.js').Ranking} Ranking
 * @typedef {import('./core/search.js').Product} Product
 * @typedef {import('./core/search.js').Search} Search
 * @typedef {import('./core/state.js').State} State
 * @typedef {import('./io/client.js').Client} Client
 * @typedef {import('./io/client.js').Options} ClientOptions
 * @typedef {import('./io/live.js').Answer} Answer
 * @typedef {import('./io/live.js').LiveRecogniser} LiveRecogniser
 * @typedef {import('./io/products.js').ProductList} ProductList
 * @typedef {import('./io/recogniser.js').Recogniser} Recogniser
 * @typedef {import('./io/sales.js').Outcome} SalesOutcome
 */

export { centreSquare } from './core/crop.js'
export {
  BusyError,
  ChecksumError,
  ConfigRefusedError,
  DownloadError,
  LoginError,
  ModelError,
  NoModelError,
  NoRoomError,
  OfflineError,
  OldAppError,
  QueueFullError,
  UnsupportedError,
} from './core/errors.js'
export { rank } from './core/ranking.js'
export { createSearch } from './core/search.js'
export { openClient } from './io/client.js'
export { loadRecogniser } from './io/load.js'
