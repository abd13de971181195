/**
 * Refuses request bodies that are too large, before or while they are read.
 *
 * Without a limit one client can have a server fill its memory. Rules, in this order:
 *
 * 1. A `Transfer-Encoding` beats a `Content-Length` (RFC 9112 section 6.3): the bytes are counted.
 * 2. A `Content-Length` above the limit is refused at once, before anything is read.
 * 3. One within the limit passes where the server holds the body to it, as Node's does. Elsewhere the bytes are counted.
 * 4. One that is malformed says nothing: the bytes are counted. Node's server answers it with a 400 before.
 * 5. What is counted fails at the first byte too many, however it is read: `json`, `text`, `multipart`, `stream` and the
 *    others. Whatever the handler makes of that, the answer is the refusal.
 * 6. A counted body that a handler has not read is read before the response leaves, up to the limit and for a second.
 *
 * @since 0.1.0
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerError from "@effect/platform/HttpServerError"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { isEmpty } from "./internal/content.js"
import { fromPhases } from "./internal/kernel.js"
import { isLeft, leave, nodeRequest } from "./internal/nodeRequest.js"
import { isHandshake } from "./internal/nodeResponse.js"
import { isStreamed } from "./internal/requestBody.js"
import { parseSize, type Size as Bytes } from "./internal/size.js"
import * as Middleware from "./Middleware.js"
import * as ProblemDetails from "./ProblemDetails.js"
import type { ResponseDraft } from "./ResponseDraft.js"

/**
 * A number of bytes: as a number, as platform's `FileSystem.MiB(1)`, or in words. A KiB has 1024 bytes.
 *
 * @since 0.1.0
 * @category models
 */
export type Size = Bytes

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<Name extends string = string> {
  /** The largest body that passes. 0 lets none pass. Default: `"1 MiB"`. */
  readonly limit?: Size | undefined
  readonly name?: Name | undefined
}

/**
 * @since 0.1.0
 * @category policy
 */
export interface Facts {
  /** The `Content-Length` header. */
  readonly contentLength: string | undefined
  /** The `Transfer-Encoding` header. */
  readonly transferEncoding: string | undefined
  /** Whether the server hands on no more of a body than the header says, and none where it says nothing. */
  readonly framed: boolean
}

/**
 * @since 0.1.0
 * @category policy
 */
export type Decision = "allow" | "count" | "reject"

/**
 * Compiles the rules, once, to a pure function. Throws on a limit that is no size.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { BodyLimit } from "effect-middleware"
 *
 * const decide = BodyLimit.policy({ limit: "1 KiB" })
 *
 * assert.equal(decide({ contentLength: "1024", transferEncoding: undefined, framed: true }), "allow")
 * assert.equal(decide({ contentLength: "1025", transferEncoding: undefined, framed: true }), "reject")
 * assert.equal(decide({ contentLength: "1", transferEncoding: "chunked", framed: true }), "count")
 * ```
 *
 * @since 0.1.0
 * @category policy
 */
export const policy = (options: Options = {}): (facts: Facts) => Decision => {
  const limit = bytesOf(options.limit)
  return ({ contentLength, framed, transferEncoding }) => {
    if (transferEncoding !== undefined) return "count"
    if (contentLength === undefined) return framed ? "allow" : "count"
    if (!/^\d+$/.test(contentLength)) return "count"
    if (Number(contentLength) > limit) return "reject"
    return framed ? "allow" : "count"
  }
}

/**
 * The body of the request has more bytes than the limit.
 *
 * @since 0.1.0
 * @category errors
 */
export class BodyTooLarge extends Schema.TaggedError<BodyTooLarge>("effect-middleware/BodyLimit/BodyTooLarge")(
  "BodyTooLarge",
  { limit: Schema.Number },
  HttpApiSchema.annotations({ status: 413 })
) implements HttpServerRespondable.Respondable {
  override get message() {
    return `The body of the request has more than ${this.limit} bytes`
  }
  [HttpServerRespondable.symbol]() {
    return refusal
  }
}

const refusal = ProblemDetails.toResponse({ status: 413, detail: "The content is larger than this server takes" })

