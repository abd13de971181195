import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import {
  cookieKey,
  mergeCacheControl,
  mergeChallenges,
  mergeServerTiming,
  mergeVary,
  splitChallenges,
  splitList,
  trim
} from "../../src/internal/fields.js"
import { assertLinear } from "./hostile.js"

type Merge = (...values: ReadonlyArray<string | undefined>) => string

const words = (...parts: ReadonlyArray<string>) =>
  FastCheck.array(FastCheck.constantFrom(...parts), { maxLength: 12 }).map((all) => all.join(""))
const texts = FastCheck.oneof(
  FastCheck.string({ unit: "binary" }),
  words("a", "B", "*", ",", ", ", " ", "\t", "\"", "\\", "=", ";", "\u00a0", "7"),
  words(
    "max-age=",
    "S-maxage",
    "=",
    "3",
    "60, ",
    ", ",
    "no-store",
    "must-understand, ",
    "private",
    "=\"a, B\"",
    ", no-cache",
    "public, ",
    "x=Y,",
    "\"",
    "\\",
    "stale-if-error=9,"
  ),
  words("Basic", "bearer ", "realm=", "\"a, b\"", ", ", "abc==", " ", "Digest qop=auth", ",", "=")
)
const fields = FastCheck.option(texts, { nil: undefined })

const laws = (merge: Merge) => {
  it.prop("a merge is associative", [fields, fields, fields], ([a, b, c]) => {
    assert.strictEqual(merge(merge(a, b), c), merge(a, b, c))
    assert.strictEqual(merge(a, merge(b, c)), merge(a, b, c))
  }, { fastCheck: { numRuns: 2000 } })

  it.prop("a merge is idempotent, and gives a normal form", [fields, fields], ([a, b]) => {
    const merged = merge(a, b)
    assert.strictEqual(merge(a, a), merge(a))
    assert.strictEqual(merge(merged), merged)
    assert.strictEqual(merge(merged, b), merged)
    assert.strictEqual(merge(merged, a), merged)
  }, { fastCheck: { numRuns: 2000 } })

  it.prop("a field that is absent or empty adds nothing", [fields], ([a]) => {
    assert.strictEqual(merge(a, undefined), merge(a))
    assert.strictEqual(merge(undefined, a), merge(a))
    assert.strictEqual(merge(a, " , "), merge(a))
  })

  it("nothing merges to nothing", () => {
    assert.strictEqual(merge(), "")
    assert.strictEqual(merge(undefined, ""), "")
  })

  it("merging is linear", () => assertLinear((text) => merge(text, text)))
}

const set = (value: string) => new Set(splitList(value).map((element) => element.toLowerCase()))

describe("splitList", () => {
  it.each<[rule: string, value: string, elements: ReadonlyArray<string>]>([
    ["commas separate", "a,b", ["a", "b"]],
    ["spaces and tabs around an element go", " a\t,\t b ", ["a", "b"]],
    ["spaces in an element stay", "a b, c", ["a b", "c"]],
    ["empty elements go", ",a,, ,b,", ["a", "b"]],
    ["an empty field has no elements", "", []],
    ["a comma in quotes does not separate", "a=\"1, 2\", b", ["a=\"1, 2\"", "b"]],
    ["an escaped quote does not end the quotes", "\"\\\",\", b", ["\"\\\",\"", "b"]],
    ["an escaped backslash does not escape the quote", "\"\\\\\", b", ["\"\\\\\"", "b"]],
    ["a backslash outside quotes escapes nothing", "\\\"a,b\"", ["\\\"a,b\""]],
    ["quotes that never end are closed", "a, \"b, c", ["a", "\"b, c\""]],
    ["quotes that end in a backslash are closed behind it", "\"b\\", ["\"b\\\\\""]],
    ["only spaces and tabs are white space", "\u00a0a, \u2003b\v", ["\u00a0a", "\u2003b\v"]]
  ])("%s: %j", (_, value, elements) => {
    assert.deepStrictEqual(splitList(value), elements)
  })

  it.prop("what is joined splits again", [FastCheck.array(texts)], ([values]) => {
    const elements = values.flatMap(splitList)
    assert.deepStrictEqual(splitList(elements.join(",")), elements)
  })

  it("splitting is linear", () => assertLinear(splitList))
})

