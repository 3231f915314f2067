import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LoginError } from '../core/errors.js'
import { Products } from '../io/products.js'
import { Server } from '../io/server.js'
import { newDatabase, nowhere, serve } from './world.js'

const apple = { id: 'apple', name: 'Apple' }
const pear = { id: 'pear', name: 'Pear' }
const WHOLE = { body: { revision: '1-aa', products: [apple] }, headers: { etag: '"1-aa-zstd"' } }

/**
 * @param {import('node:test').TestContext} t
 * @param {Parameters<typeof serve>[1]} reply
 */
async function world(t, reply) {
  const database = await newDatabase(t)
  const { url, log } = await serve(t, reply)
  const open = (/** @type {string} */ serverUrl) => new Products(database, new Server({ serverUrl, token: 'secret' }), 'T_1')
  return { products: open(url), open, url, log }
}

test('the list is asked for once as a whole, then by its tag and revision', async (t) => {
  const { products, log } = await world(t, (_, { length }) => (length === 1 ? WHOLE : { status: 304 }))
  assert.deepEqual((await products.list())?.products, [apple])
  assert.deepEqual((await products.list())?.products, [apple])
  const path = '/api/v1/channels/T_1/till/products'
  assert.deepEqual(log.map((asked) => asked.path), [path, `${path}?since=1-aa`])
  assert.deepEqual(log.map(({ headers }) => headers['if-none-match']), [undefined, '"1-aa-zstd"'])
  assert.equal(log[0].headers.authorization, 'Bearer secret')
})

test('what changed is added to what was there, and is there after a reload', async (t) => {
  const change = { body: { revision: '2-aa', since: '1-aa', products: [pear], removed: ['apple'] } }
  const { products, open, log } = await world(t, (_, { length }) => (length === 1 ? WHOLE : change))
  await products.list()
  assert.deepEqual((await products.list())?.products, [pear])
  const reloaded = open(await nowhere(t))
  assert.deepEqual((await reloaded.list())?.products, [pear])
  assert.equal(log.length, 2)
})

test('a change of another list is not taken: the whole list is', async (t) => {
  const change = { body: { revision: '3-aa', since: '2-aa', products: [pear] } }
  const answers = [WHOLE, change, { body: { revision: '3-aa', products: [pear] } }]
  const { products, log } = await world(t, (_, { length }) => answers[length - 1])
  await products.list()
  assert.deepEqual((await products.list())?.products, [pear])
  assert.equal(log[2].path, '/api/v1/channels/T_1/till/products')
})

test('without a server the last list is good, and can be searched', async (t) => {
  const { products, open } = await world(t, () => WHOLE)
  await products.list()
  const list = await open(await nowhere(t)).list()
  assert.deepEqual(list?.search.find('app'), [apple])
})

test('without a list and without a server there is none', async (t) => {
  const { open } = await world(t, () => WHOLE)
  assert.equal(await open(await nowhere(t)).list(), null)
})

test('an answer that is no list leaves the last one', async (t) => {
  const answers = [WHOLE, { body: '<html>' }, { body: { products: 'all' } }, { status: 500 }, { body: '{}', cutAfter: 1 }]
  const { products } = await world(t, (_, { length }) => answers[length - 1])
  for (let asked = 0; asked < answers.length; asked += 1) assert.deepEqual((await products.list())?.products, [apple])
})

test('who is not logged in is told so', async (t) => {
  const { products } = await world(t, () => ({ status: 401 }))
  await assert.rejects(products.list(), LoginError)
})

test('the cached list is to be had without asking', async (t) => {
  const { products, log } = await world(t, () => WHOLE)
  assert.equal(await products.list({ cachedOnly: true }), null)
  await products.list()
  assert.deepEqual((await products.list({ cachedOnly: true }))?.products, [apple])
  assert.equal(log.length, 1)
})
