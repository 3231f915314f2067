import { DownloadError, NoModelError } from '../client.js'
import { moneyText } from './money.js'

/** What a page says that recognises. Pure: values in, words out. */

export const NO_MODEL = 'Camera recognition not yet set up. Add products with images first.'
export const KNOWN = 'I know this one'
export const UNKNOWN = 'Not sure'
export const NO_PHOTO = 'That is no photo this browser can open: choose a JPEG, PNG or WebP file.'
export const CAMERA_GONE = 'The camera was disconnected: connect it and start it again, or choose a photo.'

/** @type {Record<string, string>} */
const BACKENDS = { wasm: 'WebAssembly', webgl: 'WebGL' }

/** @type {Record<string, string>} */
const CAMERA_ADVICE = {
  NotAllowedError: 'The camera is blocked for this page: allow it beside the address, then start it again, or choose a photo.',
  NotFoundError: 'There is no camera on this device: connect one, or choose a photo.',
  NotReadableError: 'Another program is using the camera: close it and start the camera again, or choose a photo.',
}

/**
 * @param {unknown} error from getUserMedia
 * @param {boolean} secure whether the page may ask for a camera at all
 */
export function cameraAdvice(error, secure) {
  if (!secure) return 'Browsers show the camera only to pages opened over https or on localhost: open this page so, or choose a photo.'
  const name = error instanceof Error ? error.name : ''
  return CAMERA_ADVICE[name] ?? 'The camera does not start: check it in another program, or choose a photo.'
}

/** @param {unknown} error from loading or running the recogniser */
export function failure(error) {
  if (error instanceof NoModelError) return NO_MODEL
  if (error instanceof DownloadError) return 'The recogniser did not arrive: check the connection, then try again.'
  const reason = error instanceof Error ? error.message : String(error)
  return `The recogniser does not work here: ${reason}.`
}

/** @param {string | null} backend of TensorFlow.js */
export function backendWords(backend) {
  return BACKENDS[backend ?? ''] ?? backend
}

/** @param {{ receivedBytes?: number, totalBytes?: number }} progress */
export function downloaded({ receivedBytes = 0, totalBytes = 0 }) {
  return totalBytes > 0 ? `${megabytes(receivedBytes)} of ${megabytes(totalBytes)} MB` : 'A few megabytes'
}

/** @param {number} bytes */
export function megabytes(bytes) {
  return (bytes / 1e6).toFixed(1)
}

/**
 * Return a confidence in percent. Only what is certain reads 100 %, only what is impossible 0 %.
 *
 * @param {number} confidence 0..1
 */
export function percent(confidence) {
  const rounded = Math.round(confidence * 100)
  if (rounded === 0 && confidence > 0) return '<1%'
  return `${rounded === 100 && confidence < 1 ? 99 : rounded}%`
}

/**
 * Return a price, of a product that has one, as people write it.
 *
 * @param {{ price?: string | null, currency?: string | null }} product
 * @param {string} [locale]
 */
export function priced({ price, currency }, locale) {
  return moneyText(price, currency, locale)
}

/**
 * @param {{ metadata: { version?: string } | null, backend: string | null }} recogniser
 * @param {number} [durationMs] of the last recognition
 */
export function facts({ metadata, backend }, durationMs) {
  const parts = [`Model ${metadata?.version ?? 'without version'}`, backendWords(backend)]
  if (durationMs !== undefined) parts.push(`${Math.round(durationMs)} ms per picture`)
  return parts.filter(Boolean).join(' · ')
}

/**
 * @param {import('./offers.js').Offers} offers
 * @param {string} [locale]
 */
export function announcement({ offers, known }, locale) {
  const named = offers.map(({ product }) => product.name)
  if (!known) return named.length ? `${UNKNOWN}. Could it be ${named.join(', ')}?` : `${UNKNOWN}.`
  const [{ product, confidence }] = offers
  return [product.name, priced(product, locale), `${percent(confidence)} confidence`].filter(Boolean).join(', ')
}
