/**
 * What a session in a cookie costs a handler: from the `Cookie` field to the decoded value, and from the changed value to
 * `Set-Cookie`.
 *
 * A sample is twenty requests: divide what vitest prints by twenty. At the end all are measured once more, in turns, for one
 * request. "By hand" is the same with `node:crypto` and `JSON` alone, without names, versions and a schema.
 */
import { Headers, HttpServerResponse } from "@effect/platform"
import { Clock, Context, Effect, Redacted } from "effect"
import { Entropy, Keyring, type Middleware, type ResponseDraft, type Session } from "effect-middleware"
import * as assert from "node:assert/strict"
import { afterAll, bench, describe } from "vitest"
import { readCookie } from "../src/internal/cookie.js"
import { type Phase, phasesOf } from "../src/internal/kernel.js"
import { open } from "../src/ResponseDraft.js"
import { encrypted, signed } from "./sessions/apps/cookies.js"
import { Visit } from "./sessions/visit.js"
import { counted, headersWith, secret, visitor } from "./sessions/work.js"
import { quantile } from "./statistics.js"

const clock = Clock.make()
const entropy = Context.get(Context.empty(), Entropy.Entropy)
/** What the phases of a session look at. */
const exchangeOf = (headers: Headers.Headers) =>
  ({ request: { headers }, clock, entropy, locals: undefined }) as unknown as Middleware.Exchange

/** In one fiber, where a handler is anyway. */
const batch = 20
const batches = new Map<string, Effect.Effect<void, unknown>>()

const each = (name: string, request: Effect.Effect<unknown, unknown>) => {
  const all = Effect.gen(function*() {
    for (let i = 0; i < batch; i++) yield* request
  })
  batches.set(name, all)
  bench(name, () => void Effect.runSync(all), { time: 500, warmupTime: 1000 })
}

/** One after the other a neighbour that begins to work makes a ratio: so once more, all of them in turns. */
afterAll(() => {
  const times = new Map([...batches.keys()].map((name) => [name, Array<number>()]))
  for (let round = 0; round < 2000; round++) {
    for (const [name, all] of round % 2 === 0 ? batches : [...batches].reverse()) {
      const began = performance.now()
      Effect.runSync(all)
      times.get(name)?.push((performance.now() - began) * 1000 / batch)
    }
  }
  for (const [name, values] of times) {
    const [least, tenth, half] = [0, 0.1, 0.5].map((q) => quantile(values, q).toFixed(2))
    console.log(`in turns  ${name}: ${least} µs at least, ${tenth} in the quietest tenth, ${half} in the middle`)
  }
})

describe(`Session, 200 bytes, ${batch} requests`, () => {
  for (const kind of ["signed", "encrypted"] as const) {
    const keyring = Keyring.make({ keys: [Redacted.make(secret)] })
    const [{ request, response }] = phasesOf(Visit.middleware({ kind, keyring })) as readonly [Phase]
    const begin = (exchange: Middleware.Exchange) =>
      (request!(exchange) as Middleware.Provide<Session.Service<typeof visitor>>).value
    const end = (exchange: Middleware.Exchange) => {
      const draft: ResponseDraft.ResponseDraft = open(HttpServerResponse.empty())
      // of a cookie: there is nothing to wait for
      void response!(draft, exchange)
      return Effect.succeed(draft)
    }

    const first = exchangeOf(Headers.fromInput(headersWith(undefined)))
    Effect.runSync(begin(first).set(visitor))
    const draft = open(HttpServerResponse.empty())
    void response!(draft, first)
    const [cookie] = Object.values(draft.cookies.cookies)
    const headers = Headers.fromInput(headersWith(`${cookie!.name}=${cookie!.value}`))

    const byHand = { signed, encrypted }[kind]
    const field = `theme=dark; session=${byHand.write(visitor)}`
    assert.deepEqual(Effect.runSync(begin(exchangeOf(headers)).get), visitor)
    assert.deepEqual(byHand.read(byHand.write(visitor)), visitor)
    each(`${kind}, read by hand`, Effect.sync(() => byHand.read(readCookie(field, "session") ?? "")))
    each(`${kind}, read`, Effect.suspend(() => begin(exchangeOf(headers)).get))
    each(
      `${kind}, read and written`,
      Effect.suspend(() => {
        const exchange = exchangeOf(headers)
        const session = begin(exchange)
        return Effect.zipRight(session.update(counted), Effect.suspend(() => end(exchange)))
      })
    )
    each(`${kind}, not asked for`, Effect.sync(() => begin(exchangeOf(headers))))
  }

  const header = headersWith(`__Host-session=${"a".repeat(400)}`)["cookie"]
  each("the scan for the cookie alone", Effect.sync(() => readCookie(header, "__Host-session")))
})
