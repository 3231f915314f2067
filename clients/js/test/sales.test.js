import assert from 'node:assert/strict'
import { test } from 'node:test'
import { settleSales } from '../core/sales.js'

const BATCH = ['s-1', 's-2', 's-3'].map((id) => ({ id }))
const problem = (/** @type {number} */ status, more = {}) => ({ type: 'urn:shelfsight:problem:any', status, detail: 'no', ...more })
const receipt = (/** @type {string} */ id) => ({ id, recorded: true, receivedAt: '2026-11-20T12:00:00Z' })

test('sales that the server names are recorded, also those it had before', () => {
  const body = { sales: [receipt('s-1'), { ...receipt('s-2'), recorded: false }, receipt('s-3')] }
  const { recorded, refused, next } = settleSales(BATCH, { status: 200, body })
  assert.deepEqual(recorded.map(({ id }) => id), ['s-1', 's-2', 's-3'])
  assert.deepEqual([refused, next], [[], 'go-on'])
})

test('what a good answer does not name stays, and is sent again later', () => {
  const { recorded, next } = settleSales(BATCH, { status: 200, body: { sales: [receipt('s-2'), receipt('other')] } })
  assert.deepEqual([recorded.map(({ id }) => id), next], [['s-2'], 'later'])
})

test('a good answer that says nothing records nothing', () => {
  for (const body of [null, {}, [], { sales: 'all' }, { sales: [null, 3] }, 'ok']) {
    assert.deepEqual(settleSales(BATCH, { status: 200, body }), { recorded: [], refused: [], next: 'later' })
  }
})

test('a good answer that only repeats what was sent, as a portal may, records nothing', () => {
  const body = { sales: [{ id: 's-1', at: 'now', lines: [] }, { id: 's-2', recorded: true }, { id: 's-3', receivedAt: 'now' }] }
  assert.deepEqual(settleSales(BATCH, { status: 200, body }), { recorded: [], refused: [], next: 'later' })
})

test('the sales that the server finds wrong are set aside with its reasons, the others are sent again', () => {
  const errors = [
    { field: 'body.sales.1.lines.0.productId', detail: 'Product not found: fig' },
    { field: 'body.sales.1.lines.2.productId', detail: 'Product not found: date' },
  ]
  for (const status of [409, 422]) {
    const { recorded, refused, next } = settleSales(BATCH, { status, body: problem(status, { errors }) })
    assert.deepEqual(refused, [{ id: 's-2', reason: 'Product not found: fig; Product not found: date' }])
    assert.deepEqual([recorded, next], [[], 'go-on'])
  }
})

test('a problem of something else than a sale of the batch sets none aside', () => {
  const fields = ['body.sales.7.id', 'body.sales', 'body.salesperson', 'sales', 'sales.0', 7]
  const errors = [...fields.map((field) => ({ field, detail: 'x' })), {}, null]
  const settled = settleSales(BATCH, { status: 422, body: problem(422, { errors }) })
  assert.deepEqual(settled, { recorded: [], refused: [], next: 'one-by-one' })
})

test('whom an answer about contents is about is found by sending one by one, and one that nobody names stays', () => {
  for (const status of [400, 409, 413, 422]) {
    for (const body of [null, 'blocked', {}, { detail: 'no' }]) {
      assert.equal(settleSales(BATCH, { status, body }).next, 'one-by-one')
      const settled = settleSales([{ id: 's-1' }], { status, body })
      assert.deepEqual(settled, { recorded: [], refused: [], next: 'pass-over' }, String(status))
    }
    assert.equal(settleSales(BATCH, { status, body: problem(status) }).next, 'one-by-one')
  }
})

test('a sale that alone is too large for the server is refused, for a proxy it is not', () => {
  const one = [{ id: 's-1' }]
  const { refused, next } = settleSales(one, { status: 413, body: problem(413) })
  assert.deepEqual([refused, next], [[{ id: 's-1', reason: 'no' }], 'go-on'])
  assert.deepEqual(settleSales(one, { status: 413, body: null }).refused, [])
})

test('only the problem document of a Shelfsight server refuses a sale', () => {
  const errors = [{ field: 'body.sales.0.id', detail: 'x' }]
  const others = [
    { errors, detail: 'x' },
    { ...problem(422, { errors }), type: 'about:blank' },
    { ...problem(422, { errors }), type: 7 },
    { ...problem(422, { errors }), status: 409 },
  ]
  for (const body of others) assert.deepEqual(settleSales(BATCH, { status: 422, body }).refused, [])
  assert.equal(settleSales(BATCH, { status: 422, body: problem(422, { errors }) }).refused.length, 1)
})

test('without login nothing is lost', () => {
  for (const status of [401, 403]) {
    const errors = [{ field: 'body.sales.0', detail: 'x' }]
    const settled = settleSales(BATCH, { status, body: problem(status, { errors }) })
    assert.deepEqual(settled, { recorded: [], refused: [], next: 'log-in' })
    assert.equal(settleSales(BATCH, { status, body: null }).next, 'later') // a proxy's login is not ours
  }
})

test('whatever else the server says, and whoever says it, nothing is lost', () => {
  const statuses = [201, 204, 301, 304, 402, 404, 405, 406, 407, 408, 410, 411, 415, 421, 425, 426, 428, 429, 431, 451, 499]
  for (const status of [...statuses, 500, 502, 503, 504, 511]) {
    const told = { sales: [receipt('s-1')], errors: [{ field: 'body.sales.0', detail: 'x' }] }
    for (const body of [null, told, problem(status, told)]) {
      for (const batch of [BATCH, [{ id: 's-1' }]]) {
        const settled = settleSales(batch, { status, body })
        assert.deepEqual(settled, { recorded: [], refused: [], next: 'later' }, String(status))
      }
    }
  }
})

test('whatever comes, no sale is both recorded and refused, and none is made up', () => {
  const ids = [{ id: 's-1' }, { id: 's-9' }, { id: 's-2', detail: 3 }]
  const values = [null, 3, 's-1', {}, ...ids, { field: 'body.sales.0' }, { field: 7 }]
  for (const status of [200, 201, 400, 409, 422]) {
    for (const one of values) {
      for (const other of values) {
        const list = [one, other]
        const settled = settleSales(BATCH, { status, body: problem(status, { sales: list, errors: list }) })
        const named = [...settled.recorded, ...settled.refused].map(({ id }) => id)
        assert.equal(new Set(named).size, named.length)
        assert.ok(named.every((id) => BATCH.some((sale) => sale.id === id)))
      }
    }
  }
})