/**
 * Refuses with `BodyTooLarge` (413) what is larger than the limit.
 *
 * In Node's server the connection is closed after the answer, in such a way that a client that is still sending can read
 * it: for 5 seconds, and up to 64 MiB, what it sends is thrown away.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
 * import { BodyLimit, Middleware, Stack } from "effect-middleware"
 * import { Effect } from "effect"
 *
 * const upload = Effect.map(
 *   Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => request.arrayBuffer),
 *   (bytes) => HttpServerResponse.text(`${bytes.byteLength} bytes`)
 * )
 *
 * const app = HttpRouter.empty.pipe(
 *   // the limit of one route, in the place of the one of all the others
 *   HttpRouter.post("/upload", upload.pipe(BodyLimit.middleware({ limit: "100 MiB" }))),
 *   Middleware.exceptRoutes(["POST /upload"], BodyLimit.middleware({ limit: "64 KiB" }))
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <const Name extends string = "BodyLimit">(
  options: Options<Name> = {}
): Middleware.Middleware<never, BodyTooLarge, never, never, Name, Middleware.Phases> => {
  const decide = policy(options)
  const limit = bytesOf(options.limit)
  // made once: an error with its stack and its schema costs more than the decision
  const tooLarge = new BodyTooLarge({ limit })
  const refuse = Middleware.Refuse(tooLarge)
  const counts = Middleware.local<Count>()
  const name = options.name ?? "BodyLimit" as Name
  return fromPhases(name, [{
    name,
    traits: ["guard", "body-limit"],
    request: (exchange: Middleware.Exchange) => {
      const { request } = exchange
      // its answer would not be sent: the connection ends with the one before
      if (isLeft(request)) return refuse
      const decision = decide(factsOf(request))
      if (decision === "reject") {
        leave(request)
        return refuse
      }
      if (decision === "allow" || isHandshake(request)) return
      const count = new Count(limit, tooLarge)
      counts.set(exchange, count)
      exchange.deriveRequest({ stream: (body) => count.read(body, request) })
    },
    response: (draft: ResponseDraft, exchange: Middleware.Exchange) => {
      const count = counts.get(exchange)
      if (count === undefined) return
      const { request } = exchange
      const end = () => {
        if (count.exceeded) draft.refuse(tooLarge)
        if (count.exceeded || nodeRequest(request)?.complete === false) leave(request)
      }
      // a stream may yet read it
      if (count.opened || draft.body._tag === "Stream" || draft.body._tag === "Raw") return end()
      return Effect.map(rest(request), end)
    }
  }])
}

class Count {
  opened = false
  exceeded = false
  private bytes = 0
  constructor(private readonly limit: number, private readonly tooLarge: BodyTooLarge) {}

  read(body: HttpServerRequest.HttpServerRequest["stream"], request: HttpServerRequest.HttpServerRequest) {
    this.opened = true
    return Stream.mapEffect(body, (bytes) => {
      this.bytes += bytes.length
      if (this.bytes <= this.limit) return Effect.succeed(bytes)
      this.exceeded = true
      return new HttpServerError.RequestError({ request, reason: "Decode", cause: this.tooLarge })
    })
  }
}

/** Reads what nobody has read. A client may wait for the answer before it goes on, and one that leaves ends it. */
const rest = ({ stream }: HttpServerRequest.HttpServerRequest): Effect.Effect<void> =>
  Stream.runDrain(stream).pipe(
    Effect.timeout("1 second"),
    // a response leaves where nothing can be interrupted
    Effect.interruptible,
    Effect.exit,
    Effect.asVoid,
    Effect.uninterruptible
  )

const factsOf = (request: HttpServerRequest.HttpServerRequest): Facts => {
  const { headers } = request
  // of what another middleware has made of the body no header tells
  const changed = isStreamed(request)
  return {
    contentLength: changed ? undefined : headers["content-length"],
    transferEncoding: headers["transfer-encoding"],
    framed: !changed && (nodeRequest(request)?.httpVersionMajor === 1 || isEmpty(request))
  }
}

const bytesOf = (limit: Size = "1 MiB"): number => parseSize("BodyLimit", "limit", limit)
