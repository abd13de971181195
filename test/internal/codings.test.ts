import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import {
  type Coding,
  codingsOf,
  hasDirective,
  isCompressible,
  isLive,
  negotiate,
  weaken
} from "../../src/internal/codings.js"
import { assertLinear } from "./hostile.js"

const all: ReadonlyArray<Coding> = ["zstd", "br", "gzip", "deflate"]

describe("negotiate", () => {
  it.each<[rule: string, header: string | undefined, expected: Coding | "identity" | undefined]>([
    // the examples of RFC 9110 section 12.5.3
    ["two of which the server prefers one", "compress, gzip", "gzip"],
    ["an empty one", "", "identity"],
    ["any", "*", "zstd"],
    ["weights", "compress;q=0.5, gzip;q=1.0", "gzip"],
    ["identity before any other, and none else", "gzip;q=1.0, identity; q=0.5, *;q=0", "gzip"],
    // what browsers and tools send
    ["Chromium's", "gzip, deflate, br, zstd", "zstd"],
    ["Safari's", "gzip, deflate, br", "br"],
    ["curl's", "deflate, gzip, br, zstd", "zstd"],
    ["Python's", "gzip, deflate", "gzip"],
    // rules
    ["absent", undefined, "identity"],
    ["one that is not here", "compress", "identity"],
    ["the old name", "x-gzip", "gzip"],
    ["the old name, refused", "x-gzip;q=0, *", "zstd"],
    ["without regard to case", "GZip;Q=0.5", "gzip"],
    ["the server's order among equals", "deflate;q=0.5, br;q=0.5", "br"],
    ["the client's before the server's", "zstd;q=0.1, deflate;q=0.2", "deflate"],
    ["one refused", "br;q=0, gzip", "gzip"],
    ["all but one", "*, zstd;q=0, br;q=0", "gzip"],
    ["none", "*;q=0", undefined],
    ["none but what is not coded", "*;q=0, identity", "identity"],
    ["none of ours, nor what is not coded", "compress, identity;q=0", undefined],
    ["what is not coded is refused", "identity;q=0, gzip;q=0.001", "gzip"],
    ["what is not coded is refused alone", "identity;q=0", undefined],
    ["what is not coded is preferred", "identity, gzip;q=0.9", "identity"],
    ["what is not coded is as good", "identity;q=0.5, gzip;q=0.5", "gzip"],
    ["any is not a preference for what is not coded", "gzip;q=0.2, *;q=0.1, br;q=0", "gzip"],
    ["of two that are equal the first", "gzip;q=0, gzip", "identity"],
    // weights
    ["three digits", "gzip;q=0.123", "gzip"],
    ["the smallest", "gzip;q=0.001, identity;q=0", "gzip"],
    ["a point and no digits", "gzip;q=1.", "gzip"],
    ["zero in full", "gzip;q=0.000", "identity"],
    ["spaces around it", "gzip \t; \tq \t= \t0.5\t ,\tbr;q=0", "gzip"],
    ["empty elements", ",, gzip ,,", "gzip"],
    // malformed, which is as if it were absent
    ["four digits", "gzip;q=0.1234", "identity"],
    ["above one", "gzip;q=1.001", "identity"],
    ["no number", "gzip;q=x", "identity"],
    ["negative", "gzip;q=-1", "identity"],
    ["no weight", "gzip;q=", "identity"],
    ["another parameter", "gzip;level=9", "identity"],
    ["two weights", "gzip;q=1;q=0", "identity"],
    ["two words", "gzip br", "identity"],
    ["in quotes", "\"gzip\"", "identity"],
    ["one that is malformed beside one that is not", "gzip, br;q", "identity"],
    ["another separator", "gzip; br", "identity"],
    ["as long as is read", `gzip${",".repeat(1020)}`, "gzip"],
    ["longer than any", `gzip${",".repeat(1021)}`, "identity"]
  ])("%s", (_, header, expected) => {
    assert.strictEqual(negotiate(header, all), expected)
  })

  it("offers what there is, in its order", () => {
    assert.strictEqual(negotiate("gzip, deflate, br, zstd", ["deflate", "gzip"]), "deflate")
    assert.strictEqual(negotiate("*", ["gzip"]), "gzip")
    assert.strictEqual(negotiate("br", ["gzip"]), "identity")
  })

  const q = FastCheck.nat(1000).map((n) => n / 1000)
  const weights = FastCheck.uniqueArray(
    FastCheck.tuple(FastCheck.constantFrom(...all, "identity", "*", "compress"), q),
    { selector: ([name]) => name }
  )
  const print = (entries: ReadonlyArray<readonly [string, number]>) =>
    entries.map(([name, q]) => `${name};q=${q}`).join(", ")

  it.prop("sends nothing that is refused, and of what is offered what is wanted most", [
    weights,
    FastCheck.shuffledSubarray([...all])
  ], ([entries, offered]) => {
    const chosen = negotiate(print(entries), offered)
    const given = new Map(entries)
    const of = (name: string) => given.get(name) ?? given.get("*") ?? (name === "identity" ? 0.0001 : 0)
    if (chosen === undefined) {
      for (const name of [...offered, "identity"]) assert.strictEqual(of(name), 0)
      return
    }
    assert.isAbove(of(chosen), 0)
    for (const name of offered) {
      assert.isAtLeast(of(chosen), of(name))
      // the server's order among equals
      if (chosen !== "identity" && of(name) === of(chosen)) {
        assert.isAtMost(offered.indexOf(chosen), offered.indexOf(name))
      }
    }
  })

  it.prop("the order of the header makes no difference, nor does its case", [weights], ([entries]) => {
    const chosen = negotiate(print(entries), all)
    assert.strictEqual(negotiate(print([...entries].reverse()).toUpperCase(), all), chosen)
  })

  it.prop(
    "whatever it is given, it answers",
    [FastCheck.string(), FastCheck.shuffledSubarray([...all])],
    ([text, offered]) => {
      const chosen = negotiate(text, offered)
      assert.isTrue(chosen === undefined || chosen === "identity" || offered.includes(chosen))
    }
  )

  it("takes a time that grows with the header, and no more", () => {
    assertLinear((text) => negotiate(text, all))
    assertLinear(codingsOf)
    assertLinear((text) => hasDirective(text, "private"))
  })
})

