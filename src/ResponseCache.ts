/**
 * Keeps responses, and gives them to who asks next: a shared cache (RFC 9111) in front of what is inside it. A hit enters neither
 * router nor handler.
 *
 * 1. What is stored: answers to GET that say how long they are fresh (`Cache-Control`, `Expires`), or, with `ttl`, 200, 203, 301
 *    and 308 that say nothing. Never stored: what is `private` or `no-store`, sets a cookie, varies by `*`, is a part (206), has
 *    asked for a session or a principal, was a failure, or whose stream did not come to its end.
 * 2. A key is scheme, host and prefix as `Forwarded.Client` has them, path and query as they came, and the fields of `Vary`;
 *    what the request shows of host and target in another way tells variants apart.
 *    Requests with content, `Range`, `If-Match`, or a field that stands for another method or path have nothing to do with the
 *    cache.
 * 3. A request with `Cookie` is given, and leaves, only what says `public` or varies by `Cookie`; one with `Authorization` is
 *    given only what says `public`, `s-maxage` or `must-revalidate`, or varies by it.
 * 4. What is stale is validated: the app is asked with `If-None-Match` and `If-Modified-Since`, and a 304 makes it fresh again.
 *    `stale-while-revalidate` gives it at once and asks behind the answer; `stale-if-error` gives it where the app fails
 *    (RFC 5861).
 * 5. Of those that ask for the same at the same time, one asks the app, and the others wait until that is stored, for `wait` at
 *    most. If it fails, or its client leaves, the next one asks.
 * 6. A write that succeeds forgets what is stored of its URL, and of the URLs of its `Location` and `Content-Location`.
 * 7. Where the store is down, the app answers.
 * 8. `Cache-Status` (RFC 9211) says what has happened.
 *
 * @since 0.1.0
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { serializeString } from "structured-headers"
import type { Client } from "./Forwarded.js"
import { keyOfUrl, varyOf } from "./internal/cacheRules.js"
import { isToken } from "./internal/fields.js"
import { fromPhases, wrapping } from "./internal/kernel.js"
import { sourceOf } from "./internal/personal.js"
import { all, phasesOf, tagged, tagOf } from "./internal/responseCache.js"
import { parseSize, type Size } from "./internal/size.js"
import type * as Middleware from "./Middleware.js"
import * as ProblemDetails from "./ProblemDetails.js"
import { ResponseCacheStore, type ResponseCacheUnavailable } from "./ResponseCacheStore.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<Name extends string = string> {
  /**
   * How long a response is fresh that says nothing of it itself, in this cache alone: the client is told nothing. Default: such
   * a response is not stored.
   */
  readonly ttl?: Duration.DurationInput | undefined
  /** By how much, up to which fraction, a time is cut short, so that what was stored together is not stale together. Default: 0.1. */
  readonly jitter?: number | undefined
  /** Fields that what is inside reads without a `Vary` that says so: `["accept-language"]`. Default: none. */
  readonly vary?: ReadonlyArray<string> | undefined
  /**
   * What becomes of a read with a `Cookie`: only responses that say they are for it are stored and given; or what is inside does
   * not see it, and then it is as any other. `"hide"` is for a part of a site that knows nobody. Default: `"bypass"`.
   */
  readonly cookies?: "bypass" | "hide" | undefined
  /** Whether a client's `Cache-Control` is heard: `no-cache`, `max-age`, ... `false` keeps who reloads away from the app. Default: `true`. */
  readonly requestDirectives?: boolean | undefined
  /** The largest body that is stored. Larger ones, and streams that become larger, pass. Default: `"1 MiB"`. */
  readonly maxEntrySize?: Size | undefined
  /** How long a request waits for another one that has asked for the same; then it asks by itself. Default: 5 seconds. */
  readonly wait?: Duration.DurationInput | undefined
  /** By which a response can be purged, beside those that its handler has given it by `tag`. */
  readonly tags?:
    | ((
      request: HttpServerRequest.HttpServerRequest,
      response: HttpServerResponse.HttpServerResponse
    ) => Iterable<string>)
    | undefined
  /** Whether `Cache-Status` is sent. Default: `true`. */
  readonly cacheStatus?: boolean | undefined
  /** The name of the cache, too: two of other names share a store, and no response. Default: `"ResponseCache"`. */
  readonly name?: Name | undefined
}

/**
 * The client wants a stored response, or none (`only-if-cached`), and there is none: 504 (RFC 9111 section 5.2.1.7).
 *
 * @since 0.1.0
 * @category errors
 */
export class NotCached extends Schema.TaggedError<NotCached>("effect-middleware/ResponseCache/NotCached")(
  "NotCached",
  {},
  HttpApiSchema.annotations({ status: 504 })
) implements HttpServerRespondable.Respondable {
  override get message() {
    return "There is no stored response, and the client wants no other"
  }
  [HttpServerRespondable.symbol]() {
    return notCached
  }
}
const notCached = ProblemDetails.toResponse({ status: 504, detail: "There is no stored response" })

