import { assert, describe, it } from "@effect/vitest"
import { Chunk, Data, Duration, Either, FastCheck, HashMap, Option, ParseResult, Redacted, Schema } from "effect"
import { redactor } from "../../src/internal/redaction.js"
import { hostile as texts } from "./hostile.js"

const redact = redactor()

const rows = <A, B>(name: string, table: ReadonlyArray<readonly [A, B]>, f: (a: A) => B) => {
  it.each(table)(`${name} %j`, (given, expected) => {
    assert.deepStrictEqual(f(given), expected)
  })
}

const isSecret = (name: string, { value } = redact) => value(1, name) === "<redacted>"

describe("names", () => {
  const secret =
    "authorization Proxy-Authorization cookie Set-Cookie password dbPassword DB_PASSWORD userpasswd newPassphrase secret " +
    "clientSecret token accessToken X-CSRF-Token XSRF-TOKEN key apiKey API_KEY apikey X-API-Key signingkey keys session " +
    "sessionId PHPSESSID JSESSIONID connect.sid sid credentials signature x-hub-signature-256 auth x-auth-user oauth2 " +
    "authentication jwt user[password] privateKey pwd pass db_pass dbPass pin otp cvv ssn salt passcode keystore app/Session"
  const open = "keyboard keyword author authority :authority authored bypass passenger compass shipping spinning " +
    "name id host user-agent content-type possession obsessed hotel sidebar inside signal design opinion compassion"
  it.each(secret.split(" "))("%s is", (name) => assert.isTrue(isSecret(name)))
  it.each(open.split(" "))("%s is not", (name) => assert.isFalse(isSecret(name)))

  it("the program's own are the same in any case, or what a pattern finds, which keeps no state", () => {
    const own = redactor(["cardNumber", "iban", /^x-internal/g, /^y-/y])
    for (const name of ["card_number", "cardnumber", "CARD-NUMBER", "IBAN", "x-internal-a", "y-a"]) {
      assert.isTrue(isSecret(name, own), name)
      assert.isTrue(isSecret(name, own), name)
    }
    for (const name of ["discardnumbers", "ibans", "number", "y-x-internal".slice(2) + "y-", "\u0438\u043c\u044f"]) {
      assert.strictEqual(isSecret(name, own), name.startsWith("x-internal"), name)
    }
    assert.isTrue(isSecret("password", own))
    assert.isFalse(isSecret("name", redactor([""])))
  })
})

