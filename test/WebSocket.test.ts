import {
  HttpApi,
  HttpApiBuilder,
  HttpApiSchema,
  type HttpApp,
  HttpLayerRouter,
  HttpRouter,
  HttpServer,
  HttpServerRequest,
  HttpServerResponse,
  Socket as PlatformSocket
} from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Clock,
  Context,
  Data,
  Deferred,
  Effect,
  Exit,
  FastCheck,
  Fiber,
  HashMap,
  Layer,
  Logger,
  Option,
  Schema,
  Scope,
  Stream,
  TestClock
} from "effect"
import {
  AccessLog,
  ExceptionHandlers,
  Forwarded,
  HttpException,
  Middleware,
  RequestId,
  Stack,
  WebSocket
} from "effect-middleware"
import * as Net from "node:net"
import { assertLinear } from "./internal/hostile.js"
import { answered } from "./utils/laws.js"
import { type Init, listen, request, send } from "./utils/TestApp.js"
import {
  accept,
  type Client,
  clients,
  closedOf,
  connect,
  handshake,
  opcode,
  print,
  raw,
  type RawClient
} from "./utils/webSocket.js"

const { WebSocketClose } = WebSocket

const valid: WebSocket.Facts = {
  method: "GET",
  connection: "Upgrade",
  upgrade: "websocket",
  version: "13",
  key: handshake["sec-websocket-key"],
  host: "example.com"
}

// --------------------------------------------------------------------------------------------------------- handshake

describe("policy", () => {
  const summary = (options: WebSocket.Options<WebSocket.PlainOrigins>, facts: Partial<WebSocket.Facts>) => {
    const decision = WebSocket.policy(options)({ ...valid, ...facts })
    return decision._tag === "Refuse"
      ? decision.reason
      : decision._tag === "Accept"
      ? `Accept ${decision.protocol ?? "nothing"}`
      : decision._tag
  }

  type Row = [
    rule: string,
    options: WebSocket.Options<WebSocket.PlainOrigins>,
    facts: Partial<WebSocket.Facts>,
    expected: string
  ]
  const table = (title: string, rows: Array<Row>) =>
    describe(title, () => {
      it.each(rows)("%s", (_, options, facts, expected) => assert.strictEqual(summary(options, facts), expected))
    })

  table("what asks for no WebSocket passes", [
    ["no Upgrade", {}, { upgrade: undefined }, "Pass"],
    ["another Upgrade", {}, { upgrade: "h2c" }, "Pass"],
    ["one that only contains the name", {}, { upgrade: "websockets" }, "Pass"],
    ["no Connection", {}, { connection: undefined }, "Pass"],
    ["a Connection that does not name it", {}, { connection: "keep-alive" }, "Pass"],
    ["one that only contains the name", {}, { connection: "keep-upgrade" }, "Pass"],
    ["HTTP/1.0", {}, { httpVersion: "1.0" }, "Pass"],
    [
      "whatever else is wrong",
      {},
      { upgrade: undefined, method: "POST", key: "x", origin: "https://evil.test" },
      "Pass"
    ]
  ])

  table("the handshake", [
    ["is as it has to be", {}, {}, "Accept nothing"],
    ["of HTTP/1.1, said", {}, { httpVersion: "1.1" }, "Accept nothing"],
    ["in any case", {}, { upgrade: "WebSocket", connection: "UPGRADE" }, "Accept nothing"],
    ["among others", {}, { upgrade: "h2c, websocket", connection: "keep-alive,\tUpgrade" }, "Accept nothing"],
    ["is GET", {}, { method: "POST" }, "method"],
    ["not HEAD", {}, { method: "HEAD" }, "method"],
    ["of version 13", {}, { version: "8" }, "version"],
    ["and no other number for it", {}, { version: "13.0" }, "version"],
    ["nor a list", {}, { version: "13, 8" }, "version"],
    ["nor none", {}, { version: undefined }, "version"],
    ["has a key", {}, { key: undefined }, "key"],
    ["of 16 bytes", {}, { key: "dGhlIHNhbXBsZSBub25j" }, "key"],
    ["and not of 17", {}, { key: "dGhlIHNhbXBsZSBub25jZTE=" }, "key"],
    ["in base64", {}, { key: "dGhlIHNhbXBsZSBub25jZ!==" }, "key"],
    ["one", {}, { key: `${handshake["sec-websocket-key"]}, ${handshake["sec-websocket-key"]}` }, "key"],
    ["is refused for the first of several", {}, { method: "POST", version: "8", key: "x" }, "method"],
    ["the second", {}, { version: "8", key: "x", protocols: "," }, "version"],
    ["the third", {}, { key: "x", protocols: ",", origin: "null" }, "key"],
    ["the fourth", {}, { protocols: ",", origin: "null" }, "protocol"],
    ["the fifth", {}, { origin: "null" }, "origin"]
  ])

  const protocols = ["chat.v2", "chat.v1"]
  table("the subprotocol", [
    ["is none where none is spoken", {}, { protocols: "chat.v1" }, "Accept nothing"],
    ["is none where none is offered", { protocols }, {}, "Accept nothing"],
    ["is none where none is common", { protocols }, { protocols: "mqtt, wamp" }, "Accept nothing"],
    ["is the one that is common", { protocols }, { protocols: "mqtt, chat.v2" }, "Accept chat.v2"],
    ["is the client's first of several", { protocols }, { protocols: "chat.v1, chat.v2" }, "Accept chat.v1"],
    ["has its case", { protocols }, { protocols: "Chat.v1" }, "Accept nothing"],
    ["is one of a list without spaces", { protocols }, { protocols: "mqtt,chat.v1" }, "Accept chat.v1"],
    ["or with tabs", { protocols }, { protocols: " mqtt\t,\tchat.v1 " }, "Accept chat.v1"],
    ["is not offered twice", { protocols }, { protocols: "chat.v1, chat.v1" }, "protocol"],
    ["nor empty", { protocols }, { protocols: "" }, "protocol"],
    ["nor between commas", { protocols }, { protocols: "chat.v1,,chat.v2" }, "protocol"],
    ["nor with spaces", { protocols }, { protocols: "chat v1" }, "protocol"],
    ["nor quoted", { protocols }, { protocols: "\"chat.v1\"" }, "protocol"],
    ["which is no matter of what is spoken", {}, { protocols: "," }, "protocol"],
    ["may be required", { protocols, protocolRequired: true }, { protocols: "mqtt" }, "protocol"],
    ["and then of everybody", { protocols, protocolRequired: true }, {}, "protocol"],
    ["and then is agreed", { protocols, protocolRequired: true }, { protocols: "chat.v1" }, "Accept chat.v1"]
  ])

  const list = ["https://app.example.org", "https://*.example.net", /https:\/\/pr-\d+\.example\.dev/]
  table("the origin", [
    ["is none of a client that is no browser", {}, { origin: undefined }, "Accept nothing"],
    ["the same", {}, { origin: "https://example.com" }, "Accept nothing"],
    ["the same by http, where nobody knows", {}, { origin: "http://example.com" }, "Accept nothing"],
    ["not by http, where https is known", {}, { origin: "http://example.com", secure: true }, "origin"],
    ["by https it is", {}, { origin: "https://example.com", secure: true }, "Accept nothing"],
    ["the same at a port", {}, { origin: "http://a.test:8080", host: "a.test:8080" }, "Accept nothing"],
    ["another", {}, { origin: "https://example.org" }, "origin"],
    ["one that ends alike", {}, { origin: "https://evil-example.com" }, "origin"],
    ["one that begins alike", {}, { origin: "https://example.com.evil.test" }, "origin"],
    ["a subdomain", {}, { origin: "https://a.example.com" }, "origin"],
    ["another port", {}, { origin: "https://example.com:8443" }, "origin"],
    ["null", {}, { origin: "null" }, "origin"],
    ["nothing", {}, { origin: "" }, "origin"],
    ["two", {}, { origin: "https://example.com, https://example.com" }, "origin"],
    ["one with a user", {}, { origin: "https://user@example.com" }, "origin"],
    ["one with the host as its user", {}, { origin: "https://example.com@evil.test" }, "origin"],
    ["the same, without a host", {}, { origin: "https://example.com", host: undefined }, "origin"],
    ["one of a list", { origins: list }, { origin: "https://app.example.org" }, "Accept nothing"],
    ["a subdomain of one", { origins: list }, { origin: "https://a.b.example.net" }, "Accept nothing"],
    ["one of a pattern", { origins: list }, { origin: "https://pr-7.example.dev" }, "Accept nothing"],
    ["which is the whole origin", { origins: list }, { origin: "https://pr-7.example.dev.evil.test" }, "origin"],
    ["none of a list, though the same", { origins: list }, { origin: "https://example.com" }, "origin"],
    ["the same, listed", { origins: ["same-origin", ...list] }, { origin: "https://example.com" }, "Accept nothing"],
    [
      "the same, listed, by http where https is known",
      { origins: ["same-origin", ...list] },
      { origin: "http://example.com", secure: true },
      "origin"
    ],
    ["beside it", { origins: ["same-origin", ...list] }, { origin: "https://app.example.org" }, "Accept nothing"],
    ["the same alone", { origins: ["same-origin"] }, { origin: "https://app.example.org" }, "origin"],
    ["null, listed", { origins: ["null"] }, { origin: "null" }, "Accept nothing"],
    ["every one", { origins: "*" }, { origin: "https://evil.test" }, "Accept nothing"],
    ["null too", { origins: "*" }, { origin: "null" }, "Accept nothing"],
    [
      "of a function",
      { origins: (origin) => origin === "https://a.test" },
      { origin: "https://a.test" },
      "Accept nothing"
    ],
    ["not of it", { origins: (origin) => origin === "https://a.test" }, { origin: "https://b.test" }, "origin"],
    ["which is not asked of null", { origins: () => true }, { origin: "null" }, "origin"],
    ["nor of what is none", { origins: () => true }, { origin: "https://a.test/path" }, "origin"],
    ["and has to say true", { origins: (() => "yes") as never }, { origin: "https://a.test" }, "origin"]
  ])

  it.each<[what: string, options: WebSocket.Options<WebSocket.PlainOrigins>, message: RegExp]>([
    [
      "no origins",
      { origins: [] },
      /^WebSocket: origins names none: list the origins to allow, or write "same-origin"$/
    ],
    [
      "an origin with a path",
      { origins: ["https://a.test/x"] },
      /^WebSocket: origins has "https:\/\/a\.test\/x": write/
    ],
    ["an origin alone", { origins: "https://a.test" as never }, /^WebSocket: origins names none/],
    [
      "a subprotocol with a space",
      { protocols: ["a b"] },
      /^WebSocket: protocols has "a b": write a name without spaces/
    ],
    ["one that is empty", { protocols: [""] }, /^WebSocket: protocols has "": /],
    ["none, required", { protocolRequired: true }, /^WebSocket: protocolRequired is true without protocols: list/]
  ])("throws on %s", (_, options, message) => {
    assert.throws(() => WebSocket.policy(options), message)
    assert.throws(() => WebSocket.middleware(options), message)
  })

  it("takes time in proportion to what was sent", () => {
    const decide = WebSocket.policy({ protocols, origins: list })
    for (const name of ["upgrade", "connection", "key", "protocols", "origin", "version"] as const) {
      assertLinear((text) => decide({ ...valid, [name]: text }))
    }
  })

  it("takes anything for a fact", () => {
    const decide = WebSocket.policy({ protocols, origins: ["same-origin"] })
    const text = FastCheck.option(FastCheck.string({ unit: "binary" }), { nil: undefined })
    FastCheck.assert(FastCheck.property(
      FastCheck.record({ connection: text, upgrade: text, version: text, key: text, protocols: text, origin: text }),
      (facts) => {
        assert.include(["Pass", "Accept", "Refuse"], decide({ ...valid, ...facts })._tag)
      }
    ))
  })
})

