import { HttpApiSchema, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Either, FastCheck, Schema, Stream } from "effect"
import { ExceptionHandlers, HttpException, Middleware, ProblemDetails, RequestId, Stack } from "effect-middleware"
import { type App, listen, mounts, request, send } from "./utils/TestApp.js"

describe("ProblemDetails", () => {
  it.effect("is a problem by its media type, and is not stored", () =>
    Effect.gen(function*() {
      const reply = yield* send(ProblemDetails.toResponse({ status: 404 }))
      assert.strictEqual(reply.status, 404)
      assert.strictEqual(reply.headers["content-type"], "application/problem+json")
      assert.strictEqual(reply.headers["cache-control"], "no-store")
      assert.deepStrictEqual(JSON.parse(reply.body), { title: "Not Found", status: 404 })
    }))

  it.effect("states every member, and the extensions beside them", () =>
    Effect.gen(function*() {
      const problem = {
        status: 409,
        type: "https://example.com/problems/sold-out",
        title: "Sold out",
        detail: "All 12 are gone",
        instance: "/orders/7"
      }
      const { body } = yield* send(ProblemDetails.toResponse({ ...problem, extensions: { restockedInDays: 3 } }))
      assert.deepStrictEqual(JSON.parse(body), { ...problem, restockedInDays: 3 })
    }))

  it.effect("takes headers, which win over its own", () =>
    Effect.gen(function*() {
      const { headers } = yield* send(
        ProblemDetails.toResponse({ status: 503 }, { headers: { "retry-after": "2", "Cache-Control": "max-age=1" } })
      )
      assert.deepStrictEqual([headers["retry-after"], headers["cache-control"]], ["2", "max-age=1"])
      const own = ProblemDetails.toResponse({ status: 503 }, {
        headers: { "content-type": "a/b", "content-length": "1" }
      })
      assert.deepStrictEqual({ ...own.headers }, { ...ProblemDetails.toResponse({ status: 503 }).headers })
    }))

  it.each([
    [400, "Bad Request"],
    [413, "Content Too Large"],
    [418, "Client Error"],
    [429, "Too Many Requests"],
    [503, "Service Unavailable"],
    [599, "Server Error"]
  ])("%i is titled %s", (status, title) => {
    const { body } = ProblemDetails.toResponse({ status })
    assert.strictEqual(body._tag === "Uint8Array" && JSON.parse(new TextDecoder().decode(body.body)).title, title)
  })

  it.each([200, 302, 399, 600, 404.5, NaN])("throws on %d, which is no error", (status) => {
    assert.throws(() => ProblemDetails.toResponse({ status }), /is not an error; use 400 to 599/)
  })

  it.each(["type", "title", "status", "detail", "instance"])("throws on an extension named %s", (name) => {
    assert.throws(
      () => ProblemDetails.toResponse({ status: 400, extensions: { [name]: 1 } }),
      `"${name}" is a member of every problem`
    )
  })
})

// --- schemas ---------------------------------------------------------------------------------------------------------

describe("ProblemDetails.schema", () => {
  const decode = Schema.decodeUnknownEither(ProblemDetails.schema)

  it.each<[unknown, ProblemDetails.Received]>([
    [{}, { type: "about:blank", extensions: {} }],
    [
      { type: "a:b", title: "A", status: 400, detail: "B", instance: "/c", more: [1], status2: 1 },
      { type: "a:b", title: "A", status: 400, detail: "B", instance: "/c", extensions: { more: [1], status2: 1 } }
    ],
    // RFC 9457 section 3.1: what is of another type is ignored
    [{ type: 1, title: null, status: "400", detail: [], instance: {} }, { type: "about:blank", extensions: {} }]
  ])("reads %j", (json, received) => {
    assert.deepStrictEqual(Either.getOrThrow(decode(json)), received)
  })

  it.each([[null], ["text"], [[]], [1]])("fails on %j", (json) => {
    assert.isTrue(Either.isLeft(decode(json)))
  })

  it("reads what `toJson` says", () => {
    const problem = { status: 409, title: "T", detail: "D", extensions: { a: 1 } }
    assert.deepStrictEqual(
      Either.getOrThrow(decode(JSON.parse(JSON.stringify(ProblemDetails.toJson(problem))))),
      { type: "about:blank", ...problem }
    )
    assert.deepStrictEqual(
      Schema.encodeSync(ProblemDetails.schema)({ type: "a:b", status: 409, extensions: { a: 1 } }),
      { type: "a:b", status: 409, a: 1 }
    )
  })
})

