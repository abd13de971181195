/**
 * Undoes the content codings of request bodies: gzip, Brotli, zstd, deflate. Whoever reads the body, in whatever way, reads
 * what the client has compressed.
 *
 * A few bytes can stand for gigabytes, so what comes out is counted. Rules, in this order:
 *
 * 1. A request without `Content-Encoding`, and one with `identity` alone, stays as it is.
 * 2. A coding that is not known, and more of them than `layers`, is refused with `UnsupportedCoding` (415) before anything is
 *    read; `Accept-Encoding` in the answer names those that are taken (RFC 9110 section 15.5.16).
 * 3. The body is decoded as it is read, and only then. What nobody reads is not decoded.
 * 4. What is more than `limit`, or, from the second MiB on, more than `ratio` times what has been received, fails with
 *    `DecompressedTooLarge` (413). Of several codings that counts for what comes out of each.
 * 5. What is malformed, cut short or followed by something else fails with `MalformedCoding` (400).
 * 6. Whatever the handler makes of such a failure, the answer is the refusal.
 *
 * What is inside sees neither `Content-Encoding` nor `Content-Length`: the length of what comes out is not known.
 *
 * @since 0.1.0
 */
import * as Headers from "@effect/platform/Headers"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerError from "@effect/platform/HttpServerError"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Size } from "./BodyLimit.js"
import type { Coding } from "./Compression.js"
import { codingsOf } from "./internal/codings.js"
import { hasContent } from "./internal/content.js"
import { fromPhases } from "./internal/kernel.js"
import { leave, nodeRequest } from "./internal/nodeRequest.js"
import { isHandshake } from "./internal/nodeResponse.js"
import { recode } from "./internal/recode.js"
import { parseSize } from "./internal/size.js"
import { availableOf, decoderOf, type Engine } from "./internal/zlib.js"
import * as Middleware from "./Middleware.js"
import * as ProblemDetails from "./ProblemDetails.js"
import type { ResponseDraft } from "./ResponseDraft.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<Name extends string = string> {
  /**
   * The codings that are taken, in the order in which a refusal names them. `"zstd"` is taken where Node has it, from 22.15
   * on. Default: `["zstd", "br", "gzip", "deflate"]`.
   */
  readonly algorithms?: ReadonlyArray<Coding> | undefined
  /** The largest body that comes out. Default: `"1 MiB"`. */
  readonly limit?: Size | undefined
  /**
   * How many times larger than what was received it may be. The first MiB is not held to it, since a small body may be of
   * one letter. Default: `100`.
   */
  readonly ratio?: number | undefined
  /** How many codings a body may have, one in another, 1 to 3. Default: `1`. */
  readonly layers?: number | undefined
  readonly name?: Name | undefined
}

/**
 * @since 0.1.0
 * @category policy
 */
export type Decision =
  | { readonly _tag: "Pass" }
  /** The codings to undo, the one that was applied last first. */
  | { readonly _tag: "Decode"; readonly codings: ReadonlyArray<Coding> }
  | { readonly _tag: "Unsupported"; readonly reason: "unknown" | "layers" }

/**
 * Compiles the options, once, to a pure function of the `Content-Encoding`. Throws on an option that means nothing.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { Decompression } from "effect-middleware"
 *
 * const decide = Decompression.policy({ layers: 2 })
 *
 * assert.deepEqual(decide("x-gzip"), { _tag: "Decode", codings: ["gzip"] })
 * assert.deepEqual(decide("gzip, br"), { _tag: "Decode", codings: ["br", "gzip"] })
 * assert.deepEqual(decide("compress"), { _tag: "Unsupported", reason: "unknown" })
 * ```
 *
 * @since 0.1.0
 * @category policy
 */
