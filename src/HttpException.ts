/**
 * Failures that are an HTTP status: `yield* HttpException.notFound({ detail: "There is no such note" })` ends a handler
 * with that answer, wherever it stands.
 *
 * @since 0.1.0
 */
import * as Headers from "@effect/platform/Headers"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Data from "effect/Data"
import * as Schema from "effect/Schema"
import { isToken } from "./internal/fields.js"
import * as ProblemDetails from "./ProblemDetails.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends Omit<ProblemDetails.Problem, "status"> {
  /** Fields of the response. */
  readonly headers?: Headers.Input | undefined
  /** What led to it, for the log; the client is told nothing of it. */
  readonly cause?: unknown
}

/**
 * A failure that is answered with its status, as problem details. It knows its response, so nobody has to handle it; a
 * handler may: `ExceptionHandlers.byTag({ HttpException: ... })`, or `byStatus`.
 *
 * - Throws on a status that is no error, on a field that cannot be sent and on an extension that is a member of every
 *   problem: mistakes of the program, which end in a 500.
 *
 * @since 0.1.0
 * @category errors
 */
export class HttpException extends Data.TaggedError("HttpException")<{
  readonly status: number
  readonly problem: ProblemDetails.Json
  readonly headers: Headers.Headers
  readonly cause?: unknown
}> implements HttpServerRespondable.Respondable {
  /** The answer: problem details. */
  declare readonly response: HttpServerResponse.HttpServerResponse
  constructor(status: number, options: Options = {}) {
    const { cause, detail, extensions, headers, instance, title, type } = options
    const fields = Headers.fromInput(headers)
    for (const name in fields) {
      if (!isToken(name) || /[^\t\x20-\x7e\x80-\xff]/.test(fields[name]!)) {
        // the value may be the client's
        throw new TypeError(`HttpException: the field ${JSON.stringify(name)} cannot be sent (RFC 9110 section 5.5)`)
      }
      if (name === "transfer-encoding" || name === "trailer") {
        throw new TypeError(`HttpException: the field "${name}" is the server's: it frames the content`)
      }
    }
    const json = ProblemDetails.toJson({ status, type, title, detail, instance, extensions })
    super({ status, problem: json, headers: fields, ...(cause === undefined ? {} : { cause }) })
    // now: what throws while platform renders it leaves the client without an answer
    Object.defineProperty(this, "response", { value: ProblemDetails.fromJson(status, json, fields) })
  }
  override get message(): string {
    const { detail, title } = this.problem
    return `${this.status} ${String(title)}${detail === undefined ? "" : `: ${String(detail)}`}`
  }
  [HttpServerRespondable.symbol]() {
    return this.response
  }
}

/**
 * A failure of any error status, 400 to 599.
 *
 * @example
 * ```ts
 * import { HttpException } from "effect-middleware"
 * import { Effect } from "effect"
 *
 * const brew = Effect.fail(HttpException.make(418, { title: "I'm a teapot" }))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (status: number, options?: Options): HttpException => new HttpException(status, options)

/**
 * The failures of one status as an error of an `HttpApi`: encoded as problem details, and for a client that uses
 * `HttpApiClient` an `HttpException` again. Fields of the response are not part of it.
 *
 * @example
 * ```ts
 * import { HttpApiEndpoint } from "@effect/platform"
 * import { HttpException } from "effect-middleware"
 *
 * const read = HttpApiEndpoint.get("read", "/notes/:id").addError(HttpException.schema(404))
 * ```
 *
 * @since 0.1.0
 * @category schemas
 */
export const schema = (status: number): Schema.Schema<HttpException, ProblemDetails.Json> => {
  // throws on a status that is no error
  make(status)
  const isOne = (u: unknown): u is HttpException => u instanceof HttpException && u.status === status
  return Schema.transform(
    Schema.Record({ key: Schema.String, value: Schema.Unknown }),
    Schema.declare(isOne, { identifier: `HttpException${status}` }),
    {
      strict: true,
      decode: (json) => fromJson(status, json),
      encode: ({ problem }) => problem
    }
  ).annotations(HttpApiSchema.annotations({ status })).pipe(
    HttpApiSchema.withEncoding({ kind: "Json", contentType: ProblemDetails.mediaType })
  )
}

const fromJson = (status: number, json: ProblemDetails.Json): HttpException => {
  const { extensions, status: _, type, ...known } = Schema.decodeSync(ProblemDetails.schema)(json)
  return make(status, { ...known, extensions, ...(json.type === undefined ? {} : { type }) })
}

const of = (status: number) => (options?: Options): HttpException => new HttpException(status, options)

const withField = (status: number, name: string, value: string, options: Options): HttpException =>
  new HttpException(status, { ...options, headers: { ...Headers.fromInput(options.headers), [name]: value } })

// --- statuses that must come with a field ----------------------------------------------------------------------------

/**
 * 401: the client has to say who it is, and how is in `WWW-Authenticate`, which the answer must have (RFC 9110 section
 * 15.5.2).
 *
 * @since 0.1.0
 * @category client errors
 */
export const unauthorized = (
  { challenge, ...options }: Options & { readonly challenge: string }
): HttpException => withField(401, "www-authenticate", challenge, options)

/**
 * 405: the resource does not know the method. The answer must say which it knows, in `Allow` (section 15.5.6); an empty
 * list says none.
 *
 * @since 0.1.0
 * @category client errors
 */
export const methodNotAllowed = (
  { allow, ...options }: Options & { readonly allow: ReadonlyArray<string> }
): HttpException => withField(405, "allow", allow.join(", "), options)

