import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { canonical } from '../core/canonical.js'
import { ConfigRefusedError } from '../core/errors.js'
import { acceptConfig } from '../core/trust.js'

/** Cases that Python's `accept` must answer the same. */
const VECTORS = JSON.parse(readFileSync(new URL('../../../tests/vectors/configs.json', import.meta.url), 'utf8'))
const PLAIN = VECTORS.accepted[0]
const ROTATED = VECTORS.accepted.find(({ body }) => body.includes('"previousSignature"'))

const idsOf = (names) => names.map((name) => VECTORS.keys[name].keyId)
const stateOf = ({ trusts, channelId = VECTORS.device.channelId, sequence = VECTORS.device.sequence }) => ({
  channelId,
  sequence,
  keyIds: idsOf(trusts),
})
const NOW = new Date(VECTORS.device.now)

/** The reason for which a text is refused; '' if it is accepted. */
async function reasonOf(text, state, now = NOW) {
  try {
    await acceptConfig(text, state, now)
  } catch (error) {
    if (!(error instanceof ConfigRefusedError)) throw error
    return error.reason
  }
  return ''
}

for (const { sentence, text, canonical: expected } of VECTORS.canonical) {
  test(sentence, () => assert.equal(canonical(JSON.parse(text)), expected))
}

for (const vector of VECTORS.accepted) {
  test(vector.sentence, async () => {
    const before = stateOf(vector)
    const { config, state } = await acceptConfig(vector.body, before, NOW)
    assert.deepEqual(config, JSON.parse(vector.body))
    assert.deepEqual(
      { ...state, keyIds: state.keyIds.toSorted() },
      { channelId: 'T_1', sequence: vector.sequenceThen, keyIds: idsOf(vector.learns).toSorted() },
    )
    assert.deepEqual(before, stateOf(vector))
  })
}

for (const vector of VECTORS.refused) {
  test(vector.sentence, async () => {
    const before = stateOf(vector)
    assert.equal(await reasonOf(vector.body, before), vector.reason)
    assert.deepEqual(before, stateOf(vector))
  })
}

for (const { body, trusts } of [PLAIN, ROTATED]) {
  test(`any changed byte of ${body.length} is refused, or changes nothing that is said`, async () => {
    const bytes = Buffer.from(body)
    const state = stateOf({ trusts })
    let survived = 0
    for (let at = 0; at < bytes.length; at += 1) {
      const changed = Buffer.from(bytes)
      changed[at] ^= 1 << (at % 8)
      const text = changed.toString('utf8')
      if ((await reasonOf(text, state)) !== '') continue
      survived += 1
      const { signature, previousSignature, ...said } = JSON.parse(text)
      const { signature: _one, previousSignature: _two, ...signed } = JSON.parse(body)
      assert.deepEqual(said, signed)
    }
    assert.ok(survived < bytes.length / 2)
  })
}

test('a text of 64 KiB is read, and one byte more is not, however few letters it has', async () => {
  const state = stateOf({ trusts: ['first'] })
  assert.equal(await reasonOf('x'.repeat(65536), state), 'malformed')
  assert.equal(await reasonOf('x'.repeat(65537), state), 'too_large')
  assert.equal(await reasonOf('é'.repeat(32769), state), 'too_large')
})

test('what is nested ten thousand deep is refused, and harms nobody', async () => {
  const state = stateOf({ trusts: ['first'] })
  assert.equal(await reasonOf('['.repeat(10000) + ']'.repeat(10000), state), 'malformed')
})

test('a device without a clock to trust accepts nothing', async () => {
  assert.equal(await reasonOf(PLAIN.body, stateOf(PLAIN), new Date(NaN)), 'expired')
})

test('a state without a sequence accepts nothing', async () => {
  const { sequence, ...state } = stateOf(PLAIN)
  assert.equal(await reasonOf(PLAIN.body, state), 'replayed')
})

test('a refusal says in words what is wrong', async () => {
  const state = stateOf({ trusts: ['first'], sequence: 43 })
  await assert.rejects(acceptConfig(PLAIN.body, state, NOW), {
    name: 'ConfigRefusedError',
    message: 'the config has sequence 42, and this device has seen 43: it is an old one',
  })
})
