import { setBackend } from '@tensorflow/tfjs-core'

/** @typedef {'webgl' | 'wasm'} Backend */

/** Names under which WebGL runs on the processor, where WebAssembly is twenty times as fast. */
const SOFTWARE_RENDERER = /swiftshader|llvmpipe|softpipe|software|basic render/i

/**
 * Return the backends worth trying on this machine, best first.
 *
 * @returns {Backend[]}
 */
export function backends() {
  return hasGraphicsCard() ? ['webgl', 'wasm'] : ['wasm']
}

/**
 * Make a backend the one that TensorFlow.js computes on. Only the code of this one is downloaded.
 *
 * @param {Backend} name
 * @throws {Error} it does not start on this machine
 */
export async function startBackend(name) {
  if (name === 'webgl') {
    await import('@tensorflow/tfjs-backend-webgl')
  } else {
    const { setWasmPaths } = await import('@tensorflow/tfjs-backend-wasm')
    setWasmPaths(new URL('./', import.meta.url).href) // the bundler puts the .wasm files beside this module
  }
  if (!(await setBackend(name))) throw new Error(`TensorFlow.js cannot start its backend ${name}`)
}

function hasGraphicsCard() {
  const canvas = document.createElement('canvas')
  const context = canvas.getContext('webgl2', { failIfMajorPerformanceCaveat: true })
  if (!context) return false
  const names = context.getExtension('WEBGL_debug_renderer_info')
  const renderer = context.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : context.RENDERER)
  context.getExtension('WEBGL_lose_context')?.loseContext()
  return !SOFTWARE_RENDERER.test(String(renderer))
}
