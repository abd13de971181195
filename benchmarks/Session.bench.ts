/**
 * What a session in a cookie costs a handler: from the `Cookie` field to the decoded value, and from the changed value to
 * `Set-Cookie`.
 *
 * A sample is twenty requests: divide what vitest prints by twenty. The quietest tenth of the samples, for one request, is
 * printed at the end. "By hand" is the same with `node:crypto` and `JSON` alone, without names, versions and a schema.
 */
import { Headers, HttpServerResponse } from "@effect/platform"
import { Clock, Context, Effect, Redacted } from "effect"
import { Entropy, Keyring, type Middleware, type ResponseDraft, type Session } from "effect-middleware"
import * as assert from "node:assert/strict"
import { afterAll, bench, describe } from "vitest"
import { readCookie } from "../src/internal/cookie.js"
import { type Phase, phasesOf } from "../src/internal/kernel.js"
import { open } from "../src/ResponseDraft.js"
import { encrypted, signed } from "./sessions/apps/raw.js"
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
const quietest = new Map<string, Array<number>>()
afterAll(() => {
  for (const [name, times] of quietest) {
    console.log(`quietest tenth  ${name}: ${(quantile(times, 0.1) * 1000 / batch).toFixed(2)} µs`)
  }
})

const each = (name: string, request: Effect.Effect<unknown, unknown>) => {
  const times: Array<number> = []
  quietest.set(name, times)
  const all = Effect.gen(function*() {
    for (let i = 0; i < batch; i++) yield* request
  })
  bench(name, () => {
    const began = performance.now()
    Effect.runSync(all)
    times.push(performance.now() - began)
  }, { time: 1500, warmupTime: 1500 })
}

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
