import { HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, FastCheck, Schema } from "effect"
import { Middleware, Stack, Validate } from "effect-middleware"
import { assertLinear } from "./internal/hostile.js"
import { type App, type Init, mounts, type Reply, send } from "./utils/TestApp.js"

class Paging extends Validate.Query("test/Paging")<Paging>()(Schema.Struct({
  limit: Schema.optionalWith(Schema.NumberFromString.pipe(Schema.between(1, 100)), { default: () => 20 }),
  tag: Schema.optional(Schema.Array(Schema.String)),
  q: Schema.optional(Schema.NonEmptyString)
})) {}

class Version extends Validate.Headers("test/Version")<Version>()(Schema.Struct({
  "x-api-version": Schema.NumberFromString
})) {}

class Known extends Context.Tag("Known")<Known, ReadonlyArray<string>>() {}

/** Needs a service, and so is an Effect. */
class Language extends Validate.Query("test/Language")<Language>()(
  Schema.Struct({
    lang: Schema.String.pipe(Schema.filterEffect((lang) => Effect.map(Known, (known) => known.includes(lang))))
  })
) {}

const show = <I, S>(tag: Context.Tag<I, S>) => Effect.map(tag, (value) => HttpServerResponse.unsafeJson(value))
const paged = show(Paging)
const problem = ({ body, headers, status }: Reply) => {
  assert.strictEqual(headers["content-type"], "application/problem+json")
  return [status, JSON.parse(body)] as const
}

