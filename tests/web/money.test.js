import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { compare, isDecimal, plain, sum } from '../../src/shelfsight/web/till/core/decimals.js'
import { amountOf, amountsText, moneyText, totalsOf } from '../../src/shelfsight/web/till/core/money.js'
import { oneLess, oneMore, quantityText, readQuantity } from '../../src/shelfsight/web/till/core/quantities.js'

/** Cases that Python's `amount_of` must answer the same. */
const AMOUNTS = JSON.parse(readFileSync(new URL('../vectors/amounts.json', import.meta.url), 'utf8'))
const plainly = (text) => text.replaceAll(/\s/g, ' ')

for (const { sentence, quantity, price, currency, amount } of AMOUNTS) {
  test(sentence, () => assert.equal(amountOf(quantity, price, currency), amount))
}

test('ten thousand times ten cents are a thousand', () => {
  assert.equal(sum(Array(10_000).fill('0.1')), '1000.0')
})

test('totals are one for each currency', () => {
  const amounts = [['EUR', '0.10'], ['SEK', '5.00'], ['EUR', '0.20']].map(([currency, amount]) => ({ currency, amount }))
  assert.deepEqual(totalsOf(amounts), [{ currency: 'EUR', amount: '0.30' }, { currency: 'SEK', amount: '5.00' }])
})

test('an amount is written as people of the place write it', () => {
  assert.equal(moneyText('1234567.5', 'EUR', 'en'), '€1,234,567.50')
  assert.equal(plainly(moneyText('1234567.5', 'EUR', 'de')), '1.234.567,50 €')
  assert.equal(moneyText('300', 'JPY', 'en'), '¥300')
})

test('digits behind the point are never rounded away, however many there are', () => {
  assert.equal(moneyText('0.1234', 'EUR', 'en'), '€0.1234')
  assert.equal(moneyText('999999999999999.99', 'EUR', 'en'), '€999,999,999,999,999.99')
  assert.equal(moneyText('1.50', 'JPY', 'en'), '¥1.5')
})

test('digits are those that the server reads, whatever the language', () => {
  assert.match(moneyText('12.5', 'EUR', 'ar-EG'), /12/)
})

test('an amount in something that is no currency is written as it is', () => {
  assert.equal(moneyText('3.00', 'POINTS', 'en'), '3.00 POINTS')
  assert.equal(moneyText('3', null, 'en'), '3')
})

test('what has no price is written as nothing', () => {
  assert.equal(moneyText(null, 'EUR', 'en'), '')
  assert.equal(amountsText([], 'en'), '')
})

test('several currencies stand beside each other', () => {
  const amounts = [{ currency: 'EUR', amount: '1.00' }, { currency: 'GBP', amount: '2.00' }]
  assert.equal(amountsText(amounts, 'en'), '€1.00 + £2.00')
})

test('a quantity may be typed with a point or a comma', () => {
  assert.deepEqual(['2', ' 2 ', '0,347', '0.347', '.5', '1.', '007', '2.500'].map(readQuantity), ['2', '2', '0.347', '0.347', '0.5', '1', '7', '2.5'])
})

test('what is no quantity is refused', () => {
  for (const typed of ['', '0', '0.000', '-1', '1.2345', '100001', '1e3', 'two', '1,2,3', '٣']) assert.equal(readQuantity(typed), null, typed)
  assert.equal(readQuantity('100000'), '100000')
})

test('one more and one less keep what is behind the point', () => {
  assert.equal(oneMore('0.347'), '1.347')
  assert.equal(oneLess('1.347'), '0.347')
  assert.equal(oneLess('1'), null)
  assert.equal(oneLess('0.5'), null)
  assert.equal(oneMore('100000'), null)
  assert.equal(oneMore(oneMore(oneMore('0.1', '0.1'), '0.1'), '0.7'), '1')
})

test('a quantity is written without what says nothing', () => {
  assert.equal(quantityText('2.5', 'de'), '2,5')
  assert.equal(quantityText('100000', 'en'), '100000')
})

test('decimals are told from other texts', () => {
  assert.deepEqual(['0', '1.50', '1e3', '', '-1', '1.', null].map(isDecimal), [true, true, false, false, false, false, false])
  assert.equal(plain('0.0'), '0')
  assert.equal(compare('0.10', '0.1'), 0)
})
