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
  assert.equal(afterEvents({ status: 200, body: { stored: 0, refused: [] } }, 200), 'sent')
})

test('a batch that is too large is made smaller, unless it is one event', () => {
  assert.equal(afterEvents({ status: 413, body: null }, 2), 'smaller')
  assert.equal(afterEvents({ status: 413, body: null }, 1), 'drop')
})

test('a batch that the server will never read does not hold up the others', () => {
  for (const status of [400, 422]) {
    assert.equal(afterEvents({ status, body: { type: 'urn:shelfsight:problem:invalid_request', status } }, 10), 'drop')
  }
})

test('whatever else the server says, nothing is lost', () => {
  for (const status of [204, 301, 400, 401, 403, 404, 405, 407, 408, 409, 410, 422, 429, 451, 500, 502, 503, 511]) {
    assert.equal(afterEvents({ status, body: null }, 10), 'later', String(status))
  }
  for (const body of [null, {}, 'Welcome to our hotel']) assert.equal(afterEvents({ status: 200, body }, 10), 'later')
})
