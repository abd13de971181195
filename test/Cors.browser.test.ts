/**
 * What a browser makes of it: pages of one loopback origin ask a server on another, and tell what they could read. The
 * server tells what it was asked, and what of that reached the app.
 */
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert } from "@effect/vitest"
import { Context, Effect, Layer, Schema } from "effect"
import { Cors, ExceptionHandlers, Forwarded, Middleware, ProblemDetails, Stack, TrustedHost } from "effect-middleware"
import { Chromium, describeChromium, listenToBrowser, loopback, type Page } from "./utils/chromium.js"

// --- the pages -------------------------------------------------------------------------------------------------------

const page = HttpServerResponse.text("<!doctype html><link rel=icon href='data:,'>", { contentType: "text/html" })
const sandbox = HttpServerResponse.setHeader(page, "content-security-policy", "sandbox allow-scripts")

class Pages extends Context.Tag("test/Pages")<Pages, {
  readonly origin: (name: string) => string
  readonly on: (name: string) => Effect.Effect<Page>
}>() {
  static readonly live = Layer.scoped(
    Pages,
    Effect.gen(function*() {
      const { open } = yield* Chromium
      const port = yield* listenToBrowser(HttpServer.serve(
        Effect.map(
          HttpServerRequest.HttpServerRequest,
          ({ headers: { host } }) => host?.startsWith("sandbox.") ? sandbox : page
        )
      ))
      const origin = (name: string) => loopback(name, port)
      // one browser's, as the cache is where two pages may meet
      const beside = yield* open(origin("app"))
      return { origin, on: yield* Effect.cachedFunction((name: string) => open(origin(name), { beside })) }
    })
  )
}

type Init = {
  readonly method?: string
  readonly headers?: { readonly [name: string]: string }
  readonly body?: string
  readonly mode?: "no-cors"
  readonly credentials?: "include"
}

/** Status, body and extra headers as the page can read them, or why the browser kept them from it. */
const ask = (page: Page, url: string, init: Init = {}): Effect.Effect<string> => {
  const before = page.failures.length
  return page.run(
    async (url, init) => {
      try {
        const response = await fetch(url, init)
        const extra = [...response.headers].filter(([name]) => name.startsWith("x-"))
        return response.type === "opaque"
          ? "opaque"
          : [response.status, await response.text(), ...extra.map((field) => field.join(": "))].join(" ").trim()
      } catch (error) {
        return String(error)
      }
    },
    url,
    init
  ).pipe(
    Effect.map((seen) =>
      seen === "TypeError: Failed to fetch" ? `blocked: ${page.failures.slice(before).at(-1)}` : seen
    )
  )
}

// --- the server ------------------------------------------------------------------------------------------------------

class Taken extends Schema.TaggedError<Taken>()("Taken", {}) {}

const cookie = HttpServerRequest.HttpServerRequest.pipe(
  Effect.map(({ headers }) => HttpServerResponse.text(headers["cookie"] ?? "no cookie"))
)
const saved = HttpServerResponse.text("saved")

const routes = HttpRouter.empty.pipe(
  HttpRouter.get("/", page),
  HttpRouter.get("/notes", HttpServerResponse.text("notes", { headers: { "x-total": "7", "x-secret": "8" } })),
  HttpRouter.put("/notes", saved),
  HttpRouter.post("/notes", saved),
  HttpRouter.get("/public/notes", HttpServerResponse.text("for all")),
  HttpRouter.get("/kept", HttpServerResponse.text("kept", { headers: { "cache-control": "max-age=600" } })),
  HttpRouter.get("/me", cookie),
  HttpRouter.get(
    "/login/Lax",
    HttpServerResponse.text("in", { headers: { "set-cookie": "id=1; Path=/; SameSite=Lax" } })
  ),
  HttpRouter.get(
    "/login/Partitioned",
    HttpServerResponse.text("in", { headers: { "set-cookie": "id=1; Path=/; SameSite=None; Secure; Partitioned" } })
  ),
  HttpRouter.get("/taken", Effect.fail(new Taken())),
  HttpRouter.get("/bug", Effect.die("bug"))
)

const handlers = ExceptionHandlers.byTag({
  Taken: () => ProblemDetails.toResponse({ status: 409, detail: "Taken" }),
  RouteNotFound: () => ProblemDetails.toResponse({ status: 404 })
})

type Protection = Middleware.Middleware<never, Cors.OriginNotAllowed>

let servers = 0