const origin = "https://app.example.org"
/** Says what was agreed, for requests that open nothing. */
const agreed = Effect.map(
  WebSocket.Handshake,
  Option.match({
    onNone: () => HttpServerResponse.text("none"),
    onSome: ({ protocol }) => HttpServerResponse.text(`handshake ${protocol}`)
  })
)

describe("middleware", () => {
  const ask = (headers: Record<string, string> = {}, options: WebSocket.Options = {}, init: Init = {}) =>
    send(agreed.pipe(WebSocket.middleware(options) as never) as never, {
      ...init,
      headers: { ...handshake, host: "example.com", ...headers }
    })

  it.effect("lets other requests alone, and tells of what was agreed", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* send(agreed.pipe(WebSocket.middleware()))).body, "none")
      assert.strictEqual((yield* send(agreed.pipe(WebSocket.middleware()), { method: "POST" })).body, "none")
      assert.strictEqual((yield* ask({ upgrade: "h2c" })).body, "none")
      assert.strictEqual((yield* ask({ connection: "keep-alive" })).body, "none")
      assert.strictEqual((yield* ask()).body, "handshake undefined")
      const protocols = { protocols: ["chat"] }
      assert.strictEqual((yield* ask({ "sec-websocket-protocol": "chat" }, protocols)).body, "handshake chat")
    }))

  it.effect.each<[what: string, headers: Record<string, string>, init: Init, status: number, detail: string]>([
    ["another method", {}, { method: "POST" }, 405, "A WebSocket is opened by GET"],
    ["another version", { "sec-websocket-version": "8" }, {}, 426, "This resource is a WebSocket of version 13"],
    ["another key", { "sec-websocket-key": "x" }, {}, 400, "The handshake has no valid Sec-WebSocket-Key"],
    ["no list", { "sec-websocket-protocol": "," }, {}, 400, "The handshake offers no valid Sec-WebSocket-Protocol"],
    ["another origin", { origin: "https://evil.test" }, {}, 403, "The origin of the request is not allowed"]
  ])("refuses %s with a problem", ([, headers, init, status, detail]) =>
    Effect.gen(function*() {
      const reply = yield* ask(headers, {}, init)
      const { title: _, ...problem } = JSON.parse(reply.body)
      assert.deepStrictEqual([reply.status, problem], [status, { status, detail }])
      assert.deepInclude(reply.headers, { "content-type": "application/problem+json", "cache-control": "no-store" })
      for (const value of Object.values(headers)) {
        if (value.length > 1) assert.notInclude(JSON.stringify(reply), value)
      }
      assert.strictEqual(reply.headers["allow"], status === 405 ? "GET" : undefined)
      assert.strictEqual(reply.headers["upgrade"], status === 426 ? "websocket" : undefined)
      assert.strictEqual(reply.headers["connection"], status === 426 ? "upgrade" : undefined)
      assert.strictEqual(reply.headers["sec-websocket-version"], status === 426 ? "13" : undefined)
    }))

  it("its failures are tagged, and say what they are", () => {
    const failures = [
      new WebSocket.MethodNotAllowed(),
      new WebSocket.UpgradeRequired({ reason: "upgrade" }),
      new WebSocket.UpgradeRequired({ reason: "version" }),
      new WebSocket.InvalidHandshake({ reason: "key" }),
      new WebSocket.InvalidHandshake({ reason: "protocol" })
    ]
    assert.deepStrictEqual(failures.map(({ _tag, message }) => `${_tag}: ${message}`), [
      "MethodNotAllowed: A WebSocket is opened by GET",
      "UpgradeRequired: The request asks for no WebSocket",
      "UpgradeRequired: The WebSocket is not of version 13",
      "InvalidHandshake: The handshake of the WebSocket has no valid key",
      "InvalidHandshake: The handshake of the WebSocket has no valid subprotocol"
    ])
    assert.deepStrictEqual(
      [WebSocket.MethodNotAllowed, WebSocket.UpgradeRequired, WebSocket.InvalidHandshake].map((error) =>
        HttpApiSchema.getStatusError(error)
      ),
      [405, 426, 400]
    )
  })

  it.effect("asks a function with the request, or an Effect with services, once and of a handshake alone", () =>
    Effect.gen(function*() {
      class Allowed extends Context.Tag("test/Allowed")<Allowed, string>() {}
      const asked: Array<string> = []
      const middleware = WebSocket.middleware({
        origins: (origin, request) =>
          Effect.map(Allowed, (allowed) => {
            asked.push(`${origin} ${request.url}`)
            return origin === allowed
          })
      })
      const app = agreed.pipe(middleware, Effect.provideService(Allowed, origin))
      const ask = (headers: Record<string, string>) => Effect.map(send(app, { headers }), ({ status }) => status)
      assert.strictEqual(yield* ask({ ...handshake, origin }), 200)
      assert.strictEqual(yield* ask({ ...handshake, origin: "https://evil.test" }), 403)
      assert.strictEqual(yield* ask({ ...handshake, origin: "null" }), 403)
      assert.strictEqual(yield* ask(handshake), 200)
      assert.strictEqual(yield* ask({ ...handshake, "sec-websocket-key": "", origin }), 400)
      assert.strictEqual(yield* ask({ origin }), 200)
      assert.deepStrictEqual(
        asked,
        [`${origin} http://localhost/`, "https://evil.test http://localhost/"].map((text) =>
          text.replace("http://localhost", "")
        )
      )
    }))

  it.effect("asks a plain function", () =>
    Effect.gen(function*() {
      const options: WebSocket.Options = { origins: (origin, { url }) => origin === "https://a.test" && url === "/" }
      assert.strictEqual((yield* ask({ origin: "https://a.test" }, options)).status, 200)
      assert.strictEqual((yield* ask({ origin: "https://b.test" }, options)).status, 403)
      assert.strictEqual((yield* ask({ origin }, { origins: () => Effect.succeed("yes") as never })).status, 403)
    }))

  it.effect("a failing origin is the function's own failure", () =>
    Effect.gen(function*() {
      class Down extends Data.TaggedError("Down")<{}> {}
      const app = agreed.pipe(
        WebSocket.middleware({ origins: () => new Down() }),
        Effect.catchTag("Down", () => HttpServerResponse.empty({ status: 503 }))
      )
      assert.strictEqual((yield* send(app, { headers: { ...handshake, origin } })).status, 503)
    }))

  it.effect("knows the host and the scheme of the client where Forwarded does", () =>
    Effect.gen(function*() {
      const stack = Stack.make(Forwarded.middleware({ trust: { hops: 1 } }), WebSocket.middleware())
      const ask = (origin: string, proto: string, host = "example.com") =>
        Effect.map(
          send(agreed.pipe(stack), {
            headers: {
              ...handshake,
              "host": "10.0.0.1",
              "x-forwarded-for": "192.0.2.1",
              "x-forwarded-proto": proto,
              "x-forwarded-host": host,
              origin
            }
          }),
          ({ status }) => status
        )
      assert.strictEqual(yield* ask("https://example.com", "https"), 200)
      assert.strictEqual(yield* ask("http://example.com", "https"), 403)
      assert.strictEqual(yield* ask("http://example.com", "http"), 200)
      assert.strictEqual(yield* ask("https://example.com", "http"), 200)
      assert.strictEqual(yield* ask("http://10.0.0.1", "http"), 403)
      assert.strictEqual(yield* ask("http://example.com:81", "http", "example.com:81"), 200)
    }))

  it("has a name", () => {
    assert.strictEqual(WebSocket.middleware().name, "WebSocket")
    assert.strictEqual(WebSocket.middleware({ name: "Chat" }).name, "Chat")
  })
})

