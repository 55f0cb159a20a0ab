import { expect, test } from 'bun:test'
import { createHistogram } from '../../src/observe/histogram.ts'
import { parseMetrics, sumOf } from '../support/http/prometheus.ts'

const create = () => createHistogram({ name: 'a_seconds', help: 'What it is.', bounds: [0.1, 1] })

test('each bucket holds what is not above its bound, and what the buckets before it hold', () => {
  const histogram = create()
  for (const value of [0.05, 0.1, 0.5, 1, 7]) histogram.observe('b="x"', value)
  histogram.observe('b="y"', 0.25)
  expect(histogram.text()).toBe(
    [
      '# HELP a_seconds What it is.',
      '# TYPE a_seconds histogram',
      'a_seconds_bucket{b="x",le="0.1"} 2',
      'a_seconds_bucket{b="x",le="1"} 4',
      'a_seconds_bucket{b="x",le="+Inf"} 5',
      'a_seconds_sum{b="x"} 8.65',
      'a_seconds_count{b="x"} 5',
      'a_seconds_bucket{b="y",le="0.1"} 0',
      'a_seconds_bucket{b="y",le="1"} 1',
      'a_seconds_bucket{b="y",le="+Inf"} 1',
      'a_seconds_sum{b="y"} 0.25',
      'a_seconds_count{b="y"} 1',
      '',
    ].join('\n'),
  )
})

test('one that has counted nothing has no series', () => {
  const families = parseMetrics(create().text())
  expect(families).toMatchObject([{ name: 'a_seconds', type: 'histogram', samples: [] }])
  expect(sumOf(families, 'a_seconds_count')).toBeUndefined()
})
