/**
 * @typedef {'append' | 'whole' | 'start-over'} Reading what to do with the body of an answer
 *
 * append: it goes on where what has arrived ends; whole: it begins at the beginning; start-over: ask again for all.
 */

const CONTENT_RANGE = /^bytes (\d+)-\d+\/(\d+|\*)$/

/**
 * Return what to do with the body of an answer to a request for the rest of a file.
 *
 * @param {{ status: number, contentRange: string | null }} answer of status 200, 206 or 416; Content-Range is null
 *   where another origin does not show it: then the hash decides in the end
 * @param {{ offset: number, size: number }} asked from which byte on, of how many; 0: for all of them
 * @returns {Reading}
 */
export function howToRead({ status, contentRange }, { offset, size }) {
  if (status === 200) return 'whole'
  if (status !== 206 || offset === 0) return 'start-over'
  if (contentRange === null) return 'append'
  const found = CONTENT_RANGE.exec(contentRange)
  const goesOn = found && Number(found[1]) === offset && (found[2] === '*' || Number(found[2]) === size)
  return goesOn ? 'append' : 'start-over'
}

/**
 * Return the headers that ask for the rest of a file. A browser asks for a part without compression by itself.
 *
 * If-Range names the uncompressed file: what has arrived may have come compressed, under a tag of its own.
 *
 * @param {{ offset: number, etag: string | null, sha256: string }} arrived up to which byte, of an answer of which tag
 * @returns {Record<string, string>}
 */
export function rangeHeaders({ offset, etag, sha256 }) {
  if (offset === 0) return {}
  const range = { range: `bytes=${offset}-` }
  if (!etag || etag.startsWith('W/')) return range // a weak tag cannot be named; the hash decides in the end
  return { ...range, 'if-range': etag.startsWith(`"${sha256}`) ? `"${sha256}"` : etag }
}

/**
 * Return the pieces of a file that follow each other from its beginning, and how far they reach.
 *
 * @template {{ offset: number, bytes: ArrayBuffer }} Part
 * @param {Part[]} parts in the order of their offsets
 * @param {number} size of the file, bytes
 * @returns {{ parts: Part[], end: number }} without those behind a gap
 */
export function contiguous(parts, size) {
  let end = 0
  const kept = []
  for (const part of parts) {
    if (part.offset !== end || end + part.bytes.byteLength > size) break
    kept.push(part)
    end += part.bytes.byteLength
  }
  return { parts: kept, end }
}
