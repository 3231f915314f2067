import { isProblem } from './problems.js'

/**
 * @typedef {object} Sale as the server takes it, in what else it says too
 * @property {string} id the device's own, made before the first try: the same again is the same sale
 *
 * @typedef {object} Receipt the server has the sale
 * @property {string} id
 * @property {string} [receivedAt] ISO 8601
 *
 * @typedef {object} Refusal the server does not take the sale as it is, and as things are there
 * @property {string} id
 * @property {string} reason
 *
 * @typedef {object} Settled what became of a batch of sales
 * @property {Receipt[]} recorded
 * @property {Refusal[]} refused
 * @property {'go-on' | 'one-by-one' | 'pass-over' | 'log-in' | 'later'} next what to do with the others; pass-over:
 *   this sale stays until later, those behind it need not wait for it
 */

const SALE_FIELD = /^body\.sales\.(\d+)(?:\.|$)/
const TOO_LARGE = 413

/** What a server, or somebody in front of it, may say because of what one of the sales holds. */
const OF_CONTENTS = new Set([400, 409, TOO_LARGE, 422])

/** So many sales wait at most; the next is refused with words. */
export const MOST_SALES = 100

/** So many go with one request. */
export const BATCH_SALES = 25

export const QUEUE_FULL =
  `${MOST_SALES} sales are waiting to be sent, and more cannot be kept safely: connect this device, then sell on.`

/**
 * Return what became of a batch of sales, by the server's answer.
 *
 * A sale is recorded or refused only if our own server says so of this very sale. What a proxy, a firewall or a captive
 * portal says, with whatever status, is no word about a sale: it stays, and is sent again.
 *
 * @param {readonly Sale[]} batch
 * @param {{ status: number, body: any }} answer the body's JSON, null if it is none
 * @returns {Settled}
 */
export function settleSales(batch, { status, body }) {
  if (status === 200) return recorded(batch, body)
  const isOurs = isProblem({ status, body })
  if (isOurs && (status === 401 || status === 403)) return { recorded: [], refused: [], next: 'log-in' }
  if (!OF_CONTENTS.has(status)) return { recorded: [], refused: [], next: 'later' }
  const refused = isOurs ? refusals(batch, body) : []
  if (refused.length > 0) return { recorded: [], refused, next: 'go-on' }
  return { recorded: [], refused: [], next: batch.length > 1 ? 'one-by-one' : 'pass-over' }
}

/**
 * @param {readonly Sale[]} batch
 * @param {any} body
 * @returns {Settled}
 */
function recorded(batch, body) {
  const receipts = list(body?.sales).filter((sale) => typeof sale?.recorded === 'boolean' && text(sale.receivedAt))
  const named = new Map(receipts.map((receipt) => [receipt.id, receipt]))
  const found = batch.filter(({ id }) => named.has(id))
  const booked = found.map(({ id }) => ({ id, receivedAt: text(named.get(id).receivedAt) }))
  return { recorded: booked, refused: [], next: found.length === batch.length ? 'go-on' : 'later' }
}

/**
 * Return which sales a problem names, as `body.sales.3.lines.0.productId`, and why; one alone can be too large.
 *
 * @param {readonly Sale[]} batch
 * @param {any} body
 * @returns {Refusal[]}
 */
function refusals(batch, body) {
  /** @type {Map<string, string[]>} */
  const reasons = new Map()
  const detail = text(body.detail) ?? ''
  if (body.status === TOO_LARGE && batch.length === 1) return [{ id: batch[0].id, reason: detail }]
  for (const problem of list(body.errors)) {
    const id = batch[Number(SALE_FIELD.exec(text(problem?.field) ?? '')?.[1])]?.id
    if (id !== undefined) reasons.set(id, [...(reasons.get(id) ?? []), text(problem.detail) ?? detail])
  }
  const named = batch.filter(({ id }) => reasons.has(id))
  return named.map(({ id }) => ({ id, reason: [...new Set(reasons.get(id))].join('; ') }))
}

/**
 * @param {unknown} value
 * @returns {any[]}
 */
function list(value) {
  return Array.isArray(value) ? value : []
}

/**
 * @param {unknown} value
 * @returns {string | undefined}
 */
function text(value) {
  return typeof value === 'string' ? value : undefined
}
