import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  MOST_LINES,
  afterSale,
  emptyBasket,
  lineAmount,
  readBasket,
  removedWords,
  saleOf,
  takenBack,
  totalsIn,
  withProduct,
  withQuantity,
  withSale,
  withoutProduct,
} from '../../src/shelfsight/web/till/core/basket.js'

const APPLE = { id: 'apple', name: 'Apple', price: '0.45', currency: 'EUR' }
const PEAR = { id: 'pear', name: 'Pear', price: '3.00', currency: 'SEK' }
const GIFT = { id: 'gift', name: '', price: null, currency: null }
const filled = (...products) => products.reduce((basket, product) => withProduct(basket, product), emptyBasket('sale-1'))
const quantities = ({ lines }) => lines.map(({ productId, quantity }) => `${quantity} ${productId}`)

test('the same product again counts up', () => {
  assert.deepEqual(quantities(filled(APPLE, PEAR, APPLE)), ['2 apple', '1 pear'])
})

test('a product that comes again has the price that it has now', () => {
  const basket = withProduct(filled(APPLE), { ...APPLE, price: '0.50' })
  assert.deepEqual(lineAmount(basket.lines[0]), { currency: 'EUR', amount: '1.00' })
})

test('a product that was never named is called by its id', () => {
  assert.equal(filled(GIFT).lines[0].name, 'gift')
})

test('a price without a currency is none', () => {
  const [line] = filled({ ...APPLE, currency: null }).lines
  assert.deepEqual([line.price, line.currency, lineAmount(line)], [null, null, null])
})

test('totals are one for each currency, and what has no price is counted', () => {
  const { totals, unpriced } = totalsIn(filled(APPLE, APPLE, PEAR, GIFT))
  assert.deepEqual(totals, [{ currency: 'EUR', amount: '0.90' }, { currency: 'SEK', amount: '3.00' }])
  assert.equal(unpriced, 1)
})

test('a basket takes as many lines as a sale, and then only more of what is in it', () => {
  const product = (/** @type {number} */ number) => ({ id: `p${number}`, name: 'P', price: null, currency: null })
  let basket = emptyBasket('sale-1')
  for (let number = 0; number < MOST_LINES; number += 1) basket = withProduct(basket, product(number)) ?? basket
  assert.equal(basket.lines.length, MOST_LINES)
  assert.equal(withProduct(basket, product(MOST_LINES)), null)
  assert.equal(withProduct(basket, product(0))?.lines[0].quantity, '2')
})

test('more of a product than a sale takes is refused', () => {
  const basket = withQuantity(filled(APPLE), 'apple', '100000')
  assert.equal(withProduct(basket, APPLE), null)
})

test('a removed product comes back where it was', () => {
  const before = filled(APPLE, PEAR)
  const removed = withoutProduct(before, 'apple')
  assert.deepEqual(quantities(removed), ['1 pear'])
  assert.equal(removedWords(removed), 'Apple removed')
  assert.deepEqual(takenBack(removed).lines, before.lines)
  assert.equal(removedWords(takenBack(removed)), null)
})

test('an emptied basket comes back whole', () => {
  const emptied = withoutProduct(filled(APPLE, PEAR))
  assert.equal(removedWords(emptied), 'Basket emptied')
  assert.deepEqual(quantities(takenBack(emptied)), ['1 apple', '1 pear'])
})

test('after another change a removal is final', () => {
  const basket = withProduct(withoutProduct(filled(APPLE, PEAR), 'apple'), PEAR)
  assert.equal(removedWords(basket), null)
})

test('a sale says what was charged, exactly, and keeps the id of its basket', () => {
  const facts = { at: new Date('2026-11-20T12:00:00Z'), device: 'till-1', modelVersion: '1.4.2' }
  const sale = saleOf(withQuantity(filled(APPLE, GIFT), 'apple', '0.347'), facts)
  assert.deepEqual(sale, {
    id: 'sale-1',
    at: '2026-11-20T12:00:00.000Z',
    device: 'till-1',
    modelVersion: '1.4.2',
    lines: [{ productId: 'apple', quantity: '0.347', unitPrice: '0.45', currency: 'EUR' }, { productId: 'gift', quantity: '1' }],
  })
})

test('a sale without a recogniser names no version', () => {
  const facts = { at: new Date(0), device: 'till-1', modelVersion: null }
  assert.equal('modelVersion' in saleOf(filled(APPLE), facts), false)
})

test('what came into the basket while it was being sold is in the next one', () => {
  const sold = withQuantity(filled(APPLE, PEAR), 'apple', '2')
  const now = withProduct(withProduct(sold, APPLE), GIFT)
  const next = afterSale(now, sold, 'sale-2')
  assert.deepEqual([next.id, quantities(next)], ['sale-2', ['1 apple', '1 gift']])
  assert.deepEqual(afterSale(sold, sold, 'sale-2'), emptyBasket('sale-2'))
})

test('a basket that another tab has begun meanwhile stays', () => {
  const begun = withProduct(emptyBasket('sale-2'), GIFT)
  assert.equal(afterSale(begun, filled(APPLE), 'sale-3'), begun)
})

test('a refused sale comes back into the basket at its own prices', () => {
  const sale = saleOf(withQuantity(filled(APPLE), 'apple', '3'), { at: new Date(0), device: 'till-1', modelVersion: null })
  const basket = withSale({ ...filled(PEAR), id: 'sale-2' }, sale, (id) => `the ${id}`)
  assert.equal(basket.id, 'sale-2')
  assert.deepEqual(quantities(basket), ['1 pear', '3 apple'])
  assert.deepEqual([basket.lines[1].name, basket.lines[1].price], ['the apple', '0.45'])
})

test('a basket that was kept is read again, and nothing else is taken for one', () => {
  const basket = withoutProduct(filled(APPLE, PEAR, GIFT), 'pear')
  assert.deepEqual(readBasket(JSON.parse(JSON.stringify(basket))), basket)
  const line = basket.lines[0]
  const wrong = [null, {}, { id: 'x' }, { id: 1, lines: [] }, { id: 'x', lines: [{ ...line, quantity: '-1' }] }, { id: 'x', lines: [{ ...line, price: 1 }] }]
  for (const kept of wrong) assert.equal(readBasket(kept), null, JSON.stringify(kept))
})
