/** Waits until something is so, 8 seconds at most. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 8000
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error('It does not become so within 8 seconds')
    await Bun.sleep(20)
  }
}
