/** Behind a real nginx that caches as well: what it makes of our fields. */
import { type HttpApp, HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { Conditional, Forwarded, ResponseCache, ResponseCacheStore, Stack } from "effect-middleware"
import { describeNginx, makeNginx } from "./utils/nginx.js"
import { listenTo, request } from "./utils/TestApp.js"

const proxied = Effect.gen(function*() {
  const asked: Array<string> = []
  const counted = (headers: Record<string, string>) =>
    Effect.map(HttpServerRequest.HttpServerRequest, ({ headers: given, url }) => {
      asked.push(url)
      return HttpServerResponse.text(`${url} ${given["accept-language"] ?? ""}`, { headers })
    })
  const app = HttpRouter.empty.pipe(
    HttpRouter.get("/fresh", counted({ "cache-control": "max-age=60" })),
    HttpRouter.get("/short", counted({ "cache-control": "max-age=1" })),
    HttpRouter.get("/language", counted({ "cache-control": "max-age=60", vary: "accept-language" })),
    HttpRouter.get("/private", counted({ "cache-control": "private, max-age=60" })),
    HttpRouter.get("/silent", counted({})),
    Conditional.middleware()
  )
  const seen: Array<{ readonly url: string; readonly noneMatch: string | undefined; readonly status: number }> = []
  const watched = Effect.flatMap(
    HttpServerRequest.HttpServerRequest,
    ({ headers, url }) =>
      Effect.tap(
        app,
        ({ status }) => Effect.sync(() => seen.push({ url, noneMatch: headers["if-none-match"], status }))
      )
  )
  const upstream = yield* listenTo(watched as HttpApp.Default)
  const port = yield* makeNginx(upstream)
  const get = (path: string, headers: Record<string, string> = {}) =>
    request(port, { path, headers: { host: "a.test", ...headers } })
  return { get, asked, seen }
})

describeNginx("nginx in front", () => {
  it.scopedLive("stores what says for how long, and gives it with its tag", () =>
    Effect.gen(function*() {
      const { asked, get } = yield* proxied
      const first = yield* get("/fresh")
      assert.strictEqual(first.headers["x-cache"], "MISS")
      const second = yield* get("/fresh")
      assert.strictEqual(second.headers["x-cache"], "HIT")
      assert.strictEqual(second.body, first.body)
      assert.strictEqual(second.headers["etag"], first.headers["etag"])
      assert.strictEqual(asked.length, 1)
      // and answers by our tag itself
      const third = yield* get("/fresh", { "if-none-match": first.headers["etag"]! })
      assert.strictEqual(third.status, 304)
      assert.strictEqual(third.body, "")
      assert.strictEqual(asked.length, 1)
    }))

  it.scopedLive("validates what is stale by our tag, is told 304, and gives what it has", () =>
    Effect.gen(function*() {
      const { get, seen } = yield* proxied
      const first = yield* get("/short")
      yield* get("/short").pipe(
        Effect.delay("50 millis"),
        Effect.repeat({ until: ({ headers }) => headers["x-cache"] === "REVALIDATED", times: 200 })
      )
      const [last] = seen.slice(-1)
      assert.deepStrictEqual(last, { url: "/short", noneMatch: first.headers["etag"], status: 304 })
      const after = yield* get("/short")
      assert.strictEqual(after.status, 200)
      assert.strictEqual(after.body, first.body)
    }))

  it.scopedLive("keeps variants apart, and not what is private, or says nothing", () =>
    Effect.gen(function*() {
      const { asked, get } = yield* proxied
      for (const language of ["en", "de", "en", "de"]) {
        assert.strictEqual((yield* get("/language", { "accept-language": language })).body, `/language ${language}`)
      }
      assert.strictEqual(asked.length, 2)
      for (const path of ["/private", "/private", "/silent", "/silent"]) {
        assert.strictEqual((yield* get(path)).headers["x-cache"], "MISS")
      }
      assert.strictEqual(asked.length, 6)
    }))

  it.scopedLive("and a cache of ours behind it: the age adds up, and the host is in the key", () =>
    Effect.gen(function*() {
      let runs = 0
      const app = HttpRouter.empty.pipe(
        HttpRouter.get(
          "/",
          Effect.sync(() =>
            HttpServerResponse.text(`${++runs}`, { headers: { "cache-control": "max-age=60", vary: "x-a" } })
          )
        ),
        Stack.make(Forwarded.middleware({ trust: { hops: 1 } }), ResponseCache.middleware({ jitter: 0 }))
      )
      const port = yield* makeNginx(yield* listenTo(app as HttpApp.Default))
      const get = (host: string, a: string) => request(port, { headers: { host, "x-a": a } })
      assert.strictEqual((yield* get("a.test", "1")).body, "1")
      const hit = yield* get("a.test", "1")
      assert.strictEqual(hit.headers["x-cache"], "HIT")
      // of another host nginx would give the same, by its own key; a field that it has not seen makes it ask
      assert.strictEqual((yield* get("b.test", "2")).body, "2")
      assert.strictEqual((yield* get("b.test", "3")).body, "3")
      assert.strictEqual(runs, 3)
    }).pipe(Effect.provide(ResponseCacheStore.layerMemory())))
})
