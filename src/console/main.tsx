/** Entry point of the page at /console. */
import { render } from 'preact'
import { type Api, createApi, MediaError, openSession } from './api.ts'
import { App } from './app.tsx'
import { SignIn } from './sign-in.tsx'

const TOKEN = 'media-console-token'

const root = document.querySelector('#page')
if (root === null) throw new Error('The page has no #page.')
await open(root)

/** Signs in with the development token, a token entered before, or the credentials that a gateway adds. */
async function open(root: Element): Promise<void> {
  try {
    const session = await openSession()
    const pasted = sessionStorage.getItem(TOKEN) ?? undefined
    const token = session.token ?? pasted
    if (token === undefined && !session.known) return askForToken(root, null)
    const api = createApi(token)
    const refusal = await refusalOf(api)
    if (refusal !== null) return askForToken(root, refusal)
    const canSignOut = session.token === null && pasted !== undefined
    render(<App api={api} session={session} onSignOut={canSignOut ? signOut : null} />, root)
  } catch (error) {
    render(
      <main class="notice" role="alert">
        <h1>The console failed to open</h1>
        <p>{(error as Error).message}</p>
        <button type="button" class="button primary" onClick={() => location.reload()}>
          Try again
        </button>
      </main>,
      root,
    )
  }
}

/**
 * The 401 for these credentials, or null when they are accepted.
 * @throws every other error
 */
async function refusalOf(api: Api): Promise<MediaError | null> {
  try {
    await api.usage()
    return null
  } catch (error) {
    if (error instanceof MediaError && error.status === 401) return error
    throw error
  }
}

function askForToken(root: Element, refusal: MediaError | null): void {
  sessionStorage.removeItem(TOKEN)
  const signIn = (token: string) => {
    sessionStorage.setItem(TOKEN, token)
    void open(root)
  }
  render(<SignIn onToken={signIn} refusal={refusal} />, root)
}

function signOut(): void {
  sessionStorage.removeItem(TOKEN)
  location.reload()
}
