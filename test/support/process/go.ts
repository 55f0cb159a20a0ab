import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** A program from PATH, else where `go install` puts it. */
export function findGoProgram(name: string): string | undefined {
  const onPath = Bun.which(name)
  if (onPath) return onPath
  return [join(homedir(), 'go', 'bin'), ...goFolders()].map((folder) => join(folder, name)).find(existsSync)
}

function goFolders(): string[] {
  if (!Bun.which('go')) return []
  const [bin = '', path = ''] = Bun.spawnSync(['go', 'env', 'GOBIN', 'GOPATH']).stdout.toString().split('\n')
  return [bin, path && join(path, 'bin')].filter((folder) => folder !== '')
}
