import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ModelError } from '../core/errors.js'
import { rank } from '../core/ranking.js'

const LABELS = ['apple', 'pear', 'plum', 'fig']

test('the three most likely products come back, best first', () => {
  const { predictions } = rank([0.1, 0.6, 0.05, 0.25], LABELS, { threshold: 0.5 })
  assert.deepEqual(predictions, [
    { product: 'pear', confidence: 0.6 },
    { product: 'fig', confidence: 0.25 },
    { product: 'apple', confidence: 0.1 },
  ])
})

test('equally likely products keep the order of the labels', () => {
  const { predictions } = rank([0.25, 0.25, 0.25, 0.25], LABELS, { top: 4, threshold: 0.5 })
  assert.deepEqual(predictions.map(({ product }) => product), LABELS)
})

test('a product exactly at the threshold is known', () => {
  assert.equal(rank([0.5, 0.3, 0.1, 0.1], LABELS, { threshold: 0.5 }).known, true)
})

test('a product below the threshold is not known but still named', () => {
  const { predictions, known } = rank([0.4, 0.3, 0.2, 0.1], LABELS, { threshold: 0.5 })
  assert.equal(known, false)
  assert.equal(predictions[0].product, 'apple')
})

test('a threshold of zero believes every answer', () => {
  assert.equal(rank([0.26, 0.25, 0.25, 0.24], LABELS, { threshold: 0 }).known, true)
})

test('two products give two predictions, not three', () => {
  assert.equal(rank([0.9, 0.1], ['apple', 'pear'], { threshold: 0.5 }).predictions.length, 2)
})

test('a model with more outputs than labels is refused', () => {
  assert.throws(() => rank([0.5, 0.5], ['apple'], { threshold: 0.5 }), ModelError)
})

test('an answer that is not a number is refused instead of sorted', () => {
  assert.throws(() => rank([Number.NaN, 1], ['apple', 'pear'], { threshold: 0.5 }), ModelError)
})
