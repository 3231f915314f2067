import assert from 'node:assert/strict'
import { test } from 'node:test'
import { centreSquare } from '../core/crop.js'
import { toInput } from '../core/pixels.js'

test('the centre square of a wide picture leaves out left and right', () => {
  assert.deepEqual(centreSquare(640, 480), { x: 80, y: 0, side: 480 })
})

test('the centre square of a tall picture leaves out top and bottom', () => {
  assert.deepEqual(centreSquare(480, 640), { x: 0, y: 80, side: 480 })
})

test('an odd remainder is rounded down as in training', () => {
  assert.deepEqual(centreSquare(101, 100), { x: 0, y: 0, side: 100 })
})

test('black is -1, 127 is 0, and alpha is dropped', () => {
  const rgba = new Uint8ClampedArray([0, 127, 254, 255, 0, 0, 0, 0])
  assert.deepEqual([...toInput(rgba)], [-1, 0, 1, -1, -1, -1])
})
