/**
 * Compresses what goes back: gzip, Brotli, zstd, deflate, as the client asks for by `Accept-Encoding`.
 *
 * What a response says of itself decides, and a size that is not worth it. Rules, in this order:
 *
 * 1. What has no content stays: 204, 205, no body. A 304 varies as the 200 that it stands for, and has its `ETag` in the
 *    form that the client has.
 * 2. What a handler has coded itself stays. `Content-Encoding: identity` says that it wants none, and is not sent.
 * 3. `Cache-Control: no-transform` stays (RFC 9111 section 5.2.2.6).
 * 4. A media type that does not get smaller stays: pictures, video, archives, and, since its events are waited for,
 *    `text/event-stream`.
 * 5. From here on the response has `Vary: Accept-Encoding`, also where it is not compressed: for another client it may be.
 * 6. A part of it stays: 206, `Content-Range`. So does what a request with `no-transform` is for, and what has less than
 *    `minSize` bytes.
 * 7. Of the codings that the client wants most the first of `algorithms` is used (RFC 9110 section 12.5.3).
 * 8. A body that would not get smaller stays.
 *
 * What is compressed has a weak `ETag`, no `Accept-Ranges` and no digests: they were of other bytes. A `HEAD` is answered
 * with the header of its `GET`.
 *
 * @since 0.1.0
 */
import * as Cookies from "@effect/platform/Cookies"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Schema from "effect/Schema"
import { pipeline, Readable } from "node:stream"
import type * as Entropy from "./Entropy.js"
import { codingsOf, hasDirective, isCompressible, isLive, negotiate, padGzip, weaken } from "./internal/codings.js"
import type * as Codings from "./internal/codings.js"
import { mediaTypeOf } from "./internal/content.js"
import { splitList } from "./internal/fields.js"
import { fromPhases } from "./internal/kernel.js"
import { isHandshake } from "./internal/nodeResponse.js"
import { recode } from "./internal/recode.js"
import { type Content, contentOf } from "./internal/responseBody.js"
import { availableOf, type Bytes, encoderOf, type Engine } from "./internal/zlib.js"
import type * as Middleware from "./Middleware.js"
import * as ProblemDetails from "./ProblemDetails.js"
import type { ResponseDraft } from "./ResponseDraft.js"

/**
 * A content coding by its name in HTTP. `"zstd"` (RFC 8878) is there from Node 22.15 on; where it is not, it is passed
 * over. `"gzip"` also answers who asks for `x-gzip`.
 *
 * @since 0.1.0
 * @category models
 */
export type Coding = Codings.Coding

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<Name extends string = string> {
  /**
   * The codings, the most preferred first: the order counts among those that a client wants alike. Default:
   * `["zstd", "br", "gzip", "deflate"]`, by what they cost.
   */
  readonly algorithms?: ReadonlyArray<Coding> | undefined
  /** The smallest body, in bytes, that is compressed, where its size is known. Default: `1024`. */
  readonly minSize?: number | undefined
  /**
   * Which media types are compressed, in lower case and without parameters: `byDefault` is what mime-db knows of the type.
   * Default: `(type, byDefault) => byDefault`.
   */
  readonly compressible?: ((type: string, byDefault: boolean) => boolean) | undefined
  /**
   * How hard to try: `gzip` and `deflate` 1 to 9, `br` 0 to 8, `zstd` 1 to 12. Default: 6, 6, 4, 3.
   */
  readonly levels?: { readonly [C in Coding]?: number | undefined } | undefined
  /**
   * Whether each chunk of a stream is sent at once: it costs some of the size. `text/event-stream`, where `compressible`
   * has it compressed, and lines of JSON are always sent so. Default: `false`.
   */
  readonly flush?: boolean | undefined
  /**
   * What is done with personal responses, whose size could tell what they say (BREACH): those that set a cookie, are
   * `private` or `no-store`, or vary by a `Cookie` or `Authorization` that the request has.
   *
   * - `"off"`: they are compressed.
   * - `"skip"`: they are not.
   * - `"pad"`: they are compressed with gzip and a padding of 1 to 100 bytes, which makes an attack longer and not
   *   impossible. Streams are not compressed.
   *
   * Default: `"off"`.
   */
  readonly breach?: "off" | "skip" | "pad" | undefined
  /**
   * What becomes of a successful response to `GET` and `HEAD` for a client that refuses every form there is
   * (`identity;q=0`): sent as it is, or `NotAcceptable` (406). Default: `"identity"`.
   */
  readonly unacceptable?: "identity" | "refuse" | undefined
  readonly name?: Name | undefined
}

