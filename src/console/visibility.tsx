/** A choice between private and public. */
import { useId } from 'preact/hooks'
import type { MediaItem } from './api.ts'
import { Globe, Lock } from './icons.tsx'

type Visibility = MediaItem['visibility']
type Props = { legend: string; value: Visibility; onChange: (value: Visibility) => void }

export function VisibilityChoice({ legend, value, onChange }: Props) {
  const name = useId()
  return (
    <fieldset class="choice">
      <legend class="unseen">{legend}</legend>
      {(['private', 'public'] as const).map((one) => (
        <label key={one}>
          <input type="radio" name={name} checked={value === one} onChange={() => onChange(one)} />
          <span>
            {one === 'public' ? <Globe /> : <Lock />}
            {one === 'public' ? 'Public' : 'Private'}
          </span>
        </label>
      ))}
    </fieldset>
  )
}
