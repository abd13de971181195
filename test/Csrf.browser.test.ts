/**
 * What a browser sends for a page of elsewhere, and what of it reaches the app: forms, fetches, beacons and sockets, from
 * the same origin, from another one of the same site, and from another site.
 */
import { HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { assert } from "@effect/vitest"
import { Effect, Redacted, Schema, Stream } from "effect"
import { Csrf, ExceptionHandlers, Forwarded, Keyring, Middleware, Session, Stack, WebSocket } from "effect-middleware"
import { Chromium, describeChromium, listenToBrowser, loopback, type Page } from "./utils/chromium.js"
import { stackOf } from "./utils/laws.js"

const page = HttpServerResponse.text("<!doctype html><link rel=icon href='data:,'><p>page", {
  contentType: "text/html"
})

class Visitor extends Session.Tag("test/Visitor")<Visitor>()(Schema.Struct({})) {}
const session = Visitor.middleware({
  kind: "signed",
  cookie: { localhost: true },
  keyring: Keyring.make({ keys: [Redacted.make("Vx0b2kqTq6yJmJ3l8pYwHn5sRf9cZdA1uEoGiKtLbXw=")] })
})

const routes = HttpRouter.empty.pipe(
  HttpRouter.get("/", page),
  HttpRouter.get("/login", Effect.as(Effect.flatMap(Visitor, ({ rotate }) => rotate({ principal: "ada" })), page)),
  HttpRouter.get(
    "/form",
    Effect.map(Effect.flatMap(Csrf.Token, ({ get }) => get), (token) =>
      HttpServerResponse.text(
        `<!doctype html><form method=post action=/transfer><input name=csrf_token value="${token}"></form>`,
        { contentType: "text/html" }
      ))
  ),
  HttpRouter.post("/transfer", HttpServerResponse.text("done")),
  HttpRouter.post("/hooks", HttpServerResponse.text("done")),
  HttpRouter.get("/live", WebSocket.handle(({ messages, send }) => Stream.runForEach(messages, send)))
)

/** A browser of before 2023 sends no fetch metadata, and one of before 2020 no `Origin` with a form either. */
const browsers = {
  today: [],
  "that sends Origin alone": ["sec-fetch-site"],
  "that says nothing": ["sec-fetch-site", "origin"]
} as const

const serve = (csrf: Middleware.Any, hidden: ReadonlyArray<string> = []) =>
  Effect.gen(function*() {
    const reached: Array<string> = []
    const older = Middleware.make({
      name: "Older",
      request: (exchange) => {
        const headers = Object.assign(
          Object.create(Object.getPrototypeOf(exchange.request.headers)),
          exchange.request.headers
        )
        for (const name of hidden) delete headers[name]
        exchange.deriveRequest({ headers })
      }
    })
    const counts = Middleware.make({
      name: "Counts",
      request: ({ request: { headers, method, url } }) => {
        if (url !== "/" && url !== "/favicon.ico") {
          reached.push(`${method} ${url}${headers["cookie"]?.includes("session=") === true ? " as ada" : ""}`)
        }
      }
    })
    const stack = stackOf(
      older,
      Forwarded.middleware({ trust: "none" }),
      session,
      csrf,
      counts,
      // of what it lets through, Csrf decides
      WebSocket.middleware({ origins: "*" }),
      ExceptionHandlers.standard()
    ) as Middleware.Middleware<never, never, never, unknown>
    return { reached, port: yield* listenToBrowser(Stack.serve(routes as never, stack as never)) }
  })

/** By each of these ways a page can have something changed without asking first; each gives what came of it. */
const ways = {
  form: ({ playwright }: Page, url: string) => submit(playwright, url, "application/x-www-form-urlencoded"),
  "form of files": ({ playwright }: Page, url: string) => submit(playwright, url, "multipart/form-data"),
  "form of text": ({ playwright }: Page, url: string) => submit(playwright, url, "text/plain"),
  fetch: (page: Page, url: string) =>
    page.run(
      async (url) => {
        const init = { method: "POST", mode: "no-cors", credentials: "include", body: "{\"a\":1}" } as const
        const { status, type } = await fetch(url, init)
        return type === "opaque" ? "sent" : String(status)
      },
      url
    ),
  beacon: (page: Page, url: string) => page.run((url) => navigator.sendBeacon(url, "a") ? "sent" : "not sent", url)
} as const

const submit = (playwright: Page["playwright"], url: string, enctype: string) =>
  Effect.promise(async () => {
    const [response] = await Promise.all([
      playwright.waitForResponse((response) => response.request().method() === "POST"),
      playwright.evaluate(([url, enctype]) => {
        const form = document.createElement("form")
        Object.assign(form, { method: "post", action: url, enctype })
        document.body.append(form)
        form.submit()
      }, [url, enctype] as const)
    ])
    await playwright.waitForURL(url)
    return String(response.status())
  })

const socket = (page: Page, url: string) =>
  page.run(
    (url) =>
      new Promise<string>((resolve) => {
        const socket = new globalThis.WebSocket(url)
        socket.onopen = () => socket.send("hello")
        socket.onmessage = ({ data }) => resolve(String(data))
        socket.onerror = () => resolve("refused")
      }),
    url.replace("http:", "ws:")
  )

const timeout = 60_000

describeChromium("Csrf in Chromium", (it) => {
  const setUp = (csrf: Middleware.Any, hidden?: ReadonlyArray<string>) =>
    Effect.gen(function*() {
      const { port, reached } = yield* serve(csrf, hidden)
      const other = yield* listenToBrowser(HttpServer.serve(page))
      const own = loopback("app", port)
      const from = {
        "the same origin": own,
        "another port of the same site": loopback("app", other),
        "another host of the same site": loopback("sub.app", other),
        "another site": loopback("evil", other)
      }
      const { open } = yield* Chromium
      const first = yield* open(`${own}/login`)
      reached.length = 0
      return { own, from, reached, open: (url: string) => open(url, { beside: first }) }
    })

  for (const [browser, hidden] of Object.entries(browsers).slice(0, 2)) {
    it.scoped(`by a browser ${browser}`, () =>
      Effect.gen(function*() {
        const { from, open, own, reached } = yield* setUp(Csrf.middleware({ exceptRoutes: ["POST /hooks"] }), hidden)
        for (const [name, origin] of Object.entries(from)) {
          const isOwn = origin === own
          const page = yield* open(`${origin}/`)
          for (const [way, send] of Object.entries(ways)) {
            // an older browser differs in what it says, and not in the ways
            if (browser !== "today" && way !== "form" && way !== "fetch") continue
            const before = reached.length
            const sees = yield* send(page, `${own}/transfer`)
            if (way.startsWith("form") || isOwn && way === "fetch") {
              assert.strictEqual(sees, isOwn ? "200" : "403", `${way} from ${name}`)
            }
            // a beacon is not waited for: what comes after it on the same connection is
            if (way === "beacon") yield* page.run((url) => fetch(url, { mode: "no-cors" }).then(() => {}), `${own}/`)
            assert.strictEqual(reached.length - before, isOwn ? 1 : 0, `${way} from ${name}: ${reached.slice(before)}`)
            if (way.startsWith("form")) yield* Effect.promise(() => page.playwright.goto(`${origin}/`))
          }
          assert.strictEqual(yield* socket(page, `${own}/live`), isOwn ? "hello" : "refused", `a socket from ${name}`)
          assert.strictEqual(yield* ways.fetch(page, `${own}/hooks`), isOwn ? "200" : "sent")
          assert.match(reached.at(-1) ?? "", /^POST \/hooks/)
        }
      }), timeout)
  }

  // the harm: without it the cookie goes with what another port of the host sends
  it.scoped("without it, a page of another port acts as who has logged in", () =>
    Effect.gen(function*() {
      const nothing = Middleware.make({ name: "Nothing" })
      const { from, open, own, reached } = yield* setUp(nothing)
      const page = yield* open(`${from["another port of the same site"]}/`)
      assert.strictEqual(yield* ways.form(page, `${own}/transfer`), "200")
      assert.strictEqual(
        yield* socket(yield* open(`${from["another port of the same site"]}/`), `${own}/live`),
        "hello"
      )
      assert.deepStrictEqual(reached, ["POST /transfer as ada", "GET /live as ada"])
    }), timeout)

  it.scoped("trusted origins act, and no other", () =>
    Effect.gen(function*() {
      const { from, open, own, reached } = yield* setUp(
        Csrf.middleware({ trustedOrigins: [/http:\/\/sub\.app\.localhost:\d+/] })
      )
      const trusted = yield* open(`${from["another host of the same site"]}/`)
      assert.strictEqual(yield* socket(trusted, `${own}/live`), "hello")
      assert.strictEqual(yield* ways.form(trusted, `${own}/transfer`), "200")
      const other = yield* open(`${from["another port of the same site"]}/`)
      assert.strictEqual(yield* ways.form(other, `${own}/transfer`), "403")
      assert.deepStrictEqual(reached, ["GET /live as ada", "POST /transfer as ada"])
    }), timeout)

  it.scoped("by a browser that says nothing, the token of the form decides", () =>
    Effect.gen(function*() {
      const { from, open, own, reached } = yield* setUp(
        Csrf.middleware({ tokens: { session: Visitor } }),
        browsers["that says nothing"]
      )
      const evil = yield* open(`${from["another port of the same site"]}/`)
      assert.strictEqual(yield* ways.form(evil, `${own}/transfer`), "403")
      const { playwright } = yield* open(`${own}/form`)
      const status = yield* Effect.promise(async () => {
        const [response] = await Promise.all([
          playwright.waitForResponse((response) => response.request().method() === "POST"),
          playwright.evaluate(() => document.forms[0]!.submit())
        ])
        return response.status()
      })
      assert.strictEqual(status, 200)
      assert.deepStrictEqual(reached, ["GET /form as ada", "POST /transfer as ada"])
    }), timeout)
})