/**
 * @since 0.1.0
 * @category policy
 */
export interface Facts {
  readonly method: string
  /** The header fields of the request and of the response, names in lower case. */
  readonly request: { readonly [name: string]: string | undefined }
  readonly response: { readonly [name: string]: string | undefined }
  readonly status: number
  /** Of the body in bytes, where it is known. */
  readonly size: number | undefined
  /** Whether all of it is there. */
  readonly buffered: boolean
  /** Whether the response sets a cookie. */
  readonly setsCookie: boolean
}

/**
 * @since 0.1.0
 * @category policy
 */
export interface Decision {
  /** What to compress with, if it gets smaller. */
  readonly coding: Coding | undefined
  /** Whether the response depends on `Accept-Encoding`. */
  readonly varies: boolean
  /** Whether its tag is sent as a weak one. */
  readonly weak: boolean
  /** Whether the length of what is sent is blurred. */
  readonly padded: boolean
  /** Whether the client takes no form that there is. */
  readonly refused: boolean
}

const leave: Decision = { coding: undefined, varies: false, weak: false, padded: false, refused: false }
const vary: Decision = { ...leave, varies: true }
const refuse: Decision = { ...vary, refused: true }

/**
 * Compiles the rules, once, to a pure function. Throws on an option that means nothing, or costs too much.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { Compression } from "effect-middleware"
 *
 * const decide = Compression.policy({ algorithms: ["br", "gzip"] })
 * const facts = {
 *   method: "GET",
 *   request: { "accept-encoding": "gzip;q=0.9, br;q=0.5" },
 *   response: { "content-type": "text/html" },
 *   status: 200,
 *   size: 2000,
 *   buffered: true,
 *   setsCookie: false
 * }
 *
 * assert.equal(decide(facts).coding, "gzip")
 * assert.deepEqual([decide({ ...facts, size: 100 }).coding, decide({ ...facts, size: 100 }).varies], [undefined, true])
 * ```
 *
 * @since 0.1.0
 * @category policy
 */
export const policy = (options: Options = {}): (facts: Facts) => Decision => {
  const { breach = "off", compressible = (_, byDefault) => byDefault, minSize = 1024, unacceptable } = options
  const algorithms = algorithmsOf(options)
  levelsOf(options)
  if (!Number.isSafeInteger(minSize) || minSize < 0) {
    throw new TypeError(`Compression: minSize is ${minSize}: write a number of bytes, such as 1024`)
  }
  const gzip = algorithms.filter((coding) => coding === "gzip")
  if (breach === "pad" && gzip.length === 0) {
    throw new TypeError(
      "Compression: breach is \"pad\", which only gzip can: add \"gzip\" to algorithms, or write \"skip\""
    )
  }
  /** What is sent as it is. */
  const plain = (decision: Decision, { method, request, status }: Facts): Decision =>
    unacceptable === "refuse" && (method === "GET" || method === "HEAD") && status < 300 &&
      negotiate(request["accept-encoding"], algorithms) === undefined
      ? refuse
      : decision
  return (facts) => {
    const { request, response, status } = facts
    if (status === 204 || status === 205 || response["content-encoding"] !== undefined && isCoded(response)) {
      return leave
    }
    const type = mediaTypeOf(response["content-type"] ?? "")
    const worth = (status === 304 && type === "") || compressible(type, isCompressible(type))
    if (
      !worth || response["content-encoding"] !== undefined || hasDirective(response["cache-control"], "no-transform")
    ) {
      return plain(leave, facts)
    }
    if (status === 304) {
      return isKnownAsWeak(response["etag"], request["if-none-match"])
        ? { ...vary, weak: true }
        : vary
    }
    if (
      status === 206 || response["content-range"] !== undefined || (facts.size ?? Infinity) < minSize ||
      hasDirective(request["cache-control"], "no-transform")
    ) return plain(vary, facts)
    const personal = breach !== "off" && isPersonal(facts)
    if (personal && (breach === "skip" || !facts.buffered)) return plain(vary, facts)
    const coding = negotiate(request["accept-encoding"], personal ? gzip : algorithms)
    if (coding === undefined || coding === "identity") return plain(vary, facts)
    return { coding, varies: true, weak: true, padded: personal, refused: false }
  }
}

const isCoded = (response: Facts["response"]) => codingsOf(response["content-encoding"] ?? "").length > 0

/** A client has the tag of what it was sent: one that was compressed is weak there. */
const isKnownAsWeak = (etag: string | undefined, ifNoneMatch: string | undefined) =>
  etag !== undefined && ifNoneMatch !== undefined && ifNoneMatch.includes(weaken(etag))

