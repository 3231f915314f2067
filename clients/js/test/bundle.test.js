import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import {
  checkLabels,
  countOutputs,
  fileIn,
  parseManifest,
  parseMetadata,
  parseModel,
  weightPieces,
} from '../core/bundle.js'
import { ModelError } from '../core/errors.js'

const RELEASED = new URL('../../../tests/vectors/released/bundle-1.0/', import.meta.url)

/** @param {string} name */
const released = (name) => readFileSync(new URL(name, RELEASED), 'utf8')
const manifest = () => parseManifest(released('manifest.json'), '1.0.0')

for (const name of ['model.json', 'model.shards.json']) {
  test(`a released bundle's ${name} names weights that are there, with their sizes`, () => {
    const pieces = weightPieces(parseModel(released(name), name), manifest())
    for (const { path, size } of pieces) {
      const place = new URL(path.replace('../../blobs/', 'blobs/'), RELEASED)
      assert.equal(readFileSync(place).length, size, path)
    }
  })

  test(`a released bundle's ${name} has an output for each label`, () => {
    const outputs = countOutputs(parseModel(released(name), name).modelTopology)
    checkLabels(parseMetadata(released('metadata.json')), Number(outputs))
    assert.equal(outputs, 3)
  })
}

test('a retrain shares all shards but the head with the version before', () => {
  const shards = weightPieces(parseModel(released('model.shards.json'), 'model.shards.json'), manifest())
  assert.deepEqual(
    shards.map(({ sha256 }) => sha256),
    manifest().blobs.map(({ sha256 }) => sha256),
  )
})

test('a manifest of another version is refused', () => {
  assert.throws(() => parseManifest(released('manifest.json'), '1.0.1'), /of version 1\.0\.0, not of 1\.0\.1/)
})

for (const [sentence, text] of Object.entries({
  'that is no JSON': '<html>',
  'that is a number': '3',
  'without files': '{"version": "1.0.0"}',
  'with a file without a hash': '{"version": "1.0.0", "files": [{"name": "model.json", "size": 3}]}',
  'with a negative size': `{"version": "1.0.0", "files": [{"name": "a", "size": -1, "sha256": "${'0'.repeat(64)}"}]}`,
  'with something else for a file': '{"version": "1.0.0", "files": [null]}',
})) {
  test(`a manifest ${sentence} is refused`, () => {
    assert.throws(() => parseManifest(text, '1.0.0'), ModelError)
  })
}

test('a file that the manifest does not name is not asked for', () => {
  assert.throws(() => fileIn(manifest(), 'report.json'), /does not name report\.json/)
})

test('weights elsewhere than the manifest says are refused', () => {
  const model = parseModel(released('model.shards.json'), 'model.shards.json')
  for (const path of [`../../blobs/${'0'.repeat(64)}.bin`, 'https://elsewhere.test/weights.bin', '../v1.0.1/weights.bin']) {
    const moved = { ...model, weightsManifest: [{ ...model.weightsManifest[0], paths: [path] }] }
    assert.throws(() => weightPieces(moved, manifest()), ModelError, path)
  }
})

test('weights that are not as long as the topology says are refused', () => {
  const model = parseModel(released('model.json'), 'model.json')
  const [group] = model.weightsManifest
  const more = { name: 'more', shape: [1], dtype: /** @type {const} */ ('float32') }
  const longer = { ...group, weights: [...group.weights, more] }
  assert.throws(() => weightPieces({ ...model, weightsManifest: [longer] }, manifest()), /should have \d+ bytes/)
})

test('a model that is no layers model is refused', () => {
  for (const text of ['{"format": "graph-model"}', '{"weightsManifest": []}', '{"modelTopology": {}}', '[]']) {
    assert.throws(() => parseModel(text, 'model.json'), ModelError, text)
  }
})

test('metadata without labels is refused', () => {
  assert.throws(() => parseMetadata('{"labels": "apple"}'), ModelError)
})

test('more labels than outputs are refused, and fewer too', () => {
  assert.throws(() => checkLabels({ labels: ['apple', 'pear'] }, 3), /3 outputs for 2 labels/)
  assert.throws(() => checkLabels({ labels: ['apple', 'pear'] }, 1), ModelError)
})

test('the outputs of a model made elsewhere are counted through its nesting, or not at all', () => {
  const dense = { class_name: 'Dense', config: { name: 'answer', units: 7 } }
  const softmax = { class_name: 'Activation', config: { name: 'softmax' } }
  const nested = { class_name: 'Sequential', config: { layers: [dense] } }
  assert.equal(countOutputs({ class_name: 'Sequential', config: { layers: [softmax, nested] } }), 7)
  assert.equal(countOutputs({ model_config: { class_name: 'Sequential', config: [dense] } }), 7)
  assert.equal(countOutputs({ model_config: { class_name: 'Sequential', config: { layers: [dense, softmax] } } }), null)
  assert.equal(countOutputs({}), null)
})
