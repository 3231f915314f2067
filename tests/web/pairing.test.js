import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NO_LINK, readFragment, readLink, readPairing } from '../../src/shelfsight/web/till/core/pairing.js'

const ORIGIN = 'https://till.example'
const TOKEN = 'ck_0123456789abcdef0123456789abcdef'
const KEYS = ['a'.repeat(64), 'b'.repeat(64)]
const FRAGMENT = `#token=${TOKEN}&keys=${KEYS.join()}`

test('a link names the channel, the token, and the keys', () => {
  assert.deepEqual(readLink(` ${ORIGIN}/till/T_1${FRAGMENT}\n`, ORIGIN), { channel: 'T_1', token: TOKEN, keys: KEYS })
})

test('keys may be written in capitals, as some phones do', () => {
  const link = readLink(`${ORIGIN}/till/T_1#token=${TOKEN}&keys=${KEYS[0].toUpperCase()}`, ORIGIN)
  assert.deepEqual(link.keys, [KEYS[0]])
})

test('what is no link is refused', () => {
  const others = ['', 'hello', TOKEN, `${ORIGIN}/till/T_1`, `${ORIGIN}/admin${FRAGMENT}`, `${ORIGIN}/till/a b${FRAGMENT}`, `${ORIGIN}/till/../x${FRAGMENT}`]
  for (const text of others) assert.deepEqual(readLink(text, ORIGIN), { problem: NO_LINK }, text)
})

test('a link of another server is named, not followed', () => {
  assert.match(readLink(`https://evil.example/till/T_1${FRAGMENT}`, ORIGIN).problem, /evil\.example/)
  assert.match(readLink(`http://till.example/till/T_1${FRAGMENT}`, ORIGIN).problem, /till\.example/)
})

test('a link that was cut off says what to do', () => {
  assert.match(readFragment(`#token=${TOKEN}`).problem, /names no key/)
  assert.match(readFragment(`#token=${TOKEN}&keys=abc`).problem, /copy the link again/)
  assert.match(readFragment(`#token=ck_%20&keys=${KEYS[0]}`).problem, /copy the link again/)
})

test('another fragment is nothing of ours', () => {
  assert.equal(readFragment(''), null)
  assert.equal(readFragment('#basket-title'), null)
})

test('a pairing that was kept is read again, and nothing else is taken for one', () => {
  assert.deepEqual(readPairing({ token: TOKEN, keys: KEYS, more: 1 }), { token: TOKEN, keys: KEYS })
  for (const kept of [null, {}, { token: TOKEN }, { token: 1, keys: KEYS }, { token: TOKEN, keys: ['x'] }]) assert.equal(readPairing(kept), null)
})
