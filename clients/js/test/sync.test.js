import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  ChecksumError,
  ConfigRefusedError,
  DownloadError,
  ModelError,
  NoModelError,
  NoRoomError,
  OfflineError,
  OldAppError,
  UnsupportedError,
} from '../core/errors.js'
import { Configs } from '../io/configs.js'
import { ModelCache } from '../io/models.js'
import { Server } from '../io/server.js'
import { synchronise } from '../io/sync.js'
import { Channel } from './channel.js'
import { fillDevice, newDatabase, nowhere, serve } from './world.js'

const CANDIDATE = { version: 'v1.1.0', rolloutBasisPoints: 10_000, salt: 'salt' }
const SHADOW = { shadowModelVersion: 'v1.1.0', shadowPercentage: 100, shadowSalt: 'salt' }

/**
 * @param {import('node:test').TestContext} t
 * @param {{ trial?: (model: any) => Promise<void>, appVersion?: string }} [options]
 */
async function world(t, { trial = async () => {}, appVersion } = {}) {
  const channel = await Channel.make()
  await channel.publish('v1.0.0')
  channel.release('v1.0.0')
  const database = await newDatabase(t)
  const { url, log } = await serve(t, (asked, seen) => channel.answer(asked, seen))
  const cache = new ModelCache(database)
  /** @type {any[]} */
  const reports = []
  /** @type {any[]} */
  const uses = []
  /** @type {number[][]} */
  const steps = []
  const device = async (/** @type {string} */ serverUrl) => {
    const server = new Server({ serverUrl, token: 'secret' })
    const configs = new Configs(database, server, { channel: 'T_1', platform: 'web', tier: 'low' })
    await configs.pair([channel.keyId])
    return { configs, sync: (/** @type {AbortSignal} */ signal) => synchronise({ ...means, configs, server, signal }) }
  }
  const means = {
    cache,
    device: { deviceId: 'device-1', appVersion },
    trial,
    onUse: async (/** @type {any} */ use) => void uses.push(use),
    onProgress: (/** @type {number[]} */ ...step) => steps.push(step),
    report: (/** @type {any[]} */ ...report) => reports.push(report),
  }
  const { configs, sync } = await device(url)
  const version = async () => (await cache.model((await cache.use()).active))?.version ?? null
  return { channel, database, cache, log, reports, uses, steps, configs, sync, device, version }
}

/**
 * @param {import('./world.js').Asked[]} log
 * @param {RegExp} path
 */
const asked = (log, path) => log.filter((one) => path.test(one.path))

test('the first look gets the config, the documents and every shard, and uses the version', async (t) => {
  const { sync, version, log, uses, steps } = await world(t)
  await sync()
  assert.equal(await version(), '1.0.0')
  assert.equal(uses.length, 1)
  const names = ['model-config', 'manifest.json', 'metadata.json', 'model.shards.json']
  for (const name of names) assert.equal(asked(log, new RegExp(`/${name}$`)).length, 1, name)
  assert.deepEqual([asked(log, /blobs/).length, log.length], [2, 6])
  assert.deepEqual(steps.at(-1), [40_008, 40_008])
})

test('the config is asked for with key, platform, tier and no tag, the next one with its tag', async (t) => {
  const { sync, log, channel } = await world(t)
  await sync()
  await sync()
  const [first, second] = asked(log, /model-config/)
  const { apikey, 'x-app-platform': platform, 'x-device-tier': tier, 'if-none-match': tag } = first.headers
  assert.deepEqual([apikey, platform, tier, tag], ['secret', 'web', 'low', undefined])
  assert.equal(second.headers['if-none-match'], (await channel.config()).etag)
  assert.equal(first.headers['cache-control'], 'max-age=0')
})

test('when nothing is new, one question is all', async (t) => {
  const { sync, log } = await world(t)
  await sync()
  const before = log.length
  await sync()
  assert.equal(log.length, before + 1)
})

test('a retrain with the same backbone downloads the head alone', async (t) => {
  const { sync, version, log, channel } = await world(t)
  await sync()
  await channel.publish('v1.0.1', { head: 7 })
  channel.release('v1.0.1')
  log.length = 0
  await sync()
  assert.equal(await version(), '1.0.1')
  assert.equal(asked(log, /blobs/).length, 1)
})

