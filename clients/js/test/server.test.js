import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BusyError, DownloadError, LoginError, OfflineError } from '../core/errors.js'
import { Server, bodyOf, throwUnlessOk } from '../io/server.js'
import { nowhere, serve } from './world.js'

const read = async (/** @type {Response} */ response) => {
  throwUnlessOk(response)
  return bodyOf(response)
}

test('a server below a path is asked below it, whether its address ends in a slash or not', () => {
  for (const serverUrl of ['https://shop.test/shelf', 'https://shop.test/shelf/', 'https://shop.test/shelf//']) {
    const server = new Server({ serverUrl })
    assert.equal(server.api('api/v1/events').href, 'https://shop.test/shelf/api/v1/events')
    assert.equal(server.files('/assets/a.bin').href, 'https://shop.test/assets/a.bin')
    assert.equal(server.files('https://cdn.test/a.bin').href, 'https://cdn.test/a.bin')
  }
})

test('the token goes to the server, and to nobody else', async (t) => {
  const [ours, theirs] = [await serve(t, () => ({ body: 'a' })), await serve(t, () => ({ body: 'b' }))]
  const server = new Server({ serverUrl: ours.url, token: 'secret' })
  await server.ask(server.api('v1/channels/T_1/model-config'), {}, read)
  await server.ask(server.api('api/v1/events'), {}, read)
  await server.ask(new URL(theirs.url), {}, read)
  const said = [...ours.log, ...theirs.log].map(({ headers }) => [headers.apikey, headers.authorization])
  assert.deepEqual(said, [['secret', undefined], [undefined, 'Bearer secret'], [undefined, undefined]])
})

test('answers that are no good ones say what can be done', async (t) => {
  const { url } = await serve(t, ({ path }) => ({ status: Number(path.slice(1)), headers: { 'retry-after': '7' } }))
  const server = new Server({ serverUrl: url })
  const kinds = { 401: LoginError, 403: LoginError, 404: DownloadError, 429: BusyError, 500: DownloadError, 503: BusyError }
  for (const [status, kind] of Object.entries(kinds)) {
    await assert.rejects(server.ask(server.api(status), {}, read), kind, status)
  }
  const busy = server.ask(server.api('429'), {}, read)
  await assert.rejects(busy, (error) => error instanceof BusyError && error.retryAfterMs === 7_000)
})

test('a server that is not there, and one that breaks off, are no connection', async (t) => {
  const { url } = await serve(t, () => ({ body: 'x'.repeat(1000), cutAfter: 10 }))
  const here = new Server({ serverUrl: url })
  await assert.rejects(here.ask(here.api('x'), {}, read), OfflineError)
  const there = new Server({ serverUrl: await nowhere(t) })
  await assert.rejects(there.ask(there.api('x'), {}, read), OfflineError)
  await assert.rejects(there.post(there.api('x'), {}), OfflineError)
})

test('a server that never answers is given up', async (t) => {
  const { url } = await serve(t, () => new Promise(() => {}))
  const server = new Server({ serverUrl: url })
  await assert.rejects(server.ask(server.api('x'), { patienceMs: 50 }, read), OfflineError)
})

test('a body that never ends is given up, unless something arrives', async (t) => {
  const { url } = await serve(t, () => ({ body: 'x'.repeat(1000), cutAfter: 10, cutWhen: new Promise(() => {}) }))
  const server = new Server({ serverUrl: url })
  await assert.rejects(server.ask(server.api('x'), { patienceMs: 50 }, read), OfflineError)
})

test('what is ended by who asked fails with that reason', async (t) => {
  const { url } = await serve(t, () => new Promise(() => {}))
  const server = new Server({ serverUrl: url })
  const end = new AbortController()
  const asked = server.ask(server.api('x'), { signal: end.signal }, read)
  end.abort(new Error('enough'))
  await assert.rejects(asked, /enough/)
  await assert.rejects(server.ask(server.api('x'), { signal: end.signal }, read), /enough/)
})

test('whatever is asked, the sequence of the channel is heard', async (t) => {
  const answers = ['7', '8', 'x', '', '1.5']
  const headers = (/** @type {number} */ asked) => ({ 'x-shelfsight-sequence': answers[asked - 1] })
  const { url } = await serve(t, (_, { length }) => ({ body: {}, headers: headers(length) }))
  /** @type {number[]} */
  const heard = []
  const server = new Server({ serverUrl: url, onSequence: (sequence) => heard.push(sequence) })
  for (let asked = 0; asked < answers.length; asked += 1) await server.post(server.api('x'), {})
  assert.deepEqual(heard, [7, 8])
})

test('what is no JSON is no document', async (t) => {
  const { url } = await serve(t, () => ({ status: 502, body: '<html>' }))
  const server = new Server({ serverUrl: url })
  assert.deepEqual(await server.post(server.api('x'), { a: 1 }), { status: 502, body: null })
})
