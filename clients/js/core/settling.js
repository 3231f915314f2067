/**
 * @typedef {object} Settling what a camera's answers have been lately
 * @property {string | null} product of the last answer; null: nothing known
 * @property {number} count answers with it that followed each other
 * @property {string | null} [reported] the product of the last answer that was reported; undefined: none was
 * @property {number} reportedAtMs
 */

/** @type {Settling} */
export const UNSETTLED = { product: null, count: 0, reportedAtMs: 0 }

const SETTLED_COUNT = 3
const AT_MOST_EVERY_MS = 2_000

/**
 * Return whether an answer of a camera is to be reported: once when it has settled, not for every picture.
 *
 * It has when three in a row name the same product. It is reported once, however long the product lies there, and
 * anew after another one.
 *
 * @param {Settling} before
 * @param {string | null} product that the answer names; null: nothing that it knows
 * @param {number} nowMs
 * @returns {{ after: Settling, isSettled: boolean }}
 */
export function settle(before, product, nowMs) {
  const count = product === before.product ? before.count + 1 : 1
  const isNew = before.reported === undefined || product !== before.reported
  const mayReport = before.reported === undefined || nowMs - before.reportedAtMs >= AT_MOST_EVERY_MS
  const isSettled = count >= SETTLED_COUNT && isNew && mayReport
  const after = { ...before, product, count }
  return { after: isSettled ? { ...after, reported: product, reportedAtMs: nowMs } : after, isSettled }
}