test('a roll back downloads nothing', async (t) => {
  const { sync, version, log, channel } = await world(t)
  await sync()
  await channel.publish('v1.0.1', { head: 7 })
  channel.release('v1.0.1')
  await sync()
  channel.release('v1.0.0')
  log.length = 0
  await sync()
  assert.equal(await version(), '1.0.0')
  assert.deepEqual(log.length, 1)
})

test('a channel without a model is one, and what is cached stays', async (t) => {
  const { sync, version, channel } = await world(t)
  const { said } = channel
  channel.said = null
  await assert.rejects(sync(), NoModelError)
  channel.said = said
  await sync()
  channel.said = null
  await assert.rejects(sync(), NoModelError)
  assert.equal(await version(), '1.0.0')
})

test('a config that is older than one that was seen is refused and reported', async (t) => {
  const { sync, version, channel, reports } = await world(t)
  await sync()
  channel.sequence = 0
  await assert.rejects(sync(), (error) => error instanceof ConfigRefusedError && error.reason === 'replayed')
  assert.equal(await version(), '1.0.0')
  assert.equal(reports[0][0], 'config_failure')
})

test('a config of another key, or of another channel, is refused', async (t) => {
  const { sync, channel } = await world(t)
  const [stranger, neighbour] = [await Channel.make(), new Channel('T_2', channel.privateKey, channel.keyId, channel.publicKey)]
  for (const [other, reason] of /** @type {const} */ ([[stranger, 'unknown_key'], [neighbour, 'other_channel']])) {
    Object.assign(other, { entries: channel.entries, said: channel.said, sequence: 9 })
    const { text } = await other.config()
    channel.trouble = ({ path }) => (path.endsWith('model-config') ? { body: text } : null)
    await assert.rejects(sync(), (error) => error instanceof ConfigRefusedError && error.reason === reason)
  }
})

test('an expired config is refused, and one that has expired in the cache is asked for without its tag', async (t) => {
  const { sync, channel, log, database } = await world(t)
  await sync()
  const config = await database.get('state', 'config')
  await database.put('state', { ...config, expiresAt: '2020-01-01T00:00:00.000Z' }, 'config')
  await sync()
  assert.equal(asked(log, /model-config/).at(-1)?.headers['if-none-match'], undefined)
  channel.expiresAt = '2021-01-01T00:00:00.000Z'
  await assert.rejects(sync(), (error) => error instanceof ConfigRefusedError && error.reason === 'expired')
})

test('keys change as the config says, and the pairing link of old does not bring the old one back', async (t) => {
  const { sync, channel, device, version } = await world(t)
  await sync()
  const [old, next] = [new Channel('T_1', channel.privateKey, channel.keyId, channel.publicKey), await Channel.make()]
  channel.keys = [...next.keys, ...old.keys]
  channel.release('v1.0.0')
  await sync() // signed by the old key, and naming both
  channel.signAs(next)
  channel.release('v1.0.0')
  await sync() // signed by the new one, and naming it alone
  channel.signAs(old)
  channel.release('v1.0.0')
  const { configs } = await device(await nowhere(t))
  await configs.pair([old.keyId])
  await assert.rejects(sync(), (error) => error instanceof ConfigRefusedError && error.reason === 'unknown_key')
  assert.equal(await version(), '1.0.0')
})

test('a device that was never paired goes by nothing', async (t) => {
  const database = await newDatabase(t)
  const server = new Server({ serverUrl: await nowhere(t) })
  const configs = new Configs(database, server, { channel: 'T_1', platform: 'web', tier: 'any' })
  await assert.rejects(configs.pair([]), UnsupportedError)
})

test('pairing anew with other keys begins anew, and keeps what is cached', async (t) => {
  const { sync, channel, configs, version } = await world(t)
  channel.sequence = 50
  await sync()
  const rebuilt = await Channel.make()
  channel.signAs(rebuilt)
  channel.sequence = 1
  await assert.rejects(sync(), ConfigRefusedError)
  await configs.pair([channel.keyId])
  await channel.publish('v1.0.1', { head: 3 })
  channel.release('v1.0.1')
  await sync()
  assert.equal(await version(), '1.0.1')
})

