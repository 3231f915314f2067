/**
 * @typedef {object} Burst keys that came as fast as only a scanner types
 * @property {string} text
 * @property {number} startedAtMs
 * @property {number} lastAtMs
 */

/** @type {Burst} */
export const NO_BURST = { text: '', startedAtMs: 0, lastAtMs: -Infinity }

const LONGEST_GAP_MS = 80
const MEAN_GAP_MS = 40 // people need 100 and more
const SHORTEST = 3
const LONGEST = 100

/**
 * Return the burst after one more key, and the code if that key was the end of one.
 *
 * @param {Burst} before
 * @param {string} key as `KeyboardEvent.key` has it
 * @param {number} atMs
 * @returns {{ after: Burst, code: string | null }}
 */
export function afterKey(before, key, atMs) {
  const goesOn = atMs - before.lastAtMs <= LONGEST_GAP_MS
  if (key === 'Enter' || key === 'Tab') return { after: NO_BURST, code: goesOn && isScanner(before) ? before.text.trim() : null }
  if ([...key].length !== 1) return { after: isModifier(key) ? before : NO_BURST, code: null }
  if (!goesOn || before.text.length >= LONGEST) return { after: { text: key, startedAtMs: atMs, lastAtMs: atMs }, code: null }
  return { after: { ...before, text: before.text + key, lastAtMs: atMs }, code: null }
}

/**
 * Return whether keys have come so fast that they are no person's.
 *
 * @param {Burst} burst
 */
export function isScanner({ text, startedAtMs, lastAtMs }) {
  return text.length >= SHORTEST && lastAtMs - startedAtMs <= MEAN_GAP_MS * (text.length - 1)
}

/** @param {string} key */
function isModifier(key) {
  return ['Shift', 'CapsLock', 'AltGraph', 'Unidentified'].includes(key)
}