describe("text", () => {
  const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.s1gn-a_ture"
  rows<string, string>("shows", [
    ["plain text, as it is", "plain text, as it is"],
    ["Unexpected token: }", "Unexpected token: }"],
    ["Invalid key: must be a number", "Invalid key: must be a number"],
    ["see https://example.com/a?b=c@d", "see https://example.com/a?b=c@d"],
    ["got Bearer abc.def", "got Bearer <redacted>"],
    ["Basic validation failed", "Basic validation failed"],
    ["authorization=Bearer abc.1 x", "authorization=<redacted> <redacted> x"],
    ["got basic dXNlcjpwYXNz, no", "got basic <redacted>, no"],
    ["Bearer token is missing", "Bearer token is missing"],
    ["Authorization: Weird one two\nnext", "Authorization: <redacted>\nnext"],
    ["Set-Cookie: a=b; Path=/", "Set-Cookie: <redacted>"],
    ["cannot reach postgres://me:hunter2@db:5432/x", "cannot reach postgres://<redacted>@db:5432/x"],
    ["redis://:p@ss@h", "redis://<redacted>@h"],
    ["https://tok3n@h/", "https://<redacted>@h/"],
    ["password=hunter2 user=bob", "password=<redacted> user=bob"],
    ["password: hunter2", "password: <redacted>"],
    ["token=abc&x=1", "token=<redacted>&x=1"],
    ["GET /a?api_key=abc&x=1", "GET /a?api_key=<redacted>&x=1"],
    [`{"token":"a b","n":1}`, `{"token":<redacted>,"n":1}`],
    [`{\\"password\\":\\"x y\\",\\"n\\":1}`, `{\\"password\\":<redacted>,\\"n\\":1}`],
    [`{"token":{"a":["b c"]},"n":[1]}`, `{"token":<redacted>,"n":[1]}`],
    [`{"token":[{"a":1`, `{"token":<redacted>`],
    ["message: token=abc", "message: token=<redacted>"],
    [`{"pin": 1234, "n": 1}`, `{"pin": <redacted>, "n": 1}`],
    [`invalid token: "a b" or key: 'c'`, "invalid token: <redacted> or key: <redacted>"],
    ["secret = 'it''s'", "secret = <redacted>'s'"],
    [`password="never ends`, `password=<redacted>`],
    [
      "{ readonly password: string; readonly secret: Secret }",
      "{ readonly password: string; readonly secret: Secret }"
    ],
    [`the JWT ${jwt} has expired`, "the JWT <redacted> has expired"],
    [`(${jwt}).`, "(<redacted>)."],
    ["eyJust.one word is text", "eyJust.one word is text"],
    [`{ "token" => "a b" }`, `{ "token" => <redacted> }`],
    ["Missing key: id, invalid session: a", "Missing key: id, invalid session: a"],
    ["apiKey: abc, accessToken: def", "apiKey: <redacted>, accessToken: <redacted>"],
    ["GET /a?%74oken=abc&h=Bearer%20a1&b=c%20d failed", "GET /a?%74oken=<redacted>&h=<redacted>&b=c%20d failed"],
    ["version 1.2.3-alpha.4", "version 1.2.3-alpha.4"],
    ["ghp_0123456789abcdefghij leaked", "<redacted> leaked"],
    ["AKIAIOSFODNN7EXAMPLE", "<redacted>"],
    ["sk-short", "sk-short"],
    ["a -----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- b", "a <redacted> b"],
    ["-----BEGIN PRIVATE KEY-----\nMII cut", "<redacted>"],
    ["-----BEGIN CERTIFICATE-----\nMII", "-----BEGIN CERTIFICATE-----\nMII"]
  ], (text) => redact.text(text))

  it("ends at its limit, not within a character, and after what is secret in it", () => {
    assert.strictEqual(redact.text("abcdef", 4), "abc…")
    assert.strictEqual(redact.text("abcd", 4), "abcd")
    assert.strictEqual(redact.text("ab\ud83d\ude00cd", 4), "ab…")
    assert.strictEqual(redact.text(`Bearer ${"0123456789".repeat(10)}`, 20), "Bearer <redacted>")
    assert.strictEqual(redact.text("a".repeat(5000)).length, 2000)
    // half of a token at the end of what is read at all
    const pem = `-----BEGIN PRIVATE KEY-----${"a".repeat(18_250)}-----END PRIVATE KEY----- `
    const token = "ghp_0123456789abcdefghij0123456789 "
    assert.strictEqual(redact.text(pem + token), "<redacted> <redacted> ")
    for (let length = 0; length < 80; length++) {
      assert.notInclude(redact.text(`${pem}${"-".repeat(length)} ${token.repeat(100)}`), "ghp_")
    }
  })

  it("what a schema says of a secret field is not what it was", () => {
    const schema = Schema.Struct({
      name: Schema.Number,
      password: Schema.Struct({ deep: Schema.NonEmptyString }),
      after: Schema.Number
    })
    const input = { name: "Bob", password: { deep: 12345 }, after: "Carol" }
    const failed = Schema.decodeUnknownEither(schema, { errors: "all" })(input)
    const message = redact.text(ParseResult.TreeFormatter.formatErrorSync(Either.getOrThrow(Either.flip(failed))))
    assert.include(message, "Bob")
    assert.include(message, "Carol")
    assert.include(message, "actual <redacted>")
    assert.notInclude(message, "12345")
  })

  // what is quadratic somewhere takes longer than a test may
  it("takes time in proportion", () => {
    const parts = [
      "eyJ",
      "-eyJ",
      "eyJ.",
      "eyJaaaa.",
      "cookie:\"",
      "cookie:'",
      "token=",
      "token:",
      "token=[",
      "a://a:",
      "a://@",
      "token=\"\\",
      "Bearer ",
      "-----BEGIN PRIVATE KEY",
      "-----BEGIN PRIVATE KEY----------END ",
      "\u2500 [\"a\"]\n",
      "\u2500 [\"",
      "key=\\",
      "=\\\"",
      "?a=",
      "?%25",
      "%3Fa=%25",
      "[{",
      "$a"
    ]
    for (const text of [...texts.map(([, text]) => text), ...parts.map((part) => part.repeat(100_000 / part.length))]) {
      redact.text(text, 100_000)
      redact.text(`/?a=${text}`, 100_000)
      redact.json(JSON.stringify([text]))
      redact.code(text.slice(0, 300))
    }
  })
})

