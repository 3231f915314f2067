/** Which requests a service worker answers from what it keeps: those for the page's own files, and no others. */

const STATIC = '/static/'

/**
 * Return the path under which a file of the page is kept; null: the request is none of the service worker's business.
 *
 * @param {{ method: string, url: string, mode: string }} request
 * @param {string} scope address of the page
 * @returns {string | null}
 */
export function keptPath({ method, url, mode }, scope) {
  const [asked, home] = [new URL(url), new URL(scope)]
  if (method !== 'GET' || asked.origin !== home.origin) return null
  // Of an older page, too, which another tab may still show.
  if (asked.pathname.startsWith(STATIC)) return asked.pathname
  const isPage = asked.pathname === home.pathname || asked.pathname === `${home.pathname}/`
  return mode === 'navigate' && isPage ? home.pathname : null
}

/**
 * Return the names of caches that nobody needs any more. The one before ours stays: another tab may still show that
 * page, and ask for a part of it.
 *
 * @param {readonly string[]} names of all caches, in the order in which they were made
 * @param {string} ours
 * @param {string} prefix of those of this page
 */
export function outdated(names, ours, prefix) {
  const others = names.filter((name) => name.startsWith(prefix) && name !== ours)
  return others.slice(0, -1)
}
