import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as errors from '../core/errors.js'
import { failed, noModel, progress, ready } from '../core/state.js'

test('a channel without a model says what to add', () => {
  const words = 'Camera recognition not yet set up. Add products with images first.'
  assert.deepEqual(noModel(), { name: 'no-model', words, version: null })
  assert.deepEqual(failed(new errors.NoModelError('404'), null), noModel())
})

test('a model that the channel has no more goes on', () => {
  const { name, words, version } = failed(new errors.NoModelError('404'), '1.4.2')
  assert.deepEqual([name, version], ['ready', '1.4.2'])
  assert.match(words, /no recogniser any more: version 1\.4\.2 goes on/)
})

test('the first download is a download, the next an update', () => {
  assert.deepEqual([progress(null, 3, 9).name, progress('1.0.0', 3, 9).name], ['downloading', 'updating'])
  assert.deepEqual([progress(null, 3, 9).receivedBytes, progress(null, 3, 9).totalBytes], [3, 9])
})

test('without a network it says whether recognition works', () => {
  assert.equal(failed(new errors.OfflineError('x'), '1.0.0').words, 'No connection. Version 1.0.0 goes on.')
  assert.match(failed(new errors.OfflineError('x'), null).words, /connect once/)
  assert.equal(ready('1.0.0').words, 'Ready.')
})

const FAILURES = [
  [new errors.ChecksumError('x'), true, /damaged/],
  [new errors.BusyError('x', 5), true, /busy/],
  [new errors.LoginError('x'), false, /log in again/],
  [new errors.OldAppError('x'), false, /reload/],
  [new errors.NoRoomError('x'), true, /no room/],
  [new errors.ModelError('x'), false, /trained again/],
  [new errors.DownloadError('/a was answered with status 500'), true, /status 500/],
  [new errors.UnsupportedError('this browser is too old'), false, /^This browser is too old/],
  [new errors.ConfigRefusedError('expired', 'x'), true, /date and time/],
  [new errors.ConfigRefusedError('replayed', 'x'), true, /older than before/],
  [new errors.ConfigRefusedError('unknown_key', 'x'), false, /pair/],
  [new errors.ConfigRefusedError('other_channel', 'x'), false, /another shop/],
  [new errors.ConfigRefusedError('bad_signature', 'x'), true, /changed on its way/],
  [new Error('anything'), true, /anything/],
]

for (const [error, retryable, words] of /** @type {[Error, boolean, RegExp][]} */ (FAILURES)) {
  test(`${error.name} (${/** @type {any} */ (error).reason ?? error.message}) says what to do, and what still works`, () => {
    const without = failed(error, null)
    assert.deepEqual([without.name, without.retryable], ['error', retryable])
    assert.match(without.words, words)
    assert.match(without.words, /^\p{Lu}.*[^.]\.$/u)
    assert.match(failed(error, '1.4.2').words, /\. Version 1\.4\.2 goes on\.$/)
  })
}
