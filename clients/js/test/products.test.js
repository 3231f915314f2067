import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withNews } from '../core/products.js'

const apple = { id: 'apple', name: 'Apple' }
const pear = { id: 'pear', name: 'Pear' }
const plum = { id: 'plum', name: 'Plum' }
const BEFORE = { name: 'Shop', revision: '7-aa', products: [apple, pear] }

test('a whole list takes the place of the one before', () => {
  assert.deepEqual(withNews(BEFORE, { name: 'New', revision: '8-aa', products: [plum] }), { name: 'New', revision: '8-aa', products: [plum] })
  assert.deepEqual(withNews(null, { revision: '8-aa', since: null, products: [plum] })?.products, [plum])
})

test('a change adds, changes and removes', () => {
  const news = { name: 'New', revision: '9-aa', since: '7-aa', products: [{ ...pear, name: 'Birne' }, plum], removed: ['apple'] }
  assert.deepEqual(withNews(BEFORE, news), { name: 'New', revision: '9-aa', products: [{ ...pear, name: 'Birne' }, plum] })
})

test('a product that was removed and added again is there', () => {
  const news = { revision: '9-aa', since: '7-aa', products: [apple], removed: ['apple'] }
  assert.deepEqual(withNews(BEFORE, news)?.products, [pear, apple])
})

test('a change of another list is not taken', () => {
  assert.equal(withNews(BEFORE, { revision: '9-aa', since: '8-aa', products: [plum] }), null)
  assert.equal(withNews(null, { revision: '9-aa', since: '7-aa', products: [plum] }), null)
})
