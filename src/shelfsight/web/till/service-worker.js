/** Keeps the page's own files, so that it opens without a network. What the server's API says is none of its business. */
import { keptPath, outdated } from './core/offline.js'

/**
 * @typedef {object} Worker what of a service worker is used here
 * @property {{ scope: string }} registration
 * @property {{ claim: () => Promise<void> }} clients
 * @property {() => Promise<void>} skipWaiting
 * @property {(kind: string, listener: (event: any) => void) => void} addEventListener
 *
 * @typedef {{ path: string, sha256: string }} File
 */

const worker = /** @type {Worker} */ (/** @type {unknown} */ (self))
const { TILL_BUILD, TILL_FILES } = /** @type {{ TILL_BUILD: string, TILL_FILES: File[] }} */ (/** @type {any} */ (globalThis).SHELFSIGHT_TILL)

const { scope } = worker.registration
const PREFIX = `shelfsight till ${new URL(scope).pathname} `
const OURS = PREFIX + TILL_BUILD

worker.addEventListener('install', (event) => event.waitUntil(keepAll()))
worker.addEventListener('activate', (event) => event.waitUntil(takeOver()))
worker.addEventListener('message', ({ data }) => data === 'take over' && worker.skipWaiting())
worker.addEventListener('fetch', (event) => {
  const path = keptPath(event.request, scope)
  if (path !== null) event.respondWith(answer(path, event.request))
})

/** All of it, or nothing: a page with parts of two builds is none. */
async function keepAll() {
  const cache = await caches.open(OURS)
  await Promise.all([keepPage(cache), ...TILL_FILES.map((file) => keepFile(cache, file))])
}

async function takeOver() {
  for (const name of outdated(await caches.keys(), OURS, PREFIX)) await caches.delete(name)
  await worker.clients.claim()
}

/** @param {Cache} cache */
async function keepPage(cache) {
  const response = await fetch(scope, { cache: 'no-cache' })
  const text = await response.clone().text()
  if (!response.ok || !text.includes(`data-build="${TILL_BUILD}"`)) throw new Error('the server has another page by now')
  await cache.put(new URL(scope).pathname, response)
}

/**
 * @param {Cache} cache
 * @param {File} file
 */
async function keepFile(cache, { path, sha256 }) {
  const before = await caches.match(path)
  if (before && (await digestOf(before)) === sha256) return cache.put(path, before)
  for (const from of /** @type {const} */ (['default', 'reload'])) {
    const response = await fetch(path, { cache: from })
    if (response.ok && (await digestOf(response)) === sha256) return cache.put(path, response)
  }
  throw new Error(`${path} is another file by now`)
}

/**
 * @param {string} path
 * @param {Request} request
 */
async function answer(path, request) {
  const ours = await caches.open(OURS)
  return (await ours.match(path)) ?? (await caches.match(path)) ?? fetch(request)
}

/** @param {Response} response */
async function digestOf(response) {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', await response.clone().arrayBuffer()))
  return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}
