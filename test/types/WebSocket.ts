import type { HttpApp, HttpServerRequest, HttpServerRespondable } from "@effect/platform"
import { Data, Effect, type Option, Schema, type Scope, Stream } from "effect"
import { type Cors, type Middleware, Stack, WebSocket } from "effect-middleware"
import { type Busy, condition, type Database, same, Store, typeOf } from "./fixtures.js"

type Of<Fails = never, Requires = never, Name extends string = "WebSocket"> = Middleware.Middleware<
  WebSocket.Handshake,
  | WebSocket.MethodNotAllowed
  | WebSocket.UpgradeRequired
  | WebSocket.InvalidHandshake
  | Cors.OriginNotAllowed
  | Fails,
  Requires,
  never,
  Name,
  Middleware.Phases
>

// plain origins neither fail nor require
typeOf(WebSocket.middleware()).is<Of>()
typeOf(WebSocket.middleware({})).is<Of>()
typeOf(WebSocket.middleware({ origins: "same-origin", protocols: ["v1"], protocolRequired: condition })).is<Of>()
typeOf(WebSocket.middleware({ origins: ["same-origin", "https://a.test", /https:\/\/.*/], name: "Chat" })).is<
  Of<never, never, "Chat">
>()
typeOf(WebSocket.middleware({ origins: (origin, request) => request.headers["x-tenant"] === origin })).is<Of>()
typeOf(WebSocket.middleware({ protocols: undefined })).is<Of>()

// an Effect brings what it fails with and what it requires, but for the request, which is there
declare const busy: Effect.Effect<boolean, Busy, Database | HttpServerRequest.HttpServerRequest>
typeOf(WebSocket.middleware({ origins: () => busy })).is<Of<Busy, Database>>()
typeOf(WebSocket.middleware({ origins: (origin) => Effect.map(Store, () => origin === "") })).is<Of<never, Store>>()
typeOf(WebSocket.middleware({ origins: condition ? "*" : () => busy })).is<Of<Busy, Database>>()

// of options that are known as such, everything may come
declare const options: WebSocket.Options
typeOf(WebSocket.middleware(options)).is<Of<unknown, unknown, string>>()

// @ts-expect-error one origin is a list of one
WebSocket.middleware({ origins: "https://a.test" })
// @ts-expect-error so is one subprotocol
WebSocket.middleware({ protocols: "v1" })
// @ts-expect-error a verdict is a boolean
WebSocket.middleware({ origins: () => "yes" })
// @ts-expect-error no such option
WebSocket.middleware({ maxMessageSize: 1 })

// the refusals know their responses
declare const refusal: WebSocket.MethodNotAllowed | WebSocket.UpgradeRequired | WebSocket.InvalidHandshake
export const respondable: HttpServerRespondable.Respondable = refusal
same<typeof refusal._tag, "MethodNotAllowed" | "UpgradeRequired" | "InvalidHandshake">()
same<WebSocket.UpgradeRequired["reason"], "upgrade" | "version">()
same<WebSocket.InvalidHandshake["reason"], "key" | "protocol">()

// the rules alone
declare const plain: WebSocket.Options<WebSocket.PlainOrigins>
typeOf(WebSocket.policy(plain)).is<(facts: WebSocket.Facts) => WebSocket.Decision>()
export const facts: WebSocket.Facts = { method: "GET" }
same<WebSocket.Decision["_tag"], "Pass" | "Accept" | "Refuse">()
// @ts-expect-error without a request there is none to ask about
WebSocket.policy({ origins: (origin, request) => request.url === origin })
export const origins: WebSocket.Origins = () => busy

// --- the app

// it requires that the handshake is checked; its scope is its own; of its failures none is left
declare const handler: (socket: WebSocket.Socket) => Effect.Effect<number, Busy, Database | Scope.Scope>
const app = WebSocket.handle(handler)
typeOf(app).is<HttpApp.Default<WebSocket.UpgradeRequired, WebSocket.Handshake | Database>>()
export const served: HttpApp.Default<
  | WebSocket.UpgradeRequired
  | WebSocket.MethodNotAllowed
  | WebSocket.InvalidHandshake
  | Cors.OriginNotAllowed,
  Database
> = app.pipe(WebSocket.middleware())
// @ts-expect-error nobody has checked the handshake
export const unchecked: HttpApp.Default<WebSocket.UpgradeRequired, Database> = app
// @ts-expect-error the same, served
Stack.serve(WebSocket.handle(() => Effect.void), Stack.make(WebSocket.middleware())) satisfies never

