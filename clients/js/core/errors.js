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

/**
 * A config that must not be gone by; the one before stays. `reason` says why:
 * too_large, malformed, unsigned, unknown_key, bad_signature, other_channel, expired or replayed.
 */
export class ConfigRefusedError extends Error {
  name = 'ConfigRefusedError'

  /**
   * @param {string} reason
   * @param {string} message
   */
  constructor(reason, message) {
    super(message)
    this.reason = reason
  }
}

/** The server does not answer: recognition goes on with what is cached, and so do sales. */
export class OfflineError extends DownloadError {
  name = 'OfflineError'
}

/** The server answers, but not now. `retryAfterMs` says how long it wants to be left alone; 0: it does not say. */
export class BusyError extends DownloadError {
  name = 'BusyError'

  /**
   * @param {string} message
   * @param {number} [retryAfterMs]
   */
  constructor(message, retryAfterMs = 0) {
    super(message)
    this.retryAfterMs = retryAfterMs
  }
}

/** A file arrived whole, and is not the one that was published: it was changed or damaged on its way. */
export class ChecksumError extends DownloadError {
  name = 'ChecksumError'
}

/** The server does not take the token: log in again. */
export class LoginError extends Error {
  name = 'LoginError'
}

/** The channel's versions are for a newer app: reload the page. */
export class OldAppError extends Error {
  name = 'OldAppError'
}

/** The device has no room for it. */
export class NoRoomError extends Error {
  name = 'NoRoomError'
}

/** As many sales as a device may keep are waiting already: connect it, so that they are sent. */
export class QueueFullError extends Error {
  name = 'QueueFullError'
}

/** The browser or the page lacks what the client needs; the message says what. */
export class UnsupportedError extends Error {
  name = 'UnsupportedError'
}
