/** A line of the service's log. */
export type Line = Record<string, unknown>

/** Those lines of what it wrote that are JSON. */
export function linesOf(text: string): Line[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
}
