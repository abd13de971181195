/**
 * A prototype, kept as a test, of a server that decides a request before there is
 * a fiber: the plain phases of a stack run as the functions they are, and a fiber
 * is started for what is left. So that such a server will need nothing of the
 * kernel that is not there.
 */
import { HttpApp, HttpServerRequest, HttpServerRespondable, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Effect, Exit, FiberId, FiberRefs, Option, Runtime } from "effect"
import { Entropy, ExceptionHandlers, Forwarded, Middleware, RequestId, TrustedHost } from "effect-middleware"
import type { Compiled, Ended, Phase } from "../src/internal/kernel.js"
import { advance, apply, ExchangeImpl, phasesOf } from "../src/internal/kernel.js"
import { answered, type ErasedApp, Plain, probe, stackOf, Teapot, view, wrap } from "./utils/laws.js"

type Services = Context.Context<never>
type Answer = HttpServerResponse.HttpServerResponse

// --- the adapter -----------------------------------------------------------------------------------------------------

/** What an effect is that needs no fiber to be known. */
const known = (effect: Effect.Effect<Answer, unknown, unknown>): Answer | undefined =>
  HttpServerResponse.isServerResponse(effect) ?
    effect
    : Exit.isExit(effect) && Exit.isSuccess(effect) ?
    effect.value as Answer
    : undefined

const internalServerError = HttpServerResponse.empty({ status: 500 })

const faceOf = (ended: Ended): Answer | undefined => {
  if (ended._tag === "Respond") return ended.response
  const error = ended._tag === "Refuse" ? ended.error : ended.defect
  try {
    return known(
      HttpServerRespondable.isRespondable(error) ?
        error[HttpServerRespondable.symbol]()
        : ended._tag === "Refuse" ?
        HttpServerRespondable.toResponseOrElse(error, internalServerError)
        : HttpServerRespondable.toResponseOrElseDefect(error, internalServerError)
    )
  } catch {
    return undefined
  }
}

/** The response handler that an exchange puts into a fiber, taken where there is none. */
const handlerOf = (exchange: ExchangeImpl): HttpApp.PreResponseHandler => {
  let refs = FiberRefs.empty()
  const fiber = {
    id: () => FiberId.none,
    getFiberRef: (ref: { readonly initial: unknown }) => ref.initial,
    currentContext: exchange.context,
    _fiberRefs: refs,
    setFiberRefs: (set: FiberRefs.FiberRefs) => void (refs = set)
  }
  exchange.install(fiber as never)
  return Option.getOrThrow(Option.flatten(FiberRefs.get(refs, HttpApp.currentPreResponseHandlers)))
}

/** The phases from `at` on, where the first has done its plain part. */
const from = (phases: ReadonlyArray<Phase>, at: number, exchange: ExchangeImpl): ReadonlyArray<Phase> => {
  const { waitingFor } = exchange
  const [first, ...rest] = phases.slice(at)
  if (first === undefined || first.around !== undefined) return phases.slice(at)
  return waitingFor === undefined
    ? [{ ...first, request: undefined }, ...rest]
    : [{ ...first, guard: () => waitingFor }, ...rest]
}

const again = (ended: Ended): Phase => ({
  name: "Ended",
  request: () => {
    if (ended._tag === "Die") throw ended.defect
    return ended
  }
})

const makeHandler = (stack: Middleware.Any, app: ErasedApp, services: Services) => {
  const phases = phasesOf(stack)
  const wrapper = phases.findIndex(({ around }) => around !== undefined)
  const plain = wrapper === -1 ? phases : phases.slice(0, wrapper)
  const compiled: Compiled = {
    frames: [{ index: 0, wrap: false, told: false, phases: plain, next: app }],
    matters: true,
    base: undefined,
    app
  }
  const clock = Clock.make()

  return (request: Request): Response | Promise<Response> => {
    const incoming = HttpServerRequest.fromWeb(request)
    const context = Context.add(services, HttpServerRequest.HttpServerRequest, incoming)
    const send = (response: Answer) => HttpServerResponse.toWeb(response, { withoutBody: request.method === "HEAD" })
    const inFiber = (app: ErasedApp) =>
      new Promise<Response>((resolve) => {
        const handled = HttpApp.toHandled(
          app as HttpApp.Default,
          (_, response) => Effect.sync(() => resolve(send(response)))
        )
        Runtime.runFork(Runtime.defaultRuntime)(Effect.provide(handled, context))
      })

    const exchange = new ExchangeImpl({ currentContext: context, clock }, compiled)
    const at = advance(exchange, plain, 0)
    const ended = exchange.takeEnded()
    const refusal = ended === undefined ? undefined : faceOf(ended)
    if (refusal !== undefined) {
      const edited = handlerOf(exchange)(incoming, refusal)
      const response = known(edited)
      return response === undefined ? inFiber(edited as ErasedApp) : send(response)
    }
    const rest = ended === undefined ? from(phases, at, exchange) : [again(ended)]
    return inFiber(Effect.withFiberRuntime((fiber) => {
      exchange.install(fiber)
      return apply(rest, app)
    }))
  }
}

