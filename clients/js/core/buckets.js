/** One for each basis point of a share. */
export const BUCKETS = 10_000

/**
 * Return the bucket of a device, 0 to 9999: as good as drawn by lot, and always the same for this salt.
 *
 * The first 4 bytes, big-endian, of HMAC-SHA256 with `salt` as the key over `deviceId`, both in UTF-8, modulo 10,000.
 * The server decides the same; the cases that both must answer are in tests/vectors/buckets.json.
 *
 * Browsers give `crypto.subtle` to pages of https and localhost alone.
 *
 * @param {string} salt of the release
 * @param {string} deviceId
 * @returns {Promise<number>}
 */
export async function bucket(salt, deviceId) {
  const encoder = new TextEncoder()
  const { subtle } = globalThis.crypto
  const hmac = { name: 'HMAC', hash: 'SHA-256' }
  // HMAC fills a short key up with zeros, so this is the empty one, which WebCrypto refuses.
  const key = await subtle.importKey('raw', encoder.encode(salt || '\0'), hmac, false, ['sign'])
  const digest = await subtle.sign('HMAC', key, encoder.encode(deviceId))
  return new DataView(digest).getUint32(0) % BUCKETS
}

/**
 * Return whether a device is among a share of them.
 *
 * @param {string} salt of the release
 * @param {string} deviceId
 * @param {number} shareBasisPoints hundredths of a percent: nobody is in at 0, everybody at 10,000
 * @returns {Promise<boolean>}
 */
export async function isIn(salt, deviceId, shareBasisPoints) {
  return (await bucket(salt, deviceId)) < shareBasisPoints
}
