import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DownloadError, ModelError, NoModelError } from '../core/errors.js'
import { fetchMetadata, fetchModel } from '../io/download.js'

const BASE = new URL('http://till.test/assets/ml-models/corner-shop/latest/')
const MODEL = {
  modelTopology: { class_name: 'Sequential' },
  weightsManifest: [
    { paths: ['../../blobs/aa.bin', '../../blobs/bb.bin'], weights: [{ name: 'k', shape: [4], dtype: 'float32' }] },
    { paths: ['head.bin'], weights: [{ name: 'h', shape: [3], dtype: 'float32', quantization: { dtype: 'uint8' } }] },
  ],
}

/**
 * @param {import('node:test').TestContext} t
 * @param {Record<string, string | object | Uint8Array>} files by path; what is not here is a 404
 */
function serve(t, files) {
  t.mock.method(globalThis, 'fetch', async (/** @type {URL} */ { pathname }) => {
    if (!(pathname in files)) return new Response('{"error": "No active model found"}', { status: 404 })
    const file = files[pathname]
    return new Response(file instanceof Uint8Array || typeof file === 'string' ? file : JSON.stringify(file))
  })
}

test('weights come in the order of the manifest, with progress up to the whole', async (t) => {
  serve(t, {
    '/assets/ml-models/corner-shop/latest/model.json': MODEL,
    '/assets/ml-models/blobs/aa.bin': new Uint8Array(12),
    '/assets/ml-models/blobs/bb.bin': new Uint8Array(4),
    '/assets/ml-models/corner-shop/latest/head.bin': new Uint8Array(3),
  })
  const steps = []
  const { data, specs, topology } = await fetchModel(BASE, (progress) => steps.push(progress))
  assert.deepEqual(data.map(({ byteLength }) => byteLength), [12, 4, 3])
  assert.deepEqual(specs.map(({ name }) => name), ['k', 'h'])
  assert.deepEqual(topology, MODEL.modelTopology)
  assert.deepEqual(steps.at(-1), { receivedBytes: 19, totalBytes: 19 })
})

test('weights that are too short are a failed download', async (t) => {
  serve(t, {
    '/assets/ml-models/corner-shop/latest/model.json': MODEL,
    '/assets/ml-models/blobs/aa.bin': new Uint8Array(12),
    '/assets/ml-models/blobs/bb.bin': new Uint8Array(4),
    '/assets/ml-models/corner-shop/latest/head.bin': new Uint8Array(2),
  })
  await assert.rejects(fetchModel(BASE, () => {}), DownloadError)
})

test('a channel without files has no model', async (t) => {
  serve(t, {})
  await assert.rejects(fetchMetadata(BASE), NoModelError)
})

test('an unreachable server is a failed download', async (t) => {
  t.mock.method(globalThis, 'fetch', async () => {
    throw new TypeError('Failed to fetch')
  })
  await assert.rejects(fetchMetadata(BASE), DownloadError)
})

test('an error page in place of metadata is a failed download', async (t) => {
  serve(t, { '/assets/ml-models/corner-shop/latest/metadata.json': '<html>' })
  await assert.rejects(fetchMetadata(BASE), DownloadError)
})

test('metadata without labels makes no recogniser', async (t) => {
  serve(t, { '/assets/ml-models/corner-shop/latest/metadata.json': { version: '1.0.0' } })
  await assert.rejects(fetchMetadata(BASE), ModelError)
})

test('a model without weights makes no recogniser', async (t) => {
  serve(t, { '/assets/ml-models/corner-shop/latest/model.json': { format: 'graph-model' } })
  await assert.rejects(fetchModel(BASE, () => {}), ModelError)
})
