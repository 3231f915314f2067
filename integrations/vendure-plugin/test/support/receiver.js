'use strict';
// Takes Shelfsight's place: checks every signature as Shelfsight does, remembers what was sent, answers as it is told.
const { createHmac, timingSafeEqual } = require('node:crypto');
const { once } = require('node:events');
const http = require('node:http');
const { setTimeout: sleep } = require('node:timers/promises');

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const TOLERANCE_S = 300;
const WAIT_MS = 30_000;

const TRAINING = {
  id: 7,
  channelId: '1',
  status: 'training',
  stage: 'Looking at photos',
  done: 30,
  total: 81,
  version: null,
  error: null,
  requestedBy: 'Super Admin',
  createdAt: '2026-11-20T12:00:00Z',
  endedAt: null,
};

const USUAL = {
  '/ping': () => [200, { server: '1' }],
  '/events': ({ events }) => [202, { accepted: events.length }],
  '/trainings': () => [202, TRAINING],
  '/trainings/status': () => [200, { training: TRAINING, modelVersion: null }],
};

class Receiver {
  /** @type {{ path: string, id: string, body: any }[]} whatever was signed well */
  requests = [];

  /** Events of requests that were answered with success, in the order they came. */
  events = [];
  answers = { ...USUAL };

  static async start() {
    const receiver = new Receiver();
    receiver.server = http.createServer((request, response) => void receiver.#answer(request, response));
    receiver.server.listen(0, '127.0.0.1');
    await once(receiver.server, 'listening');
    return receiver;
  }

  get url() {
    return `http://127.0.0.1:${this.server.address().port}/api/v1/vendure/1`;
  }

  async stop() {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }

  /** Forgets what was sent, and answers as usual again. */
  reset() {
    this.requests = [];
    this.events = [];
    this.answers = { ...USUAL };
  }

  async #answer(request, response) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    const path = request.url.replace('/api/v1/vendure/1', '');
    const [status, content] = signedWell(request.headers, text)
      ? this.#taken(path, request, JSON.parse(text))
      : [401, { detail: 'signature' }];
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(content));
  }

  #taken(path, request, body) {
    this.requests.push({ path, id: request.headers['webhook-id'], body });
    const [status, content] = this.answers[path]?.(body) ?? [404, { detail: 'no such path' }];
    if (path === '/events' && status < 300) this.events.push(...body.events);
    return [status, content];
  }

  /** @returns {Promise<any>} what `find` finds in what was sent, as soon as it does */
  async until(find, what) {
    for (const giveUpAt = Date.now() + WAIT_MS; Date.now() < giveUpAt; await sleep(20)) {
      const found = await find(this);
      if (found) return found;
    }
    throw new Error(`${what} did not come; ${JSON.stringify(this.requests)}`);
  }

  /** @returns {Promise<any>} the first event about that product, of those after the first so many */
  event(kind, action, productId, since = 0) {
    const is = (one) => one.kind === kind && one.action === action && one.productIds.includes(productId);
    return this.until(() => this.events.slice(since).find(is), `${kind} ${action} of ${productId}`);
  }
}

function signedWell(headers, text) {
  const timestamp = Number(headers['webhook-timestamp']);
  const key = Buffer.from(SECRET.slice('whsec_'.length), 'base64');
  const wanted = createHmac('sha256', key).update(`${headers['webhook-id']}.${timestamp}.${text}`).digest();
  const [version, signature = ''] = String(headers['webhook-signature']).split(',');
  const given = Buffer.from(signature, 'base64');
  const fresh = Math.abs(Date.now() / 1000 - timestamp) < TOLERANCE_S;
  return version === 'v1' && fresh && given.length === wanted.length && timingSafeEqual(given, wanted);
}

module.exports = { Receiver, SECRET, TRAINING };
