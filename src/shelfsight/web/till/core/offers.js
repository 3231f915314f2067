/**
 * @typedef {import('@shelfsight/client').Product} Product
 *
 * @typedef {object} Offer
 * @property {Product} product
 * @property {number} confidence 0..1
 *
 * @typedef {object} Offers
 * @property {Offer[]} offers the most likely products, best first
 * @property {boolean} known whether the first one may be believed
 */

/**
 * Return what the till offers for an answer of the recogniser.
 *
 * A product that is no longer in the shop's list cannot be sold, so it is not offered; when it is the best
 * answer, the next best is a guess and not an answer.
 *
 * @param {import('@shelfsight/client').Ranking} ranking
 * @param {ReadonlyMap<string, Product>} products by id
 * @param {number} count most offers to make
 * @returns {Offers}
 */
export function offersFor({ predictions, known }, products, count) {
  const offers = predictions.flatMap(({ product: id, confidence }) => {
    const product = products.get(id)
    return product ? [{ product, confidence }] : []
  })
  return { offers: offers.slice(0, count), known: known && products.has(predictions[0].product) }
}
