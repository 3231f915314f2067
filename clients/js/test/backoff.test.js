import assert from 'node:assert/strict'
import { test } from 'node:test'
import { INTERVAL_MS, nextLookMs, parseRetryAfter, retryMs } from '../core/backoff.js'

const NOW = new Date('2026-11-20T12:00:00Z')

test('the next look is 30 minutes away, give or take a tenth', () => {
  assert.deepEqual([0, 0.5, 1].map(nextLookMs), [27, 30, 33].map((minutes) => minutes * 60_000))
})

test('pauses double from five seconds to half an hour, whatever chance says', () => {
  const longest = Array.from({ length: 12 }, (_, failures) => retryMs(failures + 1, 1) / 1000)
  assert.deepEqual(longest, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 1800, 1800, 1800])
  for (let failures = 1; failures < 2000; failures += 1) {
    const [least, most] = [retryMs(failures, 0), retryMs(failures, 1)]
    assert.ok(least * 2 === most && most <= INTERVAL_MS, `${failures}: ${least} to ${most}`)
  }
})

test('a server that wants to be left alone for longer is', () => {
  assert.equal(retryMs(1, 0, 60_000), 60_000)
  assert.equal(retryMs(1, 1, 60_000), 66_000)
  assert.equal(retryMs(12, 1, 60_000), INTERVAL_MS)
})

test('Retry-After is seconds or a date, and at most six hours', () => {
  assert.equal(parseRetryAfter('120', NOW), 120_000)
  assert.equal(parseRetryAfter('Fri, 20 Nov 2026 12:00:30 GMT', NOW), 30_000)
  assert.equal(parseRetryAfter('31536000', NOW), 6 * 3_600_000)
})

test('a Retry-After that is none, or in the past, wants nothing', () => {
  for (const header of [null, '', 'soon', '0', '-5', 'Fri, 20 Nov 2026 11:59:00 GMT']) {
    assert.equal(parseRetryAfter(header, NOW), 0, String(header))
  }
})
