/**
 * WebSockets: who may open one, and what its end says.
 *
 * `middleware` is the server's part of the handshake (RFC 6455 section 4.2) before the 101, `handle` is the app behind it:
 * it opens the socket, runs a handler and closes with a code that says how the handler has ended (section 7.4).
 *
 * 1. Before the 101 a refusal is a failure with an HTTP response, like any other.
 * 2. After it a failure is a close code, and none leaves the app.
 * 3. A browser opens a socket to any host that a page names, with the cookies of that host, and asks no one: so a page of
 *    another origin is refused unless it is allowed.
 * 4. Nothing of a failure reaches the client but the `reason` that the program gave to a `WebSocketClose`.
 *
 * @since 0.1.0
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpRouter from "@effect/platform/HttpRouter"
import { clientAbortFiberId } from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as PlatformSocket from "@effect/platform/Socket"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Mailbox from "effect/Mailbox"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Cors from "./Cors.js"
import { Client } from "./Forwarded.js"
import { HttpException } from "./HttpException.js"
import { splitList, trim } from "./internal/fields.js"
import { compileOrigins, type Failure, isOrigin, isSameOrigin, type Requirement } from "./internal/origin.js"
import { expiryOf } from "./internal/principals.js"
import { report } from "./internal/report.js"
import type { Connection, Ws } from "./internal/upgrade.js"
import { agree, connectionOf, limit, receivedOf, wsOf } from "./internal/upgrade.js"
import * as Middleware from "./Middleware.js"
import * as ProblemDetails from "./ProblemDetails.js"

// --------------------------------------------------------------------------------------------------------- handshake

/**
 * The pages that may open a socket.
 *
 * - `"same-origin"`: those of the host that the request is for; where `Forwarded` knows that the client came by https,
 *   by https alone.
 * - All else is as for `Cors.middleware`: `"*"`, a list in which `"same-origin"` may stand too, a function of the origin
 *   and the request.
 *
 * @since 0.1.0
 * @category models
 */
export type Origins<E = unknown, R = unknown> = "same-origin" | Cors.Origins<E, R>

/**
 * The origins of which the pure policy can tell without a request.
 *
 * @since 0.1.0
 * @category models
 */
export type PlainOrigins = "same-origin" | Cors.PlainOrigins

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<out O = Origins, out Name extends string = string> {
  /**
   * The pages that may open a socket. A client without `Origin` is no browser, and passes. Default: `"same-origin"`.
   */
  readonly origins?: O | undefined
  /**
   * The subprotocols that the handler speaks. Of those that the client offers the first that is among them is agreed
   * (the order of a client is its preference). Compared with their case. Default: none, and none is agreed.
   */
  readonly protocols?: ReadonlyArray<string> | undefined
  /** Whether to refuse a client with which no subprotocol is agreed. Default: `false`. */
  readonly protocolRequired?: boolean | undefined
  readonly name?: Name | undefined
}

/**
 * @since 0.1.0
 * @category policy
 */
export interface Facts {
  readonly method: string
  /** `1.1` where it is not known. */
  readonly httpVersion?: string | undefined
  readonly connection?: string | undefined
  readonly upgrade?: string | undefined
  /** `Sec-WebSocket-Version` */
  readonly version?: string | undefined
  /** `Sec-WebSocket-Key` */
  readonly key?: string | undefined
  /** `Sec-WebSocket-Protocol` */
  readonly protocols?: string | undefined
  readonly origin?: string | undefined
  /** The host that the request is for. */
  readonly host?: string | undefined
  /** Whether the client is known to have come by https. Default: `false`. */
  readonly secure?: boolean | undefined
}

/**
 * - `Pass`: it asks for no WebSocket.
 * - `Accept`: the handshake is right, and `protocol` is agreed.
 * - `Refuse`: it is not, for the first `reason` in this order.
 *
 * @since 0.1.0
 * @category policy
 */
export type Decision =
  | { readonly _tag: "Pass" }
  | { readonly _tag: "Accept"; readonly protocol: string | undefined }
  | { readonly _tag: "Refuse"; readonly reason: "method" | "version" | "key" | "protocol" | "origin" }

/**
 * Compiles the rules, once, to a pure function. Throws on what could never match.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { WebSocket } from "effect-middleware"
 *
 * const decide = WebSocket.policy({ protocols: ["chat.v2", "chat.v1"] })
 * const handshake = {
 *   method: "GET",
 *   connection: "keep-alive, Upgrade",
 *   upgrade: "websocket",
 *   version: "13",
 *   key: "dGhlIHNhbXBsZSBub25jZQ==",
 *   protocols: "chat.v1, chat.v0",
 *   host: "example.com"
 * }
 *
 * assert.deepEqual(decide({ ...handshake, origin: "https://example.com" }), { _tag: "Accept", protocol: "chat.v1" })
 * assert.deepEqual(decide({ ...handshake, origin: "https://evil.test" }), { _tag: "Refuse", reason: "origin" })
 * ```
 *
 * @since 0.1.0
 * @category policy
 */
