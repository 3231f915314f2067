import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deviceFacts, diagnosticsText, shopFacts } from '../../src/shelfsight/web/till/core/diagnostics.js'
import { leaveWords, queueOf, refusalWords, soldWords, statusOf } from '../../src/shelfsight/web/till/core/sentences.js'

const LOADED = { isLoaded: true, isOnline: true }
const state = (name, more = {}) => ({ name, words: '', version: '1.0.0', ...more })
const refused = (count) => Array.from({ length: count }, (_, place) => ({ id: String(place), sale: {}, reason: '' }))

test('every state has a word beside the name of the shop', () => {
  const words = ['no-model', 'downloading', 'ready', 'updating', 'offline', 'error'].map((name) => statusOf(state(name), LOADED).words)
  assert.deepEqual(words, ['Without camera', 'Downloading', 'Ready', 'Updating', 'Offline', 'Problem: see settings'])
})

test('a download says how far it is, and is not done before it is', () => {
  const words = (receivedBytes) => statusOf(state('downloading', { receivedBytes, totalBytes: 1_000 }), LOADED).words
  assert.equal(words(430), 'Downloading 43%')
  assert.equal(words(999), 'Downloading 99%')
})

test('a browser that says it is offline is believed at once', () => {
  assert.equal(statusOf(state('ready'), { ...LOADED, isOnline: false }).words, 'Offline')
})

test('a recogniser that is being loaded is not ready', () => {
  assert.equal(statusOf(state('ready'), { isLoaded: false, isOnline: true }).words, 'Starting')
})

test('sales that wait are counted, and from 80 on what is left, too', () => {
  assert.equal(queueOf({ waiting: 0, refused: [], words: '' }), null)
  assert.equal(queueOf({ waiting: 1, refused: [], words: '' })?.words, '1 sale waits to be sent.')
  assert.equal(queueOf({ waiting: 79, refused: [], words: '' })?.words, '79 sales wait to be sent.')
  assert.equal(queueOf({ waiting: 80, refused: [], words: '' })?.words, '80 sales wait to be sent. Room for 20 more.')
  assert.equal(queueOf({ waiting: 100, refused: [], words: '' })?.words, '100 sales wait to be sent. Room for 0 more.')
})

test('a refused sale comes first: only a person can do something about it', () => {
  assert.deepEqual(queueOf({ waiting: 5, refused: refused(1), words: '' }), { words: '1 sale was refused: look at it', tone: 'bad' })
})

test('what was sold says whether it is booked', () => {
  assert.equal(soldWords('sent', 0).detail, 'Booked on the server.')
  assert.match(soldWords('waiting', 3).detail, /No connection: it is kept on this device.*3 sales wait/)
  assert.equal(soldWords('refused', 0).words, 'Sale refused')
})

test('a product that is sold no more is named as people know it', () => {
  const reason = "sale 7f names product 'p-1', which was deleted; sale 7f names product 'p-2', which is not in channel T_1"
  const words = refusalWords(reason, (id) => ({ 'p-1': 'Pear', 'p-2': 'Plum' })[id])
  assert.equal(words.reason, 'Product not found: Pear, Plum')
  assert.match(words.advice, /remove that product/)
})

test('any other refusal is told as the server says it, with what to do', () => {
  assert.match(refusalWords('sale x was booked already, with other contents', String).advice, /Look on the server/)
  assert.equal(refusalWords('quantity is 0', String).reason, 'quantity is 0')
})

test('who leaves is told how many sales stay', () => {
  assert.doesNotMatch(leaveWords(0), /not sent/)
  assert.match(leaveWords(1), /1 sale is not sent yet: it stays/)
  assert.match(leaveWords(7), /7 sales are not sent yet: they stay/)
})

const DIAGNOSTICS = {
  state: state('ready', { words: 'Ready.' }),
  version: '1.0.0',
  previousVersion: null,
  shadowVersion: '1.1.0',
  sequence: 7,
  configExpiresAt: '2026-12-04T12:00:00Z',
  backend: 'wasm',
  modelBytes: 4_600_000,
  usedBytes: 7_000_000,
  quotaBytes: 10_700_000_000,
  sales: { waiting: 2, refused: 1 },
  events: { waiting: 5, dropped: 0 },
}
const PAGE = {
  channel: 'T_1',
  shop: 'Corner shop',
  version: '0.1.0',
  build: 'abc',
  device: 'till-1',
  kept: 'kept on this device',
  products: 13,
  productsAt: '2026-11-20T12:00:00Z',
  trainedAt: '2026-11-19T12:00:00Z',
  latencyMs: 26.4,
  browser: 'A browser',
  isOnline: true,
}

test('the settings begin with the shop, what recognises, and what is sold', () => {
  const facts = Object.fromEntries(shopFacts(DIAGNOSTICS, PAGE, 'en-GB'))
  assert.deepEqual(Object.keys(facts), ['Shop', 'Recogniser', 'Products'])
  assert.equal(facts.Shop, 'Corner shop')
  assert.match(facts.Recogniser, /^version 1\.0\.0, trained 19 Nov 2026/)
  assert.match(facts.Products, /^13, as of 20 Nov 2026/)
})

test('the diagnostics say config and storage', () => {
  const facts = Object.fromEntries(deviceFacts(DIAGNOSTICS, PAGE, 'en-GB'))
  assert.match(facts.Config, /number 7, good until 4 Dec 2026/)
  assert.equal(facts['Runs on'], 'WebAssembly, 26 ms per picture')
  assert.equal(facts['Storage used'], '7.0 MB of 10.7 GB')
})

test('before anything is there the settings say so', () => {
  const nothing = { ...DIAGNOSTICS, version: null, backend: null, sequence: 0, configExpiresAt: null, usedBytes: null, quotaBytes: null }
  const page = { ...PAGE, products: null, productsAt: null, trainedAt: null, latencyMs: null }
  const shop = Object.fromEntries(shopFacts(nothing, page, 'en'))
  assert.deepEqual([shop.Recogniser, shop.Products], ['none yet', 'not here yet'])
  const facts = Object.fromEntries(deviceFacts(nothing, page, 'en'))
  assert.deepEqual([facts.Config, facts['Runs on'], facts['Storage used']], ['none yet', 'not started', 'not known'])
})

test('the text for whoever looks for a fault has everything on a line of its own', () => {
  const text = diagnosticsText(DIAGNOSTICS, PAGE, new Date('2026-11-20T12:00:00Z'))
  for (const line of ['time: 2026-11-20T12:00:00.000Z', 'channel: T_1', 'shop: Corner shop', 'backend: WebAssembly', 'state: ready: Ready.', 'version: 1.0.0', 'previous: -', 'shadow: 1.1.0', 'sales: 2 waiting, 1 refused', 'reports: 5 waiting, 0 dropped']) {
    assert.ok(text.split('\n').includes(line), line)
  }
})