describe("ProblemDetails.error", () => {
  class Missing extends Schema.TaggedError<Missing>()(
    "Missing",
    { id: Schema.NumberFromString },
    HttpApiSchema.annotations({ status: 404 })
  ) {}
  class Taken extends Schema.TaggedError<Taken>()("Taken", { detail: Schema.String }) {}

  it("has the status of the annotation, and the fields as extensions", () => {
    const schema = ProblemDetails.error(Missing, { detail: "Not here" })
    const json = { type: undefined, title: "Not Found", status: 404, detail: "Not here", instance: undefined }
    assert.deepStrictEqual(Schema.encodeSync(schema)(new Missing({ id: 7 })), { ...json, _tag: "Missing", id: "7" })
    assert.deepStrictEqual(Schema.decodeSync(schema)({ ...json, _tag: "Missing", id: "7" }), new Missing({ id: 7 }))
    assert.isTrue(Either.isLeft(Schema.decodeEither(schema)(json)))
    assert.deepStrictEqual(
      [HttpApiSchema.getStatusErrorAST(schema.ast), HttpApiSchema.getEncoding(schema.ast).contentType],
      [404, "application/problem+json"]
    )
  })

  it("says what it is told to", () => {
    const schema = ProblemDetails.error(Missing, {
      status: 410,
      type: "a:b",
      title: "T",
      instance: "/i",
      detail: ({ id }) => `No ${id}`
    })
    assert.deepStrictEqual(Schema.encodeSync(schema)(new Missing({ id: 7 })), {
      type: "a:b",
      title: "T",
      status: 410,
      detail: "No 7",
      instance: "/i",
      _tag: "Missing",
      id: "7"
    })
  })

  it("throws on a status that is none, and on a field that is a member", () => {
    assert.throws(() => ProblemDetails.error(Missing, { status: 200 }), /is not an error/)
    assert.throws(
      () => ProblemDetails.error(Taken),
      /the error has a field "detail", which is a member of every problem/
    )
  })
})

// --- negotiation -----------------------------------------------------------------------------------------------------

describe("ProblemDetails.policy", () => {
  const form = ProblemDetails.policy()

  it.each<[string | undefined, ProblemDetails.Form]>([
    [undefined, "json"],
    ["", "json"],
    ["*/*", "json"],
    ["application/problem+json", "json"],
    ["application/json", "json"],
    ["application/*", "json"],
    ["APPLICATION/JSON", "json"],
    ["text/plain", "text"],
    ["text/html", "html"],
    ["Text/HTML", "html"],
    ["text/*", "text"],
    ["text/html;level=1", "html"],
    ["image/png", "json"],
    // browsers, and what scripts in them send
    ["text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", "html"],
    ["application/json, text/plain, */*", "json"],
    ["text/html, */*", "html"],
    // weights
    ["text/html;q=0.5, text/plain;q=0.6", "text"],
    ["text/html;q=0.5, application/json;q=0.4", "html"],
    ["text/html; Q = 0.5 , application/json; q=0.501", "json"],
    ["text/html;q=0.001, application/json;q=0", "html"],
    ["application/problem+json;q=0.1, application/json;q=0.9, text/html;q=0.5", "json"],
    ["application/problem+json;q=0, application/json;q=0, */*", "text"],
    ["text/*;q=0, */*;q=0.1", "json"],
    ["*/*;q=0.5, text/html;q=0.5", "html"],
    // the most exact range counts, wherever it stands
    ["*/*, application/json;q=0.1, application/problem+json;q=0.1", "text"],
    ["text/html;q=0, text/html", "json"],
    // all of it refused: the error is told all the same
    ["*/*;q=0", "json"],
    ["text/html;q=0", "json"],
    // malformed ranges are not there
    ["text/html;q=2, text/plain;q=0.1", "text"],
    ["text/html;q=0.1234, text/plain;q=0.1", "text"],
    ["text/html;q=, text/plain;q=0.1", "text"],
    ["text/html;q=-1, text/plain;q=0.1", "text"],
    ["text, text/plain;q=0.1", "text"],
    ["*/html, text/plain;q=0.1", "text"],
    ["te xt/html, text/plain;q=0.1", "text"],
    [",,,text/html,,", "html"]
  ])("%j gets %s", (accept, expected) => {
    assert.strictEqual(form(accept), expected)
  })

  it("offers what it is told to, the first where nothing fits", () => {
    const forms = ProblemDetails.policy({ forms: ["html", "text"] })
    assert.deepStrictEqual(["*/*", undefined, "application/json", "text/plain", "text/*"].map(forms), [
      "html",
      "html",
      "html",
      "text",
      "html"
    ])
    assert.strictEqual(ProblemDetails.policy({ forms: ["text"] })("text/html"), "text")
    assert.throws(() => ProblemDetails.policy({ forms: [] }), /forms is empty: list at least "json"/)
  })

  it.prop("whatever the client says, there is a form", [FastCheck.string()], ([accept]) => {
    assert.include(["json", "text", "html"], form(accept))
  })
})