// --- it does as the fiber does ---------------------------------------------------------------------------------------

/** Counts the fibers that run meanwhile. */
const countingFibers = <A>(run: () => A): readonly [A, number] => {
  const prototype = Effect.runSync(
    Effect.withFiberRuntime<{ evaluateEffect: (effect: unknown) => void }>((fiber) =>
      Effect.succeed(Object.getPrototypeOf(fiber))
    )
  )
  const { evaluateEffect } = prototype
  let fibers = 0
  prototype.evaluateEffect = function(effect) {
    fibers++
    return evaluateEffect.call(this, effect)
  }
  try {
    return [run(), fibers]
  } finally {
    prototype.evaluateEffect = evaluateEffect
  }
}

const fixed: Entropy.Service = { uuid: () => "00000000-0000-4000-8000-000000000000", bytes: (n) => new Uint8Array(n) }
const services = Context.make(Entropy.Entropy, fixed) as Services

/** Each phase at most once, however often it is tried. */
let steps: Array<string> = []
const step = (name: string) =>
  Middleware.make({
    name,
    request: () => void steps.push(`→${name}`),
    response: (draft) => {
      steps.push(`←${name}`)
      draft.append("x-order", name)
      draft.setCookie("step", name, { path: `/${name}` })
    }
  })
const stepEffect = (name: string) =>
  Middleware.make({
    name,
    request: () => void steps.push(`→${name}`),
    requestEffect: () => Effect.sync(() => void steps.push(`⇒${name}`)),
    responseEffect: (draft) => Effect.sync(() => (steps.push(`⇐${name}`), draft.append("x-order", name)))
  })

const preflight = Middleware.make({
  name: "Preflight",
  request: ({ request }) =>
    request.method === "OPTIONS"
      ? Middleware.Respond(HttpServerResponse.empty({ headers: { "access-control-allow-methods": "GET" } }))
      : undefined,
  response: (draft) => draft.vary("origin")
})
const refuses = (error: object) => Middleware.make({ name: "Refuses", request: () => Middleware.Refuse(error) })
const rendering = {
  [HttpServerRespondable.symbol]: () =>
    Effect.map(Effect.succeed(409), (status) => HttpServerResponse.empty({ status }))
}
const exploding = {
  [HttpServerRespondable.symbol]: () => {
    throw new Error("while rendering")
  }
}
const arrival = [RequestId.middleware(), Forwarded.middleware({ trust: { hops: 1 } })]
const hosts = TrustedHost.middleware({ hosts: ["example.com"], canonical: "apex" })

const handler: ErasedApp = Effect.gen(function*() {
  const request = yield* HttpServerRequest.HttpServerRequest
  steps.push("handler")
  if (request.url === "/fails") return yield* Effect.fail(new Teapot())
  return HttpServerResponse.text([request.url, request.headers["x-view"], request.headers["x-forwarded-for"]].join(" "))
})

interface Case {
  readonly stack: () => Middleware.Any
  readonly url?: string
  readonly init?: RequestInit
  /** Whether the fiber is spared. */
  readonly now: boolean
}

