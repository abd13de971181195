/**
 * The notes example as somebody uses it: a page of theirs, the form, the page again, and out.
 */
import { assert } from "@effect/vitest"
import { Config, Effect, Layer, Logger, Redacted } from "effect"
import {
  IdempotencyStore,
  Keyring,
  PasswordHash,
  RateLimitStore,
  ResponseCacheStore,
  SessionStore
} from "effect-middleware"
import { server } from "../docs/examples/notes/app.js"
import { Notes } from "../docs/examples/notes/Notes.js"
import { backend, Tokens, Users } from "../docs/examples/notes/Users.js"
import { Chromium, describeChromium, listenToBrowser, loopback, type Page } from "./utils/chromium.js"

const secret = Redacted.make("Vx0b2kqTq6yJmJ3l8pYwHn5sRf9cZdA1uEoGiKtLbXw=")

const users = Layer.provideMerge(backend, Layer.merge(Users.Default, Tokens.layer(Config.succeed(secret)))).pipe(
  Layer.provideMerge(PasswordHash.layerScrypt({ N: 2 }))
)

const serve = () =>
  listenToBrowser(
    server.pipe(
      Layer.provide([
        users,
        Notes.Default,
        SessionStore.layerMemory(),
        RateLimitStore.layerMemory(),
        ResponseCacheStore.layerMemory(),
        IdempotencyStore.layerMemory(),
        Keyring.layer({ keys: [secret] })
      ]),
      Layer.orDie
    )
  ).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)))

// --- the browser -----------------------------------------------------------------------------------------------------

const timeout = 60_000

const where = ({ playwright }: Page) => new URL(playwright.url()).pathname

const text = ({ playwright }: Page, selector = "body") =>
  Effect.promise(() => playwright.locator(selector).innerText({ timeout }))

const goTo = ({ playwright }: Page, url: string) => Effect.promise(() => playwright.goto(url))

/** Clicks the button; gives the status of the page that it leads to. */
const submit = ({ playwright }: Page) =>
  Effect.promise(async () => {
    const [response] = await Promise.all([
      playwright.waitForResponse((response) => response.status() !== 303 && response.request().isNavigationRequest()),
      playwright.click("button")
    ])
    await playwright.waitForLoadState()
    return response.status()
  })

const logIn = (page: Page, name: string, password: string) =>
  Effect.zipRight(
    Effect.promise(async () => {
      await page.playwright.getByLabel("Name").fill(name)
      await page.playwright.getByLabel("Password").fill(password)
    }),
    submit(page)
  )

const sessionOf = ({ playwright }: Page) =>
  Effect.promise(async () => (await playwright.context().cookies()).find(({ name }) => name === "session")?.value)

describeChromium("The notes example in Chromium", (it) => {
  it.scoped("somebody is sent to the form, logs in, is back on their page, and logs out", () =>
    Effect.gen(function*() {
      const port = yield* serve()
      const url = `http://localhost:${port}`
      const page = yield* Effect.flatMap(Chromium, (browser) => browser.open(`${url}/account?from=shop`))
      assert.strictEqual(where(page), "/login")
      assert.strictEqual(yield* page.run(() => document.activeElement?.getAttribute("name") ?? ""), "name")

      // a cart from before, which the login keeps, under another identifier
      const cart = { data: { item: "tea" } }
      yield* Effect.promise(() => page.playwright.context().request.post(`${url}/cart`, cart))
      const before = yield* sessionOf(page)
      assert.isDefined(before)

      assert.strictEqual(yield* logIn(page, "ada", "wrong"), 401)
      assert.strictEqual(yield* text(page, "[role=alert]"), "The name or the password is wrong")
      assert.strictEqual(where(page), "/login")
      assert.strictEqual(yield* sessionOf(page), before)

      assert.strictEqual(yield* logIn(page, "ada", "correct horse"), 200)
      assert.strictEqual(page.playwright.url(), `${url}/account?from=shop`)
      const shown = yield* text(page)
      for (const line of ["ada", "Welcome, ada", "In your cart: tea"]) assert.include(shown, line)
      assert.notStrictEqual(yield* sessionOf(page), before)
      assert.include(yield* text(page, "h1"), "ada")

      assert.strictEqual(yield* submit(page), 200)
      assert.strictEqual(where(page), "/login")
      assert.isUndefined(yield* sessionOf(page))
      yield* goTo(page, `${url}/account`)
      assert.strictEqual(where(page), "/login")
      // nor does the way back show it
      yield* Effect.promise(() => page.playwright.goBack())
      assert.strictEqual(where(page), "/login")
      assert.deepStrictEqual(page.failures, [])
    }), timeout)

  it.scoped("a form of another port of this host logs nobody in or out", () =>
    Effect.gen(function*() {
      const [port, other] = [yield* serve(), yield* serve()]
      const page = yield* Effect.flatMap(Chromium, (browser) => browser.open(`http://localhost:${port}/account`))
      yield* logIn(page, "ada", "correct horse")
      for (const from of [`http://localhost:${other}`, loopback("evil", other)]) {
        yield* Effect.promise(async () => {
          // a page of no server here, but of this origin
          await page.playwright.route(`${from}/form`, (route) =>
            route.fulfill({
              contentType: "text/html",
              body: `<form method="post" action="http://localhost:${port}/logout"><button>Win</button></form>`
            }))
          await page.playwright.goto(`${from}/form`)
        })
        assert.strictEqual(yield* submit(page), 403)
      }
      yield* goTo(page, `http://localhost:${port}/account`)
      assert.strictEqual(yield* text(page, "h1"), "ada")
    }), timeout)
})
