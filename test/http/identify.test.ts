import { expect, test } from 'bun:test'
import { networkOf } from '../../src/http/request/identify.ts'

test.each([
  ['192.0.2.7', '192.0.2.7'],
  [' 192.0.2.7 ', '192.0.2.7'],
  ['192.0.2.7:51234', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['[::ffff:192.0.2.7]:443', '192.0.2.7'],
])('%s counts for %s', (written, address) => {
  expect(networkOf(written)).toBe(address)
})

test.each([
  '2001:db8:1:2:ffff::1',
  '[2001:db8:1:2::1]',
  '[2001:db8:1:2::1]:51234',
  '2001:db8:1:2::1%eth0',
  '[2001:db8:1:2::1%eth0]:443',
])('%s counts for its /64', (written) => {
  expect(networkOf(written)).toBe(networkOf('2001:db8:1:2::'))
  expect(networkOf(written)).not.toBe(networkOf('2001:db8:1:3::'))
})

test.each([
  ['nothing', ''],
  ['a word', 'unknown'],
  ['an obfuscated identifier', '_hidden'],
  ['a port that is missing', '192.0.2.7:'],
  ['a port that is none', '192.0.2.7:x'],
  ['three numbers', '192.0.2'],
  ['a bracket that is not closed', '[::1'],
  ['a bracket that is not opened', '::1]:4'],
  ['100,000 digits', '1'.repeat(100_000)],
])('what is no address counts together: %s', (_, written) => {
  expect(networkOf(written)).toBe('unknown')
})
