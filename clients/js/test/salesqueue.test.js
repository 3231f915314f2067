import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NoRoomError, QueueFullError } from '../core/errors.js'
import { SalesQueue } from '../io/sales.js'
import { Server } from '../io/server.js'
import { newDatabase, nowhere, serve } from './world.js'

const PROBLEM = { type: 'urn:shelfsight:problem:product_not_found', detail: 'Product not found' }
const LINES = [{ productId: 'apple', quantity: 2 }]

/**
 * @typedef {import('./world.js').Asked} Asked
 * @typedef {import('./world.js').Reply} Reply
 */

/** A server that books each id once, and can be told to be worse. */
class Till {
  /** @type {Map<string, any>} */
  booked = new Map()
  /** @type {((asked: Asked, log: Asked[]) => Reply | null) | null} */
  trouble = null

  /**
   * @param {Asked} asked
   * @param {Asked[]} log
   * @returns {Reply}
   */
  answer(asked, log) {
    const trouble = this.trouble?.(asked, log)
    if (trouble) return trouble
    for (const sale of asked.body.sales) this.booked.set(sale.id, sale)
    const receipt = (/** @type {any} */ { id }) => ({ id, recorded: true, receivedAt: 'now' })
    return { body: { sales: asked.body.sales.map(receipt) } }
  }
}

/**
 * @param {import('node:test').TestContext} t
 * @param {{ isOffline?: boolean }} [options]
 */
async function world(t, { isOffline = false } = {}) {
  const database = await newDatabase(t)
  const till = new Till()
  const { url, log } = await serve(t, (asked, seen) => till.answer(asked, seen))
  const lock = `sales ${url}`
  const open = (/** @type {string} */ serverUrl) => {
    const queue = new SalesQueue(database, new Server({ serverUrl, token: 'secret' }), { channel: 'T_1', lock })
    t.after(() => queue.stop())
    return queue
  }
  return { database, till, log, url, queue: open(isOffline ? await nowhere(t) : url), open }
}

/**
 * @param {Asked} asked
 * @returns {Reply}
 */
function refuseAll({ body: { sales } }) {
  const errors = sales.map((/** @type {any} */ _, /** @type {number} */ place) => ({ field: `body.sales.${place}`, detail: 'no' }))
  return { status: 422, body: { ...PROBLEM, status: 422, errors } }
}

test('a sale is sent with its id and the token, and then it is gone from the queue', async (t) => {
  const { queue, till, log } = await world(t)
  const id = await queue.put({ at: '2026-11-20T12:00:00Z', lines: LINES })
  assert.deepEqual(await queue.send(), { waiting: 0, refused: [], words: 'All sales are sent.' })
  assert.deepEqual(till.booked.get(id), { id, at: '2026-11-20T12:00:00Z', lines: LINES })
  assert.equal(log[0].path, '/api/v1/channels/T_1/sales')
  assert.equal(log[0].headers.authorization, 'Bearer secret')
  assert.equal(await queue.fate(id), 'sent')
})

test('every sale gets an id of its own before it is tried', async (t) => {
  const { queue } = await world(t, { isOffline: true })
  const ids = await Promise.all(Array.from({ length: 20 }, () => queue.put({ lines: LINES })))
  assert.equal(new Set(ids).size, 20)
  assert.ok(ids.every((id) => /^[0-9a-f-]{36}$/.test(id)))
})

test('the 101st waiting sale is refused with words, and the hundred are sent when the network is back', async (t) => {
  const { queue, open, url, till } = await world(t, { isOffline: true })
  const ids = []
  for (let number = 0; number < 100; number += 1) ids.push(await queue.put({ lines: LINES }))
  const isFull = (/** @type {unknown} */ error) => error instanceof QueueFullError && /100 sales/.test(error.message)
  await assert.rejects(queue.put({ lines: LINES }), isFull)
  const offline = await queue.send()
  assert.equal(offline.waiting, 100)
  assert.match(offline.words, /^No connection.* 100 sales wait to be sent\.$/)
  assert.equal((await open(url).send()).waiting, 0)
  assert.deepEqual([...till.booked.keys()], ids)
})

test('a hundred sales that are put at once are a hundred, and not one more', async (t) => {
  const { queue } = await world(t, { isOffline: true })
  const results = await Promise.allSettled(Array.from({ length: 120 }, () => queue.put({ lines: LINES })))
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 100)
  assert.equal((await queue.outcome()).waiting, 100)
})

test('a sale whose answer was lost is sent again under the same id', async (t) => {
  const { queue, till, log } = await world(t)
  till.trouble = ({ body }, { length }) => {
    if (length > 1) return null
    till.booked.set(body.sales[0].id, 'the first time')
    return { body: 'x'.repeat(100), cutAfter: 10 }
  }
  const id = await queue.put({ lines: LINES })
  assert.equal((await queue.send()).waiting, 1)
  assert.equal((await queue.send()).waiting, 0)
  assert.deepEqual(log.map(({ body }) => body.sales[0].id), [id, id])
  assert.equal(till.booked.size, 1)
})

