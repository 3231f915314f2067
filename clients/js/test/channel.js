/** A channel with versions, and a server of it as devices see it, signed with a key of its own. */
import { canonical } from '../core/canonical.js'
import { sha256 } from '../core/digest.js'
import { bytesOf } from './world.js'

const utf8 = new TextEncoder()

/**
 * @typedef {import('./world.js').Asked} Asked
 * @typedef {import('./world.js').Reply} Reply
 */

export class Channel {
  /** @type {Map<string, Uint8Array>} by path */
  files = new Map()
  /** @type {Record<string, any>} by version, as the config has them */
  entries = {}
  sequence = 0
  expiresAt = '2999-01-01T00:00:00.000Z'
  /** @type {Record<string, any> | null} null: the channel has no model */
  said = null
  /** @type {((asked: Asked, log: Asked[]) => Reply | null) | null} */
  trouble = null

  /** @param {string} id */
  static async make(id = 'T_1') {
    const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign'])
    const spki = await crypto.subtle.exportKey('spki', pair.publicKey)
    return new Channel(id, pair.privateKey, await sha256(spki), Buffer.from(spki).toString('base64'))
  }

  /**
   * @param {string} id
   * @param {CryptoKey} privateKey
   * @param {string} keyId
   * @param {string} publicKey
   */
  constructor(id, privateKey, keyId, publicKey) {
    this.id = id
    this.privateKey = privateKey
    this.keyId = keyId
    this.publicKey = publicKey
    this.keys = [{ keyId, publicKey }] // that devices are to trust from now on
  }

  /**
   * Sign with the key of another channel from now on.
   *
   * @param {Channel} other
   */
  signAs({ keyId, privateKey, publicKey }) {
    Object.assign(this, { keyId, privateKey, publicKey, keys: [{ keyId, publicKey }] })
  }

  /**
   * Put a version where devices get it.
   *
   * @param {string} version such as v1.0.0
   * @param {{ labels?: string[], units?: number, backbone?: number, head?: number, backboneBytes?: number }} [options]
   *   `backbone` and `head` are seeds: the same seed is the same shard
   */
  async publish(version, options = {}) {
    const { labels = ['apple', 'pear'], backbone = 1, head = 2, backboneBytes = 40_000 } = options
    const { units = labels.length } = options
    const shards = [bytesOf(backboneBytes, backbone), bytesOf(4 * units, head)]
    const folder = `/assets/ml-models/${this.id}/${version}/`
    const blobs = []
    for (const [place, bytes] of shards.entries()) {
      const hash = await sha256(bytes)
      blobs.push({ part: ['backbone', 'head'][place], size: bytes.length, sha256: hash })
      this.files.set(`/assets/ml-models/blobs/${hash}.bin`, bytes)
    }
    const documents = {
      'metadata.json': { version: version.slice(1), labels, imageSize: 32, threshold: 0.5 },
      'model.shards.json': modelOf(blobs, units, backboneBytes),
    }
    const files = []
    for (const [name, document] of Object.entries(documents)) {
      const bytes = utf8.encode(JSON.stringify(document))
      files.push({ name, size: bytes.length, mediaType: 'application/json', sha256: await sha256(bytes) })
      this.files.set(folder + name, bytes)
    }
    const manifest = utf8.encode(JSON.stringify({ version: version.slice(1), channelId: this.id, files, blobs }))
    this.files.set(`${folder}manifest.json`, manifest)
    const entry = { size: manifest.length, sha256: await sha256(manifest) }
    this.entries[version] = { baseUrl: folder, manifest: entry, model: 'model.shards.json' }
  }

  /**
   * Tell devices what to run.
   *
   * @param {string} activeModelVersion
   * @param {Record<string, any>} [more]
   */
  release(activeModelVersion, more = {}) {
    this.sequence += 1
    this.said = { activeModelVersion, ...more }
  }

  /** @returns {Promise<{ text: string, etag: string }>} the config, signed */
  async config() {
    const said = this.said ?? {}
    const named = [said.activeModelVersion, said.candidate?.version, said.shadowModelVersion].filter(Boolean)
    const files = Object.fromEntries(named.map((version) => [version, this.entries[version]]))
    const { id: channelId, sequence, expiresAt, keyId, keys } = this
    const etag = `"${sequence}-${expiresAt.slice(0, 4)}"`
    const unsigned = { channelId, sequence, expiresAt, etag, ...said, files, keys }
    const message = utf8.encode(`shelfsight-config-v1\n${canonical(unsigned)}`)
    const value = await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, this.privateKey, message)
    const signature = { algorithm: 'ES256', keyId, value: Buffer.from(value).toString('base64url') }
    return { text: canonical({ ...unsigned, signature }), etag }
  }

  /**
   * @param {Asked} asked
   * @param {Asked[]} log
   * @returns {Promise<Reply>}
   */
  async answer(asked, log) {
    const trouble = this.trouble?.(asked, log)
    if (trouble) return trouble
    const { path, headers } = asked
    if (path === `/v1/channels/${this.id}/model-config`) {
      if (!this.said) return { status: 404, body: { error: 'No active model found' } }
      const { text, etag } = await this.config()
      return headers['if-none-match'] === etag ? { status: 304 } : { body: text, headers: { etag } }
    }
    const bytes = this.files.get(path)
    if (!bytes) return { status: 404, body: {} }
    const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0)
    if (from === 0) return { body: bytes }
    const range = `bytes ${from}-${bytes.length - 1}/${bytes.length}`
    return { status: 206, body: bytes.subarray(from), headers: { 'content-range': range } }
  }
}

/**
 * @param {{ sha256: string }[]} blobs
 * @param {number} units
 * @param {number} backboneBytes
 */
function modelOf(blobs, units, backboneBytes) {
  const dense = { class_name: 'Dense', config: { name: 'answer', units } }
  const group = (/** @type {number} */ place, /** @type {number} */ bytes) => ({
    paths: [`../../blobs/${blobs[place].sha256}.bin`],
    weights: [{ name: `w${place}`, shape: [bytes], dtype: 'float32', quantization: { dtype: 'uint8' } }],
  })
  return {
    format: 'layers-model',
    modelTopology: { model_config: { class_name: 'Sequential', config: { layers: [dense] } } },
    weightsManifest: [group(0, backboneBytes), group(1, 4 * units)],
  }
}
