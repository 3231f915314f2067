/** What the tests of the client do in a browser: they call these by name. */
import { createSearch, loadRecogniser, openClient } from '@shelfsight/client'
import { memory } from '@tensorflow/tfjs-core'

const shelf = {
  /** @type {any} */ client: null,
  /** @type {any} */ recogniser: null,
  /** @type {any[]} every state there was */ states: [],
  salesChanges: 0,
  memory,
  createSearch,
  loadRecogniser,

  /** @param {any} options */
  async open(options) {
    const onState = (/** @type {any} */ state) => shelf.states.push(state)
    const onSales = () => (shelf.salesChanges += 1)
    shelf.client = await openClient({ serverUrl: location.origin, onState, onSales, ...options })
  },

  async load() {
    shelf.recogniser = await shelf.client.load()
    return { version: shelf.recogniser.version, backend: shelf.recogniser.backend }
  },

  /** @param {string} colour of the whole picture */
  picture(colour) {
    const canvas = document.createElement('canvas')
    canvas.width = canvas.height = 64
    const context = canvas.getContext('2d')
    if (!context) throw new Error('no canvas')
    context.fillStyle = colour
    context.fillRect(0, 0, 64, 64)
    return canvas
  },

  /**
   * @param {string} colour
   * @param {any} [options]
   */
  recognise: (colour, options) => shelf.recogniser.recognise(shelf.picture(colour), options),

  /** @param {string} url */
  async recognisePhoto(url) {
    const image = new Image()
    image.src = url
    await image.decode()
    return shelf.recogniser.recognise(image)
  },

  /** @returns {Promise<Record<string, any>>} the keys of every table, by database */
  async stored() {
    const databases = await ours()
    const all = await Promise.all(databases.map(keysOf))
    return Object.fromEntries(databases.map(({ name }, place) => [name, all[place]]))
  },

  /** @param {string} key */
  state: (key) => inState('readonly', (state) => state.get(key)),

  /**
   * @param {string} key
   * @param {any} value
   */
  putState: (key, value) => inState('readwrite', (state) => state.put(value, key)),

  /** @param {string} table */
  async remove(table) {
    const [database] = await ours()
    await answerOf(database.transaction(table, 'readwrite').objectStore(table).clear())
    database.close()
  },
}

/**
 * @param {IDBTransactionMode} mode
 * @param {(state: IDBObjectStore) => IDBRequest} ask
 */
async function inState(mode, ask) {
  const [database] = await ours()
  const answer = await answerOf(ask(database.transaction('state', mode).objectStore('state')))
  database.close()
  return answer
}

/** @returns {Promise<IDBDatabase[]>} of clients */
async function ours() {
  const names = (await indexedDB.databases()).map(({ name }) => name ?? '')
  return Promise.all(names.filter((name) => name.startsWith('shelfsight ')).map((name) => answerOf(indexedDB.open(name))))
}

/** @param {IDBDatabase} database */
async function keysOf(database) {
  const tables = [...database.objectStoreNames]
  const transaction = database.transaction(tables)
  const found = await Promise.all(tables.map((table) => answerOf(transaction.objectStore(table).getAllKeys())))
  database.close()
  return Object.fromEntries(tables.map((table, place) => [table, found[place]]))
}

/**
 * @param {IDBRequest} request
 * @returns {Promise<any>}
 */
function answerOf(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}

Object.assign(globalThis, { shelf })
