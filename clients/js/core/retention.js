/**
 * @typedef {object} Use which of the cached models are used, by the hash of their manifest
 * @property {number} sequence of the config that says so; 0: none does
 * @property {string | null} active answers
 * @property {string | null} previous answered before, and answers again if the active one fails
 * @property {string | null} shadow runs beside the active one
 *
 * @typedef {object} Cached what the cache holds
 * @property {{ id: string, shards: { sha256: string }[] }[]} models
 * @property {string[]} shards hashes
 */

/** @type {Use} */
export const NOTHING_USED = { sequence: 0, active: null, previous: null, shadow: null }

/**
 * Return what is used after a switch: the one that answered until now is kept as the previous one.
 *
 * @param {Use} before
 * @param {{ sequence: number, active: string, shadow: string | null }} wanted
 * @returns {Use | null} null if a newer config has been gone by already
 */
export function switchTo(before, { sequence, active, shadow }) {
  if (sequence < before.sequence) return null
  const previous = before.active === active ? before.previous : before.active
  return { sequence, active, shadow, previous: previous === active ? null : previous }
}

/**
 * Return what is used when a model turns out not to work: the previous one, if that is still there.
 *
 * @param {Use} before
 * @param {string} broken
 * @returns {Use}
 */
export function switchFrom(before, broken) {
  const without = {
    ...before,
    previous: before.previous === broken ? null : before.previous,
    shadow: before.shadow === broken ? null : before.shadow,
  }
  return before.active === broken ? { ...without, active: without.previous, previous: null } : without
}

/**
 * Return what can be removed from the cache: models that are not used, and shards of none that is.
 *
 * @param {Cached} cached
 * @param {readonly (string | null)[]} kept models
 * @param {readonly string[]} wanted shards of a model that is being downloaded
 * @returns {{ models: string[], shards: string[] }}
 */
export function removable({ models, shards }, kept, wanted = []) {
  const goes = models.filter(({ id }) => !kept.includes(id))
  const used = new Set(wanted)
  for (const model of models) {
    if (!goes.includes(model)) for (const { sha256 } of model.shards) used.add(sha256)
  }
  return { models: goes.map(({ id }) => id), shards: shards.filter((sha256) => !used.has(sha256)) }
}
