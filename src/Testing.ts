/**
 * What tests need of an app and of a middleware: a client without a socket, the laws that every middleware keeps, and
 * attacks on it. It depends on no test runner.
 *
 * @since 0.1.0
 */
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpRouter from "@effect/platform/HttpRouter"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import type { Scope } from "effect/Scope"
import * as Laws from "./internal/laws.js"
import type * as Middleware from "./Middleware.js"

/**
 * What a client sends: `GET` of a path, or of a whole URL, which says scheme and host too.
 *
 * @since 0.1.0
 * @category models
 */
export interface Request extends Laws.Init {}

/**
 * What a client has received, all of it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Reply extends Laws.Reply {
  /** The body as sent: what was compressed still is. */
  readonly bytes: Uint8Array<ArrayBuffer>
}

/**
 * Sends one request. Interrupt it, and the client has gone.
 *
 * @since 0.1.0
 * @category models
 */
export interface Client {
  (request?: Request): Effect.Effect<Reply>
  /** By name: what the app has set, and what is sent with the next request that has no `Cookie` of its own. */
  readonly cookies: Map<string, string>
}

/**
 * A client of an app, without a socket: what it sends goes through platform's web handler, with the clock and the services
 * of the test. It keeps cookies as a browser does, but for their path, host and `Secure`.
 *
 * @example
 * ```ts
 * import { HttpServerResponse } from "@effect/platform"
 * import { RequestId, Testing } from "effect-middleware"
 * import { Effect } from "effect"
 *
 * const app = HttpServerResponse.text("hello").pipe(RequestId.middleware())
 *
 * export const test = Effect.gen(function*() {
 *   const send = yield* Testing.client(app)
 *   const { body, headers } = yield* send({ path: "/notes", headers: { accept: "text/plain" } })
 *   return [body, headers["x-request-id"]]
 * })
 * ```
 *
 * @since 0.1.0
 * @category clients
 */
export const client = <E, R>(
  app: HttpApp.Default<E, R>
): Effect.Effect<Client, never, Exclude<R, HttpServerRequest.HttpServerRequest | Scope>> =>
  Effect.map(Effect.runtime<Exclude<R, HttpServerRequest.HttpServerRequest | Scope>>(), (runtime) => {
    // what it requires beyond a request and its scope is in the runtime
    const handler = HttpApp.toWebHandlerRuntime(runtime)(app as HttpApp.Default<E>)
    const cookies = new Map<string, string>()
    const send = ({ body, headers, method = "GET", path = "/" }: Request = {}) =>
      Effect.promise(async (signal) => {
        // a path that begins with two slashes is one, and no host
        const target = new URL(path.startsWith("/") ? `http://localhost${path}` : path)
        const cookie = Array.from(cookies, ([name, value]) => `${name}=${value}`).join("; ")
        const response = await handler(
          new globalThis.Request(target, {
            method,
            headers: { host: target.host, ...(cookie === "" ? {} : { cookie }), ...headers },
            body: body ?? null,
            signal
          })
        )
        const lines = response.headers.getSetCookie()
        for (const line of lines) keep(cookies, line)
        const bytes = new Uint8Array(await response.arrayBuffer())
        return {
          status: response.status,
          headers: Object.fromEntries([...response.headers].filter(([name]) => name !== "set-cookie")),
          cookies: lines,
          body: new TextDecoder().decode(bytes),
          bytes
        }
      })
    return Object.assign(send, { cookies })
  })

const keep = (cookies: Map<string, string>, line: string) => {
  const [, name = "", value = "", attributes = ""] = /^([^=]*)=([^;]*)(.*)$/s.exec(line) ?? []
  if (/;\s*max-age=(?:0|-)/i.test(attributes) || /;\s*expires=[^;]*\b1970\b/i.test(attributes)) cookies.delete(name)
  else cookies.set(name, value)
}

/**
 * How a middleware breaks a law, or gives in to an attack.
 *
 * @since 0.1.0
 * @category models
 */
export class Broken extends Data.TaggedError("Broken")<{
  /** The name of the law or the attack. */
  readonly name: string
  /** What came, and what should have come. */
  readonly message: string
}> {}

