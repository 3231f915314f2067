/** The page's own files, kept by a service worker: they open without a network, and change when somebody wants it. */

const LOOK_EVERY_MS = 60 * 60 * 1_000

/**
 * Keep the page on the device, and say when a newer one is ready.
 *
 * @param {string} channel
 * @param {(take: () => void) => void} onReady hears of a newer page; `take` loads it
 * @returns {Promise<void>}
 */
export async function keepPage(channel, onReady) {
  const { serviceWorker } = navigator
  if (!serviceWorker) return
  const scope = `/till/${channel}`
  const options = /** @type {RegistrationOptions} */ ({ scope, updateViaCache: 'none' })
  const registration = await serviceWorker.register(`${scope}/service-worker.js`, options).catch(() => null)
  if (!registration) return // private mode, or no room: the page works while there is a network
  const tell = () => registration.waiting && serviceWorker.controller && onReady(() => take(registration))
  registration.addEventListener('updatefound', () => {
    const { installing } = registration
    installing?.addEventListener('statechange', () => installing.state === 'installed' && tell())
  })
  tell()
  setInterval(() => registration.update().catch(() => {}), LOOK_EVERY_MS)
}

/** @param {ServiceWorkerRegistration} registration */
function take({ waiting }) {
  navigator.serviceWorker.addEventListener('controllerchange', () => location.reload(), { once: true })
  waiting?.postMessage('take over')
}

/** @returns {Promise<string>} how far the page is kept on the device, in words */
export async function keptWords() {
  const registration = await navigator.serviceWorker?.getRegistration().catch(() => undefined)
  if (!registration) return 'not kept on this device'
  if (registration.waiting) return 'kept on this device, an update is ready'
  return registration.active ? 'kept on this device' : 'being kept on this device'
}