export const policy = (options: Options<PlainOrigins> = {}): (facts: Facts) => Decision => {
  const { check, judge } = compile<void, boolean>(options)
  return (facts) => {
    const decision = check(facts)
    return decision._tag === "Accept" && judge(facts) !== true ? noOrigin : decision
  }
}

/**
 * What has been agreed with the client; none where the request asks for no WebSocket.
 *
 * @since 0.1.0
 * @category services
 */
export class Handshake extends Middleware.Service("effect-middleware/WebSocket/Handshake")<
  Handshake,
  Option.Option<{ readonly protocol: string | undefined }>
>() {}

/**
 * A handshake whose method is not `GET`.
 *
 * @since 0.1.0
 * @category errors
 */
export class MethodNotAllowed
  extends Schema.TaggedError<MethodNotAllowed>("effect-middleware/WebSocket/MethodNotAllowed")(
    "MethodNotAllowed",
    {},
    HttpApiSchema.annotations({ status: 405 })
  )
  implements HttpServerRespondable.Respondable
{
  override get message() {
    return "A WebSocket is opened by GET"
  }
  [HttpServerRespondable.symbol]() {
    return notGet
  }
}

/**
 * What the app answers is a WebSocket alone, of version 13: `upgrade` is a request that asks for none, `version` one for
 * another version.
 *
 * @since 0.1.0
 * @category errors
 */
export class UpgradeRequired extends Schema.TaggedError<UpgradeRequired>("effect-middleware/WebSocket/UpgradeRequired")(
  "UpgradeRequired",
  { reason: Schema.Literal("upgrade", "version") },
  HttpApiSchema.annotations({ status: 426 })
) implements HttpServerRespondable.Respondable {
  override get message() {
    return this.reason === "upgrade" ? "The request asks for no WebSocket" : "The WebSocket is not of version 13"
  }
  [HttpServerRespondable.symbol]() {
    return notUpgrade
  }
}

/**
 * A handshake that is not one: its key is no key, its list of subprotocols is none, or none of them is agreed where one
 * is required.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidHandshake
  extends Schema.TaggedError<InvalidHandshake>("effect-middleware/WebSocket/InvalidHandshake")(
    "InvalidHandshake",
    { reason: Schema.Literal("key", "protocol") },
    HttpApiSchema.annotations({ status: 400 })
  )
  implements HttpServerRespondable.Respondable
{
  override get message() {
    return `The handshake of the WebSocket has no valid ${this.reason === "key" ? "key" : "subprotocol"}`
  }
  [HttpServerRespondable.symbol]() {
    return invalid[this.reason]
  }
}

const notGet = ProblemDetails.toResponse(
  { status: 405, detail: "A WebSocket is opened by GET" },
  { headers: { allow: "GET" } }
)
const notUpgrade = ProblemDetails.toResponse(
  { status: 426, detail: "This resource is a WebSocket of version 13" },
  { headers: { connection: "upgrade", upgrade: "websocket", "sec-websocket-version": "13" } }
)
const invalid = {
  key: ProblemDetails.toResponse({ status: 400, detail: "The handshake has no valid Sec-WebSocket-Key" }),
  protocol: ProblemDetails.toResponse({ status: 400, detail: "The handshake offers no valid Sec-WebSocket-Protocol" })
}

// made once: an error with its stack and its schema costs more than the decision
const refusals = {
  method: Middleware.Refuse(new MethodNotAllowed()),
  version: Middleware.Refuse(new UpgradeRequired({ reason: "version" })),
  key: Middleware.Refuse(new InvalidHandshake({ reason: "key" })),
  protocol: Middleware.Refuse(new InvalidHandshake({ reason: "protocol" })),
  origin: Middleware.Refuse(new Cors.OriginNotAllowed())
}
const upgradeRequired = new UpgradeRequired({ reason: "upgrade" })

/**
 * Checks every handshake that passes, and lets all other requests alone. Stands outside of the apps that `handle` makes,
 * and of those that open sockets by themselves, such as one of `@effect/rpc`.
 *
 * - What has been agreed is `Handshake`, which `handle` requires.
 * - Refuses with `MethodNotAllowed` (405), `UpgradeRequired` (426: another version than 13), `InvalidHandshake` (400) and
 *   `Cors.OriginNotAllowed` (403).
 *
 * @example
 * ```ts
 * import { HttpRouter } from "@effect/platform"
 * import { Stack, WebSocket } from "effect-middleware"
 * import { Stream } from "effect"
 *
 * const app = HttpRouter.empty.pipe(
 *   HttpRouter.get("/echo", WebSocket.handle((socket) => Stream.runForEach(socket.messages, socket.send)))
 * )
 *
 * const server = Stack.serve(app, WebSocket.middleware({ origins: ["same-origin", "https://app.example.com"] }))
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <const O extends Origins = Origins<never, never>, const Name extends string = "WebSocket">(
  options: Options<O, Name> = {}
): Middleware.Middleware<
  Handshake,
  MethodNotAllowed | UpgradeRequired | InvalidHandshake | Cors.OriginNotAllowed | Failure<O>,
  Requirement<O>,
  never,
  Name,
  Middleware.Phases
> => {
  const { asks, check, judge } = compile<HttpServerRequest.HttpServerRequest, Verdict>(options)
  const verdicts = Middleware.local<Effect.Effect<Settled, unknown, unknown>>()
  return Middleware.make({
    name: options.name ?? "WebSocket" as Name,
    traits: [options.origins ?? "same-origin"].flat().includes("same-origin") ? ["guard", "trusts-host"] : ["guard"],
    provides: Handshake,
    request: (exchange) => {
      const { request } = exchange
      if (request.headers.upgrade === undefined) return noHandshake
      const facts = factsOf(request, exchange.getOption(Client))
      const decision = check(facts)
      if (decision._tag === "Pass") return noHandshake
      if (decision._tag === "Refuse") return refusals[decision.reason]
      const settle = (allowed: boolean): Settled =>
        allowed === true ? Middleware.Provide(Option.some({ protocol: decision.protocol })) : refusals.origin
      const verdict = judge(facts, request)
      if (typeof verdict === "boolean") return settle(verdict)
      verdicts.set(exchange, Effect.map(verdict, settle))
      return Middleware.Defer
    },
    // deferred to, and so set
    requestEffect: asks ? (exchange) => verdicts.get(exchange)! : undefined
    // it fails with what the function of `options` fails with, and requires what that requires
  }) as Middleware.Middleware<Handshake, never, never, never, Name, Middleware.Phases>
}

type Negotiated = Option.Option<{ readonly protocol: string | undefined }>
type Settled = Middleware.Provide<Negotiated> | Middleware.Refuse<Cors.OriginNotAllowed>
type Verdict = boolean | Effect.Effect<boolean, unknown, unknown>

const noHandshake = Middleware.Provide<Negotiated>(Option.none())

/** The handshake as it was received, whatever view of the request there is: that is what the server reads. */
const factsOf = (request: HttpServerRequest.HttpServerRequest, client: Option.Option<Client["Type"]>): Facts => {
  const { headers, httpVersion, method } = receivedOf(request)
  return {
    method,
    httpVersion,
    connection: headers["connection"],
    upgrade: headers["upgrade"],
    version: headers["sec-websocket-version"],
    key: headers["sec-websocket-key"],
    protocols: headers["sec-websocket-protocol"],
    origin: request.headers["origin"],
    host: client._tag === "Some" ? client.value.host : request.headers["host"],
    secure: client._tag === "Some" && client.value.scheme === "https"
  }
}