// ------------------------------------------------------------------------------------------------- over a socket, 101

const echo = (socket: WebSocket.Socket) => Stream.runForEach(socket.messages, socket.send)

const server = (
  handler: (socket: WebSocket.Socket) => Effect.Effect<unknown, unknown>,
  options: WebSocket.HandleOptions = {},
  checks: WebSocket.Options = {}
) =>
  listen(Stack.serve(
    WebSocket.handle(handler, options),
    WebSocket.middleware(checks) as Middleware.Middleware<WebSocket.Handshake>
  ))

describe("the handshake, over a socket", () => {
  it.scoped("is answered by RFC 6455", () =>
    Effect.gen(function*() {
      const port = yield* server(echo)
      const { headers, status } = yield* reached(
        raw(port, { "sec-websocket-extensions": "permessage-deflate; client_max_window_bits" })
      )
      assert.strictEqual(status, 101)
      assert.deepStrictEqual(headers, {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-accept": accept
      })
    }))

  it.scoped("a list in Upgrade is read, and the request keeps what it said", () =>
    Effect.gen(function*() {
      const seen = yield* Deferred.make<ReadonlyArray<string | undefined>>()
      const said = Effect.flatMap(
        HttpServerRequest.HttpServerRequest,
        ({ headers }) => Deferred.succeed(seen, [headers["upgrade"], headers["sec-websocket-protocol"]])
      )
      const app = WebSocket.handle((socket) => Effect.zipRight(said, echo(socket)))
      const port = yield* listen(Stack.serve(app, WebSocket.middleware({ protocols: ["b", "c"] })))
      const client = yield* reached(raw(port, { upgrade: "foo, WebSocket", "sec-websocket-protocol": "a, b, c" }))
      assert.deepStrictEqual([client.status, client.headers["sec-websocket-protocol"]], [101, "b"])
      assert.deepStrictEqual(yield* answered(Deferred.await(seen)), ["foo, WebSocket", "a, b, c"])
    }))

  it.scoped("what cannot be is refused over the wire, and the connection ends", () =>
    Effect.gen(function*() {
      const port = yield* server(echo, {}, { protocols: ["chat"], protocolRequired: true })
      const status = (headers: Record<string, string | Array<string>>, init: { readonly method?: string } = {}) =>
        reached(Effect.flatMap(raw(port, headers, init), ({ ended, status }) => Effect.as(ended, status)))
      const offer = { "sec-websocket-protocol": "chat" }
      assert.strictEqual(yield* status({ ...offer, "sec-websocket-version": "8" }), 426)
      assert.strictEqual(yield* status({ ...offer, "sec-websocket-key": "" }), 400)
      assert.strictEqual(
        yield* status({
          ...offer,
          "sec-websocket-key": [handshake["sec-websocket-key"], handshake["sec-websocket-key"]]
        }),
        400
      )
      assert.strictEqual(yield* status({ "sec-websocket-protocol": "chat, chat" }), 400)
      assert.strictEqual(yield* status({ "sec-websocket-protocol": "mqtt" }), 400)
      assert.strictEqual(yield* status({}), 400)
      assert.strictEqual(yield* status({ ...offer, origin: "https://evil.test" }), 403)
      assert.strictEqual(yield* status(offer, { method: "POST" }), 405)
    }))

  it.scoped("a request that asks for no WebSocket is told to", () =>
    Effect.gen(function*() {
      const port = yield* server(echo)
      const reply = yield* request(port)
      assert.strictEqual(reply.status, 426)
      assert.deepInclude(reply.headers, { upgrade: "websocket", connection: "upgrade", "sec-websocket-version": "13" })
    }))

  it.scoped("what was received is checked, whatever view of the request there is", () =>
    Effect.gen(function*() {
      const ended = yield* Deferred.make<void>()
      const view = Middleware.make({
        name: "View",
        request: (exchange) => exchange.deriveRequest({ method: "GET", headers: handshake as never })
      })
      const app = WebSocket.handle(echo).pipe(
        Stack.make(view, WebSocket.middleware()),
        Effect.onExit(() => Deferred.succeed(ended, undefined))
      )
      const port = yield* listen(HttpServer.serve(app))
      assert.strictEqual((yield* reached(raw(port, {}, { method: "POST" }))).status, 405)
      // ws would refuse too, and tell nobody
      yield* answered(Deferred.await(ended))
      assert.strictEqual((yield* reached(raw(port, { "sec-websocket-key": "x" }))).status, 400)
    }))

  it.scoped("a refusal is edited and handled like any other", () =>
    Effect.gen(function*() {
      const stack = Stack.make(
        RequestId.middleware(),
        ExceptionHandlers.byTag({ OriginNotAllowed: () => HttpServerResponse.empty({ status: 418 }) }),
        WebSocket.middleware()
      )
      const port = yield* listen(
        Stack.serve(WebSocket.handle(echo), stack)
      )
      const client = yield* reached(raw(port, { origin: "https://evil.test" }))
      assert.deepStrictEqual([client.status, typeof client.headers["x-request-id"]], [418, "string"])
    }))

  it.scoped.each<[what: string, leave: (client: Net.Socket) => void]>([
    ["has ended its side", (client) => client.end()],
    ["has reset the connection", (client) => client.resetAndDestroy()]
  ])("a client that %s before the 101 ends the app, and harms nobody", ([, leave]) =>
    Effect.gen(function*() {
      const asked = yield* Deferred.make<Server>()
      const gate = yield* Effect.makeLatch(false)
      const ended = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
      const app = WebSocket.handle(echo).pipe(
        WebSocket.middleware({
          origins: (_, { source }) =>
            Effect.as(Effect.zipRight(Deferred.succeed(asked, source as Server), gate.await), true)
        }),
        Effect.onExit((exit) => Deferred.succeed(ended, exit))
      )
      const port = yield* listen(HttpServer.serve(app))
      const before = yield* roots
      const client = yield* Effect.acquireRelease(
        Effect.sync(() => Net.connect(port, "127.0.0.1").on("error", () => {})),
        (client) => Effect.sync(() => client.destroy())
      )
      client.write(
        `GET / HTTP/1.1\r\nHost: a\r\nOrigin: https://a.test\r\n${
          Object.entries(handshake).map(([name, value]) => `${name}: ${value}\r\n`).join("")
        }\r\n`
      )
      const { socket } = yield* answered(Deferred.await(asked))
      // without a listener of ours the reset would end this process
      assert.isAbove(socket.listenerCount("error"), 0)
      leave(client)
      yield* answered(until(() => !socket.readable))
      yield* gate.open
      assert.isTrue(Exit.isInterrupted(yield* answered(Deferred.await(ended))))
      yield* answered(until(() => socket.destroyed))
      yield* answered(untilRoots(before))
    }))

  describe.each(clients)("%s", (_, make) => {
    it.scoped("agrees on a subprotocol, and knows it", () =>
      Effect.gen(function*() {
        const port = yield* server(({ protocol, send }) => send(String(protocol)), {}, { protocols: ["v2", "v1"] })
        const of = (protocols: Array<string>) =>
          answered(
            Effect.gen(function*() {
              const client = yield* connect(port, { make, protocols })
              return [client.protocol, yield* client.next]
            }).pipe(Effect.scoped, Effect.orElseSucceed(() => "not opened"))
          )
        assert.deepStrictEqual(yield* of(["v0", "v1", "v2"]), ["v1", "v1"])
        assert.deepStrictEqual(yield* of(["v2"]), ["v2", "v2"])
        assert.deepStrictEqual(yield* of([]), ["", "undefined"])
        // it has asked for one
        assert.deepStrictEqual(yield* of(["v0"]), "not opened")
      }))

    it.scoped("sends and receives text and bytes, in order", () =>
      Effect.gen(function*() {
        const port = yield* server(echo)
        const client = yield* connect(port, { make })
        const messages = ["a", "", "\u{1F600}", new Uint8Array([0, 255]), new Uint8Array(0), "b".repeat(70_000), "z"]
        for (const message of messages) client.send(message)
        for (const message of messages) assert.deepStrictEqual(yield* answered(client.next), message)
      }))

    it.scoped("sees how it ends", () =>
      Effect.gen(function*() {
        const port = yield* server(() => new WebSocketClose({ code: 4321, reason: "four, three, two, one" }))
        const client = yield* connect(port, { make })
        assert.deepStrictEqual(yield* answered(client.closed), { code: 4321, reason: "four, three, two, one" })
      }))

    it.scoped("ends itself", () =>
      Effect.gen(function*() {
        const ended = yield* Deferred.make<string>()
        const port = yield* server(({ messages }) =>
          Stream.mkString(messages as Stream.Stream<string>).pipe(
            Effect.flatMap((text) => Deferred.succeed(ended, text))
          )
        )
        const client = yield* connect(port, { make })
        client.send("a")
        client.send("b")
        client.close(3456, "bye")
        assert.deepStrictEqual(yield* answered(client.closed), { code: 3456, reason: "bye" })
        assert.strictEqual(yield* answered(Deferred.await(ended)), "ab")
      }))
  })

  it.effect("a server that can open none says so", () =>
    Effect.gen(function*() {
      const app = WebSocket.handle(echo).pipe(WebSocket.middleware())
      const seen: Array<unknown> = []
      const caught = Effect.catchAllDefect(app, (defect) => {
        seen.push(defect)
        return HttpServerResponse.empty({ status: 500 })
      })
      assert.strictEqual((yield* send(caught, { headers: handshake })).status, 500)
      assert.match(
        String(seen[0]),
        /^Error: WebSocket: this server cannot open one; serve the app with NodeHttpServer$/
      )
    }))
})

