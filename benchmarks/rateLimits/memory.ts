/**
 * The process of one size: fills a store with keys, decides about random ones of them, and does the least beside it that keeps a
 * Map in the order of use: takes the same keys out of one, and puts them in again. Prints one line of JSON.
 *
 *     node --expose-gc memory.js <size> <decisions>
 */
import * as RateLimit from "effect-middleware/RateLimit"
import * as RateLimitStore from "effect-middleware/RateLimitStore"
import * as Effect from "effect/Effect"
import * as assert from "node:assert/strict"
import { quantile } from "../statistics.js"

/** Nanoseconds. */
export interface Cost {
  /** Of wall time, in the quietest tenth of the samples. */
  readonly wall: number
  /** Of CPU time, over all samples and all threads. */
  readonly cpu: number
}

export interface Measured {
  readonly store: Cost
  readonly map: Cost
  /** Bytes of resident memory that a key has taken. */
  readonly memory: number
}

const [size, decisions] = process.argv.slice(2, 4).map(Number) as [number, number]

// as they come: a text of its own for each request
const addressOf = (i: number) =>
  `10.${i >>> 16 & 255}.${i >>> 8 & 255}.${i & 255}${i >>> 24 === 0 ? "" : `.${i >>> 24}`}`
const limits = RateLimit.limits(RateLimit.gcra({ limit: 1_000_000, window: "1 second" }))
const now = 1_700_000_000_000
const bucketOf = (key: string) => ({ limiter: "bench", key, limits })

const resident = () => {
  // what is left of young ones takes a second round
  for (let i = 0; i < 3; i++) globalThis.gc?.()
  return process.memoryUsage().rss
}
const before = resident()
const store = Effect.runSync(
  RateLimitStore.RateLimitStore.pipe(Effect.provide(RateLimitStore.layerMemory({ capacity: size })))
).sync!
// spent to the last, or a key would lapse while others come
const spent = { cost: 900_000, now }
for (let i = 0; i < size; i++) assert.ok(store.consume(bucketOf(addressOf(i)), spent).allowed)
const memory = (resident() - before) / size

const map = new Map<string, object>()
const value = {}
for (let i = 0; i < size; i++) map.set(addressOf(i), value)

const options = { cost: 1, now }
const fromStore = (keys: ReadonlyArray<string>) => {
  let found = 0
  for (const key of keys) if (store.consume(bucketOf(key), options).limits[0]!.remaining <= 100_000) found++
  return found
}
const fromMap = (keys: ReadonlyArray<string>) => {
  let found = 0
  for (const key of keys) {
    if (map.delete(key)) found++
    map.set(key, value)
  }
  return found
}

const cpu = () => {
  const { system, user } = process.cpuUsage()
  return user + system
}
/** Half a millisecond at most: so many go by undisturbed. */
const batch = 250
/** Made beforehand, and anew for each of the two. */
const sample = (decide: (keys: ReadonlyArray<string>) => number, picks: ReadonlyArray<number>) => {
  const keys = picks.map(addressOf)
  const [began, used] = [performance.now(), cpu()]
  const found = decide(keys)
  const taken = { wall: (performance.now() - began) * 1e6 / batch, cpu: (cpu() - used) * 1000 / batch }
  assert.equal(found, batch)
  return taken
}
type Sample = ReturnType<typeof sample>
const costOf = (samples: ReadonlyArray<Sample>): Cost => ({
  wall: quantile(samples.map(({ wall }) => wall), 0.1),
  cpu: samples.reduce((sum, { cpu }) => sum + cpu, 0) / samples.length
})

const [ofStore, ofMap]: [Array<Sample>, Array<Sample>] = [[], []]
const batches = Math.ceil(decisions / batch)
for (let i = -batches / 10; i < batches; i++) {
  const picks = Array.from({ length: batch }, () => Math.floor(Math.random() * size))
  const [first, second] = i % 2 === 0 ? [fromStore, fromMap] : [fromMap, fromStore]
  const samples = new Map([[first, sample(first, picks)], [second, sample(second, picks)]])
  if (i < 0) continue
  ofStore.push(samples.get(fromStore)!)
  ofMap.push(samples.get(fromMap)!)
}
const measured: Measured = { memory, store: costOf(ofStore), map: costOf(ofMap) }
console.log(JSON.stringify(measured))
