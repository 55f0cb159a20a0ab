/** The sign-in form; the token is kept until the tab is closed. */
import { useState } from 'preact/hooks'
import type { MediaError } from './api.ts'
import { Failure } from './failure.tsx'
import { Logo } from './icons.tsx'

type Props = { onToken: (token: string) => void; refusal: MediaError | null }

export function SignIn({ onToken, refusal }: Props) {
  const [token, setToken] = useState('')
  const submit = (event: Event) => {
    event.preventDefault()
    if (token.trim() !== '') onToken(token.trim().replace(/^Bearer\s+/i, ''))
  }
  return (
    <main class="notice">
      <Logo />
      <h1>Sign in</h1>
      <p>Paste a bearer token of this service. It is kept in this tab only, until you close it.</p>
      <form onSubmit={submit}>
        <label>
          Token
          <input
            class="field"
            type="password"
            autocomplete="off"
            spellcheck={false}
            value={token}
            onInput={({ currentTarget }) => setToken(currentTarget.value)}
          />
        </label>
        {refusal && <Failure error={refusal} />}
        <button type="submit" class="button primary">
          Sign in
        </button>
      </form>
    </main>
  )
}
