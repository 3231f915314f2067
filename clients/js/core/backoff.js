/** How long to wait. Chance comes in as a number, 0..1, so that many devices do not ask at once. */

/** How often a device looks for news while its page is open. */
export const INTERVAL_MS = 30 * 60_000

const FIRST_RETRY_MS = 5_000
const LONGEST_WISH_MS = 6 * 3_600_000 // a server that says more says it by mistake

/**
 * Return how long to wait before the next look for news: 30 minutes, give or take a tenth.
 *
 * @param {number} chance
 */
export function nextLookMs(chance) {
  return Math.round(INTERVAL_MS * (0.9 + 0.2 * chance))
}

/**
 * Return how long to wait after failures that follow each other: twice as long each time, up to 30 minutes.
 *
 * @param {number} failures 1 or more
 * @param {number} chance
 * @param {number} [wishMs] how long the server wants to be left alone
 */
export function retryMs(failures, chance, wishMs = 0) {
  const longest = Math.min(INTERVAL_MS, FIRST_RETRY_MS * 2 ** (failures - 1))
  const ours = longest * (0.5 + 0.5 * chance)
  return Math.round(wishMs > 0 ? Math.max(ours, wishMs * (1 + 0.1 * chance)) : ours)
}

/**
 * Return what a Retry-After header asks for.
 *
 * @param {string | null} header seconds, or a date
 * @param {Date} now
 * @returns {number} milliseconds, 0 without a wish
 */
export function parseRetryAfter(header, now) {
  if (!header) return 0
  const wish = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - now.getTime()
  return wish > 0 ? Math.min(wish, LONGEST_WISH_MS) : 0
}
