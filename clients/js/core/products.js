/**
 * @typedef {import('./search.js').Product} Product
 *
 * @typedef {object} Listing what the server says of a channel's products
 * @property {Product[]} products
 * @property {string} [name] of the channel, for people
 * @property {string} [revision] of the list
 * @property {string | null} [since] the revision that this is a change of; without one it is the whole list
 * @property {string[]} [removed] ids of products that are sold no more
 */

/**
 * Return the whole list after news of it.
 *
 * @param {Listing | null} before
 * @param {Listing} news
 * @returns {Listing | null} null if the news are of another list than this one: ask for all of it
 */
export function withNews(before, news) {
  const { name, revision } = news
  if (!news.since) return { name, products: news.products, revision }
  if (!before || before.revision !== news.since) return null
  const gone = new Set([...(news.removed ?? []), ...news.products.map(({ id }) => id)])
  const stay = before.products.filter(({ id }) => !gone.has(id))
  return { name, products: [...stay, ...news.products], revision }
}
