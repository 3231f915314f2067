const PARTS = /^v?(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?(-[0-9A-Za-z.-]+)?(?:\+.*)?$/

/**
 * Return whether an app may run what asks for `minimum`; a pre-release is older than its release.
 *
 * @param {string | undefined} version of the app, such as 2.1.0; one that is no version is older than any
 * @param {string | undefined} minimum undefined or empty: any app may
 * @returns {boolean}
 */
export function isAtLeast(version, minimum) {
  if (!minimum) return true
  const [ours, wanted] = [parts(version), parts(minimum)]
  if (!ours || !wanted) return false
  const index = ours.numbers.findIndex((number, place) => number !== wanted.numbers[place])
  if (index >= 0) return ours.numbers[index] > wanted.numbers[index]
  return !ours.isEarly || wanted.isEarly
}

/**
 * Return a version as the metadata and the events have it: 1.4.2 for v1.4.2.
 *
 * @param {string} version
 */
export function plainVersion(version) {
  return version.replace(/^v/, '')
}

/** @param {string | undefined} version */
function parts(version) {
  const found = PARTS.exec(version ?? '')
  if (!found) return null
  return { numbers: found.slice(1, 4).map((part) => Number(part ?? 0)), isEarly: Boolean(found[4]) }
}