describe("ProblemDetails.middleware", () => {
  const negotiated = Stack.make(RequestId.middleware({ generate: () => "one" }), ProblemDetails.middleware())
  const hostile = "<script>alert('1')</script>\"&"
  const failing = Effect.fail(HttpException.notFound({ detail: hostile, extensions: { a: 1 } }))
  const html = { headers: { accept: "text/html" } }
  const text = { headers: { accept: "text/plain" } }

  it.effect("adds the identifier to the JSON", () =>
    Effect.gen(function*() {
      const reply = yield* send(negotiated(failing))
      assert.deepStrictEqual(
        [reply.headers["content-type"], reply.headers.vary, reply.headers["cache-control"]],
        ["application/problem+json", "accept", "no-store"]
      )
      assert.deepStrictEqual(JSON.parse(reply.body), {
        title: "Not Found",
        status: 404,
        detail: hostile,
        a: 1,
        requestId: "one"
      })
    }))

  it.effect("says it in text", () =>
    Effect.gen(function*() {
      const reply = yield* send(negotiated(failing), text)
      assert.deepStrictEqual([reply.status, reply.headers["content-type"]], [404, "text/plain; charset=utf-8"])
      assert.isUndefined(reply.headers["content-security-policy"])
      assert.strictEqual(reply.body, `404 Not Found\n\n${hostile}\n\nRequest one\n`)
      assert.strictEqual(reply.headers["content-length"] ?? String(reply.body.length), String(reply.body.length))
    }))

  it.effect("says it in HTML, in which nothing is markup that was not", () =>
    Effect.gen(function*() {
      const reply = yield* send(negotiated(failing), html)
      assert.deepStrictEqual([reply.status, reply.headers["content-type"]], [404, "text/html; charset=utf-8"])
      assert.strictEqual(reply.headers["content-security-policy"], "default-src 'none'; frame-ancestors 'none'")
      assert.include(reply.body, "<title>404 Not Found</title>")
      assert.include(
        reply.body,
        "<h1>404 Not Found</h1>\n<p>&#60;script&#62;alert(&#39;1&#39;)&#60;/script&#62;&#34;&#38;</p>"
      )
      assert.include(reply.body, "<p>Request one</p>")
      assert.notMatch(reply.body, /<(?:script|link|img)|src=|href=/)
    }))

  it.effect("keeps the fields of the response", () =>
    Effect.gen(function*() {
      const reply = yield* send(
        negotiated(Effect.fail(HttpException.serviceUnavailable({
          headers: {
            "retry-after": "1",
            "cache-control": "max-age=1",
            "vary": "origin",
            "content-security-policy": "sandbox"
          }
        }))),
        html
      )
      assert.deepStrictEqual(
        ["retry-after", "cache-control", "vary", "content-security-policy"].map((name) => reply.headers[name]),
        ["1", "max-age=1", "origin, accept", "sandbox"]
      )
    }))

  it.effect("without RequestId, and with another name for it, or none", () =>
    Effect.gen(function*() {
      const id = RequestId.middleware({ generate: () => "one" })
      assert.notProperty(JSON.parse((yield* send(ProblemDetails.middleware()(failing))).body), "requestId")
      assert.notInclude((yield* send(ProblemDetails.middleware()(failing), text)).body, "Request")
      const named = Stack.make(id, ProblemDetails.middleware({ requestId: "trace" }))
      assert.strictEqual(JSON.parse((yield* send(named(failing))).body).trace, "one")
      const none = Stack.make(id, ProblemDetails.middleware({ requestId: false }))
      assert.notInclude((yield* send(none(failing))).body, "one")
      assert.notInclude((yield* send(none(failing), text)).body, "one")
      assert.throws(() => ProblemDetails.middleware({ requestId: "status" }), /which every problem has; name another/)
    }))

  const written = (text: string) =>
    HttpServerResponse.text(text, { status: 404, contentType: "application/problem+json" })

  it.effect("leaves a member that the handler has set", () =>
    Effect.gen(function*() {
      const told = (response: App) =>
        Effect.map(send(negotiated(response as never)), ({ body }) => JSON.parse(body).requestId)
      assert.strictEqual(
        yield* told(Effect.fail(HttpException.notFound({ extensions: { requestId: "mine" } }))),
        "mine"
      )
      assert.strictEqual(
        yield* told(Effect.fail(HttpException.notFound({ extensions: { requestId: undefined } }))),
        "one"
      )
      assert.strictEqual(yield* told(written("{\"requestId\":null}")), null)
      const named = Stack.make(
        RequestId.middleware({ generate: () => "one" }),
        ProblemDetails.middleware({ requestId: "constructor" })
      )
      assert.strictEqual(JSON.parse((yield* send(named(failing))).body).constructor, "one")
    }))

  it.effect.each<readonly [string, string]>([
    ["{}", "{\"requestId\":\"one\"}"],
    [" { \n } \n", " { \n \"requestId\":\"one\"}"],
    ["{\"a\":{}}", "{\"a\":{},\"requestId\":\"one\"}"],
    // more digits than a number of JavaScript has
    ["{\"balance\":12345678901234567890}\n", "{\"balance\":12345678901234567890,\"requestId\":\"one\"}"]
  ])("puts the identifier into %j, and leaves the rest as it was written", ([text, told]) =>
    Effect.gen(function*() {
      const reply = yield* send(negotiated(written(text)))
      assert.deepStrictEqual([reply.body, reply.headers["content-length"]], [told, `${told.length}`])
    }))

  it.effect("a problem that was made here, and sent again and again, is each time told for its request", () =>
    Effect.gen(function*() {
      let requests = 0
      const counted = Stack.make(
        RequestId.middleware({ generate: () => `${++requests}` }),
        ProblemDetails.middleware(),
        ExceptionHandlers.standard()
      )
      const app = counted(Effect.fail(HttpException.gone({ extensions: { at: new Date(0) } })))
      const bodies = yield* Effect.forEach([1, 2, 3], () => send(app), { concurrency: "unbounded" })
      assert.deepStrictEqual(
        bodies.map(({ body }) => body).sort(),
        [1, 2, 3].map((id) => `{"title":"Gone","status":410,"at":"1970-01-01T00:00:00.000Z","requestId":"${id}"}`)
      )
      assert.match((yield* send(app, text)).body, /^410 Gone\n\nRequest 4\n$/)
    }))

  it.effect("whatever a title and a detail are, of the page they are text", () =>
    Effect.gen(function*() {
      const evil = "</title></h1></p><script>alert(1)</script><img src=x onerror='alert(1)'>\u2028&lt;\"`"
      const reply = yield* send(
        negotiated(Effect.fail(HttpException.badRequest({ title: evil, detail: evil, extensions: { [evil]: evil } }))),
        html
      )
      const markup = reply.body.match(/<[^>]*>/g)!.map((tag) => tag.split(" ")[0])
      assert.deepStrictEqual(markup, [
        "<!doctype",
        "<html",
        "<meta",
        "<meta",
        "<meta",
        "<title>",
        "</title>",
        "<h1>",
        "</h1>",
        "<p>",
        "</p>",
        "<p>",
        "</p>"
      ])
      assert.notMatch(reply.body.replace(/<[^>]*>/g, ""), /[<>"']|&(?!#\d+;)/)
    }))

  const problem = ProblemDetails.toResponse({ status: 404 })
  it.effect.each<readonly [string, HttpServerResponse.HttpServerResponse]>([
    ["a success", HttpServerResponse.text("{}", { contentType: "application/problem+json" })],
    ["a redirect", HttpServerResponse.redirect("/a")],
    ["an error of another type", HttpServerResponse.text("{}", { status: 404, contentType: "application/json" })],
    [
      "a type that only begins so",
      HttpServerResponse.text("{}", { status: 404, contentType: "application/problem+jsonx" })
    ],
    ["an encoded one", HttpServerResponse.setHeader(problem, "content-encoding", "compress")],
    ["JSON that is none", HttpServerResponse.text("{", { status: 404, contentType: "application/problem+json" })],
    ["JSON that is no object", HttpServerResponse.text("[]", { status: 404, contentType: "application/problem+json" })],
    [
      "a stream",
      HttpServerResponse.stream(Stream.make(new Uint8Array([123, 125])), {
        status: 404,
        contentType: "application/problem+json"
      })
    ]
  ])("leaves %s as it is", ([, response]) =>
    Effect.gen(function*() {
      const [bare, reply] = [yield* send(response), yield* send(ProblemDetails.middleware()(response), html)]
      assert.deepStrictEqual(reply, bare)
    }))

  it.effect("takes a problem whatever the spelling of its type", () =>
    Effect.gen(function*() {
      const response = HttpServerResponse.text("{\"title\":1,\"detail\":2}", {
        status: 404,
        contentType: "Application/Problem+JSON ; charset=utf-8"
      })
      assert.strictEqual((yield* send(negotiated(response), text)).body, "404 Not Found\n\nRequest one\n")
    }))

  it.effect("fills an error without a body, unless told not to", () =>
    Effect.gen(function*() {
      const filled = yield* send(negotiated(Effect.die("secret")))
      assert.deepStrictEqual(
        [filled.status, filled.headers["cache-control"], JSON.parse(filled.body)],
        [500, "no-store", { title: "Internal Server Error", status: 500, requestId: "one" }]
      )
      const empty = HttpServerResponse.empty({ status: 410, headers: { "cache-control": "max-age=1" } })
      assert.strictEqual((yield* send(negotiated(empty), text)).body, "410 Gone\n\nRequest one\n")
      assert.strictEqual((yield* send(negotiated(empty))).headers["cache-control"], "max-age=1")
      assert.deepStrictEqual(
        JSON.parse((yield* send(ProblemDetails.middleware()(empty))).body),
        { title: "Gone", status: 410 }
      )
      assert.strictEqual((yield* send(ProblemDetails.middleware({ fill: false })(empty), text)).body, "")
    }))

  it.scoped("a HEAD, a 204 and a 304 have no body", () =>
    Effect.gen(function*() {
      const port = yield* listen(Stack.serve(
        Effect.fail(HttpException.notFound()),
        Stack.make(negotiated, ExceptionHandlers.standard())
      ))
      for (const init of [{}, text, html]) {
        const get = yield* request(port, init)
        const head = yield* request(port, { ...init, method: "HEAD" })
        assert.deepStrictEqual([head.status, head.body], [404, ""])
        assert.deepStrictEqual(
          [head.headers["content-type"], head.headers["content-length"]],
          [get.headers["content-type"], get.headers["content-length"]]
        )
      }
      const web = yield* send(Stack.make(negotiated, ExceptionHandlers.standard())(failing), {
        method: "HEAD",
        ...html
      })
      assert.deepStrictEqual([web.status, web.body, web.headers["content-type"]], [404, "", "text/html; charset=utf-8"])
      for (const status of [204, 304]) {
        const { body } = yield* send(negotiated(HttpServerResponse.empty({ status })), text)
        assert.strictEqual(body, "")
      }
    }))

  describe.each(mounts)("in $name", ({ mount }) => {
    it.scoped("negotiates what a failure is answered with, and a refusal further in", () =>
      Effect.gen(function*() {
        const refusing = Middleware.make({
          name: "Refusing",
          request: ({ request: { headers } }) =>
            headers["x-refuse"] === undefined ? undefined : Middleware.Refuse(HttpException.forbidden())
        })
        const ask = yield* mount(failing, Stack.make(negotiated, refusing))
        assert.match((yield* ask(text)).body, /^404 Not Found\n\n<script>/)
        const refused = yield* ask({ headers: { ...text.headers, "x-refuse": "1" } })
        assert.deepStrictEqual([refused.status, refused.body], [403, "403 Forbidden\n\nRequest one\n"])
      }))
  })
})
