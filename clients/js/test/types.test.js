import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const client = fileURLToPath(new URL('..', import.meta.url))
const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'))

/** @param {string[]} parameters */
const tsc = (...parameters) =>
  run(process.execPath, [join(typescript, 'bin', 'tsc'), ...parameters]).catch(({ stdout }) => {
    throw new Error(stdout)
  })

const GOOD = `
import { openClient, type Answer, type State } from '@shelfsight/client'
const client = await openClient({ serverUrl: '', channel: 'T_1', onState: (state: State) => state.words })
const answer: Answer = await (await client.load()).recognise(document.createElement('canvas'), { top: 3 })
const id: string = await client.salesQueue.put({ lines: [{ productId: answer.predictions[0].product, quantity: 1 }] })
`
const WRONG = `
import { openClient } from '@shelfsight/client'
await openClient({ serverUrl: '', chanel: 'T_1' })
`

test('whoever writes TypeScript gets types with the package', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'shelfsight-types-'))
  t.after(() => rm(folder, { recursive: true }))
  const installed = join(folder, 'node_modules', '@shelfsight', 'client')
  await mkdir(installed, { recursive: true })
  await cp(join(client, 'package.json'), join(installed, 'package.json'))
  await tsc('--project', join(client, 'tsconfig.json'), '--outDir', join(installed, 'types'))
  const compilerOptions = { noEmit: true, strict: true, skipLibCheck: true, module: 'esnext', moduleResolution: 'bundler' }
  const target = { target: 'es2022', lib: ['es2022', 'dom'], types: [] }
  const settings = { compilerOptions: { ...compilerOptions, ...target }, files: ['page.ts'] }
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(settings))
  const check = async (/** @type {string} */ source) => {
    await writeFile(join(folder, 'page.ts'), source)
    return tsc('--project', folder)
  }
  await check(GOOD)
  await assert.rejects(check(WRONG), /chanel/)
})
