/** Links to copy, with their audience and lifetime. */
import { useState } from 'preact/hooks'
import type { MediaItem } from './api.ts'
import { formatTime } from './format.ts'
import { srcsetOf } from './picture.tsx'

export function Links({ item }: { item: MediaItem }) {
  const { url, signedUrl, signedUrlExpiresAt, visibility } = item
  const isPublic = visibility === 'public'
  const until = `for everyone, until ${formatTime(signedUrlExpiresAt)}`
  const always = 'for everyone, without expiry'
  const markup = markupOf(item)
  return (
    <section>
      <h3>Links</h3>
      <Row name="Address" note={isPublic ? always : 'for you, signed in'} text={url} />
      <Row name="Link to share" note={until} text={signedUrl} />
      {markup !== null && <Row name="HTML with srcset" note={isPublic ? always : until} text={markup} />}
    </section>
  )
}

/** An `<img srcset>` with every available rendition; null for non-images. */
function markupOf({ renditions = [], originalName, metadata, visibility }: MediaItem): string | null {
  const links =
    visibility === 'public' ? renditions.map(({ url, ...size }) => ({ ...size, url: unsigned(url) })) : renditions
  const largest = links.at(-1)
  if (largest === undefined) return null
  const attributes = {
    src: largest.url,
    srcset: srcsetOf(links),
    sizes: '100vw',
    width: metadata.width,
    height: metadata.height,
    alt: originalName,
  }
  const written = Object.entries(attributes).map(([name, value]) => `${name}="${escapeAttribute(String(value))}"`)
  return `<img ${written.join(' ')}>`
}

/** Public objects need no signature, which would only make the link expire. */
function unsigned(link: string): string {
  const url = new URL(link)
  for (const name of ['expires', 'signature']) url.searchParams.delete(name)
  return url.href
}

function escapeAttribute(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;')
}

const SHOWN_MS = 2000

function Row({ name, note, text }: { name: string; note: string; text: string }) {
  const [copied, setCopied] = useState(false)
  const copy = async () => {
    await navigator.clipboard.writeText(text)
    setCopied(true)
    setTimeout(() => setCopied(false), SHOWN_MS)
  }
  return (
    <div class="link">
      <p>
        <strong>{name}</strong> <small>{note}</small>
      </p>
      <input
        class="field"
        readOnly
        aria-label={`${name}, ${note}`}
        value={text}
        onFocus={({ currentTarget }) => currentTarget.select()}
      />
      <button type="button" class="button" aria-label={`Copy: ${name}`} onClick={copy}>
        {copied ? 'Copied' : 'Copy'}
      </button>
      <span class="unseen" role="status">
        {copied ? `${name} copied` : ''}
      </span>
    </div>
  )
}