/**
 * One thing to try, to be registered with a test runner: `it.effect(check.name, () => check.run)`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Check<out R = never> {
  readonly name: string
  readonly run: Effect.Effect<void, Broken, R>
}

/**
 * What a middleware requires that no request brings.
 *
 * @since 0.1.0
 * @category models
 */
export type Needs<M> = Exclude<Middleware.Middleware.Requires<M>, HttpServerRequest.HttpServerRequest | Scope>

/**
 * The laws that every middleware keeps, whatever it is for: with a request that it lets through, what is inside is as if it
 * were not there, but for what it adds. Each is tried with other middlewares around it and in it.
 *
 * What the middleware requires, `run` does, too. What a middleware further out provides comes with a stack of both.
 *
 * @example
 * ```ts
 * import { it } from "@effect/vitest"
 * import { Middleware, Testing } from "effect-middleware"
 *
 * const noSniff = () =>
 *   Middleware.make({ name: "NoSniff", response: (draft) => draft.set("x-content-type-options", "nosniff") })
 *
 * for (const { name, run } of Testing.laws(noSniff)) it.effect(name, () => run)
 * ```
 *
 * @since 0.1.0
 * @category checks
 */
export const laws = <M extends Middleware.Any>(
  make: () => M,
  options: {
    /** What a request must have for the middleware to let it through. */
    readonly request?: Request | undefined
    /** Whether it answers the failures of what is inside. Then it is to answer as platform would. */
    readonly answers?: boolean | undefined
    /** Whether it reads a stream before it is sent, as one does that keeps the response. */
    readonly buffers?: boolean | undefined
    /** Whether what is inside runs to its end, also when the client has left. */
    readonly finishes?: boolean | undefined
  } = {}
): ReadonlyArray<Check<Needs<M>>> => {
  const { answers = false, buffers = false, finishes = false, request } = options
  const place: Laws.Place = {
    answers,
    buffers,
    finishes,
    handles: true,
    router: "none",
    within,
    serve: (app, setting = {}) =>
      Effect.map(
        clientOf(Laws.mounted(make(), setting), app),
        (send): Laws.Send => (init) => send(joined(request, init))
      )
  }
  return Laws.laws.filter((law) => law.applies(place)).map((law) =>
    checked<Needs<M>>(law.name, Laws.answered(Effect.scoped(law.check(place)), within))
  )
}

/**
 * Attacks on a middleware, which it withstands: whatever a client sends is answered, with no 500 and without being said
 * again; and a request that is refused is refused in any disguise.
 *
 * @example
 * ```ts
 * import { it } from "@effect/vitest"
 * import { Forwarded, IpRestriction, Middleware, Stack, Testing } from "effect-middleware"
 *
 * const guard = () =>
 *   Stack.make(
 *     Forwarded.middleware({ trust: "none" }),
 *     Middleware.forRoutes(["/admin/*"], IpRestriction.middleware({ allow: ["10.0.0.0/8"] }))
 *   )
 *
 * for (const { name, run } of Testing.attacks(guard, { refused: { path: "/admin/users" } })) it.effect(name, () => run)
 * ```
 *
 * @since 0.1.0
 * @category checks
 */
