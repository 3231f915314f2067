import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { ModelError } from '../core/errors.js'
import { rank } from '../core/ranking.js'

/** Cases that Python's `rank` must answer the same. */
const VECTORS = JSON.parse(readFileSync(new URL('../../../tests/vectors/rank.json', import.meta.url), 'utf8'))
const LABELS = ['apple', 'pear', 'plum', 'fig']

test('the three most likely products come back, best first', () => {
  const { predictions } = rank([0.1, 0.6, 0.05, 0.25], LABELS, { threshold: 0.5 })
  assert.deepEqual(predictions, [
    { product: 'pear', confidence: 0.6 },
    { product: 'fig', confidence: 0.25 },
    { product: 'apple', confidence: 0.1 },
  ])
})

for (const { sentence, probabilities, labels, top, threshold, products, known } of VECTORS) {
  test(sentence, () => {
    const found = rank(probabilities, labels, { top, threshold })
    assert.deepEqual(found.predictions.map(({ product }) => product), products)
    assert.equal(found.known, known)
  })
}

test('a model with more outputs than labels is refused', () => {
  assert.throws(() => rank([0.5, 0.5], ['apple'], { threshold: 0.5 }), ModelError)
})

test('an answer that is not a number is refused instead of sorted', () => {
  assert.throws(() => rank([Number.NaN, 1], ['apple', 'pear'], { threshold: 0.5 }), ModelError)
})
