/**
 * The process of one size: fills a store, reads sessions of it by random keys, and does the least beside it that keeps a
 * Map in the order of use: takes the same keys out of one, and puts them in again. Prints one line of JSON.
 *
 *     node --expose-gc measure.js <size> <reads> <"owned" or "unowned">
 */
import * as SessionStore from "effect-middleware/SessionStore"
import * as Effect from "effect/Effect"
import * as assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { quantile } from "../statistics.js"

/** Nanoseconds. */
export interface Cost {
  /** Of wall time, in the quietest tenth of the samples. */
  readonly wall: number
  /** Of CPU time, over all samples and all threads: the collector's, and moving house when a Map is full. */
  readonly cpu: number
}

export interface Measured {
  readonly store: Cost
  readonly map: Cost
  /** Bytes of resident memory that a session has taken. */
  readonly memory: number
}

const [size, reads] = process.argv.slice(2, 4).map(Number) as [number, number]
const isOwned = process.argv[4] === "owned"

// identifiers as they come: 43 letters each, of which every reader has a copy of its own
const length = 43
const ids = Buffer.alloc(size * length)
for (let i = 0; i < size; i++) ids.write(randomBytes(32).toString("base64url"), i * length, "latin1")
const idOf = (i: number) => ids.toString("latin1", i * length, (i + 1) * length)

const [now, day] = [1_700_000_000_000, 86_400_000]
const entryOf = (i: number) => ({
  payload: JSON.stringify({ v: 1, d: { name: `Ada Lovelace`, visits: i, note: "-".repeat(150) } }),
  owner: isOwned ? `bench/Visit:${i}` : undefined,
  createdAt: now,
  touchedAt: now,
  expiresAt: now + 14 * day,
  endsAt: now + 90 * day
})
const options = { now, touch: { every: day, idle: 14 * day } }

const resident = () => {
  // what is left of young ones takes a second round
  for (let i = 0; i < 3; i++) globalThis.gc?.()
  return process.memoryUsage().rss
}
const before = resident()
const store = Effect.runSync(
  SessionStore.SessionStore.pipe(Effect.provide(SessionStore.layerMemory({ capacity: size })))
)
for (let i = 0; i < size; i++) assert.ok(Effect.runSync(store.create(idOf(i), entryOf(i), now)))
const memory = (resident() - before) / size

const map = new Map<string, object>()
const value = {}
for (let i = 0; i < size; i++) map.set(idOf(i), value)

/** In one fiber, as a handler is: so the store's own steps are in it, and no fiber of its own for each. */
const fromStore = (keys: ReadonlyArray<string>) =>
  Effect.runSync(Effect.gen(function*() {
    let found = 0
    for (const key of keys) if ((yield* store.load(key, options)) !== undefined) found++
    return found
  }))
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
const keysOf = (picks: ReadonlyArray<number>) => picks.map(idOf)
const sample = (read: (keys: ReadonlyArray<string>) => number, picks: ReadonlyArray<number>) => {
  const keys = keysOf(picks)
  const [began, used] = [performance.now(), cpu()]
  const found = read(keys)
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
const batches = Math.ceil(reads / batch)
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
