/** Makes the instruments of one registry. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

export type Instruments = ReturnType<typeof instrumentsOf>

export function instrumentsOf(registry: Registry) {
  const registers = [registry]
  return {
    counter: <L extends string>(name: string, help: string, labelNames: L[] = []) =>
      new Counter({ name, help, labelNames, registers }),
    gauge: <L extends string>(name: string, help: string, labelNames: L[] = []) =>
      new Gauge({ name, help, labelNames, registers }),
    /** @param buckets upper bounds */
    histogram: <L extends string>(name: string, help: string, { labelNames, buckets }: Bounds<L>) =>
      new Histogram({ name, help, labelNames, buckets, registers }),
  }
}

type Bounds<L extends string> = { labelNames: L[]; buckets: number[] }
