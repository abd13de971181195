/**
 * Answers conditional requests (RFC 9110 section 13): a client that has the current version is not sent it again, and one that
 * has not seen it does not overwrite it.
 *
 * 1. A 200 to GET or HEAD whose body is in memory is given an `ETag`, a digest of the bytes. One that the handler has set stays,
 *    and so does `Last-Modified`.
 * 2. Preconditions are evaluated in the order of section 13.2.2, of successful responses to GET and HEAD: 304, or 412. A 304 keeps
 *    every field but those that describe the content.
 * 3. Whoever knows the version before the work is done states it with `check`, and then the work is not done for a 304 or a 412.
 *    A write is protected by nothing else: once it is made, no answer undoes it.
 * 4. Where `requireIfMatch` says so, a write without a precondition is refused with 428 (RFC 6585 section 3).
 *
 * @since 0.1.0
 */
import type * as Etag from "@effect/platform/Etag"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as LogLevel from "effect/LogLevel"
import * as Schema from "effect/Schema"
import { hasDirective } from "./internal/codings.js"
import { contentOf } from "./internal/content.js"
import { digestTag } from "./internal/digest.js"
import { formatHttpDate } from "./internal/httpDate.js"
import { notModified } from "./internal/notModified.js"
import { compileGuard } from "./internal/pathPattern.js"
import { sourceOf } from "./internal/personal.js"
import { evaluate, hasGuard, isConditional, isEntityTag, isRead } from "./internal/preconditions.js"
import { parseSize, type Size } from "./internal/size.js"
import * as Middleware from "./Middleware.js"
import * as ProblemDetails from "./ProblemDetails.js"
import type { ResponseDraft } from "./ResponseDraft.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<Name extends string = string> {
  /**
   * What kind of `ETag` is made. A strong one stands for these bytes; a weak one cannot be used with `If-Match` and for ranges.
   * `false`: none is made. Default: `"strong"`.
   */
  readonly etag?: "strong" | "weak" | false | undefined
  /** The largest body of which a digest is made. Default: `"1 MiB"`, which takes less than a millisecond. */
  readonly maxSize?: Size | undefined
  /**
   * Routes, as `Middleware.forRoutes` takes them, to which a request is refused unless it has `If-Match`, or `If-None-Match: *`
   * for what must not be there yet: `["PUT /articles/:id"]`. Default: none.
   */
  readonly requireIfMatch?: NonEmptyReadonlyArray<string> | undefined
  readonly name?: Name | undefined
}

/**
 * What is known of the version that a request would be answered with, or would replace.
 *
 * @since 0.1.0
 * @category models
 */
export interface Current {
  /** A text is a strong tag, without the quotes: a version number, a digest. */
  readonly etag?: string | Etag.Etag | undefined
  /** Counts to the second. */
  readonly lastModified?: Date | undefined
  /** What a 304 is to have as well as the response: `cache-control`, `vary`, `expires`. */
  readonly headers?: { readonly [name: string]: string } | undefined
}

/**
 * The version that the client knows is not the current one: 412.
 *
 * @since 0.1.0
 * @category errors
 */
export class PreconditionFailed
  extends Schema.TaggedError<PreconditionFailed>("effect-middleware/Conditional/PreconditionFailed")(
    "PreconditionFailed",
    {},
    HttpApiSchema.annotations({ status: 412 })
  )
  implements HttpServerRespondable.Respondable
{
  override get message() {
    return "A precondition of the request is not met"
  }
  [HttpServerRespondable.symbol]() {
    return failed
  }
}
const failed = ProblemDetails.toResponse({ status: 412, detail: "It is not the version that the request was made for" })

/**
 * The request does not say which version it is made for: 428 (RFC 6585 section 3).
 *
 * @since 0.1.0
 * @category errors
 */
export class PreconditionRequired
  extends Schema.TaggedError<PreconditionRequired>("effect-middleware/Conditional/PreconditionRequired")(
    "PreconditionRequired",
    {},
    HttpApiSchema.annotations({ status: 428 })
  )
  implements HttpServerRespondable.Respondable
{
  override get message() {
    return "The request has no If-Match"
  }
  [HttpServerRespondable.symbol]() {
    return required
  }
}
const required = ProblemDetails.toResponse({
  status: 428,
  detail: "Send If-Match with the ETag of the version that is to be changed"
})