describe("code", () => {
  rows<string, string>("shows", [
    [`const password = "hunter2"`, `const password = "<redacted>"`],
    [`  apiKey: 'abc',`, `  apiKey: '<redacted>',`],
    ["token: Redacted.make(`abc`)", "token: Redacted.make(`<redacted>`)"],
    [`const secret: string = "a\\"b" // c`, `const secret: string = "<redacted>" // c`],
    [`const token = request.headers["x-token"]`, `const token = request.headers["x-token"]`],
    [`const name = "Bob"`, `const name = "Bob"`],
    [`secret = ""`, `secret = ""`],
    ["const keys = { a: 'b' }", "const keys = { a: 'b' }"],
    ["Authorization: `Bearer ${a1}`", "Authorization: `<redacted>`"],
    [`password = "cut of`, `password = "<redacted>"`],
    [`connect("postgres://me:pw@db")`, `connect("postgres://<redacted>@db")`],
    [`f("ghp_0123456789abcdefghij")`, `f("<redacted>")`]
  ], (line) => redact.code(line))
})

describe("URLs", () => {
  rows<string, string>("shows", [
    ["/a/b", "/a/b"],
    ["/a?", "/a?"],
    ["/a?b=c&d", "/a?b=c&d"],
    ["/a?token=abc&b=c", "/a?token=<redacted>&b=c"],
    ["/a?%74oken=abc", "/a?%74oken=<redacted>"],
    ["/a?%74oken%ZZ=abc", "/a?%74oken%ZZ=<redacted>"],
    ["/a?user[password]=x", "/a?user[password]=<redacted>"],
    ["/a?h=Bearer%20abc1", "/a?h=<redacted>"],
    ["/a?next=%2Fb%3Ftoken%3Dx", "/a?next=<redacted>"],
    ["/a?b=1#access_token=x&c=d", "/a?b=1#access_token=<redacted>&c=d"],
    ["https://u:p@h/a?sid=1", "https://<redacted>@h/a?sid=<redacted>"]
  ], (url) => redact.text(url))
})

describe("json", () => {
  it("is drawn out, with what is secret hidden by name, at any depth", () => {
    assert.strictEqual(
      redact.json(`{"a":[1,{"password":"x","b":"Bearer y1"}],"token":{"deep":1},"pin":1234}`),
      `{\n  "a": [\n    1,\n    {\n      "password": "<redacted>",\n      "b": "Bearer <redacted>"\n    }\n  ],\n  "token": "<redacted>",\n  "pin": "<redacted>"\n}`
    )
  })
  it("pairs as lists and as records are pairs", () => {
    const shown = redact.json(`[["authorization","s3cr3t-1"],{"name":"cookie","value":"s3cr3t-2"},["a","b"]]`)!
    assert.notInclude(shown, "s3cr3t")
    assert.include(shown, `"b"`)
  })
  it("what is none is undefined, and depth costs nothing", () => {
    assert.isUndefined(redact.json("{"))
    const deep = "[[],".repeat(1000) + "1" + "]".repeat(1000)
    assert.isBelow(redact.json(deep)?.length ?? 0, 20_000)
    assert.notInclude(redact.json("[".repeat(65) + "]".repeat(65)), "\u2026")
    assert.include(redact.json("[".repeat(66) + "]".repeat(66)), "\u2026")
    redact.json("[".repeat(200_000) + "]".repeat(200_000))
  })
  it("keys of prototypes are keys", () => {
    const text = `{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}`
    assert.strictEqual(JSON.stringify(JSON.parse(redact.json(text)!)), text)
    assert.strictEqual(
      redact.value(JSON.parse(text)),
      "{ __proto__: { polluted: 1 }, constructor: { prototype: { polluted: 1 } } }"
    )
    assert.notProperty({}, "polluted")
  })
})

class Point extends Data.Class<{ readonly x: number; readonly password: string }> {}
class NotFound extends Data.TaggedError("NotFound")<{ readonly id: string }> {}

