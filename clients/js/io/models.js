import { contiguous } from '../core/parts.js'
import { NOTHING_USED, removable, switchFrom, switchTo } from '../core/retention.js'
import { write } from './database.js'

/**
 * @typedef {import('./database.js').Database} Database
 * @typedef {import('./database.js').Model} Model
 * @typedef {import('./database.js').Part} Part
 * @typedef {import('./database.js').Transaction} Transaction
 * @typedef {import('../core/retention.js').Use} Use
 */

/** The models of a channel on this device: each weight file once, by its hash, whichever models use it. */
export class ModelCache {
  #database

  /** @param {Database} database */
  constructor(database) {
    this.#database = database
  }

  /** @returns {Promise<Use>} */
  async use() {
    return (await this.#database.get('state', 'use')) ?? NOTHING_USED
  }

  /**
   * @param {string | null} id
   * @returns {Promise<Model | null>}
   */
  async model(id) {
    return (id !== null && (await this.#database.get('models', id))) || null
  }

  /**
   * Return those pieces that are not here.
   *
   * @template {{ sha256: string }} Piece
   * @param {Piece[]} pieces
   * @returns {Promise<Piece[]>} each once
   */
  async missing(pieces) {
    const here = new Set(await this.#database.getAllKeys('shards'))
    const unique = new Map(pieces.map((piece) => [piece.sha256, piece]))
    return [...unique.values()].filter(({ sha256 }) => !here.has(sha256))
  }

  /**
   * Return what has arrived of a shard that is not whole yet.
   *
   * @param {{ sha256: string, size: number }} piece
   * @returns {Promise<{ parts: Part[], end: number }>} in order; `end` is how many bytes they have together
   */
  async parts({ sha256, size }) {
    const found = await this.#database.getAll('parts', partsOf(sha256))
    return contiguous(found, size)
  }

  /**
   * @param {Part} part
   * @throws {import('../core/errors.js').NoRoomError}
   */
  async addPart(part) {
    await write(this.#database, ['parts'], (transaction) => transaction.objectStore('parts').put(part))
  }

  /** @param {string} sha256 of the shard whose parts are no good */
  async dropParts(sha256) {
    await this.#database.delete('parts', partsOf(sha256))
  }

  /**
   * Keep a shard that is whole and checked, in place of its parts.
   *
   * @param {string} sha256
   * @param {ArrayBuffer} bytes
   * @throws {import('../core/errors.js').NoRoomError}
   */
  async addShard(sha256, bytes) {
    await write(this.#database, ['shards', 'parts'], async (transaction) => {
      await transaction.objectStore('shards').put(bytes, sha256)
      await transaction.objectStore('parts').delete(partsOf(sha256))
    })
  }

  /**
   * Keep what a model is, so that it can be tried; it is not used before `activate`.
   *
   * @param {Model} model
   */
  async addModel(model) {
    await write(this.#database, ['models'], (transaction) => transaction.objectStore('models').put(model))
  }

  /**
   * Use a model from now on, if every shard of it is here and no newer config has been gone by.
   *
   * @param {{ sequence: number, active: string, shadow: string | null }} wanted
   * @returns {Promise<Use | null>} what is used now; null: nothing has changed
   */
  activate(wanted) {
    return write(this.#database, ['state', 'models', 'shards'], async (transaction) => {
      const state = transaction.objectStore('state')
      const after = switchTo((await state.get('use')) ?? NOTHING_USED, wanted)
      if (after === null || !(await isWhole(transaction, after.active))) return null
      if (after.shadow !== null && !(await isWhole(transaction, after.shadow))) after.shadow = null
      await state.put(after, 'use')
      return after
    })
  }

  /**
   * Remember that a model does not work, and answer with the one before if it was used.
   *
   * @param {{ id: string, version: string, reason: string }} refused
   * @returns {Promise<Use>} what is used now
   */
  refuse(refused) {
    return write(this.#database, ['state', 'refused'], async (transaction) => {
      const state = transaction.objectStore('state')
      const after = switchFrom((await state.get('use')) ?? NOTHING_USED, refused.id)
      await transaction.objectStore('refused').put(refused)
      await state.put(after, 'use')
      return after
    })
  }

  /** @param {string} id */
  async refusal(id) {
    return (await this.#database.get('refused', id)) ?? null
  }

  /**
   * Remove what nobody uses.
   *
   * @param {object} [options]
   * @param {boolean} [options.hard] there is no room: the previous model and the shadow go, too
   * @param {readonly string[]} [options.wanted] shards of the model that is being downloaded
   */
  async sweep({ hard = false, wanted = [] } = {}) {
    await write(this.#database, ['state', 'models', 'shards', 'parts'], async (transaction) => {
      const state = transaction.objectStore('state')
      const use = /** @type {Use} */ ((await state.get('use')) ?? NOTHING_USED)
      const kept = hard ? [use.active] : [use.active, use.previous, use.shadow]
      const models = await transaction.objectStore('models').getAll()
      const shards = await transaction.objectStore('shards').getAllKeys()
      const goes = removable({ models, shards }, kept, wanted)
      await Promise.all(goes.models.map((id) => transaction.objectStore('models').delete(id)))
      await Promise.all(goes.shards.map((sha256) => transaction.objectStore('shards').delete(sha256)))
      const parts = await transaction.objectStore('parts').getAllKeys()
      const stray = parts.filter(([sha256]) => !wanted.includes(sha256))
      await Promise.all(stray.map((key) => transaction.objectStore('parts').delete(key)))
      if (hard) await state.put({ ...use, previous: null, shadow: null }, 'use')
    })
  }

  /**
   * Return a model's weights, joined in memory.
   *
   * @param {Model} model
   * @returns {Promise<ArrayBuffer[] | null>} null if one is gone
   */
  async weights({ shards }) {
    const found = await Promise.all(shards.map(({ sha256 }) => this.#database.get('shards', sha256)))
    const here = found.filter((bytes) => bytes !== undefined)
    return here.length === found.length ? here : null
  }

  /** @returns {Promise<number>} bytes of the weights of all models here, and of what has arrived of others */
  async sizeBytes() {
    const [models, parts] = await Promise.all([this.#database.getAll('models'), this.#database.getAll('parts')])
    const shards = new Map(models.flatMap((model) => model.shards).map(({ sha256, size }) => [sha256, size]))
    return [...shards.values(), ...parts.map(({ bytes }) => bytes.byteLength)].reduce((total, size) => total + size, 0)
  }
}

/**
 * @param {Transaction} transaction
 * @param {string | null} id
 */
async function isWhole(transaction, id) {
  const model = id !== null && (await transaction.objectStore('models').get(id))
  if (!model) return false
  const shards = transaction.objectStore('shards')
  const counts = await Promise.all(model.shards.map(({ sha256 }) => shards.count(sha256)))
  return counts.every((count) => count === 1)
}

/** @param {string} sha256 */
function partsOf(sha256) {
  return IDBKeyRange.bound([sha256, 0], [sha256, Number.MAX_SAFE_INTEGER])
}
