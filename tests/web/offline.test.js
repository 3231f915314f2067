import assert from 'node:assert/strict'
import { test } from 'node:test'
import { keptPath, outdated } from '../../src/shelfsight/web/till/core/offline.js'

const SCOPE = 'https://till.example/till/T_1'
const asked = (path, more = {}) => keptPath({ method: 'GET', mode: 'cors', url: `https://till.example${path}`, ...more }, SCOPE)

test('the page and its own files come from what is kept', () => {
  assert.equal(asked('/till/T_1', { mode: 'navigate' }), '/till/T_1')
  assert.equal(asked('/till/T_1/?source=home', { mode: 'navigate' }), '/till/T_1')
  assert.equal(asked('/static/till-ABC.js'), '/static/till-ABC.js')
  assert.equal(asked('/static/of-an-older-page.js'), '/static/of-an-older-page.js')
})

test('nothing else does: the API, models, another channel, another server, a page that is only fetched', () => {
  const others = ['/api/v1/channels/T_1/till/products', '/v1/channels/T_1/model-config', '/assets/ml-models/blobs/x.bin', '/till/T_10', '/till/T_1', '/static']
  for (const path of others) assert.equal(asked(path), null, path)
  assert.equal(asked('/till/T_10', { mode: 'navigate' }), null)
  assert.equal(asked('/admin', { mode: 'navigate' }), null)
  assert.equal(asked('', { url: 'https://cdn.example/static/till-ABC.js' }), null)
  assert.equal(asked('/static/till-ABC.js', { method: 'POST' }), null)
})

test('of older pages only the last one stays, for tabs that still show it', () => {
  const names = ['till T_1 a', 'till T_2 x', 'till T_1 b', 'till T_1 c']
  assert.deepEqual(outdated(names, 'till T_1 c', 'till T_1 '), ['till T_1 a'])
  assert.deepEqual(outdated(['till T_1 c'], 'till T_1 c', 'till T_1 '), [])
})
