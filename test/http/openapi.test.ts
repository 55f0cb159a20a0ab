import { describe, expect, spyOn, test } from 'bun:test'
import { Validator } from '@seriousme/openapi-schema-validator'
import { createApp } from '../../src/http/app.ts'
import { offlineApp } from '../support/http/offline-app.ts'

const app = offlineApp()
const { ask } = app

describe('the OpenAPI document', () => {
  const document = async () => (await ask('GET', '/openapi.json', {}, { disk: undefined })).json()

  test('names the service in its examples as the settings do, not as the request', async () => {
    const publicBaseUrl = 'https://media.example.com/under/a/path'
    const answer = await ask('GET', '/openapi.json', { host: 'evil.example' }, { publicBaseUrl })
    const text = await answer.text()
    expect(text).toContain(`${publicBaseUrl}/media/upload`)
    expect(text).not.toContain('evil.example')
    expect(text).not.toContain('localhost')
  })

  test('is built once, and tells each request its own origin', async () => {
    const whole = createApp({ ...app.deps, disk: undefined })
    const built = spyOn(whole, 'getOpenAPI31Document')
    for (const host of ['one.example', 'two.example', 'one.example']) {
      const answer = await whole.request(`http://${host}/openapi.json`)
      expect(answer.headers.get('content-type')).toContain('application/json')
      const text = JSON.stringify(await answer.json())
      expect(text).toContain(`http://${host}/media/upload`)
      expect(text).not.toContain('.invalid')
    }
    expect(built).toHaveBeenCalledTimes(1)
  })

  test('is valid OpenAPI 3.1', async () => {
    const validator = new Validator()
    expect(await validator.validate(await document())).toEqual({ valid: true })
    expect(validator.version).toBe('3.1')
  })

  test('lists exactly the routes that answer, but for itself and the pages', async () => {
    const { paths } = await document()
    const listed = Object.entries<object>(paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
    )
    const routes = createApp({ ...app.deps, disk: undefined }).routes.filter(({ method }) => method !== 'ALL')
    const answering = new Set(routes.map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, '{$1}')}`))
    for (const path of ['/openapi.json', '/docs', '/docs/{file}', '/console', '/console/{file}'])
      expect(answering.delete(`GET ${path}`)).toBe(true)
    expect(answering.delete('POST /console/session')).toBe(true)
    expect(listed.sort()).toEqual([...answering].sort())
  })

  test('bounds every integer of a query, as larger ones are refused', async () => {
    const { paths } = await document()
    const operations = Object.values<Record<string, Operation>>(paths).flatMap((path) => Object.values(path))
    const integers = operations
      .flatMap(({ parameters = [] }) => parameters)
      .filter((parameter) => parameter.in === 'query' && [parameter.schema.type].flat().includes('integer'))
    expect(integers.length).toBeGreaterThan(0)
    for (const { name, schema } of integers) expect([name, schema.maximum]).toEqual([name, expect.any(Number)])
  })

  test('says of every operation what it is for, and of every answer a status that the catalogue has', async () => {
    const { paths } = await document()
    const operations = Object.values<Record<string, Operation>>(paths).flatMap((path) => Object.values(path))
    expect(operations.length).toBeGreaterThan(10)
    for (const { summary, responses } of operations) {
      expect(summary).toMatch(/\w/)
      expect(Object.keys(responses).some((status) => /^[23]/.test(status))).toBe(true)
    }
  })
})

type Parameter = { name: string; in: string; schema: { type?: string | string[]; maximum?: number } }
type Operation = { summary: string; responses: Record<string, unknown>; parameters?: Parameter[] }
