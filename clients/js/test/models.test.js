import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NoRoomError } from '../core/errors.js'
import { ModelCache } from '../io/models.js'
import { fillDevice, newDatabase } from './world.js'

const BYTES = new ArrayBuffer(8)

/**
 * @param {string} id
 * @param {...string} shards
 */
const model = (id, ...shards) => ({
  id,
  version: id,
  metadata: { labels: [] },
  topology: {},
  specs: [],
  shards: shards.map((sha256) => ({ sha256, size: 8 })),
})

/** @param {import('node:test').TestContext} t */
async function world(t) {
  const database = await newDatabase(t)
  const cache = new ModelCache(database)
  const add = async (/** @type {string} */ id, /** @type {string[]} */ ...shards) => {
    for (const shard of shards) await cache.addShard(shard, BYTES)
    await cache.addModel(model(id, ...shards))
  }
  const contents = async () => ({
    models: await database.getAllKeys('models'),
    shards: await database.getAllKeys('shards'),
    parts: await database.getAllKeys('parts'),
  })
  return { database, cache, add, contents }
}

test('at first nothing is used', async (t) => {
  const { cache } = await world(t)
  assert.deepEqual(await cache.use(), { sequence: 0, active: null, previous: null, shadow: null })
  assert.equal(await cache.model(null), null)
})

test('a model is used when every shard of it is here', async (t) => {
  const { cache, add } = await world(t)
  await add('a', 'backbone', 'head a')
  assert.deepEqual(await cache.activate({ sequence: 1, active: 'a', shadow: null }), await cache.use())
  assert.equal((await cache.use()).active, 'a')
})

test('a model that misses a shard is not used, and what was used goes on', async (t) => {
  const { cache, add, database } = await world(t)
  await add('a', 'backbone', 'head a')
  await add('b', 'backbone', 'head b')
  await cache.activate({ sequence: 1, active: 'a', shadow: null })
  await database.delete('shards', 'head b')
  assert.equal(await cache.activate({ sequence: 2, active: 'b', shadow: null }), null)
  assert.equal(await cache.activate({ sequence: 2, active: 'unknown', shadow: null }), null)
  assert.deepEqual(await cache.use(), { sequence: 1, active: 'a', previous: null, shadow: null })
})

test('a shadow that is not whole does not keep the active one waiting', async (t) => {
  const { cache, add } = await world(t)
  await add('a', 'backbone')
  assert.equal((await cache.activate({ sequence: 1, active: 'a', shadow: 'b' }))?.shadow, null)
})

test('an older config changes nothing', async (t) => {
  const { cache, add } = await world(t)
  await add('a', 'backbone', 'head a')
  await add('b', 'backbone', 'head b')
  await cache.activate({ sequence: 7, active: 'a', shadow: null })
  assert.equal(await cache.activate({ sequence: 6, active: 'b', shadow: null }), null)
  assert.equal((await cache.use()).active, 'a')
})

test('of many who switch at once, the highest sequence counts in the end', async (t) => {
  const { cache, add } = await world(t)
  for (let number = 0; number < 20; number += 1) await add(`m${number}`, 'backbone', `head ${number}`)
  const order = Array.from({ length: 20 }, (_, place) => (place * 7) % 20)
  await Promise.all(order.map((number) => cache.activate({ sequence: number, active: `m${number}`, shadow: null })))
  assert.deepEqual([(await cache.use()).sequence, (await cache.use()).active], [19, 'm19'])
})

test('the active, the previous and the shadow stay, and what they share', async (t) => {
  const { cache, add, contents } = await world(t)
  for (const [place, id] of ['a', 'b', 'c'].entries()) {
    await add(id, 'backbone', `head ${id}`)
    await cache.activate({ sequence: place, active: id, shadow: null })
  }
  await cache.addShard('stray', BYTES)
  await cache.addPart({ sha256: 'stray', offset: 0, bytes: BYTES, etag: null })
  await cache.sweep()
  assert.deepEqual(await contents(), { models: ['b', 'c'], shards: ['backbone', 'head b', 'head c'], parts: [] })
})

test('without room only the active one stays, and what is being downloaded', async (t) => {
  const { cache, add, contents } = await world(t)
  for (const [place, id] of ['a', 'b'].entries()) {
    await add(id, 'backbone', `head ${id}`)
    await cache.activate({ sequence: place, active: id, shadow: null })
  }
  await cache.addShard('head c', BYTES)
  await cache.addPart({ sha256: 'head d', offset: 0, bytes: BYTES, etag: null })
  await cache.sweep({ hard: true, wanted: ['backbone', 'head c', 'head d'] })
  assert.deepEqual(await contents(), { models: ['b'], shards: ['backbone', 'head b', 'head c'], parts: [['head d', 0]] })
  assert.deepEqual(await cache.use(), { sequence: 1, active: 'b', previous: null, shadow: null })
})

test('a model that does not work gives way to the one before, and is remembered', async (t) => {
  const { cache, add } = await world(t)
  for (const [place, id] of ['a', 'b'].entries()) {
    await add(id, 'backbone', `head ${id}`)
    await cache.activate({ sequence: place, active: id, shadow: null })
  }
  assert.equal((await cache.refuse({ id: 'b', version: '1.1.0', reason: 'broken' })).active, 'a')
  assert.equal((await cache.refusal('b'))?.reason, 'broken')
  assert.equal(await cache.refusal('a'), null)
})

test('weights come in the order of the model, or not at all', async (t) => {
  const { cache, add, database } = await world(t)
  await add('a', 'z', 'y')
  await database.put('shards', new Uint8Array([1]).buffer, 'y')
  const weights = await cache.weights(model('a', 'z', 'y'))
  assert.deepEqual(weights?.map(({ byteLength }) => byteLength), [8, 1])
  assert.equal(await cache.weights(model('a', 'z', 'x')), null)
  assert.equal(await cache.sizeBytes(), 16)
})

test('only what is not here is missing, each once', async (t) => {
  const { cache } = await world(t)
  await cache.addShard('here', BYTES)
  const pieces = ['here', 'there', 'there'].map((sha256) => ({ sha256 }))
  assert.deepEqual(await cache.missing(pieces), [{ sha256: 'there' }])
})

test('a device without room says so, and keeps what it has', async (t) => {
  const { cache, add, contents } = await world(t)
  await add('a', 'backbone')
  const before = await contents()
  const device = fillDevice(t, ['shards', 'parts'])
  await assert.rejects(cache.addShard('head', BYTES), NoRoomError)
  await assert.rejects(cache.addPart({ sha256: 'head', offset: 0, bytes: BYTES, etag: null }), NoRoomError)
  assert.deepEqual(await contents(), before)
  device.isFull = false
  await cache.addShard('head', BYTES)
})
