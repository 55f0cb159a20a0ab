/** The upload area: Uppy's Dashboard, and the visibility of new files. */
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Api, MediaItem } from './api.ts'
import type { ConsoleSession } from './session.ts'
import { createUploader, type Uploader } from './uploads.ts'
import { VisibilityChoice } from './visibility.tsx'

type Props = { api: Api; session: ConsoleSession; onStored: (id: string) => void; onFailure: (error: Error) => void }

export function Shelf({ api, session, onStored, onFailure }: Props) {
  const place = useRef<HTMLDivElement>(null)
  const uploader = useRef<Uploader | null>(null)
  const [visibility, setVisibility] = useState<MediaItem['visibility']>('private')
  useEffect(() => {
    if (place.current === null) return
    const ended = new AbortController()
    const { signal } = ended
    uploader.current = createUploader({ api, session, target: place.current, onStored, onFailure, signal })
    return () => ended.abort()
  }, [api, session, onStored, onFailure])
  useEffect(() => uploader.current?.setOptions({ meta: { visibility } }), [visibility])
  return (
    <section class="shelf" aria-labelledby="shelf-title">
      <div class="shelf-head">
        <h2 id="shelf-title">Add pictures</h2>
        <VisibilityChoice legend="Visibility of new files" value={visibility} onChange={setVisibility} />
      </div>
      <div class="uploader" ref={place} />
    </section>
  )
}
