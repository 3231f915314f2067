import { compare, difference, isDecimal, plain, sum } from './decimals.js'

/** Quantities as the server takes them: above 0, at most 100,000, at most three places. */

const MOST = '100000'
const PLACES = 3

/**
 * Return a quantity that somebody typed, with a point or a comma.
 *
 * @param {string} typed
 * @returns {string | null} null: it is none
 */
export function readQuantity(typed) {
  const text = typed.replace(/[\s']/g, '').replace(',', '.').replace(/^\./, '0.').replace(/\.$/, '')
  if (!isDecimal(text)) return null
  const quantity = plain(text)
  const places = quantity.split('.')[1]?.length ?? 0
  return places <= PLACES && compare(quantity, '0') > 0 && compare(quantity, MOST) <= 0 ? quantity : null
}

/**
 * @param {string} quantity
 * @param {string} [more]
 * @returns {string | null} null: that is too many
 */
export function oneMore(quantity, more = '1') {
  return readQuantity(sum([quantity, more]))
}

/**
 * @param {string} quantity
 * @param {string} [less]
 * @returns {string | null} null: none is left
 */
export function oneLess(quantity, less = '1') {
  return compare(quantity, less) > 0 ? plain(difference(quantity, less)) : null
}

/**
 * Return a quantity as people write it.
 *
 * @param {string} quantity
 * @param {string} [locale]
 */
export function quantityText(quantity, locale) {
  const options = { maximumFractionDigits: PLACES, numberingSystem: 'latn', useGrouping: false }
  return new Intl.NumberFormat(locale, options).format(Number(quantity)) // at most nine digits: exact as a float, too
}
