'use strict';
// Requests to Shelfsight: JSON by POST, signed after Standard Webhooks 1.0.0.
const { createHmac, randomUUID } = require('node:crypto');

/** Shelfsight did not do what it was asked; the message says what to do. `status` is what it answered, null = nothing. */
class ShelfsightError extends Error {
  name = 'ShelfsightError';

  /**
   * @param {string} message
   * @param {number | null} status
   */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/**
 * @param {Buffer} key
 * @param {string} id of the message: the same at every attempt
 * @param {number} timestamp in seconds, of this attempt
 * @param {string} body
 */
function headersOf(key, id, timestamp, body) {
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64');
  return {
    'content-type': 'application/json',
    'user-agent': 'shelfsight-vendure-plugin',
    'webhook-id': id,
    'webhook-timestamp': String(timestamp),
    'webhook-signature': `v1,${signature}`,
  };
}

class Shelfsight {
  /** @param {{ url: string, key: Buffer }} options */
  constructor({ url, key }) {
    this.url = url;
    this.key = key;
  }

  /**
   * @param {string} path such as /events
   * @param {object} content
   * @param {{ timeoutMs: number, id?: string, signal?: AbortSignal }} how
   * @returns {Promise<any>} what it answers
   * @throws {ShelfsightError} it cannot be reached in that time, or refuses
   */
  async post(path, content, { timeoutMs, id = `msg_${randomUUID()}`, signal }) {
    const body = JSON.stringify(content);
    const signals = [AbortSignal.timeout(timeoutMs), ...(signal ? [signal] : [])];
    let response;
    let text;
    try {
      response = await fetch(this.url + path, {
        method: 'POST',
        body,
        headers: headersOf(this.key, id, Math.floor(Date.now() / 1000), body),
        redirect: 'manual',
        signal: AbortSignal.any(signals),
      });
      text = await response.text();
    } catch (error) {
      throw new ShelfsightError(this.#unreachable(/** @type {Error} */ (error), timeoutMs), null);
    }
    if (!response.ok) throw new ShelfsightError(this.#refusal(response.status, text), response.status);
    const answer = parsed(text);
    if (answer === null)
      throw new ShelfsightError(
        `Nothing like Shelfsight answers at ${this.url}: check the plugin's \`url\`.`,
        response.status,
      );
    return answer;
  }

  /**
   * @param {Error} error
   * @param {number} timeoutMs
   */
  #unreachable(error, timeoutMs) {
    const cause = /** @type {{ code?: string, message?: string } | undefined} */ (error.cause);
    const reason =
      error.name === 'TimeoutError' ? `no answer within ${timeoutMs / 1000} s` : cause?.code || error.message;
    return `Shelfsight cannot be reached at ${this.url} (${reason}): check that it runs and that this server may connect to it.`;
  }

  /**
   * @param {number} status
   * @param {string} text
   */
  #refusal(status, text) {
    if (status === 401) {
      return "Shelfsight does not accept the signature: check the plugin's `url` and `secret`, and the clocks of both servers.";
    }
    if (status >= 300 && status < 400) {
      return `Shelfsight answers ${status} at ${this.url}: use the address it sends on to as the plugin's \`url\`.`;
    }
    const detail = parsed(text)?.detail;
    return `Shelfsight answers ${status}: ${typeof detail === 'string' ? detail : "check the plugin's `url`, " + this.url}`;
  }
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

module.exports = { Shelfsight, ShelfsightError, headersOf };