describe("Validate.Query", () => {
  const app = Paging.middleware()(paged)
  const ask = (search: string) =>
    Effect.map(send(app, { path: `/notes${search}` }), (reply) => [reply.status, reply.body])

  it.effect.each<[string, unknown]>([
    ["", { limit: 20 }],
    ["?", { limit: 20 }],
    ["?limit=5", { limit: 5 }],
    ["?limit=%35&unknown=1", { limit: 5 }],
    ["?tag=a", { limit: 20, tag: ["a"] }],
    ["?tag=a&tag=b&tag=c", { limit: 20, tag: ["a", "b", "c"] }],
    ["?q=a+b%20c?d", { limit: 20, q: "a b c?d" }],
    ["?__proto__=1&constructor=2", { limit: 20 }]
  ])("%j is provided", ([search, expected]) =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* ask(search), [200, JSON.stringify(expected)])
    }))

  it.effect.each<[string, ReadonlyArray<readonly [string, string]>]>([
    ["?limit=secret", [["#/limit", "invalid"]]],
    ["?limit=101", [["#/limit", "invalid"]]],
    ["?limit=1&limit=2", [["#/limit", "invalid"]]],
    ["?q=", [["#/q", "invalid"]]],
    ["?q=&limit=0", [["#/limit", "invalid"], ["#/q", "invalid"]]]
  ])("%j is refused, all of it at once and none of it said again", ([search, errors]) =>
    Effect.gen(function*() {
      const reply = yield* send(app, { path: `/notes${search}` })
      assert.deepStrictEqual(problem(reply), [400, {
        title: "Bad Request",
        status: 400,
        detail: "The query does not have the expected shape",
        in: "query",
        errors: errors.map(([pointer, reason]) => ({ pointer, reason }))
      }])
      assert.notInclude(reply.body, "secret")
    }))

  it.effect("what is missing is said so", () =>
    Effect.gen(function*() {
      class Needed extends Validate.Query("test/Needed")<Needed>()(Schema.Struct({ a: Schema.String })) {}
      const [, { errors }] = problem(yield* send(Needed.middleware()(show(Needed))))
      assert.deepStrictEqual(errors, [{ pointer: "#/a", reason: "missing" }])
    }))

  it.effect("exact refuses what it does not know, without its name", () =>
    Effect.gen(function*() {
      class Exact extends Validate.Query("test/Exact")<Exact>()(
        Schema.Struct({ a: Schema.optional(Schema.String) }),
        { exact: true, status: 422 }
      ) {}
      const exact = Exact.middleware()(show(Exact))
      assert.strictEqual((yield* send(exact, { path: "/?a=1" })).status, 200)
      const reply = yield* send(exact, { path: "/?secret=1" })
      const [status, { errors }] = problem(reply)
      assert.deepStrictEqual([status, errors], [422, [{ pointer: "#", reason: "unexpected" }]])
      assert.notInclude(reply.body, "secret")
    }))

  it.effect("keys that only the client knows are not said again", () =>
    Effect.gen(function*() {
      class Filter extends Validate.Query("test/Filter")<Filter>()(Schema.Struct({
        by: Schema.parseJson(Schema.Record({ key: Schema.String, value: Schema.Struct({ min: Schema.Number }) })),
        ids: Schema.optional(Schema.parseJson(Schema.Array(Schema.Number)))
      })) {}
      const filtered = Filter.middleware()(show(Filter))
      const reply = yield* send(filtered, {
        path: `/?by=${encodeURIComponent("{\"secret\":{\"min\":\"x\"}}")}&ids=[1,"x"]`
      })
      const [, { errors }] = problem(reply)
      assert.deepStrictEqual(errors, [{ pointer: "#/by", reason: "invalid" }, {
        pointer: "#/ids/1",
        reason: "invalid"
      }])
    }))

  it.effect("a record takes any name, and lists where it wants lists", () =>
    Effect.gen(function*() {
      class All extends Validate.Query("test/All")<All>()(
        Schema.Record({ key: Schema.String, value: Schema.Array(Schema.String) })
      ) {}
      const { body } = yield* send(All.middleware()(show(All)), { path: "/?a=1&b=2&b=3" })
      assert.strictEqual(body, "{\"a\":[\"1\"],\"b\":[\"2\",\"3\"]}")
    }))

  it.effect("a record has the usual prototype, whatever the names", () =>
    Effect.gen(function*() {
      const values = Schema.Array(Schema.String)
      const query = "?__proto__=secret&a=1&__proto__=secret&toString=2"
      for (
        const [schema, options] of [
          [Schema.Record({ key: Schema.String, value: values }), {}],
          [Schema.Record({ key: Schema.String, value: values }), { exact: true }],
          [Schema.Struct({ a: values }, { key: Schema.String, value: values }), {}]
        ] as const
      ) {
        class Open extends Validate.Query("test/Open")<Open>()(
          schema as Schema.Schema<Record<string, ReadonlyArray<string>>>,
          options
        ) {}
        const app = Open.middleware()(Effect.map(Open, (open) =>
          HttpServerResponse.unsafeJson([Object.getPrototypeOf(open) === Object.prototype, open])))
        const reply = yield* send(app, { path: `/${query}` })
        assert.deepStrictEqual(JSON.parse(reply.body), [true, { a: ["1"], toString: ["2"] }])
      }
      class Texts extends Validate.Query("test/Texts")<Texts>()(
        Schema.Record({ key: Schema.String, value: Schema.String })
      ) {}
      const texts = yield* send(Texts.middleware()(show(Texts)), { path: "/?__proto__=1&a=1&__proto__=2" })
      assert.deepStrictEqual([texts.status, texts.body], [200, "{\"a\":\"1\"}"])
      class Closed extends Validate.Query("test/Closed")<Closed>()(
        Schema.Struct({ a: Schema.optional(Schema.String) }),
        { exact: true }
      ) {}
      const reply = yield* send(Closed.middleware()(show(Closed)), { path: "/?__proto__=1" })
      assert.deepStrictEqual(problem(reply)[1].errors, [{ pointer: "#", reason: "unexpected" }])
    }))

  it.effect.each<[string, string, number]>([
    ["ten thousand names", Array.from({ length: 10_000 }, (_, i) => `k${i}=1`).join("&"), 200],
    ["one name ten thousand times", "q=1&".repeat(10_000), 400],
    ["one name of a list ten thousand times", "tag=1&".repeat(10_000), 200],
    ["nothing ten thousand times", "&".repeat(10_000), 200],
    ["broken escapes", "limit=%&q=%zz&tag=%ff%fe&%", 400],
    ["broken escapes that no schema minds", "q=%&tag=%ff%fe&%=%", 200],
    ["names of every object", "constructor=1&hasOwnProperty=1&__proto__=1&__defineGetter__=1&valueOf=1", 200],
    ["no name", "=1&==2&?=3", 200]
  ])("is answered: %s", ([, search, status]) =>
    Effect.gen(function*() {
      assert.strictEqual((yield* send(app, { path: `/?${search}` })).status, status)
    }))

  it.effect("one of several shapes", () =>
    Effect.gen(function*() {
      class Either extends Validate.Query("test/Either")<Either>()(Schema.Union(
        Schema.Struct({ ids: Schema.Array(Schema.String) }),
        Schema.Struct({ one: Schema.Union(Schema.String, Schema.Array(Schema.String)) })
      )) {}
      const either = Either.middleware()(show(Either))
      assert.strictEqual((yield* send(either, { path: "/?ids=1" })).body, "{\"ids\":[\"1\"]}")
      assert.strictEqual((yield* send(either, { path: "/?one=1" })).body, "{\"one\":\"1\"}")
    }))

  it.effect("a schema that is an Effect may ask services", () =>
    Effect.gen(function*() {
      const app = Language.middleware()(show(Language))
      const ask = (path: string) => send(Effect.provideService(app, Known, ["la"]) as App, { path })
      assert.strictEqual((yield* ask("/?lang=la")).body, "{\"lang\":\"la\"}")
      const [, { errors }] = problem(yield* ask("/?lang=secret"))
      assert.deepStrictEqual(errors, [{ pointer: "#/lang", reason: "invalid" }])
    }))

  it.effect("reads the request as its place sees it", () =>
    Effect.gen(function*() {
      const rewrite = Middleware.make({
        name: "Rewrite",
        request: (exchange) => exchange.deriveRequest({ url: "/?limit=7" })
      })
      const stack = Stack.make(rewrite, Paging.middleware())
      assert.strictEqual((yield* send(stack(paged), { path: "/?limit=secret" })).body, "{\"limit\":7}")
    }))

  it("is named by its tag, or as it is told", () => {
    assert.strictEqual(Paging.middleware().name, "test/Paging")
    assert.strictEqual(Paging.middleware({ name: "Paging" }).name, "Paging")
  })

  it.effect.prop(
    "whatever the query, the answer is 200 or 400",
    [FastCheck.webQueryParameters()],
    ([query]) =>
      Effect.gen(function*() {
        assert.include([200, 400], (yield* send(app, { path: `/?${query}` })).status)
      })
  )
})

