import { join } from 'node:path'
import { repository } from '../repository.ts'

export type ComposeService = {
  environment: Record<string, string | number | null>
  read_only: boolean
  tmpfs: string[]
  cap_drop: string[]
  security_opt: string[]
}

/** The service `media` of docker-compose.yml, as it stands there. */
export async function composeService(): Promise<ComposeService> {
  const compose = Bun.YAML.parse(await Bun.file(join(repository, 'docker-compose.yml')).text())
  return (compose as { services: { media: ComposeService } }).services.media
}

/** Its environment, as compose makes it from these values of `.env`. */
export function environmentOf(
  { environment }: Pick<ComposeService, 'environment'>,
  values: Record<string, string>,
): Record<string, string> {
  const settings: [string, string][] = []
  for (const [name, text] of Object.entries(environment)) {
    const value = text === null ? values[name] : interpolated(String(text), values)
    if (value !== undefined) settings.push([name, value])
  }
  return Object.fromEntries(settings)
}

/** `${NAME:-default}` and `${NAME:?message}`, as compose reads them. */
function interpolated(text: string, values: Record<string, string>): string {
  return text.replaceAll(/\$\{(\w+):([-?])([^}]*)\}/g, (_, name: string, kind: string, rest: string) => {
    const value = values[name] ?? ''
    if (value === '' && kind === '?') throw new Error(`${name}: ${rest}`)
    return value === '' ? rest : value
  })
}