type OriginsOf<Q, V> =
  | "same-origin"
  | "*"
  | ReadonlyArray<string | RegExp>
  | ((origin: string, request: Q) => V)

const compile = <Q, V>(options: Options<OriginsOf<Q, V>>) => {
  const { origins = "same-origin", protocolRequired = false } = options
  const protocols = protocolsOf(options.protocols ?? [])
  if (protocolRequired && protocols.size === 0) {
    throw new TypeError("WebSocket: protocolRequired is true without protocols: list those that the handler speaks")
  }
  const allows = originTest<Q, V>(origins)
  return {
    /** Whether a function is asked. */
    asks: typeof origins === "function",
    check: (facts: Facts): Decision => {
      if (!asksForWebSocket(facts)) return pass
      if (facts.method !== "GET") return refuse("method")
      if (facts.version !== "13") return refuse("version")
      if (!isKey.test(facts.key ?? "")) return refuse("key")
      const offered = facts.protocols === undefined ? [] : offeredOf(facts.protocols)
      const protocol = offered?.find((name) => protocols.has(name))
      if (offered === undefined || (protocolRequired && protocol === undefined)) return refuse("protocol")
      return { _tag: "Accept", protocol }
    },
    judge: (facts: Facts, request: Q): V | boolean => facts.origin === undefined || allows(facts.origin, facts, request)
  }
}

const pass: Decision = { _tag: "Pass" }
const refuse = (reason: Extract<Decision, { _tag: "Refuse" }>["reason"]): Decision => ({ _tag: "Refuse", reason })
const noOrigin = refuse("origin")

const hasToken = (list: string | undefined, token: string): boolean =>
  list !== undefined && splitList(list).some((element) => element.toLowerCase() === token)

/** RFC 9110 7.8: an `Upgrade` that `Connection` does not name, or of HTTP/1.0, is none. */
const asksForWebSocket = ({ connection, httpVersion, upgrade }: Facts): boolean =>
  hasToken(upgrade, "websocket") && hasToken(connection, "upgrade") && httpVersion !== "1.0"