describe("Validate.Headers", () => {
  const app = Version.middleware()(show(Version))

  it.effect("provides them, decoded", () =>
    Effect.gen(function*() {
      const { body } = yield* send(app, { headers: { "X-API-Version": "2", "x-other": "1" } })
      assert.strictEqual(body, "{\"x-api-version\":2}")
    }))

  it.effect("refuses what does not fit", () =>
    Effect.gen(function*() {
      for (const [headers, reason] of [[{}, "missing"], [{ "x-api-version": "secret" }, "invalid"]] as const) {
        assert.deepStrictEqual(problem(yield* send(app, { headers })), [400, {
          title: "Bad Request",
          status: 400,
          detail: "The header fields do not have the expected shape",
          in: "headers",
          errors: [{ pointer: "#/x-api-version", reason }]
        }])
      }
    }))

  it("throws on a name that no field has", () => {
    assert.throws(
      () => Validate.Headers("x")<never>()(Schema.Struct({ "X-A": Schema.String })),
      "Validate: fields are in lower case; write \"x-a\" for \"X-A\""
    )
  })

  it("the failure has a message for the log, in the schema's words", () => {
    const error = new Validate.InvalidInput({
      in: "headers",
      status: 400,
      errors: [{ pointer: "#/a", reason: "missing" }, { pointer: "#/b", reason: "invalid" }]
    })
    assert.strictEqual(error.message, "Not as expected in the headers: #/a missing, #/b invalid")
    assert.strictEqual(new Validate.UnsupportedContent({ accept: "a/b" }).message, "The content is none of a/b")
  })
})

