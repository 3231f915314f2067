import { ModelError } from './errors.js'

/**
 * @typedef {object} Prediction
 * @property {string} product product id
 * @property {number} confidence probability, 0..1
 *
 * @typedef {object} Ranking
 * @property {Prediction[]} predictions the most likely products, best first
 * @property {boolean} known whether the best one reaches the threshold; if not, ask instead of guessing
 */

/**
 * Return the most likely products, and whether the best of them may be believed.
 *
 * @param {ArrayLike<number>} probabilities one per label
 * @param {readonly string[]} labels product ids, in the order of the outputs
 * @param {{ top?: number, threshold: number }} options `threshold` is the least confidence to believe, 0..1
 * @returns {Ranking}
 * @throws {ModelError} the counts differ, or a probability is not a number
 */
export function rank(probabilities, labels, { top = 3, threshold }) {
  if (probabilities.length !== labels.length) {
    throw new ModelError(`the model has ${probabilities.length} outputs for ${labels.length} labels: train again`)
  }
  const predictions = labels.map((product, index) => ({ product, confidence: probabilities[index] }))
  if (predictions.some(({ confidence }) => Number.isNaN(confidence))) {
    throw new ModelError('the model answers with something that is no number: train again')
  }
  predictions.sort((a, b) => b.confidence - a.confidence)
  const known = predictions.length > 0 && predictions[0].confidence >= threshold
  return { predictions: predictions.slice(0, top), known }
}
