/** An error message, with its problem code for reports. */
import { MediaError } from './api.ts'

export function Failure({ error, onRetry }: { error: Error; onRetry?: () => void }) {
  return (
    <div class="failure" role="alert">
      <p>
        {error.message} {error instanceof MediaError && <code>{error.code}</code>}
      </p>
      {onRetry && (
        <button type="button" class="button" onClick={onRetry}>
          Try again
        </button>
      )}
    </div>
  )
}
