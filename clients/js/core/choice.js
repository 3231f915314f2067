import { isIn } from './buckets.js'
import { isAtLeast, plainVersion } from './versions.js'

/**
 * @typedef {import('./trust.js').Config} Config
 *
 * @typedef {object} Choice which versions a device runs
 * @property {string[]} versions whose answers are shown, the best first; the next counts where that one does not work
 * @property {string | null} shadow runs beside it, its answers are never shown
 */

/**
 * Return which of a config's versions are for this device: the candidate for its share, and the stable one.
 *
 * @param {Config} config
 * @param {{ deviceId: string, appVersion?: string }} device
 * @returns {Promise<Choice>} without versions if the app is too old for all of them
 */
export async function choose(config, { deviceId, appVersion }) {
  const versions = []
  const { candidate, activeModelVersion, minAppVersion } = config
  if (candidate && isAtLeast(appVersion, candidate.minAppVersion)) {
    if (await isIn(candidate.salt, deviceId, candidate.rolloutBasisPoints)) versions.push(candidate.version)
  }
  if (isAtLeast(appVersion, minAppVersion)) versions.push(activeModelVersion)
  const shadow = await shadowFor(config, deviceId)
  return { versions: [...new Set(versions)], shadow: shadow === versions[0] ? null : shadow }
}

/**
 * Return the salt with which a device is named in what it reports: the release's own, so that a device is the same one
 * within a release, and nobody beyond.
 *
 * While there is a candidate, devices on the stable version are named by its salt, too: the two are compared, and each
 * device counts once. Without a release every version has its own names.
 *
 * @param {Config} config
 * @param {string} version that the report is about
 * @param {{ isShadow: boolean }} role whether that version ran as the shadow
 */
export function saltFor({ candidate, shadowSalt, channelId }, version, { isShadow }) {
  const salt = isShadow ? shadowSalt : candidate?.salt
  return salt ?? `${channelId} ${plainVersion(version)}`
}

/**
 * @param {Config} config
 * @param {string} deviceId
 */
async function shadowFor({ shadowModelVersion, shadowSalt, shadowPercentage = 0 }, deviceId) {
  if (!shadowModelVersion || !shadowSalt) return null
  return (await isIn(shadowSalt, deviceId, Math.round(shadowPercentage * 100))) ? shadowModelVersion : null
}
