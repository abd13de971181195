/**
 * A prototype: the part of a server that answers by plain phases alone, before a
 * fiber exists. It stands on what the kernel exports, so that a server which does
 * this need not change the kernel.
 */
import { HttpApp, HttpServerRequest, HttpServerRespondable, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { type Clock, Context, Data, Effect, TestClock } from "effect"
import { ExceptionHandlers, Forwarded, Middleware, RequestId, Stack, TrustedHost } from "effect-middleware"
import { advance, ExchangeImpl, flush, phasesOf } from "../src/internal/kernel.js"

/** The answer of the plain phases; `undefined` where a fiber is needed, or the app. */
const answer = (
  middleware: Middleware.Any,
  request: HttpServerRequest.HttpServerRequest,
  clock: Clock.Clock
): HttpServerResponse.HttpServerResponse | undefined => {
  const currentContext = Context.make(HttpServerRequest.HttpServerRequest, request) as Context.Context<never>
  const phases = phasesOf(middleware)
  const wraps = phases.findIndex((phase) => phase.around !== undefined)
  const exchange = new ExchangeImpl({ currentContext, clock }, undefined)
  advance(exchange, wraps === -1 ? phases : phases.slice(0, wraps), 0)
  const ended = exchange.takeEnded()
  if (ended === undefined || ended._tag === "Die") return undefined
  const face = ended._tag === "Respond" ? ended.response : faceOf(ended.error)
  const edited = face === undefined ? undefined : flush(exchange, face, 0)
  return HttpServerResponse.isServerResponse(edited) ? edited : undefined
}

/** A refusal that is rendered by an Effect needs a fiber for it. */
const faceOf = (error: unknown) => {
  const face = HttpServerRespondable.isRespondable(error) ? error[HttpServerRespondable.symbol]() : undefined
  return HttpServerResponse.isServerResponse(face) ? face : undefined
}

class Plain extends Data.TaggedError("Plain")<{}> {}

const began = Middleware.local<number>()
const timing = Middleware.make({
  name: "Timing",
  request: (exchange) => began.set(exchange, exchange.clock.unsafeCurrentTimeMillis()),
  response: (draft, exchange) => draft.set("x-began", String(began.get(exchange)))
})
const host = TrustedHost.middleware({ hosts: ["www.example.com"], canonical: "www" })
const id = RequestId.middleware({ trust: "all" })
const wraps = ExceptionHandlers.byTag({ Plain: () => HttpServerResponse.empty({ status: 418 }) })
const preflight = Middleware.make({
  name: "Preflight",
  request: ({ request }) =>
    request.method === "OPTIONS" ? Middleware.Respond(HttpServerResponse.empty({ status: 204 })) : undefined
})
const effect = Middleware.make({ name: "Effect", requestEffect: () => Effect.void })
const effectOut = Middleware.make({
  name: "EffectOut",
  responseEffect: (draft) => Effect.sync(() => draft.set("x", "1"))
})

const arrival = Stack.make(timing, Forwarded.middleware({ trust: { hops: 1 } }), id, preflight, host, wraps)
const evil = { headers: { host: "evil.test" } }
const apex = { path: "/a?b", headers: { host: "example.com" } }
const options = { method: "OPTIONS", headers: { host: "evil.test" } }
const good = { headers: { host: "www.example.com" } }

const requestOf = ({ headers = {}, method = "GET", path = "/" }: {
  readonly headers?: Record<string, string>
  readonly method?: string
  readonly path?: string
}) => new Request(`http://localhost${path}`, { method, headers: { "x-request-id": "id", ...headers } })

describe("an adapter without a fiber", () => {
  it.effect.each(
    [
      ["a refusal", arrival, evil, true],
      ["a redirect", arrival, apex, true],
      ["a preflight", arrival, options, true],
      ["a request for the app", arrival, good, false],
      ["a refusal inside what wraps", Stack.make(wraps, timing, host), evil, false],
      ["a refusal inside an Effect", Stack.make(timing, effect, host), evil, false],
      ["a refusal outside an Effect", Stack.make(timing, host, effect), evil, true],
      ["a response by an Effect", Stack.make(effectOut, timing, host), evil, false],
      ["a condition that is not met", Stack.make(timing, Middleware.when(() => false, effect), host), evil, true],
      ["a condition by an Effect", Stack.make(Middleware.when(() => Effect.succeed(true), timing), host), evil, false],
      [
        "a refusal without a face",
        Stack.make(timing, Middleware.make({ name: "P", request: () => Middleware.Refuse(new Plain()) })),
        good,
        false
      ]
    ] as ReadonlyArray<
      readonly [string, Middleware.Middleware<never, object>, Parameters<typeof requestOf>[0], boolean]
    >
  )(
    "%s: answers as the fiber would, or leaves it to the fiber",
    ([_, middleware, init, plainly]) =>
      Effect.gen(function*() {
        yield* TestClock.setTime(1234)
        const clock = yield* Effect.clock
        const response = answer(middleware, HttpServerRequest.fromWeb(requestOf(init)), clock)
        assert.strictEqual(response !== undefined, plainly)
        if (response === undefined) return
        const runtime = yield* Effect.runtime<never>()
        const handler = HttpApp.toWebHandlerRuntime(runtime)(middleware(Effect.dieMessage("the app ran")))
        const other = yield* Effect.promise(() => handler(requestOf(init)))
        const own = HttpServerResponse.toWeb(response)
        assert.strictEqual(own.status, other.status)
        assert.deepStrictEqual([...own.headers], [...other.headers])
        assert.strictEqual(own.headers.get("x-began"), "1234")
        assert.strictEqual(yield* Effect.promise(() => own.text()), yield* Effect.promise(() => other.text()))
      })
  )
})
