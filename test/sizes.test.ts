import { describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { parseSync, Visitor } from 'oxc-parser'
import { repository } from './support/repository.ts'

const FILE_LINES = 250
const FUNCTION_LINES = 60
/** In the comment directly above a longer function. */
const REASON = /\bOver 60 lines: \S/

const sources: { file: string; text: string }[] = []
for await (const file of new Bun.Glob('src/**/*.{ts,tsx}').scan(repository)) {
  if (file.includes('node_modules') || file.includes('/dist/')) continue
  sources.push({ file, text: await Bun.file(join(repository, file)).text() })
}

describe('in src', () => {
  test('no file has more than 250 lines', () => {
    expect(sources.length).toBeGreaterThan(200)
    const long = sources
      .map(({ file, text }) => ({ file, lines: linesOf(text) }))
      .filter(({ lines }) => lines > FILE_LINES)
    expect(long).toEqual([])
  })

  test('no function has more than 60 lines without a reason in the comment above it', () => {
    expect(sources.flatMap(({ file, text }) => longFunctions(file, text))).toEqual([])
  })
})

describe('a function of 61 lines', () => {
  const body = '  work()\n'.repeat(59)

  test.each([
    ['a declaration', `function work() {\n${body}}\n`, ['sample.ts:1 work: 61 lines']],
    ['an exported one under a comment', `/** Works. */\nexport async function work() {\n${body}}\n`, [2]],
    ['an arrow function', `const work = () => {\n${body}}\n`, [1]],
    ['a method of an object', `const worker = {\n  work() {\n${body}},\n}\n`, [2]],
    ['a method of a class', `class Worker {\n  work() {\n${body}}\n}\n`, [2]],
  ])('is found: %s', (_, text, expected) => {
    const found = longFunctions('sample.ts', text)
    expect(found).toEqual(expected.map((at) => (typeof at === 'string' ? at : expect.stringContaining(`.ts:${at} `))))
  })

  test.each([
    ['has 60 lines', `function work() {\n${body.replace('  work()\n', '')}}\n`],
    [
      'has a reason above it',
      `/**\n * Works.\n * Over 60 lines: one table.\n */\nexport function work() {\n${body}}\n`,
    ],
    ['has a reason in a line above it', `// Over 60 lines: one table.\nconst work = () => {\n${body}}\n`],
  ])('is not found where it %s', (_, text) => {
    expect(longFunctions('sample.ts', text)).toEqual([])
  })
})

function longFunctions(file: string, text: string): string[] {
  const lines = text.split('\n')
  const found: string[] = []
  const look = ({ start, end, name }: { start: number; end: number; name: string }) => {
    const first = linesOf(text.slice(0, start)) + 1
    const length = linesOf(text.slice(start, end)) + 1
    if (length > FUNCTION_LINES && !REASON.test(commentAbove(lines, first)))
      found.push(`${file}:${first} ${name}: ${length} lines`)
  }
  const visitor = new Visitor({
    FunctionDeclaration: ({ start, end, id }) => look({ start, end, name: id?.name ?? 'a function' }),
    FunctionExpression: ({ start, end, id }) => look({ start, end, name: id?.name ?? 'a function' }),
    ArrowFunctionExpression: ({ start, end }) => look({ start, end, name: 'an arrow function' }),
  })
  visitor.visit(parseSync(file, text).program)
  return found
}

function linesOf(text: string): number {
  return text.split('\n').length - 1
}

/** The text of the comment that ends on the line before `line`, which counts from 1. */
function commentAbove(lines: string[], line: number): string {
  const isComment = (text: string | undefined) => text !== undefined && /^\s*(\/\/|\/\*|\*)/.test(text)
  let first = line - 1
  while (isComment(lines[first - 1])) first -= 1
  return lines.slice(first, line - 1).join('\n')
}