// ------------------------------------------------------------------------------------------------------------ the end

/** Lets the test's clock run until the effect ends. */
const passing = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.raceFirst(effect, Effect.forever(Effect.zipRight(turns(10), TestClock.adjust("1 second"))))

/** What is logged while the effect runs, from Info on: level, message and the first line of the cause. */
const logging = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const lines: Array<string> = []
    const logger = Logger.make(({ cause, logLevel, message }) => {
      const [line = ""] = Cause.pretty(cause).split("\n")
      lines.push([logLevel.label, ...[message].flat(), ...line === "" ? [] : [line]].join(" | "))
    })
    return Effect.map(
      Effect.provide(effect, Logger.replace(Logger.defaultLogger, logger)),
      (value) => [value, lines] as const
    )
  })

class Unauthenticated extends Schema.TaggedError<Unauthenticated>()(
  "Unauthenticated",
  {},
  HttpApiSchema.annotations({ status: 401 })
) {}
class NotPermitted extends Schema.TaggedError<NotPermitted>()(
  "NotPermitted",
  {},
  HttpApiSchema.annotations({ status: 403 })
) {}
class TooSlow extends Schema.TaggedError<TooSlow>()("TooSlow", {}, HttpApiSchema.annotations({ status: 408 })) {}
class TooLarge extends Schema.TaggedError<TooLarge>()("TooLarge", {}, HttpApiSchema.annotations({ status: 413 })) {}
class Missing extends Schema.TaggedError<Missing>()("Missing", {}, HttpApiSchema.annotations({ status: 404 })) {}
class Secret extends Data.TaggedError("Secret")<{ readonly message: string }> {}
class Plain extends Data.TaggedError("Plain")<{ readonly to: string }> {}

const failed = "ERROR | The handler of a WebSocket failed"
const secret = new Secret({ message: "the password is hunter2" })
const closeWith = (code: 1000 | 1001 | 1002 | 1003 | 1007 | 1008 | 1009 | 1011 | 1012 | 1013 | 1014, reason?: string) =>
  new WebSocketClose({ code, reason })

interface Ending {
  readonly handler: (socket: WebSocket.Socket) => Effect.Effect<unknown, unknown>
  readonly options?: WebSocket.HandleOptions
  readonly client?: (client: Client) => void
  readonly seen: readonly [code: number, reason: string]
  readonly logged?: ReadonlyArray<string>
}

describe("what the client sees, and the log", () => {
  const rows: ReadonlyArray<readonly [what: string, ending: Ending]> = [
    ["the handler ends", { handler: () => Effect.void, seen: [1000, ""] }],
    ["it ends at the end of what was sent", {
      handler: (socket) => Stream.runDrain(Stream.take(socket.messages, 1)),
      client: (client) => client.send("x"),
      seen: [1000, ""]
    }],
    ["it fails with a close", { handler: () => closeWith(1008, "No swearing"), seen: [1008, "No swearing"] }],
    ...([1000, 1001, 1002, 1003, 1007, 1009, 1011, 1012, 1013, 1014] as const).map((code) =>
      [`a close with ${code}`, { handler: () => closeWith(code), seen: [code, ""] }] as const
    ),
    ["a close of its own", {
      handler: () => new WebSocketClose({ code: 4999, reason: "\u00e9\u{1F600}" }),
      seen: [4999, "\u00e9\u{1F600}"]
    }],
    ["a close under a span", {
      handler: () => Effect.withSpan(closeWith(1013, "Busy"), "inner"),
      seen: [1013, "Busy"]
    }],
    ["a reason that is too long", {
      handler: () => closeWith(1008, "\u{1F600}".repeat(40)),
      seen: [1008, "\u{1F600}".repeat(30)]
    }],
    ["an error of status 401", { handler: () => new Unauthenticated(), seen: [3000, ""] }],
    ["of status 403", { handler: () => new NotPermitted(), seen: [3003, ""] }],
    ["of status 408", { handler: () => new TooSlow(), seen: [3008, ""] }],
    ["of status 413", { handler: () => new TooLarge(), seen: [1009, ""] }],
    ["of status 403, under a span", {
      handler: () => Effect.withSpan(new NotPermitted(), "inner"),
      seen: [3003, ""]
    }],
    ["an HttpException of status 401", { handler: () => HttpException.make(401), seen: [3000, ""] }],
    ["of status 403", { handler: () => HttpException.make(403, { detail: "hunter2" }), seen: [3003, ""] }],
    ["of status 404", {
      handler: () => HttpException.notFound(),
      seen: [1011, ""],
      logged: [`${failed} | HttpException: 404 Not Found`]
    }],
    ["of another status", { handler: () => new Missing(), seen: [1011, ""], logged: [`${failed} | Missing`] }],
    ["a failure that nobody has mapped", {
      handler: () => secret,
      seen: [1011, ""],
      logged: [`${failed} | Secret: the password is hunter2`]
    }],
    ["a failure that is no object", {
      handler: () => Effect.fail("hunter2"),
      seen: [1011, ""],
      logged: [`${failed} | Error: hunter2`]
    }],
    ["a failure that is nothing", {
      handler: () => Effect.fail(null),
      seen: [1011, ""],
      logged: [`${failed} | Error: null`]
    }],
    ["a failure mapped by its tag", {
      handler: () => Effect.fail(secret).pipe(WebSocket.closeByTag({ Secret: closeWith(1008, "No") })),
      seen: [1008, "No"]
    }],
    ["by a function", {
      handler: () =>
        Effect.fail(new Plain({ to: "eu" })).pipe(
          WebSocket.closeByTag({ Plain: ({ to }) => new WebSocketClose({ code: 4001, reason: to }) })
        ),
      seen: [4001, "eu"]
    }],
    ["by a function that throws", {
      handler: () =>
        Effect.fail(new Plain({ to: "eu" })).pipe(
          WebSocket.closeByTag({ Plain: () => new WebSocketClose({ code: 1006 as number }) })
        ),
      seen: [1011, ""],
      logged: [
        `${failed} | TypeError: WebSocket: 1006 is no code that a server may send: write one of 4000 to 4999, ` +
        "which are yours, or a CloseCode"
      ]
    }],
    ["a defect", {
      handler: () => Effect.dieMessage("hunter2"),
      seen: [1011, ""],
      logged: [`${failed} | RuntimeException: hunter2`]
    }],
    ["a handler that throws", {
      handler: () => {
        throw new Error("hunter2")
      },
      seen: [1011, ""],
      logged: [`${failed} | Error: hunter2`]
    }],
    ["a close, and a finalizer that dies", {
      handler: () => Effect.zipRight(Effect.addFinalizer(() => Effect.dieMessage("hunter2")), closeWith(1008)) as never,
      seen: [1011, ""],
      logged: [failed]
    }],
    ["a response in the place of a failure", {
      handler: () => Effect.fail(HttpServerResponse.empty({ status: 403 })),
      seen: [1011, ""],
      logged: [failed]
    }],
    ["a handler that interrupts itself", { handler: () => Effect.interrupt, seen: [1001, ""] }],
    ["a message that is too long", {
      handler: () => Effect.never,
      options: { maxMessageSize: 4 },
      client: (client) => client.send("12345"),
      seen: [1009, ""]
    }],
    ["JSON that is none", {
      handler: (socket) =>
        Stream.runDrain(WebSocket.json(socket, { receive: Schema.Unknown, send: Schema.Unknown }).messages),
      client: (client) => client.send("{"),
      seen: [1007, ""]
    }],
    ["JSON of another kind", {
      handler: (socket) =>
        Stream.runDrain(WebSocket.json(socket, { receive: Schema.Number, send: Schema.Unknown }).messages),
      client: (client) => client.send("\"1\""),
      seen: [1007, ""]
    }],
    ["bytes where JSON is spoken", {
      handler: (socket) =>
        Stream.runDrain(WebSocket.json(socket, { receive: Schema.Number, send: Schema.Unknown }).messages),
      client: (client) => client.send(new Uint8Array([49])),
      seen: [1003, ""]
    }],
    ["a value that JSON cannot say", {
      handler: (socket) => WebSocket.json(socket, { receive: Schema.Number, send: Schema.Int }).send(0.5),
      seen: [1011, ""],
      logged: [`${failed} | `]
    }],
    ["the client closes", {
      handler: (socket) => Stream.runDrain(socket.messages),
      client: (client) => client.close(3999, "done"),
      seen: [3999, "done"]
    }],
    ["it closes, and the handler then fails", {
      handler: (socket) => Effect.zipRight(Stream.runDrain(socket.messages), closeWith(1008)),
      client: (client) => client.close(3999, "done"),
      seen: [3999, "done"]
    }],
    ["it closes, and the handler then dies", {
      handler: (socket) => Effect.zipRight(Stream.runDrain(socket.messages), Effect.dieMessage("late")),
      client: (client) => client.close(1000, "done"),
      seen: [1000, "done"],
      logged: [`${failed} | RuntimeException: late`]
    }]
  ]
  it.scoped.each(rows)(
    "%s",
    ([, { client: act, handler, logged = [], options, seen: [code, reason] }]) =>
      Effect.gen(function*() {
        const done = yield* Deferred.make<void>()
        const [closed, lines] = yield* logging(Effect.gen(function*() {
          const app = WebSocket.handle(handler, options).pipe(
            Effect.onExit(() => Deferred.succeed(done, undefined))
          )
          const port = yield* listen(Stack.serve(app, WebSocket.middleware()))
          const client = yield* connect(port)
          act?.(client)
          const closed = yield* answered(client.closed)
          yield* answered(Deferred.await(done))
          return closed
        }))
        const cut = lines.map((line, index) => line.slice(0, logged[index]?.length))
        assert.deepStrictEqual([closed, cut], [{ code, reason }, logged])
      })
  )

  it.scoped("the server shuts down: 1001, and the handler's scope is closed before", () =>
    Effect.gen(function*() {
      const [events, lines] = yield* logging(Effect.gen(function*() {
        const events: Array<string> = []
        const scope = yield* Scope.make()
        const port = yield* Scope.extend(
          server((socket) =>
            Effect.scoped(Effect.gen(function*() {
              yield* Effect.addFinalizer(() => Effect.sync(() => events.push("finalizer")))
              yield* socket.send("ready")
              yield* Effect.never
            }))
          ),
          scope
        )
        const both = [yield* connect(port), yield* connect(port)]
        for (const { next } of both) yield* answered(next)
        const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
        for (const { closed } of both) {
          const { code, reason } = yield* answered(closed)
          events.push(`${code}${reason}`)
        }
        yield* answered(Fiber.join(closing))
        return events
      }))
      assert.deepStrictEqual([events, lines], [["finalizer", "finalizer", "1001", "1001"], []])
    }))

  it.scoped("a client that does not answer the close is cut off after its grace, and keeps no server up", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const port = yield* Scope.extend(server((socket) => Effect.zipRight(socket.send("ready"), Effect.never)), scope)
      const client = yield* raw(port)
      yield* answered(client.frame)
      const before = yield* Clock.currentTimeMillis
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      assert.deepStrictEqual(closedOf(yield* answered(client.frame)), { code: 1001, reason: "" })
      yield* answered(passing(Fiber.join(closing)))
      yield* answered(client.ended)
      assert.isAtLeast((yield* Clock.currentTimeMillis) - before, 5000)
    }))
})

