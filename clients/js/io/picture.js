import { centreSquare } from '../core/crop.js'
import { UnsupportedError } from '../core/errors.js'
import { toInput } from '../core/pixels.js'

/** @typedef {ImageBitmap | HTMLImageElement | HTMLVideoElement | HTMLCanvasElement} Picture */

/** @type {Map<number, HTMLCanvasElement>} by side; one is enough, for what is drawn is read at once */
const canvases = new Map()

/**
 * Return the centre square of a picture as a recogniser's input.
 *
 * @param {Picture} picture
 * @param {number} side pixels
 * @returns {Float32Array} (side * side * 3)
 */
export function inputOf(picture, side) {
  const context = canvasOf(side).getContext('2d', { willReadFrequently: true })
  if (!context) throw new UnsupportedError('this browser gives no canvas to draw on: close other tabs')
  context.fillStyle = 'white' // what is transparent is white in training, too
  context.fillRect(0, 0, side, side)
  const from = centreSquare(...sizeOf(picture))
  // Default smoothing, as in Teachable Machine: bilinear, which is what training uses.
  context.drawImage(picture, from.x, from.y, from.side, from.side, 0, 0, side, side)
  return toInput(context.getImageData(0, 0, side, side).data)
}

/** @param {number} side */
function canvasOf(side) {
  const found = canvases.get(side)
  if (found) return found
  const canvas = document.createElement('canvas')
  canvas.width = canvas.height = side
  canvases.set(side, canvas)
  return canvas
}

/**
 * @param {Picture} picture
 * @returns {[width: number, height: number]} pixels
 */
function sizeOf(picture) {
  if (picture instanceof HTMLVideoElement) return [picture.videoWidth, picture.videoHeight]
  if (picture instanceof HTMLImageElement) return [picture.naturalWidth, picture.naturalHeight]
  return [picture.width, picture.height]
}