export const attacks = <M extends Middleware.Any>(
  make: () => M,
  options: {
    /** What a request must have for the middleware to let it through. */
    readonly request?: Request | undefined
    /** A request that it refuses. Without one, disguises are not tried. */
    readonly refused?: Request | undefined
    /** Request fields that it reads, beside those that many do. */
    readonly fields?: ReadonlyArray<string> | undefined
    /** Response fields in which it may say what the client has sent, such as `location`. */
    readonly mayRepeat?: ReadonlyArray<string> | undefined
  } = {}
): ReadonlyArray<Check<Needs<M>>> => {
  const { fields = [], mayRepeat = [], refused, request } = options
  /** Sends through the middleware; says whether the handler was reached. */
  const trial = Effect.gen(function*() {
    let isReached = false
    const app = Effect.sync(() => {
      isReached = true
      return HttpServerResponse.text("inside")
    })
    const { pathname } = new URL((refused?.path ?? "/").replace(/^\//, "http://localhost/"))
    const send = yield* clientOf(make(), app)
    // a router takes a path for another one, which a guard has to expect
    const sendRouted = yield* clientOf(make(), HttpRouter.empty.pipe(HttpRouter.all(pathname as `/${string}`, app)))
    const reaching = (send: Client) => (request: Request) =>
      Effect.map(
        Laws.answered(Effect.suspend(() => {
          isReached = false
          return send(request)
        })),
        (reply) => ({ reply, isReached })
      )
    return { send: reaching(send), sendRouted: reaching(sendRouted), pathname }
  })
  const hostile = (requests: ReadonlyArray<readonly [what: string, request: Request]>) =>
    Effect.flatMap(
      trial,
      ({ send }) =>
        Effect.forEach(requests, ([what, request]) =>
          Effect.map(send(request), ({ reply: { body, headers, status } }) => {
            if (status === 500) {
              throw new Error(`${what}: 500`)
            }
            const seen = Object.entries({ ...headers, body }).find(([name, value]) =>
              !mayRepeat.includes(name) && value.toLowerCase().includes(mark)
            )
            if (seen !== undefined) {
              throw new Error(`${what}: what was sent is in the answer, ${seen[0]}: ${short(seen[1])}`)
            }
          }))
    )
  const disguised = (disguise: (refused: Request, pathname: string) => ReadonlyArray<Request>) =>
    Effect.flatMap(trial, ({ pathname, send, sendRouted }) =>
      Effect.gen(function*() {
        const plain = refused ?? {}
        if ((yield* send(plain)).isReached) throw new Error("what `refused` says is not refused")
        for (const request of disguise(plain, pathname)) {
          const { isReached, reply } = yield* sendRouted(request)
          if (isReached) throw new Error(`let in, ${reply.status}: ${short(JSON.stringify(request))}`)
        }
      }))
  const checks = [
    checked<Needs<M>>(
      "a field with anything in it is answered, and not repeated",
      hostile(
        [...usualFields, ...fields].flatMap((name) =>
          hostileValues.map((value) =>
            [`${name}: ${short(value)}`, joined(request, { headers: { [name]: value } })] as const
          )
        )
      )
    ),
    checked<Needs<M>>(
      "a target with anything in it is answered, and not repeated",
      hostile(hostilePaths.map((path) => [short(path), { ...request, path }]))
    ),
    checked<Needs<M>>(
      "a method that nobody knows is answered",
      hostile(
        ["PROPFIND", "OPTIONS", "M-SEARCH", mark.toUpperCase()].map((
          method
        ) => [method, { headers: request?.headers ?? {}, method }])
      )
    )
  ]
  return refused === undefined ? checks : [
    ...checks,
    checked<Needs<M>>(
      "a refused request is refused whatever fields it brings",
      disguised((refused) => disguises.map((headers) => joined(refused, { headers })))
    ),
    checked<Needs<M>>(
      "a refused request is refused however its path is written",
      disguised((refused, pathname) => spellings(pathname).map((path) => ({ ...refused, path })))
    )
  ]
}

/** Less than test runners wait by themselves, so that what is told is told. */
const within = "4 seconds"

/** In everything that is sent, to be looked for in what comes back. */
const mark = "zq7mark"

const usualFields = [
  "accept",
  "accept-encoding",
  "accept-language",
  "authorization",
  "cache-control",
  "content-type",
  "cookie",
  "forwarded",
  "host",
  "if-match",
  "if-modified-since",
  "if-none-match",
  "origin",
  "range",
  "referer",
  "sec-fetch-site",
  "upgrade",
  "user-agent",
  "x-api-key",
  "x-csrf-token",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-request-id"
]

const hostileValues = [
  "",
  mark,
  `<script>${mark}</script>`,
  `"${mark}`,
  `${mark}; DROP TABLE users --`,
  `%0d%0aset-cookie:%20${mark}=1`,
  "%zz%ff%00",
  "__proto__",
  "constructor=1; __proto__=2; toString=3",
  "é÷ÿ",
  "=;=;,,;q=x;;\"",
  `Basic ${"A".repeat(2048)}`,
  "Bearer ..",
  "bytes=0-,-1,5-2",
  "-1",
  "9".repeat(400),
  `${mark},`.repeat(1000),
  "\t,".repeat(4000),
  "(".repeat(4000)
]

const hostilePaths = [
  "//",
  "/%",
  "/%zz%ff",
  "/%00",
  "/..%2f..%2fetc",
  "/a;b=c",
  "/?%",
  "/?a[__proto__]=1",
  "/__proto__/constructor",
  `/${mark}?${mark}=<script>${mark}`,
  `/${"%2f".repeat(2000)}`,
  `/${"a/".repeat(2000)}`,
  `/?${"a&".repeat(4000)}`
]

/** What has led past a middleware before: in Next.js, in proxies, in frameworks that take a method from a field. */
const disguises: ReadonlyArray<Record<string, string>> = [
  { "x-middleware-subrequest": "middleware:middleware:middleware:middleware:middleware" },
  { "x-middleware-next": "1" },
  { "x-original-url": "/" },
  { "x-rewrite-url": "/" },
  { "x-forwarded-prefix": "/public" },
  { "x-http-method-override": "GET" },
  { "x-method-override": "HEAD" },
  { "x-forwarded-for": "127.0.0.1" },
  { "x-forwarded-host": "localhost" },
  { "x-forwarded-proto": "https" },
  { forwarded: "for=127.0.0.1;host=localhost;proto=https" },
  { "x-real-ip": "127.0.0.1" },
  { "x-client-ip": "10.0.0.1" },
  { "true-client-ip": "127.0.0.1" },
  { "cf-connecting-ip": "127.0.0.1" },
  { "x-debug": "1" },
  { "x-requested-with": "XMLHttpRequest" },
  { purpose: "prefetch" },
  { connection: "upgrade", upgrade: "websocket" },
  { authorization: "Basic Og==" },
  { authorization: "Bearer null" },
  { authorization: "" },
  { cookie: "session=; user=admin; admin=true" }
]

/** A path as routers read it, too. */
const spellings = (path: string): ReadonlyArray<string> => {
  const escaped = path.replace(/[a-z]/i, (letter) => `%${letter.charCodeAt(0).toString(16)}`)
  return [
    `/${path}`,
    `//${path}`,
    `${path}/`,
    `${path}//`,
    path.toUpperCase(),
    escaped,
    escaped.toUpperCase(),
    `${path};x`,
    `${path}?`,
    `${path}?a=/public`,
    `${path}#public`,
    `/public/..${path}`,
    `/.${path}`,
    `${path}/.`,
    path.replaceAll("/", "//"),
    path.replaceAll("/", "/./"),
    `${path}%2f`,
    `${path}%20`,
    `${path}%00`,
    `${path}.json`,
    `/public/..%2f${path.slice(1)}`,
    `/public/%2e%2e${path}`
  ]
}

// --- how a check runs ------------------------------------------------------------------------------------------------

/** What an app and a middleware of a test require, whoever runs it provides; its types are erased. */
const clientOf = (middleware: Middleware.Any, app: Laws.ErasedApp) =>
  client((middleware as Middleware.Middleware)(app as HttpApp.Default))

const joined = (request: Request = {}, more: Request = {}): Request => ({
  ...request,
  ...more,
  headers: { ...request.headers, ...more.headers }
})

const short = (text: string) => text.length > 120 ? `${text.slice(0, 120)}…` : text

/** Failing apps are part of it, so nothing is logged. */
const checked = <R>(name: string, check: Effect.Effect<unknown, unknown, Scope>): Check<R> => ({
  name,
  run: Effect.scoped(check).pipe(
    Effect.asVoid,
    Effect.catchAllCause((cause) => Effect.fail(new Broken({ name, message: reasonOf(cause) }))),
    Effect.provide(Logger.remove(Logger.defaultLogger)),
    // what the middleware requires has been erased above
    (run) => run as Effect.Effect<void, Broken, R>
  )
})

const reasonOf = (cause: Cause.Cause<unknown>): string => {
  const reason = Cause.squash(cause)
  return reason instanceof Error ? reason.message : String(reason)
}
