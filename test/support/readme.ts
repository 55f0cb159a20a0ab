import { join } from 'node:path'
import { repository } from './repository.ts'

/** What users and operators read: settings, commands and examples in it are tried. */
export const GUIDES = [
  'README.md',
  'docs/api.md',
  'docs/uploads.md',
  'docs/pictures.md',
  'docs/events.md',
  'docs/operating.md',
  'docs/deploying.md',
  'docs/stores.md',
]
/** What developers read. */
export const INSIDE = ['docs/ARCHITECTURE.md', 'docs/QUIRKS.md', 'CONTRIBUTING.md', 'SECURITY.md']

/** The text of these pages, one after the other. */
export async function readPages(...pages: string[]): Promise<string> {
  const texts = await Promise.all(pages.map((page) => Bun.file(join(repository, page)).text()))
  return texts.join('\n')
}

/** The fenced blocks of a language in these pages, or all guides, each once, in order, without a list's indentation. */
export async function fencedBlocks(language: string, ...pages: string[]): Promise<string[]> {
  const text = await readPages(...(pages.length > 0 ? pages : GUIDES))
  const found = [...text.matchAll(/^( *)```(\w+)\n([\s\S]*?)\n\1```$/gm)]
    .filter(([, , of]) => of === language)
    .map(([, indentation = '', , block = '']) => block.replaceAll(new RegExp(`^${indentation}`, 'gm'), ''))
  return [...new Set(found)]
}
