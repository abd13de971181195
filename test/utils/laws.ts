/**
 * What every middleware keeps, in every mount. A law takes the middleware as a
 * value and knows nothing of what it is for.
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
  Equal,
  Fiber,
  FiberId,
  FiberRef,
  HashMap,
  Layer,
  Option,
  type Scope,
  Stream,
  TestClock,
  TestServices
} from "effect"
import { Middleware, type ResponseDraft, Stack } from "effect-middleware"
import { type App, type Init, type Mount, type Reply, type Send, unknownRoute } from "./TestApp.js"

type Response = HttpServerResponse.HttpServerResponse
/** An app of a test: what it requires, the server brings. */
export type ErasedApp = Effect.Effect<Response, unknown, unknown>
type Wrap = (app: ErasedApp) => ErasedApp

export interface Subject {
  readonly name: string
  readonly make: () => Middleware.Any
  /** What a request must have for the middleware to let it through. */
  readonly allowed: Init
  /** What the middleware requires. */
  readonly layer: Layer.Layer<never>
  /** Whether it answers the failures of what is inside; then as platform would. */
  readonly answers: boolean
  /** Whether it reads a stream before it is sent. */
  readonly buffers: boolean
  /** Whether what is inside runs to its end, whoever has left. */
  readonly finishes: boolean
}

export const subject = (
  name: string,
  make: () => Middleware.Any,
  options: Partial<Omit<Subject, "name" | "make">> = {}
): Subject => ({ name, make, allowed: {}, layer: Layer.empty, ...nothing, ...options })
const nothing = { answers: false, buffers: false, finishes: false }

type Trait = "answers" | "buffers" | "finishes"

/** The middleware under test in a mount, ready for apps. */
export interface Place extends Pick<Subject, Trait>, Pick<Mount, "handles" | "router"> {
  readonly serve: (app: ErasedApp, setting?: Setting) => Effect.Effect<Send, never, Scope.Scope>
}

interface Setting {
  readonly outside?: ReadonlyArray<Middleware.Any>
  readonly inside?: ReadonlyArray<Middleware.Any>
  /** Stands around the whole stack, and not in it. */
  readonly around?: Wrap
}

export interface Law {
  readonly name: string
  readonly applies: (place: Pick<Place, Trait | "handles" | "router">) => boolean
  readonly check: (place: Place) => Effect.Effect<unknown, unknown, Scope.Scope>
}

/** Whether the law holds there, or how it does not. One clock watches over all of its requests: one for each is half of a request. */
export const holds = (law: Law, mount: Mount, subject: Subject): Effect.Effect<Exit.Exit<unknown, unknown>> =>
  Effect.exit(answered(
    Effect.scoped(law.check({ ...mount, ...traitsOf(subject), serve: serve(mount, subject) })),
    "10 seconds"
  ))

export const traitsOf = ({ answers, buffers, finishes }: Subject) => ({ answers, buffers, finishes })

const serve = (mount: Mount, { allowed, layer, make }: Subject): Place["serve"] => (app, setting = {}) =>
  Effect.gen(function*() {
    const services = yield* Layer.build(layer)
    const { around, inside = [], outside = [] } = setting
    const members = [...outside, make(), ...inside]
    const stack = members.length === 1 ? members[0]! : stackOf(...members)
    const mounted = around === undefined ? stack : wrap("Around", (app) => around(stack(app as never)))
    const send = yield* Effect.provide(mount.mount(app as App, mounted), services)
    return (init) => send({ ...allowed, ...init, headers: { ...allowed.headers, ...init?.headers } })
  })

// --- material --------------------------------------------------------------------------------------------------------

export const stackOf = Stack.make as (...members: ReadonlyArray<Middleware.Any>) => Middleware.Any

/** What wraps, with the types of its app erased. */
export const wrap = (name: string, wrap: Wrap): Middleware.Any => Middleware.around(name, wrap as never)

