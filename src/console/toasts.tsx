/** Short messages that disappear by themselves, some with an undo button. */
import { useState } from 'preact/hooks'
import { MediaError } from './api.ts'
import { Close } from './icons.tsx'
import { useStore } from './use-store.ts'

export type Message = { text: string; action?: { name: string; run: () => void } } | { error: Error }
type Toast = Message & { id: number }
export type ToastStore = ReturnType<typeof createToasts>

const MOST = 3

export function createToasts() {
  let toasts: Toast[] = []
  let last = 0
  const listeners = new Set<() => void>()
  const set = (next: Toast[]) => {
    toasts = next
    for (const listener of listeners) listener()
  }
  const show = (message: Message): void => {
    last += 1
    set([...toasts, { ...message, id: last }].slice(-MOST))
  }
  return {
    state: () => toasts,
    subscribe(listener: () => void): () => void {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    show,
    fail: (error: Error) => show({ error }),
    dismiss(id: number): void {
      set(toasts.filter((toast) => toast.id !== id))
    },
  }
}

export function Toasts({ toasts }: { toasts: ToastStore }) {
  const shown = useStore(toasts)
  return (
    <div class="toasts" role="status" aria-live="polite">
      {shown.map((toast) => (
        <ToastLine key={toast.id} toast={toast} onDismiss={() => toasts.dismiss(toast.id)} />
      ))}
    </div>
  )
}

/** The timer pauses while the pointer or the focus is on the message. */
function ToastLine({ toast, onDismiss }: { toast: Toast; onDismiss: () => void }) {
  const [held, setHeld] = useState(0)
  const hold = (by: number) => () => setHeld((before) => before + by)
  const action = 'text' in toast ? toast.action : undefined
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: pointing here only pauses the timer, it triggers no action
    <div
      class={held > 0 ? 'toast held' : 'toast'}
      onMouseEnter={hold(1)}
      onMouseLeave={hold(-1)}
      onFocusIn={hold(1)}
      onFocusOut={hold(-1)}
      onAnimationEnd={({ animationName }) => animationName === 'toast-time' && onDismiss()}
    >
      <p>
        {'text' in toast ? toast.text : toast.error.message}{' '}
        {'error' in toast && toast.error instanceof MediaError && <code>{toast.error.code}</code>}
      </p>
      {action && (
        <button
          type="button"
          class="button"
          onClick={() => {
            action.run()
            onDismiss()
          }}
        >
          {action.name}
        </button>
      )}
      <button type="button" class="button quiet round" aria-label="Dismiss" onClick={onDismiss}>
        <Close />
      </button>
    </div>
  )
}
