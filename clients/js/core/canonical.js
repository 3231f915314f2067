const MAX_DEPTH = 16

/**
 * Return the one way to write a value as JSON, RFC 8785: members by name (UTF-16 units), no white space.
 *
 * @param {unknown} value as `JSON.parse` returns it
 * @returns {string}
 * @throws {RangeError} it holds half a surrogate pair, a number beyond 2^53, or is nested more than 16 deep
 */
export function canonical(value) {
  return write(value, 0)
}

/**
 * @param {unknown} value
 * @param {number} depth
 * @returns {string}
 */
function write(value, depth) {
  if (depth > MAX_DEPTH) throw new RangeError(`it is nested more than ${MAX_DEPTH} deep`)
  if (Array.isArray(value)) return `[${value.map((item) => write(item, depth + 1)).join(',')}]`
  if (typeof value === 'object' && value !== null) {
    const members = /** @type {Record<string, unknown>} */ (value)
    const written = Object.keys(members)
      .sort()
      .map((name) => `${text(name)}:${write(members[name], depth + 1)}`)
    return `{${written.join(',')}}`
  }
  if (typeof value === 'number' && !(Math.abs(value) <= Number.MAX_SAFE_INTEGER)) {
    throw new RangeError('a number is beyond 2^53')
  }
  return typeof value === 'string' ? text(value) : JSON.stringify(value)
}

/**
 * @param {string} value
 * @returns {string}
 */
function text(value) {
  if (/\p{Surrogate}/u.test(value)) throw new RangeError('a text holds half a surrogate pair')
  return JSON.stringify(value)
}
