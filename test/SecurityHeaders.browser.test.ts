/**
 * What a browser makes of the fields: what runs, what is blocked, what is reported, who may frame whom.
 */
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { Conditional, ExceptionHandlers, Forwarded, SecurityHeaders, Stack } from "effect-middleware"
import { Chromium, describeChromium, listenToBrowser, loopback, type Page } from "./utils/chromium.js"

const html = (body: string, headers: Record<string, string> = {}) =>
  HttpServerResponse.text(`<!doctype html><link rel=icon href="data:,">${body}`, { contentType: "text/html", headers })

const listener = `addEventListener("securitypolicyviolation", ({ effectiveDirective, disposition }) =>
  (globalThis.violations ??= []).push(effectiveDirective + " " + disposition))`
const hashed = "globalThis.byHash = true"

const page = Effect.map(SecurityHeaders.Nonce, ({ value }) =>
  html(
    `<style nonce="${value}">p { color: rgb(1, 2, 3) }</style><p>page
<script nonce="${value}">${listener}; globalThis.byNonce = true</script><script>${hashed}</script>
<img src="data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAAC"><script src="/script.js"></script>`,
    { "cache-control": "no-cache", "etag": "\"1\"" }
  ))

// what somebody has got into a page
const injected = Effect.map(SecurityHeaders.Nonce, ({ value }) =>
  html(
    `<script nonce="${value}">${listener}</script><base href="http://evil.localhost/"><p onclick="globalThis.ran = 1">text
<script>globalThis.ran = 1</script><script nonce="AAAAAAAAAAAAAAAAAAAAAA==">globalThis.ran = 1</script>
<style>p { color: rgb(9, 9, 9) }</style><script src="http://evil.localhost/x.js"></script>`
  ))

const routes = (reported: Deferred.Deferred<string>) =>
  HttpRouter.empty.pipe(
    HttpRouter.get("/", page),
    HttpRouter.get(
      "/script.js",
      HttpServerResponse.text("globalThis.byFile = true", { contentType: "text/javascript" })
    ),
    HttpRouter.get("/injected", injected),
    HttpRouter.get("/text", HttpServerResponse.text("globalThis.sniffed = true", { contentType: "text/plain" })),
    HttpRouter.get("/elsewhere", HttpServerResponse.redirect("/", { status: 303 })),
    HttpRouter.get("/bug", Effect.die("bug")),
    HttpRouter.get("/widget", html("<p>widget").pipe(SecurityHeaders.change({ preset: "embed" }))),
    HttpRouter.post(
      "/reports",
      Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ text }) => text).pipe(
        Effect.flatMap((text) => Deferred.succeed(reported, text)),
        Effect.as(HttpServerResponse.empty())
      )
    )
  )

const serve = Effect.gen(function*() {
  const reported = yield* Deferred.make<string>()
  const stack = Stack.make(
    Forwarded.middleware({ trust: "none" }),
    SecurityHeaders.middleware({
      nonce: ["scriptSrc", "styleSrc"],
      contentSecurityPolicy: { scriptSrc: ["'self'", SecurityHeaders.hash(hashed)] },
      contentSecurityPolicyReportOnly: { imgSrc: ["'none'"], reportUri: ["/reports"] }
    }),
    Conditional.middleware(),
    ExceptionHandlers.standard()
  )
  return { port: yield* listenToBrowser(Stack.serve(routes(reported), stack)), reported: Deferred.await(reported) }
})

interface Seen {
  readonly byNonce?: boolean
  readonly byHash?: boolean
  readonly byFile?: boolean
  readonly ran?: number
  readonly violations?: ReadonlyArray<string>
}

const seen = (page: Page) =>
  page.run(() => {
    const { byFile = false, byHash = false, byNonce = false, ran = 0, violations = [] } = globalThis as Seen
    return {
      ran: [byNonce, byHash, byFile, ran],
      color: getComputedStyle(document.querySelector("p")!).color,
      violations: [...new Set(violations)].sort()
    }
  })

/** What a browser writes to its console; an unknown feature of a policy is a warning. */
const watchConsole = ({ playwright }: Page) => {
  const lines: Array<string> = []
  playwright.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) lines.push(message.text())
  })
  return lines
}

const timeout = 60_000

