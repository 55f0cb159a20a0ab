import { expect, test } from 'bun:test'
import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { canBeAsked, mayInstall } from './support/process/consent.ts'
import { repository } from './support/repository.ts'
import { createFolder } from './support/services/folder.ts'

test.each([
  ['y', true],
  [' Yes ', true],
  ['', false],
  ['n', false],
  ['yesterday', false],
  [null, false],
])('a person at a terminal who answers %p has the packages installed: %p', (answer, expected) => {
  const asked: string[] = []
  const ask = (question: string) => {
    asked.push(question)
    return answer
  }
  expect(mayInstall(['nginx', 'Redis'], { person: true, ask })).toBe(expected)
  expect(asked).toEqual([expect.stringContaining('nginx, Redis')])
})

test.each([
  ['no person is there', ['nginx'], false],
  ['nothing is missing', [], true],
])('nobody is asked where %s', (_, missing, person) => {
  const ask = () => {
    throw new Error('asked')
  }
  expect(mayInstall(missing, { person, ask })).toBe(true)
})

test('a terminal in CI has no person before it', () => {
  expect([canBeAsked(true, false), canBeAsked(true, true), canBeAsked(false, false)]).toEqual([true, false, false])
})

test('the test command asks at a real terminal before it installs, and installs nothing after "n"', async () => {
  // Nothing that the set-up looks for is on this PATH, only what removes temporary files.
  const folder = await createFolder()
  for (const name of ['sh', 'cat', 'rm']) await symlink(Bun.which(name) ?? '', join(folder.path, name))
  let shown = ''
  const decoder = new TextDecoder()
  const child = Bun.spawn([process.execPath, '--no-env-file', 'test/run.ts', 'setup'], {
    cwd: repository,
    env: { PATH: folder.path, HOME: folder.path, TERM: 'dumb' },
    terminal: {
      data(terminal, bytes) {
        const before = shown.includes('[y/N]')
        shown += decoder.decode(bytes)
        if (!before && shown.includes('[y/N]')) terminal.write('n\n')
      },
    },
  })
  const code = await child.exited
  child.terminal?.close()
  await folder.remove()
  expect(code).toBe(0)
  expect(shown).toContain('nothing is installed')
  expect(shown).not.toContain('MISSING')
}, 30_000)
