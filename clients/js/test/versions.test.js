import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isAtLeast, plainVersion } from '../core/versions.js'

const ASCENDING = ['0.9', '1.0.0-rc.1', '1', '1.0.1', 'v1.2', '1.9.9', '1.10.0', '2.0.0-beta', '2.0.0', '10.0.0']

test('versions are compared number by number, and a pre-release is older than its release', () => {
  ASCENDING.forEach((version, place) => {
    ASCENDING.forEach((minimum, other) => {
      assert.equal(isAtLeast(version, minimum), place >= other, `${version} for ${minimum}`)
    })
  })
})

test('an app without a version, or with none that can be read, gets only what asks for none', () => {
  for (const version of [undefined, '', 'latest', '1.2.x']) {
    assert.equal(isAtLeast(version, '0.0.1'), false)
    assert.equal(isAtLeast(version, undefined), true)
    assert.equal(isAtLeast(version, ''), true)
  }
})

test('a minimum that is no version is for nobody', () => {
  assert.equal(isAtLeast('2.0.0', 'newest'), false)
})

test('what is built on a version is as good as it', () => {
  assert.equal(isAtLeast('2.1.0+build.7', '2.1.0'), true)
})

test('events and metadata have versions without the v', () => {
  assert.equal(plainVersion('v1.4.2'), '1.4.2')
  assert.equal(plainVersion('1.4.2'), '1.4.2')
})