/** No answer at all is an answer a test can wait for: by the real clock, the test's stands still. */
export const answered = <A, E>(
  effect: Effect.Effect<A, E>,
  within: `${number} seconds` = "10 seconds"
): Effect.Effect<A, E> =>
  Effect.raceFirst(
    effect,
    TestServices.provideLive(Effect.delay(Effect.dieMessage(`no answer within ${within}`), within))
  )

/** Leaves its name on each response, in the order in which the response passes. */
export const probe = (name: string, log: Array<string> = []): Middleware.Any =>
  Middleware.make({
    name,
    response: (draft) => {
      log.push(name)
      draft.append("x-order", name)
      draft.set(`x-${name}`, "1")
    }
  })

/** The request says by a header which of several cases it is. */
const asks = (name: string): Init => ({ headers: { "x-case": encodeURIComponent(name) } })
const isCase = (request: HttpServerRequest.HttpServerRequest, name: string) =>
  request.headers["x-case"] === encodeURIComponent(name)
const byCase = (
  cases: ReadonlyArray<readonly [name: string, app: ErasedApp, ...rest: ReadonlyArray<unknown>]>
): ErasedApp =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => cases.find(([name]) => isCase(request, name))![1])

export class Plain extends Data.TaggedError("Plain")<{}> {}

export class Teapot extends Data.TaggedError("Teapot")<{}> implements HttpServerRespondable.Respondable {
  [HttpServerRespondable.symbol]() {
    return HttpServerResponse.text("short and stout", { status: 418, headers: { "x-pot": "tea" } })
  }
}
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

const someEndings = endings.filter(([name]) =>
  ["an answer", "failing with a Respondable", "failing with a string", "dying of an Error", "interruption"].includes(
    name
  )
)

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

/** Says all of both: a law is broken far from where it is read. */
const same = (what: string, actual: unknown, expected: unknown) => {
  const [is, was] = [JSON.stringify(actual), JSON.stringify(expected)]
  assert(is === was, `${what}: ${is} instead of ${was}`)
}

const expectEdits = (what: string, reply: Reply, status: number, ...order: ReadonlyArray<string>) =>
  same(
    what,
    { status: reply.status, order: reply.headers["x-order"], kept: order.map((name) => reply.headers[`x-${name}`]) },
    { status, order: order.length === 0 ? undefined : order.join(", "), kept: order.map(() => "1") }
  )

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

const law = (name: string, check: Law["check"], applies: Law["applies"] = () => true): Law => ({ name, applies, check })

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

const interruptibleNever = Effect.interruptible(Effect.never)

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

