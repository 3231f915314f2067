import { ModelError } from './errors.js'

/**
 * @typedef {object} WeightSpec one tensor, as `model.json` describes it
 * @property {string} name
 * @property {number[]} shape
 * @property {'float32' | 'int32' | 'bool' | 'string' | 'complex64'} dtype
 * @property {{ dtype: 'uint8' | 'uint16' | 'float16', min?: number, scale?: number }} [quantization]
 *
 * @typedef {object} WeightGroup
 * @property {string[]} paths files, relative to `model.json`, that follow each other
 * @property {WeightSpec[]} weights
 */

/** @type {Record<string, number>} */
const BYTES = { float32: 4, int32: 4, float16: 2, uint16: 2, uint8: 1, bool: 1 }

/**
 * Return how many bytes the files of one weight group have together.
 *
 * Known before the download, and whatever the transport's compression does to Content-Length.
 *
 * @param {WeightGroup} group
 * @returns {number}
 * @throws {ModelError} a tensor is of a type that no recogniser has
 */
export function sizeBytes(group) {
  return group.weights.reduce((total, { name, shape, dtype, quantization }) => {
    const bytes = BYTES[quantization?.dtype ?? dtype]
    if (!bytes) throw new ModelError(`weight ${name} is of the unknown type ${quantization?.dtype ?? dtype}`)
    return total + bytes * shape.reduce((product, length) => product * length, 1)
  }, 0)
}
