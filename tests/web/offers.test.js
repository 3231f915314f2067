import assert from 'node:assert/strict'
import { test } from 'node:test'
import { offersFor } from '../../src/shelfsight/web/till/core/offers.js'

const product = (id) => [id, { id, name: id.toUpperCase(), price: '1.00', currency: 'EUR', picture: `/${id}` }]
const PRODUCTS = new Map(['apple', 'pear', 'plum'].map(product))
const ranking = (...ids) => ({ predictions: ids.map((id, index) => ({ product: id, confidence: 0.9 / (index + 1) })), known: true })
const ids = ({ offers }) => offers.map(({ product: { id } }) => id)

test('the best products are offered with their names', () => {
  const { offers, known } = offersFor(ranking('pear', 'plum'), PRODUCTS, 3)
  assert.deepEqual(offers.map(({ product: { name } }) => name), ['PEAR', 'PLUM'])
  assert.equal(known, true)
})

test('a product that left the shop is not offered, and the next one moves up', () => {
  const result = offersFor(ranking('pear', 'fig', 'plum', 'apple'), PRODUCTS, 3)
  assert.deepEqual(ids(result), ['pear', 'plum', 'apple'])
})

test('when the best answer left the shop the next one is only a guess', () => {
  const result = offersFor(ranking('fig', 'plum'), PRODUCTS, 3)
  assert.deepEqual(ids(result), ['plum'])
  assert.equal(result.known, false)
})
