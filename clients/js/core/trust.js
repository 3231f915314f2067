import { canonical } from './canonical.js'
import { ConfigRefusedError } from './errors.js'

/**
 * @typedef {object} Trust what a device has to know to judge a config; plain data, to be kept for the next one
 * @property {string} channelId its own channel
 * @property {string[]} keyIds of the keys it trusts; first those of the pairing link, then those that the last config names
 * @property {number} sequence of the last config; 0 before the first
 *
 * @typedef {object} ConfigFile
 * @property {string} baseUrl of the version's files
 * @property {{ size: number, sha256: string }} manifest
 * @property {string} model name of the model's file
 *
 * @typedef {object} Signature
 * @property {string} algorithm ES256
 * @property {string} keyId hexadecimal SHA-256 of the public key
 * @property {string} value base64url of r and s
 *
 * @typedef {object} Config what devices of a channel are to run; versions read `v1.4.2`
 * @property {string} channelId
 * @property {string} activeModelVersion the stable version
 * @property {number} rolloutPercentage
 * @property {string} [shadowModelVersion]
 * @property {number} [shadowPercentage]
 * @property {string} [shadowSalt]
 * @property {number} rollbackThreshold
 * @property {string} [minAppVersion]
 * @property {string} updatedAt
 * @property {string} etag
 * @property {number} sequence counts up with every change
 * @property {string} expiresAt
 * @property {{ version: string, rolloutBasisPoints: number, salt: string, minAppVersion?: string }} [candidate]
 * @property {Record<string, ConfigFile>} files by version
 * @property {{ keyId: string, publicKey: string }[]} keys to be trusted from now on; `publicKey` is base64 of SPKI
 * @property {Signature} signature
 * @property {Signature} [previousSignature] by the key before, while the key is being changed
 */

/** @typedef {Record<string, any>} Parsed a JSON object of which nothing is known yet */

const MAX_BODY_BYTES = 65536
const MAX_KEYS = 8
const CONTEXT = 'shelfsight-config-v1\n' // what this key signs can never be taken for anything else
const KEY_ID = /^[0-9a-f]{64}$/
const VALUE = /^[A-Za-z0-9_-]{86}$/
const PUBLIC_KEY = /^(?:[A-Za-z0-9+/]{4}){1,250}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
const INSTANT = /^2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z$/
const P256 = { name: 'ECDSA', namedCurve: 'P-256' }
const ES256 = { name: 'ECDSA', hash: 'SHA-256' }
const utf8 = new TextEncoder()

/**
 * Return the config in `text`, which a device in that state accepts, and its next state.
 *
 * The same rule as Python's `shelfsight.access.signatures.accept`, held to the same cases.
 *
 * @param {string} text the body as it was sent, not parsed and written again
 * @param {Trust} state stays as it is
 * @param {Date} now by the device's clock
 * @returns {Promise<{ config: Config, state: Trust }>}
 * @throws {ConfigRefusedError} it does not accept it; `reason` says why
 */
export async function acceptConfig(text, state, now) {
  const document = parse(text)
  await checkMembers(document)
  await checkSignature(document, state.keyIds)
  const { channelId, sequence, expiresAt, keys } = document
  if (channelId !== state.channelId) {
    throw new ConfigRefusedError(
      'other_channel',
      `the config is of channel ${channelId}, and this device belongs to ${state.channelId}`,
    )
  }
  if (!(instant(expiresAt) > now.getTime())) {
    throw new ConfigRefusedError('expired', `the config expired at ${expiresAt}: check the clock of this device`)
  }
  if (!(sequence >= state.sequence)) {
    throw new ConfigRefusedError(
      'replayed',
      `the config has sequence ${sequence}, and this device has seen ${state.sequence}: it is an old one`,
    )
  }
  const keyIds = [...new Set(keys.map((/** @type {{ keyId: string }} */ { keyId }) => keyId))]
  return { config: /** @type {Config} */ (document), state: { channelId, keyIds, sequence } }
}

/**
 * Return the object in a text that is written as the server writes it.
 *
 * Whatever two readers could read differently is gone with that: members named twice, 1.0 for 1, white space.
 *
 * @param {string} text
 * @returns {Parsed}
 */
