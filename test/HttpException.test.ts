import {
  HttpApi,
  HttpApiBuilder,
  HttpApiClient,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpServer,
  HttpServerRespondable
} from "@effect/platform"
import { NodeContext, NodeHttpClient } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { HttpException, ProblemDetails } from "effect-middleware"
import { phrases } from "../src/internal/phrases.js"
import { listen, request, send } from "./utils/TestApp.js"

const {
  HttpException: Class,
  make,
  methodNotAllowed,
  proxyAuthenticationRequired,
  schema,
  unauthorized,
  upgradeRequired
} = HttpException
const constructors = Object.entries(HttpException).filter(([name]) =>
  !["HttpException", "make", "schema"].includes(name)
)
const options = { challenge: "Basic", allow: ["GET", "HEAD"] as ReadonlyArray<string>, upgrade: ["websocket"] as const }
const construct = (f: unknown) => (f as (o: object) => HttpException.HttpException)(options)

describe("HttpException", () => {
  it("has a constructor for each registered status, named by its phrase", () => {
    const named = new Map(constructors.map(([name, f]) => [construct(f).status, name]))
    assert.strictEqual(named.size, constructors.length)
    assert.deepStrictEqual(
      [...named.keys()].sort(),
      Object.keys(phrases).map(Number).sort()
    )
    for (const [status, name] of named) {
      assert.strictEqual(name.toLowerCase(), phrases[status]!.replace(/ /g, "").toLowerCase())
    }
  })

  it.effect("answers with a problem of its status", () =>
    Effect.gen(function*() {
      const reply = yield* send(Effect.fail(HttpException.conflict({
        detail: "Sold out",
        type: "https://example.com/sold-out",
        title: "Gone",
        instance: "/orders/1",
        extensions: { left: 0 },
        headers: { "Retry-After": "60" },
        cause: new Error("secret")
      })))
      assert.deepStrictEqual(
        [reply.status, reply.headers["content-type"], reply.headers["cache-control"], reply.headers["retry-after"]],
        [409, "application/problem+json", "no-store", "60"]
      )
      assert.deepStrictEqual(JSON.parse(reply.body), {
        type: "https://example.com/sold-out",
        title: "Gone",
        status: 409,
        detail: "Sold out",
        instance: "/orders/1",
        left: 0
      })
    }))

  it.each([
    [unauthorized({ challenge: "Basic realm=\"a\"" }), 401, "www-authenticate", "Basic realm=\"a\""],
    [methodNotAllowed({ allow: ["GET", "HEAD"] }), 405, "allow", "GET, HEAD"],
    [methodNotAllowed({ allow: [] }), 405, "allow", ""],
    [proxyAuthenticationRequired({ challenge: "Basic" }), 407, "proxy-authenticate", "Basic"],
    [upgradeRequired({ upgrade: ["websocket", "h2c"] }), 426, "upgrade", "websocket, h2c"]
  ])("%s has the field that its status must come with", (error, status, name, value) => {
    assert.deepStrictEqual([error.response.status, error.response.headers[name]], [status, value])
  })

  it("keeps the other fields beside that one", () => {
    const { headers } = methodNotAllowed({ allow: ["GET"], headers: { "X-A": "a", "allow": "none" } })
    assert.deepStrictEqual({ ...headers }, { "x-a": "a", "allow": "GET" })
  })

  it("is a tagged error with a message for the log", () => {
    const cause = new Error("why")
    const error = HttpException.badGateway({ detail: "No answer", cause })
    assert.isTrue(error instanceof Error && error instanceof Class)
    assert.deepStrictEqual([error._tag, error.message, error.cause], [
      "HttpException",
      "502 Bad Gateway: No answer",
      cause
    ])
    assert.strictEqual(HttpException.notFound().message, "404 Not Found")
    assert.isFalse("cause" in HttpException.notFound())
  })

  it.effect("ends an Effect, which is not a defect", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.gen(function*() {
        yield* make(418)
      }))
      assert.strictEqual(error.status, 418)
    }))

  it("is rendered once, when it is made", () => {
    const error = HttpException.gone()
    assert.strictEqual(error.response, error.response)
    assert.strictEqual(error[HttpServerRespondable.symbol](), error.response)
    assert.notInclude(Object.keys(error), "response")
  })

  it.each([200, 399, 600, 404.5, NaN])("throws on %d", (status) => {
    assert.throws(() => make(status), /is not an error; use 400 to 599/)
    assert.throws(() => schema(status), /is not an error; use 400 to 599/)
  })

  it.each([
    ["x-a", "a\r\nset-cookie: b"],
    ["x-a", "a\nb"],
    ["x-a", "a\0"],
    ["x-a", "€"],
    ["x a", "secret"],
    ["", "secret"]
  ])("throws on a field that cannot be sent, %j, and does not say its value", (name, value) => {
    assert.throws(() => make(400, { headers: { [name]: value } }), /the field ".*" cannot be sent \(RFC 9110/)
    try {
      make(400, { headers: { [name]: value } })
    } catch (error) {
      assert.notInclude(String(error), value)
    }
  })

  it("takes a field of any byte that a field may have", () => {
    assert.strictEqual(make(400, { headers: { "x-a": "\t ~\x80\xff" } }).response.headers["x-a"], "\t ~\x80\xff")
  })

  it.each(["Transfer-Encoding", "trailer"])("throws on %s, which would make it another message", (name) => {
    assert.throws(
      () => make(400, { headers: { [name]: "secret" } }),
      `HttpException: the field "${name.toLowerCase()}" is the server's: it frames the content`
    )
  })

  it("the length and the type of the content are its own", () => {
    const { headers } =
      make(400, { headers: { "Content-Length": "3", "content-type": "text/html", "x-a": "1" } }).response
    assert.deepStrictEqual({ ...headers }, {
      "content-type": "application/problem+json",
      "content-length": "36",
      "cache-control": "no-store",
      "x-a": "1"
    })
  })

  it("throws on an extension that is a member, or that JSON cannot say", () => {
    assert.throws(() => make(400, { extensions: { status: 1 } }), /"status" is a member of every problem/)
    assert.throws(() => make(400, { extensions: { big: 1n } }), TypeError)
  })
})

