import { isProblem } from './problems.js'
import { plainVersion } from './versions.js'

/**
 * @typedef {'load_failure' | 'download_failure' | 'checksum_failure' | 'config_failure'} FailureKind
 * @typedef {'prediction' | 'correction' | 'shadow' | 'cache_hit' | FailureKind} EventKind
 *
 * @typedef {object} Facts what an event says, as far as its kind has it
 * @property {string} [productId] that the model answered
 * @property {string} [correctProductId] that the person at the till chose instead
 * @property {number} [confidence] 0..1
 * @property {boolean} [known] whether the confidence reached the threshold
 * @property {number} [latencyMs] from picture to answer
 * @property {boolean} [agrees] whether the shadow answered as the active version
 * @property {string} [reason] of a failure
 *
 * @typedef {Facts & { id: string, at: string, kind: EventKind, version?: string, device?: string }} DeviceEvent
 */

/** So many events wait at most; then the oldest go, and are counted. */
export const MOST_EVENTS = 2_000

/** So many go with one request at most. */
export const BATCH_EVENTS = 200

const LONGEST_REASON = 300

/**
 * Return an event as the server takes it.
 *
 * @param {EventKind} kind
 * @param {Facts} facts
 * @param {{ id: string, at: Date, version: string | null, device: string | null }} circumstances
 * @returns {DeviceEvent}
 */
export function deviceEvent(kind, { confidence, latencyMs, reason, ...facts }, { id, at, version, device }) {
  return {
    id,
    at: at.toISOString(),
    kind,
    ...(version !== null && { version: plainVersion(version) }),
    ...(device !== null && { device }),
    ...facts,
    ...(confidence !== undefined && { confidence: Math.min(1, Math.max(0, confidence)) }), // softmax ends at 1.0000001
    ...(latencyMs !== undefined && { latencyMs: Math.round(latencyMs * 10) / 10 }),
    ...(reason !== undefined && { reason: clipped(reason) }),
  }
}

/**
 * Return what to do with a batch of events after the server has answered.
 *
 * @param {{ status: number, body: any }} answer the body's JSON, null if it is none
 * @param {number} count events in the batch
 * @returns {'sent' | 'smaller' | 'drop' | 'later'} smaller: send fewer at once; drop: the server will never take them
 */
export function afterEvents({ status, body }, count) {
  if (status === 200) return typeof body?.stored === 'number' ? 'sent' : 'later' // else it is a captive portal's page
  if (status === 413) return count > 1 ? 'smaller' : 'drop'
  // A batch that the server cannot read keeps out all that come behind it. It says nothing of single events: those
  // that are wrong it names in a good answer.
  return (status === 400 || status === 422) && isProblem({ status, body }) ? 'drop' : 'later'
}

/**
 * Return the beginning of a text, without what no database holds.
 *
 * @param {string} reason
 */
function clipped(reason) {
  const letters = Array.from(reason).filter((letter) => !/[\0\p{Surrogate}]/u.test(letter))
  return letters.slice(0, LONGEST_REASON).join('')
}
