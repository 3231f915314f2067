/** Hashes, hexadecimal. They need WebCrypto, which browsers give to secure pages only. */

const utf8 = new TextEncoder()

/**
 * Return the SHA-256 of some bytes.
 *
 * @param {BufferSource} bytes
 * @returns {Promise<string>} 64 hexadecimal digits
 */
export async function sha256(bytes) {
  return hexadecimal(await crypto.subtle.digest('SHA-256', bytes))
}

/**
 * Return the HMAC-SHA256 of a message.
 *
 * @param {string} key
 * @param {string} message
 * @returns {Promise<string>} 64 hexadecimal digits
 */
export async function hmacSha256(key, message) {
  const hmac = { name: 'HMAC', hash: 'SHA-256' }
  const imported = await crypto.subtle.importKey('raw', utf8.encode(key), hmac, false, ['sign'])
  return hexadecimal(await crypto.subtle.sign('HMAC', imported, utf8.encode(message)))
}

/** @param {ArrayBuffer} buffer */
function hexadecimal(buffer) {
  return Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, '0')).join('')
}