describe("HttpException.schema", () => {
  const of404 = schema(404)

  it("encodes its own status alone", () => {
    assert.deepStrictEqual(Schema.encodeSync(of404)(HttpException.notFound({ detail: "No", extensions: { a: 1 } })), {
      type: undefined,
      title: "Not Found",
      status: 404,
      detail: "No",
      instance: undefined,
      a: 1
    })
    assert.strictEqual(Schema.encodeEither(of404)(HttpException.gone())._tag, "Left")
  })

  it("decodes whatever problem, with the status of the schema", () => {
    const error = Schema.decodeSync(of404)({ title: "X", status: 500, detail: 7, type: "a:b", requestId: "1" })
    assert.deepStrictEqual(error.problem, {
      type: "a:b",
      title: "X",
      status: 404,
      detail: undefined,
      instance: undefined,
      requestId: "1"
    })
    assert.isUndefined(Schema.decodeSync(of404)({}).problem.type)
  })

  it.scoped("goes through an HttpApi and its client", () =>
    Effect.gen(function*() {
      class Missing extends Schema.TaggedError<Missing>()("Missing", { id: Schema.Number }) {}
      const missing = ProblemDetails.error(Missing, {
        status: 410,
        title: "Missing",
        detail: ({ id }) => `No note ${id}`
      })
      const api = HttpApi.make("api").add(
        HttpApiGroup.make("notes").add(
          HttpApiEndpoint.get("read", "/notes/:id").setPath(Schema.Struct({ id: Schema.NumberFromString }))
            .addSuccess(Schema.String).addError(of404).addError(missing)
        )
      )
      const group = HttpApiBuilder.group(api, "notes", (handlers) =>
        handlers.handle("read", ({ path: { id } }): Effect.Effect<string, Missing | HttpException.HttpException> =>
          id === 1
            ? Effect.fail(HttpException.notFound({ detail: "Not here", extensions: { a: 1 } }))
            : new Missing({ id })))
      const port = yield* listen(
        HttpApiBuilder.serve().pipe(
          Layer.provide(Layer.provide(HttpApiBuilder.api(api), group)),
          Layer.provide(Layer.mergeAll(HttpServer.layerContext, NodeContext.layer))
        )
      )
      const raw = yield* request(port, { path: "/notes/2" })
      assert.deepStrictEqual([raw.status, raw.headers["content-type"]], [410, "application/problem+json"])
      assert.deepStrictEqual(JSON.parse(raw.body), {
        title: "Missing",
        status: 410,
        detail: "No note 2",
        _tag: "Missing",
        id: 2
      })
      const client = yield* HttpApiClient.make(api, { baseUrl: `http://127.0.0.1:${port}` }).pipe(
        Effect.provide(NodeHttpClient.layerWithoutAgent.pipe(
          Layer.provide(NodeHttpClient.makeAgentLayer({ keepAlive: false }))
        ))
      )
      const first = yield* Effect.flip(client.notes.read({ path: { id: 1 } }))
      assert.isTrue(first instanceof Class && first.status === 404 && first.problem.a === 1)
      const second = yield* Effect.flip(client.notes.read({ path: { id: 2 } }))
      assert.isTrue(second instanceof Missing && second.id === 2)
    }))
})
