import { join } from 'node:path'
import { repository } from './repository.ts'

/** The README as it is. */
export function readReadme(): Promise<string> {
  return Bun.file(join(repository, 'README.md')).text()
}

/** What is in its fenced blocks of this language, in order, without the indentation of a list that they are in. */
export async function fencedBlocks(language: string): Promise<string[]> {
  const fences = (await readReadme()).matchAll(/^( *)```(\w+)\n([\s\S]*?)\n\1```$/gm)
  return [...fences]
    .filter(([, , of]) => of === language)
    .map(([, indentation = '', , text = '']) => text.replaceAll(new RegExp(`^${indentation}`, 'gm'), ''))
}
