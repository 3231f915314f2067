/*! idb, ISC License (ISC), Copyright (c) 2016, Jake Archibald <jaffathecake@gmail.com>
 *
 * Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby
 * granted, provided that the above copyright notice and this permission notice appear in all copies.
 *
 * THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS SOFTWARE INCLUDING ALL
 * IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT,
 * INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN
 * AN ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR
 * PERFORMANCE OF THIS SOFTWARE.
 */
import { openDB } from 'idb'
import { NoRoomError, UnsupportedError } from '../core/errors.js'

/**
 * @typedef {import('../core/bundle.js').Metadata} Metadata
 * @typedef {import('../core/bundle.js').WeightSpec} WeightSpec
 * @typedef {import('../core/events.js').DeviceEvent} DeviceEvent
 * @typedef {import('../core/sales.js').Sale} Sale
 *
 * @typedef {object} Model a model in the cache
 * @property {string} id hash of its manifest
 * @property {string} version such as 1.4.2
 * @property {Metadata} metadata
 * @property {object} topology
 * @property {WeightSpec[]} specs
 * @property {{ sha256: string, size: number }[]} shards its weights, in order
 *
 * @typedef {object} Part what has arrived of a shard that is not whole yet
 * @property {string} sha256 of the shard
 * @property {number} offset bytes
 * @property {ArrayBuffer} bytes
 * @property {string | null} etag of the answer that brought it
 *
 * @typedef {object} QueuedSale
 * @property {number} [order] in which they were put; the database gives it
 * @property {string} id
 * @property {Sale} sale
 * @property {string} putAt ISO 8601
 * @property {string | null} refused why the server will never take it; null: it waits to be sent
 *
 * @typedef {object} Receipt of a sale that the server has
 * @property {number} [order]
 * @property {string} id
 * @property {string} [receivedAt] ISO 8601, by the server's clock
 *
 * @typedef {object} Refused a model that does not work, and is not downloaded again
 * @property {string} id hash of its manifest
 * @property {string} version
 * @property {string} reason
 *
 * @typedef {object} Tables
 * @property {{ key: string, value: any }} state single values by name
 * @property {{ key: string, value: Model }} models
 * @property {{ key: string, value: ArrayBuffer }} shards by hash
 * @property {{ key: [string, number], value: Part }} parts
 * @property {{ key: string, value: Refused }} refused
 * @property {{ key: number, value: { order?: number, event: DeviceEvent } }} events
 * @property {{ key: number, value: QueuedSale, indexes: { id: string } }} sales
 * @property {{ key: number, value: Receipt, indexes: { id: string } }} receipts
 *
 * @typedef {import('idb').IDBPDatabase<Tables>} Database
 * @typedef {keyof Tables} Table
 * @typedef {import('idb').IDBPTransaction<Tables, Table[], 'readwrite'>} Transaction
 */

const VERSION = 1

/**
 * Return the database of one channel, made if it is not there.
 *
 * @param {string} name
 * @returns {Promise<Database>}
 * @throws {UnsupportedError} the browser gives none
 */
export async function openDatabase(name) {
  try {
    /** @type {Database} */
    const database = await openDB(name, VERSION, {
      upgrade: (opened) => makeTables(/** @type {Database} */ (/** @type {unknown} */ (opened))),
      blocking: () => database.close(), // another tab runs a newer page, which cannot begin before
    })
    return database
  } catch (cause) {
    throw new UnsupportedError('this browser keeps nothing here: leave private mode, or allow storage', { cause })
  }
}

/**
 * Do something in one transaction: all of it is kept, or nothing.
 *
 * @template T
 * @param {Database} database
 * @param {Table[]} tables
 * @param {(transaction: Transaction) => Promise<T>} work awaits nothing but the database
 * @returns {Promise<T>}
 * @throws {NoRoomError} the device has no room for it
 */
export async function write(database, tables, work) {
  const transaction = database.transaction(tables, 'readwrite')
  const done = transaction.done.catch((error) => error ?? transaction.error)
  try {
    const result = await work(transaction)
    const failure = await done
    if (failure) throw failure
    return result
  } catch (error) {
    abort(transaction)
    const failure = await done
    if ([error, failure].some(isQuota)) throw new NoRoomError('there is no room left on this device', { cause: error })
    throw error
  }
}

/**
 * @param {Database} database made here for the first time
 */
function makeTables(database) {
  database.createObjectStore('state')
  database.createObjectStore('models', { keyPath: 'id' })
  database.createObjectStore('shards')
  database.createObjectStore('parts', { keyPath: ['sha256', 'offset'] })
  database.createObjectStore('refused', { keyPath: 'id' })
  database.createObjectStore('events', { keyPath: 'order', autoIncrement: true })
  for (const name of /** @type {const} */ (['sales', 'receipts'])) {
    const table = database.createObjectStore(name, { keyPath: 'order', autoIncrement: true })
    table.createIndex('id', 'id', { unique: true })
  }
}

/** @param {Transaction} transaction */
function abort(transaction) {
  try {
    transaction.abort()
  } catch {
    // It has ended already.
  }
}

/** @param {unknown} error */
function isQuota(error) {
  return /** @type {{ name?: string } | null} */ (error)?.name === 'QuotaExceededError'
}
