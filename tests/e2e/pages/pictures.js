/**
 * @typedef {object} Answer
 * @property {string[]} labels product ids, in the order of the probabilities
 * @property {number[]} probabilities
 * @property {string} pixelsSha256 of the canvas as RGB bytes: what was recognised, for comparison with the sender's
 * @property {number} durationMs from a drawn canvas to probabilities
 */

/**
 * Return what a recogniser says to a picture drawn pixel by pixel on a canvas.
 *
 * @param {string} url of a PNG
 * @param {(canvas: HTMLCanvasElement) => Promise<{ labels: string[], probabilities: number[] }>} recognise
 * @returns {Promise<Answer>}
 */
export async function answerTo(url, recognise) {
  const canvas = await drawn(url)
  const pixelsSha256 = await sha256(rgb(canvas))
  const started = performance.now()
  const answer = await recognise(canvas)
  return { ...answer, pixelsSha256, durationMs: performance.now() - started }
}

/** @param {string} url */
async function drawn(url) {
  const picture = new Image()
  picture.src = url
  await picture.decode()
  const canvas = document.createElement('canvas')
  canvas.width = picture.naturalWidth
  canvas.height = picture.naturalHeight
  context(canvas).drawImage(picture, 0, 0)
  return canvas
}

/** @param {HTMLCanvasElement} canvas */
function rgb(canvas) {
  const { data } = context(canvas).getImageData(0, 0, canvas.width, canvas.height)
  return data.filter((_, index) => index % 4 !== 3)
}

/** @param {HTMLCanvasElement} canvas */
function context(canvas) {
  const found = canvas.getContext('2d', { willReadFrequently: true })
  if (!found) throw new Error('this browser gives no canvas to draw on')
  return found
}

/** @param {Uint8ClampedArray<ArrayBuffer>} bytes */
async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