export const policy = (options: Options = {}): (contentEncoding: string | undefined) => Decision => {
  const { layers = 1, ratio = 100 } = options
  const taken = takenBy(options)
  limitOf(options)
  if (!(ratio >= 1)) throw new TypeError(`Decompression: ratio is ${ratio}: write a number from 1 on, or Infinity`)
  if (!Number.isInteger(layers) || layers < 1 || layers > 3) {
    throw new TypeError(`Decompression: layers is ${layers}: write 1, 2 or 3`)
  }
  return (contentEncoding) => {
    if (contentEncoding === undefined) return pass
    const names = codingsOf(contentEncoding)
    if (names.length === 0) return pass
    if (names.length > layers) return { _tag: "Unsupported", reason: "layers" }
    const codings = names.flatMap((name) => taken.find((coding) => coding === name) ?? []).reverse()
    return codings.length === names.length ? { _tag: "Decode", codings } : { _tag: "Unsupported", reason: "unknown" }
  }
}

const pass: Decision = { _tag: "Pass" }

const takenBy = ({ algorithms }: Options): ReadonlyArray<Coding> => availableOf("Decompression", algorithms)

const limitOf = ({ limit = "1 MiB" }: Options): number => parseSize("Decompression", "limit", limit)

/**
 * The body has a coding that is not taken (`"unknown"`), or more than are (`"layers"`).
 *
 * @since 0.1.0
 * @category errors
 */
export class UnsupportedCoding
  extends Schema.TaggedError<UnsupportedCoding>("effect-middleware/Decompression/UnsupportedCoding")(
    "UnsupportedCoding",
    { reason: Schema.Literal("unknown", "layers"), algorithms: Schema.Array(Schema.String) },
    HttpApiSchema.annotations({ status: 415 })
  )
  implements HttpServerRespondable.Respondable
{
  override get message() {
    return this.reason === "unknown"
      ? `The body of the request has a content coding other than ${this.algorithms.join(", ")}`
      : "The body of the request has too many content codings"
  }
  [HttpServerRespondable.symbol]() {
    return ProblemDetails.toResponse(
      { status: 415, detail: "This server does not take a content coding of the request" },
      { headers: { "accept-encoding": this.algorithms.join(", ") } }
    )
  }
}

/**
 * The body is not what its coding makes, or not all of it.
 *
 * @since 0.1.0
 * @category errors
 */
export class MalformedCoding
  extends Schema.TaggedError<MalformedCoding>("effect-middleware/Decompression/MalformedCoding")(
    "MalformedCoding",
    {},
    HttpApiSchema.annotations({ status: 400 })
  )
  implements HttpServerRespondable.Respondable
{
  override get message() {
    return "The body of the request is not what its Content-Encoding says"
  }
  [HttpServerRespondable.symbol]() {
    return malformedResponse
  }
}

/**
 * The body has more bytes than the limit once it is decoded (`"size"`), or far more than were received (`"ratio"`).
 *
 * @since 0.1.0
 * @category errors
 */
export class DecompressedTooLarge
  extends Schema.TaggedError<DecompressedTooLarge>("effect-middleware/Decompression/DecompressedTooLarge")(
    "DecompressedTooLarge",
    { reason: Schema.Literal("size", "ratio"), limit: Schema.Number },
    HttpApiSchema.annotations({ status: 413 })
  )
  implements HttpServerRespondable.Respondable
{
  override get message() {
    return this.reason === "size"
      ? `The body of the request has more than ${this.limit} bytes once it is decoded`
      : `The body of the request is more than ${this.limit} times as large once it is decoded`
  }
  [HttpServerRespondable.symbol]() {
    return tooLargeResponse
  }
}

const malformedResponse = ProblemDetails.toResponse({
  status: 400,
  detail: "The content is not what its Content-Encoding says"
})
const tooLargeResponse = ProblemDetails.toResponse({
  status: 413,
  detail: "The decoded content is larger than this server takes"
})

/** What `ratio` says nothing of. */
const free = 1024 * 1024

