import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BusyError, DownloadError, LoginError } from '../core/errors.js'
import { Repeater } from '../io/repeater.js'

const MINUTE = 60_000

/**
 * @param {number} _run
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
const untilEnded = (_run, signal) => new Promise((_, reject) => (signal.onabort = () => reject(signal.reason)))

/**
 * @param {import('node:test').TestContext} t
 * @param {(run: number, signal: AbortSignal) => Promise<void>} work
 * @param {ConstructorParameters<typeof Repeater>[1]} [options]
 */
function world(t, work, options) {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000_000_000 })
  t.mock.method(Math, 'random', () => 0.5)
  const state = { runs: 0 }
  const repeater = new Repeater((signal) => work((state.runs += 1), signal), options)
  t.after(() => repeater.stop())
  const pass = async (/** @type {number} */ durationMs) => {
    t.mock.timers.tick(durationMs)
    for (let turn = 0; turn < 20; turn += 1) await null
  }
  return { repeater, state, pass }
}

test('what is periodic is done again after 30 minutes, and only then', async (t) => {
  const { repeater, state, pass } = world(t, async () => {}, { isPeriodic: true })
  await repeater.now()
  await pass(29 * MINUTE)
  assert.equal(state.runs, 1)
  await pass(MINUTE)
  assert.equal(state.runs, 2)
})

test('what is not periodic is done when it is woken', async (t) => {
  const { repeater, state, pass } = world(t, async () => {})
  await repeater.now()
  await pass(1_000 * MINUTE)
  assert.equal(state.runs, 1)
  repeater.wake(500)
  await pass(499)
  assert.equal(state.runs, 1)
  await pass(1)
  assert.equal(state.runs, 2)
})

test('after failures the pauses grow, and begin anew after a success', async (t) => {
  const { repeater, state, pass } = world(t, async (run) => {
    if (run !== 4) throw new DownloadError('no')
  })
  await assert.rejects(repeater.now(), DownloadError)
  for (const [place, pauseMs] of [3_750, 7_500, 15_000].entries()) {
    await pass(pauseMs - 1)
    assert.equal(state.runs, place + 1)
    await pass(1)
    assert.equal(state.runs, place + 2)
  }
  await assert.rejects(repeater.now(), DownloadError)
  await pass(3_750)
  assert.equal(state.runs, 6)
})

test('a failure that does not pass by itself waits for the next half hour', async (t) => {
  const isFinal = (/** @type {unknown} */ error) => error instanceof LoginError
  const { repeater, state, pass } = world(t, async () => Promise.reject(new LoginError('no')), { isFinal })
  await assert.rejects(repeater.now(), LoginError)
  await pass(29 * MINUTE)
  assert.equal(state.runs, 1)
  await pass(MINUTE)
  assert.equal(state.runs, 2)
})

test('a server that wants to be left alone is, whoever wakes it', async (t) => {
  const { repeater, state, pass } = world(t, async (run) => {
    if (run === 1) throw new BusyError('later', 10 * MINUTE)
  })
  await assert.rejects(repeater.now(), BusyError)
  repeater.wake()
  await pass(10 * MINUTE - 1)
  assert.equal(state.runs, 1)
  await pass(MINUTE)
  assert.equal(state.runs, 2)
})

test('who asks while it is being done waits for that one', async (t) => {
  let end = () => {}
  const { repeater, state } = world(t, () => new Promise((resolve) => (end = () => resolve())))
  const [first, second] = [repeater.now(), repeater.now()]
  end()
  await Promise.all([first, second])
  assert.equal(state.runs, 1)
})

test('what is wanted while it is being done is done again afterwards', async (t) => {
  let end = () => {}
  const { repeater, state, pass } = world(t, () => new Promise((resolve) => (end = () => resolve())))
  const first = repeater.now()
  repeater.wake()
  await pass(1)
  assert.equal(state.runs, 1)
  end()
  await first
  await pass(1)
  assert.equal(state.runs, 2)
  end()
})

test('a later wish does not put off an earlier one', async (t) => {
  const { repeater, state, pass } = world(t, async () => {})
  repeater.wake(100)
  repeater.wake(10_000)
  await pass(100)
  assert.equal(state.runs, 1)
})

test('what is ended by who asked for it fails with that reason, and is tried again', async (t) => {
  const end = new AbortController()
  const { repeater, state, pass } = world(t, untilEnded)
  const asked = repeater.now(end.signal)
  end.abort(new Error('enough'))
  await assert.rejects(asked, /enough/)
  await pass(MINUTE)
  assert.equal(state.runs, 2)
  repeater.cancel()
  await pass(0)
})

test('what is stopped is never done again', async (t) => {
  const { repeater, state, pass } = world(t, async () => {}, { isPeriodic: true })
  await repeater.now()
  repeater.wake(5)
  repeater.stop()
  repeater.wake(5)
  await pass(100 * MINUTE)
  assert.equal(state.runs, 1)
  await assert.rejects(repeater.now(), { name: 'AbortError' })
})

test('stopped in the middle, it stays stopped', async (t) => {
  const { repeater, state, pass } = world(t, untilEnded)
  const asked = repeater.now()
  repeater.stop()
  await assert.rejects(asked, { name: 'AbortError' })
  await pass(100 * MINUTE)
  assert.equal(state.runs, 1)
})

test('it is overdue after half an hour', async (t) => {
  const { repeater, pass } = world(t, async () => {})
  assert.equal(repeater.isOverdue, true)
  await repeater.now()
  await pass(30 * MINUTE)
  assert.equal(repeater.isOverdue, false)
  await pass(1)
  assert.equal(repeater.isOverdue, true)
})
