import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { BUCKETS, bucket, isIn } from '../core/buckets.js'

/** Cases that Python's `bucket` and `is_in` must answer the same. */
const VECTORS = JSON.parse(readFileSync(new URL('../../../tests/vectors/buckets.json', import.meta.url), 'utf8'))
const SALT = '5f0c9ad2b1e84e7c8f3a6d21c47be090'

for (const { sentence, salt, device, bucket: expected } of VECTORS.buckets) {
  test(sentence, async () => assert.equal(await bucket(salt, device), expected))
}

for (const { sentence, salt, device, shareBasisPoints, in: expected } of VECTORS.shares) {
  test(sentence, async () => assert.equal(await isIn(salt, device, shareBasisPoints), expected))
}

test('as the share grows a device comes in at one share and never leaves', async () => {
  const shares = Array.from({ length: BUCKETS / 100 + 1 }, (_, n) => n * 100)
  for (const device of ['till-1', 'Käse 牛奶', '']) {
    const answers = await Promise.all(shares.map((share) => isIn(SALT, device, share)))
    assert.equal(answers[0], false)
    assert.equal(answers.at(-1), true)
    assert.deepEqual(answers, answers.toSorted((a, b) => Number(a) - Number(b)))
  }
})

test('a share is met, and another salt deals anew', async () => {
  const tills = Array.from({ length: 4000 }, (_, n) => `till-${n}`)
  const inside = await Promise.all(tills.map((till) => isIn(SALT, till, 1000)))
  const again = await Promise.all(tills.map((till) => isIn(`${SALT}1`, till, 1000)))
  const both = inside.filter((one, n) => one && again[n]).length
  assert.ok(Math.abs(inside.filter(Boolean).length - 400) < 80, 'about a tenth is in')
  assert.ok(both > 15 && both < 75, 'and of them about a tenth in the next release')
})