const at = "http://example.com/a?b"
const cases: Record<string, Case> = {
  "a refusal of TrustedHost": { stack: () => stackOf(...arrival, hosts), url: "http://evil.test/", now: true },
  "a redirect": { stack: () => stackOf(step("a"), hosts), url: "http://www.example.com/a", now: true },
  "a preflight": { stack: () => stackOf(step("a"), preflight, step("b")), init: { method: "OPTIONS" }, now: true },
  "no preflight": { stack: () => stackOf(step("a"), preflight, step("b")), now: false },
  "a refusal to HEAD": { stack: () => stackOf(step("a"), refuses(new Teapot())), init: { method: "HEAD" }, now: true },
  "Refuse, Respondable": { stack: () => stackOf(step("a"), step("b"), refuses(new Teapot()), step("c")), now: true },
  "Refuse, plain": { stack: () => stackOf(step("a"), refuses(new Plain())), now: true },
  "Refuse, frozen": { stack: () => stackOf(step("a"), refuses(Object.freeze({}))), now: true },
  "a phase that throws": {
    stack: () =>
      stackOf(
        step("a"),
        Middleware.make({
          name: "Throws",
          request: () => {
            throw new Error("request")
          }
        })
      ),
    now: true
  },
  "under a condition": {
    stack: () =>
      stackOf(step("a"), Middleware.when(({ url }) => url === "/a?b", stackOf(step("b"), refuses(new Plain())))),
    now: true
  },
  "under a condition not met": {
    stack: () => stackOf(step("a"), Middleware.when(() => false, step("b")), refuses(new Teapot())),
    now: true
  },
  "by alternatives": {
    stack: () => stackOf(step("a"), Middleware.firstOf("First", refuses(new Teapot()), refuses(new Plain()))),
    now: true
  },
  "with a response phase that throws": {
    stack: () =>
      stackOf(
        step("a"),
        Middleware.after("Throws", () => {
          throw new Error("response")
        }),
        refuses(new Teapot())
      ),
    now: false
  },
  "with a responseEffect": { stack: () => stackOf(step("a"), stepEffect("b"), refuses(new Teapot())), now: false },
  "with only a responseEffect": {
    stack: () =>
      stackOf(
        step("a"),
        Middleware.after("After", (response) => Effect.succeed(HttpServerResponse.setHeader(response, "x-after", "1"))),
        step("b"),
        refuses(new Teapot())
      ),
    now: false
  },
  "an error rendered by an Effect": { stack: () => stackOf(step("a"), refuses(rendering)), now: false },
  "an error that throws as it renders": { stack: () => stackOf(step("a"), refuses(exploding)), now: false },
  "a requestEffect before the refusal": {
    stack: () => stackOf(step("a"), stepEffect("b"), refuses(new Plain())),
    now: false
  },
  "a condition that is an Effect": {
    stack: () =>
      stackOf(
        step("a"),
        Middleware.when(() => Effect.sync(() => (steps.push("condition"), true)), step("b")),
        refuses(new Plain())
      ),
    now: false
  },
  "a condition that is an Effect, not met": {
    stack: () =>
      stackOf(
        step("a"),
        Middleware.when(() => Effect.sync(() => (steps.push("condition"), false)), stackOf(step("b"), step("c"))),
        step("d")
      ),
    now: false
  },
  "what wraps, with a refusal inside": {
    stack: () => stackOf(step("a"), wrap("Wraps", (app) => app), step("b"), refuses(new Plain())),
    now: false
  },
  "what handles, with a refusal inside": {
    stack: () =>
      stackOf(
        step("a"),
        ExceptionHandlers.byTag({ Plain: () => HttpServerResponse.empty({ status: 409 }) }),
        step("b"),
        refuses(new Plain())
      ),
    now: false
  },
  "an answer of the app": { stack: () => stackOf(...arrival, hosts, view, step("a"), stepEffect("b")), now: false },
  "an answer of the app, of what wraps": {
    stack: () => stackOf(...arrival, view, step("a"), wrap("Wraps", (app) => app), step("b"), stepEffect("c")),
    now: false
  },
  "a failure of the app": {
    stack: () => stackOf(step("a"), wrap("Wraps", (app) => app), probe("b"), view),
    url: "http://example.com/fails",
    now: false
  },
  "a stack of nothing": { stack: () => stackOf(), now: false }
}

describe("without a fiber, as with one", () => {
  for (const [name, { init = {}, now, stack, url = at }] of Object.entries(cases)) {
    it.effect(`${name}: ${now ? "no fiber" : "a fiber for the rest"}`, () =>
      Effect.gen(function*() {
        const asked = () =>
          new Request(url, {
            ...init,
            headers: { host: new URL(url).host, "x-forwarded-for": "192.0.2.1" }
          })
        const read = (response: Response | Promise<Response>) =>
          answered(Effect.promise(async () => {
            const { headers, status } = await response
            return { status, headers: [...headers], body: await (await response).text(), steps }
          }))

        steps = []
        const [response, fibers] = countingFibers(() => makeHandler(stack(), handler, services)(asked()))
        assert.deepStrictEqual([response instanceof Response, fibers > 0], [now, !now])
        const without = yield* read(response)

        steps = []
        const app = stack()(handler as HttpApp.Default) as HttpApp.Default
        const withFiber = yield* read(HttpApp.toWebHandler(Effect.provide(app, services))(asked()))
        assert.deepStrictEqual(without, withFiber)
        assert.strictEqual(new Set(steps).size, steps.length)
      }))
  }
})
