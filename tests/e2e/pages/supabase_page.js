// The same in a page; and a model that TensorFlow.js loads by a signed URL.
import { createClient } from '@supabase/supabase-js'
import * as tf from '@tensorflow/tfjs'
import { everyCall } from './supabase_calls.js'

globalThis.everyCall = (asked) => everyCall(createClient, asked)

/** Return how many labels a model knows that is loaded with nothing but one signed URL. */
globalThis.loadSigned = async ({ address, key, path }) => {
  await tf.setBackend('cpu')
  const bucket = createClient(address, key, { auth: { persistSession: false } }).storage.from('ml-models')
  const { signedUrl } = (await bucket.createSignedUrl(path, 60)).data
  const model = await tf.loadLayersModel(signedUrl)
  const [size] = model.inputs[0].shape.slice(1)
  const answer = model.predict(tf.zeros([1, size, size, 3]))
  return { labels: answer.shape[1], sum: (await answer.sum().data())[0] }
}