test('another link with a key that is trusted already forgets nothing', async (t) => {
  const { sync, channel, configs } = await world(t)
  channel.sequence = 50
  const next = await Channel.make()
  channel.keys = [...channel.keys, ...next.keys]
  await sync()
  await configs.pair([next.keyId])
  channel.sequence = 49
  await assert.rejects(sync(), (error) => error instanceof ConfigRefusedError && error.reason === 'replayed')
})

test('without a connection what is cached stays', async (t) => {
  const { sync, device, version, reports } = await world(t)
  await sync()
  const { sync: offline } = await device(await nowhere(t))
  await assert.rejects(offline(), OfflineError)
  assert.deepEqual([await version(), reports], ['1.0.0', []])
})

test('a shard that breaks off is taken up by the next look', async (t) => {
  const { sync, version, channel, log, reports } = await world(t)
  let tries = 0
  channel.trouble = ({ path }) => {
    if (!path.includes('/blobs/')) return null
    tries += 1
    if (tries === 1) return { body: channel.files.get(path), cutAfter: 10_000 }
    return tries === 2 ? { status: 500 } : null
  }
  await assert.rejects(sync(), DownloadError)
  await sync()
  assert.equal(await version(), '1.0.0')
  assert.ok(asked(log, /blobs/).slice(1, 3).every(({ headers }) => headers.range === 'bytes=10000-'))
  assert.equal(reports[0][0], 'download_failure')
})

for (const kind of ['blobs', 'manifest.json', 'model.shards.json', 'metadata.json']) {
  test(`a byte of ${kind} that changed on the way is refused, and the last good version stays`, async (t) => {
    const { sync, version, channel, reports } = await world(t)
    await sync()
    await channel.publish('v1.0.1', { head: 7 })
    channel.release('v1.0.1')
    channel.trouble = ({ path }) => {
      const bytes = path.includes(kind) && channel.files.get(path)
      return bytes ? { body: bytes.with(3, bytes[3] ^ 1) } : null
    }
    await assert.rejects(sync(), ChecksumError)
    assert.equal(await version(), '1.0.0')
    assert.deepEqual([reports[0][0], reports[0][2]], ['checksum_failure', { version: 'v1.0.1', isShadow: false }])
    channel.trouble = null
    await sync()
    assert.equal(await version(), '1.0.1')
  })
}

test('a server that publishes while a device downloads never gives it a mixture', async (t) => {
  const { sync, version, channel, cache } = await world(t)
  await channel.publish('v1.0.1', { head: 7, labels: ['pear', 'apple'] })
  channel.trouble = ({ path }) => {
    if (path.endsWith('manifest.json') && channel.said?.activeModelVersion === 'v1.0.0') channel.release('v1.0.1')
    return null
  }
  await sync()
  assert.equal(await version(), '1.0.0')
  await sync()
  assert.equal(await version(), '1.0.1')
  const model = await cache.model((await cache.use()).active)
  assert.deepEqual(model?.metadata.labels, ['pear', 'apple'])
})

test('files that another version has taken the place of are refused', async (t) => {
  const { sync, channel } = await world(t)
  await channel.publish('v1.0.1', { head: 7, labels: ['pear', 'apple', 'plum'] })
  channel.trouble = ({ path }) => ({ body: channel.files.get(path.replace('v1.0.0', 'v1.0.1')) })
  const { text } = await channel.config()
  const swapped = channel.trouble
  channel.trouble = (one, log) => (one.path.endsWith('model-config') ? { body: text } : swapped(one, log))
  await assert.rejects(sync(), ChecksumError)
})

test('a version with more labels than outputs is refused before its weights come, and once and for all', async (t) => {
  const { sync, version, channel, log, reports } = await world(t)
  await sync()
  await channel.publish('v1.0.1', { labels: ['apple', 'pear', 'plum'], units: 2, head: 7 })
  channel.release('v1.0.1')
  log.length = 0
  await assert.rejects(sync(), /2 outputs for 3 labels/)
  assert.deepEqual([await version(), asked(log, /blobs/).length], ['1.0.0', 0])
  log.length = 0
  await assert.rejects(sync(), ModelError)
  assert.deepEqual(log.map(({ path }) => path), ['/v1/channels/T_1/model-config'])
  assert.deepEqual(reports.map(([kind]) => kind), ['load_failure'])
})

