import assert from 'node:assert/strict'
import { createHash, createHmac } from 'node:crypto'
import { test } from 'node:test'
import { hmacSha256, sha256 } from '../core/digest.js'

test('SHA-256 is what others compute', async () => {
  for (const text of ['', 'abc', 'Käse 牛奶']) {
    assert.equal(await sha256(new TextEncoder().encode(text)), createHash('sha256').update(text).digest('hex'))
  }
})

test('HMAC-SHA256 is what others compute', async () => {
  for (const [key, message] of [['salt', 'device'], ['Käse', '牛奶'], ['k'.repeat(100), '']]) {
    assert.equal(await hmacSha256(key, message), createHmac('sha256', key).update(message).digest('hex'))
  }
})
