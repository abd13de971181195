import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import { judge } from "../../src/internal/cachePolicy.js"
import * as rules from "../../src/internal/cacheRules.js"
import { entryOf } from "../contracts/ResponseCacheStoreContract.js"
import { assertLinear } from "./hostile.js"

describe("keyOfUrl", () => {
  it.each<[url: string, expected: string | undefined]>([
    ["https://example.com/a?b=c#d", "https://example.com/a?b=c"],
    ["HTTPS://EXAMPLE.com:443", "https://example.com/"],
    ["http://example.com:443/", "http://example.com:443/"],
    ["http://example.com:80?a", "http://example.com/?a"],
    ["http://[::1]:8080/%61/../b", "http://[::1]:8080/%61/../b"],
    ["/a", undefined],
    ["ftp://example.com/", undefined],
    ["http://a@example.com/", undefined],
    ["http://evil.test\\@example.com/", undefined],
    ["", undefined]
  ])("%s -> %s", (url, expected) => {
    assert.strictEqual(rules.keyOfUrl(url), expected)
  })

  it("is what a request for the URL has", () => {
    assert.strictEqual(
      rules.keyOf({ scheme: "https", host: "example.com", prefix: undefined }, "/a?b"),
      rules.keyOfUrl("https://example.com/a?b")
    )
    assert.strictEqual(
      rules.keyOf({ scheme: "http", host: "a.test:81", prefix: "/p" }, "/a"),
      rules.keyOfUrl("http://a.test:81/p/a")
    )
    assert.strictEqual(
      rules.keyOf({ scheme: "http", host: "a.test", prefix: undefined }, "http://a.test/a"),
      "http://a.test/a"
    )
    assert.isUndefined(rules.keyOf({ scheme: "http", host: undefined, prefix: undefined }, "/a"))
  })
})

describe("invalidatedBy", () => {
  it.each<[headers: Record<string, string>, expected: ReadonlyArray<string>]>([
    [{}, []],
    [{ location: "/b" }, ["http://a.test/b"]],
    [{ location: "b?c#d" }, ["http://a.test/x/b?c"]],
    [{ location: "http://a.test:80/b", "content-location": "/c" }, ["http://a.test/b", "http://a.test/c"]],
    [{ location: "//evil.test/b" }, []],
    [{ location: "https://a.test/b" }, []],
    [{ location: "http://a.test:81/b" }, []],
    [{ location: "http://a.test.evil.test/" }, []],
    [{ location: "http://u@a.test/" }, []],
    [{ location: "http://" }, []],
    [{ location: "/x/y" }, []]
  ])("%j", (headers, expected) => {
    assert.deepStrictEqual(rules.invalidatedBy("http://a.test/x/y", headers), ["http://a.test/x/y", ...expected])
  })
})

describe("variantOf", () => {
  const fields = FastCheck.record({
    a: FastCheck.option(FastCheck.string(), { nil: undefined }),
    b: FastCheck.string()
  })
    .map((fields) =>
      Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, value?.replace(/\n/g, "")]))
    )

  it.prop("tells apart what differs, and nothing else", [fields, fields], ([one, two]) => {
    const isSame = one["a"] === two["a"] && one["b"] === two["b"]
    const [first, second] = [one, two].map((fields) => rules.variantOf("", fields)(["a", "b"]))
    assert.strictEqual(first === second, isSame)
  })

  it("an absent field is no empty one", () => {
    assert.notStrictEqual(rules.variantOf("", {})(["a"]), rules.variantOf("", { a: "" })(["a"]))
    assert.notStrictEqual(
      rules.variantOf("", {})(["accept-encoding"]),
      rules.variantOf("", { "accept-encoding": "" })(["accept-encoding"])
    )
  })

  it("Accept-Encoding in one order, with its weights", () => {
    const of = (value: string) => rules.variantOf("", { "accept-encoding": value })(["accept-encoding"])
    assert.strictEqual(of("gzip, deflate , BR"), of("br,gzip,deflate"))
    assert.notStrictEqual(of("gzip;q=0, br"), of("gzip, br"))
    assertLinear(of)
  })
})

describe("varyOf", () => {
  it("has one order and spelling", () => {
    assert.deepStrictEqual(rules.varyOf("B, a", undefined, "b", ""), ["a", "b"])
    assert.isUndefined(rules.varyOf("a, *"))
    assert.deepStrictEqual(rules.varyOf(), [])
  })
})

describe("parseDirectives", () => {
  it("reads what there is", () => {
    assert.deepStrictEqual(rules.parseDirectives(undefined), rules.noDirectives)
    assert.deepStrictEqual(rules.parseDirectives("x=\"no-store, no-cache\""), rules.noDirectives)
    assert.deepStrictEqual(
      rules.parseDirectives("NO-CACHE, no-store , only-if-cached,max-age = 1, min-fresh=\"2\", max-stale=3"),
      { noCache: true, noStore: true, onlyIfCached: true, maxAge: 1000, minFresh: 2000, maxStale: 3000 }
    )
    assert.strictEqual(rules.parseDirectives("max-stale").maxStale, Infinity)
    assert.strictEqual(rules.parseDirectives("max-stale=x").maxStale, 0)
    assert.strictEqual(rules.parseDirectives("min-fresh").minFresh, Infinity)
    assert.strictEqual(rules.parseDirectives("max-age=-1").maxAge, 0)
    assert.strictEqual(rules.parseDirectives("__proto__=1, constructor").maxAge, undefined)
  })
  it("is linear", () => assertLinear(rules.parseDirectives))
})

