import { setBackend } from '@tensorflow/tfjs-core'
import { UnsupportedError } from '../core/errors.js'

/** @typedef {'webgl' | 'wasm'} Backend */

/** Names under which WebGL runs on the processor, where WebAssembly is twenty times as fast. */
const SOFTWARE_RENDERER = /swiftshader|llvmpipe|softpipe|software|basic render/i

/**
 * Return the backends worth trying on this machine, best first.
 *
 * @returns {Backend[]}
 */
export function backends() {
  return graphicsCard() === null ? ['wasm'] : ['webgl', 'wasm']
}

/**
 * Make a backend the one that TensorFlow.js computes on. Only the code of this one is downloaded.
 *
 * @param {Backend} name
 * @throws {UnsupportedError} it does not start on this machine
 */
export async function startBackend(name) {
  if (name === 'webgl') {
    await import('@tensorflow/tfjs-backend-webgl')
  } else {
    const { setWasmPaths } = await import('@tensorflow/tfjs-backend-wasm')
    setWasmPaths(new URL('./', import.meta.url).href) // the bundler puts the .wasm files beside this module
  }
  if (!(await setBackend(name))) throw new UnsupportedError(`TensorFlow.js cannot start its backend ${name}`)
}

/**
 * Return how the graphics card calls itself, null where there is none.
 *
 * @returns {string | null}
 */
export function graphicsCard() {
  const canvas = document.createElement('canvas')
  const context = canvas.getContext('webgl2', { failIfMajorPerformanceCaveat: true })
  if (!context) return null
  const names = context.getExtension('WEBGL_debug_renderer_info')
  const renderer = String(context.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : context.RENDERER))
  context.getExtension('WEBGL_lose_context')?.loseContext()
  return SOFTWARE_RENDERER.test(renderer) ? null : renderer
}
