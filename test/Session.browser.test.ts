/**
 * A session's cookie as Chromium keeps it: what of its attributes is stored, where it is sent, and that it goes when it has to.
 */
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert } from "@effect/vitest"
import { Clock, Effect, Layer, Redacted, Schema } from "effect"
import { Keyring, type Middleware, Session, SessionStore, Stack } from "effect-middleware"
import type { Frame } from "playwright-core"
import { createSecureServer } from "./utils/certificate.js"
import { Chromium, describeChromium, listenToBrowser, type Page } from "./utils/chromium.js"

// --- the server ------------------------------------------------------------------------------------------------------

class Notebook extends Session.Tag("test/Notebook")<Notebook>()(Schema.Struct({
  text: Schema.optionalWith(Schema.String, { default: () => "" })
})) {}

const keyring = Keyring.make({ keys: [Redacted.make("Vx0b2kqTq6yJmJ3l8pYwHn5sRf9cZdA1uEoGiKtLbXw=")] })

const page = HttpServerResponse.text("<!doctype html><link rel=icon href='data:,'>", { contentType: "text/html" })

const action = <E>(path: `/shop/${string}`, run: (session: Notebook["Type"]) => Effect.Effect<unknown, E>) =>
  HttpRouter.all(
    path,
    Effect.flatMap(Notebook, (session) => Effect.map(run(session), (answer) => HttpServerResponse.text(`${answer}`)))
  )

/** As much as fits, to the character. */
const fill = (session: Notebook["Type"], fits = 0, fails = 13_000): Effect.Effect<number> => {
  if (fails - fits === 1) return Effect.succeed(fits)
  const length = Math.floor((fits + fails) / 2)
  return Effect.matchEffect(session.set({ text: "x".repeat(length) }), {
    onSuccess: () => fill(session, length, fails),
    onFailure: () => fill(session, fits, length)
  })
}

const routes = HttpRouter.empty.pipe(
  HttpRouter.get("/", page),
  HttpRouter.get("/shop", page),
  HttpRouter.all(
    "/shop/cookie",
    Effect.map(
      HttpServerRequest.HttpServerRequest,
      ({ headers }) => HttpServerResponse.text(headers["cookie"] === undefined ? "no cookie" : "a cookie")
    )
  ),
  action("/shop/write", (session) => session.set({ text: "kept" })),
  action("/shop/write-much", (session) => session.set({ text: "x".repeat(5000) })),
  action("/shop/fill", fill),
  action("/shop/read", (session) => Effect.map(session.get, ({ text }) => text === "kept" ? text : text.length)),
  action("/shop/rotate", (session) => session.rotate({ principal: "ada" })),
  action("/shop/destroy", (session) => session.destroy)
)

type Sessions = Middleware.Middleware<Notebook, never, SessionStore.SessionStore>

/** Serves the routes; gives the address of a host. */
const serve = (sessions: Sessions, scheme: "http" | "https" = "https") =>
  Effect.map(
    listenToBrowser(
      Layer.provide(Stack.serve(routes, sessions), SessionStore.layerMemory()),
      scheme === "https" ? createSecureServer() : undefined
    ),
    (port) => (host: string) => `${scheme}://${host}:${port}`
  )

// --- the browser -----------------------------------------------------------------------------------------------------

const open = (url: string, beside?: Page) =>
  Effect.flatMap(Chromium, (browser) => browser.open(url, { ignoreHTTPSErrors: true, ...beside && { beside } }))

/** What an action answers to a frame of the page. */
const ask = (at: Page | Frame, name: string) => {
  const frame = "playwright" in at ? at.playwright.mainFrame() : at
  const code = `fetch("/shop/${name}", { method: "POST" }).then((response) => response.text())`
  return Effect.promise(() => frame.evaluate<string>(code))
}

