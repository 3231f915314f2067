import assert from 'node:assert/strict'
import { test } from 'node:test'
import { afterEvents, deviceEvent } from '../core/events.js'

const ABOUT = { id: 'e-1', at: new Date('2026-11-20T12:00:00Z'), version: 'v1.4.2', device: 'ab'.repeat(32) }

test('an event says what, when, of which version and which device of the release', () => {
  const facts = { productId: 'apple', confidence: 0.9, known: true, latencyMs: 31.2345 }
  assert.deepEqual(deviceEvent('prediction', facts, ABOUT), {
    id: 'e-1',
    at: '2026-11-20T12:00:00.000Z',
    kind: 'prediction',
    version: '1.4.2',
    device: 'ab'.repeat(32),
    productId: 'apple',
    confidence: 0.9,
    known: true,
    latencyMs: 31.2,
  })
})

test('what is not known is left out', () => {
  const event = deviceEvent('cache_hit', {}, { ...ABOUT, version: null, device: null })
  assert.deepEqual(Object.keys(event), ['id', 'at', 'kind'])
})

test('a confidence that rounding made larger than 1 is 1', () => {
  assert.equal(deviceEvent('prediction', { confidence: 1.0000001 }, ABOUT).confidence, 1)
})

test('a reason is cut at 300 letters, and holds nothing that no database can', () => {
  const { reason } = deviceEvent('load_failure', { reason: `a\0b\ud800c${'😀'.repeat(400)}` }, ABOUT)
  assert.equal(Array.from(reason ?? '').length, 300)
  assert.ok(reason?.startsWith('abc😀'))
})

test('events that the server took are sent', () => {
  assert.equal(afterEvents(200, 200), 'sent')
})

test('a batch that is too large is made smaller, unless it is one event', () => {
  assert.equal(afterEvents(413, 2), 'smaller')
  assert.equal(afterEvents(413, 1), 'drop')
})

test('a batch that the server will never read does not hold up the others', () => {
  assert.equal(afterEvents(400, 10), 'drop')
  assert.equal(afterEvents(422, 10), 'drop')
})

test('whatever else the server says, nothing is lost', () => {
  for (const status of [301, 401, 403, 404, 408, 409, 429, 500, 502, 503]) assert.equal(afterEvents(status, 10), 'later')
})
