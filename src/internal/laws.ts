/**
 * What every middleware keeps, in every mount. A law takes the middleware as a value and knows nothing of what it is for.
 * Public by way of `Testing`; the tests of this package try them in all mounts, and others beside.
 */
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Fiber from "effect/Fiber"
import type { Scope } from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Middleware from "../Middleware.js"
import * as Stack from "../Stack.js"

export interface Init {
  /** `GET` unless it says otherwise. */
  readonly method?: string
  /** A path, or a whole URL, which says scheme and host too. */
  readonly path?: string
  readonly headers?: Record<string, string>
  readonly body?: string | Uint8Array<ArrayBuffer>
}

export interface Reply {
  readonly status: number
  /** Names in lower case; `Set-Cookie` is in `cookies`. */
  readonly headers: Record<string, string>
  /** The lines of `Set-Cookie`. */
  readonly cookies: ReadonlyArray<string>
  readonly body: string
}

/** Interrupt it, and the client goes away. */
export type Send = (init?: Init) => Effect.Effect<Reply>

/** An app of a test: what it requires, the server brings. */
export type ErasedApp = Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, unknown>
export type Wrap = (app: ErasedApp) => ErasedApp

export interface Setting {
  readonly outside?: ReadonlyArray<Middleware.Any>
  readonly inside?: ReadonlyArray<Middleware.Any>
  /** Stands around the whole stack, and not in it. */
  readonly around?: Wrap
}

/** What a middleware may do that others do not. */
export interface Traits {
  /** Whether it answers the failures of what is inside; then as platform would. */
  readonly answers: boolean
  /** Whether it reads a stream before it is sent. */
  readonly buffers: boolean
  /** Whether what is inside runs to its end, whoever has left. */
  readonly finishes: boolean
}

/** The middleware under test in a mount, ready for apps. */
export interface Place extends Traits {
  /** Whether the app's own failure can be handled there: platform's serve mounts answer it further in. */
  readonly handles: boolean
  /** Where the mount's own router stands, and so who sees that there is no route. */
  readonly router: "inside" | "outside" | "none"
  /** How long an answer may take. */
  readonly within?: `${number} seconds`
  readonly serve: (app: ErasedApp, setting?: Setting) => Effect.Effect<Send, never, Scope>
}

export interface Law {
  readonly name: string
  readonly applies: (place: Traits & Pick<Place, "handles" | "router">) => boolean
  readonly check: (place: Place) => Effect.Effect<unknown, unknown, Scope>
}

// --- material --------------------------------------------------------------------------------------------------------

export const law = (name: string, check: Law["check"], applies: Law["applies"] = () => true): Law => ({
  name,
  applies,
  check
})

export const stackOf = Stack.make as (...members: ReadonlyArray<Middleware.Any>) => Middleware.Any

/** What wraps, with the types of its app erased. */
export const wrap = (name: string, wrap: Wrap): Middleware.Any => Middleware.around(name, wrap as never)

/** The middleware with what a law puts around it and into it. */
export const mounted = (middleware: Middleware.Any, { around, inside = [], outside = [] }: Setting): Middleware.Any => {
  const members = [...outside, middleware, ...inside]
  const stack = members.length === 1 ? middleware : stackOf(...members)
  return around === undefined ? stack : wrap("Around", (app) => around(stack(app as never)))
}

const realTime = Clock.make()

/** No answer at all is an answer a test can wait for: by the real clock, the test's stands still. */
export const answered = <A, E>(
  effect: Effect.Effect<A, E>,
  within: `${number} seconds` = "10 seconds"
): Effect.Effect<A, E> =>
  Effect.raceFirst(
    effect,
    Effect.withClock(Effect.delay(Effect.dieMessage(`no answer within ${within}`), within), realTime)
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
export const asks = (name: string): Init => ({ headers: { "x-case": encodeURIComponent(name) } })
export const isCase = (request: HttpServerRequest.HttpServerRequest, name: string) =>
  request.headers["x-case"] === encodeURIComponent(name)
export const byCase = (
  cases: ReadonlyArray<readonly [name: string, app: ErasedApp, ...rest: ReadonlyArray<unknown>]>
): ErasedApp =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => cases.find(([name]) => isCase(request, name))![1])