it.each<[header: string, codings: ReadonlyArray<string>]>([
  ["gzip", ["gzip"]],
  ["GZIP", ["gzip"]],
  ["x-gzip", ["gzip"]],
  ["deflate, br", ["deflate", "br"]],
  ["identity", []],
  ["identity, gzip , identity", ["gzip"]],
  ["", []],
  ["aws-chunked", ["aws-chunked"]]
])("codingsOf %j", (header, codings) => {
  assert.deepStrictEqual(codingsOf(header), codings)
})

it.each([["\"a\"", "W/\"a\""], ["W/\"a\"", "W/\"a\""], ["\"\"", "W/\"\""], ["no tag", "no tag"]])(
  "weaken %s",
  (etag, weak) => {
    assert.strictEqual(weaken(etag), weak)
    assert.strictEqual(weaken(weak), weak)
  }
)

it.each<[value: string | undefined, found: boolean]>([
  [undefined, false],
  ["", false],
  ["no-transform", true],
  ["max-age=1, No-Transform", true],
  ["no-transform=1", true],
  ["no-transform-ever", false],
  ["x-no-transform", false],
  ["ext=\"no-transform\"", false],
  ["ext=\", no-transform\"", false]
])("hasDirective %s", (value, found) => {
  assert.strictEqual(hasDirective(value, "no-transform"), found)
})

it.each<[type: string, compressible: boolean]>([
  ["text/html", true],
  ["text/plain", true],
  ["text/x-unheard-of", true],
  ["application/json", true],
  ["application/problem+json", true],
  ["application/graphql-response+json", true],
  ["application/vnd.unheard-of+xml", true],
  ["application/x-ndjson", true],
  ["application/wasm", true],
  ["image/svg+xml", true],
  ["image/png", false],
  ["image/jpeg", false],
  ["video/mp4", false],
  ["application/zip", false],
  ["application/gzip", false],
  ["font/woff2", false],
  ["multipart/form-data", false],
  ["text/event-stream", false],
  ["application/x-unheard-of", false],
  ["", false],
  ["constructor", false],
  ["__proto__", false]
])("isCompressible %s", (type, compressible) => {
  assert.strictEqual(isCompressible(type), compressible)
})

it("isLive", () => {
  assert.isTrue(["text/event-stream", "application/x-ndjson", "application/ndjson", "application/jsonl"].every(isLive))
  assert.isFalse(["text/plain", "application/json", "application/json-seq", ""].some(isLive))
})
