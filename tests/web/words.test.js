import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DownloadError, ModelError, NoModelError } from '@shelfsight/client'
import { NO_MODEL, announcement, backendWords, cameraAdvice, downloaded, facts, failure, percent, priced } from '../../src/shelfsight/web/till/core/words.js'

const offer = (name, confidence) => ({ product: { id: name, name, price: '0.29', currency: 'EUR', picture: '' }, confidence })

test('only certainty reads 100 %, only impossibility 0 %', () => {
  assert.deepEqual([0, 0.001, 0.5, 0.996, 1].map(percent), ['0%', '<1%', '50%', '99%', '100%'])
})

test('a price is written in its currency', () => {
  assert.equal(priced({ price: '0.29', currency: 'EUR' }, 'en'), '€0.29')
})

test('a price without a known currency is written as it came', () => {
  assert.equal(priced({ price: '0.29', currency: null }, 'en'), '0.29')
  assert.equal(priced({ price: '0.29', currency: 'POINTS' }, 'en'), '0.29 POINTS')
})

test('a product without a price has none', () => {
  assert.equal(priced({ price: null, currency: 'EUR' }, 'en'), '')
})

test('a download is told in megabytes', () => {
  assert.equal(downloaded({ receivedBytes: 2_140_000, totalBytes: 4_600_000 }), '2.1 of 4.6 MB')
  assert.equal(downloaded({}), 'A few megabytes')
})

test('a recogniser is named with its version, where it runs, and how fast', () => {
  const recogniser = { metadata: { version: '1.4.2' }, backend: 'wasm' }
  assert.equal(facts(recogniser), 'Model 1.4.2 · WebAssembly')
  assert.equal(facts(recogniser, 26.4), 'Model 1.4.2 · WebAssembly · 26 ms per picture')
})

test('a known product is announced with its price and confidence', () => {
  assert.equal(announcement({ offers: [offer('Bananas', 0.98)], known: true }, 'en'), 'Bananas, €0.29, 98% confidence')
})

test('an unknown product is announced as a question', () => {
  const offers = [offer('Garlic', 0.4), offer('Lemon', 0.2)]
  assert.equal(announcement({ offers, known: false }), 'Not sure. Could it be Garlic, Lemon?')
})

test('what runs it has one name everywhere', () => {
  assert.deepEqual(['wasm', 'webgl', 'other', null].map(backendWords), ['WebAssembly', 'WebGL', 'other', null])
})

test('every failure says what to do', () => {
  assert.equal(failure(new NoModelError('404')), NO_MODEL)
  assert.match(failure(new DownloadError('cut off')), /check the connection, then try again/)
  assert.match(failure(new ModelError('2 outputs for 1 labels: train again')), /train again/)
})

test('a camera that is blocked, missing, busy or forbidden each gets its own advice', () => {
  const named = (name) => Object.assign(new Error(name), { name })
  const advice = ['NotAllowedError', 'NotFoundError', 'NotReadableError', 'AbortError'].map((name) => cameraAdvice(named(name), true))
  advice.push(cameraAdvice(new TypeError('no mediaDevices'), false))
  assert.equal(new Set(advice).size, 5)
  for (const sentence of advice) assert.match(sentence, /choose a photo/)
})
