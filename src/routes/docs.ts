/** The OpenAPI document, and a page to read it and try it out, from here alone: the browser asks nobody else. */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { OpenAPIHono } from '@hono/zod-openapi'
import { IfNoneMatch } from '@remix-run/headers/if-none-match'
import { Problem } from '../problem.ts'
import { originOf } from './context.ts'
import { withExamples } from './examples.ts'

const header = {
  openapi: '3.1.0',
  info: {
    title: 'Media Service',
    version: '1',
    description: `Takes files in, hands out short-lived links to them, and says what happened.

In the examples \`$T\` is a bearer token and \`$ID\` the id of a media object; \`rocket.jpg\` is any picture.`,
  },
  security: [{ bearer: [] }, { gateway: [] }],
}

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Media Service</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
<div id="page"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</html>
`

// Without validatorUrl the document's address would be sent to a validator on the internet.
const START = `SwaggerUIBundle({ url: 'openapi.json', dom_id: '#page', deepLinking: true, validatorUrl: null })
`

// Images in style sheets are data: URLs.
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const TYPES = { css: 'text/css', html: 'text/html', js: 'text/javascript', png: 'image/png' } as const

type File = { name: `${string}.${keyof typeof TYPES}`; read: () => Promise<string | Uint8Array<ArrayBuffer>> }

const page: File = { name: 'index.html', read: async () => PAGE }
const assets: File[] = [
  { name: 'start.js', read: async () => START },
  ...(['swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png'] as const).map((name) => ({
    name,
    read: () => readFile(new URL(name, import.meta.resolve('swagger-ui-dist/package.json'))),
  })),
]

/** Adds `/openapi.json`, of all routes of the app, and `/docs`. Files are read when they are asked for first. */
export function docsRoutes(app: OpenAPIHono): void {
  app.get('/openapi.json', (c) => c.json(withExamples(app.getOpenAPI31Document(header), originOf(c, undefined))))
  const read = new Map<string, ReturnType<typeof load>>()
  const serve = async (request: Request, file: File): Promise<Response> => {
    const loading = read.get(file.name) ?? load(file)
    read.set(file.name, loading)
    const { body, etag, type } = await loading
    const headers = {
      etag,
      'content-type': `${type}; charset=utf-8`,
      'cache-control': 'no-cache',
      'content-security-policy': POLICY,
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
    }
    return IfNoneMatch.from(request.headers.get('if-none-match')).matches(etag)
      ? new Response(null, { status: 304, headers })
      : new Response(body, { headers })
  }
  app.get('/docs', (c) => serve(c.req.raw, page))
  app.get('/docs/:file', (c) => {
    const asset = assets.find(({ name }) => name === c.req.param('file'))
    if (asset === undefined) throw new Problem('not_found', 'The documentation has no such file.')
    return serve(c.req.raw, asset)
  })
}

async function load({ name, read }: File) {
  const body = await read()
  const etag = `"${createHash('sha256').update(body).digest('base64url')}"`
  return { body, etag, type: TYPES[name.slice(name.lastIndexOf('.') + 1) as keyof typeof TYPES] }
}
