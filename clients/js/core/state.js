import {
  BusyError,
  ChecksumError,
  ConfigRefusedError,
  LoginError,
  ModelError,
  NoModelError,
  NoRoomError,
  OfflineError,
  OldAppError,
  UnsupportedError,
} from './errors.js'

/**
 * @typedef {object} State how things are, in words for the person at the till
 * @property {'no-model' | 'downloading' | 'ready' | 'updating' | 'offline' | 'error'} name
 * @property {string} words
 * @property {string | null} version of the model that answers; null: none does
 * @property {number} [receivedBytes] while it downloads or updates
 * @property {number} [totalBytes]
 * @property {boolean} [retryable] of an error: whether trying again may help
 */

export const NO_MODEL = 'Camera recognition not yet set up. Add products with images first.'

/** @type {Record<string, string>} */
const REFUSED = {
  expired: 'The server’s answer is out of date: check date and time of this device',
  replayed: 'The server answers with something older than before: tell whoever runs it',
  other_channel: 'The server answers for another shop: log in again with a new pairing link',
  unknown_key: 'The server has a key that this device does not know: log in again with a new pairing link',
}

/** @type {[new (...parameters: any) => Error, string, boolean][]} */
const FAILURES = [
  [ChecksumError, 'The download was damaged on its way: it is tried again', true],
  [BusyError, 'The server is busy: it is asked again soon', true],
  [LoginError, 'This device is not logged in any more: log in again', false],
  [OldAppError, 'This page is too old for the shop’s recogniser: reload it', false],
  [NoRoomError, 'There is no room left on this device: free some, then try again', true],
  [ModelError, 'The newest recogniser does not work: it must be trained again', false],
]

/** @returns {State} the channel has no model, and the device neither */
export function noModel() {
  return { name: 'no-model', words: NO_MODEL, version: null }
}

/**
 * @param {string} version
 * @param {{ isWithdrawn?: boolean }} [facts] the channel has no model any more
 * @returns {State}
 */
export function ready(version, { isWithdrawn = false } = {}) {
  const words = isWithdrawn ? `The shop has no recogniser any more: version ${version} goes on` : 'Ready'
  return { name: 'ready', words: `${words}.`, version }
}

/**
 * @param {string | null} version
 * @param {number} [receivedBytes]
 * @param {number} [totalBytes] 0: not known yet
 * @returns {State}
 */
export function progress(version, receivedBytes = 0, totalBytes = 0) {
  if (version === null) {
    return { name: 'downloading', words: 'The recogniser is being downloaded.', version, receivedBytes, totalBytes }
  }
  const words = `A new recogniser is being downloaded; version ${version} goes on meanwhile.`
  return { name: 'updating', words, version, receivedBytes, totalBytes }
}

/**
 * Return how things are after a look for news has failed.
 *
 * @param {unknown} error
 * @param {string | null} version of the model that answers
 * @returns {State}
 */
export function failed(error, version) {
  if (error instanceof NoModelError) return version === null ? noModel() : ready(version, { isWithdrawn: true })
  if (error instanceof OfflineError) return offline(version)
  const { words, retryable } = failure(error)
  return { name: 'error', words: goesOn(words, version), version, retryable }
}

/**
 * @param {string | null} version
 * @returns {State}
 */
function offline(version) {
  const words = version === null ? 'No connection: connect once to download the recogniser' : 'No connection'
  return { name: 'offline', words: goesOn(words, version), version }
}

/**
 * @param {unknown} error
 * @returns {{ words: string, retryable: boolean }}
 */
function failure(error) {
  if (error instanceof ConfigRefusedError) {
    const words = REFUSED[error.reason] ?? 'The server’s answer was changed on its way: it is asked again'
    return { words, retryable: error.reason !== 'unknown_key' && error.reason !== 'other_channel' }
  }
  if (error instanceof UnsupportedError) return { words: sentence(error.message), retryable: false }
  const known = FAILURES.find(([kind]) => error instanceof kind)
  if (known) return { words: known[1], retryable: known[2] }
  const reason = error instanceof Error ? error.message : String(error)
  return { words: `The recogniser did not arrive (${reason}): it is tried again`, retryable: true }
}

/**
 * @param {string} words without a full stop
 * @param {string | null} version
 */
function goesOn(words, version) {
  return version === null ? `${words}.` : `${words}. Version ${version} goes on.`
}

/** @param {string} words */
function sentence(words) {
  return words.replace(/\.$/, '').replace(/^./, (letter) => letter.toUpperCase())
}