export class Plain extends Data.TaggedError("Plain")<{}> {}

export class Teapot extends Data.TaggedError("Teapot")<{}> implements HttpServerRespondable.Respondable {
  [HttpServerRespondable.symbol]() {
    return HttpServerResponse.text("short and stout", { status: 418, headers: { "x-pot": "tea" } })
  }
}

/** Ways for an app to end, and the status of each. */
export const someEndings: ReadonlyArray<readonly [name: string, app: ErasedApp, status: number]> = [
  ["an answer", HttpServerResponse.text("ok"), 200],
  ["failing with a Respondable", Effect.fail(new Teapot()), 418],
  ["failing with a string", Effect.fail("no"), 500],
  ["dying of an Error", Effect.die(new Error("defect")), 500],
  ["interruption", Effect.interrupt, 503]
]

export const interruptibleNever = Effect.interruptible(Effect.never)

/** Says all of both: a law is broken far from where it is read. */
export const same = (what: string, actual: unknown, expected: unknown) => {
  const [is, was] = [JSON.stringify(actual), JSON.stringify(expected)]
  if (is !== was) throw new Error(`${what}: ${is} instead of ${was}`)
}

/** `Equal` takes a failure and a defect of one value for the same. */
export const sameCauses = (
  what: string,
  actual: ReadonlyArray<Cause.Cause<unknown>>,
  expected: ReadonlyArray<Cause.Cause<unknown>>
) => {
  const shown = (causes: typeof actual) =>
    causes.map((cause) => ({
      failures: Chunk.size(Cause.failures(cause)),
      defects: Chunk.size(Cause.defects(cause)),
      cause: String(cause)
    }))
  same(what, shown(actual), shown(expected))
  if (!actual.every((cause, index) => Equal.equals(cause, expected[index]))) {
    throw new Error(`${what}: another error of the same look`)
  }
}

export const expectEdits = (what: string, reply: Reply, status: number, ...order: ReadonlyArray<string>) =>
  same(
    what,
    { status: reply.status, order: reply.headers["x-order"], kept: order.map((name) => reply.headers[`x-${name}`]) },
    { status, order: order.length === 0 ? undefined : order.join(", "), kept: order.map(() => "1") }
  )

