import { readBasket } from '../core/basket.js'
import { readPairing } from '../core/pairing.js'

/**
 * @typedef {import('../core/basket.js').Basket} Basket
 * @typedef {import('../core/pairing.js').Pairing} Pairing
 */

/** What the page itself keeps on the device, beside what the client does: it is there at once, and in every tab. */
export class Kept {
  #prefix
  #storage = storageOf()

  /** @param {string} channel */
  constructor(channel) {
    this.#prefix = `shelfsight till ${channel} `
  }

  /** @returns {Pairing | null} */
  get pairing() {
    return readPairing(this.#read('pairing'))
  }

  set pairing(pairing) {
    this.#write('pairing', pairing)
  }

  /** @returns {string | null} what the shop is called, as the server said last */
  get shop() {
    const name = this.#read('shop')
    return typeof name === 'string' ? name : null
  }

  set shop(name) {
    this.#write('shop', name)
  }

  /** @returns {Basket | null} */
  get basket() {
    return readBasket(this.#read('basket'))
  }

  set basket(basket) {
    this.#write('basket', basket)
  }

  /** @returns {boolean} whether the camera was running when the page was left */
  get wantsCamera() {
    return this.#read('camera') === true
  }

  set wantsCamera(wants) {
    this.#write('camera', wants || null)
  }

  /** @returns {Record<string, string>} by product id, of what was sold and is not booked yet: the shop may forget it */
  get soldNames() {
    return this.#read('names') ?? {}
  }

  set soldNames(names) {
    this.#write('names', Object.keys(names).length ? names : null)
  }

  /** @returns {string} by which sales of this device are told from those of others: drawn once */
  get deviceName() {
    const known = this.#read('device')
    if (typeof known === 'string') return known
    const name = `till-${crypto.randomUUID().slice(0, 6)}`
    this.#write('device', name)
    return name
  }

  /**
   * @param {(name: string) => void} onChange hears what another tab has changed
   */
  listen(onChange) {
    addEventListener('storage', ({ key }) => {
      if (key === null || key.startsWith(this.#prefix)) onChange(key?.slice(this.#prefix.length) ?? '')
    })
  }

  /** @param {string} name */
  #read(name) {
    try {
      return JSON.parse(this.#storage.getItem(this.#prefix + name) ?? 'null')
    } catch {
      return null
    }
  }

  /**
   * @param {string} name
   * @param {unknown} value null: forget it
   */
  #write(name, value) {
    try {
      if (value === null) this.#storage.removeItem(this.#prefix + name)
      else this.#storage.setItem(this.#prefix + name, JSON.stringify(value))
    } catch {
      this.#storage = memory(this.#storage) // no room, or not allowed: this tab goes on
      this.#storage.setItem(this.#prefix + name, JSON.stringify(value))
    }
  }
}

/** @typedef {Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>} Shelf */

/** @returns {Shelf} */
function storageOf() {
  try {
    return localStorage
  } catch {
    return memory(null)
  }
}

/**
 * @param {Shelf | null} below what was kept before
 * @returns {Shelf}
 */
function memory(below) {
  /** @type {Map<string, string | null>} */
  const values = new Map()
  return {
    getItem: (key) => values.get(key) ?? (values.has(key) ? null : (below?.getItem(key) ?? null)),
    setItem: (key, value) => void values.set(key, value),
    removeItem: (key) => void values.set(key, null),
  }
}
