/** Generates a curl example for each operation from the OpenAPI document. */
import type { OpenAPIHono } from '@hono/zod-openapi'
import { EXAMPLE_ID } from './schemas/common.ts'

type Document = ReturnType<OpenAPIHono['getOpenAPI31Document']>
type PathItem = NonNullable<Document['paths']>[string]
type Operation = NonNullable<PathItem['get']>
type Answer = { content?: Record<string, unknown> }
type Schema = { $ref?: string; example?: unknown; enum?: unknown[] }
type Parameter = { name: string; in: string; required?: boolean; schema?: Schema }

const METHODS = ['get', 'head', 'post', 'patch', 'delete'] as const

/**
 * Appends an example to the description of each operation.
 * @param origin the service's origin as the reader reaches it
 */
export function withExamples(document: Document, origin: string): Document {
  const paths = Object.entries(document.paths ?? {}).map(([path, item]): [string, PathItem] => {
    const shown: PathItem = { ...item }
    for (const method of METHODS) {
      const operation = item[method]
      if (operation === undefined) continue
      const example = `\`\`\`sh\n${curl(document, operation, method, origin + path)}\n\`\`\``
      shown[method] = { ...operation, description: [operation.description, example].filter(Boolean).join('\n\n') }
    }
    return [path, shown]
  })
  return { ...document, paths: Object.fromEntries(paths) }
}

function curl(document: Document, operation: Operation, method: (typeof METHODS)[number], address: string): string {
  const required = ((operation.parameters ?? []) as Parameter[]).filter((parameter) => parameter.required)
  const given = (place: string) => required.filter((parameter) => parameter.in === place)
  const query = given('query').map(({ name, schema }) => `${name}=${exampleOf(schema)}`)
  const implied = operation.requestBody === undefined ? 'get' : 'post'
  return [
    'curl',
    ...(operation.security?.length === 0 ? [] : ['-H "Authorization: Bearer $T"']),
    ...given('header').map(({ name, schema }) => `-H '${name}: ${exampleOf(schema)}'`),
    ...bodyOf(document, operation),
    ...(operation.responses?.['302'] === undefined ? [] : ['-L -o picture.jpg']),
    ...(isStream(operation) ? ['-N'] : []),
    ...(method === 'head' ? ['--head'] : method === implied ? [] : [`-X ${method.toUpperCase()}`]),
    `"${[address.replace('{id}', '$ID'), ...query].join('?')}"`,
  ].join(' ')
}

/** Disables curl's buffering for an endless stream. */
function isStream({ responses }: Operation): boolean {
  return (responses?.['200'] as Answer | undefined)?.content?.['text/event-stream'] !== undefined
}

/** The schema's example, or its only allowed value. */
function exampleOf(schema: Schema | undefined): unknown {
  return schema?.example ?? schema?.enum?.[0]
}

/** Examples expect the image in the current folder. */
function bodyOf(document: Document, { requestBody }: Operation): string[] {
  if (requestBody === undefined || !('content' in requestBody)) return []
  const { content } = requestBody
  if (content['multipart/form-data'] !== undefined) return ['-F file=@rocket.jpg']
  const [type, { schema } = {}] = Object.entries(content)[0] ?? []
  if (type !== 'application/json') return [`-H 'Content-Type: ${type}' --data-binary @rocket.jpg`]
  const name = (schema as Schema | undefined)?.$ref?.split('/').at(-1) ?? ''
  const json = JSON.stringify((document.components?.schemas?.[name] as Schema | undefined)?.example)
  // Within the quotes of the shell nothing would stand for the id.
  return [`--json '${json?.replaceAll(EXAMPLE_ID, `'"$ID"'`)}'`]
}
