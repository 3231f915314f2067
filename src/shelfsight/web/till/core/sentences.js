/** What the till says beside the recogniser. Pure: values in, words out. */

/**
 * @typedef {import('@shelfsight/client').State} State
 * @typedef {import('@shelfsight/client').SalesOutcome} SalesOutcome
 *
 * @typedef {object} Status
 * @property {string} words
 * @property {'good' | 'busy' | 'warn' | 'bad'} tone
 */

/** Of the 100 sales that may wait, so many are left when the till begins to warn. */
const FEW_LEFT = 20
const MOST_WAITING = 100

/**
 * Return how things are, as short as it fits beside the name of a shop.
 *
 * @param {State} state
 * @param {{ isLoaded: boolean, isOnline: boolean }} facts `isLoaded`: the recogniser answers
 * @returns {Status}
 */
export function statusOf(state, { isLoaded, isOnline }) {
  if (state.name === 'offline' || !isOnline) return { words: 'Offline', tone: 'warn' }
  if (state.name === 'error') return { words: 'Problem: see settings', tone: 'bad' }
  if (state.name === 'no-model') return { words: 'Without camera', tone: 'warn' }
  if (state.name === 'downloading') return { words: withShare('Downloading', state), tone: 'busy' }
  if (!isLoaded) return { words: 'Starting', tone: 'busy' }
  if (state.name === 'updating') return { words: withShare('Updating', state), tone: 'busy' }
  return { words: 'Ready', tone: 'good' }
}

/**
 * Return what waits to be sent, and what was refused; null: nothing.
 *
 * @param {SalesOutcome} outcome
 * @returns {Status | null}
 */
export function queueOf({ waiting, refused }) {
  if (refused.length > 0) return { words: refusedWords(refused.length), tone: 'bad' }
  if (waiting === 0) return null
  const left = MOST_WAITING - waiting
  const most = left <= FEW_LEFT ? ` Room for ${left} more.` : ''
  return { words: `${waitingWords(waiting)}${most}`, tone: 'warn' }
}

/**
 * @param {'sent' | 'waiting' | 'refused' | 'unknown' | 'sending'} fate of a sale
 * @param {number} waiting sales in all
 */
export function soldWords(fate, waiting) {
  if (fate === 'refused') return { words: 'Sale refused', detail: 'It stays on this device: see below what to do.' }
  if (fate === 'waiting') {
    const detail = `No connection: it is kept on this device and sent by itself. ${waitingWords(waiting)}`
    return { words: 'Sale recorded', detail }
  }
  return { words: 'Sale recorded', detail: fate === 'sent' ? 'Booked on the server.' : 'Sending it …' }
}

/**
 * Return why a sale was refused, and what somebody can do about it.
 *
 * @param {string} reason as the server says it
 * @param {(productId: string) => string} nameOf
 * @returns {{ reason: string, advice: string }}
 */
export function refusalWords(reason, nameOf) {
  const gone = [...reason.matchAll(/names product '([^']+)', which/g)].map(([, id]) => nameOf(id))
  if (gone.length > 0 || /product not found/i.test(reason)) {
    const words = gone.length > 0 ? `Product not found: ${[...new Set(gone)].join(', ')}` : reason
    return { reason: words, advice: 'The shop does not sell it any more. Put the sale back into the basket, remove that product, and check out again. If it is sold again, try again.' }
  }
  if (/booked already/i.test(reason)) {
    return { reason, advice: 'Look on the server for the sale that it has, before this one is sold again.' }
  }
  return { reason, advice: 'Put the sale back into the basket, change it, and check out again; or try again, if the sale is right.' }
}

/** @param {number} unsent sales on the device */
export function leaveWords(unsent) {
  const cache = 'Logging out removes what was downloaded from this device, and empties the basket.'
  if (unsent === 0) return cache
  const sales = unsent === 1 ? '1 sale is not sent yet: it stays' : `${unsent} sales are not sent yet: they stay`
  return `${cache} ${sales} on this device and will be sent after the next login.`
}

/**
 * @param {number} count
 * @param {string} noun
 */
export function countWords(count, noun) {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** @param {number} waiting */
export function waitingWords(waiting) {
  return waiting === 1 ? '1 sale waits to be sent.' : `${waiting} sales wait to be sent.`
}

/** @param {number} refused */
function refusedWords(refused) {
  return refused === 1 ? '1 sale was refused: look at it' : `${refused} sales were refused: look at them`
}

/**
 * @param {string} words
 * @param {State} state
 */
function withShare(words, { receivedBytes = 0, totalBytes = 0 }) {
  return totalBytes > 0 ? `${words} ${Math.floor((100 * receivedBytes) / totalBytes)}%` : words
}