/** All that is kept for the page's context, by whatever site. */
const kept = ({ playwright }: Page) =>
  Effect.promise(async () => {
    const session = await playwright.context().newCDPSession(playwright)
    const { cookies } = await session.send("Network.getAllCookies")
    await session.detach()
    return cookies.sort((a, b) => a.name < b.name ? -1 : 1)
  })

/** The attributes, as Chromium has stored them. */
const attributes = (page: Page) =>
  Effect.zipWith(
    kept(page),
    Clock.currentTimeMillis,
    (cookies, now) =>
      cookies.map(({ domain, expires, httpOnly, name, partitionKey, path, sameSite, secure }) => ({
        name,
        domain,
        path,
        secure,
        httpOnly,
        sameSite,
        // seconds have passed since
        days: expires < 0 ? undefined : Math.round((expires - now / 1000) / 864) / 100,
        partition: partitionKey?.topLevelSite
      }))
  )

// --- what is to be seen ----------------------------------------------------------------------------------------------

const timeout = 60_000

const strict = {
  name: "__Host-session",
  domain: "shop.localhost",
  path: "/",
  secure: true,
  httpOnly: true,
  sameSite: "Lax",
  days: 14,
  partition: undefined
}
const local = { ...strict, name: "session", secure: false }
const shop = { prefix: "__Secure-", domain: "shop.localhost", path: "/shop" } as const

interface Case {
  readonly name: string
  readonly sessions: Sessions
  readonly scheme?: "http"
  readonly host?: string
  readonly stored: { readonly [attribute: string]: unknown }
}

const cases: ReadonlyArray<Case> = [
  { name: "by default", sessions: Notebook.middleware({ kind: "stored" }), stored: strict },
  { name: "signed", sessions: Notebook.middleware({ kind: "signed", keyring }), stored: strict },
  { name: "encrypted", sessions: Notebook.middleware({ kind: "encrypted", keyring }), stored: strict },
  {
    name: "maxAge: 1 hour",
    sessions: Notebook.middleware({ kind: "stored", maxAge: "1 hour" }),
    stored: { ...strict, days: 0.04 }
  },
  {
    name: "maxAge: session",
    sessions: Notebook.middleware({ kind: "stored", maxAge: "session" }),
    stored: { ...strict, days: undefined }
  },
  {
    name: "sameSite: strict",
    sessions: Notebook.middleware({ kind: "stored", cookie: { sameSite: "strict" } }),
    stored: { ...strict, sameSite: "Strict" }
  },
  {
    name: "a domain and a path",
    sessions: Notebook.middleware({ kind: "stored", cookie: shop }),
    stored: { ...strict, name: "__Secure-session", domain: ".shop.localhost", path: "/shop" }
  },
  {
    name: "without a prefix",
    sessions: Notebook.middleware({ kind: "stored", cookie: { name: "notes", prefix: "none" } }),
    stored: { ...strict, name: "notes" }
  },
  // Chromium takes these for secure, as other browsers do not
  ...["localhost", "127.0.0.1"].map((host): Case => ({
    name: `over http, ${host}`,
    sessions: Notebook.middleware({ kind: "stored" }),
    scheme: "http",
    host,
    stored: { ...strict, domain: host }
  })),
  ...["localhost", "shop.localhost", "127.0.0.1"].map((host): Case => ({
    name: `over http, localhost: true, ${host}`,
    sessions: Notebook.middleware({ kind: "stored", cookie: { localhost: true } }),
    scheme: "http",
    host,
    stored: { ...local, domain: host }
  }))
]

