/**
 * The process of one size: a store of as many sessions, of which random ones are read. Prints one line of JSON.
 *
 *     node --expose-gc measure.js <size> <reads> <"owned" or "unowned">
 */
import * as SessionStore from "effect-middleware/SessionStore"
import * as Effect from "effect/Effect"
import * as assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { besideMap } from "../besideMap.js"

const [size, times] = process.argv.slice(2, 4).map(Number) as [number, number]
const isOwned = process.argv[4] === "owned"

// identifiers as they come: 43 letters each
const length = 43
const ids = Buffer.alloc(size * length)
for (let i = 0; i < size; i++) ids.write(randomBytes(32).toString("base64url"), i * length, "latin1")
const keyOf = (i: number) => ids.toString("latin1", i * length, (i + 1) * length)

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

const measured = besideMap({
  size,
  times,
  keyOf,
  fill: () => {
    const store = Effect.runSync(
      SessionStore.SessionStore.pipe(Effect.provide(SessionStore.layerMemory({ capacity: size })))
    )
    for (let i = 0; i < size; i++) assert.ok(Effect.runSync(store.create(keyOf(i), entryOf(i), now)))
    // in one fiber, as a handler is: so the store's own steps are in it, and no fiber of its own for each
    return (keys) =>
      Effect.runSync(Effect.gen(function*() {
        let found = 0
        for (const key of keys) if ((yield* store.load(key, options)) !== undefined) found++
        return found
      }))
  }
})
console.log(JSON.stringify(measured))
