import { backendWords, megabytes } from './words.js'

/**
 * @typedef {Awaited<ReturnType<import('@shelfsight/client').Client['diagnostics']>>} Diagnostics
 * @typedef {readonly (readonly [name: string, value: string])[]} Facts
 *
 * @typedef {object} PageFacts
 * @property {string} channel id
 * @property {string} shop what people call it
 * @property {string} version of the page
 * @property {string} build
 * @property {string} device name of this till
 * @property {string} kept how far the page is kept on the device
 * @property {number | null} products in the list on the device
 * @property {string | null} productsAt when the server said so, ISO 8601
 * @property {string | null} trainedAt of the model that answers, ISO 8601
 * @property {number | null} latencyMs of the last answer
 * @property {string} browser
 * @property {boolean} isOnline
 */

/**
 * @param {Diagnostics} diagnostics
 * @param {PageFacts} page
 * @param {string} [locale]
 * @returns {Facts}
 */
export function shopFacts({ version }, { shop, products, productsAt, trainedAt }, locale) {
  return [
    ['Shop', shop],
    ['Recogniser', version === null ? 'none yet' : `version ${version}, trained ${moment(trainedAt, locale)}`],
    ['Products', products === null ? 'not here yet' : `${products}, as of ${moment(productsAt, locale)}`],
  ]
}

/**
 * @param {Diagnostics} diagnostics
 * @param {PageFacts} page
 * @param {string} [locale]
 * @returns {Facts}
 */
export function deviceFacts({ sequence, configExpiresAt, backend, modelBytes, usedBytes, quotaBytes, events }, page, locale) {
  const speed = page.latencyMs === null ? '' : `, ${Math.round(page.latencyMs)} ms per picture`
  return [
    ['This till', page.device],
    ['Runs on', backend === null ? 'not started' : `${backendWords(backend)}${speed}`],
    ['Config', sequence > 0 ? `number ${sequence}, good until ${moment(configExpiresAt, locale)}` : 'none yet'],
    ['Recogniser', `${megabytes(modelBytes)} MB`],
    ['Storage used', usedBytes === null ? 'not known' : `${megabytes(usedBytes)} MB${ofQuota(quotaBytes)}`],
    ['Page', `${page.version}, ${page.kept}`],
    ['Reports', `${events.waiting} wait to be sent`],
  ]
}

/**
 * Return what somebody needs to look for a fault, as text; nothing that is a secret or a sale.
 *
 * @param {Diagnostics} diagnostics
 * @param {PageFacts} page
 * @param {Date} now
 */
export function diagnosticsText(diagnostics, page, now) {
  const { state, sales, events } = diagnostics
  const rows = {
    time: now.toISOString(),
    channel: page.channel,
    shop: page.shop,
    till: page.device,
    page: `${page.version}, build ${page.build}, ${page.kept}`,
    online: page.isOnline,
    state: `${state.name}: ${state.words}`,
    version: diagnostics.version,
    previous: diagnostics.previousVersion,
    shadow: diagnostics.shadowVersion,
    trained: page.trainedAt,
    backend: backendWords(diagnostics.backend),
    latencyMs: page.latencyMs === null ? null : Math.round(page.latencyMs),
    config: `sequence ${diagnostics.sequence}, expires ${diagnostics.configExpiresAt ?? '-'}`,
    products: page.products === null ? null : `${page.products}, of ${page.productsAt ?? '-'}`,
    bytes: `model ${diagnostics.modelBytes}, used ${diagnostics.usedBytes ?? '-'} of ${diagnostics.quotaBytes ?? '-'}`,
    sales: `${sales.waiting} waiting, ${sales.refused} refused`,
    reports: `${events.waiting} waiting, ${events.dropped} dropped`,
    browser: page.browser,
  }
  return Object.entries(rows).map(([name, value]) => `${name}: ${value ?? '-'}`).join('\n')
}

/**
 * @param {string | null} at ISO 8601
 * @param {string} [locale]
 */
function moment(at, locale) {
  if (at === null || Number.isNaN(Date.parse(at))) return 'not known'
  return new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'short' }).format(new Date(at))
}

/** @param {number | null} quotaBytes */
function ofQuota(quotaBytes) {
  return quotaBytes === null ? '' : ` of ${(quotaBytes / 1e9).toFixed(1)} GB`
}
