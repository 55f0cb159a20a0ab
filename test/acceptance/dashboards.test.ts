import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { newUser, until } from '../support/http/client.ts'
import { type Family, parseMetrics, type Sample, sumOf } from '../support/http/prometheus.ts'
import { parseQuery, type Query } from '../support/http/promql.ts'
import { openStage } from '../support/process/acceptance.ts'
import { repository } from '../support/repository.ts'

const { call, uploaded, close } = await openStage()
afterAll(close)

type Rule = { alert: string; expr: string; labels: Record<string, string>; annotations: Record<string, string> }
type Panel = { id: number; title: string; targets: { expr: string; legendFormat: string }[] }

const read = (name: string) => Bun.file(join(repository, 'deploy', name)).text()
const alerts = Bun.YAML.parse(await read('alerts.yml')) as { groups: { rules: Rule[] }[] }
const rules = alerts.groups.flatMap((group) => group.rules)
const { panels }: { panels: Panel[] } = JSON.parse(await read('grafana.json'))
// Grafana puts its own variables in.
const targets = panels.flatMap((panel) =>
  panel.targets.map(({ expr, legendFormat }) => ({
    title: panel.title,
    expr: expr.replaceAll('$__rate_interval', '5m'),
    legendFormat,
  })),
)

// What Prometheus adds to each sample.
const ADDED = ['instance', 'job']
let families: Family[]
let samples: Sample[]
let routes: string[]
beforeAll(async () => {
  await uploaded(newUser())
  // The upload is counted when its event is out, too.
  families = await until(async () => {
    const found = parseMetrics(await (await call('/metrics')).text())
    expect(sumOf(found, 'media_http_received_bytes_total')).toBeGreaterThan(0)
    return found
  })
  samples = families.flatMap((family) => family.samples)
  const { paths } = await (await call('/openapi.json')).json()
  routes = [...Object.keys(paths).map((path) => path.replace(/\{(\w+)\}/g, ':$1')), '/files/*']
})

function expectAnswerable({ selectors, grouping }: Query): void {
  expect(selectors.length).toBeGreaterThan(0)
  const known = new Set(ADDED)
  for (const { metric, matchers } of selectors) {
    const series = samples.filter(({ name }) => name === metric)
    expect([metric, series.length]).not.toEqual([metric, 0])
    const labels = new Set(series.flatMap((sample) => Object.keys(sample.labels)))
    for (const label of labels) known.add(label)
    for (const { label, operator, value } of matchers) {
      if (ADDED.includes(label)) continue
      expect([metric, ...labels]).toContain(label)
      if (operator === '=') expect(series.map((sample) => sample.labels[label])).toContain(value)
      if (label === 'route')
        for (const one of value.split('|'))
          expect(routes.filter((route) => new RegExp(`^(?:${one})$`).test(route))).not.toBeEmpty()
    }
  }
  for (const label of grouping) expect([...known]).toContain(label)
}

describe('deploy/alerts.yml', () => {
  test.each(rules.map((rule) => [rule.alert, rule] as const))(
    '%s asks for metrics and labels that exist',
    (_, { expr }) => {
      expectAnswerable(parseQuery(expr))
    },
  )

  test('each alert has a severity and a description, with labels that it has', () => {
    expect(rules.length).toBeGreaterThan(8)
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length)
    for (const { alert, expr, labels, annotations } of rules) {
      expect(alert).toMatch(/^Media[A-Z]\w+$/)
      expect(labels.severity).toMatch(/^(page|ticket)$/)
      const { summary = '', description = '' } = annotations
      for (const text of [summary, description]) {
        expect(text).toMatch(/^\S[^\n]*\.$/)
        const { grouping } = parseQuery(expr)
        for (const [, label = ''] of text.matchAll(/\$labels\.(\w+)/g)) expect([...grouping, ...ADDED]).toContain(label)
        for (const [metric] of text.matchAll(/\bmedia_\w+/g)) expect(families.map(({ name }) => name)).toContain(metric)
      }
    }
  })
})

describe('deploy/grafana.json', () => {
  test.each(targets.map((target) => [target.title, target.expr, target] as const))(
    '%s asks for metrics and labels that exist: %s',
    (_, expr, { legendFormat }) => {
      const query = parseQuery(expr)
      expectAnswerable(query)
      const labels = [...query.grouping, ...ADDED]
      for (const [, label = ''] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) expect(labels).toContain(label)
    },
  )

  test('shows every metric that the service has', () => {
    const shown = targets.flatMap(({ expr }) => parseQuery(expr).selectors.map(({ metric }) => metric))
    const unshown = families.filter(
      ({ name }) => !shown.some((metric) => metric.replace(/_(bucket|sum|count)$/, '') === name),
    )
    // Behind an alert, or for whoever looks closer.
    expect(unshown.map(({ name }) => name).sort()).toEqual([
      'media_objects_oldest_seconds',
      'media_upkeep_last_success_timestamp_seconds',
      'media_upkeep_step_failures_total',
      'process_start_time_seconds',
    ])
  })

  test('has panels with a number of their own', () => {
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
  })
})
