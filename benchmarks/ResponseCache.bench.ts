import { HttpApp, HttpServerResponse } from "@effect/platform"
import { Effect, ManagedRuntime } from "effect"
import { Forwarded, ResponseCache, ResponseCacheStore, Stack } from "effect-middleware"
import { bench, describe } from "vitest"
import { judge } from "../src/internal/cachePolicy.js"
import { decide, noDirectives, parseDirectives, variantOf } from "../src/internal/cacheRules.js"

const runtime = ManagedRuntime.make(ResponseCacheStore.layerMemory())
const store = runtime.runSync(ResponseCacheStore.ResponseCacheStore)

const body = new Uint8Array(20_000)
const headers = { "cache-control": "max-age=3600", "content-type": "text/plain", etag: `"1"`, vary: "accept-language" }
const terms = judge({}, { status: 200, headers }, { now: 0, ttl: undefined })!
const entry = { ...terms, status: 200, headers, body, storedAt: 0, age: 0 }
const language = { "accept-language": "en-GB,en;q=0.9" }
const put = (key: string, vary: ReadonlyArray<string>) =>
  runtime.runSync(
    store.put(key, { vary, variant: variantOf("", language)(vary), entry, tags: ["*"], ttl: 3_600_000, asOf: 0 })
  )
for (let i = 0; i < 1000; i++) put(`https://example.com/${i}`, [])
put("https://example.com/language", ["accept-language"])

describe("memory", () => {
  const get = store.sync!.get
  bench("a hit", () => void get("https://example.com/500", variantOf("", language), 1000))
  bench("a hit of a variant", () => void get("https://example.com/language", variantOf("", language), 1000))
  bench("a miss", () => void get("https://example.com/none", variantOf("", language), 1000))
})

describe("rules", () => {
  bench("a hit is decided", () => void decide(entry, noDirectives, 1000))
  bench("Cache-Control of a request", () => void parseDirectives("max-age=0, no-cache"))
  bench(
    "a response is judged, to be stored",
    () => void judge({}, { status: 200, headers }, { now: 0, ttl: undefined })
  )
})

describe("a request by a web handler, of 20 KB", async () => {
  const forwarded = Forwarded.middleware({ trust: "none" })
  const app = HttpServerResponse.uint8Array(body, { headers })
  const slow = Effect.delay(app, "1 millis")
  const handler = HttpApp.toWebHandlerRuntime(await runtime.runtime())
  const [bare, inside, cached] = [
    handler(app),
    handler(app.pipe(forwarded)),
    handler(slow.pipe(Stack.make(forwarded, ResponseCache.middleware())))
  ]
  const get = () => new Request("http://localhost/", { headers: { host: "localhost", ...language } })
  bench("of the app alone", async () => void await bare(get()))
  bench("inside Forwarded", async () => void await inside(get()))
  bench("a hit, inside Forwarded", async () => void await cached(get()))
})
