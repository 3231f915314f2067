import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NO_BURST, afterKey, isScanner } from '../../src/shelfsight/web/till/core/scanning.js'

/** Return the codes that keys make, each so many milliseconds after the one before. */
function codesOf(keys, gapMs) {
  let burst = NO_BURST
  let atMs = 1_000
  const codes = []
  for (const key of keys) {
    atMs += gapMs
    const { after, code } = afterKey(burst, key, atMs)
    burst = after
    if (code !== null) codes.push(code)
  }
  return codes
}

test('keys that come fast and end in Enter are a code', () => {
  assert.deepEqual(codesOf([...'4011234567890', 'Enter'], 8), ['4011234567890'])
})

test('a scanner that ends in Tab is one, too', () => {
  assert.deepEqual(codesOf([...'AB-12', 'Tab'], 15), ['AB-12'])
})

test('what a person types is none, however fast the person is', () => {
  assert.deepEqual(codesOf([...'banana', 'Enter'], 90), [])
  assert.deepEqual(codesOf([...'banana', 'Enter'], 60), [])
})

test('Shift and the like are no part of a code, and do not end it', () => {
  assert.deepEqual(codesOf(['Shift', 'A', 'Shift', 'B', 'C', 'Enter'], 5), ['ABC'])
})

test('two codes behind each other are two', () => {
  assert.deepEqual(codesOf([...'111', 'Enter', ...'222', 'Enter'], 5), ['111', '222'])
})

test('an Enter that comes late ends nothing', () => {
  let burst = NO_BURST
  for (let number = 0; number < 6; number += 1) burst = afterKey(burst, '7', number * 5).after
  assert.equal(afterKey(burst, 'Enter', 500).code, null)
})

test('a pause begins anew, so that what was typed before is no part of the code', () => {
  let burst = afterKey(NO_BURST, 'x', 0).after
  for (const [place, key] of [...'4053'].entries()) burst = afterKey(burst, key, 1_000 + place * 5).after
  assert.equal(afterKey(burst, 'Enter', 1_020).code, '4053')
})

test('arrows and other keys break a code', () => {
  assert.deepEqual(codesOf([...'12', 'ArrowLeft', ...'34', 'Enter'], 5), [])
})

test('two keys are too few to tell who typed them', () => {
  assert.equal(isScanner({ text: '12', startedAtMs: 0, lastAtMs: 1 }), false)
})
