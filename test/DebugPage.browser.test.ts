/**
 * The debug page in a real browser: what it shows and does, with scripts and without, that it asks for nothing and runs
 * nothing that is in what it shows, and that everybody can use it.
 */
import { HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert } from "@effect/vitest"
import axe from "axe-core"
import { Effect } from "effect"
import { contentSecurityPolicy, toHtml } from "../src/internal/debugHtml.js"
import { toText } from "../src/internal/debugText.js"
import type { Snapshot } from "../src/internal/snapshot.js"
import { bare, deep, error, everywhere, frame, rich, simple } from "./internal/snapshots.js"
import { Chromium, describeChromium, listenToBrowser, loopback, type Options } from "./utils/chromium.js"

const timeout = 60_000
const nonce = "bm9uY2U"

/** Opens the page of a snapshot; `heard` is all that should not be: errors, and requests beside the one for the page. */
const show = (snapshot: Snapshot, options: Options = {}) =>
  Effect.gen(function*() {
    const { open } = yield* Chromium
    const heard: Array<string> = []
    const answer = HttpServerResponse.text(toHtml(snapshot, nonce), {
      status: 500,
      contentType: "text/html; charset=utf-8",
      headers: { "content-security-policy": contentSecurityPolicy(nonce) }
    })
    const port = yield* listenToBrowser(HttpServer.serve(
      Effect.map(HttpServerRequest.HttpServerRequest, ({ url }) => {
        if (url !== "/page") heard.push(`asked for ${url}`)
        return answer
      })
    ))
    const { playwright: page, run } = yield* open("about:blank", options)
    const url = `${loopback("debug", port)}/page`
    page.on("console", (message) => {
      // Chromium's own word on every page with such a status
      if (!message.text().includes("status of 500")) heard.push(message.text())
    })
    page.on("pageerror", ({ message }) => heard.push(message))
    page.on("dialog", (dialog) => heard.push(dialog.message()))
    page.on("request", (request) => {
      if (request.url() !== url) heard.push(request.url())
    })
    yield* Effect.promise(() => page.goto(url))
    return { heard, page, run }
  })

const planted = [
  "<script>window.pwned=1</script>",
  "\"><img src=x onerror=window.pwned=1>",
  "'><svg onload=window.pwned=1>",
  "</textarea><script>window.pwned=1</script>",
  "</style><script>window.pwned=1</script>",
  "</title></pre></code><iframe srcdoc='<script>parent.pwned=1</script>'>",
  "\u202egnp.exe \u05e9\u05dc\u05d5\u05dd \u2066\u0000\u001b[2J"
]

const long = everywhere("x".repeat(5000))
const huge: Snapshot = {
  ...simple,
  title: `E: ${"y".repeat(100_000)}`,
  cause: { kind: "die", error: error("E", "y".repeat(100_000), { frames: [frame("z".repeat(100_000), 1)] }) }
}

describeChromium("the debug page in Chromium", (it) => {
  it.scoped("shows the failure, opens and folds by mouse and by keyboard", () =>
    Effect.gen(function*() {
      const { heard, page } = yield* show(simple)
      yield* Effect.promise(async () => {
        assert.strictEqual(await page.title(), "500 TypeError: Cannot read properties of undefined (reading 'trim')")
        assert.deepStrictEqual(await page.locator("h1 span").allTextContents(), [
          "TypeError",
          "Cannot read properties of undefined (reading 'trim')"
        ])
        assert.deepStrictEqual(await page.locator("h2").allTextContents(), [
          "Failure",
          "Middleware 6",
          "Spans 6",
          "Logs 2",
          "Request",
          "Services 2",
          "Environment",
          "As text"
        ])
        assert.strictEqual(await page.locator("mark .here").first().textContent(), "trim")
        assert.strictEqual(await page.locator(".onion .failed > p").textContent(), "HttpRouter the app failed here")

        const folded = page.locator("summary", { hasText: "4 frames of effect, @effect/platform, Node" })
        const inside = page.locator("#failure b", { hasText: "FiberRuntime.runLoop" })
        const source = page.locator(".source").first()
        assert.deepStrictEqual([await inside.isVisible(), await source.isVisible()], [false, true])
        await folded.click()
        await page.locator("summary b", { hasText: "renderNote" }).click()
        assert.deepStrictEqual([await inside.isVisible(), await source.isVisible()], [true, false])
        await folded.press("Enter")
        await page.locator("summary", { hasText: "renderNote" }).press("Space")
        assert.deepStrictEqual([await inside.isVisible(), await source.isVisible()], [false, true])

        const attribute = page.getByRole("rowheader", { name: "url.path" })
        assert.isFalse(await attribute.isVisible())
        await page.locator(".title", { hasText: "http.server GET" }).click()
        assert.isTrue(await attribute.isVisible())

        const unfold = page.getByRole("button", { name: "Unfold all" })
        await unfold.click()
        assert.strictEqual(await page.locator("details:not([open])").count(), 1)
        assert.isFalse(await page.getByLabel("The page as text").isVisible())
        await unfold.click()
        assert.deepStrictEqual([await inside.isVisible(), await source.isVisible()], [false, true])

        // what is selected of the code is the code
        assert.strictEqual(
          await page.locator(".source").last().evaluate((source) => {
            getSelection()?.selectAllChildren(source)
            return getSelection()?.toString()
          }),
          "export const routes = HttpRouter.empty.pipe(\n  HttpRouter.get(\"/notes/:id\", show),"
        )
      })
      assert.deepStrictEqual(heard, [])
    }), timeout)

  it.scoped("draws the cause as a tree", () =>
    Effect.gen(function*() {
      const { heard, page } = yield* show(rich)
      yield* Effect.promise(async () => {
        assert.deepStrictEqual(await page.locator("#failure :is(.label, h3, h4, .none)").allTextContents(), [
          "In sequence",
          "In parallel",
          "Failure NoteStoreError",
          "Caused by ConnectionError",
          "Defect TypeError",
          "Interruption by fiber #12",
          "then",
          "Defect string",
          "then",
          "The cause is empty: nothing is known of the failure."
        ])
        assert.strictEqual(
          await page.locator("header pre").textContent(),
          "the store did not answer\n└─ after 3 attempts"
        )
        await page.getByRole("link", { name: "see all" }).click()
        assert.isTrue(page.url().endsWith("#failure"))
        assert.isTrue(await page.locator("#request pre").isVisible())
      })
      assert.deepStrictEqual(heard, [])
    }), timeout)

  it.scoped("every control can be reached by Tab, and is seen to be", () =>
    Effect.gen(function*() {
      const { page, run } = yield* show(simple)
      const all = yield* run(() =>
        [...document.querySelectorAll<HTMLElement>("a, button, summary, [tabindex='0'], textarea")].filter(
          (element) => {
            const shown = element.checkVisibility()
            if (shown) element.dataset["control"] = element.textContent ?? ""
            return shown
          }
        ).length
      )
      const seen: Array<string> = []
      for (let i = 0; i < all; i++) {
        yield* Effect.promise(() => page.keyboard.press("Tab"))
        seen.push(
          yield* run(() => {
            const focused = document.activeElement
            if (!(focused instanceof HTMLElement) || focused.dataset["control"] === undefined) return "elsewhere"
            delete focused.dataset["control"]
            const { outlineStyle, outlineWidth } = getComputedStyle(focused)
            const { bottom, top } = focused.getBoundingClientRect()
            return `${outlineStyle} ${outlineWidth} ${bottom > 0 && top < innerHeight ? "in view" : "out of view"}`
          })
        )
      }
      assert.isAbove(all, 15)
      assert.deepStrictEqual(seen, Array<string>(all).fill("solid 2px in view"))

      yield* Effect.promise(async () => {
        await page.reload()
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
      })
      assert.strictEqual(yield* run(() => document.activeElement?.id ?? ""), "main")
    }), timeout)

  for (
    const [name, broken, said] of [
      ["by the clipboard", "", "Copied"],
      ["by selection, without a clipboard", "none", "Copied"],
      ["by hand, without either", "neither", "Selected: copy it with Ctrl+C"]
    ] as const
  ) {
    it.scoped(`copies the text ${name}`, () =>
      Effect.gen(function*() {
        const snapshot = { ...rich, cause: everywhere("a\r\nb\tc\u001b</textarea>\u05e9&amp;").cause }
        const { heard, page, run } = yield* show(snapshot, { permissions: ["clipboard-read", "clipboard-write"] })
        yield* run((broken) => {
          const { clipboard } = navigator
          Object.assign(globalThis, { read: () => clipboard.readText() })
          if (broken !== "") Object.defineProperty(navigator, "clipboard", { value: undefined })
          if (broken === "neither") document.execCommand = () => false
        }, broken)
        yield* Effect.promise(async () => {
          await page.getByRole("button", { name: "Copy as text" }).click()
          await page.getByRole("status").filter({ hasText: said }).waitFor()
          if (broken === "neither") {
            assert.strictEqual(await page.evaluate("getSelection().toString()"), toText(snapshot))
          } else {
            assert.strictEqual(await page.evaluate("read()"), toText(snapshot))
          }
        })
        assert.deepStrictEqual(heard, [])
      }), timeout)
  }

  it.scoped("reads without JavaScript", () =>
    Effect.gen(function*() {
      const { heard, page } = yield* show(rich, { javaScriptEnabled: false })
      yield* Effect.promise(async () => {
        assert.isTrue(await page.locator("p.prose", { hasText: "Cannot read properties of undefined" }).isVisible())
        assert.strictEqual(await page.getByRole("button").count(), 0)
        const inside = page.locator("#failure b", { hasText: "FiberRuntime.runLoop" }).first()
        assert.isFalse(await inside.isVisible())
        await page.locator("summary", { hasText: "4 frames of effect" }).first().click()
        assert.isTrue(await inside.isVisible())
        await page.getByText("Show the text").click()
        assert.strictEqual(await page.getByLabel("The page as text").inputValue(), toText(rich))
      })
      assert.deepStrictEqual(heard, [])
    }), timeout)

  it.scoped("runs nothing of what it shows", () =>
    Effect.gen(function*() {
      for (const text of [planted.join("\n"), planted.join(""), "javascript:window.pwned=1"]) {
        const { heard, page, run } = yield* show(everywhere(text))
        yield* Effect.promise(() => page.getByRole("button", { name: "Unfold all" }).click())
        assert.deepStrictEqual(
          yield* run(() => ({
            pwned: "pwned" in globalThis,
            foreign:
              document.querySelectorAll("img, iframe, svg [onload], [onerror], [style], a[href^='java' i]").length,
            scripts: document.scripts.length,
            turned: /[\u202a-\u202e\u2066-\u2069]/.test(document.documentElement.outerHTML)
          })),
          { pwned: false, foreign: 0, scripts: 1, turned: false }
        )
        assert.strictEqual(yield* Effect.promise(() => page.locator("textarea").inputValue()), toText(everywhere(text)))
        assert.deepStrictEqual(heard, [])
      }
    }), timeout)

  it.scoped("the policy stops a script that would get in all the same", () =>
    Effect.gen(function*() {
      const { heard, page, run } = yield* show(simple)
      yield* run(() =>
        document.body.insertAdjacentHTML("beforeend", "<img src='/x' onerror='window.pwned=1'><b style='color:red'>")
      )
      yield* Effect.promise(() => page.locator("body > b").waitFor({ state: "attached" }))
      assert.isFalse(yield* run(() => "pwned" in globalThis))
      assert.strictEqual(heard.filter((text) => text.includes("Content Security Policy")).length, 3)
      assert.notInclude(heard, "asked for /x")
    }), timeout)

  const ways: ReadonlyArray<readonly [name: string, options: Options]> = [
    ["light", { colorScheme: "light" }],
    ["dark", { colorScheme: "dark" }],
    ["narrow", { viewport: { width: 360, height: 740 } }],
    ["narrow and dark", { viewport: { width: 360, height: 740 }, colorScheme: "dark" }]
  ]
  for (const [name, options] of ways) {
    it.scoped(`axe finds nothing: ${name}`, () =>
      Effect.gen(function*() {
        for (const snapshot of [rich, bare]) {
          const { heard, page } = yield* show(snapshot, options)
          const violations = yield* Effect.promise(async () => {
            await page.getByRole("button", { name: "Unfold all" }).click()
            await page.getByText("Show the text").click()
            await page.evaluate(axe.source)
            return page.evaluate<ReadonlyArray<string>>(
              "axe.run().then(({ violations }) => violations.flatMap(({ id, nodes }) => nodes.map(({ html, any }) => id + ': ' + html.slice(0, 200) + ' ' + any.map(({ message }) => message))))"
            )
          })
          assert.deepStrictEqual(violations, [])
          assert.deepStrictEqual(heard, [])
        }
      }), timeout)
  }

  it.scoped("nothing is wider than a narrow window, and nothing moves", () =>
    Effect.gen(function*() {
      for (const snapshot of [simple, rich, bare, deep, long, huge]) {
        const { page, run } = yield* show(snapshot, { viewport: { width: 360, height: 740 } })
        yield* Effect.promise(() => page.getByRole("button", { name: "Unfold all" }).click())
        assert.deepStrictEqual(
          yield* run(() => ({
            width: document.documentElement.scrollWidth,
            moving: document.getAnimations().length,
            // code scrolls in its own box
            code: [...document.querySelectorAll(".source")].every(({ clientWidth }) => clientWidth <= 328)
          })),
          { width: 360, moving: 0, code: true }
        )
      }
    }), timeout)

  it.scoped("prints with all of it unfolded, on white", () =>
    Effect.gen(function*() {
      const { page } = yield* show(simple)
      yield* Effect.promise(async () => {
        await page.emulateMedia({ media: "print" })
        assert.isTrue(await page.locator("#failure b", { hasText: "FiberRuntime.runLoop" }).isVisible())
        assert.deepStrictEqual(
          await Promise.all(["nav", "button", "textarea"].map((name) => page.locator(name).first().isVisible())),
          [false, false, false]
        )
      })
    }), timeout)
})
