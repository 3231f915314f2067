/** What tests of io have in common: a real server on this machine, and an IndexedDB in memory. */
import 'fake-indexeddb/auto'
import { createServer } from 'node:http'
import { openDatabase } from '../io/database.js'

/**
 * @typedef {object} Asked a request as the server saw it
 * @property {string} method
 * @property {string} path with its query
 * @property {import('node:http').IncomingHttpHeaders} headers
 * @property {any} body JSON, null without one
 *
 * @typedef {object} Reply
 * @property {number} [status]
 * @property {Record<string, string>} [headers]
 * @property {any} [body] bytes, text, or what becomes JSON
 * @property {number} [cutAfter] bytes, then the connection breaks
 * @property {Promise<unknown>} [cutWhen] it breaks; by default at once
 */

/**
 * Start a server that answers with what `reply` says, until the test ends.
 *
 * @param {import('node:test').TestContext} t
 * @param {(asked: Asked, log: Asked[]) => Reply | Promise<Reply>} reply
 * @returns {Promise<{ url: string, log: Asked[] }>}
 */
export async function serve(t, reply) {
  /** @type {Asked[]} */
  const log = []
  const server = createServer(async (request, response) => {
    const text = (await request.toArray()).join('')
    const { method = '', url: path = '', headers } = request
    const asked = { method, path, headers, body: text ? JSON.parse(text) : null }
    log.push(asked)
    const { status = 200, headers: answered, body = '', cutAfter, cutWhen } = await reply(asked, log)
    const bytes = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body)
    const length = { 'content-length': String(Buffer.byteLength(bytes)) }
    response.writeHead(status, { ...(status !== 304 && status !== 204 && length), ...answered })
    if (cutAfter === undefined) return response.end(bytes)
    await new Promise((resolve) => response.write(Buffer.from(bytes).subarray(0, cutAfter), resolve))
    await (cutWhen ?? new Promise(setImmediate))
    request.socket.destroy()
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(null)))
  t.after(() => new Promise((resolve) => (server.closeAllConnections(), server.close(resolve))))
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  return { url: `http://127.0.0.1:${port}`, log }
}

/**
 * Return an address of this machine where nobody answers.
 *
 * @param {import('node:test').TestContext} t
 */
export async function nowhere(t) {
  const server = createServer()
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(null)))
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  await new Promise((resolve) => server.close(resolve))
  return `http://127.0.0.1:${port}`
}

let databases = 0

/**
 * Return an empty database.
 *
 * @param {import('node:test').TestContext} t
 */
export async function newDatabase(t) {
  const database = await openDatabase(`test ${(databases += 1)}`)
  t.after(() => database.close())
  return database
}

/**
 * Return bytes that look like no others.
 *
 * @param {number} length
 * @param {number} [seed]
 */
export function bytesOf(length, seed = 1) {
  let state = seed
  return Uint8Array.from({ length }, () => (state = (state * 1103515245 + 12345) & 0x7fffffff) >>> 16)
}

/**
 * Make every write to some tables fail as on a device without room, until the test ends or `room` is made.
 *
 * @param {import('node:test').TestContext} t
 * @param {string[]} tables
 * @returns {{ isFull: boolean }} set it to false, and there is room
 */
export function fillDevice(t, tables) {
  const device = { isFull: true }
  const { put } = IDBObjectStore.prototype
  t.mock.method(IDBObjectStore.prototype, 'put', /** @this {IDBObjectStore} */ function (/** @type {any[]} */ ...values) {
    if (!device.isFull || !tables.includes(this.name)) return put.apply(this, /** @type {any} */ (values))
    throw new DOMException('no room', 'QuotaExceededError')
  })
  return device
}
