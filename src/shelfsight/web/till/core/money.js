import { isDecimal, product, rounded, sum } from './decimals.js'

/**
 * @typedef {object} Amount of money
 * @property {string} currency ISO 4217
 * @property {string} amount decimal
 */

const USUAL_PLACES = 2
// As the server has it: currencies of ISO 4217 that have not two places.
const OTHER_PLACES = Object.entries({
  0: 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF',
  3: 'BHD IQD JOD KWD LYD OMR TND',
  4: 'CLF UYW',
})
const PLACES = new Map(OTHER_PLACES.flatMap(([places, codes]) => codes.split(' ').map((code) => [code, Number(places)])))

/**
 * Return what a quantity comes to, rounded half up to the smallest unit of the currency, as the server books it.
 *
 * @param {string} quantity decimal
 * @param {string} price decimal
 * @param {string} currency ISO 4217
 */
export function amountOf(quantity, price, currency) {
  return rounded(product(quantity, price), placesOf(currency))
}

/**
 * Return one amount for each currency, in the order of their codes.
 *
 * @param {readonly Amount[]} amounts
 * @returns {Amount[]}
 */
export function totalsOf(amounts) {
  const currencies = [...new Set(amounts.map(({ currency }) => currency))].sort()
  return currencies.map((currency) => {
    const parts = amounts.filter((one) => one.currency === currency).map(({ amount }) => amount)
    return { currency, amount: sum(parts) }
  })
}

/**
 * Return an amount as people write it; what is behind the point is never rounded.
 *
 * @param {string | null | undefined} amount decimal
 * @param {string | null | undefined} currency ISO 4217
 * @param {string} [locale]
 */
export function moneyText(amount, currency, locale) {
  if (!isDecimal(amount)) return amount ?? ''
  const [whole, fraction = ''] = amount.split('.')
  const digits = fraction.replace(/0+$/, '').padEnd(currency ? placesOf(currency) : 0, '0')
  try {
    return withDigits(formatOf(currency, locale, digits.length).formatToParts(BigInt(whole)), digits)
  } catch {
    return [amount, currency].filter(Boolean).join(' ') // a currency that is none
  }
}

/**
 * @param {readonly Amount[]} amounts
 * @param {string} [locale]
 */
export function amountsText(amounts, locale) {
  return amounts.map(({ amount, currency }) => moneyText(amount, currency, locale)).join(' + ')
}

/**
 * @param {string | null | undefined} currency
 * @param {string | undefined} locale
 * @param {number} places
 */
function formatOf(currency, locale, places) {
  const digits = { minimumFractionDigits: places, maximumFractionDigits: places, numberingSystem: 'latn' }
  return new Intl.NumberFormat(locale, currency ? { style: 'currency', currency, ...digits } : digits)
}

/**
 * Return what a formatter made of the whole part, with other digits behind the point: it may only compute in floats.
 *
 * @param {Intl.NumberFormatPart[]} parts
 * @param {string} digits
 */
function withDigits(parts, digits) {
  return parts.map(({ type, value }) => (type === 'fraction' ? digits : value)).join('')
}

/** @param {string} currency */
function placesOf(currency) {
  return PLACES.get(currency) ?? USUAL_PLACES
}