describe("value", () => {
  const cyclic: Record<string, unknown> = { a: 1 }
  cyclic.self = cyclic
  const shared = { b: 1 }
  const throwing = () => {
    throw new Error("boom")
  }
  const hostile = new Proxy({}, {
    get: throwing,
    has: throwing,
    ownKeys: throwing,
    getPrototypeOf: throwing,
    getOwnPropertyDescriptor: throwing
  })
  const { proxy: revoked, revoke } = Proxy.revocable([], {})
  revoke()
  const table: ReadonlyArray<readonly [what: string, value: unknown, shown: string]> = [
    ["string", "a\n\"b\"", `"a\\n\\"b\\""`],
    ["number", 1.5, "1.5"],
    ["bigint", 10n, "10n"],
    ["boolean", true, "true"],
    ["undefined", undefined, "undefined"],
    ["null", null, "null"],
    ["symbol", Symbol("x"), "Symbol(x)"],
    ["function", function f() {}, "[function f]"],
    ["arrow", (() => () => {})(), "[function]"],
    ["function whose name throws", Object.defineProperty(() => {}, "name", { get: throwing }), "[function]"],
    ["array", [1, "a", [2]], `[1, "a", [2]]`],
    ["array of an own kind", new (class Many extends Array {})(), "[]"],
    ["sparse", [1, , 2], "[1, undefined, 2]"], // eslint-disable-line no-sparse-arrays
    ["record", { a: 1, "b-c": { d: 2 } }, `{ a: 1, "b-c": { d: 2 } }`],
    ["empty", {}, "{}"],
    ["without prototype", Object.assign(Object.create(null), { a: 1 }), "{ a: 1 }"],
    [
      "secret field",
      { user: { password: "x", pin: 1, session: { id: "y" } } },
      "{ user: { password: <redacted>, pin: <redacted>, session: <redacted> } }"
    ],
    ["pair as a list", ["Authorization", "x", "Accept", "y"], `["Authorization", <redacted>, "Accept", "y"]`],
    ["pair as a record", { name: "cookie", value: "x" }, `{ name: "cookie", value: <redacted> }`],
    ["plain pair as a record", { name: "a", value: "x" }, `{ name: "a", value: "x" }`],
    ["instance", new Point({ x: 1, password: "p" }), "Point { x: 1, password: <redacted> }"],
    ["instance without fields", new (class Empty {})(), "Empty"],
    ["error", new NotFound({ id: "a" }), "NotFound: "],
    ["error's text", new Error("Bearer abc1"), "Error: Bearer <redacted>"],
    ["getter", {
      get a() {
        return throwing()
      },
      b: 1
    }, "{ a: [getter], b: 1 }"],
    ["secret getter", {
      get token() {
        return 1
      }
    }, "{ token: <redacted> }"],
    [
      "toJSON",
      { toJSON: throwing, toString: throwing },
      "{ toJSON(), toString() }"
    ],
    ["hidden fields", Object.defineProperty({ a: 1 }, "b", { value: 2 }), "{ a: 1 }"],
    ["frozen", Object.freeze({ a: 1 }), "{ a: 1 }"],
    ["cycle", cyclic, "{ a: 1, self: [circular] }"],
    ["the same twice is no cycle", [shared, shared], "[{ b: 1 }, { b: 1 }]"],
    ["depth", [[[[[1]]]], { a: { b: { c: { d: 1 } } } }], "[[[[[…]]]], { a: { b: { c: {…} } } }]"],
    [
      "map",
      new Map<unknown, unknown>([["a", 1], ["token", "x"], [1, 2]]),
      `Map [["a", 1], ["token", <redacted>], [1, 2]]`
    ],
    ["set", new Set([1, 2]), "Set [1, 2]"],
    ["date", new Date(0), `"1970-01-01T00:00:00.000Z"`],
    ["no date", new Date(Number.NaN), "Invalid Date"],
    ["url", new URL("https://u:p@h/?token=x"), "URL https://<redacted>@h/?token=<redacted>"],
    ["bytes", new Uint8Array(12), "Uint8Array(12 bytes)"],
    ["buffer", new ArrayBuffer(3), "ArrayBuffer(3 bytes)"],
    ["stream", { _events: {}, rawHeaders: ["a"] }, "{…}"],
    ["stream of a class", Object.assign(new (class Socket {})(), { _events: {}, a: 1 }), "Socket"],
    ["promise", Promise.resolve(1), "Promise"],
    ["Redacted", { a: Redacted.make("x") }, "{ a: <redacted> }"],
    ["Redacted as a key", new Map([[Redacted.make("x"), 1]]), "Map [[<redacted>, 1]]"],
    ["Some", Option.some(1), "Some { value: 1 }"],
    ["None", Option.none(), "None"],
    ["Right", Either.right("a"), `Right { right: "a" }`],
    ["Left", Either.left(Redacted.make("x")), "Left { left: <redacted> }"],
    ["tagged record", { _tag: "Gone", at: 1 }, "Gone { at: 1 }"],
    ["Chunk", Chunk.make(1, 2), "Chunk [1, 2]"],
    ["HashMap", HashMap.make(["a", 1], ["secret", 2]), `HashMap [["a", 1], ["secret", <redacted>]]`],
    ["Duration", Duration.seconds(2), "{ value: Millis { millis: 2000 } }"],
    ["hostile", hostile, "[unreadable]"],
    ["hostile inside", { a: hostile, b: 1 }, "{ a: [unreadable], b: 1 }"],
    ["revoked", [revoked], "[[unreadable]]"],
    ["a key on two lines", { "a\nb": 1 }, `{ "a\\nb": 1 }`],
    ["symbol with a secret", Symbol("token=x"), "Symbol(token=<redacted>)"]
  ]
  it.each(table)("%s", (_, value, shown) => {
    const sorted = (text: string) => text.startsWith("HashMap") ? [...text].sort().join("") : text
    assert.strictEqual(sorted(redact.value(value)), sorted(shown))
  })

  it("is short, whatever there is", () => {
    const wide = Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`a${index}`, "x".repeat(100)]))
    const tree = (depth: number): unknown =>
      depth === 0 ? "x".repeat(1000) : Array.from({ length: 60 }, () => tree(depth - 1))
    for (
      const value of [
        wide,
        tree(2),
        "x".repeat(1e6),
        new Array(1e9),
        new Set(Array.from({ length: 1e5 }, (_, n) => n))
      ]
    ) {
      assert.isAtMost(redact.value(value).length, 2000)
    }
    assert.strictEqual(redact.value(Array.from({ length: 51 }, () => 1)).match(/1/g)?.length, 50)
  })

  it("a pair is hidden for its name, and a string in it stands without quotes", () => {
    assert.deepStrictEqual(redact.pair("a", "b\nc"), ["a", "b\nc"])
    assert.deepStrictEqual(redact.pair("a", 1), ["a", "1"])
    assert.deepStrictEqual(redact.pair("token", { a: 1 }), ["token", "<redacted>"])
    assert.deepStrictEqual(redact.pair("x-api-key", "b"), ["x-api-key", "<redacted>"])
    assert.strictEqual(redact.pair("n".repeat(300), "b")[0].length, 200)
    assert.strictEqual(redact.value("b", "a"), `"b"`)
    assert.strictEqual(redact.value({ a: 1 }, "token"), "<redacted>")
  })

  it.prop(
    "never throws, and is one line",
    [FastCheck.anything({ withProxy: true, withNullPrototype: true } as never)],
    ([value]) => {
      assert.notMatch(redact.value(value), /[\n\r\u001b]/)
    }
  )
})

