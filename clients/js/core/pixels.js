/**
 * Return a picture as a recogniser's input: RGB as x/127 - 1, which is what Teachable Machine clients feed.
 *
 * @param {Uint8ClampedArray} rgba four values per pixel, 0..255, as in ImageData
 * @returns {Float32Array} three values per pixel, about -1..1; alpha is dropped
 */
export function toInput(rgba) {
  const input = new Float32Array((rgba.length / 4) * 3)
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    input[to] = rgba[from] / 127 - 1
    input[to + 1] = rgba[from + 1] / 127 - 1
    input[to + 2] = rgba[from + 2] / 127 - 1
  }
  return input
}
