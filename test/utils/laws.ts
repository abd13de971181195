/**
 * What every middleware keeps, in every mount: the laws of src/internal/laws.ts, which `Testing` publishes, and those
 * about what this package alone can get wrong.
 */
import {
  HttpRouter,
  HttpServerError,
  HttpServerRequest,
  HttpServerRespondable,
  HttpServerResponse
} from "@effect/platform"
import { NodeFileSystem, NodePath } from "@effect/platform-node"
import { assert } from "@effect/vitest"
import type { Exit } from "effect"
import {
  Cause,
  Data,
  Deferred,
  Effect,
  Fiber,
  FiberId,
  FiberRef,
  HashMap,
  Layer,
  Option,
  Stream,
  TestClock
} from "effect"
import { Middleware, type ResponseDraft } from "effect-middleware"
import {
  answered,
  asks,
  byCase,
  type ErasedApp,
  expectEdits,
  type Init,
  interruptibleNever,
  isCase,
  type Law,
  law,
  laws as published,
  mounted,
  type Place,
  Plain,
  probe,
  same,
  sameCauses,
  type Send,
  someEndings,
  stackOf,
  Teapot,
  type Traits,
  type Wrap,
  wrap
} from "../../src/internal/laws.js"
import { type App, type Mount, unknownRoute } from "./TestApp.js"

export { answered, type ErasedApp, type Law, Plain, probe, stackOf, Teapot, wrap }

type Response = HttpServerResponse.HttpServerResponse

export interface Subject extends Traits {
  readonly name: string
  readonly make: () => Middleware.Any
  /** What a request must have for the middleware to let it through. */
  readonly allowed: Init
  /** What the middleware requires. */
  readonly layer: Layer.Layer<never>
}

export const subject = (
  name: string,
  make: () => Middleware.Any,
  options: Partial<Omit<Subject, "name" | "make">> = {}
): Subject => ({ name, make, allowed: {}, layer: Layer.empty, ...nothing, ...options })
const nothing: Traits = { answers: false, buffers: false, finishes: false }

/** Whether the law holds there, or how it does not. One clock watches over all of its requests: one for each is half of a request. */
export const holds = (law: Law, mount: Mount, subject: Subject): Effect.Effect<Exit.Exit<unknown, unknown>> =>
  Effect.exit(answered(
    Effect.scoped(law.check({ ...mount, ...traitsOf(subject), serve: serve(mount, subject) })),
    "10 seconds"
  ))

export const traitsOf = ({ answers, buffers, finishes }: Traits): Traits => ({ answers, buffers, finishes })

const serve = (mount: Mount, { allowed, layer, make }: Subject): Place["serve"] => (app, setting = {}) =>
  Effect.gen(function*() {
    const services = yield* Layer.build(layer)
    const send = yield* Effect.provide(mount.mount(app as App, mounted(make(), setting)), services)
    return (init) => send({ ...allowed, ...init, headers: { ...allowed.headers, ...init?.headers } })
  })

// --- material --------------------------------------------------------------------------------------------------------

class Speechless extends Data.TaggedError("Speechless")<{}> implements HttpServerRespondable.Respondable {
  [HttpServerRespondable.symbol]() {
    return Effect.fail("nothing to say")
  }
}
class Explosive extends Data.TaggedError("Explosive")<{}> implements HttpServerRespondable.Respondable {
  [HttpServerRespondable.symbol](): Effect.Effect<Response> {
    throw new Error("while rendering")
  }
}

const aRequest = HttpServerRequest.fromWeb(new Request("http://localhost/"))

