import { write } from './database.js'

/** @typedef {import('./database.js').Database} Database */

/** What a logout empties, beside what `EMPTIED` names: whom the device trusts, and what it wanted to report. */
const FORGOTTEN = ['trust', 'droppedEvents']
const EMPTIED = ['config', 'use', 'products']

/**
 * Return the id of this device: drawn once, and never sent.
 *
 * @param {Database} database
 * @returns {Promise<string>}
 */
export function deviceIdIn(database) {
  return write(database, ['state'], async (transaction) => {
    const state = transaction.objectStore('state')
    const id = (await state.get('device')) ?? crypto.randomUUID()
    await state.put(id, 'device')
    return id
  })
}

/**
 * Empty the cache. Sales, and what the device itself is, stay.
 *
 * @param {Database} database
 * @param {{ isLogout: boolean }} how a logout forgets the pairing and the events, too
 * @returns {Promise<number>} sales that are not sent
 */
export function emptyCache(database, { isLogout }) {
  return write(database, ['state', 'models', 'shards', 'parts', 'refused', 'events', 'sales'], async (transaction) => {
    const tables = /** @type {const} */ (['models', 'shards', 'parts', 'refused'])
    await Promise.all(tables.map((name) => transaction.objectStore(name).clear()))
    const state = transaction.objectStore('state')
    const names = isLogout ? [...EMPTIED, ...FORGOTTEN] : EMPTIED
    await Promise.all(names.map((name) => state.delete(name)))
    if (isLogout) await transaction.objectStore('events').clear()
    const sales = await transaction.objectStore('sales').getAll()
    return sales.filter(({ refused }) => refused === null).length
  })
}

/**
 * Ask the browser, once, not to make room by removing what is kept.
 *
 * @param {Database} database
 */
export async function askToPersist(database) {
  if (await database.get('state', 'askedToPersist')) return
  await database.put('state', true, 'askedToPersist')
  await globalThis.navigator?.storage?.persist?.()
}
