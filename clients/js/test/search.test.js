import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSearch } from '../core/search.js'

const PRODUCTS = [
  { id: 'p-1', name: 'Käse, Gouda jung', sku: 'KG-100', barcodes: ['4006381333931'] },
  { id: 'p-2', name: 'Gouda alt', sku: 'KG-200', barcodes: ['0036000291452', '20123456'] },
  { id: 'p-3', name: 'Crème fraîche', sku: null, barcodes: [] },
  { id: 'p-4', name: 'Oat-Drink (Barista)', sku: '4006381333931' },
  { id: 'p-5', name: 'Straßen-Eis 牛奶', sku: 'ICE 1' },
  { id: 'p-6', name: 'Łosoś wędzony' },
  { id: 'p-7', name: 'Gouda' },
]
const { find, byCode } = createSearch(PRODUCTS)

/**
 * @param {string} query
 * @param {{ limit?: number }} [options]
 */
const ids = (query, options) => find(query, options).map(({ id }) => id)

test('a barcode comes first, also before a SKU that reads the same', () => {
  assert.deepEqual(ids('4006381333931'), ['p-1', 'p-4'])
})

test('a barcode is found as UPC-A, EAN-13 and GTIN-14', () => {
  for (const code of ['36000291452', '036000291452', '0036000291452', '00036000291452', ' 036000291452 ']) {
    assert.deepEqual(ids(code), ['p-2'], code)
    assert.equal(byCode(code)?.id, 'p-2', code)
  }
})

test('a part of a barcode finds nothing', () => {
  assert.deepEqual(ids('400638133393'), ['p-4']) // the beginning of a SKU
  assert.deepEqual(ids('2012345'), [])
  assert.equal(byCode('400638133393'), null)
})

test('a SKU is found in full and by its beginning, however it is written', () => {
  assert.deepEqual(ids('kg-200'), ['p-2'])
  assert.deepEqual(ids('KG-'), ['p-2', 'p-1'])
  assert.deepEqual(ids('ice1'), ['p-5'])
})

test('names that begin so come before those with such a word, and the very name comes first', () => {
  assert.deepEqual(ids('gouda'), ['p-7', 'p-2', 'p-1'])
})

test('words are found in any order, by their beginnings', () => {
  assert.deepEqual(ids('jung gou'), ['p-1'])
  assert.deepEqual(ids('bar oat'), ['p-4'])
  assert.deepEqual(ids('jung alt'), [])
})

test('accents, capitals and other letters make no difference', () => {
  for (const query of ['kase', 'KÄSE', 'käse']) assert.deepEqual(ids(query), ['p-1'], query)
  for (const query of ['creme fraiche', 'Crème', 'CREME F']) assert.deepEqual(ids(query), ['p-3'], query)
  for (const query of ['strassen', 'STRASSEN', 'straßen']) assert.deepEqual(ids(query), ['p-5'], query)
  assert.deepEqual(ids('losos'), ['p-6'])
  assert.deepEqual(ids('牛'), ['p-5'])
})

test('what is inside a word is found last', () => {
  assert.deepEqual(ids('rista'), ['p-4'])
})

test('nothing typed finds nothing', () => {
  for (const query of ['', '   ', '\t']) assert.deepEqual(ids(query), [])
})

test('signs alone are no error', () => {
  for (const query of ['-', '(', '*', '.*', '\\', '%', '🙂']) assert.deepEqual(ids(query), [], query)
})

test('there are never more than asked for, and the best of them', () => {
  assert.deepEqual(ids('g', { limit: 2 }), ['p-7', 'p-2'])
  assert.deepEqual(ids('gouda', { limit: 1 }), ['p-7'])
})

test('a code that two products have names none of them', () => {
  const twice = createSearch([{ id: 'a', name: 'A', barcodes: ['1234'] }, { id: 'b', name: 'B', barcodes: ['01234'] }])
  assert.equal(twice.byCode('1234'), null)
  assert.equal(twice.find('1234').length, 2)
})

test('a scanned SKU is as good as a barcode where no barcode reads so', () => {
  assert.equal(byCode('kg-100')?.id, 'p-1')
  assert.equal(byCode('4006381333931')?.id, 'p-1')
  assert.equal(byCode(''), null)
})

test('every product is found by its name, its SKU and each of its barcodes', () => {
  const names = ['Äpfel', 'Öl', 'smörgås', 'piñata', 'Žito', 'xyz-9', '100 % Saft', 'A&B', 'naïve']
  const many = Array.from({ length: 500 }, (_, number) => ({
    id: `p-${number}`,
    name: `${names[number % 9]} ${names[(number * 5) % 9]} ${number}`,
    sku: `S${number}`,
    barcodes: [String(1_000_000 + number)],
  }))
  const search = createSearch(many)
  for (const product of many) {
    for (const query of [product.name, product.name.toUpperCase(), product.sku, product.barcodes[0]]) {
      assert.equal(search.find(query, { limit: 1 })[0]?.id, product.id, query)
    }
  }
})