/** Values to fail with, and the status that platform gives each. */
const errors: ReadonlyArray<readonly [name: string, error: unknown, status: number]> = [
  ["a tagged error", new Plain(), 500],
  ["a Respondable", new Teapot(), 418],
  ["RouteNotFound", new HttpServerError.RouteNotFound({ request: aRequest }), 404],
  ["NoSuchElementException", new Cause.NoSuchElementException(), 404],
  ["a plain object", { reason: "none" }, 500],
  ["a frozen object", Object.freeze({ _tag: "Frozen" }), 500],
  ["a frozen Respondable", Object.freeze(new Teapot()), 418],
  ["a string", "no", 500],
  ["undefined", undefined, 500]
]
const defects: ReadonlyArray<readonly [name: string, defect: unknown, status: number]> = [
  ["an Error", new Error("defect"), 500],
  ["a Respondable", new Teapot(), 418],
  ["a frozen object", Object.freeze({}), 500],
  ["a string", "defect", 500]
]
const paymentRequired = HttpServerResponse.text("pay", { status: 402 })

/** Ways for an app to end, and the status of each. */
const endings: ReadonlyArray<readonly [name: string, app: ErasedApp, status: number]> = [
  ["an answer", HttpServerResponse.text("ok"), 200],
  ["a 404", HttpServerResponse.empty({ status: 404 }), 404],
  ...errors.map(([name, error, status]) => [`failing with ${name}`, Effect.fail(error), status] as const),
  ["failing with a response", Effect.fail(paymentRequired), 402],
  ["failing with a Respondable that fails", Effect.fail(new Speechless()), 500],
  ...defects.map(([name, defect, status]) => [`dying of ${name}`, Effect.die(defect), status] as const),
  ["dying of a response", Effect.die(paymentRequired), 402],
  ["throwing", Effect.sync(() => raise("thrown")), 500],
  ["interruption", Effect.interrupt, 503]
]

const raise = (message: string): never => {
  throw new Error(message)
}

class Tenant extends Middleware.Service("test/Tenant")<Tenant, string>() {}
class Other extends Middleware.Service("test/Other")<Other, number>() {}
const kept = Middleware.local<string>()

/** Hands over what one header says, and says it again on the way out. */
const tenancy = Middleware.make({
  name: "Tenancy",
  provides: Tenant,
  request: (exchange) => {
    const tenant = exchange.request.headers["x-tenant"] ?? "nobody"
    kept.set(exchange, tenant)
    exchange.annotateLogs("tenant", tenant)
    return Middleware.Provide(tenant)
  },
  response: (draft, exchange) =>
    draft.set("x-tenant", [exchange.get(Tenant), kept.get(exchange), exchange.request.headers["x-tenant"]].join(" "))
})

/** Gives what is inside another view of the request. */
export const view = Middleware.make({
  name: "View",
  request: (exchange) => {
    const { headers } = exchange.request
    const seen = Object.assign(Object.create(Object.getPrototypeOf(headers)), headers, { "x-view": "1" })
    exchange.deriveRequest({ headers: seen })
  }
})

const form = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b--\r\n"
/** Ways to read a body: what to send, what will be read. */
const readings: ReadonlyArray<
  readonly [
    kind: string,
    body: string,
    expected: string,
    read: (request: HttpServerRequest.HttpServerRequest) => Effect.Effect<string, unknown, unknown>
  ]
> = [
  ["text", "ab", "ab", (request) => request.text],
  ["json", "{\"a\":1}", "{\"a\":1}", (request) => Effect.map(request.json, (value) => JSON.stringify(value))],
  ["arrayBuffer", "ab", "ab", (request) => Effect.map(request.arrayBuffer, (bytes) => new TextDecoder().decode(bytes))],
  [
    "urlParamsBody",
    "a=1",
    "a=1",
    (request) => Effect.map(request.urlParamsBody, (params) => params.join().replace(",", "="))
  ],
  ["stream", "ab", "ab", (request) => Stream.mkString(Stream.decodeText(request.stream))],
  ["multipart", form, "{\"a\":\"1\"}", (request) => Effect.map(request.multipart, (parts) => JSON.stringify(parts))],
  [
    "multipartStream",
    form,
    "1",
    (request) =>
      Stream.runFold(request.multipartStream, "", (read, part) => part._tag === "Field" ? read + part.value : read)
  ]
]

