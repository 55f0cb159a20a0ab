/** What runs in the browser: Uppy as docs/uploads.md sets it up, and a view on it for the test. */
import AwsS3 from '@uppy/aws-s3'
import Uppy from '@uppy/core'

export type Start = {
  /** Where the service's `/media` is. */
  api: string
  token: string
  /** Files from this size on are sent in parts. */
  multipartFrom: number
}
/** `completed`: the media objects, as the service answered. */
export type State = { progress: number; failed: string[]; succeeded: string[]; completed: unknown[] }
export type PageApi = {
  /** Takes the file that is in the page's input, and begins to upload it. */
  start(options: Start): void
  retry(): void
  cancel(): void
  state(): State
}

declare global {
  interface Window {
    media: PageApi
  }
}

let uppy: Uppy<{ mediaId?: string }, Record<string, never>>
const state: State = { progress: 0, failed: [], succeeded: [], completed: [] }

window.media = {
  start({ api, token, multipartFrom }) {
    const call = async (path: string, body?: unknown) => {
      const response = await fetch(`${api}/${path}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
      const answer = await response.json()
      if (!response.ok) throw new Error(answer.detail)
      return answer
    }
    uppy = new Uppy<{ mediaId?: string }, Record<string, never>>().use(AwsS3, {
      shouldUseMultipart: (file) => (file.size ?? 0) >= multipartFrom,
      generateObjectKey: (file) => file.id,
      async signRequest(request) {
        const file = uppy.getFile(request.key)
        const signed = await call('sign', {
          ...request,
          ...(file && { filename: file.name, fileType: file.type, size: file.size }),
        })
        if (file) uppy.setFileMeta(file.id, { mediaId: signed.id })
        return signed
      },
    })
    uppy.on('upload-success', async (file) => {
      if (file === undefined) return
      state.succeeded.push(file.name ?? '')
      const { mediaId } = uppy.getFile(file.id).meta
      try {
        state.completed.push(await call(`${mediaId}/complete`))
      } catch (error) {
        state.failed.push(String(error))
      }
    })
    uppy.on('upload-error', (_file, error) => state.failed.push(String(error)))
    uppy.on('progress', (percent) => {
      state.progress = percent
    })
    const [data] = document.querySelector('input')?.files ?? []
    if (data === undefined) throw new Error('no file')
    uppy.addFile({ name: data.name, type: data.type, data })
    // What fails is told by the events.
    void uppy.upload().catch(() => {})
  },
  retry: () => void uppy.retryAll(),
  cancel: () => uppy.cancelAll(),
  state: () => state,
}
