/** Everything that goes wrong on purpose: the message says what, the class says what a page can do about it. */

/** The channel has no published model yet: add products with images, then train. */
export class NoModelError extends Error {
  name = 'NoModelError'
}

/** A file did not arrive whole: the connection or the server, so trying again may help. */
export class DownloadError extends Error {
  name = 'DownloadError'
}

/** The files arrived but do not make a recogniser: trying again does not help, training again does. */
export class ModelError extends Error {
  name = 'ModelError'
}
