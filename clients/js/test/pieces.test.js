import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { sha256 } from '../core/digest.js'
import { ChecksumError, DownloadError, LoginError, OfflineError } from '../core/errors.js'
import { ModelCache } from '../io/models.js'
import { fetchDocument, fetchShard } from '../io/pieces.js'
import { Server } from '../io/server.js'
import { bytesOf, newDatabase, nowhere, serve } from './world.js'

const SIZE = 1_000_000
const SHARD = bytesOf(SIZE)
const PIECE = { path: '../../blobs/shard.bin', size: SIZE, sha256: await sha256(SHARD) }
const ETAG = `"${PIECE.sha256}"`

/**
 * Return what a good server answers.
 *
 * @param {import('./world.js').Asked} asked
 * @returns {import('./world.js').Reply}
 */
function good({ headers }) {
  const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0)
  if (from === 0 || (headers['if-range'] ?? ETAG) !== ETAG) return { body: SHARD, headers: { etag: ETAG } }
  const range = `bytes ${from}-${SIZE - 1}/${SIZE}`
  return { status: 206, body: SHARD.subarray(from), headers: { etag: ETAG, 'content-range': range } }
}

/**
 * @param {import('node:test').TestContext} t
 * @param {Parameters<typeof serve>[1]} reply
 */
async function world(t, reply) {
  const database = await newDatabase(t)
  const cache = new ModelCache(database)
  const { url, log } = await serve(t, reply)
  const source = { cache, server: new Server({ serverUrl: url }) }
  const place = new URL('/blobs/shard.bin', url)
  /** @type {number[]} */
  const steps = []
  const fetchIt = () => fetchShard(source, place, PIECE, (received) => steps.push(received))
  const kept = async () => ((await cache.missing([PIECE])).length === 0 ? database.get('shards', PIECE.sha256) : null)
  return { source, cache, log, steps, place, fetchIt, kept }
}

/** @param {import('./world.js').Asked[]} log */
const ranges = (log) => log.map(({ headers }) => headers.range ?? null)

test('a shard that arrives whole is kept under its hash, with progress up to the whole', async (t) => {
  const { fetchIt, kept, steps, log, cache } = await world(t, good)
  await fetchIt()
  assert.deepEqual(new Uint8Array(await kept()), SHARD)
  assert.deepEqual([steps[0], steps.at(-1)], [0, SIZE])
  assert.ok(steps.every((step, place) => place === 0 || step >= steps[place - 1]))
  assert.deepEqual([ranges(log), (await cache.parts(PIECE)).end], [[null], 0])
})

test('a connection that breaks is taken up where it broke', async (t) => {
  const { fetchIt, kept, log } = await world(t, (asked, { length }) => ({
    ...good(asked),
    ...(length < 4 && { cutAfter: 300_000 }),
  }))
  await fetchIt()
  assert.deepEqual(new Uint8Array(await kept()), SHARD)
  const froms = ranges(log).map((range) => Number(/\d+/.exec(range ?? '0')))
  assert.equal(froms.length, 4)
  assert.ok(froms.every((from, place) => from > (froms[place - 1] ?? -1) && from <= place * 300_000), String(froms))
  assert.ok(log.slice(1).every(({ headers }) => headers['if-range'] === ETAG))
})

test('what has arrived is there after a reload', async (t) => {
  const { fetchIt, source, place, kept, log } = await world(t, (asked, { length }) => ({
    ...good(asked),
    ...(length === 1 && { cutAfter: 600_000 }),
    ...(length === 2 && { status: 500, body: 'no' }),
  }))
  await assert.rejects(fetchIt(), DownloadError)
  await fetchShard(source, place, PIECE, () => {})
  assert.deepEqual(new Uint8Array(await kept()), SHARD)
  assert.equal(ranges(log)[1], ranges(log)[2])
  assert.notEqual(ranges(log)[1], null)
})

test('a compressed beginning goes on with the uncompressed rest', async (t) => {
  const body = gzipSync(SHARD, { level: 1 })
  const headers = { etag: `"${PIECE.sha256}-gzip"`, 'content-encoding': 'gzip' }
  let cut = () => {}
  const cutWhen = new Promise((resolve) => (cut = () => resolve(null)))
  const { source, place, kept, log } = await world(t, (asked, { length }) =>
    length === 1 ? { body, headers, cutAfter: Math.floor(body.length * 0.7), cutWhen } : good(asked))
  await fetchShard(source, place, PIECE, (received) => received > 300_000 && cut())
  assert.deepEqual(new Uint8Array(await kept()), SHARD)
  assert.match(String(ranges(log)[1]), /^bytes=\d{5,6}-$/)
  assert.equal(log[1].headers['if-range'], ETAG)
})

test('a server that sends the whole file instead of the rest is taken at its word', async (t) => {
  const { fetchIt, kept, log } = await world(t, (_, { length }) => ({
    body: SHARD,
    headers: { etag: '"1"' },
    ...(length === 1 && { cutAfter: 400_000 }),
  }))
  await fetchIt()
  assert.deepEqual(new Uint8Array(await kept()), SHARD)
  assert.equal(log.length, 2)
})