describe("trim", () => {
  it("takes spaces and tabs alone", () => {
    assert.strictEqual(trim(" \ta b\t "), "a b")
    assert.strictEqual(trim("\u00a0a\n"), "\u00a0a\n")
    assert.strictEqual(trim(" \t "), "")
  })
})

describe("mergeVary", () => {
  laws(mergeVary)

  it.each<[rule: string, values: ReadonlyArray<string | undefined>, merged: string]>([
    ["names are joined", ["Accept", "Origin"], "Accept, Origin"],
    [
      "a name that is there is not added, in any case",
      ["accept-language, Origin", "ORIGIN"],
      "accept-language, Origin"
    ],
    ["a name comes once out of one value", ["a, A, b"], "a, b"],
    ["* on the left absorbs", ["*", "Origin"], "*"],
    ["* on the right absorbs", ["Origin", "*"], "*"],
    ["* among names absorbs", ["a, *, b"], "*"],
    ["a name that has * in it does not", ["a*", "b"], "a*, b"]
  ])("%s: %j", (_, values, merged) => {
    assert.strictEqual(mergeVary(...values), merged)
  })

  it.prop("the order makes no other set", [fields, fields], ([a, b]) => {
    assert.deepStrictEqual(set(mergeVary(a, b)), set(mergeVary(b, a)))
  })

  it.prop("every name stays unless * absorbs it", [fields, fields], ([a, b]) => {
    const merged = set(mergeVary(a, b))
    for (const name of set(`${a ?? ""}`)) assert.isTrue(merged.has(name) || merged.has("*"))
  })
})

describe("mergeServerTiming", () => {
  laws(mergeServerTiming)

  it.each<[rule: string, values: ReadonlyArray<string | undefined>, merged: string]>([
    ["metrics are joined in order", ["db;dur=5", "app;dur=7"], "db;dur=5, app;dur=7"],
    ["an equal one comes once", ["db;dur=5", "db;dur=5"], "db;dur=5"],
    ["a name may come twice", ["db;dur=5", "db;dur=6"], "db;dur=5, db;dur=6"],
    ["names have case", ["db", "DB"], "db, DB"],
    ["a comma in a description does not separate", ["a;desc=\"x, y\"", "b"], "a;desc=\"x, y\", b"],
    ["a description that never ends does not swallow", ["a;desc=\"x", "b"], "a;desc=\"x\", b"]
  ])("%s: %j", (_, values, merged) => {
    assert.strictEqual(mergeServerTiming(...values), merged)
  })
})

