/**
 * The process of one variant: checks what it does, warms it up, times it, and
 * prints one line of JSON.
 *
 *     node measure.js <name> <layers> <warm-up, CPU ms> <measuring, CPU ms>
 */
import * as assert from "node:assert/strict"
import { quantile } from "../statistics.js"
import { type Name, open } from "./variants.js"
import { expected } from "./work.js"

export interface Measured {
  /** Microseconds of wall time a request, in the quietest tenth of samples of a millisecond or two. */
  readonly wall: number
  /** Microseconds of CPU time a request, over all samples and all threads: the garbage collector's included. */
  readonly cpu: number
  readonly requests: number
}

const run = async (send: () => unknown, requests: number) => {
  for (let i = 0; i < requests; i++) await send()
}

const cpuMillis = () => {
  const { system, user } = process.cpuUsage()
  return (user + system) / 1000
}

/** Fewer, and the compiler may not have seen enough. */
const fewest = 10_000

/** The limits are of CPU time: on a machine with other work, wall time would warm up too little. */
const measure = async (send: () => unknown, warmUp: number, measuring: number): Promise<Measured> => {
  let perSample = 1
  let warm = 0
  for (const end = cpuMillis() + warmUp; warm < fewest || cpuMillis() < end;) {
    const began = performance.now()
    await run(send, perSample)
    warm += perSample
    if (performance.now() - began < 1) perSample *= 2
    // lets finalizers run, as a server does
    await new Promise(setImmediate)
  }
  const samples: Array<number> = []
  const began = cpuMillis()
  for (const end = began + measuring; cpuMillis() < end;) {
    const began = performance.now()
    await run(send, perSample)
    samples.push((performance.now() - began) * 1000 / perSample)
    await new Promise(setImmediate)
  }
  const requests = samples.length * perSample
  return { wall: quantile(samples, 0.1), cpu: (cpuMillis() - began) * 1000 / requests, requests }
}

const [name, layers, warmUp, measuring] = process.argv.slice(2) as [Name, string, string, string]
const count = Number(layers)
const server = await open(name, count)
const refusers = [...new Set(count === 0 ? [] : [0, Math.floor(count / 2), count - 1])]
for (const client of ["somebody", ...refusers.map((i) => `client-${i}`)]) {
  assert.deepEqual(await server(client).reply(), expected(count, client), `${name} with ${count} layers, for ${client}`)
}
const { send } = server("somebody")
console.log(JSON.stringify(await measure(send, Number(warmUp), Number(measuring))))
