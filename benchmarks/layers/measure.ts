/**
 * The process of one variant: checks what it does, warms it up, times it, and
 * prints one line of JSON.
 *
 *     node ... benchmarks/layers/measure.ts <name> <layers> <warm-up ms> <measuring ms>
 */
import * as assert from "node:assert/strict"
import { median } from "../statistics.js"
import { type Name, open } from "./variants.js"
import { expected } from "./work.js"

export interface Measured {
  /** Microseconds of wall time a request: the median of samples of some milliseconds. */
  readonly wall: number
  /** Microseconds of CPU time a request, the garbage collector's included, over all samples. */
  readonly cpu: number
  readonly requests: number
}

const run = async (send: () => unknown, requests: number) => {
  for (let i = 0; i < requests; i++) await send()
}

const measure = async (send: () => unknown, warmUp: number, measuring: number): Promise<Measured> => {
  const now = () => performance.now()
  let perSample = 1
  let began = now()
  for (const end = began + warmUp; now() < end;) {
    began = now()
    await run(send, perSample)
    if (now() - began < 4) perSample *= 2
    // lets finalizers run, as a server does
    await new Promise(setImmediate)
  }
  const samples: Array<number> = []
  const cpu = process.cpuUsage()
  for (const end = now() + measuring; now() < end;) {
    began = now()
    await run(send, perSample)
    samples.push((now() - began) * 1000 / perSample)
    await new Promise(setImmediate)
  }
  const { system, user } = process.cpuUsage(cpu)
  const requests = samples.length * perSample
  return { wall: median(samples), cpu: (user + system) / requests, requests }
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