/** Neither holds a resource, and so their scope may end. */
const files = Effect.runSync(Effect.scoped(Layer.build(Layer.mergeAll(NodeFileSystem.layer, NodePath.layer))))

/** Reads the body in the way that the request names; again, where platform's servers keep what was read. */
const reader: ErasedApp = Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
  const [kind, , , read] = readings.find(([kind]) => isCase(request, kind))!
  const once = read(request)
  const kept = ["text", "json", "urlParamsBody", "multipart"].includes(kind)
  return Effect.map(
    kept ? Effect.zipRight(once, Effect.suspend(() => read(request))) : once,
    (body) => HttpServerResponse.text(body, { headers: { "x-view": request.headers["x-view"] ?? "none" } })
  )
}).pipe(Effect.provide(files))

const expectReadings = (send: Send, expectedView: string, path = "/") =>
  Effect.forEach(readings, ([kind, body, expected]) => {
    const headers = {
      ...asks(kind).headers,
      "content-type": kind.startsWith("multipart") ? "multipart/form-data; boundary=b" : "application/octet-stream"
    }
    return Effect.map(
      send({ method: "POST", path, headers, body }),
      (reply) => assert.deepStrictEqual([kind, reply.body, reply.headers["x-view"]], [kind, expected, expectedView])
    )
  })

/** Stops the requests that ask for it, in several places, until they are told to go on. */
const gates = () => {
  const deferreds = new Map<string, Deferred.Deferred<void>>()
  const at = (key: string) => {
    const deferred = deferreds.get(key) ?? Deferred.unsafeMake<void>(FiberId.none)
    deferreds.set(key, deferred)
    return deferred
  }
  return {
    stop: (place: string) =>
      Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
        request.headers["x-stop"] === undefined
          ? Effect.void
          : Effect.zipRight(Deferred.succeed(at(`${place} reached`), undefined), Deferred.await(at(`${place} open`)))),
    reached: (place: string) => answered(Deferred.await(at(`${place} reached`))),
    open: (place: string) => Deferred.succeed(at(`${place} open`), undefined)
  }
}

// --- the laws --------------------------------------------------------------------------------------------------------

/** A middleware that acts on the requests of its case alone, so that one mount serves many cases. */
type Actor = (name: string) => Middleware.Any
type Cases = ReadonlyArray<readonly [name: string, actor: Actor, status: number]>

const inward = (act: () => Middleware.Refuse<object> | Middleware.Respond): Actor => (name) =>
  Middleware.make({ name, request: ({ request }) => isCase(request, name) ? act() : undefined })
const inwardEffect = (
  act: () => Effect.Effect<Middleware.Refuse<object> | Middleware.Respond, unknown>
): Actor =>
(name) => Middleware.make({ name, requestEffect: ({ request }) => isCase(request, name) ? act() : Effect.void })
const instead = (act: () => ErasedApp): Actor => (name) =>
  wrap(
    name,
    (app) => Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => isCase(request, name) ? act() : app)
  )
const outward = (act: (draft: ResponseDraft.ResponseDraft) => void): Actor => (name) =>
  Middleware.make({ name, response: (draft, { request }) => isCase(request, name) ? act(draft) : undefined })
const outwardEffect = (act: (draft: ResponseDraft.ResponseDraft) => Effect.Effect<void>): Actor => (name) =>
  Middleware.make({ name, responseEffect: (draft, { request }) => isCase(request, name) ? act(draft) : Effect.void })