/**
 * Makes entity-tags, and answers conditional requests. It refuses with `PreconditionRequired` (428), and answers 304 and 412.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Conditional } from "effect-middleware"
 *
 * const app = HttpRouter.empty.pipe(
 *   HttpRouter.get("/", HttpServerResponse.text("hello")),
 *   Conditional.middleware({ requireIfMatch: ["PUT /articles/:id"] })
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <const Name extends string = "Conditional">(
  options: Options<Name> = {}
): Middleware.Middleware<never, PreconditionRequired, never, never, Name, Middleware.Phases> => {
  const name = options.name ?? "Conditional" as Name
  const { etag = "strong" } = options
  if (etag !== false && etag !== "strong" && etag !== "weak") {
    throw new TypeError(`Conditional: etag is ${JSON.stringify(etag)}: write "strong", "weak" or false`)
  }
  const maxSize = etag === false ? -1 : parseSize("Conditional", "maxSize", options.maxSize ?? "1 MiB")
  const isRequired = options.requireIfMatch === undefined ? () => false : compileGuard(options.requireIfMatch)
  let isWarned = false

  return Middleware.make({
    name,
    traits: ["etag"],
    request: ({ request: { headers, method, url } }) => {
      if (!isRequired(method, url) || headers["if-match"] !== undefined) return
      return headers["if-none-match"]?.trim() === "*" ? undefined : refuse
    },
    response: (draft, exchange) => {
      const { headers, method } = exchange.request
      if (draft.status < 200 || draft.status > 299) return
      const stated = checked.get(sourceOf(exchange.request))
      if (!isRead(method)) {
        if (stated === undefined && !isWarned && hasGuard(headers)) {
          isWarned = true
          exchange.log(
            LogLevel.Warning,
            `${name}: a write had a precondition, and nothing has looked at it: write Conditional.check before the work`
          )
        }
        return
      }
      for (const field in stated) draft.setIfAbsent(field, stated[field]!)
      if (draft.status === 200 && !draft.has("etag")) {
        const tag = tagOf(draft, maxSize)
        if (tag !== undefined) draft.set("etag", etag === "weak" ? `W/${tag}` : tag)
      }
      if (!isConditional(headers)) return
      const verdict = evaluate(method, headers, validatorsOf(draft.headers), exchange.clock.unsafeCurrentTimeMillis())
      if (verdict === "failed") draft.refuse(preconditionFailed)
      else if (verdict === "notModified") notModified(draft)
    }
  })
}

// made once: an error with its stack and its schema costs more than the decision
const preconditionFailed = new PreconditionFailed()
const refuse = Middleware.Refuse(new PreconditionRequired())

/**
 * Compares a request with the current version before the work is done, with `null` where there is nothing yet.
 *
 * - A read for which nothing has changed is answered 304, without the work.
 * - A request whose precondition is not met fails with `PreconditionFailed` (412), without the work.
 * - Otherwise the work is done, and what it answers to a read is given the `ETag`, the `Last-Modified` and the headers that were
 *   stated. Of a handler of `HttpApi` that answers with a value, the middleware does this.
 *
 * **Mind this**: somebody may write between the check and the work. Where that matters they are in one transaction, or the work
 * compares the version again (`UPDATE ... WHERE version = ...`).
 *
 * @example
 * ```ts
 * import { HttpServerResponse } from "@effect/platform"
 * import { Conditional } from "effect-middleware"
 * import { Effect } from "effect"
 *
 * declare const versionOf: (id: string) => Effect.Effect<number>
 * declare const render: (id: string) => Effect.Effect<string>
 *
 * const article = (id: string) =>
 *   Effect.flatMap(versionOf(id), (version) =>
 *     Effect.map(render(id), (text) => HttpServerResponse.text(text)).pipe(
 *       Conditional.check({ etag: `${version}`, headers: { "cache-control": "max-age=60" } })
 *     ))
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const check: {
  (current: Current | null): <A, E, R>(work: Effect.Effect<A, E, R>) => Checked<A, E, R>
  <A, E, R>(work: Effect.Effect<A, E, R>, current: Current | null): Checked<A, E, R>
} = dual(2, <A, E, R>(work: Effect.Effect<A, E, R>, current: Current | null): Checked<A, E, R> => {
  const fields = current === null ? {} : fieldsOf(current)
  return Effect.flatMap(
    HttpServerRequest.HttpServerRequest,
    (request) =>
      Effect.clockWith((clock): Checked<A, E, R> => {
        const { headers, method } = request
        checked.set(sourceOf(request), fields)
        const validators = current === null ? null : validatorsOf(fields)
        const verdict = evaluate(method, headers, validators, clock.unsafeCurrentTimeMillis())
        if (verdict === "failed") return Effect.fail(preconditionFailed)
        if (verdict === "notModified") return Effect.succeed(HttpServerResponse.empty({ status: 304, headers: fields }))
        return isRead(method) ? Effect.map(work, (result) => isSuccess(result) ? stated(result, fields) : result) : work
      })
  )
})

/**
 * What `check` makes of the work.
 *
 * @since 0.1.0
 * @category models
 */
export type Checked<A, E, R> = Effect.Effect<
  A | HttpServerResponse.HttpServerResponse,
  E | PreconditionFailed,
  R | HttpServerRequest.HttpServerRequest
>

interface Fields {
  readonly [name: string]: string
}

/** What has been stated of the requests under way. */
const checked = new WeakMap<object, Fields>()

const fieldsOf = ({ etag, headers = {}, lastModified }: Current): Fields => {
  const fields: Record<string, string> = {}
  for (const name in headers) fields[name.toLowerCase()] = headers[name]!
  if (etag !== undefined) {
    const { _tag, value } = typeof etag === "string" ? { _tag: "Strong", value: etag } : etag
    const text = `${_tag === "Weak" ? "W/" : ""}"${value}"`
    if (!isEntityTag(text)) {
      throw new TypeError("Conditional: etag has a quote, a space or what is not ASCII: write a version or a digest")
    }
    fields["etag"] = text
  }
  if (lastModified !== undefined) fields["last-modified"] = formatHttpDate(lastModified.getTime())
  return fields
}

const validatorsOf = (fields: { readonly [name: string]: string | undefined }) => ({
  etag: fields["etag"],
  lastModified: fields["last-modified"]
})

const isSuccess = (result: unknown): result is HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.isServerResponse(result) && result.status >= 200 && result.status < 300

const stated = (response: HttpServerResponse.HttpServerResponse, fields: Fields) =>
  HttpServerResponse.setHeaders(response, { ...fields, ...response.headers })

/** The strong one, of what is in memory and not too large. */
const tagOf = (draft: ResponseDraft, maxSize: number): string | undefined => {
  const content = contentOf(draft.body)
  if (content === undefined || draft.body._tag === "Empty") return undefined
  if ((typeof content === "string" ? Buffer.byteLength(content) : content.length) > maxSize) return undefined
  // nobody will have it to ask about
  if (hasDirective(draft.get("cache-control"), "no-store")) return undefined
  return digestTag(draft.get("content-type") ?? "", content)
}