const isPersonal = ({ request, response, setsCookie }: Facts) =>
  setsCookie || response["set-cookie"] !== undefined || hasDirective(response["cache-control"], "private") ||
  hasDirective(response["cache-control"], "no-store") ||
  splitList((response["vary"] ?? "").toLowerCase()).some((name) =>
    name === "*" || (name === "cookie" || name === "authorization") && request[name] !== undefined
  )

const defaults: { readonly [C in Coding]: { readonly level: number; readonly least: number; readonly most: number } } =
  {
    zstd: { level: 3, least: 1, most: 12 },
    // 9 fills tables of tens of megabytes for each body, which costs more than 11 does
    br: { level: 4, least: 0, most: 8 },
    gzip: { level: 6, least: 1, most: 9 },
    deflate: { level: 6, least: 1, most: 9 }
  }
const algorithmsOf = ({ algorithms }: Options): ReadonlyArray<Coding> => availableOf("Compression", algorithms)

const levelsOf = ({ levels = {} }: Options): { readonly [C in Coding]: number } => {
  const levelOf = (coding: Coding): number => {
    const { least, level, most } = defaults[coding]
    const given = levels[coding] ?? level
    if (Number.isInteger(given) && given >= least && given <= most) return given
    throw new TypeError(
      `Compression: levels.${coding} is ${given}: write ${least} to ${most}; what takes longer is for files, which are ` +
        "compressed when they are built"
    )
  }
  return { zstd: levelOf("zstd"), br: levelOf("br"), gzip: levelOf("gzip"), deflate: levelOf("deflate") }
}

/**
 * The client refuses every coding there is, and what is not coded too.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotAcceptable extends Schema.TaggedError<NotAcceptable>("effect-middleware/Compression/NotAcceptable")(
  "NotAcceptable",
  {},
  HttpApiSchema.annotations({ status: 406 })
) implements HttpServerRespondable.Respondable {
  override get message() {
    return "No content coding is acceptable to the client"
  }
  [HttpServerRespondable.symbol]() {
    return refusal
  }
}

const refusal = ProblemDetails.toResponse({
  status: 406,
  detail: "No content coding of this server is acceptable by the Accept-Encoding header"
})

/** Up to here it takes longer to leave the thread than to compress, in bytes: benchmarks/Compression.bench.ts measures it. */
const syncLimit = 32 * 1024

/**
 * Compresses responses. It fails with nothing; with `unacceptable: "refuse"` it answers `NotAcceptable` on the way out.
 *
 * Stands outside what makes or reads an `ETag`, a cached response, a session or a principal, and inside what logs and
 * measures what is sent.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Compression, ServerErrors, Stack } from "effect-middleware"
 *
 * const rows = Array.from({ length: 1000 }, (_, id) => ({ id, name: `row ${id}` }))
 *
 * const server = HttpRouter.empty.pipe(
 *   HttpRouter.get("/rows", HttpServerResponse.json(rows)),
 *   Stack.serve(Stack.make(ServerErrors.middleware(), Compression.middleware()))
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <const Name extends string = "Compression">(
  options: Options<Name> = {}
): Middleware.Middleware<never, never, never, never, Name, Middleware.Phases> => {
  const decide = policy(options)
  const levels = levelsOf(options)
  const encoders = new Map(algorithmsOf(options).map((coding) => [coding, encoderOf(coding, levels[coding])]))
  const kept = new Kept()
  const name = options.name ?? "Compression" as Name
  return fromPhases(name, [{
    name,
    traits: ["compression"],
    response: (draft: ResponseDraft, { entropy, request }: Middleware.Exchange) => {
      if (isHandshake(request)) return
      const content = contentOf(draft.body)
      const isHead = request.method === "HEAD"
      if (content === undefined && !isHead && draft.status !== 304) return
      if (content?.response !== undefined) adoptHeaders(draft, content.response)
      const type = draft.get("content-type") ?? content?.type
      const { coding, padded, refused, varies, weak } = decide({
        method: request.method,
        request: request.headers,
        response: type === draft.get("content-type") ? draft.headers : { ...draft.headers, "content-type": type },
        status: content?.response?.status ?? draft.status,
        size: content?.size ?? lengthOf(draft.get("content-length")),
        buffered: content?.bytes !== undefined,
        setsCookie: !Cookies.isEmpty(draft.cookies)
      })
      if (refused) return draft.refuse(new NotAcceptable())
      if (!isCoded(draft.headers)) draft.delete("content-encoding")
      if (varies) draft.vary("accept-encoding")
      const etag = draft.get("etag")
      const encoder = coding && encoders.get(coding)
      if (coding === undefined || encoder === undefined) {
        if (weak && etag !== undefined) draft.set("etag", weaken(etag))
        return
      }
      const encode = (body: HttpBody.HttpBody | undefined) => {
        if (body === undefined) draft.delete("content-length")
        else draft.setBody(body)
        draft.set("content-encoding", coding)
        if (etag !== undefined) draft.set("etag", weaken(etag))
        for (const field of ofOtherBytes) draft.delete(field)
      }
      if (content?.bytes === undefined) {
        // nothing of it will be sent, and what it is read from has to be found and closed
        if (isHead || content === undefined) return encode(undefined)
        const flushes = options.flush === true || isLive(mediaTypeOf(type ?? ""))
        return encode(streamed(draft, content, type, () => encoder.stream(flushes)))
      }
      const { bytes, size = 0 } = content
      const done = (coded: Uint8Array) => {
        const sent = padded ? padGzip(coded, paddingOf(entropy)) : coded
        if (sent.length < size) encode(codedBody(sent, type))
      }
      const copy = kept.of(bytes)
      const before = copy?.coded.get(coding)
      if (before !== undefined) return done(before)
      const keep = (coded: Uint8Array) => {
        copy?.coded.set(coding, coded)
        done(coded)
      }
      // nobody writes to the copy while another thread reads it
      const source = copy?.bytes ?? bytes
      if (size <= syncLimit) return keep(encoder.now(source))
      return Effect.async<void>((resume) =>
        encoder.later(
          source,
          (error, coded) => resume(error === null ? Effect.sync(() => keep(coded)) : Effect.die(error))
        )
      )
    }
  }])
}

const ofOtherBytes = ["accept-ranges", "content-md5", "content-digest", "repr-digest", "digest"]

/** Platform's web handler sends a `Response` with the fields of platform's put over its own. */
const adoptHeaders = (draft: ResponseDraft, { headers }: Response) =>
  headers.forEach((value, name) => {
    if (name !== "set-cookie") draft.setIfAbsent(name, value)
  })

