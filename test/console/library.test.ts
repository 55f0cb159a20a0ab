import { expect, test } from 'bun:test'
import type { Api, MediaItem } from '../../src/console/api.ts'
import { createLibrary } from '../../src/console/library.ts'

const PAGE = 60

test('a page that was asked for before everything was replaced is not put below what replaced it', async () => {
  const { api, ids, held } = listOf(3 * PAGE)
  const library = createLibrary(api, 'active')
  await library.showMore()
  await library.showMore()
  const third = held()
  const asked = library.showMore()
  await library.reload()
  third.resolve()
  await asked
  expect(shown(library)).toEqual(ids.slice(0, PAGE))
  await library.showMore()
  await library.showMore()
  expect(shown(library)).toEqual(ids)
})

const shown = (library: ReturnType<typeof createLibrary>) => library.state().items.map(({ id }) => id)

/** A list of so many, the newest first; `held` keeps the next page that is asked for until it is told. */
function listOf(length: number) {
  const ids = Array.from({ length }, (_, i) => String(length - i).padStart(4, '0'))
  let gate: Promise<void> | undefined
  const api: Pick<Api, 'list'> = {
    async *list(query) {
      const held = gate
      gate = undefined
      await held
      const { cursor } = query ?? {}
      for (const id of ids) if (cursor === undefined || id < cursor) yield { id } as MediaItem
    },
  }
  function held() {
    const { promise, resolve } = Promise.withResolvers<void>()
    gate = promise
    return { resolve }
  }
  return { api, ids, held }
}