describe("Validate.contentTypePolicy", () => {
  const passes = Validate.contentTypePolicy(["application/json", "Text/*", "application/*+json"])

  it.each<[string | undefined, boolean, boolean]>([
    [undefined, false, true],
    [undefined, true, false],
    ["application/json", true, true],
    ["application/json", false, true],
    ["Application/JSON ; charset=utf-8", true, true],
    ["application/vnd.a+json", true, true],
    ["text/plain", true, true],
    ["text/", true, false],
    ["application/+json", true, false],
    ["application/jsonx", true, false],
    ["application/xml", true, false],
    ["application/octet-stream", true, false],
    ["application/xml", false, false],
    ["application/xml; application/json", true, false],
    ["application/json, application/json", true, false],
    ["text/plain, application/xml", true, false],
    ["text/a b", true, false],
    ["text/a/b", true, false],
    ["json", true, false],
    ["", true, false],
    ["", false, false]
  ])("%j, content %s: %s", (contentType, hasContent, expected) => {
    assert.strictEqual(passes({ contentType, hasContent }), expected)
  })

  it.each([
    "json",
    "*/*",
    "*/json",
    "application/json; charset=utf-8",
    "application/",
    "",
    "a/b/c",
    "application/*json"
  ])(
    "throws on %j",
    (type) => {
      assert.throws(
        () => Validate.contentTypePolicy([type]),
        /contentType has ".*": write "application\/json", "text\/\*"/
      )
    }
  )
  it("deciding is linear", () => {
    assertLinear((contentType) => passes({ contentType, hasContent: true }))
    assertLinear((text) => passes({ contentType: `text/${text}`, hasContent: true }))
  })
  it("throws on nothing", () => {
    assert.throws(() => Validate.contentTypePolicy([] as never), /has no types: list those that you take/)
  })
})

describe("Validate.contentType", () => {
  const json = Validate.contentType(["Application/JSON", "text/*"])
  const echo = Effect.flatMap(
    HttpServerRequest.HttpServerRequest,
    ({ text }) => Effect.map(text, HttpServerResponse.text)
  )
  const post = (type: string | undefined, body: string): Init => ({
    method: "POST",
    body,
    headers: { "content-length": `${body.length}`, ...(type === undefined ? {} : { "content-type": type }) }
  })

  describe.each(mounts)("in $name", ({ mount }) => {
    it.scoped("refuses with 415 and what it takes, before anything reads it", () =>
      Effect.gen(function*() {
        const ask = yield* mount(echo as App, json)
        assert.strictEqual((yield* ask()).status, 200)
        assert.strictEqual((yield* ask(post("application/json", "{}"))).body, "{}")
        assert.strictEqual((yield* ask({ ...post("text/plain", ""), headers: { "content-length": "0" } })).status, 200)
        const refused = yield* ask(post("application/xml", "<a/>"))
        assert.strictEqual(refused.headers.accept, "application/json, text/*")
        assert.deepStrictEqual(problem(refused), [415, {
          title: "Unsupported Media Type",
          status: 415,
          detail: "The content is not of a type that is expected here"
        }])
      }))
  })

  it.scoped("content is what its framing says", () =>
    Effect.gen(function*() {
      const ask = yield* mounts.find(({ name }) => name === "Stack.serve, Node")!.mount(echo as App, json)
      assert.strictEqual(
        (yield* ask({ method: "POST", headers: { "transfer-encoding": "chunked" }, body: "{}" })).status,
        415
      )
      assert.strictEqual((yield* ask({ method: "POST", headers: { "content-length": "2" }, body: "{}" })).status, 415)
      assert.strictEqual((yield* ask({ method: "POST", headers: { "content-length": "000" } })).status, 200)
    }))

  it.effect("a web request says it by its body", () =>
    Effect.gen(function*() {
      // a body that is no text brings no type
      const bodies = [new Uint8Array([1]), null]
      const statuses = yield* Effect.forEach(bodies, (body) =>
        Effect.map(
          Effect.exit(
            json(HttpServerResponse.empty()).pipe(Effect.provideService(
              HttpServerRequest.HttpServerRequest,
              HttpServerRequest.fromWeb(new Request("http://localhost/", { method: "POST", body }))
            ))
          ),
          (exit) => exit._tag
        ))
      assert.deepStrictEqual(statuses, ["Failure", "Success"])
    }))
})