test('the same button twice is one sale, also when it has been sent in between', async (t) => {
  const { queue, till, log } = await world(t)
  const sale = { id: 'chosen-by-the-page', lines: LINES }
  await Promise.all([queue.put(sale), queue.put(sale)])
  await queue.send()
  await queue.put(sale)
  await queue.send()
  assert.deepEqual([till.booked.size, log.length], [1, 1])
})

test('a sale of what is sold no more is set aside with the reason, and the others are sent', async (t) => {
  const { queue, till } = await world(t)
  till.trouble = ({ body }) => {
    const place = body.sales.findIndex((/** @type {any} */ { lines }) => lines[0].productId === 'fig')
    const errors = [{ field: `body.sales.${place}.lines.0.productId`, detail: 'Product not found: fig' }]
    return place < 0 ? null : { status: 422, body: { ...PROBLEM, status: 422, errors } }
  }
  for (const productId of ['apple', 'fig', 'pear']) {
    await queue.put({ id: `sale-of-${productId}`, lines: [{ productId, quantity: 1 }] })
  }
  const { waiting, refused, words } = await queue.send()
  assert.deepEqual([...till.booked.keys()], ['sale-of-apple', 'sale-of-pear'])
  assert.deepEqual([waiting, refused.map(({ id, reason }) => [id, reason])], [0, [['sale-of-fig', 'Product not found: fig']]])
  assert.equal(words, '1 sale was refused: look at it.')
  assert.equal(await queue.fate('sale-of-fig'), 'refused')
})

test('sales that are set aside take no place from others, and go when a person has looked', async (t) => {
  const { queue, till, database } = await world(t)
  till.trouble = refuseAll
  for (let number = 0; number < 30; number += 1) await queue.put({ lines: LINES })
  assert.equal((await queue.send()).refused.length, 30)
  const [{ id }] = (await queue.outcome()).refused
  await queue.dismiss(id)
  assert.equal((await queue.outcome()).refused.length, 29)
  assert.equal(await database.count('sales'), 29)
})

test('a waiting sale cannot be dismissed', async (t) => {
  const { queue } = await world(t, { isOffline: true })
  await queue.dismiss(await queue.put({ lines: LINES }))
  assert.equal((await queue.outcome()).waiting, 1)
})

test('without a login all sales stay, and it says so', async (t) => {
  const { queue, till, log } = await world(t)
  till.trouble = () => ({ status: 401, body: { ...PROBLEM, status: 401 } })
  await queue.put({ lines: LINES })
  await queue.put({ lines: LINES })
  assert.match((await queue.send()).words, /^Log in again.* 2 sales wait/)
  till.trouble = null
  assert.equal((await queue.send()).waiting, 0)
  assert.ok(log.length >= 2)
})

test('a server in trouble loses nothing', async (t) => {
  const { queue, till } = await world(t)
  await queue.put({ lines: LINES })
  for (const status of [500, 503, 429, 404, 200, 502]) {
    till.trouble = () => ({ status, body: { sales: [] } })
    assert.equal((await queue.send()).waiting, 1, String(status))
  }
})

test('a proxy or a captive portal refuses no sale and takes none, and when it is gone all are sent', async (t) => {
  const { queue, till } = await world(t)
  const ids = []
  const page = { headers: { 'content-type': 'text/html' }, body: '<!doctype html><title>Welcome</title>' }
  till.trouble = () => page
  for (let number = 0; number < 30; number += 1) ids.push(await queue.put({ lines: LINES }))
  for (const status of [200, 201, 202, 400, 403, 405, 407, 409, 410, 413, 421, 422, 451, 511]) {
    till.trouble = () => ({ status, ...page })
    const { waiting, refused } = await queue.send()
    assert.deepEqual([waiting, refused], [30, []], String(status))
  }
  till.trouble = null
  assert.equal((await queue.send()).waiting, 0)
  assert.deepEqual([...till.booked.keys()], ids)
})

test('a sale that something on the way does not let through holds up no other', async (t) => {
  const { queue, till } = await world(t)
  till.trouble = ({ body }) => (body.sales.some((/** @type {any} */ { id }) => id === 'sale-of-0') ? { status: 413, body: 'no' } : null)
  for (const number of [0, 1, 2]) await queue.put({ id: `sale-of-${number}`, lines: LINES })
  const { waiting, refused, words } = await queue.send()
  assert.deepEqual([waiting, refused, [...till.booked.keys()]], [1, [], ['sale-of-1', 'sale-of-2']])
  assert.equal(words, 'The server does not take sales now: they are sent later. 1 sale waits to be sent.')
})