/**
 * Serves the app behind the middleware; gives its address on a site, and what it was asked, in order. No two have an
 * address in common, even where one has the port of another before it: the browser has nothing of one for the other.
 */
const serve = (cors: Protection) =>
  Effect.gen(function*() {
    const asked: Array<string> = []
    const outside = Middleware.make({
      name: "Outside",
      request: ({ request: { headers, method, url } }) => {
        asked.push([method, url, ...headers["cookie"] === undefined ? [] : [`(${headers["cookie"]})`]].join(" "))
      }
    })
    const inside = Middleware.make({ name: "Inside", request: () => void asked.push(`${asked.pop()} -> app`) })
    const trusted = TrustedHost.middleware({ hosts: ["*.api.localhost", "*.app.localhost"] })
    const stack = Stack.make(outside, Forwarded.middleware({ trust: "none" }), cors, trusted, inside, handlers)
    const port = yield* listenToBrowser(Stack.serve(routes, stack))
    const label = ++servers
    return { asked, at: (site: string) => loopback(`${label}.${site}`, port) }
  })

// --- what is to be seen ----------------------------------------------------------------------------------------------

const timeout = 30_000

type Options = Omit<Cors.Options<"*" | ReadonlyArray<string>>, "name">

interface Case {
  readonly name: string
  /** Beside `origins`, which is the origin of the pages on `app.localhost`. */
  readonly cors?: Partial<Options>
  /** Where the page is; "app" unless it says otherwise. */
  readonly from?: "app" | "other" | "sandbox"
  /** The site to ask; "api" unless it says otherwise. */
  readonly to?: "api" | "app" | "untrusted"
  readonly asks: ReadonlyArray<readonly [path: string, init?: Init]>
  readonly sees: ReadonlyArray<string>
  readonly server: ReadonlyArray<string>
}

const put: Case["asks"][number] = ["/notes", {
  method: "PUT",
  headers: { "content-type": "application/json", "x-reason": "test" },
  body: "{}"
}]
const include = { credentials: "include" } as const
const credentials = true

