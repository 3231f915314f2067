import { isDecimal } from './decimals.js'
import { amountOf, totalsOf } from './money.js'
import { oneLess, oneMore, readQuantity } from './quantities.js'

/**
 * @typedef {import('@shelfsight/client').Product} Product
 * @typedef {import('./money.js').Amount} Amount
 *
 * @typedef {object} Line a product in the basket, as it was when it was put there
 * @property {string} productId
 * @property {string} name
 * @property {string | null} price decimal
 * @property {string | null} currency ISO 4217; null: it has no price
 * @property {string} quantity decimal
 *
 * @typedef {object} Basket
 * @property {string} id of the sale that it becomes: however often it is sold, it is that one sale
 * @property {readonly Line[]} lines
 * @property {readonly Line[] | null} before the last removal, so that it can be taken back
 */

/** As many lines as a sale may have. */
export const MOST_LINES = 500

/**
 * @param {string} id
 * @returns {Basket}
 */
export function emptyBasket(id) {
  return { id, lines: [], before: null }
}

/**
 * Return a basket with a product more. One that is there already counts up, at the price that it has now.
 *
 * @param {Basket} basket
 * @param {Product} product
 * @param {string} [quantity]
 * @returns {Basket | null} null: it is full, or that is too many of it
 */
export function withProduct(basket, product, quantity = '1') {
  const place = basket.lines.findIndex(({ productId }) => productId === product.id)
  const total = place < 0 ? readQuantity(quantity) : oneMore(basket.lines[place].quantity, quantity)
  if (total === null || (place < 0 && basket.lines.length >= MOST_LINES)) return null
  const line = lineOf(product, total)
  const lines = place < 0 ? [...basket.lines, line] : basket.lines.map((one, index) => (index === place ? line : one))
  return { ...basket, lines, before: null }
}

/**
 * @param {Basket} basket
 * @param {string} productId
 * @param {string} quantity
 * @returns {Basket}
 */
export function withQuantity(basket, productId, quantity) {
  const lines = basket.lines.map((line) => (line.productId === productId ? { ...line, quantity } : line))
  return { ...basket, lines, before: null }
}

/**
 * @param {Basket} basket
 * @param {string} [productId] without one, everything
 * @returns {Basket}
 */
export function withoutProduct(basket, productId) {
  const lines = productId === undefined ? [] : basket.lines.filter((line) => line.productId !== productId)
  return { ...basket, lines, before: lines.length < basket.lines.length ? basket.lines : basket.before }
}

/**
 * Return the basket before the last removal.
 *
 * @param {Basket} basket
 * @returns {Basket}
 */
export function takenBack(basket) {
  return { ...basket, lines: basket.before ?? basket.lines, before: null }
}

/**
 * Return what of the last removal can be taken back, in words; null: nothing.
 *
 * @param {Basket} basket
 */
export function removedWords({ lines, before }) {
  if (!before) return null
  const left = new Set(lines.map(({ productId }) => productId))
  const gone = before.filter(({ productId }) => !left.has(productId))
  return gone.length === 1 ? `${gone[0].name} removed` : 'Basket emptied'
}

/**
 * @param {Line} line
 * @returns {Amount | null} null: it has no price
 */
export function lineAmount({ quantity, price, currency }) {
  return price === null || currency === null ? null : { currency, amount: amountOf(quantity, price, currency) }
}

/**
 * @param {Basket} basket
 * @returns {{ totals: Amount[], unpriced: number }} one total for each currency; lines without a price
 */
export function totalsIn({ lines }) {
  const amounts = lines.map(lineAmount)
  const priced = amounts.filter((amount) => amount !== null)
  return { totals: totalsOf(priced), unpriced: amounts.length - priced.length }
}

/**
 * Return a basket as the sale that the server takes, at the prices that were shown.
 *
 * @param {Basket} basket
 * @param {{ at: Date, device: string, modelVersion: string | null }} facts
 */
export function saleOf({ id, lines }, { at, device, modelVersion }) {
  return {
    id,
    at: at.toISOString(),
    device,
    ...(modelVersion !== null && { modelVersion }),
    lines: lines.map(({ productId, quantity, price, currency }) => ({
      productId,
      quantity,
      ...(price !== null && { unitPrice: price, currency }),
    })),
  }
}

/**
 * Return the basket after one was sold: a new one, with what came into it while it was being sold.
 *
 * @param {Basket} now
 * @param {Basket} sold as it was sold
 * @param {string} id of the new one
 * @returns {Basket}
 */
export function afterSale(now, sold, id) {
  if (now.id !== sold.id) return now // another tab has begun a new one
  const quantities = new Map(sold.lines.map(({ productId, quantity }) => [productId, quantity]))
  const lines = now.lines.flatMap((line) => {
    const left = oneLess(line.quantity, quantities.get(line.productId) ?? '0')
    return left === null ? [] : [{ ...line, quantity: left }]
  })
  return { ...emptyBasket(id), lines }
}

/**
 * Return a basket with what a sale was made of, which the server has refused: somebody has to change it.
 *
 * @param {Basket} basket
 * @param {{ lines: readonly { productId: string, quantity: string, unitPrice?: string, currency?: string }[] }} sale
 * @param {(productId: string) => string} nameOf
 * @returns {Basket}
 */
export function withSale(basket, sale, nameOf) {
  return sale.lines.reduce((before, { productId, quantity, unitPrice, currency }) => {
    const product = { id: productId, name: nameOf(productId), price: unitPrice ?? null, currency: currency ?? null }
    return withProduct(before, product, quantity) ?? before
  }, basket)
}

/**
 * Return a basket that was kept as JSON; null if it is none.
 *
 * @param {unknown} kept
 * @returns {Basket | null}
 */
export function readBasket(kept) {
  const { id, lines, before } = /** @type {any} */ (kept ?? {})
  if (typeof id !== 'string' || !areLines(lines)) return null
  return { id, lines, before: areLines(before) ? before : null }
}

/**
 * @param {unknown} lines
 * @returns {lines is Line[]}
 */
function areLines(lines) {
  return Array.isArray(lines) && lines.every(isLine)
}

/** @param {any} line */
function isLine(line) {
  const isText = typeof line?.productId === 'string' && typeof line.name === 'string'
  const isPriced = isDecimal(line?.price) && typeof line.currency === 'string'
  const isUnpriced = line?.price === null && line.currency === null
  return isText && (isPriced || isUnpriced) && typeof line.quantity === 'string' && readQuantity(line.quantity) !== null
}

/**
 * @param {Product} product
 * @param {string} quantity
 * @returns {Line}
 */
function lineOf({ id, name, price, currency }, quantity) {
  const isPriced = isDecimal(price) && typeof currency === 'string'
  return { productId: id, name: name || id, price: isPriced ? price : null, currency: isPriced ? currency : null, quantity }
}
