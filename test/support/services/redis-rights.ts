import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { repository } from '../repository.ts'

/** The rights of the service's user in Redis, as docs/deploying.md lists them. */
export function documentedRights(): { events: string; limits: string; cluster: string } {
  const page = readFileSync(join(repository, 'docs/deploying.md'), 'utf8')
  const [item = ''] = /- \*\*Rights in Redis\*\*[\s\S]*?\n- /.exec(page) ?? []
  const [events = '', limits = '', cluster = ''] = [...item.matchAll(/`([~+][^`]*)`/g)].map(([, rights = '']) => rights)
  return { events, limits, cluster }
}
