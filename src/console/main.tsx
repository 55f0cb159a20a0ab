/** The page at /console, from the first line it runs. */
import { render } from 'preact'
import { createApi, openSession, Refusal } from './api.ts'
import { App } from './app.tsx'
import { SignIn } from './sign-in.tsx'

const TOKEN = 'media-console-token'

const root = document.querySelector('#page')
if (root === null) throw new Error('The page has no #page.')
await open(root)

/** Signs in with what there is: the development token, one that was pasted before, or what a gateway adds. */
async function open(root: Element, refused?: string): Promise<void> {
  try {
    const session = await openSession()
    const pasted = sessionStorage.getItem(TOKEN)
    const api = createApi(session.token ?? pasted ?? undefined)
    const failure = await api.usage().then(
      () => undefined,
      (error) => error,
    )
    if (failure instanceof Refusal && failure.status === 401) {
      sessionStorage.removeItem(TOKEN)
      const signIn = (token: string) => {
        sessionStorage.setItem(TOKEN, token)
        void open(root, token)
      }
      render(<SignIn key={refused} onToken={signIn} refusal={refused === undefined ? null : failure} />, root)
      return
    }
    if (failure !== undefined) throw failure
    const signOut = () => {
      sessionStorage.removeItem(TOKEN)
      location.reload()
    }
    render(<App api={api} session={session} onSignOut={session.token === null && pasted ? signOut : null} />, root)
  } catch (error) {
    render(
      <main class="notice" role="alert">
        <h1>The console can’t open</h1>
        <p>{(error as Error).message}</p>
        <button type="button" class="button primary" onClick={() => location.reload()}>
          Try again
        </button>
      </main>,
      root,
    )
  }
}
