/**
 * @typedef {import('./offers.js').Offers} Offers
 *
 * @typedef {object} Steady what a camera's answers are, and what is shown of them
 * @property {Offers | null} shown
 * @property {string} lead of the last answer: what it is said to be
 * @property {number} leadCount answers with that lead that followed each other
 * @property {string} whole of the last answer: all that is offered
 * @property {number} wholeCount
 */

/** @type {Steady} */
export const NOTHING_SHOWN = { shown: null, lead: '', leadCount: 0, whole: '', wholeCount: 0 }

const KNOWN_AFTER = 2
const UNKNOWN_AFTER = 3 // a hand in the picture is no reason to take an answer away
const OTHERS_AFTER = 4

/**
 * Return what to show after one more answer of a camera: only what holds, for nobody can tap what flickers.
 *
 * @param {Steady} before
 * @param {Offers} offers
 * @returns {Steady}
 */
export function steadied(before, offers) {
  const lead = leadOf(offers)
  const whole = wholeOf(offers)
  const leadCount = lead === before.lead ? before.leadCount + 1 : 1
  const wholeCount = whole === before.whole ? before.wholeCount + 1 : 1
  const isShown = before.shown !== null && whole === wholeOf(before.shown)
  const hasSettled = isShown || isNewLead(before.shown, offers, leadCount) || wholeCount >= OTHERS_AFTER
  return { shown: hasSettled ? offers : before.shown, lead, leadCount, whole, wholeCount }
}

/**
 * @param {Offers | null} shown
 * @param {Offers} offers
 * @param {number} count
 */
function isNewLead(shown, offers, count) {
  const isOther = shown === null || leadOf(shown) !== leadOf(offers)
  return isOther && count >= (offers.known ? KNOWN_AFTER : UNKNOWN_AFTER)
}

/** @param {Offers} offers */
function leadOf({ known, offers }) {
  return known ? `known ${offers[0]?.product.id}` : 'unknown'
}

/** @param {Offers} offers */
function wholeOf({ known, offers }) {
  return JSON.stringify([known, ...offers.map(({ product }) => product.id)])
}
