/**
 * A large list that is the same for everybody: made once a minute, compressed for who can read that, and sent once.
 */
import { HttpLayerRouter, HttpServerResponse } from "@effect/platform"
import { Effect } from "effect"
import { Conditional, ResponseCache } from "effect-middleware"

const words = ["apple", "bread", "candle", "date", "egg", "fig", "garlic", "honey"]

/** An example: a real one would ask a database for as long. */
const search = Effect.delay(
  Effect.sync(() =>
    Array.from({ length: 2000 }, (_, id) => ({
      id,
      name: `${words[id % 8]} and ${words[(id * 5 + 3) % 8]}`,
      price: 99 + (id * 37) % 900,
      description: `No. ${id} of our catalogue, with ${words[(id * 3) % 8]}, ${words[(id * 7 + 1) % 8]} and no ${
        words[id % 7]
      }`
    }))
  ),
  "50 millis"
)

const catalogue = Effect.gen(function*() {
  yield* ResponseCache.tag("catalogue")
  // for everybody, whatever cookies they have: who reloads is sent what is stored, or nothing if they have it already
  return yield* HttpServerResponse.json(yield* search, { headers: { "cache-control": "public, max-age=60" } })
}).pipe(Conditional.middleware(), ResponseCache.middleware())

export const routes = HttpLayerRouter.add("GET", "/catalogue", catalogue)