test('a server that has less than what has arrived is asked for all of it', async (t) => {
  const { fetchIt, kept, log } = await world(t, (asked, { length }) => {
    if (length === 1) return { ...good(asked), cutAfter: 400_000 }
    return length === 2 ? { status: 416, headers: { 'content-range': 'bytes */100' } } : good(asked)
  })
  await fetchIt()
  assert.deepEqual(new Uint8Array(await kept()), SHARD)
  assert.equal(ranges(log)[2], null)
})

test('a part of another place is not put behind what has arrived', async (t) => {
  const other = { status: 206, body: SHARD.subarray(0, 100), headers: { 'content-range': `bytes 0-99/${SIZE}` } }
  const { fetchIt, kept } = await world(t, (asked, { length }) => {
    if (length === 1) return { ...good(asked), cutAfter: 400_000 }
    return length === 2 ? other : good(asked)
  })
  await fetchIt()
  assert.deepEqual(new Uint8Array(await kept()), SHARD)
})

test('a byte that changed on the way is refused, and the file is asked for once more', async (t) => {
  const changed = SHARD.with(777, SHARD[777] ^ 1)
  const { fetchIt, kept, log } = await world(t, (asked, { length }) => (length === 1 ? { body: changed } : good(asked)))
  await fetchIt()
  assert.deepEqual(new Uint8Array(await kept()), SHARD)
  assert.equal(log.length, 2)
})

test('a file that is another one twice is refused, and nothing of it is kept', async (t) => {
  const changed = SHARD.with(777, SHARD[777] ^ 1)
  const { fetchIt, kept, log, cache } = await world(t, () => ({ body: changed }))
  await assert.rejects(fetchIt(), ChecksumError)
  assert.deepEqual([await kept(), (await cache.parts(PIECE)).end, log.length], [null, 0, 2])
})

test('a beginning that was wrong is found out at the end, and all is asked for again', async (t) => {
  const changed = SHARD.with(0, SHARD[0] ^ 1)
  const wrong = { body: changed, headers: { etag: ETAG }, cutAfter: 500_000 }
  const { fetchIt, kept, log } = await world(t, (asked, { length }) => (length === 1 ? wrong : good(asked)))
  await fetchIt()
  assert.deepEqual(new Uint8Array(await kept()), SHARD)
  assert.equal(ranges(log).at(-1), null)
})

test('a file that is too long is refused before it is all here', async (t) => {
  const { fetchIt, cache } = await world(t, () => ({ body: bytesOf(SIZE + 1) }))
  await assert.rejects(fetchIt(), /longer than the file/)
  assert.equal((await cache.parts(PIECE)).end, 0)
})

test('a file that is too short is no file: the server is left alone for now', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const ticking = setInterval(() => t.mock.timers.tick(1000), 5)
  t.after(() => clearInterval(ticking))
  const nothing = { status: 206, headers: { 'content-range': `bytes 500-500/${SIZE}` } }
  const { fetchIt, log } = await world(t, ({ headers }) => (headers.range ? nothing : { body: SHARD.subarray(0, 500) }))
  await assert.rejects(fetchIt(), OfflineError)
  assert.ok(log.length < 12, `asked ${log.length} times`)
})

test('who may not have it must log in', async (t) => {
  const { fetchIt } = await world(t, () => ({ status: 401, body: {} }))
  await assert.rejects(fetchIt(), LoginError)
})

test('a server that is not there is no connection', async (t) => {
  const cache = new ModelCache(await newDatabase(t))
  const url = await nowhere(t)
  const source = { cache, server: new Server({ serverUrl: url }) }
  await assert.rejects(fetchShard(source, new URL(url), PIECE, () => {}), OfflineError)
})

test('what is ended stops at once, and keeps what has arrived', async (t) => {
  const end = new AbortController()
  const { source, place, cache } = await world(t, good)
  const fetching = fetchShard({ ...source, signal: end.signal }, place, PIECE, (received) => {
    if (received > 300_000) end.abort(new Error('enough'))
  })
  await assert.rejects(fetching, /enough/)
  const { end: arrived } = await cache.parts(PIECE)
  assert.ok(arrived > 0 && arrived < SIZE, String(arrived))
})

test('a document is the one that was published, or none', async (t) => {
  const text = '{"name": "Käse"}'
  const piece = { path: 'metadata.json', size: 17, sha256: await sha256(new TextEncoder().encode(text)) }
  const { source, place, log } = await world(t, (_, { length }) => ({ body: length < 3 ? '{"name": "Kase"}' : text }))
  await assert.rejects(fetchDocument(source, place, piece), ChecksumError)
  assert.equal(await fetchDocument(source, place, piece), text)
  assert.equal(log.length, 3)
})

test('wherever a connection breaks, what is kept in the end is the file', async (t) => {
  for (const cutAfter of [0, 1, 100, 262_143, 262_144, 262_145, 524_288, 999_999]) {
    const { fetchIt, kept } = await world(t, (asked, { length }) => ({ ...good(asked), ...(length < 3 && { cutAfter }) }))
    await fetchIt()
    assert.deepEqual(new Uint8Array(await kept()), SHARD, String(cutAfter))
  }
})
