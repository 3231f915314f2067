import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ModelError } from '../core/errors.js'
import { sizeBytes } from '../core/weights.js'

/**
 * @param {import('../core/weights.js').WeightSpec[]} weights
 * @returns {import('../core/weights.js').WeightGroup}
 */
const group = (...weights) => ({ paths: ['weights.bin'], weights })

test('quantized weights count as what is downloaded, not as what they become', () => {
  const kernel = { name: 'kernel', shape: [3, 3, 2], dtype: 'float32', quantization: { dtype: 'uint16' } }
  const head = { name: 'head', shape: [10], dtype: 'float32', quantization: { dtype: 'uint8' } }
  assert.equal(sizeBytes(group(kernel, head)), 3 * 3 * 2 * 2 + 10)
})

test('plain weights count four bytes each and a scalar counts once', () => {
  const bias = { name: 'bias', shape: [5], dtype: 'float32' }
  const scalar = { name: 'scalar', shape: [], dtype: 'float32' }
  assert.equal(sizeBytes(group(bias, scalar)), 24)
})

test('a weight of an unknown type is refused by name', () => {
  const words = { name: 'words', shape: [5], dtype: 'string' }
  assert.throws(() => sizeBytes(group(words)), (error) => error instanceof ModelError && /words/.test(error.message))
})
