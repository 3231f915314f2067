/**
 * Return the centre square of a picture, the part that a recogniser is trained on.
 *
 * @param {number} width pixels
 * @param {number} height pixels
 * @returns {{ x: number, y: number, side: number }} top left corner and side, pixels
 */
export function centreSquare(width, height) {
  const side = Math.min(width, height)
  return { x: Math.floor((width - side) / 2), y: Math.floor((height - side) / 2), side }
}
