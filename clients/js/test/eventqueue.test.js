import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BusyError } from '../core/errors.js'
import { EventQueue } from '../io/events.js'
import { Server } from '../io/server.js'
import { fillDevice, newDatabase, nowhere, serve } from './world.js'

const ABOUT = { version: '1.0.0', device: null }
const UNREADABLE = { type: 'urn:shelfsight:problem:invalid_request', status: 422, detail: 'no' }
const TAKEN = { body: { stored: 1, refused: [] } }

/**
 * @param {import('node:test').TestContext} t
 * @param {Parameters<typeof serve>[1]} [reply]
 */
async function world(t, reply = () => TAKEN) {
  const database = await newDatabase(t)
  const { url, log } = await serve(t, reply)
  const server = new Server({ serverUrl: url, token: 'secret' })
  const queue = new EventQueue(database, server, { channel: 'T_1', lock: `events ${url}` })
  t.after(() => queue.stop())
  const add = async (/** @type {number} */ count) => {
    for (let number = 0; number < count; number += 1) await queue.add('prediction', { productId: `p-${number}` }, ABOUT)
  }
  const sent = () => log.flatMap(({ body }) => body.events)
  return { database, queue, add, log, sent }
}

test('events go in batches of 200, in order, with the token, to the channel', async (t) => {
  const { queue, add, log, sent } = await world(t)
  await add(450)
  await queue.send()
  assert.deepEqual(log.map(({ body }) => body.events.length), [200, 200, 50])
  assert.deepEqual(sent().map(({ productId }) => productId), Array.from({ length: 450 }, (_, number) => `p-${number}`))
  const [{ path, headers, body }] = log
  assert.deepEqual([path, headers.authorization, body.channelId], ['/api/v1/events', 'Bearer secret', 'T_1'])
  assert.equal(new Set(sent().map(({ id }) => id)).size, 450)
  assert.deepEqual(await queue.count(), { waiting: 0, dropped: 0 })
})

test('the newest 2,000 are kept, and what was dropped is counted', async (t) => {
  const { queue, add, database } = await world(t)
  await add(2_007)
  assert.deepEqual(await queue.count(), { waiting: 2_000, dropped: 7 })
  const [oldest] = await database.getAll('events', null, 1)
  assert.equal(oldest.event.productId, 'p-7')
})

test('events that could not be sent are sent later, under the same ids', async (t) => {
  let isBroken = true
  const { queue, add, log } = await world(t, () => (isBroken ? { status: 500 } : TAKEN))
  await add(3)
  await assert.rejects(queue.send())
  assert.equal((await queue.count()).waiting, 3)
  isBroken = false
  await queue.send()
  const [first, second] = log.map(({ body }) => body.events.map((/** @type {any} */ { id }) => id))
  assert.deepEqual(first, second)
})

test('a server that has had enough for a minute keeps its peace, and then gets the same events', async (t) => {
  let isFull = true
  const enough = { status: 429, headers: { 'retry-after': '60' }, body: { type: 'urn:shelfsight:problem:too_many_requests' } }
  const { queue, add, log, sent } = await world(t, () => (isFull ? enough : TAKEN))
  await add(250)
  await assert.rejects(queue.send(), (error) => error instanceof BusyError && error.retryAfterMs === 60_000)
  await queue.wake()
  await add(1)
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.equal(log.length, 1)
  assert.deepEqual(await queue.count(), { waiting: 251, dropped: 0 })
  isFull = false
  await queue.send()
  assert.deepEqual([new Set(sent().map(({ id }) => id)).size, await queue.count()], [251, { waiting: 0, dropped: 0 }])
})

test('a captive portal gets no event for good, whatever it says', async (t) => {
  let reply = /** @type {import('./world.js').Reply} */ ({})
  const { queue, add } = await world(t, () => reply)
  await add(3)
  for (const status of [200, 400, 405, 422, 451]) {
    reply = { status, headers: { 'content-type': 'text/html' }, body: '<!doctype html><title>Welcome</title>' }
    await assert.rejects(queue.send())
    assert.deepEqual(await queue.count(), { waiting: 3, dropped: 0 })
  }
})

test('without a server nothing is lost', async (t) => {
  const database = await newDatabase(t)
  const queue = new EventQueue(database, new Server({ serverUrl: await nowhere(t) }), { channel: 'T_1', lock: 'nowhere' })
  t.after(() => queue.stop())
  await queue.add('load_failure', { reason: 'x' }, ABOUT)
  await assert.rejects(queue.send())
  assert.equal((await queue.count()).waiting, 1)
})

test('a batch that is too large is halved until it fits', async (t) => {
  const { queue, add, sent } = await world(t, ({ body }) => (body.events.length > 30 ? { status: 413 } : TAKEN))
  await add(100)
  await queue.send()
  assert.equal(new Set(sent().map(({ id }) => id)).size, 100)
  assert.deepEqual(await queue.count(), { waiting: 0, dropped: 0 })
})

test('a batch that the server will never read is dropped and counted, and the next is sent', async (t) => {
  const { queue, add } = await world(t, (_, { length }) => (length === 1 ? { status: 422, body: UNREADABLE } : TAKEN))
  await add(201)
  await queue.send()
  assert.deepEqual(await queue.count(), { waiting: 0, dropped: 200 })
})

test('a device without room loses events, but nobody is disturbed', async (t) => {
  const { queue, database } = await world(t)
  fillDevice(t, ['events', 'state'])
  t.mock.method(IDBObjectStore.prototype, 'add', () => {
    throw new DOMException('no room', 'QuotaExceededError')
  })
  await queue.add('prediction', {}, ABOUT)
  assert.equal(await database.count('events'), 0)
})

test('a page that is closed sends what it has not sent yet, and sends it again if it was not closed after all', async (t) => {
  const { queue, add, sent } = await world(t)
  await add(60)
  queue.sendLastWords()
  await queue.send()
  const ids = sent().map(({ id }) => id)
  assert.deepEqual([ids.length, new Set(ids).size], [110, 60])
  queue.sendLastWords() // there are none any more
  await add(1)
  await queue.send()
  assert.equal(sent().length, 111)
})