test('a version that cannot be built is refused and not downloaded again', async (t) => {
  const trial = async (/** @type {any} */ model) => {
    if (model.version === '1.0.1') throw new ModelError('it does not answer')
  }
  const { sync, version, channel, log } = await world(t, { trial })
  await sync()
  await channel.publish('v1.0.1', { head: 7 })
  channel.release('v1.0.1')
  await assert.rejects(sync(), ModelError)
  log.length = 0
  await assert.rejects(sync(), ModelError)
  assert.deepEqual([await version(), log.length], ['1.0.0', 1])
})

test('a browser that runs no model blames none', async (t) => {
  let isOld = true
  const trial = async () => {
    if (isOld) throw new UnsupportedError('too old')
  }
  const { sync, version } = await world(t, { trial })
  await assert.rejects(sync(), UnsupportedError)
  isOld = false
  await sync()
  assert.equal(await version(), '1.0.0')
})

test('a device in the rollout runs the candidate, and the stable version where the candidate does not work', async (t) => {
  const trial = async (/** @type {any} */ model) => {
    if (model.version === '1.1.0') throw new ModelError('it does not answer')
  }
  for (const [works, expected] of /** @type {const} */ ([[true, '1.1.0'], [false, '1.0.0']])) {
    const { sync, version, channel } = await world(t, works ? {} : { trial })
    await channel.publish('v1.1.0', { head: 9 })
    channel.release('v1.0.0', { candidate: CANDIDATE })
    await sync()
    assert.equal(await version(), expected)
  }
})

test('a new device gets the stable version until the candidate arrives', async (t) => {
  const { sync, version, channel, cache } = await world(t)
  await channel.publish('v1.1.0', { head: 9, backbone: 8 })
  channel.release('v1.0.0', { candidate: CANDIDATE })
  let damaged = 0
  channel.trouble = ({ path }) => {
    if (path.includes('v1.1.0/metadata.json')) damaged += 1
    return path.includes('v1.1.0/metadata.json') ? { body: '{}' } : null
  }
  await assert.rejects(sync(), ChecksumError)
  assert.deepEqual([await version(), damaged], ['1.0.0', 2])
  channel.trouble = null
  await sync()
  assert.equal(await version(), '1.1.0')
  assert.notEqual((await cache.use()).previous, null)
})

test('what has arrived of a shadow is not asked for again', async (t) => {
  const { sync, channel, log, cache } = await world(t)
  await channel.publish('v1.1.0', { head: 9, backbone: 8 })
  channel.release('v1.0.0', SHADOW)
  const manifest = channel.files.get('/assets/ml-models/T_1/v1.1.0/manifest.json')
  const { sha256 } = JSON.parse(Buffer.from(manifest ?? []).toString()).blobs[0]
  let isBroken = true
  channel.trouble = ({ path, headers }) => {
    if (!isBroken || !path.includes(sha256)) return null
    return headers.range ? { status: 500 } : { body: channel.files.get(path), cutAfter: 10_000 }
  }
  await sync()
  isBroken = false
  await sync()
  assert.notEqual((await cache.use()).shadow, null)
  assert.equal(log.filter(({ path }) => path.includes(sha256)).at(-1)?.headers.range, 'bytes=10000-')
})

test('a shadow comes after the one that answers, which does not wait for it', async (t) => {
  const { sync, channel, uses, cache } = await world(t)
  await channel.publish('v1.1.0', { head: 9 })
  channel.release('v1.0.0', SHADOW)
  await sync()
  assert.deepEqual(uses.map(({ shadow }) => shadow), [null, channel.entries['v1.1.0'].manifest.sha256])
  channel.release('v1.0.0')
  await sync()
  assert.equal((await cache.use()).shadow, null)
})

test('a shadow that cannot be had is reported as one, and is in nobody’s way', async (t) => {
  const { sync, version, channel, reports } = await world(t)
  await channel.publish('v1.1.0', { labels: ['a', 'b', 'c'], units: 2 })
  channel.release('v1.0.0', SHADOW)
  await sync()
  assert.equal(await version(), '1.0.0')
  assert.deepEqual(reports.map(([kind, , about]) => [kind, about]), [['load_failure', { version: 'v1.1.0', isShadow: true }]])
})

