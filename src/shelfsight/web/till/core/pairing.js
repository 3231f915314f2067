/**
 * @typedef {object} Pairing what a device needs to be a till of a channel
 * @property {string} token
 * @property {readonly string[]} keys ids of the keys that it trusts
 *
 * @typedef {Pairing & { channel: string }} Link
 */

const TOKEN = /^[A-Za-z0-9_-]{8,200}$/
const KEY = /^[0-9a-f]{64}$/
const PATH = /^\/till\/([A-Za-z0-9][A-Za-z0-9_.-]{0,63})\/?$/

/**
 * Return what to do about a link that the server does not take. Whether it has such a shop it says to nobody else.
 *
 * @param {string} channel
 */
export function refusedLink(channel) {
  return `This link is not valid (any more): make a new one with “shelfsight channels pair ${channel}”, or ask whoever runs the server for one.`
}

export const NO_LINK = 'This is no pairing link: it reads https://…/till/…#token=…&keys=…'

/**
 * Return what the part of an address behind the # says; null where it says nothing of a pairing.
 *
 * @param {string} fragment with or without the #
 * @returns {Pairing | { problem: string } | null}
 */
export function readFragment(fragment) {
  const values = new URLSearchParams(fragment.replace(/^#/, ''))
  const token = values.get('token')
  if (token === null) return null
  const keys = (values.get('keys') ?? '').split(',').map((key) => key.trim().toLowerCase()).filter(Boolean)
  if (!TOKEN.test(token)) return { problem: 'The token of this link is damaged: copy the link again, all of it.' }
  if (keys.length === 0) return { problem: 'This link names no key, so nothing could be trusted: make a new link.' }
  if (!keys.every((key) => KEY.test(key))) return { problem: 'A key of this link is damaged: copy the link again, all of it.' }
  return { token, keys }
}

/**
 * Return what a pairing link says that was scanned or pasted.
 *
 * @param {string} text
 * @param {string} origin of this server
 * @returns {Link | { problem: string }}
 */
export function readLink(text, origin) {
  const url = addressIn(text)
  const channel = PATH.exec(url?.pathname ?? '')?.[1]
  const pairing = readFragment(url?.hash ?? '')
  if (!url || channel === undefined || pairing === null) return { problem: NO_LINK }
  if ('problem' in pairing) return pairing
  if (url.origin !== origin) return { problem: `This link is for ${url.host}, not for this server: open it in the address bar.` }
  return { channel, ...pairing }
}

/**
 * Return a pairing that was kept as JSON; null if it is none.
 *
 * @param {unknown} kept
 * @returns {Pairing | null}
 */
export function readPairing(kept) {
  const { token, keys } = /** @type {any} */ (kept ?? {})
  const isGood = typeof token === 'string' && TOKEN.test(token) && Array.isArray(keys) && keys.every((key) => KEY.test(key))
  return isGood ? { token, keys } : null
}

/**
 * @param {string} text
 * @returns {URL | null} null: it is no address
 */
function addressIn(text) {
  try {
    return new URL(text.trim())
  } catch {
    return null
  }
}