it("what is stale stands in for what fails until its time is over", () => {
  const entry = entryOf({ freshFor: 1000, staleIfError: 100 })
  assert.isTrue(rules.mayBeStale(entry, 1 + 1099))
  assert.isFalse(rules.mayBeStale(entry, 1 + 1100))
})

it("what a 304 says of content is not said of what is stored", () => {
  assert.deepStrictEqual(
    rules.freshened({ "content-type": "text/plain", etag: "a" }, { "content-type": "text/html", "x-new": "b" }),
    { "content-type": "text/plain", etag: "a", "x-new": "b" }
  )
})

describe("decide", () => {
  const entry = FastCheck.record({
    storedAt: FastCheck.nat(10_000),
    age: FastCheck.nat(10_000),
    freshFor: FastCheck.nat(20_000),
    staleWhileRevalidate: FastCheck.nat(10_000),
    mustRevalidate: FastCheck.boolean()
  }).map(entryOf)
  const now = FastCheck.nat(50_000)

  it.prop("what is fresh is given, and what is stale is not, unless somebody says so", [entry, now], ([entry, now]) => {
    const verdict = rules.decide(entry, rules.noDirectives, now)
    const age = entry.age + Math.max(0, now - entry.storedAt)
    if (age < entry.freshFor) return assert.strictEqual(verdict, "give")
    const within = age - entry.freshFor < entry.staleWhileRevalidate && !entry.mustRevalidate
    assert.strictEqual(verdict, within ? "refresh" : "validate")
  })

  it.prop(
    "what must be validated is never given stale",
    [entry, now, FastCheck.nat(50_000)],
    ([entry, now, maxStale]) => {
      if (!entry.mustRevalidate || rules.leftOf(entry, now) > 0) return
      assert.strictEqual(rules.decide(entry, { ...rules.noDirectives, maxStale }, now), "validate")
    }
  )

  it("a clock that is behind makes nothing younger than it was", () => {
    assert.strictEqual(rules.ageOf(entryOf({ storedAt: 1000, age: 5 }), 0), 5)
  })
})

describe("judge", () => {
  const now = Date.UTC(2026, 0, 1)
  const of = (cacheControl: string, more: Record<string, string> = {}, request: Record<string, string> = {}) =>
    judge(request, { status: 200, headers: { "cache-control": cacheControl, ...more } }, { now, ttl: undefined })

  it("nothing that varies by what nobody can tell", () => {
    assert.isUndefined(of("max-age=5", { vary: "accept, *" }))
  })

  it("terms", () => {
    assert.deepStrictEqual(of("Public, S-MaxAge=\"10\", max-age=5, stale-while-revalidate=20, stale-if-error=30"), {
      freshFor: 10_000,
      staleWhileRevalidate: 20_000,
      staleIfError: 30_000,
      mustRevalidate: false,
      forCookies: true,
      forAuthorized: true
    })
    assert.deepStrictEqual(of("max-age=5, must-revalidate, stale-while-revalidate=20, stale-if-error=30"), {
      freshFor: 5000,
      staleWhileRevalidate: 0,
      staleIfError: 0,
      mustRevalidate: true,
      forCookies: false,
      forAuthorized: true
    })
    assert.strictEqual(of("", { expires: "Thu, 01 Jan 2026 00:01:00 GMT" })?.freshFor, 60_000)
    assert.strictEqual(of("max-age=5", { expires: "Thu, 01 Jan 2026 00:01:00 GMT" })?.freshFor, 5000)
    assert.strictEqual(of("max-age=-5"), undefined)
    assert.strictEqual(of("max-age=5, max-age=3")?.freshFor, 3000)
    assert.strictEqual(of("no-cache", { etag: `"1"` })?.freshFor, 0)
    assert.strictEqual(of("no-cache", { etag: `"1"` })?.mustRevalidate, true)
    assert.isUndefined(of("no-cache"))
  })

  it.prop(
    "what forbids it in any spelling, forbids it",
    [
      FastCheck.constantFrom("private", "no-store"),
      FastCheck.array(FastCheck.boolean()),
      FastCheck.constantFrom("", "max-age=60, ", "public,")
    ],
    ([directive, upper, before]) => {
      const spelled = Array.from(directive, (char, i) => upper[i] === true ? char.toUpperCase() : char).join("")
      assert.isUndefined(of(`${before}${spelled}`))
      assert.isUndefined(of(`${before}x="\\"", ${spelled} , max-age=60`))
    }
  )
})