describeChromium("SecurityHeaders in Chromium", (it) => {
  const setUp = Effect.gen(function*() {
    const { port, reported } = yield* serve
    const url = loopback("app", port)
    const { open } = yield* Chromium
    const tab = yield* open(`${url}/`)
    const console = watchConsole(tab)
    const go = (path: string) => Effect.promise(() => tab.playwright.goto(url + path))
    return { url, port, tab, console, go, reported, open }
  })

  it.scoped(
    "a page with its nonce, its hash and its files breaks nothing; what is only reported is",
    () =>
      Effect.gen(function*() {
        const { console, go, reported, tab } = yield* setUp
        yield* go("/")
        assert.deepStrictEqual(yield* seen(tab), {
          ran: [true, true, true, 0],
          color: "rgb(1, 2, 3)",
          violations: ["img-src report"]
        })
        assert.deepStrictEqual(console.filter((line) => !/report-only/i.test(line)), [])
        assert.include(yield* reported, "\"effective-directive\":\"img-src\"")
      }),
    timeout
  )

  it.scoped("what is injected does not run", () =>
    Effect.gen(function*() {
      const { go, tab } = yield* setUp
      yield* go("/injected")
      yield* Effect.promise(() => tab.playwright.click("p"))
      const { color, ran, violations } = yield* seen(tab)
      assert.deepStrictEqual([ran, color], [[false, false, false, 0], "rgb(0, 0, 0)"])
      assert.deepStrictEqual(violations, [
        "base-uri enforce",
        // of its icon
        "img-src report",
        "script-src-attr enforce",
        "script-src-elem enforce",
        "style-src-elem enforce"
      ])
    }), timeout)

  it.scoped(
    "a page that is there already stays what it was after a 304, and is another with another nonce",
    () =>
      Effect.gen(function*() {
        const { go, tab, url } = yield* setUp
        const sent: Array<number> = []
        const session = yield* Effect.promise(() => tab.playwright.context().newCDPSession(tab.playwright))
        session.on("Network.responseReceivedExtraInfo", ({ statusCode }) => void sent.push(statusCode))
        yield* Effect.promise(() => session.send("Network.enable"))
        yield* go("/")
        yield* go("/")
        const { ran, violations } = yield* seen(tab)
        assert.include(sent, 304)
        assert.deepStrictEqual([ran, violations], [[true, true, true, 0], ["img-src report"]])
        const nonces = yield* tab.run(
          (url) =>
            Promise.all([1, 2].map(() => fetch(url, { cache: "no-store" }).then((response) => response.text()))).then((
              pages
            ) => pages.map((page) => /nonce="([^"]+)"/.exec(page)![1]!)),
          `${url}/`
        )
        assert.notStrictEqual(nonces[0], nonces[1])
      }),
    timeout
  )

  it.scoped("the fields are on 200, redirects, 404 and 500", () =>
    Effect.gen(function*() {
      const { tab, url } = yield* setUp
      const expected = Object.keys(SecurityHeaders.policy()())
      const lacking = new Map<string, ReadonlyArray<string>>()
      tab.playwright.on("response", (response) => {
        const headers = response.headers()
        lacking.set(
          `${response.url().slice(url.length)} ${response.status()}`,
          expected.filter((name) => headers[name] === undefined)
        )
      })
      const paths = ["/text 200", "/elsewhere 303", "/nowhere 404", "/bug 500"]
      for (const path of paths) {
        // of an empty 500 Chromium makes a page of its own
        yield* Effect.promise(() => tab.playwright.goto(url + path.split(" ")[0]).catch(() => {}))
      }
      assert.deepStrictEqual(paths.map((path) => lacking.get(path)), [[], [], [], []])
    }), timeout)

  it.scoped("other sites frame and load what they may", () =>
    Effect.gen(function*() {
      const { open, url } = yield* setUp
      const other = yield* listenToBrowser(HttpServer.serve(html(
        `<iframe src="${url}/text"></iframe><iframe src="${url}/widget"></iframe><script src="${url}/text"></script>`
      )))
      const { playwright } = yield* open(loopback("evil", other))
      const frames = yield* Effect.promise(() =>
        Promise.all(
          playwright.frames().slice(1).map((frame) =>
            frame.evaluate(() => document.body?.innerText ?? "").catch(() => "blocked")
          )
        )
      )
      assert.notInclude(frames[0], "sniffed")
      assert.include(frames[1], "widget")
      const sniffed = yield* Effect.promise(() => playwright.evaluate(() => "sniffed" in globalThis))
      assert.isFalse(sniffed)
    }), timeout)
})