/** 16 bytes in base64. */
const isKey = /^[A-Za-z\d+/]{22}==$/
const token = /^[!#$%&'*+.^_`|~\dA-Za-z-]+$/

/** `undefined` where it is no list of different names (RFC 6455 4.1), which `ws` would not answer. */
const offeredOf = (text: string): ReadonlyArray<string> | undefined => {
  const names = text.split(",").map(trim)
  return names.every((name) => token.test(name)) && new Set(names).size === names.length ? names : undefined
}

const protocolsOf = (protocols: ReadonlyArray<string>): ReadonlySet<string> => {
  for (const name of protocols) {
    if (!token.test(name)) {
      throw new TypeError(`WebSocket: protocols has ${JSON.stringify(name)}: write a name without spaces ("chat.v1")`)
    }
  }
  return new Set(protocols)
}

const originTest = <Q, V>(origins: OriginsOf<Q, V>): (origin: string, facts: Facts, request: Q) => V | boolean => {
  if (origins === "*") return () => true
  if (origins === "same-origin") return isOwn
  if (typeof origins === "function") return (origin, _, request) => isOrigin(origin) && origins(origin, request)
  if (!Array.isArray(origins) || origins.length === 0) {
    throw new TypeError(`WebSocket: origins names none: list the origins to allow, or write "same-origin"`)
  }
  const listed = compileOrigins("WebSocket: origins", origins.filter((origin) => origin !== "same-origin"))
  return origins.includes("same-origin")
    ? (origin, facts) => listed(origin) || isOwn(origin, facts)
    : listed
}

const isOwn = (origin: string, { host, secure = false }: Facts): boolean => isSameOrigin(origin, host, secure)

// ------------------------------------------------------------------------------------------------------------- close

/**
 * What the compiler prints for a code that must not be sent.
 *
 * @since 0.1.0
 * @category models
 */
export interface MustBeSendable<Code> {
  readonly "a server may send 1000 to 1003, 1007 to 1009, 1011 to 1014 and 3000 to 4999": Code
}

type Digit = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9
type Registered = 1000 | 1001 | 1002 | 1003 | 1007 | 1008 | 1009 | 1011 | 1012 | 1013 | 1014

/**
 * A close code that a server may send (RFC 6455 section 7.4, and the registry of IANA): not 1004 to 1006 and 1015, which
 * stand for what was never sent, nor 1010, which is the client's, nor one that is reserved. One that is known as `number`
 * alone is checked when the close is made.
 *
 * @since 0.1.0
 * @category models
 */
export type Sendable<Code extends number> = number extends Code ? Code
  : Code extends Registered ? Code
  : `${Code}` extends `${3 | 4}${Digit}${Digit}${Digit}` ? Code
  : MustBeSendable<Code>

/**
 * The codes with a meaning that is registered.
 *
 * @since 0.1.0
 * @category models
 */
export const CloseCode = {
  normal: 1000,
  /** The server shuts down. */
  goingAway: 1001,
  protocolError: 1002,
  /** A binary message where text is spoken, or the other way round. */
  unsupportedData: 1003,
  /** A message whose content is not what it has to be. */
  invalidPayload: 1007,
  policyViolation: 1008,
  tooBig: 1009,
  internalError: 1011,
  serviceRestart: 1012,
  tryAgainLater: 1013,
  badGateway: 1014,
  unauthorized: 3000,
  forbidden: 3003,
  timeout: 3008
} as const

const registered: ReadonlySet<number> = new Set<Registered>(
  [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 1014]
)

/** `encodeInto` takes whole characters alone, and writes U+FFFD for half a surrogate pair. */
const cut = (reason: string): string => {
  const bytes = new Uint8Array(123)
  const { written } = new TextEncoder().encodeInto(reason, bytes)
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.subarray(0, written))
}

class Close extends Data.TaggedError("WebSocketClose")<{ readonly code: number; readonly reason: string }> {
  constructor({ code, reason = "" }: { readonly code: number; readonly reason?: string | undefined }) {
    if (!Number.isInteger(code) || !(registered.has(code) || (code >= 3000 && code <= 4999))) {
      throw new TypeError(
        `WebSocket: ${code} is no code that a server may send: write one of 4000 to 4999, which are yours, or a CloseCode`
      )
    }
    super({ code, reason: cut(reason) })
  }
  override get message() {
    return this.reason === "" ? `${this.code}` : `${this.code}: ${this.reason}`
  }
}

/**
 * The failure that closes the socket with a code, and a reason for the client to see.
 *
 * - The reason is cut at 123 bytes of UTF-8, between two characters (RFC 6455 section 5.5).
 * - A code that must not be sent is refused by type, and one that no type tells of throws.
 *
 * @example
 * ```ts
 * import { WebSocket } from "effect-middleware"
 * import { Effect, Stream } from "effect"
 *
 * const dice = WebSocket.handle((socket) =>
 *   Stream.runForEach(socket.messages, (message) =>
 *     message === "roll"
 *       ? socket.send("4")
 *       : Effect.fail(new WebSocket.WebSocketClose({ code: 4000, reason: "There is nothing but to roll" })))
 * )
 * ```
 *
 * @since 0.1.0
 * @category errors
 */