describeChromium("Session in Chromium", (it) => {
  for (const { host = "shop.localhost", name, scheme, sessions, stored } of cases) {
    it.scoped(`the cookie as it is stored, sent, rotated and gone: ${name}`, () =>
      Effect.gen(function*() {
        const at = yield* serve(sessions, scheme)
        const page = yield* open(`${at(host)}/shop`)
        yield* ask(page, "read")
        assert.deepStrictEqual(yield* attributes(page), [])

        yield* ask(page, "write")
        assert.deepStrictEqual<unknown>(yield* attributes(page), [stored])
        assert.strictEqual(yield* page.run(() => document.cookie), "")
        assert.strictEqual(yield* ask(page, "read"), "kept")

        const [before] = yield* kept(page)
        yield* ask(page, "rotate")
        const [after, ...others] = yield* kept(page)
        assert.deepStrictEqual(others, [])
        assert.deepStrictEqual<unknown>(yield* attributes(page), [stored])
        assert.notStrictEqual(after?.value, before?.value)
        assert.strictEqual(yield* ask(page, "read"), "kept")

        yield* ask(page, "destroy")
        assert.deepStrictEqual(yield* kept(page), [])
        assert.strictEqual(yield* ask(page, "read"), "0")
      }), timeout)
  }

  it.scoped(
    "a cookie is its host's alone, and with a domain its subdomains', which can end it",
    () =>
      Effect.gen(function*() {
        const own = yield* serve(Notebook.middleware({ kind: "stored" }))
        const shared = yield* serve(Notebook.middleware({ kind: "stored", cookie: shop }))
        const page = yield* open(`${own("shop.localhost")}/shop`)
        yield* ask(page, "write")
        const subdomain = yield* open(`${own("api.shop.localhost")}/shop`, page)
        assert.strictEqual(yield* ask(subdomain, "cookie"), "no cookie")

        yield* Effect.promise(() => page.playwright.goto(`${shared("shop.localhost")}/shop`))
        yield* ask(page, "write")
        yield* Effect.promise(() => subdomain.playwright.goto(`${shared("api.shop.localhost")}/shop`))
        assert.strictEqual(yield* ask(subdomain, "read"), "kept")
        yield* ask(subdomain, "destroy")
        assert.deepStrictEqual((yield* kept(page)).map(({ name }) => name), ["__Host-session"])
      }),
    timeout
  )

  it.scoped("a partitioned cookie is the embedding site's, and goes there", () =>
    Effect.gen(function*() {
      const cookie = { sameSite: "none", partitioned: true } as const
      const at = yield* serve(Notebook.middleware({ kind: "stored", cookie }))
      const embed = (page: Page) =>
        Effect.promise(async () => {
          const url = `${at("shop.localhost")}/shop`
          const loaded = page.playwright.waitForResponse(url)
          await page.playwright.evaluate(`document.body.append(Object.assign(document.createElement("iframe"),
              { src: ${JSON.stringify(url)} }))`)
          const frame = (await loaded).frame()
          await frame.waitForLoadState()
          return frame
        })
      const one = yield* open(at("one.localhost"))
      const two = yield* open(at("two.localhost"), one)
      const [inOne, inTwo] = [yield* embed(one), yield* embed(two)]
      const stored = { ...strict, sameSite: "None" }

      yield* ask(inOne, "write")
      assert.deepStrictEqual<unknown>(yield* attributes(one), [{ ...stored, partition: "https://one.localhost" }])
      assert.strictEqual(yield* ask(inOne, "read"), "kept")
      assert.strictEqual(yield* ask(inTwo, "cookie"), "no cookie")
      yield* ask(inTwo, "write")
      yield* ask(inOne, "rotate")
      assert.lengthOf(yield* kept(one), 2)
      yield* ask(inOne, "destroy")
      assert.deepStrictEqual<unknown>(yield* attributes(one), [{ ...stored, partition: "https://two.localhost" }])
      assert.strictEqual(yield* ask(inTwo, "read"), "kept")
    }), timeout)

  it.scoped("what is not partitioned is stored for no page of another site", () =>
    Effect.gen(function*() {
      const at = yield* serve(Notebook.middleware({ kind: "stored" }))
      const page = yield* open(at("one.localhost"))
      const url = JSON.stringify(`${at("shop.localhost")}/shop/write`)
      yield* Effect.promise(() =>
        page.playwright.evaluate(`fetch(${url}, { method: "POST", mode: "no-cors", credentials: "include" })`)
      )
      assert.deepStrictEqual(yield* kept(page), [])
    }), timeout)

  for (const kind of ["signed", "encrypted"] as const) {
    it.scoped(
      `${kind}, the largest that fits is stored; one that takes several cookies is, and they go`,
      () =>
        Effect.gen(function*() {
          const at = yield* serve(Notebook.middleware({ kind, keyring }))
          const page = yield* open(`${at("shop.localhost")}/shop`)
          const length = yield* ask(page, "fill")
          const [cookie, ...others] = yield* kept(page)
          assert.deepStrictEqual(others, [])
          // by the stricter RFC the attributes count, too
          assert.isAbove(cookie?.size ?? 0, 3900)
          assert.strictEqual(yield* ask(page, "read"), length)

          const chunked = yield* serve(Notebook.middleware({ kind, keyring, chunked: true }))
          yield* Effect.promise(() => page.playwright.goto(`${chunked("shop.localhost")}/shop`))
          yield* ask(page, "write-much")
          const names = (yield* attributes(page)).map(({ name }) => name)
          assert.isAbove(names.length, 1)
          assert.deepStrictEqual(names, names.map((_, n) => `__Host-session.${n}`))
          assert.strictEqual(yield* ask(page, "read"), "5000")
          // one takes the place of several
          yield* ask(page, "write")
          assert.deepStrictEqual<unknown>(yield* attributes(page), [strict])
          yield* ask(page, "write-much")
          yield* ask(page, "destroy")
          assert.deepStrictEqual(yield* kept(page), [])
        }),
      timeout
    )

    it.scoped(`${kind}, the largest that fits into several cookies is stored`, () =>
      Effect.gen(function*() {
        const at = yield* serve(Notebook.middleware({ kind, keyring, chunked: true }))
        const page = yield* open(`${at("shop.localhost")}/shop`)
        const length = yield* ask(page, "fill")
        const cookies = yield* kept(page)
        assert.deepStrictEqual(cookies.map(({ name }) => name), [0, 1, 2].map((n) => `__Host-session.${n}`))
        // Node takes the request that brings them, whatever else Chromium sends
        assert.strictEqual(yield* ask(page, "read"), length)
      }), timeout)
  }

  it.scoped("of name and value, Chromium keeps 4096 bytes and no more", () =>
    Effect.gen(function*() {
      const at = yield* serve(Notebook.middleware({ kind: "stored" }))
      const page = yield* open(`${at("shop.localhost")}/shop`)
      for (const [name, size] of [["a", 4096], ["b", 4097]] as const) {
        yield* page.run(
          (name, length) => void (document.cookie = `${name}=${"x".repeat(length)}`),
          name,
          size - 1
        )
      }
      assert.deepStrictEqual((yield* kept(page)).map(({ name, size }) => [name, size]), [["a", 4096]])
    }), timeout)

  it.scoped(
    "sameSite: lax, it is sent with no POST of another site, but with one of the same",
    () =>
      Effect.gen(function*() {
        const at = yield* serve(Notebook.middleware({ kind: "stored" }))
        const target = `${at("shop.localhost")}/shop`
        const page = yield* open(target)
        yield* ask(page, "write")
        const submit = (from: string, method: string) =>
          Effect.promise(async () => {
            await page.playwright.goto(from)
            await page.playwright.setContent(
              `<form method="${method}" action="${target}/cookie"><button>Go</button></form>`
            )
            await Promise.all([page.playwright.waitForURL(/cookie/), page.playwright.click("button")])
            return page.playwright.textContent("body")
          })
        assert.strictEqual(yield* submit(at("evil.localhost"), "post"), "no cookie")
        assert.strictEqual(yield* submit(at("evil.localhost"), "get"), "a cookie")
        assert.strictEqual(yield* submit(at("www.shop.localhost"), "post"), "a cookie")
      }),
    timeout
  )
})