const cases: ReadonlyArray<Case> = [
  {
    name: "a simple request from an allowed origin",
    cors: { exposedHeaders: ["x-total"] },
    asks: [["/notes"]],
    sees: ["200 notes x-total: 7"],
    server: ["GET /notes -> app"]
  },
  {
    name: "a simple request from a disallowed origin: the app has run",
    from: "other",
    asks: [["/notes"], ["/notes", { method: "POST", body: "text" }]],
    sees: ["blocked: MissingAllowOriginHeader", "blocked: MissingAllowOriginHeader"],
    server: ["GET /notes -> app", "POST /notes -> app"]
  },
  {
    name: "any origin",
    cors: { origins: "*", exposedHeaders: "*" },
    from: "other",
    asks: [["/notes"]],
    sees: ["200 notes x-secret: 8 x-total: 7"],
    server: ["GET /notes -> app"]
  },

  {
    name: "a preflighted request: the browser keeps the answer",
    cors: { methods: ["PUT"], headers: ["X-Reason"] },
    asks: [put, put],
    sees: ["200 saved", "200 saved"],
    server: ["OPTIONS /notes", "PUT /notes -> app", "PUT /notes -> app"]
  },
  {
    name: "a preflighted request, maxAge: 0: the browser keeps nothing",
    cors: { methods: "*", headers: "*", maxAge: 0 },
    asks: [put, put],
    sees: ["200 saved", "200 saved"],
    server: ["OPTIONS /notes", "PUT /notes -> app", "OPTIONS /notes", "PUT /notes -> app"]
  },
  {
    name: "a preflighted request, preflightStatus: 200",
    cors: { methods: ["PUT"], headers: ["x-reason"], preflightStatus: 200 },
    asks: [put],
    sees: ["200 saved"],
    server: ["OPTIONS /notes", "PUT /notes -> app"]
  },
  {
    name: "headers that need no listing",
    asks: [["/notes", { method: "POST", headers: { "content-type": "application/json" } }]],
    sees: ["200 saved"],
    server: ["OPTIONS /notes", "POST /notes -> app"]
  },
  {
    name: "Authorization, headers: *",
    cors: { headers: "*" },
    asks: [["/notes", { headers: { authorization: "Bearer token" } }]],
    sees: ["200 notes"],
    server: ["OPTIONS /notes", "GET /notes -> app"]
  },

  ...(["empty", "reason"] as const).flatMap((disallowedPreflight): ReadonlyArray<Case> => [
    {
      name: `a preflight from a disallowed origin, ${disallowedPreflight}`,
      cors: { methods: "*", headers: "*", disallowedPreflight },
      from: "other",
      asks: [put],
      sees: ["blocked: PreflightMissingAllowOriginHeader"],
      server: ["OPTIONS /notes"]
    },
    {
      name: `a preflight for a disallowed method, ${disallowedPreflight}`,
      cors: { headers: "*", disallowedPreflight },
      asks: [put],
      sees: ["blocked: PreflightMissingAllowOriginHeader"],
      server: ["OPTIONS /notes"]
    },
    {
      name: `a preflight for a disallowed header, ${disallowedPreflight}`,
      cors: { methods: "*", headers: ["x-other"], disallowedPreflight },
      asks: [put],
      sees: ["blocked: PreflightMissingAllowOriginHeader"],
      server: ["OPTIONS /notes"]
    }
  ]),

  {
    name: "credentials within a site",
    cors: { credentials },
    to: "app",
    asks: [["/login/Lax", include], ["/me", include], ["/me"]],
    sees: ["200 in", "200 id=1", "200 no cookie"],
    server: ["GET /login/Lax -> app", "GET /me (id=1) -> app", "GET /me -> app"]
  },
  {
    name: "credentials from another site, Partitioned",
    cors: { credentials },
    asks: [["/login/Partitioned", include], ["/me", include]],
    sees: ["200 in", "200 id=1"],
    server: ["GET /login/Partitioned -> app", "GET /me (id=1) -> app"]
  },
  {
    name: "credentials from another site, SameSite=Lax: the browser keeps them back",
    cors: { credentials },
    asks: [["/login/Lax", include], ["/me", include]],
    sees: ["200 in", "200 no cookie"],
    server: ["GET /login/Lax -> app", "GET /me -> app"]
  },
  {
    name: "credentials that are not allowed: cookies are stored and sent, and nothing is readable",
    to: "app",
    asks: [["/login/Lax", include], ["/me", include]],
    sees: ["blocked: InvalidAllowCredentials", "blocked: InvalidAllowCredentials"],
    server: ["GET /login/Lax -> app", "GET /me (id=1) -> app"]
  },
  {
    name: "credentials to where any origin is allowed",
    cors: { origins: "*" },
    asks: [["/notes", include], ["/notes"]],
    sees: ["blocked: WildcardOriginNotAllowed", "200 notes"],
    server: ["GET /notes -> app", "GET /notes -> app"]
  },
  {
    name: "a preflighted request with credentials",
    cors: { credentials, methods: ["PUT"], headers: "*" },
    to: "app",
    asks: [["/login/Lax", include], ["/notes", { ...put[1], ...include }]],
    sees: ["200 in", "200 saved"],
    server: ["GET /login/Lax -> app", "OPTIONS /notes", "PUT /notes (id=1) -> app"]
  },

  {
    name: "responses that report a mistake",
    asks: [["/nowhere"], ["/taken"], ["/bug"]],
    sees: [
      `404 {"title":"Not Found","status":404}`,
      `409 {"title":"Conflict","status":409,"detail":"Taken"}`,
      "500"
    ],
    server: ["GET /nowhere -> app", "GET /taken -> app", "GET /bug -> app"]
  },
  {
    name: "a refusal further in",
    to: "untrusted",
    asks: [["/notes"]],
    sees: [`400 {"title":"Bad Request","status":400,"detail":"The Host header names no host of this server"}`],
    server: ["GET /notes"]
  },

  {
    name: "a sandboxed page, whose origin is null",
    from: "sandbox",
    asks: [["/notes"]],
    sees: ["blocked: MissingAllowOriginHeader"],
    server: ["GET /notes -> app"]
  },
  {
    name: "a sandboxed page, null listed",
    cors: { origins: ["null"] },
    from: "sandbox",
    asks: [["/notes"]],
    sees: ["200 notes"],
    server: ["GET /notes -> app"]
  },

  {
    name: "denyDisallowed",
    cors: { denyDisallowed: true },
    from: "other",
    asks: [["/notes"], ["/notes", { method: "POST", body: "text" }], ["/notes", { mode: "no-cors" }]],
    sees: ["blocked: MissingAllowOriginHeader", "blocked: MissingAllowOriginHeader", "opaque"],
    server: ["GET /notes", "POST /notes", "GET /notes -> app"]
  },
  {
    name: "routes",
    cors: { routes: [{ match: ["/public/*"], origins: "*" }] },
    from: "other",
    asks: [["/public/notes"], ["/notes"]],
    sees: ["200 for all", "blocked: MissingAllowOriginHeader"],
    server: ["GET /public/notes -> app", "GET /notes -> app"]
  },
  {
    name: "resourcePolicy: same-site, from another site",
    cors: { resourcePolicy: "same-site" },
    asks: [["/notes", { mode: "no-cors" }], ["/notes"]],
    sees: ["blocked: net::ERR_BLOCKED_BY_RESPONSE.NotSameSite", "200 notes"],
    server: ["GET /notes -> app", "GET /notes -> app"]
  },
  {
    name: "resourcePolicy: same-site, within the site",
    cors: { resourcePolicy: "same-site" },
    to: "app",
    asks: [["/notes", { mode: "no-cors" }]],
    sees: ["opaque"],
    server: ["GET /notes -> app"]
  }
]