/** Without a type where nobody has said one: platform would say that it is any. */
const codedBody = (bytes: Uint8Array, type: string | undefined) =>
  type === undefined ? HttpBody.raw(bytes, { contentLength: bytes.byteLength }) : HttpBody.uint8Array(bytes, type)

const lengthOf = (field: string | undefined) => field !== undefined && /^\d+$/.test(field) ? Number(field) : undefined

const paddingOf = (entropy: Entropy.Service) => {
  const [high = 0, low = 0] = entropy.bytes(2)
  return (high * 256 + low) % 100 + 1
}

const streamed = (
  draft: ResponseDraft,
  { readable, response }: Content,
  type: string | undefined,
  make: () => Engine
): HttpBody.HttpBody => {
  const { body } = draft
  if (body._tag === "Stream") {
    // what is heard of to its end is cut off where it fails: platform's server would end it as if it were whole
    draft.onSent(ignore)
    return HttpBody.stream(recode(body.stream, make, identity), type)
  }
  const engine = make()
  // it fails with what it reads from, which may be before anybody reads it
  engine.on("error", ignore)
  pipeline(readable!(), engine, ignore)
  if (response === undefined) return HttpBody.raw(engine, { contentType: type })
  const headers = new Headers()
  for (const cookie of response.headers.getSetCookie()) headers.append("set-cookie", cookie)
  const { status, statusText } = response
  return HttpBody.raw(new Response(Readable.toWeb(engine) as ReadableStream, { status, statusText, headers }))
}

const ignore = () => {}

/** What was compressed of bytes that are sent again and again, such as a page that was read once. */
class Kept {
  private readonly copies = new WeakMap<object, Copy | undefined>()

  /** Nothing for what has not been sent before. Who writes to bytes that he has sent makes others of them. */
  of(bytes: Bytes): Copy | undefined {
    if (!(bytes instanceof Uint8Array) || bytes.length > largestKept) return undefined
    const copy = this.copies.get(bytes)
    if (copy !== undefined && copy.bytes.equals(bytes)) return copy
    if (copy === undefined && !this.copies.has(bytes)) {
      this.copies.set(bytes, undefined)
      return undefined
    }
    const made: Copy = { bytes: Buffer.from(bytes), coded: new Map() }
    this.copies.set(bytes, made)
    return made
  }
}

interface Copy {
  readonly bytes: Buffer
  readonly coded: Map<Coding, Uint8Array>
}

/** Beyond this, keeping it would cost more memory than compressing costs time. */
const largestKept = 1024 * 1024