/**
 * Stores and gives responses. It refuses with `NotCached` (504) a request that wants nothing else than a stored one.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Forwarded, ResponseCache, ResponseCacheStore, Stack } from "effect-middleware"
 * import { Layer } from "effect"
 *
 * const articles = HttpServerResponse.text("articles", { headers: { "cache-control": "max-age=60" } })
 *
 * const app = HttpRouter.empty.pipe(
 *   HttpRouter.get("/articles", articles),
 *   // for what has no headers, on a route of its own
 *   HttpRouter.get("/report", HttpServerResponse.text("slow").pipe(
 *     ResponseCache.middleware({ name: "reports", ttl: "300 seconds" })
 *   ))
 * )
 *
 * const server = Stack.serve(app, Stack.make(Forwarded.middleware({ trust: "none" }), ResponseCache.middleware())).pipe(
 *   Layer.provide(ResponseCacheStore.layerMemory())
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <const Name extends string = "ResponseCache">(
  options: Options<Name> = {}
): Middleware.Middleware<never, NotCached, ResponseCacheStore | Client, never, Name, Middleware.Wrapping> => {
  const name = options.name ?? "ResponseCache" as Name
  const { cookies = "bypass", jitter = 0.1, requestDirectives = true } = options
  const vary = varyOf(...options.vary ?? [])
  if (!(jitter >= 0 && jitter < 1)) {
    throw new RangeError(`ResponseCache: jitter is ${jitter}: write a fraction from 0 to less than 1, such as 0.1`)
  }
  if (cookies !== "bypass" && cookies !== "hide") {
    throw new TypeError(`ResponseCache: cookies is ${JSON.stringify(cookies)}: write "bypass" or "hide"`)
  }
  if (vary === undefined || !vary.every(isToken)) {
    throw new TypeError(`ResponseCache: vary is ${JSON.stringify(options.vary)}: write names of fields, ten at most`)
  }
  const { around, planned, ...phases } = phasesOf({
    name,
    status: options.cacheStatus === false ? undefined : statusName(name),
    ttl: options.ttl === undefined ? undefined : millis("ttl", options.ttl),
    jitter,
    vary,
    cookies,
    directives: requestDirectives,
    maxEntrySize: parseSize("ResponseCache", "maxEntrySize", options.maxEntrySize ?? "1 MiB"),
    wait: millis("wait", options.wait ?? "5 seconds"),
    tags: options.tags,
    notCached: new NotCached()
  })
  const traits: ReadonlyArray<Middleware.Trait> = cookies === "hide" ? ["cache", "hides-cookies"] : ["cache"]
  return fromPhases(name, [{ name, traits, provides: planned, ...phases }, { name, around: around as never }], wrapping)
}

/** A token, or a string (RFC 9211 section 2). */
const statusName = (name: string): string => {
  if (/^[A-Za-z*][\w!#$%&'*+.^`|~:/-]*$/.test(name)) return name
  // what cannot be one is no name of a cache
  return serializeString(name.replace(/[^ -~]/g, "?"))
}

const millis = (option: string, input: Duration.DurationInput): number => {
  const length = Duration.toMillis(input)
  if (length > 0 && length < Infinity) return length
  throw new RangeError(`ResponseCache: ${option} is ${String(input)}: write how long, such as "300 seconds"`)
}

// ---------------------------------------------------------------------------------------------------------------------
// tags
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Gives the response that a handler makes tags, by which it can be purged.
 *
 * @example
 * ```ts
 * import { HttpServerResponse } from "@effect/platform"
 * import { ResponseCache } from "effect-middleware"
 * import { Effect } from "effect"
 *
 * const article = (id: string) =>
 *   Effect.as(ResponseCache.tag("articles", `article:${id}`), HttpServerResponse.text("an article"))
 *
 * const publish = (id: string) => ResponseCache.purgeTag(`article:${id}`)
 * ```
 *
 * @since 0.1.0
 * @category tags
 */
export const tag = (...tags: ReadonlyArray<string>): Effect.Effect<void, never, HttpServerRequest.HttpServerRequest> =>
  Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
    const source = sourceOf(request)
    tagged.set(source, new Set([...tagged.get(source) ?? [], ...tags]))
  })

type Purge = Effect.Effect<void, ResponseCacheUnavailable, ResponseCacheStore>

/**
 * Forgets what has a tag, of every cache in the store.
 *
 * @since 0.1.0
 * @category purging
 */
export const purgeTag = (tag: string): Purge => Effect.flatMap(ResponseCacheStore, (store) => store.purge(tagOf(tag)))

/**
 * Forgets what is stored of a URL, as clients write it: `"https://example.com/articles?page=2"`. The order of a query counts.
 *
 * @since 0.1.0
 * @category purging
 */
export const purgeUrl = (url: string): Purge =>
  Effect.flatMap(ResponseCacheStore, (store) => {
    const key = keyOfUrl(url)
    return key === undefined
      ? Effect.die(new TypeError(`ResponseCache: purgeUrl was given ${JSON.stringify(url)}: write a whole URL`))
      : store.delete(key)
  })

/**
 * Forgets everything that is stored, of every cache in the store.
 *
 * @since 0.1.0
 * @category purging
 */
export const purgeAll: Purge = Effect.flatMap(ResponseCacheStore, (store) => store.purge(all))