/** What ends requests further in than the probes, whose edits arrive with those of `innermost`. Each group is a stack. */
const ending = (name: string, groups: ReadonlyArray<Cases>, innermost: ReadonlyArray<string> = []): Law =>
  law(name, (place) =>
    Effect.forEach(groups, (cases) =>
      Effect.scoped(Effect.gen(function*() {
        const log: Array<string> = []
        const order = [...innermost, "inner", "outer"]
        const send = yield* place.serve(HttpServerResponse.text("the handler's"), {
          outside: [probe("outer", log)],
          inside: [
            probe("inner", log),
            ...cases.map(([what, actor]) => actor(what)),
            ...innermost.map((name) => probe(name, log))
          ]
        })
        for (const [what, , status] of cases) {
          log.length = 0
          const reply = yield* send(asks(what))
          expectEdits(what, reply, status, ...order)
          same(what, log, order)
          assert.notStrictEqual(reply.body, "the handler's", what)
        }
      }))))

const teapot = new Teapot()
const refused = {
  asResponse: [
    [
      ["Respond", inward(() => Middleware.Respond(paymentRequired)), 402],
      ["Respond, of an Effect", inwardEffect(() => Effect.succeed(Middleware.Respond(paymentRequired))), 402],
      [
        "before",
        (name) =>
          Middleware.before(name, (request) => isCase(request, name) ? Effect.succeed(paymentRequired) : Effect.void),
        402
      ]
    ],
    [
      [
        "dispatch",
        (name) => Middleware.dispatch(name, (request, next) => isCase(request, name) ? paymentRequired : next),
        402
      ],
      ["a foreign middleware", instead(() => paymentRequired), 402]
    ]
  ],
  asFailure: [
    [
      ["Refuse, Respondable", inward(() => Middleware.Refuse(new Teapot())), 418],
      ["Refuse, plain", inward(() => Middleware.Refuse(new Plain())), 500],
      ["Refuse, one value for all", inward(() => Middleware.Refuse(teapot)), 418],
      ["Refuse, of an Effect", inwardEffect(() => Effect.succeed(Middleware.Refuse(teapot))), 418]
    ],
    errors.map(([name, error, status]) =>
      [`failing with ${name}`, inwardEffect(() => Effect.fail(error)), status] as const
    ),
    defects.map(([name, defect, status]) =>
      [`dying of ${name}`, inwardEffect(() => Effect.die(defect)), status] as const
    )
  ],
  byForeign: [
    errors.map(([name, error, status]) => [`failing with ${name}`, instead(() => Effect.fail(error)), status] as const),
    defects.map(([name, defect, status]) => [`dying of ${name}`, instead(() => Effect.die(defect)), status] as const)
  ],
  withResponse: [[
    ["failing", inwardEffect(() => Effect.fail(paymentRequired)), 402],
    ["dying", inwardEffect(() => Effect.die(paymentRequired)), 402],
    ["failing, of a foreign middleware", instead(() => Effect.fail(paymentRequired)), 402],
    ["dying, of a foreign middleware", instead(() => Effect.die(paymentRequired)), 402]
  ]],
  unrenderable: [[
    ["failing to render", inwardEffect(() => Effect.fail(new Speechless())), 500],
    ["throwing as it renders", inwardEffect(() => Effect.fail(new Explosive())), 500],
    ["throwing as it renders, plain", inward(() => Middleware.Refuse(new Explosive())), 500]
  ]],
  byInterruption: [[
    ["of an Effect", inwardEffect(() => Effect.interrupt), 503],
    ["of a foreign middleware", instead(() => Effect.interrupt), 503]
  ]]
} satisfies Record<string, ReadonlyArray<Cases>>

