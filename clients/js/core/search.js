/**
 * @typedef {object} Product of the till's list
 * @property {string} id
 * @property {string} name
 * @property {string | null} [sku]
 * @property {readonly string[]} [barcodes]
 * @property {string | null} [price] decimal
 * @property {string | null} [currency] ISO 4217
 *
 * @typedef {object} Search
 * @property {(query: string, options?: { limit?: number }) => Product[]} find what fits, the best first
 * @property {(code: string) => Product | null} byCode the one with a barcode or SKU, as a scanner types it; null where
 *   none or more than one has it
 *
 * @typedef {object} Entry a product as it is searched
 * @property {Product} product
 * @property {string} name its words, each behind a space
 * @property {string} sku
 * @property {string[]} barcodes
 */

// What Unicode does not take apart into a letter and its accent.
const LETTERS = /** @type {Record<string, string>} */ ({
  ß: 'ss', æ: 'ae', œ: 'oe', ø: 'o', ł: 'l', đ: 'd', ð: 'd', þ: 'th', ı: 'i', ħ: 'h',
})
const OTHER_LETTERS = new RegExp(`[${Object.keys(LETTERS).join('')}]`, 'g')
const ACCENTS = /[\u0300-\u036f]/g
const BETWEEN_WORDS = /[^\p{L}\p{N}\p{M}]+/gu

/** The ways in which a product fits, best first. */
const BARCODE = 0
const SKU = 1
const NAME = 2
const NAME_START = 3
const SKU_START = 4
const WORDS = 5
const INSIDE = 6
const WAYS = 7

/**
 * Return a search in a list of products.
 *
 * It finds a barcode or SKU that is typed in full, then names by how they begin, then by the beginnings of their words
 * in any order, then by what is inside them; capitals and accents make no difference.
 *
 * @param {readonly Product[]} products
 * @returns {Search} the same query finds the same products in the same order; nothing typed finds nothing
 */
export function createSearch(products) {
  const entries = products.map(entryOf).sort((a, b) => compare(a.name, b.name) || compare(a.product.id, b.product.id))
  const byBarcode = grouped(entries, ({ barcodes }) => barcodes)
  const bySku = grouped(entries, ({ sku }) => (sku ? [sku] : []))
  return {
    find: (query, { limit = 20 } = {}) => find(entries, wantedBy(query), limit),
    byCode: (code) => {
      const found = byBarcode.get(barcodeOf(code)) ?? bySku.get(codeOf(code)) ?? []
      return found.length === 1 ? found[0] : null
    },
  }
}

/**
 * @param {readonly Entry[]} entries
 * @param {Wanted} wanted
 * @param {number} limit
 */
function find(entries, wanted, limit) {
  /** @type {Product[][]} */
  const found = Array.from({ length: WAYS }, () => [])
  if (wanted.code) {
    for (const entry of entries) {
      const way = fits(entry, wanted)
      if (way !== null && found[way].length < limit) found[way].push(entry.product)
    }
  }
  return found.flat().slice(0, limit)
}

/**
 * @param {readonly Entry[]} entries
 * @param {(entry: Entry) => string[]} keysOf
 * @returns {Map<string, Product[]>}
 */
function grouped(entries, keysOf) {
  /** @type {Map<string, Product[]>} */
  const groups = new Map()
  for (const entry of entries) {
    for (const key of new Set(keysOf(entry))) groups.set(key, [...(groups.get(key) ?? []), entry.product])
  }
  return groups
}

/**
 * @param {Product} product
 * @returns {Entry}
 */
function entryOf(product) {
  return {
    product,
    name: wordsOf(product.name),
    sku: codeOf(product.sku),
    barcodes: (product.barcodes ?? []).map(barcodeOf),
  }
}

/**
 * @typedef {ReturnType<typeof wantedBy>} Wanted what a query asks for
 *
 * @param {string} query
 */
function wantedBy(query) {
  const name = wordsOf(query)
  const words = name.split(' ').filter(Boolean)
  return {
    name,
    words: words.map((word) => ` ${word}`),
    inside: name.trim(),
    code: codeOf(query),
    barcode: barcodeOf(query),
  }
}

/**
 * @param {Entry} entry
 * @param {Wanted} wanted
 * @returns {number | null}
 */
function fits({ name, sku, barcodes }, wanted) {
  if (wanted.barcode && barcodes.includes(wanted.barcode)) return BARCODE
  if (wanted.code && sku === wanted.code) return SKU
  if (wanted.words.length > 0) {
    if (name === wanted.name) return NAME
    if (name.startsWith(wanted.name)) return NAME_START
  }
  if (wanted.code && sku.startsWith(wanted.code)) return SKU_START
  if (wanted.words.length === 0) return null
  if (wanted.words.every((word) => name.includes(word))) return WORDS
  return name.includes(wanted.inside) ? INSIDE : null
}

/**
 * Return a text as words without capitals and accents, each behind one space.
 *
 * @param {string} text
 */
function wordsOf(text) {
  return ` ${plain(text).replace(BETWEEN_WORDS, ' ').trim()}`
}

/** @param {string | null | undefined} text */
function codeOf(text) {
  return plain(text ?? '').replace(/\s+/g, '')
}

/**
 * Return a barcode without the zeros in front, of which the same code has more or fewer as UPC-A, EAN-13 or GTIN-14.
 *
 * @param {string} text
 */
function barcodeOf(text) {
  const code = codeOf(text)
  return /^\d+$/.test(code) ? code.replace(/^0+(?=\d)/, '') : code
}

/** @param {string} text */
function plain(text) {
  const lower = text.toLowerCase().normalize('NFKD').replace(ACCENTS, '')
  return lower.replace(OTHER_LETTERS, (letter) => LETTERS[letter])
}

/**
 * @param {string} a
 * @param {string} b
 */
function compare(a, b) {
  return a < b ? -1 : Number(a > b)
}
