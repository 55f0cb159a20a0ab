/** The client as a release has it: the tarball that `npm pack` makes, or the one that `CLIENT_TARBALL` names. */
import { cp, symlink } from 'node:fs/promises'
import { homedir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { runToEnd } from './process/process.ts'
import { repository } from './repository.ts'

/** npm's cache is the user's own, so that a package is downloaded once. */
export const NPM_ENV = { PATH: process.env.PATH ?? '', HOME: homedir(), npm_config_update_notifier: 'false' }

/** @returns the tarball's path; one that is made here lies in `folder` */
export async function packClient(folder: string): Promise<string> {
  const { CLIENT_TARBALL } = process.env
  if (CLIENT_TARBALL !== undefined) return resolve(repository, CLIENT_TARBALL)
  // Apart from the repository, for packing builds files.
  const source = join(folder, 'source')
  for (const file of ['tsconfig.json', 'src/client'])
    await cp(join(repository, file), join(source, file), {
      recursive: true,
      filter: (path) => !['dist', 'node_modules'].includes(basename(path)),
    })
  await symlink(join(repository, 'node_modules'), join(source, 'node_modules'))
  const pack = ['npm', 'pack', '--pack-destination', folder]
  await runToEnd(pack, { cwd: join(source, 'src', 'client'), env: NPM_ENV })
  const { version } = await Bun.file(join(source, 'src', 'client', 'package.json')).json()
  return join(folder, `media-service-client-${version}.tgz`)
}