const thrown = {
  inward: [
    [
      ["a request phase that throws", inward(() => raise("request")), 500],
      ["a requestEffect that throws", inwardEffect(() => raise("requestEffect")), 500],
      ["a requestEffect that dies", inwardEffect(() => Effect.die("requestEffect")), 500],
      [
        "before, throwing",
        (name) => Middleware.before(name, (request) => isCase(request, name) ? raise("before") : Effect.void),
        500
      ],
      [
        "a condition that throws",
        (name) => Middleware.when((request) => isCase(request, name) && raise("condition"), Middleware.make({ name })),
        500
      ],
      ["a condition that dies", (name) =>
        Middleware.when(
          (request) => isCase(request, name) && Effect.die("condition"),
          Middleware.make({ name })
        ), 500]
    ],
    [
      [
        "dispatch, throwing",
        (name) => Middleware.dispatch(name, (request, next) => isCase(request, name) ? raise("dispatch") : next),
        500
      ],
      ["around, throwing", instead(() => raise("around")), 500],
      ["around, dying", instead(() => Effect.die("around")), 500]
    ]
  ],
  outward: [
    [
      ["a response phase that throws", outward(() => raise("response")), 500],
      ["a responseEffect that throws", outwardEffect(() => raise("responseEffect")), 500],
      ["a responseEffect that dies", outwardEffect(() => Effect.die("responseEffect")), 500],
      ["an edit that throws", outward((draft) => draft.setCookie("a b", "")), 500]
    ],
    [[
      "after, throwing",
      (name) => Middleware.after(name, (response, request) => isCase(request, name) ? raise("after") : response),
      500
    ]],
    [[
      "after, dying",
      (name) => Middleware.after(name, (response, request) => isCase(request, name) ? Effect.die("after") : response),
      500
    ]]
  ],
  refusing: [[
    ["a refusal", outward((draft) => draft.refuse(new Plain())), 500],
    ["a refusal whose rendering fails", outward((draft) => draft.refuse(new Speechless())), 500],
    ["a refusal whose rendering throws", outward((draft) => draft.refuse(new Explosive())), 500],
    ["the same of an Effect", outwardEffect((draft) => Effect.sync(() => draft.refuse(new Explosive()))), 500]
  ]],
  unsendable: [[
    ["a value that cannot be sent", outward((draft) => draft.set("x-bad", "a\nb")), 500],
    ["a name that cannot be sent", outward((draft) => draft.set("x bad", "a")), 500],
    ["a status that cannot be sent", outward((draft) => void (draft.status = 99)), 500]
  ]]
} satisfies Record<string, ReadonlyArray<Cases>>

/** What wraps by running the app elsewhere or again. */
export const wrappers: ReadonlyArray<readonly [name: string, wrap: Wrap]> = [
  ["raceFirst", (app) => Effect.raceFirst(app, interruptibleNever)],
  ["timeout", (app) => Effect.timeoutFail(app, { duration: "1 hour", onTimeout: () => new Plain() })],
  ["disconnect", Effect.disconnect],
  ["fork and join", (app) => Effect.flatMap(Effect.fork(app), Fiber.join)],
  ["fork and await", (app) => Effect.flatten(Effect.flatMap(Effect.fork(app), Fiber.await))],
  ["exit", (app) => Effect.flatten(Effect.exit(app))],
  ["scoped", (app) => Effect.scoped(app)],
  ["a span", (app) => Effect.withSpan(app, "around")],
  ["a service", (app) => Effect.provideService(app, Tenant, "around")],
  ["a log annotation", (app) => Effect.annotateLogs(app, "a", "b")]
]

/** Records what stands outside the stack before and after it. */
const watch = (seen: Array<unknown>): Wrap => (app) =>
  Effect.flatMap(
    Effect.context<never>(),
    (before) =>
      Effect.onExit(app, (exit) =>
        Effect.map(Effect.context<never>(), (after) => {
          const keys = new Set([...before.unsafeMap.keys(), ...after.unsafeMap.keys()])
          seen.push({
            exit,
            changed: [...keys].filter((key) => before.unsafeMap.get(key) !== after.unsafeMap.get(key))
          })
        }))
  )

