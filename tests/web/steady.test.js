import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NOTHING_SHOWN, steadied } from '../../src/shelfsight/web/till/core/steady.js'

const answer = (known, ...ids) => ({ known, offers: ids.map((id, place) => ({ product: { id, name: id }, confidence: 0.9 - place / 10 })) })
const after = (...answers) => answers.reduce(steadied, NOTHING_SHOWN).shown
const ids = (shown) => shown?.offers.map(({ product }) => product.id) ?? null

test('an answer is shown when it holds for two pictures', () => {
  assert.equal(after(answer(true, 'a', 'b')), null)
  assert.deepEqual(ids(after(answer(true, 'a', 'b'), answer(true, 'a', 'c'))), ['a', 'c'])
})

test('what flickers between two products changes nothing', () => {
  const [a, b] = [answer(true, 'a', 'b'), answer(true, 'b', 'a')]
  assert.deepEqual(ids(after(a, a, b, a, b, a, b)), ['a', 'b'])
})

test('another product takes its place when it holds', () => {
  const [a, b] = [answer(true, 'a', 'b'), answer(true, 'b', 'a')]
  assert.deepEqual(ids(after(a, a, b, b)), ['b', 'a'])
})

test('a hand in the picture takes no answer away, an empty counter does', () => {
  const [a, unknown] = [answer(true, 'a', 'b'), answer(false, 'c', 'd')]
  assert.equal(after(a, a, unknown, unknown)?.known, true)
  assert.equal(after(a, a, unknown, unknown, unknown)?.known, false)
})

test('the others under the same answer change only when they hold', () => {
  const [first, second] = [answer(true, 'a', 'b', 'c'), answer(true, 'a', 'c', 'b')]
  assert.deepEqual(ids(after(first, first, second, second, second)), ['a', 'b', 'c'])
  assert.deepEqual(ids(after(first, first, second, second, second, second)), ['a', 'c', 'b'])
})

test('the same offers show the latest confidence', () => {
  const sure = { known: true, offers: [{ product: { id: 'a', name: 'a' }, confidence: 0.99 }] }
  const less = { known: true, offers: [{ product: { id: 'a', name: 'a' }, confidence: 0.8 }] }
  assert.equal(after(sure, sure, less)?.offers[0].confidence, 0.8)
})

test('nothing to offer is an answer, too', () => {
  const none = answer(false)
  assert.deepEqual(after(none, none, none), none)
})