describeChromium("Cors in Chromium", (it) =>
  it.layer(Pages.live)((it) => {
    for (const { asks, cors, from = "app", name, sees, server, to = "api" } of cases) {
      it.scoped(name, () =>
        Effect.gen(function*() {
          const pages = yield* Pages
          const options: Options = { origins: [pages.origin("app")], ...cors }
          const { asked, at } = yield* serve(Cors.middleware(options))
          const page = yield* pages.on(from)
          const seen = yield* Effect.forEach(asks, ([path, init]) => ask(page, at(to) + path, init))
          assert.deepStrictEqual({ sees: seen, server: asked }, { sees, server })
        }), timeout)
    }

    it.scoped("denyDisallowed, within an origin", () =>
      Effect.gen(function*() {
        const { open } = yield* Chromium
        const { asked, at } = yield* serve(Cors.middleware({ origins: ["https://app.example"], denyDisallowed: true }))
        const page = yield* open(at("api"))
        assert.strictEqual(yield* ask(page, `${at("api")}/notes`, { method: "POST", body: "text" }), "200 saved")
        assert.deepStrictEqual(asked, ["GET / -> app", "POST /notes -> app"])
      }), timeout)

    // two origins of one site, which share what the browser keeps
    const naive = Middleware.make({
      name: "Naive",
      response: (draft, { request: { headers: { origin } } }) =>
        origin && draft.set("access-control-allow-origin", origin)
    })
    const none = "blocked: MissingAllowOriginHeader"
    for (
      const [name, cors, sees, requests] of [
        [
          "an answer for each origin",
          (origins) => Cors.middleware({ origins }),
          ["200 kept", "200 kept", "200 kept"],
          3
        ],
        ["one answer for any origin", () => Cors.middleware({ origins: "*" }), ["200 kept", "200 kept", "200 kept"], 1],
        ["the first answer, were there no Vary", () => naive, [none, none, none], 1]
      ] satisfies ReadonlyArray<
        [string, (origins: ReadonlyArray<string>) => Protection, ReadonlyArray<string>, number]
      >
    ) {
      it.scoped(`the browser's cache keeps ${name}`, () =>
        Effect.gen(function*() {
          const pages = yield* Pages
          const [a, b] = [yield* pages.on("a.app"), yield* pages.on("b.app")]
          const { asked, at } = yield* serve(cors([pages.origin("a.app"), pages.origin("b.app")]))
          const url = `${at("api")}/kept`
          assert.strictEqual(yield* ask(a, url, { mode: "no-cors" }), "opaque")
          assert.deepStrictEqual([yield* ask(a, url), yield* ask(a, url), yield* ask(b, url)], sees)
          assert.deepStrictEqual(asked, Array<string>(requests).fill("GET /kept -> app"))
        }), timeout)
    }

    for (const timing of [true, false]) {
      it.scoped(`timing: ${timing}`, () =>
        Effect.gen(function*() {
          const pages = yield* Pages
          const { at } = yield* serve(Cors.middleware({ origins: [pages.origin("app")], timing }))
          const page = yield* pages.on("app")
          const url = `${at("api")}/notes`
          assert.strictEqual(yield* ask(page, url), "200 notes")
          const requestStart = yield* page.run((url) =>
            new Promise<number>((resolve) =>
              new PerformanceObserver((list) => {
                for (const entry of list.getEntriesByName(url)) {
                  if (entry instanceof PerformanceResourceTiming) resolve(entry.requestStart)
                }
              }).observe({ type: "resource", buffered: true })
            ), url)
          assert.strictEqual(requestStart > 0, timing)
        }), timeout)
    }
  }))
