import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NOTHING_USED, removable, switchFrom, switchTo } from '../core/retention.js'

const model = (/** @type {string} */ id, /** @type {string[]} */ ...shards) => ({
  id,
  shards: shards.map((sha256) => ({ sha256 })),
})

test('the one that answered until now is kept as the previous one', () => {
  const first = switchTo(NOTHING_USED, { sequence: 1, active: 'a', shadow: null })
  const second = first && switchTo(first, { sequence: 2, active: 'b', shadow: 'c' })
  assert.deepEqual(second, { sequence: 2, active: 'b', previous: 'a', shadow: 'c' })
})

test('a newer config that names the same model keeps the previous one', () => {
  const before = { sequence: 2, active: 'b', previous: 'a', shadow: 'c' }
  const after = switchTo(before, { sequence: 3, active: 'b', shadow: null })
  assert.deepEqual(after, { sequence: 3, active: 'b', previous: 'a', shadow: null })
})

test('a roll back swaps the two', () => {
  const before = { sequence: 2, active: 'b', previous: 'a', shadow: null }
  assert.deepEqual(switchTo(before, { sequence: 3, active: 'a', shadow: null })?.previous, 'b')
})

test('what an older config says changes nothing', () => {
  const before = { sequence: 5, active: 'b', previous: 'a', shadow: null }
  assert.equal(switchTo(before, { sequence: 4, active: 'c', shadow: null }), null)
  assert.notEqual(switchTo(before, { sequence: 5, active: 'c', shadow: null }), null)
})

test('a model that does not work gives way to the one before', () => {
  const before = { sequence: 5, active: 'b', previous: 'a', shadow: 'c' }
  assert.deepEqual(switchFrom(before, 'b'), { sequence: 5, active: 'a', previous: null, shadow: 'c' })
  assert.deepEqual(switchFrom(before, 'c'), { ...before, shadow: null })
  assert.deepEqual(switchFrom(before, 'a'), { ...before, previous: null })
  assert.deepEqual(switchFrom(before, 'x'), before)
  assert.equal(switchFrom({ ...before, previous: null }, 'b').active, null)
})

test('shards stay as long as a model that is kept uses them, or one that is being downloaded', () => {
  const models = [model('a', 'backbone', 'head a'), model('b', 'backbone', 'head b'), model('c', 'other', 'head c')]
  const shards = ['backbone', 'head a', 'head b', 'head c', 'head d', 'other', 'stray']
  assert.deepEqual(removable({ models, shards }, ['b', null], ['head d']), {
    models: ['a', 'c'],
    shards: ['head a', 'head c', 'other', 'stray'],
  })
})

test('whatever is removed, every model that is kept stays whole', () => {
  for (let seed = 0; seed < 300; seed += 1) {
    const pick = (/** @type {number} */ salt, /** @type {number} */ among) => (seed * 31 + salt * 17) % among
    const models = Array.from({ length: 1 + pick(1, 6) }, (_, place) =>
      model(`m${place}`, `s${pick(place, 5)}`, `s${pick(place + 9, 7)}`))
    const shards = Array.from({ length: 9 }, (_, place) => `s${place}`)
    const kept = models.filter((_, place) => pick(place + 3, 2) === 0).map(({ id }) => id)
    const goes = removable({ models, shards }, kept)
    assert.deepEqual([...goes.models, ...kept].sort(), models.map(({ id }) => id).sort())
    for (const { id, shards: used } of models) {
      if (kept.includes(id)) assert.ok(used.every(({ sha256 }) => !goes.shards.includes(sha256)))
    }
  }
})
