/** Exact arithmetic on numbers that are written out, such as 0.347: a till that is a cent off is wrong. */

/**
 * @typedef {object} Scaled a number as digits, of which so many are behind the point
 * @property {bigint} digits
 * @property {number} places
 */

const DECIMAL = /^\d{1,20}(?:\.\d{1,20})?$/

/**
 * @param {unknown} text
 * @returns {text is string} whether it is a number of at least 0, written out
 */
export function isDecimal(text) {
  return typeof text === 'string' && DECIMAL.test(text)
}

/**
 * @param {string} text a decimal
 * @returns {Scaled}
 */
function scaled(text) {
  const [whole, fraction = ''] = text.split('.')
  return { digits: BigInt(whole + fraction), places: fraction.length }
}

/**
 * Return a number with so many places, rounded half up.
 *
 * @param {Scaled} number
 * @param {number} places
 */
export function rounded({ digits, places: before }, places) {
  if (before <= places) return written(digits * power(places - before), places)
  const unit = power(before - places)
  return written((2n * digits + unit) / (2n * unit), places)
}

/**
 * @param {string} a decimal
 * @param {string} b decimal
 * @returns {Scaled}
 */
export function product(a, b) {
  const [left, right] = [scaled(a), scaled(b)]
  return { digits: left.digits * right.digits, places: left.places + right.places }
}

/**
 * Return a sum with as many places as the part that has most.
 *
 * @param {readonly string[]} parts decimals
 */
export function sum(parts) {
  const numbers = parts.map(scaled)
  const places = Math.max(0, ...numbers.map((number) => number.places))
  const digits = numbers.map((number) => number.digits * power(places - number.places)).reduce((a, b) => a + b, 0n)
  return written(digits, places)
}

/**
 * Return a number less another one, which must not be more.
 *
 * @param {string} a decimal
 * @param {string} b decimal
 */
export function difference(a, b) {
  const [left, right] = [scaled(a), scaled(b)]
  const places = Math.max(left.places, right.places)
  return written(left.digits * power(places - left.places) - right.digits * power(places - right.places), places)
}

/**
 * @param {string} a decimal
 * @param {string} b decimal
 * @returns {number} below 0 if a is less, above 0 if it is more
 */
export function compare(a, b) {
  const [left, right] = [scaled(a), scaled(b)]
  const difference = left.digits * power(right.places) - right.digits * power(left.places)
  return Number(difference > 0n) - Number(difference < 0n)
}

/**
 * Return a number without zeros that say nothing: 1.50 is 1.5, 007 is 7.
 *
 * @param {string} text a decimal
 */
export function plain(text) {
  const short = text.replace(/^0+(?=\d)/, '')
  return short.includes('.') ? short.replace(/\.?0+$/, '') : short
}

/**
 * @param {bigint} digits
 * @param {number} places
 */
function written(digits, places) {
  const text = String(digits).padStart(places + 1, '0')
  return places === 0 ? text : `${text.slice(0, -places)}.${text.slice(-places)}`
}

/** @param {number} exponent */
function power(exponent) {
  return 10n ** BigInt(exponent)
}
