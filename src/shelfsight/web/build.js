/**
 * Bundle the till page: `node build.js [FOLDER]`, by default into dist/ beside this file.
 *
 * A build that fails leaves the folder as it was. Chunks carry a hash of their content in the name; till.js and till.css do not.
 */
import * as esbuild from 'esbuild'
import { copyFile, mkdir, readdir, rename, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const out = resolve(process.argv[2] ?? join(here, 'dist'))
const client = createRequire(join(here, '../../../clients/js/package.json'))
const wasm = dirname(client.resolve('@tensorflow/tfjs-backend-wasm/package.json'))

const stage = `${out}.new`
await rm(stage, { recursive: true, force: true })
await mkdir(stage, { recursive: true })
await esbuild.build({
  absWorkingDir: here,
  entryPoints: ['till/till.js', 'till/till.css'],
  outdir: stage,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'browser',
  target: ['chrome100', 'firefox104', 'safari15.4'],
  chunkNames: 'chunk-[hash]',
  minify: true,
  legalComments: 'linked',
  logLevel: 'warning',
})
await copyFile(join(here, 'till/icon.svg'), join(stage, 'icon.svg'))
for (const name of await readdir(join(wasm, 'dist'))) {
  if (name.endsWith('.wasm')) await copyFile(join(wasm, 'dist', name), join(stage, name))
}
await rm(out, { recursive: true, force: true })
await rename(stage, out)