describe("mergeChallenges", () => {
  laws(mergeChallenges)

  it.each<[rule: string, value: string, challenges: ReadonlyArray<string>]>([
    ["parameters belong to their scheme", "Digest realm=\"a\", qop=\"auth, auth-int\", nonce=x, Basic realm=\"b\"", [
      "Digest realm=\"a\", qop=\"auth, auth-int\", nonce=x",
      "Basic realm=\"b\""
    ]],
    ["a scheme may stand alone", "Negotiate, Basic realm=x", ["Negotiate", "Basic realm=x"]],
    ["token68 is no parameter", "Negotiate abc==, NTLM", ["Negotiate abc==", "NTLM"]],
    ["spaces around = make no scheme", "Basic realm = \"a\", charset =\"UTF-8\", Bearer", [
      "Basic realm = \"a\", charset =\"UTF-8\"",
      "Bearer"
    ]],
    ["a scheme in quotes is none", "Basic realm=\"x, Bearer y\"", ["Basic realm=\"x, Bearer y\""]],
    ["empty elements go", ", Basic realm=a, , charset=b,", ["Basic realm=a, charset=b"]],
    ["parameters of no scheme go", "realm=\"a\", Basic", ["Basic"]]
  ])("%s: %j", (_, value, challenges) => {
    assert.deepStrictEqual(splitChallenges(value), challenges)
  })

  it.each<[rule: string, values: ReadonlyArray<string | undefined>, merged: string]>([
    [
      "challenges keep their order",
      ["Bearer, Basic realm=\"a\"", "Digest nonce=x"],
      "Bearer, Basic realm=\"a\", Digest nonce=x"
    ],
    [
      "an equal one comes once",
      ["Basic realm=\"a\", charset=\"UTF-8\"", "Basic realm=\"a\",charset=\"UTF-8\""],
      "Basic realm=\"a\", charset=\"UTF-8\""
    ],
    ["one scheme may challenge twice", ["Bearer realm=a", "Bearer realm=b"], "Bearer realm=a, Bearer realm=b"],
    ["two spaces may follow a scheme", ["Basic  realm=a", "Bearer"], "Basic  realm=a, Bearer"]
  ])("%s: %j", (_, values, merged) => {
    assert.strictEqual(mergeChallenges(...values), merged)
  })
})

describe("mergeCacheControl", () => {
  laws(mergeCacheControl)

  it.each<[rule: string, values: ReadonlyArray<string | undefined>, merged: string]>([
    ["directives are joined", ["max-age=60", "no-transform"], "max-age=60, no-transform"],
    ["names have no case", ["Max-Age=60", "NO-STORE"], "max-age=60, no-store"],
    ["public stays where nobody says private", ["public", "max-age=60"], "public, max-age=60"],
    ["private beats public", ["public, max-age=60", "private"], "max-age=60, private"],
    ["private beats public from the left", ["private", "public"], "private"],
    ["private takes s-maxage away", ["s-maxage=60, max-age=5", "private"], "max-age=5, private"],
    [
      "private for some fields takes public, and leaves s-maxage",
      ["public, s-maxage=60", "private=\"set-cookie\""],
      "s-maxage=60, private=\"set-cookie\""
    ],
    ["no-store stays", ["no-store", "max-age=60"], "no-store, max-age=60"],
    ["the least max-age counts", ["max-age=60", "max-age=5", "max-age=600"], "max-age=5"],
    ["the least counts within one value", ["max-age=60, max-age=5"], "max-age=5"],
    ["the least s-maxage counts", ["s-maxage=60", "s-maxage=5"], "s-maxage=5"],
    ["a max-age alone bounds s-maxage too", ["max-age=60", "s-maxage=600"], "max-age=60, s-maxage=60"],
    ["a max-age beside an s-maxage does not", ["max-age=60, s-maxage=600"], "max-age=60, s-maxage=600"],
    ["the least stale times count", [
      "stale-if-error=9, stale-while-revalidate=1",
      "stale-while-revalidate=7, stale-if-error=3"
    ], "stale-if-error=3, stale-while-revalidate=1"],
    ["a malformed time is 0", ["max-age=60", "max-age=soon"], "max-age=0"],
    ["a time without a number is 0", ["max-age, s-maxage=-1"], "max-age=0, s-maxage=0"],
    ["a fraction is malformed", ["max-age=1.5"], "max-age=0"],
    ["a quoted time is read", ["max-age=\"60\""], "max-age=60"],
    ["a time beyond 2^31 is 2^31", [`max-age=${"9".repeat(400)}`], "max-age=2147483648"],
    ["field names are united, in any case", ["no-cache=\"A, b\"", "no-cache=\"a, C\""], "no-cache=\"A, b, C\""],
    ["a field name without quotes is read", ["private=Set-Cookie"], "private=\"Set-Cookie\""],
    ["without field names beats with", ["no-cache=\"a\"", "no-cache"], "no-cache"],
    ["without field names beats with, from the left", ["private", "private=\"a\""], "private"],
    ["an empty list of field names is none", ["private=\"\""], "private"],
    ["what is no list of field names is none", ["private=\"a b\", no-cache=\"x;y\""], "private, no-cache"],
    ["a flag has no argument", ["no-store=1, no-store"], "no-store"],
    [
      "must-understand goes when a value says no-store without it",
      ["no-store, must-understand", "no-store"],
      "no-store"
    ],
    ["must-understand does not soften another's no-store", ["no-store", "must-understand"], "no-store"],
    [
      "must-understand stays beside its own no-store",
      ["must-understand, no-store", "max-age=5"],
      "must-understand, no-store, max-age=5"
    ],
    [
      "a directive unknown here stays, once",
      ["Community=\"UCI\"", "community=\"UCI\", community=x"],
      "community=\"UCI\", community=x"
    ],
    ["a comma in an unknown argument does not separate", ["x=\"a, no-store\""], "x=\"a, no-store\""]
  ])("%s: %j", (_, values, merged) => {
    assert.strictEqual(mergeCacheControl(...values), merged)
  })

  const directives = FastCheck.subarray([
    "public",
    "private",
    "private=\"a\"",
    "no-store",
    "no-cache",
    "max-age=9",
    "max-age=70",
    "s-maxage=8",
    "s-maxage=300",
    "must-understand"
  ]).map((parts) => parts.join(", "))
  const shared = (value: string): number => {
    const read = (name: string) =>
      splitList(value).filter((part) => part.startsWith(`${name}=`)).map((part) => Number(part.slice(name.length + 1)))
    const own = read("s-maxage")
    return Math.min(...(own.length > 0 ? own : read("max-age")))
  }

  it.prop("what one value forbids stays forbidden", [directives, directives], ([a, b]) => {
    const merged = mergeCacheControl(a, b)
    const parts = set(merged)
    for (const value of [a, b]) {
      const had = set(value)
      if (had.has("private")) assert.isTrue(parts.has("private") && !parts.has("public"))
      if (had.has("no-cache")) assert.isTrue(parts.has("no-cache"))
      if (had.has("no-store")) {
        assert.isTrue(parts.has("no-store") && (had.has("must-understand") || !parts.has("must-understand")))
      }
      if (!parts.has("private")) assert.isAtMost(shared(merged), shared(value))
    }
  }, { fastCheck: { numRuns: 2000 } })

  it.prop("the order makes no other set", [directives, directives], ([a, b]) => {
    assert.deepStrictEqual(set(mergeCacheControl(a, b)), set(mergeCacheControl(b, a)))
  })
})