export interface WebSocketClose extends Close {}

/**
 * @since 0.1.0
 * @category errors
 */
export const WebSocketClose: new<const Code extends number>(options: {
  readonly code: Code & Sendable<Code>
  readonly reason?: string | undefined
}) => WebSocketClose = Close

/**
 * How a failure closes the socket.
 *
 * @since 0.1.0
 * @category models
 */
export type Closing<Failure = never> = WebSocketClose | ((error: Failure) => WebSocketClose)

type TagOf<E> = Extract<E, { readonly _tag: string }>["_tag"]

/**
 * Closes the socket on failures by their `_tag`: what is listed leaves the error channel, what is not stays, and closes
 * with 1011 when it leaves the handler. To see that none is left, state the type of the handler's failures:
 * `Effect<void, WebSocketClose>`.
 *
 * @example
 * ```ts
 * import { WebSocket } from "effect-middleware"
 * import { Data, Effect } from "effect"
 *
 * class NotAMember extends Data.TaggedError("NotAMember") {}
 * class Moved extends Data.TaggedError("Moved")<{ readonly to: string }> {}
 *
 * declare const chat: (socket: WebSocket.Socket) => Effect.Effect<void, NotAMember | Moved>
 *
 * const app = WebSocket.handle((socket) =>
 *   chat(socket).pipe(WebSocket.closeByTag({
 *     NotAMember: new WebSocket.WebSocketClose({ code: 3003, reason: "Members only" }),
 *     Moved: ({ to }) => new WebSocket.WebSocketClose({ code: 4001, reason: to })
 *   }))
 * )
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const closeByTag = <
  E,
  Cases extends
    & { readonly [Tag in TagOf<E>]?: Closing<Extract<E, { readonly _tag: Tag }>> }
    & (unknown extends E ? {} : { readonly [Tag in Exclude<keyof Cases, TagOf<E>>]: never })
>(cases: Cases) =>
<A, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, Exclude<E, { readonly _tag: keyof Cases }> | WebSocketClose, R> =>
  Effect.mapError(self, (error) => {
    const tag: PropertyKey = typeof error === "object" && error !== null && "_tag" in error ? String(error._tag) : ""
    const closing = Object.hasOwn(cases, tag) ? (cases as { readonly [tag: PropertyKey]: Closing })[tag] : undefined
    // what is not listed is what the type leaves, and the case that is listed takes what has its tag
    if (closing === undefined) return error as Exclude<E, { readonly _tag: keyof Cases }>
    return typeof closing === "function" ? closing(error as never) : closing
  })

// ------------------------------------------------------------------------------------------------------------ socket

/**
 * Text is a string, binary is bytes.
 *
 * @since 0.1.0
 * @category models
 */
export type Message = string | Uint8Array

/**
 * An open WebSocket.
 *
 * @since 0.1.0
 * @category models
 */
