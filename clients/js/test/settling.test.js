import assert from 'node:assert/strict'
import { test } from 'node:test'
import { UNSETTLED, settle } from '../core/settling.js'

/**
 * Return at which answers something was reported, of answers that came four a second.
 *
 * @param {(string | null)[]} products
 * @param {number} [everyMs]
 */
function reported(products, everyMs = 250) {
  let state = UNSETTLED
  return products.flatMap((product, place) => {
    const { after, isSettled } = settle(state, product, 1_000_000 + place * everyMs)
    state = after
    return isSettled ? [place] : []
  })
}

test('an answer is reported when three in a row agree', () => {
  assert.deepEqual(reported(['apple', 'apple', 'apple']), [2])
})

test('a product that lies there for ten minutes is reported once', () => {
  assert.deepEqual(reported(Array(2_400).fill('apple')), [2])
})

test('flickering is not reported', () => {
  assert.deepEqual(reported(Array.from({ length: 100 }, (_, place) => ['apple', 'pear'][place % 2])), [])
})

test('a short flicker to another product and back is not reported', () => {
  assert.deepEqual(reported([...Array(5).fill('apple'), 'pear', ...Array(20).fill('apple')]), [2])
})

test('the next product is reported, and so is the first when it comes again', () => {
  assert.deepEqual(reported([...Array(12).fill('apple'), ...Array(12).fill('pear'), ...Array(12).fill('apple')]), [2, 14, 26])
})

test('nothing known settles, too', () => {
  assert.deepEqual(reported(Array(30).fill(null)), [2])
})

test('whatever a camera sees, there is at most one report in two seconds', () => {
  for (let seed = 1; seed < 100; seed += 1) {
    const products = Array.from({ length: 400 }, (_, place) => `product ${Math.floor((place * seed) / 37) % 5}`)
    const places = reported(products)
    places.slice(1).forEach((place, index) => assert.ok((place - places[index]) * 250 >= 2_000))
  }
})

test('what came too early is reported when its time has come', () => {
  assert.deepEqual(reported([...Array(3).fill('apple'), ...Array(30).fill('pear')]), [2, 10])
})