// ------------------------------------------------------------------------------------------------------------ limits

/** A message in frames of one byte each. */
const fragmented = (client: RawClient, text: string) =>
  text.split("").forEach((character, index) =>
    client.send(index === 0 ? opcode.text : opcode.continuation, character, index === text.length - 1)
  )

describe("the longest message", () => {
  it.scoped.each<[what: string, message: string | Uint8Array]>([
    ["text", "12345"],
    ["text of fewer characters", "\u00e9\u00e9\u00e9"],
    ["bytes", new Uint8Array(5)]
  ])("has as many bytes as it says: %s", ([, message]) =>
    Effect.gen(function*() {
      const bytes = Buffer.from(message as string).length
      const of = (maxMessageSize: number) =>
        Effect.scoped(Effect.gen(function*() {
          const port = yield* server((socket) => Effect.zipRight(echo(socket), Effect.never), { maxMessageSize })
          const client = yield* connect(port)
          client.send(message)
          return yield* answered(Effect.raceFirst(client.next, Effect.map(client.closed, ({ code }) => code)))
        }))
      assert.deepStrictEqual(yield* of(bytes), message)
      assert.strictEqual(yield* of(bytes - 1), 1009)
    }))

  it.scoped("is a MiB by default", () =>
    Effect.gen(function*() {
      const port = yield* server((socket) =>
        Stream.runForEach(socket.messages, ({ length }) => socket.send(`${length}`))
      )
      const client = yield* connect(port)
      client.send(new Uint8Array(2 ** 20))
      assert.strictEqual(yield* answered(client.next), `${2 ** 20}`)
      client.send(new Uint8Array(2 ** 20 + 1))
      assert.deepStrictEqual(yield* answered(client.closed), { code: 1009, reason: "" })
    }))

  it.scoped("is that of all its fragments, and refused before the last", () =>
    Effect.gen(function*() {
      const port = yield* server(echo, { maxMessageSize: 4 })
      const client = yield* raw(port)
      fragmented(client, "1234")
      assert.strictEqual((yield* answered(client.frame)).payload.toString(), "1234")
      client.send(opcode.text, "123", false)
      client.send(opcode.continuation, "45", false)
      assert.deepStrictEqual(closedOf(yield* answered(client.frame)), { code: 1009, reason: "" })
    }))

  it.scoped("is refused by its announcement: nothing of it is waited for", () =>
    Effect.gen(function*() {
      const interrupted = yield* Deferred.make<void>()
      const port = yield* server(() => Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined)))
      const client = yield* raw(port)
      client.socket.write(print(opcode.binary, Buffer.alloc(2 ** 20 + 1)).subarray(0, 14))
      assert.deepStrictEqual(closedOf(yield* answered(client.frame)), { code: 1009, reason: "" })
      yield* answered(Deferred.await(interrupted))
    }))
})

describe("a client that breaks the protocol", () => {
  it.scoped.each<[what: string, act: (client: RawClient) => void, code: number]>([
    ["text that is no UTF-8", (client) => client.send(opcode.text, new Uint8Array([0xff])), 1007],
    ["an opcode that is none", (client) => client.send(3, "x"), 1002],
    ["a frame that is not masked", (client) => client.socket.write(Buffer.from([0x81, 1, 65])), 1002],
    ["a close code that must not be sent", (client) => client.send(opcode.close, new Uint8Array([3, 238])), 1002]
  ])("%s: the handler is interrupted at once", ([, act, code]) =>
    Effect.gen(function*() {
      const interrupted = yield* Deferred.make<void>()
      const [, lines] = yield* logging(Effect.gen(function*() {
        const port = yield* server(({ send }) =>
          Effect.zipRight(send("ready"), Effect.never).pipe(
            Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
          )
        )
        const client = yield* raw(port)
        yield* answered(client.frame)
        act(client)
        assert.deepStrictEqual(closedOf(yield* answered(client.frame)), { code, reason: "" })
        yield* answered(Deferred.await(interrupted))
      }))
      assert.deepStrictEqual(lines, [])
    }))

  it.scoped("a connection that is lost: so it is", () =>
    Effect.gen(function*() {
      const interrupted = yield* Deferred.make<void>()
      const [, lines] = yield* logging(Effect.gen(function*() {
        const port = yield* server(({ send }) =>
          Effect.zipRight(send("ready"), Effect.never).pipe(
            Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
          )
        )
        const client = yield* raw(port)
        yield* answered(client.frame)
        client.socket.resetAndDestroy()
        yield* answered(Deferred.await(interrupted))
      }))
      assert.deepStrictEqual(lines, [])
    }))
})

describe("many sockets", () => {
  it.scoped("that are cut leave nothing behind", () =>
    Effect.gen(function*() {
      let [running, interrupted] = [0, 0]
      const port = yield* server((socket) =>
        Effect.suspend(() => {
          running++
          return Effect.onInterrupt(Effect.zipRight(echo(socket), Effect.never), () => Effect.sync(() => interrupted++))
        })
      )
      const before = yield* roots
      const all = yield* reached(Effect.forEach(Array.from({ length: 100 }), () => raw(port), { concurrency: 20 }))
      yield* answered(until(() => running === 100))
      for (const { socket } of all) socket.resetAndDestroy()
      yield* answered(until(() => interrupted === 100))
      yield* answered(untilRoots(before))
    }))
})

