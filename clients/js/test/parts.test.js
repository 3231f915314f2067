import assert from 'node:assert/strict'
import { test } from 'node:test'
import { contiguous, howToRead, rangeHeaders } from '../core/parts.js'

const HASH = 'ab'.repeat(32)
const asked = { offset: 100, size: 300 }

test('a part that begins where the last one ended goes on', () => {
  for (const contentRange of ['bytes 100-299/300', 'bytes 100-199/300', 'bytes 100-299/*', null]) {
    assert.equal(howToRead({ status: 206, contentRange }, asked), 'append', String(contentRange))
  }
})

test('a part of another place or file begins anew', () => {
  for (const contentRange of ['bytes 0-299/300', 'bytes 101-299/300', 'bytes 100-299/301', 'bytes */300', 'items 100-299/300']) {
    assert.equal(howToRead({ status: 206, contentRange }, asked), 'start-over', contentRange)
  }
})

test('a part that nobody asked for begins anew', () => {
  assert.equal(howToRead({ status: 206, contentRange: 'bytes 0-9/300' }, { offset: 0, size: 300 }), 'start-over')
})

test('the whole file takes the place of what has arrived', () => {
  assert.equal(howToRead({ status: 200, contentRange: null }, asked), 'whole')
})

test('when there is nothing behind what has arrived, it was the wrong file', () => {
  assert.equal(howToRead({ status: 416, contentRange: 'bytes */100' }, asked), 'start-over')
})

test('nothing has arrived: the whole file is asked for', () => {
  assert.deepEqual(rangeHeaders({ offset: 0, etag: `"${HASH}"`, sha256: HASH }), {})
})

test('the rest is asked for under the tag of the uncompressed file, however the beginning came', () => {
  for (const etag of [`"${HASH}"`, `"${HASH}-gzip"`, `"${HASH}-zstd"`]) {
    const headers = rangeHeaders({ offset: 7, etag, sha256: HASH })
    assert.deepEqual(headers, { range: 'bytes=7-', 'if-range': `"${HASH}"` })
  }
})

test('the tag of another server is taken as it is, a weak one not at all', () => {
  assert.equal(rangeHeaders({ offset: 7, etag: '"65f"', sha256: HASH })['if-range'], '"65f"')
  assert.deepEqual(rangeHeaders({ offset: 7, etag: 'W/"65f"', sha256: HASH }), { range: 'bytes=7-' })
  assert.deepEqual(rangeHeaders({ offset: 7, etag: null, sha256: HASH }), { range: 'bytes=7-' })
})

test('parts count up to the first gap, and never beyond the file', () => {
  const part = (/** @type {number} */ offset, /** @type {number} */ length) => ({ offset, bytes: new ArrayBuffer(length) })
  assert.equal(contiguous([part(0, 10), part(10, 5), part(20, 5)], 30).end, 15)
  assert.equal(contiguous([part(5, 10)], 30).end, 0)
  assert.equal(contiguous([part(0, 10), part(10, 25)], 30).end, 10)
  assert.equal(contiguous([part(0, 10), part(8, 5)], 30).end, 10)
  assert.equal(contiguous([], 30).end, 0)
})

test('however a file is cut, its parts reach to its end', () => {
  for (let seed = 1; seed < 200; seed += 1) {
    const size = (seed * 7919) % 1000
    const parts = []
    for (let offset = 0; offset < size; ) {
      const length = Math.min(size - offset, 1 + ((seed * offset + 13) % 97))
      parts.push({ offset, bytes: new ArrayBuffer(length) })
      offset += length
    }
    assert.equal(contiguous(parts, size).end, size)
  }
})
