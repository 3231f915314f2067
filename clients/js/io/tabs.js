/** What the tabs of a browser have in common: one does a thing at a time, and tells the others. */

/** @type {Map<string, Promise<unknown>>} */
const here = new Map()

/**
 * Do something while no other tab does it; wait until it is our turn.
 *
 * @template T
 * @param {string} name of the thing
 * @param {() => Promise<T>} work
 * @param {AbortSignal} [signal] ends the waiting
 * @returns {Promise<T>}
 */
export async function exclusively(name, work, signal) {
  const { locks } = globalThis.navigator ?? {}
  if (locks) return locks.request(name, { signal }, work)
  // Without locks there are no tabs, either: a worker of tests, or a browser from before 2022.
  const before = here.get(name)
  const turn = (async () => {
    await before?.catch(() => {})
    signal?.throwIfAborted()
    return work()
  })()
  here.set(name, turn)
  return turn.finally(() => here.get(name) === turn && here.delete(name))
}

/** Tells the other tabs of the same channel. */
export class Tabs {
  #channel

  /**
   * @param {string} name
   * @param {(message: any) => void} onMessage what another tab tells
   */
  constructor(name, onMessage) {
    this.#channel = new BroadcastChannel(name)
    this.#channel.onmessage = ({ data }) => onMessage(data)
  }

  /** @param {unknown} message */
  tell(message) {
    this.#channel.postMessage(message)
  }

  close() {
    this.#channel.close()
  }
}