// --- the laws --------------------------------------------------------------------------------------------------------

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
      same("the answer", [reply.status, reply.body], [201, "PUT /a/%62?c=%64 a, a ü"])
      same("its fields", [reply.headers["content-type"], reply.headers["x-b"]], ["text/x-a; charset=x", "b"])
    })),
  law("a stream leaves whole", ({ serve }) =>
    Effect.gen(function*() {
      const chunks = Array.from({ length: 100 }, (_, i) => new TextEncoder().encode(`${i} `.repeat(100)))
      const send = yield* serve(Effect.succeed(HttpServerResponse.stream(Stream.fromIterable(chunks))))
      same("the body", (yield* send()).body, chunks.map((chunk) => new TextDecoder().decode(chunk)).join(""))
    })),
  law("a failure, a defect, an interruption get the response they had", ({ serve }) =>
    Effect.gen(function*() {
      let runs = 0
      const send = yield* serve(Effect.zipRight(Effect.sync(() => runs++), byCase(someEndings)))
      for (const [what, , status] of someEndings) {
        runs = 0
        const reply = yield* send(asks(what))
        same(what, [reply.status, `${runs} run`], [status, "1 run"])
        if (status === 418) same(what, [reply.body, reply.headers["x-pot"]], ["short and stout", "tea"])
      }
    })),
  law("a client that goes away interrupts the handler", ({ serve, within }) =>
    Effect.gen(function*() {
      const [began, ended] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const send = yield* serve(
        Effect.zipRight(Deferred.succeed(began, undefined), interruptibleNever).pipe(
          Effect.onInterrupt(() => Deferred.succeed(ended, undefined))
        ),
        { outside: [probe("outer")], inside: [probe("inner")] }
      )
      const client = yield* Effect.fork(send())
      yield* answered(Deferred.await(began), within)
      yield* Fiber.interrupt(client)
      yield* answered(Deferred.await(ended), within)
    }), ({ finishes }) => !finishes),
  law(
    "what a handler acquires is released once, after the response",
    ({ buffers, serve, within }) =>
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
          yield* answered(Deferred.await(released), within)
          yield* Effect.yieldNow()
          same(what, log, ["inner", ...(buffers ? [...streamed, "outer"] : ["outer", ...streamed]), "released"])
        }
      })
  ),
  law("two cookies of one name on two paths both leave", ({ serve }) =>
    Effect.gen(function*() {
      const handler = HttpServerResponse.unsafeSetCookie(HttpServerResponse.empty(), "sid", "handler", { path: "/" })
      const cookie = (name: string, path: string) =>
        Middleware.make({ name, response: (draft) => draft.setCookie("sid", name, { path }) })
      const send = yield* serve(handler, { outside: [cookie("outer", "/outer")], inside: [cookie("inner", "/inner")] })
      // a cookie of its own it may add
      const { cookies } = yield* send()
      same("the cookies", cookies.filter((cookie) => cookie.startsWith("sid=")).sort(), [
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
      same("the fields", Object.fromEntries(Object.keys(fields).map((name) => [name, headers[name]])), fields)
      for (const [name, value] of Object.entries(lists)) {
        if (!headers[name]?.split(", ").includes(value)) same(name, headers[name], value)
      }
    })),
  law("a response is edited whatever it came from: once, inner before outer", ({ serve }) =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const send = yield* serve(byCase(someEndings), {
        outside: [probe("outer", log)],
        inside: [probe("inner", log)]
      })
      for (const [what, , status] of someEndings) {
        log.length = 0
        expectEdits(what, yield* send(asks(what)), status, "inner", "outer")
        same(what, log, ["inner", "outer"])
      }
    })),
  law("a request does not see the values of another that overlaps it", ({ serve, within }) =>
    Effect.gen(function*() {
      const [reached, open] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const send = yield* serve(Effect.gen(function*() {
        const { headers, url } = yield* HttpServerRequest.HttpServerRequest
        if (headers["x-stop"] !== undefined) {
          yield* Deferred.succeed(reached, undefined)
          yield* Deferred.await(open)
        }
        return HttpServerResponse.text(`${url} ${headers["x-case"]}`)
      }))
      const ask = (name: string, more = {}) =>
        send({ path: `/${name}?${name}`, headers: { ...asks(name).headers, "x-a": name, ...more } })
      const shown = (reply: Reply): Record<string, string> => ({ ...reply.headers, body: reply.body })
      const alone = [shown(yield* ask("one")), shown(yield* ask("one"))] as const
      const held = yield* Effect.fork(ask("one", { "x-stop": "1" }))
      // who need not ask the handler does not wait either
      yield* answered(Effect.raceFirst(Deferred.await(reached), Fiber.await(held)), within)
      const other = [shown(yield* answered(ask("two"), within)), shown(yield* answered(ask("two"), within))] as const
      yield* Deferred.succeed(open, undefined)
      const overlapped = shown(yield* answered(Fiber.join(held), within))
      const after = shown(yield* answered(ask("one"), within))
      for (const [name, value] of Object.entries(overlapped)) {
        // what is not the same for the same request, a time or a count, tells nothing
        const isStable = alone[0][name] === alone[1][name] && alone[0][name] === after[name] &&
          other[0][name] === other[1][name]
        if (isStable && value !== alone[0][name] && value === other[0][name]) {
          same(`${name}, while another request came and went`, value, alone[0][name])
        }
      }
    }), ({ handles, router }) => handles && router === "none"),
  law("outside the stack a failure is what it is inside", ({ serve }) =>
    Effect.gen(function*() {
      const [inside, outside]: [Array<Cause.Cause<unknown>>, Array<Cause.Cause<unknown>>] = [[], []]
      const record = (causes: Array<Cause.Cause<unknown>>): Wrap =>
        Effect.tapErrorCause((cause) => Effect.sync(() => causes.push(cause)))
      const send = yield* serve(record(inside)(byCase(someEndings)), {
        around: record(outside),
        outside: [probe("outer")],
        inside: [probe("inner")]
      })
      for (const [what] of someEndings) {
        inside.length = outside.length = 0
        yield* send(asks(what))
        sameCauses(what, outside, inside)
      }
    }), ({ answers, handles }) => handles && !answers)
]
