/** `/openapi.json` and the Swagger UI page at `/docs`; it loads nothing from other hosts. */
import { readFile } from 'node:fs/promises'
import type { OpenAPIHono } from '@hono/zod-openapi'
import { Problem } from '../../problem.ts'
import { withExamples } from '../openapi/examples.ts'
import { originOf } from '../request/context.ts'
import { type Asset, createAssets } from './assets.ts'

const header = {
  openapi: '3.1.0',
  info: {
    title: 'Media Service',
    version: '1',
    description: `Stores uploaded files, serves them through short-lived signed links, and publishes events about changes.

In the examples \`$T\` is a bearer token and \`$ID\` the id of a media object; \`rocket.jpg\` is any image.`,
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

// Without validatorUrl: null, Swagger UI sends the document's address to a validator on the internet.
const START = `SwaggerUIBundle({ url: 'openapi.json', dom_id: '#page', deepLinking: true, validatorUrl: null })
`

// Images in the style sheets are data: URLs.
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const page: Asset = { name: 'index.html', read: async () => PAGE }
const assets: Asset[] = [
  { name: 'start.js', read: async () => START },
  ...(['swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png'] as const).map((name) => ({
    name,
    read: () => readFile(new URL(name, import.meta.resolve('swagger-ui-dist/package.json'))),
  })),
]

// Stands for the origin in the document that is kept.
const ORIGIN = 'http://origin.invalid'

/** Adds `/openapi.json`, which covers all routes of the app, and `/docs`; both are built on first request. */
export function docsRoutes(app: OpenAPIHono, publicBaseUrl: string | undefined): void {
  // Building the document takes 40 ms of the event loop, which strangers may ask for as often as they like: only once.
  let built: string | undefined
  app.get('/openapi.json', (c) => {
    const document = { ...header, servers: [{ url: ORIGIN }] }
    built ??= JSON.stringify(withExamples(app.getOpenAPI31Document(document), ORIGIN))
    const text = built.replaceAll(ORIGIN, () => JSON.stringify(originOf(c, publicBaseUrl)).slice(1, -1))
    return c.body(text, 200, { 'content-type': 'application/json' })
  })
  const serve = createAssets({ 'content-security-policy': POLICY })
  app.get('/docs', (c) => serve(c.req.raw, page))
  app.get('/docs/:file', (c) => {
    const asset = assets.find(({ name }) => name === c.req.param('file'))
    if (asset === undefined) throw new Problem('not_found', 'The documentation has no file of this name.')
    return serve(c.req.raw, asset)
  })
}