declare const handleOptions: WebSocket.HandleOptions
WebSocket.handle(handler, handleOptions)
WebSocket.handle(handler, {
  maxMessageSize: 1000,
  buffer: 1,
  grace: "1 second",
  ping: { interval: "10 seconds", timeout: 500 }
})
WebSocket.handle(handler, { ping: false })
// @ts-expect-error a ping without its timeout
WebSocket.handle(handler, { ping: { interval: "10 seconds" } })
// @ts-expect-error no such option
WebSocket.handle(handler, { origins: "*" })

same<typeof WebSocket.Handshake.Service, Option.Option<{ readonly protocol: string | undefined }>>()
declare const socket: WebSocket.Socket
typeOf(socket.messages).is<Stream.Stream<WebSocket.Message>>()
typeOf(socket.send("")).is<Effect.Effect<void>>()
same<WebSocket.Message, string | Uint8Array>()
// @ts-expect-error neither text nor bytes
socket.send({})

// --- codes

const close = new WebSocket.WebSocketClose({ code: 4000, reason: "why" })
typeOf(close).is<WebSocket.WebSocketClose>()
same<typeof close._tag, "WebSocketClose">()
same<typeof close.code, number>()
new WebSocket.WebSocketClose({ code: 1000 })
new WebSocket.WebSocketClose({ code: 1014 })
new WebSocket.WebSocketClose({ code: 3000 })
new WebSocket.WebSocketClose({ code: 4999 })
new WebSocket.WebSocketClose({ code: condition ? 1008 : 4000 })
new WebSocket.WebSocketClose({ code: WebSocket.CloseCode.forbidden })
declare const code: number
new WebSocket.WebSocketClose({ code, reason: undefined })
// @ts-expect-error below all
new WebSocket.WebSocketClose({ code: 999 })
// @ts-expect-error reserved
new WebSocket.WebSocketClose({ code: 1004 })
// @ts-expect-error it says that there was none
new WebSocket.WebSocketClose({ code: 1005 })
// @ts-expect-error it says that none came
new WebSocket.WebSocketClose({ code: 1006 })
// @ts-expect-error the client's
new WebSocket.WebSocketClose({ code: 1010 })
// @ts-expect-error it says that TLS failed
new WebSocket.WebSocketClose({ code: 1015 })
// @ts-expect-error reserved
new WebSocket.WebSocketClose({ code: 1016 })
// @ts-expect-error reserved
new WebSocket.WebSocketClose({ code: 2999 })
// @ts-expect-error above all
new WebSocket.WebSocketClose({ code: 5000 })
// @ts-expect-error not whole
new WebSocket.WebSocketClose({ code: 4000.5 })
// @ts-expect-error one of the two
new WebSocket.WebSocketClose({ code: condition ? 1006 : 4000 })
// @ts-expect-error one of the two
new WebSocket.WebSocketClose({ code: condition ? 1008 : 40000 })
same<WebSocket.Sendable<4000>, 4000>()
same<WebSocket.Sendable<number>, number>()
same<WebSocket.Sendable<1006>, WebSocket.MustBeSendable<1006>>()

// --- failures

class A extends Data.TaggedError("A")<{ readonly n: number }> {}
class B extends Data.TaggedError("B")<{}> {}
declare const failing: Effect.Effect<string, A | B, Database>
typeOf(failing.pipe(WebSocket.closeByTag({ A: close }))).is<
  Effect.Effect<string, B | WebSocket.WebSocketClose, Database>
>()
typeOf(failing.pipe(WebSocket.closeByTag({
  A: ({ n }) => new WebSocket.WebSocketClose({ code: 4000 + n }),
  B: close
}))).is<Effect.Effect<string, WebSocket.WebSocketClose, Database>>()
export const closing: WebSocket.Closing<A> = ({ n }) => new WebSocket.WebSocketClose({ code: n })
// @ts-expect-error it cannot fail with that
failing.pipe(WebSocket.closeByTag({ C: close }))
// @ts-expect-error a close, and nothing else
failing.pipe(WebSocket.closeByTag({ A: 4000 }))
// @ts-expect-error the same, of a function
failing.pipe(WebSocket.closeByTag({ A: ({ n }) => n }))
// @ts-expect-error a tag is forgotten
export const all: Effect.Effect<string, WebSocket.WebSocketClose, Database> = failing.pipe(
  WebSocket.closeByTag({ A: close })
)

// --- JSON

class Codec extends Schema.Class<Codec>("Codec")({ at: Schema.DateFromString }) {}
const json = WebSocket.json(socket, { receive: Codec, send: Schema.NumberFromString })
typeOf(json).is<WebSocket.Json<Codec, number>>()
typeOf(json.messages).is<Stream.Stream<Codec, WebSocket.WebSocketClose>>()
typeOf(json.send(1)).is<Effect.Effect<void>>()
// @ts-expect-error the value, not its JSON
json.send("1")
Stream.runDrain(json.messages)