function parse(text) {
  if (utf8.encode(text).length > MAX_BODY_BYTES) {
    throw new ConfigRefusedError('too_large', `the config has more than ${MAX_BODY_BYTES} bytes`)
  }
  let document
  let written
  try {
    document = JSON.parse(text)
    written = canonical(document)
  } catch (error) {
    throw malformed(`it is no JSON that a config can be (${error instanceof Error ? error.message : error})`)
  }
  if (!isObject(document) || written !== text) {
    throw malformed('it must be a JSON object written as RFC 8785 says, as it was sent')
  }
  return document
}

/** @param {Parsed} document */
async function checkMembers({ channelId, sequence, expiresAt, keys }) {
  if (typeof channelId !== 'string' || channelId === '') throw malformed('channelId must be a text')
  if (!Number.isSafeInteger(sequence) || sequence < 0) throw malformed('sequence must be a whole number, 0 or more')
  if (Number.isNaN(instant(expiresAt))) {
    throw malformed('expiresAt must be a moment in UTC, such as 2026-11-20T12:00:00.000Z')
  }
  const is = Array.isArray(keys) && keys.length >= 1 && keys.length <= MAX_KEYS
  if (!is || !(await Promise.all(keys.map(isKey))).every(Boolean)) {
    throw malformed(`keys must be 1 to ${MAX_KEYS} public keys, each with its SHA-256 as keyId`)
  }
}

/**
 * Throw unless a trusted key has signed. A signature by any other key is not looked at, whatever it is.
 *
 * @param {Parsed} document
 * @param {readonly string[]} trusted key ids
 */
async function checkSignature(document, trusted) {
  const { signature, previousSignature, ...unsigned } = document
  if (!isObject(signature)) throw new ConfigRefusedError('unsigned', 'the config is not signed')
  const theirs = [signature, previousSignature].filter((one) => isObject(one) && trusted.includes(one.keyId))
  if (theirs.length === 0) {
    throw new ConfigRefusedError(
      'unknown_key',
      'the config is signed by a key that this device does not trust: pair it again if that is right',
    )
  }
  const message = utf8.encode(CONTEXT + canonical(unsigned))
  for (const one of theirs) {
    const key = document.keys.find((/** @type {{ keyId: string }} */ { keyId }) => keyId === one.keyId)
    if (key && (await fits(one, key.publicKey, message))) return
  }
  throw new ConfigRefusedError(
    'bad_signature',
    'the signature does not fit the config: it was changed on its way, or somebody else signed it',
  )
}

/**
 * @param {Parsed} signature
 * @param {string} publicKey base64 of SPKI
 * @param {BufferSource} message
 * @returns {Promise<boolean>}
 */
async function fits({ algorithm, value }, publicKey, message) {
  if (algorithm !== 'ES256' || typeof value !== 'string' || !VALUE.test(value)) return false
  let key
  try {
    key = await crypto.subtle.importKey('spki', bytes(publicKey), P256, false, ['verify'])
  } catch {
    return false // a key of another kind
  }
  const plain = bytes(value.replaceAll('-', '+').replaceAll('_', '/'))
  return crypto.subtle.verify(ES256, key, plain, message)
}

/**
 * @param {unknown} entry
 * @returns {Promise<boolean>} whether it is a public key with its own id
 */
async function isKey(entry) {
  if (!isObject(entry)) return false
  const { keyId, publicKey } = entry
  if (typeof keyId !== 'string' || typeof publicKey !== 'string') return false
  if (!KEY_ID.test(keyId) || !PUBLIC_KEY.test(publicKey)) return false
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes(publicKey)))
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('') === keyId
}

/**
 * @param {string} base64
 * @returns {Uint8Array<ArrayBuffer>}
 */
function bytes(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))
}

/**
 * @param {unknown} text
 * @returns {number} milliseconds since 1970; NaN if it is no moment in UTC
 */
function instant(text) {
  if (typeof text !== 'string' || !INSTANT.test(text)) return NaN
  const at = new Date(text)
  // The 30th of February is the 2nd of March to some, and an error to others.
  return Number.isNaN(at.getTime()) || at.toISOString().slice(0, 19) !== text.slice(0, 19) ? NaN : at.getTime()
}

/**
 * @param {unknown} value
 * @returns {value is Parsed}
 */
function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * @param {string} why
 * @returns {ConfigRefusedError}
 */
function malformed(why) {
  return new ConfigRefusedError('malformed', `the config cannot be read: ${why}`)
}
