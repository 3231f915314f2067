import assert from 'node:assert/strict'
import { test } from 'node:test'
import { choose, saltFor } from '../core/choice.js'

const FILE = { baseUrl: '/', manifest: { size: 1, sha256: '0'.repeat(64) }, model: 'model.json' }
const CONFIG = /** @type {import('../core/trust.js').Config} */ ({
  channelId: 'T_1',
  activeModelVersion: 'v1.0.0',
  files: { 'v1.0.0': FILE, 'v1.1.0': FILE, 'v1.2.0': FILE },
})
const CANDIDATE = { version: 'v1.1.0', rolloutBasisPoints: 5_000, salt: 'salt of 1.1.0' }
const SHADOW = { shadowModelVersion: 'v1.2.0', shadowPercentage: 25, shadowSalt: 'salt of the shadow' }
const DEVICES = Array.from({ length: 400 }, (_, number) => `device-${number}`)

/** @param {Partial<import('../core/trust.js').Config>} changes */
const choices = (changes) => Promise.all(DEVICES.map((deviceId) => choose({ ...CONFIG, ...changes }, { deviceId })))

test('without a rollout every device runs the stable version', async () => {
  assert.deepEqual(await choose(CONFIG, { deviceId: 'any' }), { versions: ['v1.0.0'], shadow: null })
})

test('about half of the devices run a candidate for half of them, and have the stable version to fall back on', async () => {
  const found = await choices({ candidate: CANDIDATE })
  const inside = found.filter(({ versions }) => versions[0] === 'v1.1.0')
  assert.ok(inside.length > 150 && inside.length < 250, `${inside.length} of 400`)
  assert.ok(found.every(({ versions }) => versions.at(-1) === 'v1.0.0'))
})

test('who is in at a share is in at every larger one', async () => {
  let before = new Set()
  for (const rolloutBasisPoints of [0, 100, 1_000, 5_000, 9_999, 10_000]) {
    const found = await choices({ candidate: { ...CANDIDATE, rolloutBasisPoints } })
    const inside = new Set(DEVICES.filter((_, place) => found[place].versions[0] === 'v1.1.0'))
    assert.ok([...before].every((device) => inside.has(device)), String(rolloutBasisPoints))
    before = inside
  }
  assert.equal(before.size, DEVICES.length)
})

test('a shadow runs beside what answers, by lots of its own', async () => {
  const found = await choices({ candidate: CANDIDATE, ...SHADOW })
  const beside = found.filter(({ shadow }) => shadow === 'v1.2.0')
  assert.ok(beside.length > 60 && beside.length < 140, `${beside.length} of 400`)
  const both = beside.filter(({ versions }) => versions[0] === 'v1.1.0').length
  assert.ok(both > 0 && both < beside.length, 'the two lots are the same')
})

test('a version is never its own shadow', async () => {
  const shadow = { ...SHADOW, shadowModelVersion: 'v1.1.0', shadowPercentage: 100 }
  const found = await choices({ candidate: CANDIDATE, ...shadow })
  assert.ok(found.every(({ versions, shadow }) => (shadow === null) === (versions[0] === 'v1.1.0')))
})

test('half a percent is half a percent', async () => {
  const found = await choices({ ...SHADOW, shadowPercentage: 0.5 })
  assert.ok(found.filter(({ shadow }) => shadow !== null).length < 12)
})

test('a candidate for newer apps is not for older ones', async () => {
  const candidate = { ...CANDIDATE, rolloutBasisPoints: 10_000, minAppVersion: '2.1.0' }
  const versionsFor = async (/** @type {string} */ appVersion) =>
    (await choose({ ...CONFIG, candidate }, { deviceId: 'any', appVersion })).versions
  assert.deepEqual(await versionsFor('2.0.9'), ['v1.0.0'])
  assert.deepEqual(await versionsFor('2.1.0'), ['v1.1.0', 'v1.0.0'])
})

test('an app that is too old for the stable version gets none', async () => {
  const { versions } = await choose({ ...CONFIG, minAppVersion: '3.0.0' }, { deviceId: 'any', appVersion: '2.9.0' })
  assert.deepEqual(versions, [])
})

test('both arms of a rollout are named by the salt of the release, its shadow by that of the shadow', () => {
  const config = { ...CONFIG, candidate: CANDIDATE, ...SHADOW, shadowModelVersion: 'v1.1.0' }
  assert.equal(saltFor(config, 'v1.1.0', { isShadow: false }), 'salt of 1.1.0')
  assert.equal(saltFor(config, 'v1.0.0', { isShadow: false }), 'salt of 1.1.0')
  assert.equal(saltFor(config, 'v1.1.0', { isShadow: true }), 'salt of the shadow')
})

test('without a release every version has names of its own, however it is written', () => {
  const salts = ['v1.0.0', '1.0.0', 'v1.1.0'].map((version) => saltFor(CONFIG, version, { isShadow: false }))
  assert.equal(salts[0], salts[1])
  assert.notEqual(salts[0], salts[2])
})
