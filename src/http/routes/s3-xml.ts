/** Responses in the XML of S3. */
import type { Context } from 'hono'

type Content = { [element: string]: string | number | Content[] }

export function xml(c: Context, root: string, content: Content): Response {
  c.header('content-type', 'application/xml')
  const namespace = 'http://s3.amazonaws.com/doc/2006-03-01/'
  return c.body(`<?xml version="1.0" encoding="UTF-8"?>\n<${root} xmlns="${namespace}">${elements(content)}</${root}>`)
}

function elements(content: Content): string {
  return Object.entries(content)
    .flatMap(([name, value]) =>
      (Array.isArray(value) ? value.map(elements) : [escapeText(String(value))]).map(
        (inner) => `<${name}>${inner}</${name}>`,
      ),
    )
    .join('')
}

function escapeText(text: string): string {
  return text.replace(/[&<>"]/g, (c) => ENTITIES[c] ?? c)
}

// The XML entities that Uppy decodes.
const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }
