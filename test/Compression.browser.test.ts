/** Chromium decodes what it is sent, keeps it, and asks whether it is still so. */
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { Compression } from "effect-middleware"
import { Chromium, describeChromium, listenToBrowser, loopback } from "./utils/chromium.js"
import { codings, json } from "./utils/compression.js"

const body = json(50_000)
const page = HttpServerResponse.text("<!doctype html><link rel=icon href='data:,'>", { contentType: "text/html" })

describeChromium("compression in a browser", (it) => {
  it.scoped("each coding is decoded, of bytes, of a stream and padded, and a 304 brings back what was kept", () =>
    Effect.gen(function*() {
      const { open } = yield* Chromium
      const seen: Array<string | undefined> = []
      const tagged = Effect.map(HttpServerRequest.HttpServerRequest, ({ headers }) => {
        seen.push(headers["if-none-match"])
        return headers["if-none-match"]?.includes("\"a\"")
          ? HttpServerResponse.empty({ status: 304, headers: { etag: "\"a\"", "cache-control": "no-cache" } })
          : HttpServerResponse.text(body, { headers: { etag: "\"a\"", "cache-control": "no-cache" } })
      })
      const stream = HttpServerResponse.stream(Stream.make(Buffer.from(body)), { contentType: "text/plain" })
      const personal = HttpServerResponse.text(body, { headers: { "cache-control": "private" } })
      const router = codings.reduce((router, coding) => {
        const only = Compression.middleware({ algorithms: [coding] })
        return router.pipe(
          HttpRouter.get(`/${coding}/bytes`, only(HttpServerResponse.text(body))),
          HttpRouter.get(`/${coding}/stream`, only(stream)),
          HttpRouter.get(`/${coding}/tagged`, only(tagged))
        )
      }, HttpRouter.empty)
      const port = yield* listenToBrowser(HttpServer.serve(router.pipe(
        HttpRouter.get("/padded", Compression.middleware({ breach: "pad" })(personal)),
        HttpRouter.get("/", page)
      )))
      // browsers take Brotli in a secure place alone, as a name of this machine is
      const browser = yield* open(loopback("app", port))
      const ask = (path: string) =>
        browser.run(async (path) => {
          const response = await fetch(path)
          const coding = response.headers.get("content-encoding")
          return { status: response.status, coding, text: await response.text() }
        }, path)
      for (const coding of codings) {
        for (const kind of ["bytes", "stream"]) {
          const { coding: got, status, text } = yield* ask(`/${coding}/${kind}`)
          assert.deepStrictEqual([status, got, text === body], [200, coding, true], `${coding} ${kind}`)
        }
        seen.length = 0
        for (let i = 0; i < 2; i++) {
          const { status, text } = yield* ask(`/${coding}/tagged`)
          assert.deepStrictEqual([status, text === body], [200, true])
        }
        assert.deepStrictEqual(seen, [undefined, "W/\"a\""])
      }
      const padded = yield* ask("/padded")
      assert.deepStrictEqual([padded.coding, padded.text === body], ["gzip", true])
    }))
})