describe("backpressure", () => {
  it.scoped("a handler that ends before it has read all sees the close of the client", () =>
    Effect.gen(function*() {
      const done = yield* Deferred.make<void>()
      const app = WebSocket.handle((socket) => Stream.runHead(socket.messages), { buffer: 2 }).pipe(
        Effect.onExit(() => Deferred.succeed(done, undefined))
      )
      const port = yield* listen(Stack.serve(app, WebSocket.middleware()))
      const client = yield* raw(port)
      for (let i = 0; i < 100; i++) client.send(opcode.text, "x")
      assert.deepStrictEqual(closedOf(yield* answered(client.frame)), { code: 1000, reason: "" })
      client.send(opcode.close, new Uint8Array([3, 232]))
      yield* answered(Deferred.await(done))
    }))

  it.scoped("who reads one message has not read the next", () =>
    Effect.gen(function*() {
      const port = yield* server((socket) =>
        Effect.gen(function*() {
          const first = yield* Stream.runHead(socket.messages)
          const rest = yield* Stream.runCollect(Stream.take(socket.messages, 2))
          yield* socket.send([...first.pipe(Option.toArray), ...rest].join())
        })
      )
      const client = yield* raw(port)
      client.socket.write(Buffer.concat(["a", "b", "c"].map((text) => print(opcode.text, Buffer.from(text)))))
      assert.strictEqual((yield* answered(client.frame)).payload.toString(), "a,b,c")
    }))

  it.scoped("a reader that is behind: the connection is not read from until it has caught up", () =>
    Effect.gen(function*() {
      const gate = yield* Effect.makeLatch(false)
      const total = 400
      const message = "x".repeat(2 ** 16)
      const port = yield* server((socket) =>
        socket.messages.pipe(
          Stream.mapEffect((text) => Effect.as(gate.await, text.length)),
          Stream.take(total),
          Stream.runFold(0, (sum, length) => sum + length),
          Effect.flatMap((sum) => socket.send(`${sum}`))
        )
      )
      const client = yield* raw(port)
      const frame = print(opcode.text, Buffer.from(message))
      let taken = 0
      // a write is done when the system has taken it, and that takes no more than its buffers when nobody reads
      for (let i = 0; i < total; i++) client.socket.write(frame, () => taken++)
      assert.isBelow(yield* settled(() => taken), total)
      yield* gate.open
      assert.strictEqual((yield* answered(client.frame)).payload.toString(), `${total * message.length}`)
      assert.strictEqual(taken, total)
    }))

  it.scoped("a client that is behind: who sends waits", () =>
    Effect.gen(function*() {
      const total = 400
      const message = "x".repeat(2 ** 16)
      let sent = 0
      const port = yield* server(({ send }) =>
        Effect.forEach(Array.from({ length: total }), () => Effect.map(send(message), () => sent++))
      )
      const client = yield* raw(port)
      client.socket.pause()
      assert.isBelow(yield* settled(() => sent), total)
      client.socket.resume()
      for (let i = 0; i < total; i++) {
        assert.strictEqual((yield* answered(client.frame)).payload.length, message.length)
      }
      assert.deepStrictEqual(closedOf(yield* answered(client.frame)), { code: 1000, reason: "" })
    }))

  it.scoped("a client that pings without end, and reads no pong, is cut off", () =>
    Effect.gen(function*() {
      const ended = yield* Deferred.make<void>()
      const port = yield* server(() => Effect.onInterrupt(Effect.never, () => Deferred.succeed(ended, undefined)))
      const client = yield* raw(port)
      client.socket.pause()
      const pings = Buffer.concat(Array.from({ length: 500 }, () => print(opcode.ping, Buffer.alloc(125))))
      for (let i = 0; i < 400; i++) client.socket.write(pings)
      yield* answered(Deferred.await(ended))
    }))

  it.scoped("who waits for a client that goes away does not wait for ever", () =>
    Effect.gen(function*() {
      const ended = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
      const port = yield* server(({ send }) =>
        Effect.forever(send("x".repeat(2 ** 16))).pipe(Effect.onExit((exit) => Deferred.succeed(ended, exit)))
      )
      const client = yield* raw(port)
      client.socket.pause()
      yield* turns(200)
      client.socket.destroy()
      assert.isTrue(Exit.isInterrupted(yield* answered(Deferred.await(ended))))
    }))

  it.scoped("to a client that has gone nothing is sent, and nobody fails", () =>
    Effect.gen(function*() {
      const ended = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
      const port = yield* server((socket) =>
        Stream.runDrain(socket.messages).pipe(
          Effect.zipRight(Effect.forEach(Array.from({ length: 1000 }), () => socket.send("x".repeat(1000)))),
          Effect.onExit((exit) => Deferred.succeed(ended, exit))
        )
      )
      const client = yield* connect(port)
      client.close(1000)
      assert.isTrue(Exit.isSuccess(yield* answered(Deferred.await(ended))))
    }))
})

describe("ping", () => {
  const timed = Effect.gen(function*() {
    const start = yield* Clock.currentTimeMillis
    return Effect.map(Clock.currentTimeMillis, (now) => (now - start) / 1000)
  })

  it.scoped("comes every 30 seconds, and a client that answers stays", () =>
    Effect.gen(function*() {
      const port = yield* server(() => Effect.never)
      const seconds = yield* timed
      const client = yield* raw(port)
      for (const at of [30, 60, 90]) {
        const frame = yield* answered(passing(client.frame))
        assert.deepStrictEqual([frame.opcode, frame.payload.length], [opcode.ping, 0])
        assert.isAtLeast(yield* seconds, at)
        client.send(opcode.pong)
        yield* turns(200)
      }
    }))

  it.scoped("a client that does not answer is closed with 3008 after 20 more, and cut off after its grace", () =>
    Effect.gen(function*() {
      const interrupted = yield* Deferred.make<void>()
      const port = yield* server(() => Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined)))
      const seconds = yield* timed
      const client = yield* raw(port)
      assert.strictEqual((yield* answered(passing(client.frame))).opcode, opcode.ping)
      assert.deepStrictEqual(closedOf(yield* answered(passing(client.frame))), { code: 3008, reason: "" })
      assert.isAtLeast(yield* seconds, 50)
      yield* answered(Deferred.await(interrupted))
      yield* answered(passing(client.ended))
      assert.isAtLeast(yield* seconds, 55)
    }))

  it.scoped("anything that comes is an answer", () =>
    Effect.gen(function*() {
      const port = yield* server(() => Effect.never, { ping: { interval: "2 seconds", timeout: "2 seconds" } })
      const client = yield* raw(port)
      for (let i = 0; i < 3; i++) {
        assert.strictEqual((yield* answered(passing(client.frame))).opcode, opcode.ping)
        client.send(opcode.text, "x")
        yield* turns(200)
      }
    }))

  it.scoped("that it takes what it is sent is no answer of one that is read from", () =>
    Effect.gen(function*() {
      const port = yield* server(({ send }) => Effect.forever(Effect.delay(send("x".repeat(2 ** 16)), "1 second")))
      const client = yield* raw(port)
      let frame = yield* answered(passing(client.frame))
      while (frame.opcode !== opcode.close) frame = yield* answered(passing(client.frame))
      assert.deepStrictEqual(closedOf(frame), { code: 3008, reason: "" })
    }))

  it.scoped("is none, if it is said", () =>
    Effect.gen(function*() {
      const port = yield* server(({ send }) => Effect.delay(send("late"), "1 hour"), { ping: false })
      const client = yield* raw(port)
      yield* turns(200)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual((yield* answered(client.frame)).opcode, opcode.text)
    }))

  it.scoped("expects no answer while it is not read", () =>
    Effect.gen(function*() {
      const gate = yield* Effect.makeLatch(false)
      const port = yield* server((socket) => Effect.zipRight(gate.await, echo(socket)), { buffer: 1 })
      const client = yield* raw(port)
      client.send(opcode.text, "x")
      yield* turns(200)
      for (let i = 0; i < 3; i++) {
        assert.strictEqual((yield* answered(passing(client.frame))).opcode, opcode.ping)
      }
      yield* gate.open
      assert.strictEqual((yield* answered(client.frame)).payload.toString(), "x")
    }))

  it.scoped("that it is read again is a sign too", () =>
    Effect.gen(function*() {
      const gate = yield* Effect.makeLatch(false)
      const port = yield* server((socket) => Effect.zipRight(gate.await, echo(socket)), { buffer: 1 })
      const client = yield* raw(port)
      client.send(opcode.text, "x")
      yield* turns(200)
      assert.strictEqual((yield* answered(passing(client.frame))).opcode, opcode.ping)
      yield* gate.open
      assert.strictEqual((yield* answered(client.frame)).payload.toString(), "x")
      // what it has answered meanwhile may not have been read yet
      assert.strictEqual((yield* answered(passing(client.frame))).opcode, opcode.ping)
    }))

  it.scoped("a client that neither is read nor reads is gone", () =>
    Effect.gen(function*() {
      const ended = yield* Deferred.make<boolean>()
      let sent = 0
      const port = yield* server(
        ({ send }) =>
          Effect.forever(Effect.map(send("x".repeat(2 ** 16)), () => sent++)).pipe(
            Effect.onExit((exit) => Deferred.succeed(ended, Exit.isInterrupted(exit)))
          ),
        { buffer: 1 }
      )
      const client = yield* raw(port)
      client.socket.pause()
      client.send(opcode.text, "x")
      yield* settled(() => sent)
      assert.isTrue(yield* answered(passing(Deferred.await(ended))))
    }))
})

describe("grace", () => {
  it.scoped("a client that has broken the protocol has no more of it than another", () =>
    Effect.gen(function*() {
      const opened = yield* Deferred.make<Server>()
      const done = yield* Deferred.make<boolean>()
      const app = WebSocket.handle(() =>
        Effect.flatMap(
          HttpServerRequest.HttpServerRequest,
          ({ source }) => Effect.zipRight(Deferred.succeed(opened, source as Server), Effect.never)
        ), { maxMessageSize: 4 }).pipe(
          Effect.onExit(() =>
            Effect.flatMap(Deferred.await(opened), ({ socket }) => Deferred.succeed(done, socket.destroyed))
          )
        )
      const port = yield* listen(Stack.serve(app, WebSocket.middleware()))
      const client = yield* raw(port)
      yield* answered(Deferred.await(opened))
      // it does not even see that the server has ended its side
      client.socket.pause()
      client.send(opcode.text, "12345")
      assert.isTrue(yield* answered(passing(Deferred.await(done))))
    }))

  it.scoped("when the client has closed, the handler has time to come to its end", () =>
    Effect.gen(function*() {
      const ended = yield* Deferred.make<string>()
      const port = yield* server((socket) =>
        Stream.runDrain(socket.messages).pipe(
          Effect.zipRight(Effect.sleep("4 seconds")),
          Effect.onExit((exit) => Deferred.succeed(ended, exit._tag))
        )
      )
      const client = yield* connect(port)
      client.close(1000)
      assert.strictEqual(yield* answered(passing(Deferred.await(ended))), "Success")
    }))

  it.scoped("and no more than that", () =>
    Effect.gen(function*() {
      const ended = yield* Deferred.make<boolean>()
      const port = yield* server(
        () => Effect.onExit(Effect.never, (exit) => Deferred.succeed(ended, Exit.isInterrupted(exit))),
        { grace: "3 seconds" }
      )
      const client = yield* connect(port)
      client.close(1000)
      yield* answered(client.closed)
      const before = yield* Clock.currentTimeMillis
      assert.isTrue(yield* answered(passing(Deferred.await(ended))))
      assert.isAtLeast((yield* Clock.currentTimeMillis) - before, 3000)
    }))

  it.scoped("a client that answers the close makes nobody wait", () =>
    Effect.gen(function*() {
      const done = yield* Deferred.make<void>()
      const app = WebSocket.handle(() => Effect.void).pipe(Effect.onExit(() => Deferred.succeed(done, undefined)))
      const port = yield* listen(Stack.serve(app, WebSocket.middleware()))
      yield* answered((yield* connect(port)).closed)
      yield* answered(Deferred.await(done))
    }))
})

