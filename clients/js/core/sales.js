/**
 * @typedef {object} Sale as the server takes it, in what else it says too
 * @property {string} id the device's own, made before the first try: the same again is the same sale
 *
 * @typedef {object} Receipt the server has the sale
 * @property {string} id
 * @property {string} [receivedAt] ISO 8601
 *
 * @typedef {object} Refusal the server will never take the sale as it is
 * @property {string} id
 * @property {string} reason
 *
 * @typedef {object} Settled what became of a batch of sales
 * @property {Receipt[]} recorded
 * @property {Refusal[]} refused
 * @property {'go-on' | 'one-by-one' | 'log-in' | 'later'} next what to do with the others
 */

const SALE_FIELD = /^(?:body\.)?sales\.(\d+)(?:\.|$)/

/** So many sales wait at most; the next is refused with words. */
export const MOST_SALES = 100

/** So many go with one request. */
export const BATCH_SALES = 25

export const QUEUE_FULL =
  `${MOST_SALES} sales are waiting to be sent, and more cannot be kept safely: connect this device, then sell on.`

/**
 * Return what became of a batch of sales, by the server's answer.
 *
 * Nothing is taken for recorded or refused that the answer does not name.
 *
 * @param {readonly Sale[]} batch
 * @param {{ status: number, body: any }} answer the body's JSON, null if it is none
 * @returns {Settled}
 */
export function settleSales(batch, { status, body }) {
  if (status === 200 || status === 201) return recorded(batch, body)
  if (status === 401 || status === 403) return { recorded: [], refused: [], next: 'log-in' }
  if (status < 400 || status >= 500 || status === 408 || status === 425 || status === 429 || status === 404) {
    return { recorded: [], refused: [], next: 'later' }
  }
  const refused = refusals(batch, body)
  if (refused.length > 0) return { recorded: [], refused, next: 'go-on' }
  if (batch.length > 1) return { recorded: [], refused: [], next: 'one-by-one' }
  const reason = text(body?.detail) ?? text(body?.error) ?? `the server refused it with status ${status}`
  return { recorded: [], refused: batch.map(({ id }) => ({ id, reason })), next: 'go-on' }
}

/**
 * @param {readonly Sale[]} batch
 * @param {any} body
 * @returns {Settled}
 */
function recorded(batch, body) {
  const named = new Map(list(body?.sales).map((sale) => [sale?.id, sale]))
  const found = batch.filter(({ id }) => named.has(id))
  const receipts = found.map(({ id }) => ({ id, receivedAt: text(named.get(id).receivedAt) }))
  return { recorded: receipts, refused: [], next: found.length === batch.length ? 'go-on' : 'later' }
}

/**
 * Return which sales the server names, and why: by `body.sales.3.lines.0.productId`, or by their id.
 *
 * @param {readonly Sale[]} batch
 * @param {any} body
 * @returns {Refusal[]}
 */
function refusals(batch, body) {
  /** @type {Map<string, string[]>} */
  const reasons = new Map()
  for (const problem of [...list(body?.errors), ...list(body?.problems)]) {
    const index = SALE_FIELD.exec(text(problem?.field) ?? '')?.[1]
    const id = text(problem?.id) ?? (index === undefined ? undefined : batch[Number(index)]?.id)
    if (id !== undefined) reasons.set(id, [...(reasons.get(id) ?? []), text(problem.detail) ?? text(body.detail) ?? ''])
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
