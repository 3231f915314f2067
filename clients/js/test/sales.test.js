import assert from 'node:assert/strict'
import { test } from 'node:test'
import { settleSales } from '../core/sales.js'

const BATCH = ['s-1', 's-2', 's-3'].map((id) => ({ id }))
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

test('the sales that the server finds wrong are set aside with its reasons, the others are sent again', () => {
  const errors = [
    { field: 'body.sales.1.lines.0.productId', detail: 'Product not found: fig' },
    { field: 'body.sales.1.lines.2.productId', detail: 'Product not found: date' },
  ]
  const body = { detail: 'Product not found: fig, date', errors }
  const { recorded, refused, next } = settleSales(BATCH, { status: 422, body })
  assert.deepEqual(refused, [{ id: 's-2', reason: 'Product not found: fig; Product not found: date' }])
  assert.deepEqual([recorded, next], [[], 'go-on'])
})

test('sales may be named by their ids, too', () => {
  const body = { problems: [{ id: 's-3', detail: 'was booked already, with other contents' }] }
  const { refused } = settleSales(BATCH, { status: 409, body })
  assert.deepEqual(refused, [{ id: 's-3', reason: 'was booked already, with other contents' }])
})

test('a problem of something else than a sale of the batch sets none aside', () => {
  const fields = ['body.sales.7.id', 'body.sales', 'body.salesperson', 'sales', 7]
  const errors = [...fields.map((field) => ({ field, detail: 'x' })), {}, null]
  const settled = settleSales(BATCH, { status: 422, body: { errors } })
  assert.deepEqual(settled, { recorded: [], refused: [], next: 'one-by-one' })
})

test('a refusal that names none is found by sending one by one', () => {
  for (const status of [400, 409, 413, 422]) {
    assert.equal(settleSales(BATCH, { status, body: { detail: 'no' } }).next, 'one-by-one')
    const { refused, next } = settleSales([{ id: 's-1' }], { status, body: { detail: 'no' } })
    assert.deepEqual([refused, next], [[{ id: 's-1', reason: 'no' }], 'go-on'])
  }
})

test('without login nothing is lost', () => {
  for (const status of [401, 403]) {
    const body = { errors: [{ field: 'body.sales.0', detail: 'x' }] }
    assert.deepEqual(settleSales(BATCH, { status, body }), { recorded: [], refused: [], next: 'log-in' })
  }
})

test('whatever else the server says, nothing is lost', () => {
  for (const status of [204, 301, 304, 404, 408, 425, 429, 500, 502, 503, 504]) {
    const body = { sales: [receipt('s-1')], errors: [{ field: 'body.sales.0', detail: 'x' }] }
    assert.deepEqual(settleSales(BATCH, { status, body }), { recorded: [], refused: [], next: 'later' }, String(status))
  }
})

test('whatever comes, no sale is both recorded and refused, and none is made up', () => {
  const ids = [{ id: 's-1' }, { id: 's-9' }, { id: 's-2', detail: 3 }]
  const values = [null, 3, 's-1', {}, ...ids, { field: 'body.sales.0' }, { field: 7 }]
  for (const status of [200, 201, 400, 409, 422]) {
    for (const one of values) {
      for (const other of values) {
        const list = [one, other]
        const settled = settleSales(BATCH, { status, body: { sales: list, errors: list, problems: list } })
        const named = [...settled.recorded, ...settled.refused].map(({ id }) => id)
        assert.equal(new Set(named).size, named.length)
        assert.ok(named.every((id) => BATCH.some((sale) => sale.id === id)))
      }
    }
  }
})