const own: ReadonlyArray<Law> = [
  law(
    "a body is read in every way",
    ({ serve }) => Effect.flatMap(serve(reader), (send) => expectReadings(send, "none"))
  ),
  law(
    "a body is read in every way through a derived request",
    ({ serve }) => Effect.flatMap(serve(reader, { inside: [view] }), (send) => expectReadings(send, "1"))
  ),
  law("a body is read in every way through a derived request behind a prefix", ({ serve }) =>
    Effect.gen(function*() {
      const router = HttpRouter.empty.pipe(
        HttpRouter.all("/read", reader),
        HttpRouter.prefixAll("/prefix"),
        HttpRouter.mountApp("/mount", reader)
      )
      const send = yield* serve(router, { inside: [view] })
      yield* expectReadings(send, "1", "/prefix/read")
      yield* expectReadings(send, "1", "/mount/read")
    })),
  law("a response is edited whatever it came from: once, inner before outer", ({ serve }) =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const send = yield* serve(byCase(endings), { outside: [probe("outer", log)], inside: [probe("inner", log)] })
      for (const [what, , status] of endings) {
        log.length = 0
        const reply = yield* send(asks(what))
        expectEdits(what, reply, status, "inner", "outer")
        if (status === 418) same(what, [reply.body, reply.headers["x-pot"]], ["short and stout", "tea"])
        same(what, log, ["inner", "outer"])
      }
    })),
  law("an unknown route is a response too", ({ answers, serve }) =>
    Effect.gen(function*() {
      const send = yield* serve(HttpServerResponse.empty(), { outside: [probe("outer")], inside: [probe("inner")] })
      const reply = yield* send(unknownRoute)
      // who answers it may know that the path has other methods
      expectEdits("unknown", reply, answers && reply.status === 405 ? 405 : 404, "inner", "outer")
    }), ({ router }) => router === "inside"),
  law("an unknown route of a router outside is answered", ({ serve }) =>
    Effect.gen(function*() {
      const send = yield* serve(HttpServerResponse.empty(), { outside: [probe("outer")], inside: [probe("inner")] })
      expectEdits("unknown", yield* send(unknownRoute), 404)
    }), ({ router }) => router === "outside"),
  ending("a refusal further in is edited: as a response", refused.asResponse),
  ending("a refusal further in is edited: as a failure", refused.asFailure),
  ending("a refusal further in is edited: of a foreign middleware", refused.byForeign),
  ending("a refusal further in is edited: with a response for an error", refused.withResponse),
  ending("a refusal further in is edited: with an error that cannot be rendered", refused.unrenderable),
  ending("a refusal further in is edited: by interruption", refused.byInterruption),
  ending("whatever throws on the way in is answered", thrown.inward),
  ending("whatever throws on the way out is answered", [...thrown.outward, ...thrown.refusing]),
  ending("what throws on the way out takes nobody else's edits along", thrown.outward, ["innermost"]),
  ending("what cannot be sent is answered", thrown.unsendable),
  law("requests that overlap never see each other's values", ({ serve }) =>
    Effect.gen(function*() {
      const { open, reached, stop } = gates()
      const gated = Middleware.make({
        name: "Gated",
        requestEffect: () => stop("inward"),
        responseEffect: () => stop("outward")
      })
      const send = yield* serve(
        Effect.gen(function*() {
          const before = yield* Tenant
          yield* stop("handler")
          const { headers } = yield* HttpServerRequest.HttpServerRequest
          const annotated = HashMap.get(yield* FiberRef.get(FiberRef.currentLogAnnotations), "tenant")
          const words = [before, yield* Tenant, headers["x-tenant"], Option.getOrUndefined(annotated)]
          return HttpServerResponse.text(words.join(" "))
        }),
        { outside: [tenancy], inside: [gated, view] }
      )
      const ask = (tenant: string, headers = {}) =>
        Effect.map(send({ headers: { "x-tenant": tenant, ...headers } }), (reply) =>
          assert.deepStrictEqual(
            [reply.body, reply.headers["x-tenant"]],
            [`${tenant} ${tenant} ${tenant} ${tenant}`, `${tenant} ${tenant} ${tenant}`]
          ))
      const held = yield* Effect.fork(ask("a", { "x-stop": "1" }))
      for (const place of ["inward", "handler", "outward"]) {
        yield* reached(place)
        yield* Effect.all([ask("b"), ask("c"), ask("d")], { concurrency: "unbounded" })
        yield* open(place)
      }
      yield* Fiber.join(held)
    })),
  law("nothing of a request is left for the next one of the same runtime", ({ serve }) =>
    Effect.gen(function*() {
      // what is provided first is equal to what the runtime has
      const same = Middleware.provide(Tenant, Effect.succeed("shared"), { name: "Same" })
      const send = yield* Effect.provideService(
        serve(
          Effect.gen(function*() {
            const { headers } = yield* HttpServerRequest.HttpServerRequest
            const annotations = yield* FiberRef.get(FiberRef.currentLogAnnotations)
            return HttpServerResponse.text(`${yield* Tenant} ${headers["x-view"]} ${HashMap.size(annotations)}`)
          }),
          {
            inside: [same, Middleware.when(({ headers }) => headers["x-tenant"] !== undefined, stackOf(tenancy, view))]
          }
        ),
        Tenant,
        "shared"
      )
      const alone = (yield* send()).body
      assert.match(alone, /^shared undefined \d$/)
      assert.match((yield* send({ headers: { "x-tenant": "a" } })).body, /^a 1 \d$/)
      assert.strictEqual((yield* send()).body, alone)
    })),
  law("nothing of the stack is left outside it", ({ serve }) =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const cases = [...someEndings, ["refused", HttpServerResponse.empty(), 418] as const]
      const send = yield* serve(byCase(cases), {
        around: watch(seen),
        inside: [tenancy, view, inwardEffect(() => Effect.fail(teapot))("refused")]
      })
      for (const [what] of cases) {
        seen.length = 0
        yield* send(asks(what))
        assert.deepStrictEqual([what, seen.map((one) => (one as { readonly changed: unknown }).changed)], [what, [[]]])
      }
    })),
  law("outside the stack a failure is what it is inside", ({ serve }) =>
    Effect.gen(function*() {
      const [inside, outside]: [Array<Cause.Cause<unknown>>, Array<Cause.Cause<unknown>>] = [[], []]
      const cases = [
        ...someEndings,
        ["failing and dying", Effect.failCause(Cause.sequential(Cause.fail(new Plain()), Cause.die("x")))] as const,
        ["failing twice", Effect.failCause(Cause.parallel(Cause.fail(new Plain()), Cause.fail(new Teapot())))] as const
      ]
      const record = (causes: Array<Cause.Cause<unknown>>): Wrap =>
        Effect.tapErrorCause((cause) => Effect.sync(() => causes.push(cause)))
      const send = yield* serve(record(inside)(byCase(cases)), {
        around: record(outside),
        outside: [probe("outer")],
        inside: [tenancy, wrap("Wraps", (app) => app), probe("inner")]
      })
      for (const [what] of cases) {
        inside.length = outside.length = 0
        yield* send(asks(what))
        sameCauses(what, outside, inside)
      }
    }), ({ answers, handles }) => handles && !answers),
  law("outside the stack a refusal is the failure it is", ({ serve }) =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const see = (value: unknown) => Effect.sync(() => seen.push(value))
      const cases = [
        ["plain", inward(() => Middleware.Refuse(new Plain())), "Plain"],
        ["of an Effect", inwardEffect(() => Effect.fail(new Plain())), "Plain"],
        ["Respondable", inwardEffect(() => Effect.fail(new Teapot())), "Teapot"]
      ] as const
      const send = yield* serve(HttpServerResponse.empty(), {
        around: (app) =>
          app.pipe(
            Effect.tapErrorCause((cause) => see(cause._tag)),
            Effect.tapDefect(see),
            Effect.catchAllDefect(() => HttpServerResponse.empty({ status: 599 })),
            Effect.catchAll((error) =>
              Effect.as(see((error as { readonly _tag?: unknown })._tag), HttpServerResponse.empty({ status: 201 }))
            )
          ),
        outside: [probe("outer")],
        inside: [probe("inner"), ...cases.map(([name, actor]) => actor(name))]
      })
      for (const [what, , tag] of cases) {
        seen.length = 0
        const { status } = yield* send(asks(what))
        same(what, [status, ...seen], [201, "Fail", tag])
      }
    }), ({ answers }) => !answers),
  law("what wraps may run its app elsewhere", ({ serve }) =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const send = yield* serve(
        Effect.flatMap(HttpServerRequest.HttpServerRequest, (request): ErasedApp =>
          request.method === "GET" ? HttpServerResponse.text("ok") : Effect.fail(new Teapot())),
        {
          outside: [
            probe("outer", log),
            ...wrappers.map(([what, wrapper]) =>
              wrap(what, (app) =>
                Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
                  isCase(request, what) ? wrapper(app) : app))
            )
          ],
          inside: [tenancy, probe("inner", log)]
        }
      )
      for (const [what] of wrappers) {
        for (const [method, status] of [["GET", 200], ["POST", 418]] as const) {
          log.length = 0
          expectEdits(`${what}, ${status}`, yield* send({ method, ...asks(what) }), status, "inner", "outer")
          same(what, log, ["inner", "outer"])
        }
      }
    })),
  law("what wraps may give services to what is inside", ({ serve }) =>
    Effect.gen(function*() {
      const read: Array<string> = []
      const send = yield* serve(Effect.map(Tenant, (tenant) => HttpServerResponse.text(tenant)), {
        outside: [view, wrap("Provides", (app) => Effect.provideService(app, Tenant, "around"))],
        inside: [
          Middleware.make({
            name: "Reads",
            requires: [Tenant],
            request: (exchange) => void read.push(exchange.get(Tenant))
          }),
          Middleware.provide(Other, Effect.succeed(1))
        ]
      })
      assert.strictEqual((yield* send()).body, "around")
      assert.deepStrictEqual(read, ["around"])
    })),
  law("a retry voids the edits of the first run", ({ serve }) =>
    Effect.gen(function*() {
      const log: Array<string> = []
      let runs = 0
      const flaky = Effect.suspend(() =>
        ++runs === 1 ? Effect.fail(new Teapot()) : Effect.succeed(HttpServerResponse.empty())
      )
      const send = yield* serve(flaky, {
        outside: [probe("outer", log), wrap("Retry", Effect.retry({ times: 1 }))],
        inside: [tenancy, probe("inner", log)]
      })
      expectEdits("retried", yield* send(), 204, "inner", "outer")
      assert.deepStrictEqual([runs, log], [2, ["inner", "outer"]])
    }), ({ answers, handles }) => handles && !answers),
  law("a timeout's response is edited as any other", ({ serve }) =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const began = yield* Deferred.make<void>()
      const timeout = (app: ErasedApp) =>
        Effect.timeoutTo(Effect.interruptible(app), {
          duration: "1 minute",
          onSuccess: (response) => response,
          onTimeout: () => HttpServerResponse.empty({ status: 504 })
        })
      const send = yield* serve(Effect.zipRight(Deferred.succeed(began, undefined), Effect.never), {
        outside: [probe("outer", log), wrap("TimesOut", timeout)],
        inside: [tenancy, probe("inner", log)]
      })
      const reply = yield* Effect.fork(send())
      yield* answered(Deferred.await(began))
      yield* TestClock.adjust("1 minute")
      expectEdits("timed out", yield* Fiber.join(reply), 504, "inner", "outer")
      assert.deepStrictEqual(log, ["inner", "outer"])
    }), ({ finishes }) => !finishes)
]

/** Of two with one name that of this package counts, which tries more cases. */
export const laws: ReadonlyArray<Law> = [
  ...published.filter(({ name }) => !own.some((law) => law.name === name)),
  ...own
]