describe("cookieKey", () => {
  const key = cookieKey("sid", "example.com", "/")

  it.each<[rule: string, name: string, domain: string | undefined, path: string | undefined, same: boolean]>([
    ["a domain has no case", "sid", "EXAMPLE.com", "/", true],
    ["a domain has no leading dot", "sid", ".example.com", "/", true],
    ["a name has case", "SID", "example.com", "/", false],
    ["a path has case", "sid", "example.com", "/A", false],
    ["another domain is another cookie", "sid", "www.example.com", "/", false],
    ["a cookie of its host alone is another one", "sid", undefined, "/", false],
    ["a cookie without a path is another one", "sid", "example.com", undefined, false]
  ])("%s", (_, name, domain, path, same) => {
    assert.strictEqual(cookieKey(name, domain, path) === key, same)
  })

  it("an empty domain and a path that is none are as if absent (RFC 6265 5.2)", () => {
    assert.strictEqual(cookieKey("sid", "", "x"), cookieKey("sid", undefined, undefined))
    assert.strictEqual(cookieKey("sid", ".", ""), cookieKey("sid", undefined, undefined))
  })

  const token = FastCheck.string({ unit: "grapheme-ascii" })

  it.prop("no two identities share a key", [token, token, token, token], ([a, b, c, d]) => {
    if (a !== c || b !== d) assert.notStrictEqual(cookieKey(a, undefined, `/${b}`), cookieKey(c, undefined, `/${d}`))
  })
})