/**
 * Decodes request bodies.
 *
 * A `BodyLimit` outside counts what the client sends, one inside what comes out. In Node's server the connection is closed
 * after a refusal of a body that has not been received to its end.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
 * import { BodyLimit, Decompression, ServerErrors, Stack } from "effect-middleware"
 * import { Effect } from "effect"
 *
 * const events = HttpRouter.empty.pipe(
 *   HttpRouter.post("/events", Effect.map(
 *     Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => request.text),
 *     (lines) => HttpServerResponse.text(`${lines.split("\n").length} lines`)
 *   ))
 * )
 *
 * const server = events.pipe(Stack.serve(Stack.make(
 *   ServerErrors.middleware(),
 *   BodyLimit.middleware({ limit: "1 MiB" }),
 *   Decompression.middleware({ limit: "20 MiB" })
 * )))
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <const Name extends string = "Decompression">(
  options: Options<Name> = {}
): Middleware.Middleware<
  never,
  UnsupportedCoding | MalformedCoding | DecompressedTooLarge,
  never,
  never,
  Name,
  Middleware.Phases
> => {
  const decide = policy(options)
  const { ratio = 100 } = options
  const limit = limitOf(options)
  const algorithms = takenBy(options)
  const refusals = {
    unknown: Middleware.Refuse(new UnsupportedCoding({ reason: "unknown", algorithms })),
    layers: Middleware.Refuse(new UnsupportedCoding({ reason: "layers", algorithms }))
  }
  const rules: Rules = {
    limit,
    ratio,
    malformed: new MalformedCoding(),
    tooLarge: new DecompressedTooLarge({ reason: "size", limit }),
    tooDense: new DecompressedTooLarge({ reason: "ratio", limit: ratio })
  }
  const bodies = Middleware.local<Body>()
  const name = options.name ?? "Decompression" as Name
  return fromPhases(name, [{
    name,
    traits: ["guard", "decompression"],
    request: (exchange: Middleware.Exchange) => {
      const { request } = exchange
      const decision = decide(request.headers["content-encoding"])
      if (decision._tag === "Pass" || isHandshake(request)) return
      if (decision._tag === "Unsupported") return refusals[decision.reason]
      const body = new Body(request, decision.codings.flatMap((coding) => decoderOf(coding) ?? []), rules)
      bodies.set(exchange, body)
      const headers = Headers.remove(request.headers, ["content-encoding", "content-length"])
      exchange.deriveRequest({
        // a body without a length, as HTTP/1.1 frames it: that there is one has to be seen
        headers: hasContent(request) ? Headers.set(headers, "transfer-encoding", "chunked") : headers,
        stream: (coded) => body.read(coded)
      })
    },
    response: (draft: ResponseDraft, exchange: Middleware.Exchange) => {
      const { request } = exchange
      const error = bodies.get(exchange)?.error
      if (error === undefined) return
      draft.refuse(error)
      if (nodeRequest(request)?.complete === false) leave(request)
    }
  }])
}

interface Rules {
  readonly limit: number
  readonly ratio: number
  readonly malformed: MalformedCoding
  readonly tooLarge: DecompressedTooLarge
  readonly tooDense: DecompressedTooLarge
}

class Body {
  /** Why it could not be read. */
  error: MalformedCoding | DecompressedTooLarge | undefined
  private received = 0
  constructor(
    private readonly request: HttpServerRequest.HttpServerRequest,
    private readonly decoders: ReadonlyArray<() => Engine>,
    private readonly rules: Rules
  ) {}

  read(coded: HttpServerRequest.HttpServerRequest["stream"]): HttpServerRequest.HttpServerRequest["stream"] {
    const { malformed } = this.rules
    const received = Stream.map(coded, (bytes) => {
      this.received += bytes.length
      return bytes
    })
    return this.decoders.reduce(
      (body, make) => this.counted(recode(body, make, () => this.fail(malformed))),
      received
    )
  }
  /** Of what comes out of the first coding, too, nearly nothing may come: that costs as much time. */
  private counted(body: HttpServerRequest.HttpServerRequest["stream"]) {
    const { limit, ratio, tooDense, tooLarge } = this.rules
    let decoded = 0
    return Stream.mapEffect(body, (bytes) => {
      decoded += bytes.length
      if (decoded > limit) return this.fail(tooLarge)
      return decoded > free && decoded > this.received * ratio ? this.fail(tooDense) : Effect.succeed(bytes)
    })
  }
  private fail(error: MalformedCoding | DecompressedTooLarge) {
    this.error = error
    return new HttpServerError.RequestError({ request: this.request, reason: "Decode", cause: error })
  }
}
