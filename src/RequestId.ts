/**
 * Gives every request an identifier: a service for handlers, a response header,
 * an annotation of every log line, an attribute of the current span, and a header
 * of the requests that your server sends on.
 *
 * @since 0.1.0
 */
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Entropy from "./Entropy.js"
import { Client } from "./Forwarded.js"
import { isToken } from "./internal/fields.js"
import * as Middleware from "./Middleware.js"

/**
 * The identifier of the current request.
 *
 * @since 0.1.0
 * @category services
 */
export class RequestId extends Middleware.Service("effect-middleware/RequestId")<RequestId, string>() {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<
  Trust extends Trusted = Trusted,
  Name extends string = string
> {
  /** The field that carries the identifier, in and out. Default: `x-request-id`. */
  readonly header?: string | undefined
  /**
   * Whose identifier to take over, if it is valid: nobody's, that of a trusted
   * proxy (requires `Forwarded.Client`), everybody's, or as a predicate says.
   * An identifier from outside can be repeated at will; do not rely on it being
   * unique. Default: `"none"`.
   */
  readonly trust?: Trust | undefined
  /** Makes an identifier. Default: `uuid4`. */
  readonly generate?: Generator | undefined
  /** Whether the response carries the identifier. Default: `true`. */
  readonly respond?: boolean | undefined
  /** Key of the log annotation and of the span attribute. Default: `request.id`. */
  readonly annotation?: string | undefined
  readonly name?: Name | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export type Trusted = "none" | "proxy" | "all" | TrustedWhen

/**
 * @since 0.1.0
 * @category models
 */
export type TrustedWhen = (request: HttpServerRequest.HttpServerRequest) => boolean

/**
 * @since 0.1.0
 * @category models
 */
export type Generator = (entropy: Entropy.Service, now: () => number) => string

/**
 * A random UUID (RFC 9562 section 5.4).
 *
 * @since 0.1.0
 * @category generators
 */
export const uuid4: Generator = (entropy) => entropy.uuid()

/**
 * A UUID that sorts by time (RFC 9562 section 5.7): 48 bits of milliseconds, 74
 * random bits.
 *
 * @since 0.1.0
 * @category generators
 */
export const uuid7: Generator = (entropy, now) => {
  const time = now().toString(16).padStart(12, "0")
  // variant and random bits are those of version 4
  return `${time.slice(0, 8)}-${time.slice(8, 12)}-7${entropy.uuid().slice(15)}`
}

/**
 * Whether an identifier from outside may be taken over: 1 to 128 letters, digits,
 * `.`, `_`, `=`, `-`, so that it can neither break a log line nor a header.
 *
 * @since 0.1.0
 * @category policy
 */
export const isValid = (id: string | undefined): id is string =>
  id !== undefined && id.length <= 128 && /^[A-Za-z0-9._=-]+$/.test(id)

/**
 * Provides `RequestId`.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { RequestId } from "effect-middleware"
 * import { Effect } from "effect"
 *
 * const app = HttpRouter.empty.pipe(
 *   HttpRouter.get("/", Effect.map(RequestId.RequestId, HttpServerResponse.text)),
 *   RequestId.middleware({ generate: RequestId.uuid7 })
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
// the default of `Trust` is what gives a predicate the type of its parameter
export const middleware = <const Trust extends Trusted = TrustedWhen, const Name extends string = "RequestId">(
  options: Options<Trust, Name> = {}
): Middleware.Middleware<RequestId, never, "proxy" extends Trust ? Client : never, never, Name, Middleware.Phases> => {
  const { annotation = "request.id", generate = uuid4, respond = true } = options
  const header = (options.header ?? "x-request-id").toLowerCase()
  if (!isToken(header)) {
    throw new TypeError(
      `RequestId: header ${JSON.stringify(options.header)} is not a field name (RFC 9110 section 5.1)`
    )
  }
  const trust: Trusted = options.trust ?? "none"
  const isTrusted = (exchange: Middleware.Exchange<Client>) =>
    typeof trust === "function"
      ? trust(exchange.request)
      : trust === "all" || (trust === "proxy" && exchange.get(Client).proxied)
  return Middleware.make({
    name: options.name ?? "RequestId" as Name,
    traits: ["identifier"],
    requires: [Client],
    provides: RequestId,
    request: (exchange) => {
      const inbound = exchange.request.headers[header]
      const id = isValid(inbound) && isTrusted(exchange)
        ? inbound
        : generate(exchange.entropy, () => exchange.clock.unsafeCurrentTimeMillis())
      exchange.annotateLogs(annotation, id)
      exchange.annotateSpan(annotation, id)
      return Middleware.Provide(id)
    },
    response: respond ? (draft, exchange) => draft.set(header, exchange.get(RequestId)) : undefined
    // `Client` is read, and so required, only when a proxy is trusted
  }) as Middleware.Middleware<RequestId, never, never, never, Name, Middleware.Phases>
}

/**
 * A client that sends the identifier of the current request on with each of its
 * own; outside a request it sends none.
 *
 * @example
 * ```ts
 * import { HttpClient } from "@effect/platform"
 * import { RequestId } from "effect-middleware"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const client = RequestId.propagate(yield* HttpClient.HttpClient)
 *   return yield* client.get("https://inventory.example.com/items")
 * })
 * ```
 *
 * @since 0.1.0
 * @category client
 */
export const propagate = <E, R>(
  client: HttpClient.HttpClient.With<E, R>,
  options?: { readonly header?: string | undefined }
): HttpClient.HttpClient.With<E, R> =>
  HttpClient.mapRequestEffect(
    client,
    (request) =>
      Effect.map(Effect.serviceOption(RequestId), (id) =>
        Option.match(id, {
          onNone: () => request,
          onSome: (id) => HttpClientRequest.setHeader(request, options?.header ?? "x-request-id", id)
        }))
  )
