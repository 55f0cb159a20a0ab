/** Histograms of what happens several times in each request: one value costs prom-client (15.1.3) half a microsecond. */

export type Histogram = {
  /**
   * Counts a value in the series of these labels.
   * @param labels as Prometheus' text format has them, without braces: `route="/media/:id",status="200"`
   */
  observe(labels: string, value: number): void
  /** Everything so far, in Prometheus' text format. */
  text(): string
}

type Series = { counts: number[]; sum: number }

/** @param bounds the upper ones of the buckets, in order */
export function createHistogram(metric: { name: string; help: string; bounds: readonly number[] }): Histogram {
  const { name, help, bounds } = metric
  const series = new Map<string, Series>()

  function begin(labels: string): Series {
    const one = { counts: [...bounds.map(() => 0), 0], sum: 0 }
    series.set(labels, one)
    return one
  }

  function linesOf([labels, { counts, sum }]: [string, Series]): string[] {
    let total = 0
    const buckets = counts.map((count, i) => {
      total += count
      return `${name}_bucket{${labels},le="${bounds[i] ?? '+Inf'}"} ${total}`
    })
    return [...buckets, `${name}_sum{${labels}} ${sum}`, `${name}_count{${labels}} ${total}`]
  }

  return {
    observe(labels, value) {
      const one = series.get(labels) ?? begin(labels)
      let bucket = 0
      while (bucket < bounds.length && value > (bounds[bucket] ?? 0)) bucket += 1
      one.counts[bucket] = (one.counts[bucket] ?? 0) + 1
      one.sum += value
    },
    text: () => [`# HELP ${name} ${help}`, `# TYPE ${name} histogram`, ...[...series].flatMap(linesOf), ''].join('\n'),
  }
}