test('a server that has had enough for a minute keeps its peace, and no sale is lost', async (t) => {
  const { queue, till, log } = await world(t)
  till.trouble = () => ({ status: 429, headers: { 'retry-after': '60' }, body: { ...PROBLEM, status: 429 } })
  await queue.put({ lines: LINES })
  assert.equal((await queue.send()).waiting, 1)
  const asked = log.length
  await queue.wake()
  await queue.put({ lines: LINES })
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.equal(log.length, asked)
  till.trouble = null
  assert.deepEqual([(await queue.send()).waiting, till.booked.size], [0, 2])
})

test('a refused sale can be tried again, and is sent under its id when the reason is gone', async (t) => {
  const { queue, till } = await world(t)
  till.trouble = refuseAll
  const id = await queue.put({ lines: LINES })
  await queue.send()
  await queue.retry(id)
  assert.deepEqual((await queue.send()).refused.map(({ id, reason }) => [id, reason]), [[id, 'no']])
  till.trouble = null
  await queue.retry(id)
  assert.notEqual(await queue.fate(id), 'refused')
  assert.deepEqual([(await queue.send()).words, [...till.booked.keys()]], ['All sales are sent.', [id]])
  await queue.retry(id) // it is gone: nothing happens
  await queue.retry('never-there')
  assert.equal(await queue.fate(id), 'sent')
})

test('a refused sale that is tried again is sent by itself', async (t) => {
  const { queue, till } = await world(t)
  till.trouble = refuseAll
  const id = await queue.put({ lines: LINES })
  await queue.send()
  till.trouble = null
  await queue.retry(id)
  while ((await queue.fate(id)) !== 'sent') await new Promise(setImmediate)
  assert.deepEqual([...till.booked.keys()], [id])
})

test('a refused sale stays refused while a hundred others wait', async (t) => {
  const { queue, open, url, till } = await world(t, { isOffline: true })
  till.trouble = refuseAll
  const id = await queue.put({ lines: LINES })
  await open(url).send()
  for (let number = 0; number < 100; number += 1) await queue.put({ lines: LINES })
  await assert.rejects(queue.retry(id), QueueFullError)
  const { waiting, refused } = await queue.outcome()
  assert.deepEqual([waiting, refused.length], [100, 1])
})

test('two who send at once send each sale once', async (t) => {
  const { queue, open, url, till, log } = await world(t, { isOffline: true })
  for (let number = 0; number < 60; number += 1) await queue.put({ lines: LINES })
  await Promise.all([open(url).send(), open(url).send(), open(url).send()])
  const sent = log.flatMap(({ body }) => body.sales.map((/** @type {any} */ { id }) => id))
  assert.deepEqual([sent.length, new Set(sent).size, till.booked.size], [60, 60, 60])
})

test('a sale that is put while others are being sent is sent, too', async (t) => {
  const { queue, till } = await world(t)
  let second = Promise.resolve('')
  till.trouble = (_, { length }) => {
    if (length === 1) second = queue.put({ lines: LINES })
    return null
  }
  await queue.put({ lines: LINES })
  await queue.send()
  await second
  await queue.send()
  assert.deepEqual([till.booked.size, (await queue.outcome()).waiting], [2, 0])
})

test('the device remembers the last 500 receipts, and no more', async (t) => {
  const { queue, database } = await world(t)
  for (let round = 0; round < 6; round += 1) {
    for (let number = 0; number < 100; number += 1) await queue.put({ id: `sale-${round}-${number}`, lines: LINES })
    await queue.send()
  }
  assert.equal(await database.count('receipts'), 500)
  assert.deepEqual([await queue.fate('sale-0-0'), await queue.fate('sale-5-99')], ['unknown', 'sent'])
})

test('a device without room makes some for a sale, and if there is none to make says so', async (t) => {
  const { database, url } = await world(t)
  const device = { isFull: true, canMakeRoom: true }
  const { add } = IDBObjectStore.prototype
  t.mock.method(IDBObjectStore.prototype, 'add', /** @this {IDBObjectStore} */ function (/** @type {any} */ value) {
    if (!device.isFull) return add.call(this, value)
    throw new DOMException('no room', 'QuotaExceededError')
  })
  const makeRoom = async () => void (device.isFull = !device.canMakeRoom)
  const queue = new SalesQueue(database, new Server({ serverUrl: url }), { channel: 'T_1', lock: 'full', makeRoom })
  t.after(() => queue.stop())
  const id = await queue.put({ lines: LINES })
  await queue.send()
  assert.equal(await queue.fate(id), 'sent')
  Object.assign(device, { isFull: true, canMakeRoom: false })
  await assert.rejects(queue.put({ lines: LINES }), NoRoomError)
})
