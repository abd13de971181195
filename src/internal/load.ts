/** How busy the process is, by what Node says of it. Plain numbers, measured anew every half second at most. */
import { totalmem } from "node:os"
import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks"
import { getHeapStatistics } from "node:v8"

const interval = 500
/** How often the timer runs by whose lateness the delay is known, in milliseconds. */
const resolution = 10

const cached = <A>(measure: () => A): () => A => {
  let at = -Infinity
  let value: A | undefined
  return () => {
    const now = performance.now()
    if (value === undefined || now - at >= interval) [value, at] = [measure(), now]
    return value
  }
}

let histogram: IntervalHistogram | undefined

/** The mean since it was measured last, in milliseconds. The first time it only begins. */
export const eventLoopDelay: () => number = cached(() => {
  if (histogram === undefined) {
    histogram = monitorEventLoopDelay({ resolution })
    histogram.enable()
    return 0
  }
  const { mean } = histogram
  histogram.reset()
  // there is none of no sample
  return Number.isNaN(mean) ? 0 : Math.max(0, mean / 1e6 - resolution)
})

export const heap = cached(() => ({ used: process.memoryUsage().heapUsed, limit: getHeapStatistics().heap_size_limit }))

export const rss = cached(() => {
  // what a container allows, or what the machine has; Node gives 0, or more than there is, where nothing constrains it
  const constrained = process.constrainedMemory() || Infinity
  return { used: process.memoryUsage.rss(), limit: Math.min(constrained, totalmem()) }
})