describe("scrub", () => {
  it("hides elsewhere what has been hidden for its name", () => {
    const redact = redactor()
    redact.pair("authorization", "Bearer abc-123-def")
    redact.value("hunter2-hunter2", "password")
    redact.text("/?token=zyx%2D98765")
    redact.json(`{"secret":"12345678","other":"87654321"}`)
    redact.hide("12345678-longer")
    assert.strictEqual(
      redact.scrub("abc-123-def, hunter2-hunter2, zyx-98765, 12345678-longer, 12345678, 87654321"),
      "<redacted>, <redacted>, <redacted>, <redacted>, <redacted>, 87654321"
    )
  })
  it("but nothing short, and no word", () => {
    const redact = redactor()
    for (const text of ["abc-123", "created_at", "undefined", "<redacted>"]) redact.hide(text)
    assert.strictEqual(redact.scrub("abc-123 created_at undefined"), "abc-123 created_at undefined")
  })
  it("and no more than a hundred", () => {
    const redact = redactor()
    for (let i = 0; i < 101; i++) redact.hide(`${10_000_000 + i}`)
    assert.strictEqual(redact.scrub("10000099 10000100"), "<redacted> 10000100")
  })
})

const names = FastCheck.constantFrom("password", "Authorization", "cookie", "x-api-key", "clientSecret", "ACCESS_TOKEN")
const canary = "c4nary-7f3a-b2d1"
const planted = FastCheck.letrec((tie) => ({
  leaf: FastCheck.tuple(names, FastCheck.constantFrom<unknown>(canary, [canary], { a: canary })).map((
    [name, value]
  ) => ({ [name]: value })),
  node: FastCheck.oneof(
    { maxDepth: 4 },
    tie("leaf"),
    FastCheck.array(tie("node"), { maxLength: 3 }),
    FastCheck.dictionary(FastCheck.constantFrom("a", "b", "list"), tie("node"), { maxKeys: 3 }),
    tie("node").map((node) => new Map([["a", node]])),
    tie("node").map((node) => Option.some(node)),
    tie("node").map((node) => JSON.stringify(node) ?? ""),
    tie("node").map((node) => new Error(`failed: ${JSON.stringify(node)}`))
  )
})).node

it.prop("what has a secret name shows nowhere", [planted], ([value]) => {
  const redact = redactor()
  assert.notInclude(redact.value(value), canary)
  const json = JSON.stringify(value)
  assert.notInclude(redact.json(json), canary)
  assert.notInclude(redact.text(json), canary)
}, { fastCheck: { numRuns: 1000 } })