export interface Socket {
  /** The subprotocol that has been agreed. */
  readonly protocol: string | undefined
  /**
   * What the client sends, in order; for one reader at a time, and who reads on has what the one before has left. It ends
   * when the client has closed. Where the reader is behind, the connection is not read from.
   */
  readonly messages: Stream.Stream<Message>
  /**
   * Sends a message. Waits, before, while the client is behind: what waits to be sent is then no more than the buffer of
   * the connection and a message for each fiber that sends. To a client that has gone nothing is sent.
   */
  readonly send: (message: Message) => Effect.Effect<void>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface HandleOptions {
  /** The longest message that is taken, in bytes; a longer one closes with 1009. Default: 1 MiB. */
  readonly maxMessageSize?: number | undefined
  /** How many messages may wait for the reader before the connection is no longer read from. Default: 16. */
  readonly buffer?: number | undefined
  /**
   * Every `interval` the client is sent a ping; one from which nothing has come `timeout` later is gone, and is closed
   * with 3008. The timeout is no longer than the interval. Default: 30 and 20 seconds.
   */
  readonly ping?:
    | false
    | {
      readonly interval: Duration.DurationInput
      readonly timeout: Duration.DurationInput
    }
    | undefined
  /**
   * How long each side may take when the other has closed: the handler to come to its end, after which it is interrupted,
   * and the client to answer, after which the connection is cut. Default: 5 seconds.
   */
  readonly grace?: Duration.DurationInput | undefined
}

/**
 * The app that opens a WebSocket, runs the handler and closes.
 *
 * | the handler | code |
 * |---|---|
 * | ends | 1000 |
 * | fails with `WebSocketClose` | its own, with its reason |
 * | fails with an `HttpException`, or an error with an `HttpApiSchema` status, of 401, 403, 408 or 413 | 3000, 3003, 3008, 1009 |
 * | fails with another error, or dies | 1011, and the log has the cause; `ErrorReporter` is told |
 * | is interrupted, since the credentials of its request are no longer good | 3000 |
 * | is interrupted, as the server shuts down | 1001 |
 * | is interrupted, by a message that is too long | 1009 |
 * | is interrupted, by a client that does not answer | 3008 |
 *
 * - When the client closes, `messages` ends. The handler has `grace` to come to its end. When the connection is lost, the
 *   handler is interrupted at once.
 * - The scope of the handler is closed before the socket is.
 * - A request that asks for no WebSocket is refused with `UpgradeRequired`, 426.
 * - Log annotations and services of the request last as long as the socket.
 *
 * @example
 * ```ts
 * import { HttpRouter } from "@effect/platform"
 * import { WebSocket } from "effect-middleware"
 * import { Effect, PubSub, Stream } from "effect"
 *
 * const chat = (room: PubSub.PubSub<WebSocket.Message>) =>
 *   WebSocket.handle((socket) =>
 *     Effect.raceFirst(
 *       Stream.runForEach(socket.messages, (message) => PubSub.publish(room, message)),
 *       Stream.runForEach(Stream.fromPubSub(room), socket.send)
 *     )
 *   )
 *
 * const app = Effect.map(PubSub.sliding<WebSocket.Message>(100), (room) =>
 *   HttpRouter.empty.pipe(
 *     HttpRouter.get("/chat", chat(room)),
 *     WebSocket.middleware()
 *   ))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const handle = <A, E, R>(
  handler: (socket: Socket) => Effect.Effect<A, E, R>,
  options: HandleOptions = {}
): HttpApp.Default<UpgradeRequired, Handshake | Exclude<R, Scope.Scope>> => {
  const limits = limitsOf(options)
  return Effect.flatMap(
    Handshake,
    Option.match({
      onNone: () => Effect.fail(upgradeRequired),
      onSome: ({ protocol }) =>
        Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => serve(handler, limits, protocol, request))
    })
  )
}

interface Limits {
  readonly maxMessageSize: number
  readonly buffer: number
  readonly ping: { readonly interval: Duration.Duration; readonly timeout: Duration.Duration } | undefined
  readonly grace: Duration.Duration
}

const limitsOf = ({ buffer = 16, grace = "5 seconds", maxMessageSize = 2 ** 20, ping }: HandleOptions): Limits => {
  for (const [name, value] of Object.entries({ maxMessageSize, buffer })) {
    if (!Number.isInteger(value) || value < 1 || value > 2 ** 31 - 1) {
      throw new TypeError(`WebSocket: ${name} is ${value}: write a whole number of at least 1`)
    }
  }
  const limits = { maxMessageSize, buffer, grace: durationOf("grace", grace), ping: undefined }
  if (ping === false) return limits
  const interval = durationOf("ping.interval", ping?.interval ?? "30 seconds")
  const timeout = durationOf("ping.timeout", ping?.timeout ?? "20 seconds")
  for (const [name, duration] of Object.entries({ interval, timeout })) {
    if (Duration.toMillis(duration) === 0) {
      throw new TypeError(`WebSocket: ping.${name} is 0: write how long to wait, or ping: false`)
    }
  }
  if (Duration.greaterThan(timeout, interval)) {
    throw new TypeError("WebSocket: ping.timeout is longer than ping.interval: no ping is sent before the last is over")
  }
  return { ...limits, ping: { interval, timeout } }
}

const durationOf = (name: string, input: Duration.DurationInput): Duration.Duration => {
  const duration = Duration.decodeUnknown(input)
  if (duration._tag === "None" || !Duration.isFinite(duration.value)) {
    throw new TypeError(`WebSocket: ${name} is no length of time: write "5 seconds"`)
  }
  return duration.value
}

/** After a 101 there is no response; a server of platform's sees that, and sends none. */
const switched = HttpServerResponse.empty({ status: 101 })

const serve = <A, E, R>(
  handler: (socket: Socket) => Effect.Effect<A, E, R>,
  { buffer, grace, maxMessageSize, ping }: Limits,
  protocol: string | undefined,
  request: HttpServerRequest.HttpServerRequest
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, Exclude<R, Scope.Scope>> =>
  // what has been opened is closed, whatever comes
  Effect.uninterruptible(Effect.gen(function*() {
    const platform = yield* Effect.orDieWith(request.upgrade, unable)
    const write = yield* Effect.scoped(platform.writer)
    const connection = connectionOf(request.source)
    const inbox = yield* Mailbox.make<Message>()
    const opened = yield* Deferred.make<void>()
    /** What ends the handler from here. */
    const stop = yield* Deferred.make<never, WebSocketClose>()
    const room = yield* Effect.makeLatch(true)
    let ws: Ws | undefined
    /** How many messages wait; whether that is too many, and so nothing is read. */
    let [waiting, behind] = [0, false]
    /** Whether the handler has ended; whether the client has. */
    let [over, gone] = [false, false]
    let signs = 0

    const onOpen = (restore: () => void) =>
      Effect.sync(() => {
        restore()
        if (connection !== undefined) {
          connection.on("drain", () => {
            // of one that is read from, bytes are the better sign
            if (behind) signs++
            room.unsafeOpen()
          })
          ws = wsOf(connection)
          if (ws !== undefined) limit(ws, maxMessageSize)
        }
        Deferred.unsafeDone(opened, Exit.void)
      })
    const receive = (message: Message) => {
      if (over) return
      if (isLonger(message, maxMessageSize)) Deferred.unsafeDone(stop, Exit.fail(tooBig))
      else if (inbox.unsafeOffer(message) && ++waiting >= buffer && !behind) {
        behind = true
        ws?.pause()
      }
    }
    const readOn = () => {
      if (!behind) return
      behind = false
      signs++
      ws?.resume()
    }
    const reading = yield* Effect.suspend(() => {
      // of what has been lost by now `ws` tells nobody
      if (connection !== undefined && !(connection.readable && connection.writable)) {
        connection.destroy()
        return Deferred.failCause(opened, Cause.interrupt(clientAbortFiberId))
      }
      return platform.runRaw(receive, { onOpen: onOpen(agree(request.source, protocol)) })
    }).pipe(
      Effect.exit,
      Effect.tap((exit) => {
        gone = true
        if (hasClosed(exit)) inbox.unsafeDone(Exit.void)
      }),
      Effect.interruptible,
      // it has to see the end of the handshake that closes, whatever has interrupted the handler
      Effect.forkDaemon
    )
    // a client that has broken the protocol is owed nothing more
    const ended = Effect.flatMap(
      Fiber.join(reading),
      (exit) => Effect.zipRight(hasClosed(exit) ? Effect.sleep(grace) : Effect.void, normal)
    )

    // one by one: who reads on after the first has all the others
    const take = Effect.map(inbox.take, (message) => {
      if (--waiting === 0) readOn()
      return message
    })
    const send = (message: Message): Effect.Effect<void> =>
      Effect.suspend(() => {
        if (gone) return Effect.void
        if (connection?.writableNeedDrain !== true) return Effect.ignore(write(message))
        room.unsafeClose()
        return Effect.zipRight(room.await, send(message))
      })
    const socket: Socket = {
      protocol,
      messages: Stream.repeatEffectOption(Effect.mapError(take, Option.none)),
      send
    }
    const pulse = connection === undefined || ping === undefined
      ? Effect.never
      : heartbeat(ping, {
        ping: () => ws?.ping(),
        signs: () => connection.bytesRead + signs,
        isExcused: () => behind && !connection.writableNeedDrain
      })
    const ends = Effect.raceFirst(
      Effect.raceFirst(Deferred.await(stop), expired(request.source)),
      Effect.raceFirst(ended, pulse)
    )

    const exit = yield* Deferred.await(opened).pipe(
      Effect.zipRight(Effect.scoped(Effect.suspend(() => handler(socket)))),
      Effect.raceFirst(ends),
      Effect.interruptible,
      Effect.exit
    )
    over = true
    // the close of the client is behind what nobody reads any more
    readOn()
    const { code, reason } = yield* closeOf(exit, request)
    const closing = yield* write(new PlatformSocket.CloseEvent(code, reason)).pipe(
      Effect.zipRight(Effect.never),
      Effect.raceFirst(connection === undefined ? Fiber.await(reading) : lost(connection)),
      Effect.timeoutTo({ duration: grace, onSuccess: () => {}, onTimeout: () => connection?.destroy() }),
      // this fiber may have been interrupted, and then waits for nothing that could be
      Effect.interruptible,
      Effect.forkDaemon
    )
    yield* Fiber.await(closing)
    yield* Fiber.interruptFork(reading)
    return yield* isInterrupted(exit) ? Effect.failCause(Cause.stripFailures(exit.cause)) : Effect.succeed(switched)
  }))

/** When who has opened it is none any longer. */
const expired = (source: unknown): Effect.Effect<never, WebSocketClose> => {
  const at = expiryOf(source)
  if (at === Number.POSITIVE_INFINITY) return Effect.never
  return Effect.flatMap(Clock.currentTimeMillis, (now) =>
    now >= at
      ? Effect.fail(unauthorized)
      : Effect.zipRight(Effect.sleep(Math.min(at - now, longestSleep)), expired(source)))
}
/** A timer that is set for longer does not wait at all. */
const longestSleep = 2 ** 30

const lost = (connection: Connection): Effect.Effect<void> =>
  Effect.async((resume) => {
    if (connection.destroyed) resume(Effect.void)
    else connection.on("close", () => resume(Effect.void))
  })

const unable = (cause: unknown) =>
  new Error("WebSocket: this server cannot open one; serve the app with NodeHttpServer", { cause })

const isLonger = (message: Message, bytes: number): boolean =>
  typeof message === "string"
    // a character of a string has up to three bytes
    ? message.length * 3 > bytes && new TextEncoder().encode(message).length > bytes
    : message.length > bytes

const hasClosed = (exit: Exit.Exit<void, PlatformSocket.SocketError>): boolean =>
  Exit.isSuccess(exit) ||
  Option.exists(Cause.failureOption(exit.cause), PlatformSocket.SocketCloseError.is)

/**
 * Whatever comes from the client, a pong too, is a sign of life. Of one that is not read from, none is expected, but that
 * it takes what waits for it.
 */
const heartbeat = (
  { interval, timeout }: NonNullable<Limits["ping"]>,
  { isExcused, ping, signs }: {
    readonly ping: () => void
    readonly signs: () => number
    readonly isExcused: () => boolean
  }
): Effect.Effect<never, WebSocketClose> =>
  Effect.gen(function*() {
    yield* Effect.sleep(interval)
    while (true) {
      const before = signs()
      ping()
      yield* Effect.sleep(timeout)
      if (signs() === before && !isExcused()) return yield* timedOut
      yield* Effect.sleep(Duration.subtract(interval, timeout))
    }
  })

const normal = new WebSocketClose({ code: 1000 })
const goingAway = new WebSocketClose({ code: 1001 })
const tooBig = new WebSocketClose({ code: 1009 })
const timedOut = new WebSocketClose({ code: 3008 })
const unexpected = new WebSocketClose({ code: 1011 })
const unauthorized = new WebSocketClose({ code: 3000 })

const isInterrupted = <A, E>(exit: Exit.Exit<A, E>): exit is Exit.Failure<A, E> =>
  Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause)

const closeOf = (
  exit: Exit.Exit<unknown, unknown>,
  request: HttpServerRequest.HttpServerRequest
): Effect.Effect<WebSocketClose> => {
  if (Exit.isSuccess(exit)) return Effect.succeed(normal)
  if (isInterrupted(exit)) return Effect.succeed(goingAway)
  const { cause } = exit
  const known = Option.isNone(Cause.dieOption(cause))
    ? Option.flatMapNullable(Cause.failureOption(cause), closeFor)
    : Option.none()
  if (Option.isSome(known)) return Effect.succeed(known.value)
  const told = Effect.contextWithEffect((services: Context.Context<never>) => {
    const route = Option.getOrUndefined(Context.getOption(services, HttpRouter.RouteContext))?.route.path
    return report("The handler of a WebSocket failed", { cause, part: "socket", request, route, services })
  })
  return Effect.as(told, unexpected)
}

const byStatus = new Map([
  [401, unauthorized],
  [403, new WebSocketClose({ code: 3003 })],
  [408, timedOut],
  [413, tooBig]
])

const closeFor = (error: unknown): WebSocketClose | undefined => {
  if (error instanceof WebSocketClose) return error
  if (typeof error !== "object" || error === null) return undefined
  if (error instanceof HttpException) return byStatus.get(error.status)
  return Schema.isSchema(error.constructor) ? byStatus.get(HttpApiSchema.getStatusError(error.constructor)) : undefined
}

// -------------------------------------------------------------------------------------------------------------- JSON

/**
 * A socket that speaks JSON: values on both sides, checked by a schema.
 *
 * @since 0.1.0
 * @category models
 */
export interface Json<out A, in B, out RA = never, out RB = never> {
  /** Fails with 1003 on a binary message, and with 1007 on one that the schema refuses. */
  readonly messages: Stream.Stream<A, WebSocketClose, RA>
  /** Dies of a value that the schema cannot encode. */
  readonly send: (value: B) => Effect.Effect<void, never, RB>
}

/**
 * Reads and writes JSON by schemas. A message that does not fit closes the socket, unless the handler decides otherwise;
 * the client does not learn why.
 *
 * @example
 * ```ts
 * import { WebSocket } from "effect-middleware"
 * import { Schema, Stream } from "effect"
 *
 * const Roll = Schema.Struct({ sides: Schema.Int })
 * const Rolled = Schema.Struct({ eyes: Schema.Int })
 *
 * const dice = WebSocket.handle((socket) => {
 *   const { messages, send } = WebSocket.json(socket, { receive: Roll, send: Rolled })
 *   return Stream.runForEach(messages, ({ sides }) => send({ eyes: sides }))
 * })
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const json = <A, I, RA, B, J, RB>(
  socket: Socket,
  schemas: { readonly receive: Schema.Schema<A, I, RA>; readonly send: Schema.Schema<B, J, RB> }
): Json<A, B, RA, RB> => {
  const decode = Schema.decode(Schema.parseJson(schemas.receive))
  const encode = Schema.encode(Schema.parseJson(schemas.send))
  return {
    messages: Stream.mapEffect(
      socket.messages,
      (message) =>
        typeof message === "string" ? Effect.mapError(decode(message), () => notFitting) : Effect.fail(notText)
    ),
    send: (value) => Effect.flatMap(Effect.orDie(encode(value)), socket.send)
  }
}

const notText = new WebSocketClose({ code: 1003 })
const notFitting = new WebSocketClose({ code: 1007 })