export const laws: ReadonlyArray<Law> = [
  law("a request reaches the handler as it was sent, and its answer the client", ({ serve }) =>
    Effect.gen(function*() {
      const send = yield* serve(Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers, method, text, url }) =>
        Effect.map(text, (body) =>
          HttpServerResponse.text([method, url, headers["x-a"], body].join(" "), {
            status: 201,
            contentType: "text/x-a; charset=x",
            headers: { "x-b": "b" }
          }))))
      const reply = yield* send({ method: "PUT", path: "/a/%62?c=%64", headers: { "x-a": "a, a" }, body: "ü" })
      assert.deepStrictEqual([reply.status, reply.body], [201, "PUT /a/%62?c=%64 a, a ü"])
      assert.deepStrictEqual([reply.headers["content-type"], reply.headers["x-b"]], ["text/x-a; charset=x", "b"])
    })),
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
  law("a stream leaves whole", ({ serve }) =>
    Effect.gen(function*() {
      const chunks = Array.from({ length: 100 }, (_, i) => new TextEncoder().encode(`${i} `.repeat(100)))
      const send = yield* serve(Effect.succeed(HttpServerResponse.stream(Stream.fromIterable(chunks))))
      assert.strictEqual((yield* send()).body, chunks.map((chunk) => new TextDecoder().decode(chunk)).join(""))
    })),
  law("a failure, a defect, an interruption get the response they had", ({ serve }) =>
    Effect.gen(function*() {
      const send = yield* serve(byCase(someEndings))
      for (const [what, , status] of someEndings) {
        const reply = yield* send(asks(what))
        assert.deepStrictEqual([what, reply.status], [what, status])
        if (status === 418) assert.deepStrictEqual([reply.body, reply.headers["x-pot"]], ["short and stout", "tea"])
      }
    })),
  law("a client that goes away interrupts the handler", ({ serve }) =>
    Effect.gen(function*() {
      const [began, ended] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const send = yield* serve(
        Effect.zipRight(Deferred.succeed(began, undefined), interruptibleNever).pipe(
          Effect.onInterrupt(() => Deferred.succeed(ended, undefined))
        ),
        { outside: [probe("outer")], inside: [tenancy] }
      )
      const client = yield* Effect.fork(send())
      yield* answered(Deferred.await(began))
      yield* Fiber.interrupt(client)
      yield* answered(Deferred.await(ended))
    }), ({ finishes }) => !finishes),
  law("what a handler acquires is released once, after the response", ({ buffers, serve }) =>
    Effect.gen(function*() {
      const stream = Stream.fromIterable(["a", "b"]).pipe(
        Stream.tap((s) => Effect.sync(() => log.push(s))),
        Stream.encodeText
      )
      const cases: ReadonlyArray<readonly [string, ErasedApp, ReadonlyArray<string>]> = [
        ["an answer", HttpServerResponse.text("ok"), []],
        ["a failure", Effect.fail(new Teapot()), []],
        ["a stream", HttpServerResponse.stream(stream), ["a", "b"]]
      ]
      const log: Array<string> = []
      let released = yield* Deferred.make<void>()
      const acquire = Effect.addFinalizer(() =>
        Effect.suspend(() => {
          log.push("released")
          return Deferred.succeed(released, undefined)
        })
      )
      const send = yield* serve(Effect.zipRight(acquire, byCase(cases)), {
        outside: [probe("outer", log)],
        inside: [Middleware.make({ name: "inner", response: () => void log.push("inner") })]
      })
      for (const [what, , streamed] of cases) {
        log.length = 0
        released = yield* Deferred.make<void>()
        yield* send(asks(what))
        yield* answered(Deferred.await(released))
        yield* Effect.yieldNow()
        const sent = buffers ? [...streamed, "outer"] : ["outer", ...streamed]
        same(what, log, ["inner", ...sent, "released"])
      }
    })),
  law("two cookies of one name on two paths both leave", ({ serve }) =>
    Effect.gen(function*() {
      const handler = HttpServerResponse.unsafeSetCookie(HttpServerResponse.empty(), "sid", "handler", { path: "/" })
      const cookie = (name: string, path: string) =>
        Middleware.make({ name, response: (draft) => draft.setCookie("sid", name, { path }) })
      const send = yield* serve(handler, { outside: [cookie("outer", "/outer")], inside: [cookie("inner", "/inner")] })
      // a cookie of its own it may add
      const { cookies } = yield* send()
      assert.sameMembers(cookies.filter((cookie) => cookie.startsWith("sid=")), [
        "sid=handler; Path=/",
        "sid=inner; Path=/inner",
        "sid=outer; Path=/outer"
      ])
    })),
  law("fields that it does not own survive", ({ serve }) =>
    Effect.gen(function*() {
      const fields = {
        "x-handler": "1",
        "etag": "\"1\"",
        "content-language": "la",
        "www-authenticate": "Basic realm=\"a\""
      }
      // it may add to these
      const lists = { "cache-control": "max-age=1", "vary": "x-a", "server-timing": "db;dur=1" }
      const send = yield* serve(HttpServerResponse.text("ok", { headers: { ...fields, ...lists } }))
      const { headers } = yield* send()
      assert.deepStrictEqual(Object.fromEntries(Object.keys(fields).map((name) => [name, headers[name]])), fields)
      for (const [name, value] of Object.entries(lists)) assert.include(headers[name]?.split(", ") ?? [], value)
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
        assert.isTrue(inside.length === outside.length && Equal.equals(inside[0], outside[0]), `${what}: ${outside}`)
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