test('an app that is too old keeps what it has', async (t) => {
  const { sync, version, channel } = await world(t, { appVersion: '1.9.0' })
  await sync()
  channel.release('v1.0.0', { minAppVersion: '2.0.0' })
  await assert.rejects(sync(), OldAppError)
  assert.equal(await version(), '1.0.0')
})

test('a device without room gives up the previous version for the next', async (t) => {
  const { sync, version, channel, cache, database } = await world(t)
  for (const [place, name] of ['v1.0.1', 'v1.0.2'].entries()) {
    await sync()
    await channel.publish(name, { head: 20 + place, backbone: 30 + place })
    channel.release(name)
  }
  await sync()
  assert.notEqual((await cache.use()).previous, null)
  await channel.publish('v1.0.3', { head: 40, backbone: 41 })
  channel.release('v1.0.3')
  const device = fillDevice(t, ['shards', 'parts'])
  const { delete: remove } = IDBObjectStore.prototype
  t.mock.method(IDBObjectStore.prototype, 'delete', /** @this {IDBObjectStore} */ function (/** @type {any} */ key) {
    if (this.name === 'shards') device.isFull = false
    return remove.call(this, key)
  })
  await sync()
  assert.equal(await version(), '1.0.3')
  assert.equal(await database.count('models'), 2)
})

test('a device that never has room says so, and the last good version stays', async (t) => {
  const { sync, version, channel, reports, cache } = await world(t)
  await sync()
  await channel.publish('v1.0.1', { head: 7 })
  channel.release('v1.0.1')
  fillDevice(t, ['shards', 'parts'])
  await assert.rejects(sync(), NoRoomError)
  assert.equal(await version(), '1.0.0')
  const model = await cache.model((await cache.use()).active)
  assert.notEqual(model && (await cache.weights(model)), null)
  assert.equal(reports[0][0], 'download_failure')
  assert.equal((await cache.sizeBytes()) > 80_000, false) // what has arrived of the other is in nobody's way
})

test('what the browser has removed is downloaded again', async (t) => {
  const { sync, cache, database, uses } = await world(t)
  await sync()
  const [key] = await database.getAllKeys('shards')
  await database.delete('shards', key)
  await sync()
  const model = await cache.model((await cache.use()).active)
  assert.notEqual(model && (await cache.weights(model)), null)
  assert.equal(uses.length, 2)
})

test('a look that is ended reports nothing and changes nothing', async (t) => {
  const { sync, version, channel, reports } = await world(t)
  const end = new AbortController()
  channel.trouble = ({ path }) => {
    if (path.includes('/blobs/')) end.abort(new Error('closed'))
    return null
  }
  await assert.rejects(sync(end.signal), /closed/)
  assert.deepEqual([await version(), reports], [null, []])
})

test('whatever happens in whatever order, what is used is whole and never older', async (t) => {
  const { sync, channel, cache } = await world(t)
  let state = 42
  const draw = (/** @type {number} */ among) => (state = (state * 1103515245 + 12345) & 0x7fffffff) % among
  let highest = 0
  for (let round = 0; round < 60; round += 1) {
    if (draw(3) === 0) {
      const version = `v1.0.${round + 1}`
      await channel.publish(version, { head: draw(9) + 1, backbone: draw(3) + 1 })
      channel.release(version)
    }
    const trouble = draw(5)
    channel.trouble = ({ path }) => {
      const bytes = channel.files.get(path)
      if (!bytes || trouble > 2 || draw(2) === 0) return null
      if (trouble === 0) return { status: 503 }
      return trouble === 1 ? { body: bytes.with(0, bytes[0] ^ 1) } : { body: bytes.subarray(0, 1) , cutAfter: 0 }
    }
    await sync().catch((/** @type {unknown} */ error) => assert.ok(error instanceof DownloadError, String(error)))
    const use = await cache.use()
    assert.ok(use.sequence >= highest)
    highest = use.sequence
    const model = await cache.model(use.active)
    if (use.active) assert.ok(model && (await cache.weights(model)), `round ${round}`)
  }
  channel.trouble = null
  await sync()
  assert.equal((await cache.use()).sequence, channel.sequence)
})