/**
 * 407: the client has to say to the proxy who it is, as `Proxy-Authenticate` tells (section 15.5.8).
 *
 * @since 0.1.0
 * @category client errors
 */
export const proxyAuthenticationRequired = (
  { challenge, ...options }: Options & { readonly challenge: string }
): HttpException => withField(407, "proxy-authenticate", challenge, options)

/**
 * 426: the client has to speak another protocol; which, is in `Upgrade` (section 15.5.22).
 *
 * @since 0.1.0
 * @category client errors
 */
export const upgradeRequired = (
  { upgrade, ...options }: Options & { readonly upgrade: NonEmptyReadonlyArray<string> }
): HttpException => withField(426, "upgrade", upgrade.join(", "), options)

// --- all others ------------------------------------------------------------------------------------------------------

/**
 * 400: the request cannot be understood.
 *
 * @since 0.1.0
 * @category client errors
 */
export const badRequest = of(400)

/**
 * 402: reserved; some services ask for payment with it.
 *
 * @since 0.1.0
 * @category client errors
 */
export const paymentRequired = of(402)

/**
 * 403: the client may not have this, and credentials will not change that.
 *
 * @since 0.1.0
 * @category client errors
 */
export const forbidden = of(403)

/**
 * 404: there is nothing at this place, or nobody may know.
 *
 * @since 0.1.0
 * @category client errors
 */
export const notFound = of(404)

/**
 * 406: no form that the client accepts.
 *
 * @since 0.1.0
 * @category client errors
 */
export const notAcceptable = of(406)

/**
 * 408: the client took too long to send its request.
 *
 * @since 0.1.0
 * @category client errors
 */
export const requestTimeout = of(408)

/**
 * 409: the state of the resource does not allow it.
 *
 * @since 0.1.0
 * @category client errors
 */
export const conflict = of(409)

/**
 * 410: there was something, and it will not come back.
 *
 * @since 0.1.0
 * @category client errors
 */
export const gone = of(410)

/**
 * 411: the request needs a `Content-Length`.
 *
 * @since 0.1.0
 * @category client errors
 */
export const lengthRequired = of(411)

/**
 * 412: a precondition of the request does not hold.
 *
 * @since 0.1.0
 * @category client errors
 */
export const preconditionFailed = of(412)

/**
 * 413: the content is larger than the server takes.
 *
 * @since 0.1.0
 * @category client errors
 */
export const contentTooLarge = of(413)

/**
 * 414: the target is longer than the server takes.
 *
 * @since 0.1.0
 * @category client errors
 */
export const uriTooLong = of(414)

/**
 * 415: the server does not take content of this type, or coding.
 *
 * @since 0.1.0
 * @category client errors
 */
export const unsupportedMediaType = of(415)

/**
 * 416: the range lies outside of the content.
 *
 * @since 0.1.0
 * @category client errors
 */
export const rangeNotSatisfiable = of(416)

/**
 * 417: an expectation of the request cannot be met.
 *
 * @since 0.1.0
 * @category client errors
 */
export const expectationFailed = of(417)

/**
 * 421: the server does not answer for this host.
 *
 * @since 0.1.0
 * @category client errors
 */
export const misdirectedRequest = of(421)

/**
 * 422: the content is well-formed, and means nothing that can be done.
 *
 * @since 0.1.0
 * @category client errors
 */
export const unprocessableContent = of(422)

/**
 * 423: the resource is locked.
 *
 * @since 0.1.0
 * @category client errors
 */
export const locked = of(423)

/**
 * 424: the request depended on another one that failed.
 *
 * @since 0.1.0
 * @category client errors
 */
export const failedDependency = of(424)

/**
 * 425: the request may be a replay of early data.
 *
 * @since 0.1.0
 * @category client errors
 */
export const tooEarly = of(425)

/**
 * 428: the request must be conditional.
 *
 * @since 0.1.0
 * @category client errors
 */
export const preconditionRequired = of(428)

/**
 * 429: the client has sent too many requests.
 *
 * @since 0.1.0
 * @category client errors
 */
export const tooManyRequests = of(429)

/**
 * 431: the fields of the request are too large.
 *
 * @since 0.1.0
 * @category client errors
 */
export const requestHeaderFieldsTooLarge = of(431)

/**
 * 451: the law forbids it.
 *
 * @since 0.1.0
 * @category client errors
 */
export const unavailableForLegalReasons = of(451)

/**
 * 500: the server failed.
 *
 * @since 0.1.0
 * @category server errors
 */
export const internalServerError = of(500)

/**
 * 501: the server does not know how.
 *
 * @since 0.1.0
 * @category server errors
 */
export const notImplemented = of(501)

/**
 * 502: the server behind this one gave no valid answer.
 *
 * @since 0.1.0
 * @category server errors
 */
export const badGateway = of(502)

/**
 * 503: the server cannot serve for now.
 *
 * @since 0.1.0
 * @category server errors
 */
export const serviceUnavailable = of(503)

/**
 * 504: the server behind this one gave no answer in time.
 *
 * @since 0.1.0
 * @category server errors
 */
export const gatewayTimeout = of(504)

/**
 * 505: the server does not speak this version of HTTP.
 *
 * @since 0.1.0
 * @category server errors
 */
export const httpVersionNotSupported = of(505)

/**
 * 507: there is no room to do it.
 *
 * @since 0.1.0
 * @category server errors
 */
export const insufficientStorage = of(507)

/**
 * 508: the request would go on for ever.
 *
 * @since 0.1.0
 * @category server errors
 */
export const loopDetected = of(508)

/**
 * 511: the network asks the client to sign in.
 *
 * @since 0.1.0
 * @category server errors
 */
export const networkAuthenticationRequired = of(511)