it.each<[what: string, options: WebSocket.HandleOptions, message: RegExp]>([
  [
    "a size that is none",
    { maxMessageSize: 0 },
    /^WebSocket: maxMessageSize is 0: write a whole number of at least 1$/
  ],
  ["a size that is not whole", { maxMessageSize: 1.5 }, /^WebSocket: maxMessageSize is 1.5: /],
  ["a size without end", { maxMessageSize: Infinity }, /^WebSocket: maxMessageSize is Infinity: /],
  ["a size that ws cannot count", { maxMessageSize: 2 ** 31 }, /^WebSocket: maxMessageSize is 2147483648: /],
  ["a buffer of nothing", { buffer: 0 }, /^WebSocket: buffer is 0: /],
  ["a grace without end", { grace: "Infinity" as never }, /^WebSocket: grace is no length of time: write "5 seconds"$/],
  ["a grace that is none", { grace: "soon" as never }, /^WebSocket: grace is no length of time/],
  ["no interval", { ping: { interval: 0, timeout: 0 } }, /^WebSocket: ping\.interval is 0: write how long to wait/],
  ["an interval without end", { ping: { interval: Infinity, timeout: 1 } }, /^WebSocket: ping\.interval is no length/],
  ["a timeout of nothing", { ping: { interval: 1, timeout: 0 } }, /^WebSocket: ping\.timeout is 0: write how long to/],
  [
    "a timeout that is none",
    { ping: { interval: 1, timeout: "1" as never } },
    /^WebSocket: ping\.timeout is no length/
  ],
  ["a timeout that is longer", { ping: { interval: 1, timeout: 2 } }, /^WebSocket: ping\.timeout is longer than ping/]
])("throws on %s", (_, options, message) => {
  assert.throws(() => WebSocket.handle(echo, options), message)
})

/** `answered`, of what holds on to something. */
const reached = <A, R>(effect: Effect.Effect<A, never, R>): Effect.Effect<A, never, R> =>
  Effect.flatMap(Effect.context<R>(), (context) => answered(Effect.provide(effect, context)))

/** Turns of the event loop, by the real clock: what is under way on a socket of this machine takes some. */
const turns = (count: number) =>
  Effect.promise(async () => {
    for (let i = 0; i < count; i++) await new Promise((resume) => setImmediate(resume))
  })

/** Node's request, as the server holds it. */
interface Server {
  readonly socket: Net.Socket
}

const until = (is: () => boolean): Effect.Effect<void> =>
  Effect.suspend(() => is() ? Effect.void : Effect.zipRight(turns(10), until(is)))

/** How many fibers nobody waits for. */
const roots = Effect.map(Fiber.roots, ({ length }) => length)
const untilRoots = (count: number): Effect.Effect<void> =>
  Effect.flatMap(roots, (now) => now <= count ? Effect.void : Effect.zipRight(turns(10), untilRoots(count)))

/** What a counter comes to rest at. */
const settled = (count: () => number): Effect.Effect<number> =>
  Effect.suspend(() => {
    const before = count()
    return Effect.flatMap(turns(500), () => count() === before ? Effect.succeed(before) : settled(count))
  })

// ------------------------------------------------------------------------------------------------- failures and codes

describe("WebSocketClose", () => {
  const close = (code: number, reason?: string) => new WebSocketClose({ code, reason })

  it("is a tagged failure with a code and a reason", () => {
    const { _tag, code, message, reason } = close(4000, "why")
    assert.deepStrictEqual({ _tag, code, message, reason }, {
      _tag: "WebSocketClose",
      code: 4000,
      message: "4000: why",
      reason: "why"
    })
    assert.deepStrictEqual([close(1000).reason, close(1000).message], ["", "1000"])
    assert.instanceOf(close(1000), WebSocketClose)
    assert.instanceOf(close(1000), Error)
  })

  it("takes what a server may send, and nothing else", () => {
    const taken = Array.from({ length: 5200 }, (_, code) => code).filter((code) => {
      try {
        return close(code).code === code
      } catch (error) {
        assert.match(
          String(error),
          new RegExp(`^TypeError: WebSocket: ${code} is no code that a server may send: write`)
        )
        return false
      }
    })
    const own = Array.from({ length: 2000 }, (_, index) => 3000 + index)
    assert.deepStrictEqual(taken, [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 1014, ...own])
    for (const code of [-1, 4000.5, NaN, Infinity, "4000" as never]) assert.throws(() => close(code), TypeError)
    for (const code of Object.values(WebSocket.CloseCode)) assert.strictEqual(close(code).code, code)
  })

  it("cuts the reason at 123 bytes, between two characters", () => {
    const bytes = (text: string) => Buffer.from(text).length
    FastCheck.assert(FastCheck.property(
      FastCheck.array(FastCheck.constantFrom("a", "\u00e9", "\u20ac", "\u{1F600}", "\uFEFF"), { maxLength: 150 }),
      (characters) => {
        const text = characters.join("")
        const { reason } = close(4000, text)
        assert.isTrue(text.startsWith(reason))
        assert.isAtMost(bytes(reason), 123)
        const next = characters[Array.from(reason).length]
        if (next !== undefined) assert.isAbove(bytes(reason) + bytes(next), 123)
      }
    ))
  })

  it("a reason is valid Unicode, and as long as it may be", () => {
    assert.strictEqual(close(4000, "a".repeat(124)).reason, "a".repeat(123))
    assert.strictEqual(close(4000, "a\uD83D").reason, "a\uFFFD")
    assert.strictEqual(close(4000, "\uDE00b").reason, "\uFFFDb")
  })
})

describe("closeByTag", () => {
  class A extends Data.TaggedError("A")<{ readonly n: number }> {}
  class B extends Data.TaggedError("B")<{}> {}
  const closed = (effect: Effect.Effect<unknown, unknown>) =>
    Effect.map(Effect.flip(effect), (error) => error instanceof WebSocketClose ? error.code : error)

  it.effect("closes what is listed, and lets the rest be", () =>
    Effect.gen(function*() {
      const failing = (error: A | B) => Effect.fail(error)
      const byTag = WebSocket.closeByTag<A | B, { readonly A: (error: A) => WebSocket.WebSocketClose }>({
        A: ({ n }) => new WebSocketClose({ code: 4000 + n })
      })
      const b = new B()
      assert.strictEqual(yield* closed(byTag(failing(new A({ n: 7 })))), 4007)
      assert.strictEqual(yield* closed(byTag(failing(b))), b)
      assert.strictEqual(yield* byTag(Effect.succeed(1)), 1)
      assert.isTrue(Exit.isInterrupted(yield* Effect.exit(byTag(Effect.interrupt))))
      const defect = yield* Effect.exit(byTag(Effect.die(new A({ n: 1 }))))
      assert.isTrue(Exit.isFailure(defect) && Cause.isDie(defect.cause))
    }))

  it.effect("looks at own tags alone", () =>
    Effect.gen(function*() {
      const byTag = WebSocket.closeByTag<unknown, {}>({})
      for (
        const error of [
          { _tag: "toString" },
          { _tag: "__proto__" },
          { _tag: 1 },
          { _tag: undefined },
          "A",
          null,
          undefined
        ]
      ) {
        assert.strictEqual(yield* closed(byTag(Effect.fail(error))), error)
      }
    }))
})

describe("json", () => {
  it.scoped("reads and writes values by schemas", () =>
    Effect.gen(function*() {
      const At = Schema.Struct({ at: Schema.DateFromString })
      const port = yield* server((socket) => {
        const { messages, send } = WebSocket.json(socket, { receive: At, send: Schema.NumberFromString })
        return Stream.runForEach(messages, ({ at }) => send(at.getTime()))
      })
      const client = yield* connect(port)
      client.send(`{"at":"1970-01-01T00:00:01Z"}`)
      assert.strictEqual(yield* answered(client.next), "\"1000\"")
    }))

  it.scoped("leaves it to the handler what a message that does not fit means", () =>
    Effect.gen(function*() {
      const port = yield* server((socket) =>
        Stream.runDrain(WebSocket.json(socket, { receive: Schema.Number, send: Schema.Number }).messages).pipe(
          Effect.catchTag("WebSocketClose", ({ code }) => socket.send(`${code}`))
        )
      )
      const client = yield* connect(port)
      client.send("{")
      assert.strictEqual(yield* answered(client.next), "1007")
    }))
})

// -------------------------------------------------------------------------------------------------------- other places

