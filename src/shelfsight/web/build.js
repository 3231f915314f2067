/**
 * Bundle the till page, and that of the demo: `node build.js [FOLDER]`, by default into dist/ beside this file.
 *
 * A build that fails leaves the folder as it was. What a page loads carries a hash of its content in its name; the service
 * worker knows all of it by its SHA-256. What is worth compressing lies there compressed, too, as NAME.gz.
 */
import * as esbuild from 'esbuild'
import { createHash } from 'node:crypto'
import { copyFile, mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, extname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

const here = dirname(fileURLToPath(import.meta.url))
const out = resolve(process.argv[2] ?? join(here, 'dist'))
const stage = `${out}.new`
const client = createRequire(join(here, '../../../clients/js/package.json'))
const wasm = join(dirname(client.resolve('@tensorflow/tfjs-backend-wasm/package.json')), 'dist')

const SHARED = { absWorkingDir: here, bundle: true, platform: 'browser', minify: true, legalComments: 'linked', logLevel: 'warning' }
const TARGET = { target: ['chrome100', 'firefox104', 'safari15.4'] }
const PAGES = { 'till.html': 'till/index.html', 'demo.html': 'till/demo/index.html', 'till-https.html': 'till/https.html' }
const TEMPLATES = new Set(['till.html', 'demo.html']) // which are compressed when they are filled in
const ICONS = 'till/icons'
const COMPRESSED = new Set(['.css', '.html', '.js', '.svg', '.wasm'])

await rm(stage, { recursive: true, force: true })
await mkdir(stage, { recursive: true })
const till = await bundle(['till/till.js', 'till/till.css', 'till/https.css'])
const outputs = { ...till, ...(await bundle(['till/demo/demo.js', 'till/demo/demo.css'])) }
const wasms = await copyWasm()
const names = new Map([...entriesOf(outputs), ...(await copyIcons())])
const files = [...filesOf(till, names.get('till.js')), names.get('till.css'), names.get('icons/icon.svg'), names.get('icons/icon-180.png'), ...wasms]
await writeManifest()
const build = await writePages()
await writeServiceWorker(build)
await compress()
await report()
await rm(out, { recursive: true, force: true })
await rename(stage, out)

/** Each page for itself: what two pages share of a library would come with both, used or not. */
async function bundle(entryPoints) {
  const { metafile } = await esbuild.build({
    ...SHARED,
    ...TARGET,
    entryPoints,
    outdir: stage,
    splitting: true,
    format: 'esm',
    entryNames: '[name]-[hash]',
    chunkNames: 'chunk-[hash]',
    metafile: true,
  })
  return metafile.outputs
}

/** The threaded one is left out: it needs a page that is isolated from all others, which none of ours is. */
async function copyWasm() {
  const found = (await readdir(wasm)).filter((name) => name.endsWith('.wasm') && !name.includes('threaded'))
  for (const name of found) await copyFile(join(wasm, name), join(stage, name))
  return found
}

/** @returns the names of icons by what pages call them */
async function copyIcons() {
  const found = (await readdir(join(here, ICONS))).filter((name) => name !== 'sprite.svg')
  return Promise.all(
    found.map(async (name) => {
      const hash = digest(await readFile(join(here, ICONS, name))).slice(0, 8).toUpperCase()
      const hashed = `${basename(name, extname(name))}-${hash}${extname(name)}`
      await copyFile(join(here, ICONS, name), join(stage, hashed))
      return [`icons/${name}`, hashed]
    }),
  )
}

/** @returns the names of scripts and styles by what pages call them */
function entriesOf(outputs) {
  const entries = Object.entries(outputs).filter(([, { entryPoint }]) => entryPoint && !entryPoint.includes('node_modules'))
  return entries.map(([path, { entryPoint }]) => [basename(entryPoint), basename(path)])
}

/** @returns the script and all that it loads, now or later; with `isNow` only what it loads before it runs */
function filesOf(outputs, name, { isNow = false } = {}) {
  const imports = new Map(Object.entries(outputs).map(([path, output]) => [basename(path), output.imports]))
  const found = new Set([name])
  for (const one of found) {
    for (const { path, kind } of imports.get(one) ?? []) {
      if (imports.has(basename(path)) && (!isNow || kind === 'import-statement')) found.add(basename(path))
    }
  }
  return [...found]
}

async function writeManifest() {
  const manifest = await readFile(join(here, 'till/manifest.webmanifest'), 'utf8')
  await writeFile(join(stage, 'manifest.webmanifest'), withNames(manifest))
}

/** @returns what tells this build from others */
async function writePages() {
  const sprite = (await readFile(join(here, ICONS, 'sprite.svg'), 'utf8')).trim()
  const sources = new Map()
  for (const [name, source] of Object.entries(PAGES)) {
    const page = (await readFile(join(here, source), 'utf8')).replace('<!-- sprite -->', sprite)
    sources.set(name, withPreloads(withNames(page), name))
  }
  const hashes = await Promise.all(files.map(async (file) => file + digest(await readFile(join(stage, file)))))
  const id = digest(hashes.sort().join('\n') + sources.get('till.html')).slice(0, 12)
  for (const [name, page] of sources) await writeFile(join(stage, name), page.replace('data-build="BUILD"', `data-build="${id}"`))
  return id
}

/** Say which file of this build it is, where a page names a script, a style or an icon. */
function withNames(text) {
  const named = text.replace(/(?<=(?:href|src)="|"src": ")([^"#:{}]+\.(?:js|css|svg|png))(?=")/g, (name) => {
    if (!names.has(name)) throw new Error(`a page asks for ${name}, which is not built`)
    return `/static/${names.get(name)}`
  })
  return named
}

/** Let the browser ask for all scripts at once, not for one after the other. */
function withPreloads(page, name) {
  const script = names.get(name.replace('.html', '.js'))
  if (!script) return page
  const [, ...others] = filesOf(outputs, script, { isNow: true })
  return page.replace('</head>', `${others.map((one) => `  <link rel="modulepreload" href="/static/${one}">\n`).join('')}</head>`)
}

async function writeServiceWorker(id) {
  const kept = await Promise.all(
    files.map(async (name) => ({ path: `/static/${name}`, sha256: digest(await readFile(join(stage, name))) })),
  )
  const facts = { TILL_BUILD: id, TILL_FILES: kept }
  await esbuild.build({
    ...SHARED,
    ...TARGET,
    entryPoints: ['till/service-worker.js'],
    outfile: join(stage, 'service-worker.js'),
    format: 'iife',
    define: { 'globalThis.SHELFSIGHT_TILL': JSON.stringify(facts) },
  })
}

async function compress() {
  for (const name of await readdir(stage)) {
    if (!COMPRESSED.has(extname(name)) || TEMPLATES.has(name)) continue
    const data = await readFile(join(stage, name))
    const packed = gzipSync(data, { level: 9 })
    if (packed.length < data.length * 0.9) await writeFile(join(stage, `${name}.gz`), packed)
  }
}

/** Print what a device downloads: for a first look, and beside it. */
async function report() {
  const first = ['till.html', names.get('till.css'), ...filesOf(outputs, names.get('till.js'), { isNow: true })]
  const later = files.filter((name) => !first.includes(name))
  process.stdout.write(`till page: ${await sizes(first)} before it shows, ${await sizes(later)} in the background\n`)
}

async function sizes(group) {
  let [plain, packed] = [0, 0]
  for (const name of group) {
    const data = await readFile(join(stage, name))
    plain += data.length
    packed += Math.min(data.length, gzipSync(data, { level: 9 }).length)
  }
  return `${Math.round(packed / 1e3)} kB (${Math.round(plain / 1e3)} unpacked, ${group.length} files)`
}

function digest(data) {
  return createHash('sha256').update(data).digest('hex')
}
