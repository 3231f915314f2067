// Write layers models of every kind that uploads may have, and what TensorFlow.js answers to a picture when it has
// read them again: `node layers_models.js FOLDER` makes FOLDER/{model}/ with model.json, weights.bin and answer.json.
import { mkdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const tf = createRequire(import.meta.url)('@tensorflow/tfjs')
const L = tf.layers
const [folder] = process.argv.slice(2)

let seed = 1
const random = (shape, low, high) => tf.randomUniform(shape, low, high, 'float32', seed++)

/** Give every weight a value that matters: fresh biases and moving means are zeros. */
function fill(model) {
  for (const layer of model.layers) {
    if (layer.layers || layer.model) {
      fill(layer)
      continue
    }
    const wanted = layer.weights.map(({ originalName, shape }) => {
      const reach = 1.5 / Math.sqrt(shape.slice(0, -1).reduce((product, side) => product * side, 1))
      return /gamma|variance/.test(originalName) ? random(shape, 0.5, 1.5) : random(shape, -reach, reach)
    })
    if (wanted.length) layer.setWeights(wanted)
  }
  return model
}

/** The picture that the tests make too. */
function picture(size) {
  const values = Float32Array.from({ length: size * size * 3 }, (_, index) => ((index * 7919) % 256) / 127 - 1)
  return tf.tensor(values, [1, size, size, 3])
}

const image = (size) => ({ inputShape: [size, size, 3] })
const head = (units = 4) => [L.globalAveragePooling2d({}), L.dense({ units, activation: 'softmax' })]
const sequential = (...layers) => tf.sequential({ layers: layers.flat() })

/** A model around one layer, on pictures of even and of odd size. */
function around(name, make) {
  return Object.fromEntries([12, 13].map((size) => [`${name}_${size}`, () => sequential(make(image(size)), head())]))
}

/** Blocks as MobileNetV2 has them: expand, depthwise with and without stride, project, add. */
function mobilenet(size) {
  const input = tf.input({ shape: [size, size, 3] })
  let x = L.zeroPadding2d({ padding: [[0, 1], [0, 1]], name: 'Conv1_pad' }).apply(input)
  x = L.conv2d({ filters: 8, kernelSize: 3, strides: 2, useBias: false, name: 'Conv1' }).apply(x)
  x = L.batchNormalization({ axis: 3, name: 'bn_Conv1' }).apply(x)
  let known = L.reLU({ maxValue: 6, name: 'Conv1_relu' }).apply(x)
  for (const [block, strides] of [1, 2, 1].entries()) {
    const name = (part) => `block_${block}_${part}`
    x = L.conv2d({ filters: 16, kernelSize: 1, padding: 'same', useBias: false, name: name('expand') }).apply(known)
    x = L.batchNormalization({ name: name('expand_BN') }).apply(x)
    x = L.reLU({ maxValue: 6, name: name('expand_relu') }).apply(x)
    const depthwise = { kernelSize: 3, strides, padding: 'same', useBias: false, name: name('depthwise') }
    x = L.depthwiseConv2d(depthwise).apply(x)
    x = L.batchNormalization({ name: name('depthwise_BN'), epsilon: 0.01 }).apply(x)
    x = L.conv2d({ filters: 8, kernelSize: 1, padding: 'same', useBias: false, name: name('project') }).apply(x)
    known = strides === 1 ? L.add({ name: name('add') }).apply([known, x]) : x
  }
  return tf.model({ inputs: input, outputs: L.reLU({ maxValue: 6, name: 'out_relu' }).apply(known) })
}

/** A model as Teachable Machine exports it: two Sequentials in one, the first around a functional model. */
function teachable() {
  const truncated = mobilenet(33)
  const seen = sequential(truncated, L.globalAveragePooling2d({}))
  const trained = sequential(
    L.dense({ inputShape: [8], units: 10, activation: 'relu', name: 'dense_Dense1' }),
    L.dense({ units: 3, activation: 'softmax', useBias: false, name: 'dense_Dense2' }),
  )
  return sequential(seen, trained)
}

/** Branches that are squeezed, weighed and joined: what a Sequential cannot say. */
function branches() {
  const input = tf.input({ shape: [15, 15, 3] })
  const x = L.conv2d({ filters: 6, kernelSize: 3, activation: 'relu6' }).apply(input)
  const weighed = L.reshape({ targetShape: [1, 1, 6] }).apply(
    L.dense({ units: 6, activation: 'sigmoid' }).apply(L.globalMaxPooling2d({}).apply(x)),
  )
  const wide = L.multiply().apply([x, weighed])
  const joined = L.concatenate({ axis: -1 }).apply([x, wide, L.activation({ activation: 'tanh' }).apply(x)])
  const tall = L.concatenate({ axis: 1 }).apply([joined, joined])
  const sum = L.add().apply([tall, tall, tall])
  const flat = L.flatten().apply(L.averagePooling2d({ poolSize: 4 }).apply(sum))
  const answer = L.dense({ units: 5 }).apply(L.concatenate({ axis: 1 }).apply([flat, flat]))
  return tf.model({ inputs: input, outputs: L.softmax({ axis: 1 }).apply(answer) })
}

/** One convolution that runs twice. */
function shared() {
  const input = tf.input({ shape: [9, 9, 3] })
  const twice = L.conv2d({ filters: 3, kernelSize: 3, padding: 'same', activation: 'tanh', name: 'twice' })
  const x = L.add().apply([twice.apply(input), twice.apply(twice.apply(input))])
  const [pool, dense] = head()
  return tf.model({ inputs: input, outputs: dense.apply(pool.apply(x)) })
}

/** A functional model with a model in it. */
function nested() {
  const input = tf.input({ shape: [17, 17, 3] })
  const [pool, dense] = head()
  return tf.model({ inputs: input, outputs: dense.apply(pool.apply(mobilenet(17).apply(input))) })
}

const MODELS = {
  teachable,
  branches,
  shared,
  nested,
  ...around('conv_same', (input) => L.conv2d({ ...input, filters: 5, kernelSize: 3, strides: 2, padding: 'same' })),
  ...around('conv_valid', (input) => L.conv2d({ ...input, filters: 5, kernelSize: [5, 2], strides: [2, 3] })),
  ...around('conv_dilated', (input) =>
    L.conv2d({ ...input, filters: 5, kernelSize: 3, dilationRate: 2, padding: 'same', activation: 'relu' })),
  ...around('depthwise_same', (input) =>
    L.depthwiseConv2d({ ...input, kernelSize: 3, strides: 2, padding: 'same', depthMultiplier: 2 })),
  ...around('depthwise_valid', (input) => L.depthwiseConv2d({ ...input, kernelSize: 4, strides: 3, activation: 'relu6' })),
  ...around('separable_same', (input) =>
    L.separableConv2d({ ...input, filters: 7, kernelSize: 3, strides: 2, padding: 'same', depthMultiplier: 2 })),
  ...around('separable_valid', (input) =>
    L.separableConv2d({ ...input, filters: 7, kernelSize: 3, useBias: false, activation: 'sigmoid' })),
  ...around('max_same', (input) => L.maxPooling2d({ ...input, poolSize: 3, strides: 2, padding: 'same' })),
  ...around('max_valid', (input) => L.maxPooling2d({ ...input, poolSize: [2, 3] })),
  ...around('average_same', (input) => L.averagePooling2d({ ...input, poolSize: 3, strides: 2, padding: 'same' })),
  ...around('average_valid', (input) => L.averagePooling2d({ ...input, poolSize: 2, strides: [1, 2] })),
  ...around('padding', (input) => L.zeroPadding2d({ ...input, padding: [[0, 1], [2, 3]] })),
  ...around('padding_pair', (input) => L.zeroPadding2d({ ...input, padding: [1, 2] })),
  ...around('normalisation', (input) => L.batchNormalization({ ...input, scale: false, epsilon: 0.1 })),
  ...around('normalisation_plain', (input) => L.batchNormalization({ ...input, center: false })),
  ...around('relu', (input) => L.reLU(input)),
  ...around('relu_capped', (input) => L.reLU({ ...input, maxValue: 0.25 })),
  ...around('softmax_of_channels', (input) => L.activation({ ...input, activation: 'softmax' })),
  flat: () =>
    sequential(
      L.inputLayer({ inputShape: [7, 7, 3] }),
      L.reshape({ targetShape: [21, -1] }),
      L.activation({ activation: 'tanh' }),
      L.reshape({ targetShape: [7, 7, 3] }),
      L.conv2d({ filters: 4, kernelSize: 3, activation: 'linear' }),
      L.flatten(),
      L.dropout({ rate: 0.5 }),
      L.batchNormalization({}),
      L.dense({ units: 9, activation: 'tanh' }),
      L.dense({ units: 4 }),
      L.softmax({ axis: -1 }),
    ),
}

/** What a model is saved as; TensorFlow.js 1.3.1 forgets the multiplier of a SeparableConv2D. */
async function artifacts(model) {
  let saved
  await model.save(
    tf.io.withSaveHandler(async (found) => {
      saved = found
      return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: 'JSON' } }
    }),
  )
  for (const { class_name, config } of saved.modelTopology.config.layers)
    if (class_name === 'SeparableConv2D' && config.padding === 'same') config.depth_multiplier = 2
  return saved
}

for (const [name, make] of Object.entries(MODELS)) {
  const saved = await artifacts(fill(make()))
  const place = join(folder, name)
  mkdirSync(place, { recursive: true })
  const weightsManifest = [{ paths: ['weights.bin'], weights: saved.weightSpecs }]
  writeFileSync(join(place, 'model.json'), JSON.stringify({ modelTopology: saved.modelTopology, weightsManifest }))
  writeFileSync(join(place, 'weights.bin'), new Uint8Array(saved.weightData))
  const model = await tf.loadLayersModel({ load: async () => saved })
  const size = model.inputs[0].shape[1]
  const probabilities = Array.from(await model.predict(picture(size)).data())
  writeFileSync(join(place, 'answer.json'), JSON.stringify({ size, probabilities }))
}