describe("in a stack", () => {
  it.scoped("what stands outside sees one request with status 101, and the handler's lines have its annotations", () =>
    Effect.gen(function*() {
      const lines: Array<readonly [message: unknown, id: string, status: unknown]> = []
      const written = yield* Deferred.make<void>()
      const logger = Logger.make(({ annotations, message }) => {
        const get = (key: string) => Option.getOrUndefined(HashMap.get(annotations, key))
        const [first] = [message].flat()
        lines.push([first, typeof get("request.id"), get("http.response.status_code")])
        if (get("http.response.status_code") !== undefined) Deferred.unsafeDone(written, Effect.void)
      })
      const stack = Stack.make(
        Forwarded.middleware({ trust: "none" }),
        RequestId.middleware(),
        AccessLog.middleware(),
        WebSocket.middleware()
      )
      const app = HttpRouter.empty.pipe(
        HttpRouter.get(
          "/chat/:room",
          WebSocket.handle(({ send }) =>
            Effect.gen(function*() {
              const { room } = yield* HttpRouter.params
              yield* Effect.log("inside")
              yield* send(`${room} ${typeof (yield* RequestId.RequestId)}`)
              yield* Effect.dieMessage("a defect")
            })
          )
        )
      )
      yield* Effect.gen(function*() {
        const port = yield* listen(Stack.serve(app, stack))
        const client = yield* connect(port, { path: "/chat/a" })
        assert.strictEqual(yield* answered(client.next), "a string")
        assert.strictEqual((yield* answered(client.closed)).code, 1011)
        yield* answered(Deferred.await(written))
      }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
      assert.deepStrictEqual(lines.map(([message, id, status]) => [String(message).split(" ")[0], id, status]), [
        ["inside", "string", undefined],
        ["The", "string", undefined],
        [String(lines[2]?.[0]).split(" ")[0], "string", 101]
      ])
    }))

  const talk = WebSocket.handle((socket) =>
    Stream.runForEach(socket.messages, (message) =>
      message === "die"
        ? Effect.dieMessage("oops")
        : message === "leave"
        ? Effect.fail(new WebSocketClose({ code: 4000, reason: "left" }))
        : socket.send(message))
  )
  const checks = WebSocket.middleware()
  const closed = checks as Middleware.Middleware<WebSocket.Handshake>
  const routes = HttpLayerRouter.add("GET", "/", talk)
  const api = HttpApiBuilder.api(HttpApi.make("api"))
  const routed = HttpApiBuilder.Router.use((router) => router.get("/", talk as HttpApp.Default))

  it.scoped.each<[mount: string, served: Parameters<typeof listen>[0]]>([
    ["Stack.serve", Stack.serve(talk, closed)],
    ["Stack.serveRouter", Stack.serveRouter(routes as never, closed)],
    ["a route", HttpServer.serve(HttpRouter.empty.pipe(HttpRouter.get("/", talk.pipe(checks))))],
    [
      "Stack.layerRouter",
      HttpLayerRouter.serve(Layer.provide(routes as never, Stack.layerRouter(closed).layer as Layer.Layer<never>), {
        disableLogger: true,
        disableListenLog: true
      })
    ],
    [
      "Stack.httpApi",
      HttpApiBuilder.serve().pipe(Layer.provide([api, routed, Stack.httpApi(closed)]))
    ],
    [
      "HttpServer.serve(mw)",
      HttpServer.serve(talk, closed as never) as Layer.Layer<never, never, HttpServer.HttpServer>
    ],
    ["HttpApiBuilder.serve(mw)", HttpApiBuilder.serve(closed).pipe(Layer.provide([api, routed]))],
    [
      "HttpLayerRouter.serve({ middleware })",
      HttpLayerRouter.serve(routes as never, { middleware: closed, disableLogger: true, disableListenLog: true })
    ]
  ])("it is the same in every mount: %s", ([, served]) =>
    Effect.gen(function*() {
      const [, lines] = yield* logging(Effect.gen(function*() {
        const port = yield* listen(served)
        assert.strictEqual((yield* reached(raw(port, { origin: "https://evil.test" }))).status, 403)
        const [one, two] = [yield* connect(port), yield* connect(port)]
        one.send("x")
        assert.strictEqual(yield* answered(one.next), "x")
        one.send("leave")
        assert.deepStrictEqual(yield* answered(one.closed), { code: 4000, reason: "left" })
        two.send("die")
        assert.deepStrictEqual(yield* answered(two.closed), { code: 1011, reason: "" })
      }))
      assert.deepStrictEqual(lines.filter((line) => line.startsWith("ERROR")), [`${failed} | RuntimeException: oops`])
    }))

  it.scoped("behind another view of the request", () =>
    Effect.gen(function*() {
      const stack = Stack.make(
        Forwarded.middleware({ trust: { hops: 1 } }),
        WebSocket.middleware({ protocols: ["v1"] })
      )
      const port = yield* listen(Stack.serve(WebSocket.handle(echo), stack))
      const client = yield* connect(port, { protocols: ["v0", "v1"], headers: { "x-forwarded-for": "192.0.2.1" } })
      assert.strictEqual(client.protocol, "v1")
      client.send("x")
      assert.strictEqual(yield* answered(client.next), "x")
    }))

  it.scoped("guards what opens its sockets itself", () =>
    Effect.gen(function*() {
      const app = Effect.scoped(Effect.gen(function*() {
        const socket = yield* Effect.orDie(HttpServerRequest.upgrade)
        yield* Effect.ignore(socket.runRaw(yield* socket.writer))
        return HttpServerResponse.empty()
      }))
      const port = yield* listen(Stack.serve(app, WebSocket.middleware()))
      assert.strictEqual((yield* reached(raw(port, { origin: "https://evil.test" }))).status, 403)
      const client = yield* connect(port)
      client.send("x")
      assert.strictEqual(yield* answered(client.next), "x")
    }))
})

/** A socket of platform's that is neither Node's nor of `ws`. */
class Elsewhere extends EventTarget {
  readyState = 1
  readonly sent: Array<unknown> = []
  send(data: unknown) {
    this.sent.push(data)
  }
  close(code?: number, reason?: string) {
    if (this.readyState !== 1) return
    this.readyState = 3
    this.sent.push([code, reason])
    this.dispatchEvent(Object.assign(new Event("close"), { code: code ?? 1005, reason: reason ?? "" }))
  }
  receive(data: unknown) {
    this.dispatchEvent(Object.assign(new Event("message"), { data }))
  }
}

describe("on another server", () => {
  const run = (
    handler: (socket: WebSocket.Socket) => Effect.Effect<unknown, unknown>,
    options: WebSocket.HandleOptions,
    act: (socket: Elsewhere) => void
  ) =>
    Effect.gen(function*() {
      const socket = new Elsewhere()
      const opened = yield* Deferred.make<void>()
      const request = Object.create(
        HttpServerRequest.fromWeb(new Request("http://localhost/", { headers: handshake })),
        {
          upgrade: {
            value: PlatformSocket.fromWebSocket(Effect.acquireRelease(
              Effect.succeed(socket as unknown as globalThis.WebSocket),
              () => Effect.sync(() => socket.close())
            ))
          }
        }
      ) as HttpServerRequest.HttpServerRequest
      const app = WebSocket.handle(
        (socket) => Effect.zipRight(Deferred.succeed(opened, undefined), handler(socket)),
        options
      )
      const fiber = yield* Effect.fork(
        app.pipe(
          Effect.provideService(WebSocket.Handshake, Option.some({ protocol: undefined })),
          Effect.provideService(HttpServerRequest.HttpServerRequest, request)
        )
      )
      yield* answered(Deferred.await(opened))
      act(socket)
      const response = yield* answered(passing(Effect.orDie(Fiber.join(fiber))))
      assert.strictEqual(response.status, 101)
      return socket.sent
    })

  it.effect("messages go both ways", () =>
    Effect.gen(function*() {
      const handler = (socket: WebSocket.Socket) => Stream.runForEach(Stream.take(socket.messages, 40), socket.send)
      const sent = yield* run(handler, { buffer: 1 }, (socket) => {
        for (let i = 0; i < 40; i++) socket.receive(`${i}`)
      })
      assert.deepStrictEqual(sent, [...Array.from({ length: 40 }, (_, i) => `${i}`), [1000, ""]])
    }))

  it.effect.each<[what: string, size: number, message: string | Uint8Array, fits: boolean]>([
    ["text", 6, "123456", true],
    ["text that is longer", 6, "1234567", false],
    ["text of two bytes each", 6, "\u00e9\u00e9\u00e9", true],
    ["one more", 6, "\u00e9\u00e9\u00e9x", false],
    ["text of three bytes each", 6, "\u20ac\u20ac", true],
    ["one less", 5, "\u20ac\u20ac", false],
    ["text of four bytes each", 8, "\u{1F600}\u{1F600}", true],
    ["one more", 8, "\u{1F600}\u{1F600}x", false],
    ["bytes", 6, new Uint8Array(6), true],
    ["bytes, one more", 6, new Uint8Array(7), false]
  ])("a message is measured when it is there: %s", ([, maxMessageSize, message, fits]) =>
    Effect.gen(function*() {
      const handler = (socket: WebSocket.Socket) => Stream.runForEach(Stream.take(socket.messages, 1), socket.send)
      const sent = yield* run(handler, { maxMessageSize }, (socket) => socket.receive(message))
      assert.deepStrictEqual(sent, fits ? [message, [1000, ""]] : [[1009, ""]])
    }))

  it.effect("nothing pings, and a handler outlives every interval", () =>
    Effect.gen(function*() {
      const sent = yield* run(({ send }) => Effect.zipRight(Effect.sleep("3 minutes"), send("late")), {}, () => {})
      assert.deepStrictEqual(sent, ["late", [1000, ""]])
    }))

  it.effect("a socket that fails ends the handler", () =>
    Effect.gen(function*() {
      const sent = yield* run(() => Effect.never, {}, (socket) => socket.dispatchEvent(new Event("error")))
      assert.deepStrictEqual(sent, [[undefined, undefined]])
    }))
})
