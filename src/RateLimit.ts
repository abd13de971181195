/**
 * Limits how much a client, a user or a key may ask for in a time.
 *
 * 1. A request is admitted where every limit of its key has room for its cost; then it is spent on all of them, else on none.
 * 2. It is counted where it stands, whatever becomes of it: a 404 and a failed authentication count, unless `refund` gives
 *    them back. A CORS preflight and what `exceptRoutes` names do not.
 * 3. Who cannot be told apart shares one bucket, and the log is warned once: nobody is unlimited for want of a name.
 * 4. A refusal is a 429 with `Retry-After`. Where its store is down, `onUnavailable` decides: a 503, unless it says otherwise.
 *
 * @since 0.1.0
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as LogLevel from "effect/LogLevel"
import * as Metric from "effect/Metric"
import * as MetricLabel from "effect/MetricLabel"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { serializeList, serializeString } from "structured-headers"
import { Client } from "./Forwarded.js"
import { networkOf } from "./internal/address.js"
import { digest } from "./internal/digest.js"
import { lift } from "./internal/lift.js"
import { compileExemption } from "./internal/pathPattern.js"
import { type Somebody, subjectOf } from "./internal/principals.js"
import * as Middleware from "./Middleware.js"
import * as ProblemDetails from "./ProblemDetails.js"
import type {
  BackOff,
  Bucket,
  Decision,
  FixedWindow,
  Gcra,
  Limit,
  Limits,
  Named,
  Period,
  Quota,
  Service,
  SlidingWindowCounter,
  SlidingWindowLog,
  TokenBucket
} from "./RateLimitStore.js"
import * as Store from "./RateLimitStore.js"
import { RateLimitStore, RateLimitUnavailable } from "./RateLimitStore.js"

// ---------------------------------------------------------------------------------------------------------------------
// limits
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category models
 */
export interface WindowOptions {
  /** How much is admitted in a window: a whole number from 1. */
  readonly limit: number
  /** How long a window is, from 1 millisecond. */
  readonly window: Duration.DurationInput
  /** What it is called in `RateLimit-Policy`. Limits of one key have different names. Default: the window, such as `"60s"`. */
  readonly name?: string | undefined
}

/**
 * Counts from the first request on; after the window all is forgotten.
 *
 * The cheapest to explain. At the edge of two windows twice the limit may come at once.
 *
 * @example
 * ```ts
 * import { RateLimit } from "effect-middleware"
 *
 * const limit = RateLimit.fixedWindow({ limit: 100, window: "1 minute" })
 * ```
 *
 * @since 0.1.0
 * @category limits
 */
export const fixedWindow = (options: WindowOptions): FixedWindow => ({
  _tag: "FixedWindow",
  ...windowOf("fixedWindow", options)
})

/**
 * Remembers when each was admitted: no window of that length, wherever it begins, ever has more than the limit.
 *
 * Exact, and its memory grows with the limit: for limits up to some thousands. On SQL the whole log is written each time.
 *
 * @example
 * ```ts
 * import { RateLimit } from "effect-middleware"
 *
 * const limit = RateLimit.slidingWindowLog({ limit: 20, window: "1 hour" })
 * ```
 *
 * @since 0.1.0
 * @category limits
 */
export const slidingWindowLog = (options: WindowOptions): SlidingWindowLog => {
  const window = windowOf("slidingWindowLog", options)
  if (window.limit > 100_000) {
    throw new RangeError(
      `RateLimit: slidingWindowLog has a limit of ${window.limit} and remembers each: write slidingWindowCounter instead`
    )
  }
  return { _tag: "SlidingWindowLog", ...window }
}

/**
 * Counts in windows that begin at multiples of their length, and of the window before as much as still lies in the last
 * `window`, as if it had come evenly.
 *
 * Two numbers a key, and no edge: a client that does come evenly never notices that it is an estimate.
 *
 * @example
 * ```ts
 * import { RateLimit } from "effect-middleware"
 *
 * const limit = RateLimit.slidingWindowCounter({ limit: 1000, window: "1 hour" })
 * ```
 *
 * @since 0.1.0
 * @category limits
 */
export const slidingWindowCounter = (options: WindowOptions): SlidingWindowCounter => {
  const window = windowOf("slidingWindowCounter", options)
  exact("slidingWindowCounter", window.limit, window.window)
  return { _tag: "SlidingWindowCounter", ...window }
}

/**
 * @since 0.1.0
 * @category models
 */
export interface TokenBucketOptions {
  /** How many tokens it holds, and so how many may come at once: a whole number from 1. */
  readonly capacity: number
  /** How many tokens come `every` so long, evenly and not at once: a whole number from 1. */
  readonly refill: number
  readonly every: Duration.DurationInput
  /** Default: how long an empty bucket takes to be full, such as `"60s"`. */
  readonly name?: string | undefined
}

/**
 * A bucket of tokens that is refilled evenly: a burst up to its capacity, and the rate of the refill in the long run. It begins
 * full.
 *
 * @example
 * ```ts
 * import { RateLimit } from "effect-middleware"
 *
 * const limit = RateLimit.tokenBucket({ capacity: 50, refill: 10, every: "1 second" })
 * ```
 *
 * @since 0.1.0
 * @category limits
 */
export const tokenBucket = ({ capacity, every, name, refill }: TokenBucketOptions): TokenBucket => {
  const limit = whole("tokenBucket", "capacity", capacity)
  const period = millis("tokenBucket", "every", every)
  exact("tokenBucket", limit, period)
  if (whole("tokenBucket", "refill", refill) > 1_000_000) {
    throw new RangeError(
      `RateLimit: tokenBucket has a refill of ${refill}: write at most 1,000,000, and a shorter every`
    )
  }
  const window = Math.ceil(limit * period / refill)
  return { _tag: "TokenBucket", name: nameOf("tokenBucket", name, window), limit, window, refill, every: period }
}

/**
 * @since 0.1.0
 * @category models
 */
export interface GcraOptions extends WindowOptions {
  /** How many may come at once: a whole number from 1. Default: `limit`. */
  readonly burst?: number | undefined
}

/**
 * The Generic Cell Rate Algorithm: a token bucket of `burst` that is refilled with `limit` a `window`, of one number a key.
 *
 * With `burst: 1` requests have to keep a distance. It counts in whole microseconds, and rounds the distance up.
 *
 * @example
 * ```ts
 * import { RateLimit } from "effect-middleware"
 *
 * const limit = RateLimit.gcra({ limit: 10, window: "1 second", burst: 20 })
 * ```
 *
 * @since 0.1.0
 * @category limits
 */
export const gcra = ({ burst, ...options }: GcraOptions): Gcra => {
  const window = windowOf("gcra", options)
  const interval = Math.ceil(window.window * 1000 / window.limit)
  if (interval * window.limit > window.window * 1010) {
    throw new RangeError(
      `RateLimit: gcra has a limit of ${window.limit} in ${window.window} ms and counts in whole microseconds, which would ` +
        "lose more than 1 % of it: write a tokenBucket instead"
    )
  }
  const most = burst === undefined ? window.limit : whole("gcra", "burst", burst)
  if (most * interval > Number.MAX_SAFE_INTEGER / 2) {
    throw new RangeError(
      `RateLimit: gcra has a burst of ${most} that takes ${most} times ${interval} µs, more than can be counted exactly: ` +
        "write a smaller burst"
    )
  }
  return { _tag: "Gcra", ...window, interval, burst: most }
}

/**
 * @since 0.1.0
 * @category models
 */
export interface QuotaOptions {
  readonly limit: number
  /** Weeks begin on Monday. */
  readonly per: "hour" | "day" | "week" | "month"
  /** Whose midnight counts: a name of the IANA time zone database. Default: `"UTC"`. */
  readonly timeZone?: string | undefined
  /** Default: `per`, such as `"day"`. */
  readonly name?: string | undefined
}

/**
 * So much in an hour, a day, a week or a month of the calendar: what people are sold. All of it may come at once.
 *
 * @example
 * ```ts
 * import { RateLimit } from "effect-middleware"
 *
 * const limit = RateLimit.quota({ limit: 10_000, per: "month", timeZone: "Europe/Berlin" })
 * ```
 *
 * @since 0.1.0
 * @category limits
 */
export const quota = ({ limit, name, per, timeZone = "UTC" }: QuotaOptions): Quota => {
  const zone = DateTime.zoneMakeNamed(timeZone)
  if (zone._tag === "None") {
    throw new RangeError(
      `RateLimit: quota has the timeZone "${timeZone}": write a name such as "Europe/Berlin", or "UTC"`
    )
  }
  const startOf = (time: DateTime.Zoned) => DateTime.startOf(time, per, { weekStartsOn: 1 })
  const periodOf = (now: number): Period => {
    const start = startOf(DateTime.unsafeMakeZoned(now, { timeZone: zone.value }))
    // where a clock is set back, an hour may be two and a day 25
    const next = startOf(DateTime.add(start, { [`${per}s`]: 1 }))
    return { start: DateTime.toEpochMillis(start), end: DateTime.toEpochMillis(next) }
  }
  return {
    _tag: "Quota",
    name: nameOf("quota", name ?? per, 0),
    limit: whole("quota", "limit", limit),
    window: Duration.toMillis(nominal[per]),
    periodOf
  }
}
const nominal = { hour: "1 hour", day: "1 day", week: "1 week", month: "30 days" } as const

/**
 * @since 0.1.0
 * @category models
 */
export interface BackOffOptions {
  /** The failure from which on the next try has to wait. Default: 5. */
  readonly after?: number | undefined
  /** How long it has to wait first. Each further failure doubles it. Default: 1 second. */
  readonly first?: Duration.DurationInput | undefined
  /** How long it has to wait at most. Default: 15 minutes. */
  readonly most?: Duration.DurationInput | undefined
  /** How long after the last failure all are forgotten: longer than `most`. Default: 1 day. */
  readonly forget?: Duration.DurationInput | undefined
  /** Default: `"back-off"`. */
  readonly name?: string | undefined
}

/**
 * After some failures in a row each further try has to wait, twice as long each time: for logins. A success, which is a refund,
 * ends the row.
 *
 * @example
 * ```ts
 * import { RateLimit } from "effect-middleware"
 *
 * const limit = RateLimit.backOff({ after: 5, first: "1 second", most: "15 minutes" })
 * ```
 *
 * @since 0.1.0
 * @category limits
 */
export const backOff = (options: BackOffOptions = {}): BackOff => {
  const first = millis("backOff", "first", options.first ?? "1 second")
  const most = millis("backOff", "most", options.most ?? "15 minutes")
  const window = millis("backOff", "forget", options.forget ?? "1 day")
  if (first > most) {
    throw new RangeError(`RateLimit: backOff waits ${first} ms first and ${most} ms at most: write a larger most`)
  }
  if (window <= most) {
    throw new RangeError(
      `RateLimit: backOff forgets after ${window} ms and waits up to ${most} ms: write a longer forget`
    )
  }
  const delays: [number, ...Array<number>] = [first]
  for (let delay = first * 2; delay < most; delay *= 2) delays.push(delay)
  if (first < most) delays.push(most)
  return {
    _tag: "BackOff",
    name: nameOf("backOff", options.name ?? "back-off", 0),
    limit: whole("backOff", "after", options.after ?? 5),
    window,
    delays
  }
}

/**
 * @since 0.1.0
 * @category models
 */
export interface BanOptions {
  /** The refusal that is one too many: a whole number from 1. */
  readonly after: number
  /** Within which time. Default: as long as the ban. */
  readonly within?: Duration.DurationInput | undefined
  /** How long the ban lasts. */
  readonly duration: Duration.DurationInput
}

/**
 * Limits that apply together, all or nothing: if one refuses, none of them is spent. Make it outside of what runs per request.
 *
 * Throws where there is none, where there are more than 16, and where two have one name.
 *
 * @example
 * ```ts
 * import { RateLimit } from "effect-middleware"
 *
 * const free = RateLimit.limits([
 *   RateLimit.gcra({ limit: 10, window: "1 second", name: "burst" }),
 *   RateLimit.quota({ limit: 1000, per: "day" })
 * ], { ban: { after: 100, duration: "1 hour" } })
 * ```
 *
 * @since 0.1.0
 * @category limits
 */
export const limits = (
  all: Limit | NonEmptyReadonlyArray<Limit>,
  { ban }: { readonly ban?: BanOptions | undefined } = {}
): Limits => {
  const list: NonEmptyReadonlyArray<Limit> = "_tag" in all ? [all] : all
  if (list.length === 0) throw new TypeError("RateLimit: limits is empty: write one, such as RateLimit.gcra(...)")
  if (list.length > mostLimits) {
    throw new TypeError(
      `RateLimit: limits has ${list.length}: write ${mostLimits} at most, of which the strictest decide`
    )
  }
  const names = new Set<string>()
  for (const { name } of list) {
    if (names.has(name)) {
      throw new TypeError(`RateLimit: limits has two that are named "${name}": give one of them another name`)
    }
    names.add(name)
  }
  if (ban === undefined) return { all: list }
  const duration = millis("ban", "duration", ban.duration)
  const within = millis("ban", "within", ban.within ?? duration)
  return {
    all: list,
    ban: { _tag: "Ban", name: "ban", limit: whole("ban", "after", ban.after), window: within, duration }
  }
}

/** A script of Redis has room for some more. */
const mostLimits = 16

// ---------------------------------------------------------------------------------------------------------------------
// keys
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Whose limit it is: a text of the request, `undefined` where it has none, or an Effect of either.
 *
 * @since 0.1.0
 * @category keys
 */
export type Key<R = never, E = never> = (
  exchange: Middleware.Exchange<R>
) => string | undefined | Effect.Effect<string | undefined, E, R>

/**
 * @since 0.1.0
 * @category keys
 */
export interface ClientOptions {
  /**
   * How many bits of an IPv6 address tell one client from another, 32 to 128: a household has 64 bits of addresses or more to
   * itself. Default: 64.
   */
  readonly ipv6Prefix?: number | undefined
  /** The same of an IPv4 address, 8 to 32. Default: 32. */
  readonly ipv4Prefix?: number | undefined
}

/**
 * By the address of the client, as `Forwarded` sees it. An IPv4 address in an IPv6 one (mapped, or by NAT64) is the IPv4 address.
 *
 * @example
 * ```ts
 * import { Forwarded, RateLimit, Stack } from "effect-middleware"
 *
 * const stack = Stack.make(
 *   Forwarded.middleware({ trust: "none" }),
 *   RateLimit.middleware({ limits: RateLimit.gcra({ limit: 100, window: "1 minute" }), key: RateLimit.client() })
 * )
 * ```
 *
 * @since 0.1.0
 * @category keys
 */
export const client = (options: ClientOptions = {}): Key<Client> => {
  const networkOf = networker(options)
  const key: Key<Client> = (exchange) => networkOf(exchange.get(Client).address)
  ofClient.add(key)
  return key
}
/** The keys that count who guesses. */
const ofClient = new WeakSet<object>()

const networker = ({ ipv4Prefix = 32, ipv6Prefix = 64 }: ClientOptions) => {
  between("ipv4Prefix", ipv4Prefix, 8, 32)
  between("ipv6Prefix", ipv6Prefix, 32, 128)
  return (address: string | undefined) => address && networkOf(address, ipv4Prefix, ipv6Prefix)
}

/**
 * By the subject of a principal, whichever way it has authenticated. Of an optional one, who is nobody has no key: see `firstOf`.
 *
 * @example
 * ```ts
 * import { Authentication, RateLimit } from "effect-middleware"
 *
 * class CurrentUser extends Authentication.Tag("app/CurrentUser")<CurrentUser, { readonly plan: string }>() {}
 *
 * const byUser = RateLimit.firstOf(RateLimit.principal(CurrentUser.Option), RateLimit.client())
 * ```
 *
 * @since 0.1.0
 * @category keys
 */
export const principal = <I, P extends Somebody>(tag: Context.Tag<I, P>): Key<I> => (exchange) => {
  const found: Somebody = exchange.get(tag)
  return subjectOf(found)
}

/**
 * By the key that a request presents in a header field, good or bad: before authentication, so that guessing is limited too. The
 * store is given its SHA-256.
 *
 * @since 0.1.0
 * @category keys
 */
export const apiKey = ({ header }: { readonly header: string }): Key => {
  const field = header.toLowerCase()
  return ({ request }) => {
    const value = request.headers[field]
    return value === undefined || value === "" ? undefined : digest(value)
  }
}

/**
 * By the method and the pattern of the route, such as `GET /users/:id`: for a middleware inside a router, and as a part of `all`.
 * Outside, where no route is known yet, there is no key.
 *
 * @since 0.1.0
 * @category keys
 */
export const route: Key = ({ request, route }) => route === undefined ? undefined : `${request.method} ${route}`

/**
 * By the first that a request has: a user, or else the client.
 *
 * @since 0.1.0
 * @category keys
 */
export const firstOf = <const Keys extends NonEmptyReadonlyArray<Key<unknown, unknown>>>(
  ...keys: Keys
): Key<Key.Requires<Keys[number]>, Key.Fails<Keys[number]>> => {
  const from = (exchange: AnyExchange, index: number): Text =>
    // of two kinds of keys the same text is not the same key
    index === keys.length ?
      undefined :
      chain(keys[index]!(exchange), (text) => text === undefined ? from(exchange, index + 1) : `${index}:${text}`)
  return (exchange) => from(exchange as AnyExchange, 0) as Text<Key.Fails<Keys[number]>, Key.Requires<Keys[number]>>
}

/**
 * By all of them together: the client and the route. Where one is missing, there is no key.
 *
 * @since 0.1.0
 * @category keys
 */
export const all = <const Keys extends NonEmptyReadonlyArray<Key<unknown, unknown>>>(
  ...keys: Keys
): Key<Key.Requires<Keys[number]>, Key.Fails<Keys[number]>> => {
  const from = (exchange: AnyExchange, index: number): Text =>
    chain(keys[index]!(exchange), (text) => {
      if (text === undefined) return undefined
      const part = JSON.stringify(text)
      return index === keys.length - 1 ? part : chain(from(exchange, index + 1), (rest) => rest && `${part},${rest}`)
    })
  return (exchange) => from(exchange as AnyExchange, 0) as Text<Key.Fails<Keys[number]>, Key.Requires<Keys[number]>>
}

/**
 * @since 0.1.0
 * @category keys
 */
export declare namespace Key {
  /**
   * @since 0.1.0
   */
  export type Requires<K> = K extends Key<infer R, unknown> ? R : never
  /**
   * @since 0.1.0
   */
  export type Fails<K> = K extends Key<infer _, infer E> ? E : never
}

type Text<E = unknown, R = unknown> = string | undefined | Effect.Effect<string | undefined, E, R>
/** What several keys require together, which the signatures of `firstOf` and `all` say. */
type AnyExchange = Middleware.Exchange<unknown>

const chain = (text: Text, f: (text: string | undefined) => Text): Text =>
  Effect.isEffect(text) ? Effect.flatMap(text, (text) => lift(f(text))) : f(text)

// ---------------------------------------------------------------------------------------------------------------------
// refusals
// ---------------------------------------------------------------------------------------------------------------------

/**
 * There is no room left for the request: 429, with `Retry-After` (RFC 9110 10.2.3) and what else `headers` asks for.
 *
 * @since 0.1.0
 * @category errors
 */
export class RateLimited extends Schema.TaggedError<RateLimited>("effect-middleware/RateLimit/RateLimited")(
  "RateLimited",
  {
    /** After how many whole seconds, from 1, the same would be admitted; of a cost above the limit, its whole window. */
    retryAfter: Schema.Number,
    /** Whether it was refused too often. */
    banned: Schema.Boolean
  },
  HttpApiSchema.annotations({ status: 429 })
) implements HttpServerRespondable.Respondable {
  override get message() {
    return `There is no room for another request for ${this.retryAfter} s`
  }
  [HttpServerRespondable.symbol]() {
    return faces.get(this) ?? Effect.succeed(faceOf(this, {}))
  }
}

const faceOf = ({ retryAfter }: RateLimited, fields: Fields) =>
  ProblemDetails.toResponse(
    { status: 429, detail: "There were too many requests" },
    { headers: { "retry-after": `${retryAfter}`, ...fields } }
  )

/** With the fields that the limiter words, which are no part of the failure. */
const faces = new WeakMap<RateLimited, HttpServerResponse.HttpServerResponse>()

type Fields = { readonly [name: string]: string }

/**
 * Which fields tell a client where it stands, on every response:
 *
 * - `"standard"`: `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-10, a member for each limit.
 * - `"draft-6"`: `RateLimit-Policy`, `RateLimit-Limit`, `-Remaining` and `-Reset` (seconds), of the limit that is nearest.
 * - `"legacy"`: `X-RateLimit-Limit`, `-Remaining` and `-Reset` (seconds since the epoch), of the limit that is nearest.
 *
 * @since 0.1.0
 * @category models
 */
export type Headers = "standard" | "draft-6" | "legacy"

type Worder = (limits: Limits, decision: Decision) => Fields

const worderOf = (headers: Headers | ReadonlyArray<Headers> | false): Worder => {
  const chosen = (headers === false ? [] : typeof headers === "string" ? [headers] : headers).map((name) => {
    const worder: Worder | undefined = worders[name]
    if (worder === undefined) {
      throw new TypeError(`RateLimit: headers is "${String(name)}": write "standard", "draft-6", "legacy" or false`)
    }
    return worder
  })
  const [first = () => ({}), ...rest] = chosen
  if (rest.length === 0) return first
  return (limits, decision) => Object.assign({}, ...chosen.map((worder) => worder(limits, decision)))
}

const seconds = (ms: number): number => Math.ceil(ms / 1000)

/** What does not depend on the request, made once. */
const policies = new WeakMap<Limits, { readonly policy: string; readonly names: ReadonlyArray<string> }>()

const policyOf = (limits: Limits) => {
  const known = policies.get(limits)
  if (known !== undefined) return known
  const made = {
    policy: serializeList(limits.all.map(({ limit, name, window }) => [
      name,
      new Map<string, number>([["q", limit], ["w", seconds(window)]])
    ])),
    names: limits.all.map(({ name }) => serializeString(name))
  }
  policies.set(limits, made)
  return made
}

/** The index of the limit that has the least left of what it admits. */
const nearest = ({ all }: Limits, { limits }: Decision): number =>
  limits.reduce(
    (least, { remaining }, i) => remaining / all[i]!.limit < limits[least]!.remaining / all[least]!.limit ? i : least,
    0
  )

const worders: { readonly [name in Headers]: Worder } = {
  standard: (limits, decision) => {
    const { names, policy } = policyOf(limits)
    const standings = decision.limits.map(({ remaining, resetAfter }, i) =>
      `${names[i]!};r=${remaining};t=${seconds(resetAfter)}`
    )
    return { "ratelimit-policy": policy, ratelimit: standings.join(", ") }
  },
  "draft-6": (limits, decision) => {
    const i = nearest(limits, decision)
    const { remaining, resetAfter } = decision.limits[i]!
    return {
      "ratelimit-policy": limits.all.map(({ limit, window }) => `${limit};w=${seconds(window)}`).join(", "),
      "ratelimit-limit": `${limits.all[i]!.limit}`,
      "ratelimit-remaining": `${remaining}`,
      "ratelimit-reset": `${seconds(resetAfter)}`
    }
  },
  legacy: (limits, decision) => {
    const i = nearest(limits, decision)
    const { remaining, resetAfter } = decision.limits[i]!
    return {
      "x-ratelimit-limit": `${limits.all[i]!.limit}`,
      "x-ratelimit-remaining": `${remaining}`,
      "x-ratelimit-reset": `${seconds(decision.now + resetAfter)}`
    }
  }
}

/** Refusals by what they say: an error with its stack and its response costs more than the decision. */
const makeRefusals = (word: Worder) => {
  const made = new Map<string, RateLimited>()
  return (limits: Limits, decision: Decision): RateLimited => {
    const retryAfter = secondsUntil(limits, decision)
    const fields = word(limits, decision)
    const key = `${retryAfter} ${decision.banned} ${Object.values(fields).join("\n")}`
    const known = made.get(key)
    if (known !== undefined) return known
    const refusal = new RateLimited({ retryAfter, banned: decision.banned })
    faces.set(refusal, faceOf(refusal, fields))
    if (made.size >= 1000) made.clear()
    made.set(key, refusal)
    return refusal
  }
}

/** What is never admitted waits for as long as the longest window, and then is not admitted either. */
const secondsUntil = ({ all }: Limits, { retryAfter }: Decision): number =>
  Math.max(1, seconds(retryAfter === Infinity ? Math.max(...all.map(({ window }) => window)) : retryAfter))

// ---------------------------------------------------------------------------------------------------------------------
// the middleware
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<KR = never, KE = never, LR = never, LE = never, Name extends string = string> {
  /** What applies. A function of the request may choose: by the plan of a principal, for one. It has to choose among limits that were made once. */
  readonly limits:
    | Limit
    | NonEmptyReadonlyArray<Limit>
    | Limits
    | ((exchange: Middleware.Exchange<LR>) => Limits | Effect.Effect<Limits, LE, LR>)
  readonly key: Key<KR, KE>
  /** What a request costs: a whole number from 0. Default: 1. */
  readonly cost?: number | ((request: HttpServerRequest.HttpServerRequest) => number) | undefined
  /**
   * What becomes of a request that nobody can count, since the store is down. `"allow"` logs it. Default: `"refuse"`, with
   * `RateLimitUnavailable`.
   */
  readonly onUnavailable?: "refuse" | "allow" | undefined
  /**
   * What becomes of a request for which there is no room: it is refused; or let through, and logged and counted, to try limits
   * out; or it waits for its turn. Default: `"refuse"`.
   */
  readonly mode?: "refuse" | "dryRun" | Delay | undefined
  /**
   * Which requests are given back what they have cost, by the status of their response: those that succeed (below 400), or those
   * that fail (from 400). Default: none.
   */
  readonly refund?: "success" | "failure" | ((status: number) => boolean) | undefined
  /** Default: `"standard"`. */
  readonly headers?: Headers | ReadonlyArray<Headers> | false | undefined
  /** Routes that are not counted, as `Middleware.exceptRoutes` takes them: `["GET /health"]`. Default: none. */
  readonly exceptRoutes?: ReadonlyArray<string> | undefined
  /** The name of the limiter, too: two of one name and store share what was spent. Default: `"RateLimit"`. */
  readonly name?: Name | undefined
}

/**
 * A request waits until there is room for it, those of one key in the order in which they came.
 *
 * @since 0.1.0
 * @category models
 */
export interface Delay {
  /** How long it waits at most; then it is refused. */
  readonly wait: Duration.DurationInput
  /** How many may wait at once, in this process; one more is refused. Default: 100. */
  readonly queue?: number | undefined
}

/**
 * Refuses with `RateLimited` (429), and with `RateLimitUnavailable` (503) where the store cannot be asked.
 *
 * With a store in memory it is plain code, and a refusal costs neither a fiber nor a look at the router.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Forwarded, RateLimit, RateLimitStore, Stack } from "effect-middleware"
 * import { Layer } from "effect"
 *
 * const stack = Stack.make(
 *   Forwarded.middleware({ trust: "none" }),
 *   RateLimit.middleware({
 *     limits: [
 *       RateLimit.gcra({ limit: 10, window: "1 second" }),
 *       RateLimit.slidingWindowCounter({ limit: 1000, window: "1 hour" })
 *     ],
 *     key: RateLimit.client(),
 *     exceptRoutes: ["GET /health"]
 *   })
 * )
 * const app = HttpRouter.empty.pipe(HttpRouter.get("/", HttpServerResponse.text("hello")))
 *
 * const server = Stack.serve(app, stack).pipe(Layer.provide(RateLimitStore.layerMemory()))
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <
  KR = never,
  KE = never,
  LR = never,
  LE = never,
  const Name extends string = "RateLimit"
>(options: Options<KR, KE, LR, LE, Name>): Middleware.Middleware<
  never,
  RateLimited | RateLimitUnavailable | KE | LE,
  RateLimitStore | KR | LR,
  never,
  Name,
  Middleware.Phases
> => {
  const name: string = options.name ?? "RateLimit"
  const { onUnavailable = "refuse" } = options
  const isExempt = exemptionOf(options.exceptRoutes)
  const limitsOf = chooserOf(options.limits)
  const costOf = coster(options.cost ?? 1)
  const word = worderOf(options.headers ?? "standard")
  const refusalOf = makeRefusals(word)
  const gives = refunds(options.refund)
  const mode = modeOf(options.mode)
  const spent = Middleware.local<Spent>()
  let isWarned = false

  const bucketOf = (exchange: Middleware.Exchange, key: string | undefined, limits: Limits): Bucket => {
    if (key === undefined && !isWarned) {
      isWarned = true
      exchange.log(LogLevel.Warning, `${name}: a request has no key, and those that have none share one bucket`)
    }
    return { limiter: name, key: key ?? nobody, limits }
  }
  const conclude = (exchange: Middleware.Exchange, taken: Spent) => {
    const { bucket: { limits }, decision } = taken
    spent.set(exchange, taken)
    if (decision.allowed) return Middleware.Pass
    refused(name, mode === "dryRun")
    if (mode !== "dryRun") return Middleware.Refuse(refusalOf(limits, decision))
    exchange.log(LogLevel.Info, `${name}: a request would have been refused`, {
      "rate_limit.retry_after": secondsUntil(limits, decision)
    })
    return Middleware.Pass
  }
  const asked = (exchange: Middleware.Exchange<RateLimitStore | KR | LR>, bucket: Bucket) => {
    const store = exchange.get(RateLimitStore)
    const cost = costOf(exchange.request)
    const decision = typeof mode === "object" ? mode.take(store, bucket, cost) : store.consume(bucket, { cost })
    return Effect.map(decision, (decision) => conclude(exchange, { bucket, cost, decision }))
  }

  // what the functions of the options read, their types have said
  const requires: ReadonlyArray<Middleware.NamedInRequires<RateLimitStore | KR | LR>> = [RateLimitStore]
  return Middleware.make({
    name: options.name ?? "RateLimit" as Name,
    // one by client does not compile where it could not know it
    traits: ["guard", ofClient.has(options.key) ? "by-client" : "rate-limit"],
    requires,
    request: (exchange) => {
      const { request } = exchange
      if (isPreflight(request) || isExempt(request.method, request.url)) return Middleware.Pass
      const { sync } = exchange.get(RateLimitStore)
      if (sync === undefined || typeof mode === "object") return Middleware.Defer
      const limits = limitsOf(exchange)
      const key = Effect.isEffect(limits) ? limits : options.key(exchange)
      if (Effect.isEffect(limits) || Effect.isEffect(key)) return Middleware.Defer
      const bucket = bucketOf(exchange, key, limits)
      const cost = costOf(request)
      const now = exchange.clock.unsafeCurrentTimeMillis()
      return conclude(exchange, { bucket, cost, decision: sync.consume(bucket, { cost, now }) })
    },
    requestEffect: (exchange) =>
      Effect.flatMap(
        lift(limitsOf(exchange)),
        (limits) =>
          Effect.flatMap(lift(options.key(exchange)), (key) => asked(exchange, bucketOf(exchange, key, limits)))
      ).pipe(
        (effect) =>
          onUnavailable === "refuse" ? effect : Effect.catchIf(effect, isUnavailable, (error) => {
            exchange.log(LogLevel.Warning, `${name}: a request was let through uncounted`, {}, Cause.fail(error))
            return Effect.succeed(Middleware.Pass)
          })
      ),
    response: (draft, exchange) => {
      const taken = spent.get(exchange)
      if (taken === undefined) return
      const fields = word(taken.bucket.limits, taken.decision)
      for (const field in fields) {
        // lists, to which each limiter adds its own
        if (field.startsWith("ratelimit")) draft.append(field, fields[field]!)
        else draft.set(field, fields[field]!)
      }
    },
    responseEffect: gives && ((draft, exchange) => {
      const taken = spent.get(exchange)
      if (taken?.decision.allowed !== true || !gives(draft.status)) return Effect.void
      return giveBack(exchange.get(RateLimitStore), taken)
    })
  })
}

/** Whoever has no key. Nobody's is a lone control character. */
const nobody = "\u0000"

/** What a request has spent, and where. */
interface Spent {
  readonly bucket: Bucket
  readonly cost: number
  readonly decision: Decision
}

const giveBack = (store: Service, { bucket, cost, decision }: Spent): Effect.Effect<void> =>
  Effect.catchAllCause(
    store.refund(bucket, { cost, since: decision.now }),
    (cause) => Effect.logWarning(`${bucket.limiter}: what a request has cost was not given back`, cause)
  )

const isUnavailable = (error: unknown): error is RateLimitUnavailable => error instanceof RateLimitUnavailable

const isPreflight = ({ headers, method }: HttpServerRequest.HttpServerRequest): boolean =>
  method === "OPTIONS" && headers["access-control-request-method"] !== undefined

const counter = Metric.counter("http.server.rate_limit.refusals", {
  description: "Requests for which there was no room, by limiter, and whether they were let through (dry_run)",
  incremental: true
})
const refused = (limiter: string, dryRun: boolean) =>
  counter.unsafeUpdate(1, [
    MetricLabel.make("rate_limit.limiter", limiter),
    MetricLabel.make("rate_limit.dry_run", `${dryRun}`)
  ])

const chooserOf = <E, R>(
  given:
    | Limit
    | NonEmptyReadonlyArray<Limit>
    | Limits
    | ((exchange: Middleware.Exchange<R>) => Limits | Effect.Effect<Limits, E, R>)
): (exchange: Middleware.Exchange<R>) => Limits | Effect.Effect<Limits, E, R> => {
  if (typeof given === "function") return given
  const made = limitsFrom(given)
  return () => made
}

const limitsFrom = (given: Limit | NonEmptyReadonlyArray<Limit> | Limits): Limits =>
  "all" in given ? given : limits(given)

const coster = (
  cost: number | ((request: HttpServerRequest.HttpServerRequest) => number)
): (request: HttpServerRequest.HttpServerRequest) => number => {
  const checked = (cost: number): number => {
    if (Number.isSafeInteger(cost) && cost >= 0) return cost
    throw new RangeError(`RateLimit: cost is ${cost}: write a whole number from 0`)
  }
  if (typeof cost === "function") return (request) => checked(cost(request))
  checked(cost)
  return () => cost
}

const exemptionOf = (patterns: ReadonlyArray<string> = []): (method: string, url: string) => boolean =>
  patterns.length === 0 ? () => false : compileExemption(patterns)

const refunds = (refund: Options["refund"]): ((status: number) => boolean) | undefined => {
  if (refund === "success") return (status) => status < 400
  if (refund === "failure") return (status) => status >= 400
  return refund
}

const modeOf = (mode: "refuse" | "dryRun" | Delay = "refuse"): "refuse" | "dryRun" | Lines =>
  typeof mode === "string" ? mode : makeLines(mode)

// --- waiting ---------------------------------------------------------------------------------------------------------

type Lines = ReturnType<typeof makeLines>

/** A line for each key for which somebody waits. Only who stands first in it asks the store. */
const makeLines = ({ queue = 100, wait }: Delay) => {
  const most = millis("mode", "wait", wait)
  whole("mode", "queue", queue)
  const lines = new Map<string, { readonly first: Effect.Semaphore; length: number }>()
  let waiting = 0

  const turn = (store: Service, bucket: Bucket, cost: number): Effect.Effect<Decision, RateLimitUnavailable> =>
    Effect.flatMap(store.consume(bucket, { cost }), (decision) =>
      decision.allowed || decision.retryAfter > most
        ? Effect.succeed(decision)
        : Effect.zipRight(Effect.sleep(decision.retryAfter), turn(store, bucket, cost)))

  const stand = (key: string): Effect.Effect<Effect.Semaphore> =>
    Effect.sync(() => {
      const line = lines.get(key) ?? { first: Effect.unsafeMakeSemaphore(1), length: 0 }
      lines.set(key, line)
      line.length++
      waiting++
      return line.first
    })
  const leave = (key: string) =>
    Effect.sync(() => {
      waiting--
      const line = lines.get(key)
      if (line !== undefined && --line.length === 0) lines.delete(key)
    })

  return {
    take: (store: Service, bucket: Bucket, cost: number): Effect.Effect<Decision, RateLimitUnavailable> => {
      const ask = store.consume(bucket, { cost })
      const inLine = Effect.acquireUseRelease(
        stand(bucket.key),
        (first) => first.withPermits(1)(turn(store, bucket, cost)),
        () => leave(bucket.key)
      ).pipe(Effect.timeoutOption(most), Effect.flatMap(Option.match({ onNone: () => ask, onSome: Effect.succeed })))
      return Effect.suspend(() => {
        // who comes later does not go first
        if (lines.has(bucket.key)) return waiting >= queue ? Effect.map(store.peek(bucket, { cost }), refusing) : inLine
        return Effect.flatMap(
          ask,
          (decision) =>
            decision.allowed || decision.retryAfter > most || waiting >= queue ? Effect.succeed(decision) : inLine
        )
      })
    }
  }
}

/** There may be room, but others have come before. */
const refusing = (decision: Decision): Decision =>
  decision.allowed ? { ...decision, allowed: false, retryAfter: 1 } : decision

/**
 * `RateLimitStore.layerStoreFallback`, where whoever configures a limiter looks for it.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerStoreFallback = Store.layerStoreFallback

// ---------------------------------------------------------------------------------------------------------------------
// limiters without a middleware
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category models
 */
export interface LimiterOptions {
  /** The name of a middleware's limiter is that of the middleware: then this one sees what that has spent. */
  readonly name: string
  readonly limits: Limit | NonEmptyReadonlyArray<Limit> | Limits
}

/**
 * A limit that a program asks itself: in a handler, in a job, for an operator.
 *
 * @since 0.1.0
 * @category models
 */
export interface Limiter {
  /** Spends, or fails. What it gives is what `refund` takes. */
  readonly consume: (
    key: string,
    options?: { readonly cost?: number | undefined }
  ) => Effect.Effect<Admitted, RateLimited | RateLimitUnavailable, RateLimitStore>
  /** How a key stands, without spending anything. */
  readonly peek: (
    key: string,
    options?: { readonly cost?: number | undefined }
  ) => Effect.Effect<Decision, RateLimitUnavailable, RateLimitStore>
  readonly refund: (admitted: Admitted) => Effect.Effect<void, RateLimitUnavailable, RateLimitStore>
  /** Forgets a key: what it has spent, its failures and its ban. */
  readonly reset: (key: string) => Effect.Effect<void, RateLimitUnavailable, RateLimitStore>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Admitted extends Spent {}

/**
 * A limiter for programs. The key of a client is its address, or the network of it that `client` tells apart, such as
 * `"2001:db8::/64"`.
 *
 * @example
 * ```ts
 * import { RateLimit } from "effect-middleware"
 *
 * const exports = RateLimit.limiter({ name: "exports", limits: RateLimit.quota({ limit: 10, per: "day" }) })
 *
 * const forgive = (userId: string) => exports.reset(userId)
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const limiter = ({ name, limits: given }: LimiterOptions): Limiter => {
  const made = limitsFrom(given)
  const refusalOf = makeRefusals(() => ({}))
  const bucketOf = (key: string): Bucket => ({ limiter: name, key, limits: made })
  return {
    consume: (key, { cost = 1 } = {}) =>
      Effect.flatMap(RateLimitStore, (store) => {
        const bucket = bucketOf(key)
        return Effect.flatMap(store.consume(bucket, { cost }), (decision) => {
          if (decision.allowed) return Effect.succeed({ bucket, cost, decision })
          refused(name, false)
          return Effect.fail(refusalOf(made, decision))
        })
      }),
    peek: (key, { cost = 1 } = {}) => Effect.flatMap(RateLimitStore, (store) => store.peek(bucketOf(key), { cost })),
    refund: ({ bucket, cost, decision }) =>
      Effect.flatMap(RateLimitStore, (store) => store.refund(bucket, { cost, since: decision.now })),
    reset: (key) => Effect.flatMap(RateLimitStore, (store) => store.reset(bucketOf(key)))
  }
}

/**
 * @since 0.1.0
 * @category models
 */
export interface LoginOptions {
  /** Default: `"login"`. */
  readonly name?: string | undefined
  /** What applies to an address, whatever accounts it tries. Default: 100 failures in an hour. */
  readonly address?: Limit | NonEmptyReadonlyArray<Limit> | Limits | undefined
  /** What applies to an account, whatever addresses try it. Default: `backOff()`. */
  readonly account?: Limit | NonEmptyReadonlyArray<Limit> | Limits | undefined
  /** How addresses are told apart. */
  readonly client?: ClientOptions | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Login {
  /**
   * Runs a check of a password, or fails where the client's address or the account has failed too often. Both are counted before
   * it begins, so that many tries at once gain nothing. What it has cost is given back if it succeeds, and not if it fails, dies or
   * is interrupted: who leaves before the answer has tried.
   */
  readonly protect: (
    account: string
  ) => <A, E, R>(
    check: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | RateLimited | RateLimitUnavailable, R | Client | RateLimitStore>
  /** Lets an account be tried again at once. */
  readonly forgive: (account: string) => Effect.Effect<void, RateLimitUnavailable, RateLimitStore>
}

/**
 * Protects a login by address and by account (OWASP ASVS 5.0 6.3.1).
 *
 * - The store is given a digest of the account, not its name. One account has one spelling: fold the case, where it means nothing,
 *   before.
 * - Whoever knows an account's name can keep its owner waiting, up to the longest delay: that is why it is a delay, and no lock.
 *
 * @example
 * ```ts
 * import { RateLimit } from "effect-middleware"
 * import { Effect } from "effect"
 *
 * declare const verify: (name: string, password: string) => Effect.Effect<string, Error>
 *
 * const logins = RateLimit.login()
 *
 * const signIn = (name: string, password: string) => logins.protect(name)(verify(name, password))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const login = (
  { account = backOff(), address, client: told = {}, name = "login" }: LoginOptions = {}
): Login => {
  const addresses = limiter({
    name: `${name}.address`,
    limits: address ?? fixedWindow({ limit: 100, window: "1 hour" })
  })
  const accounts = limiter({ name: `${name}.account`, limits: account })
  const networkOf = networker(told)
  const spend = (address: string, account: string) =>
    Effect.flatMap(addresses.consume(address), (first) =>
      accounts.consume(account).pipe(
        // an attempt that is not made is no failure of the address
        Effect.tapError(() => Effect.ignore(addresses.refund(first))),
        Effect.map((second) => [first, second] as const)
      ))
  return {
    protect: (account) => (check) =>
      Effect.gen(function*() {
        const { address } = yield* Client
        const store = yield* RateLimitStore
        const spent = yield* spend(networkOf(address) ?? nobody, digest(account))
        const result = yield* check
        yield* Effect.forEach(spent, (admitted) => giveBack(store, admitted), { discard: true })
        return result
      }),
    forgive: (account) => accounts.reset(digest(account))
  }
}

// --- checks ----------------------------------------------------------------------------------------------------------

const windowOf = (of: string, { limit, name, window }: WindowOptions): Named => {
  const length = millis(of, "window", window)
  return { limit: whole(of, "limit", limit), window: length, name: nameOf(of, name, length) }
}

const whole = (of: string, option: string, value: number): number => {
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new RangeError(`RateLimit: ${of} has the ${option} ${value}: write a whole number from 1`)
  }
  return value
}

const between = (option: string, bits: number, least: number, most: number): void => {
  if (!Number.isInteger(bits) || bits < least || bits > most) {
    throw new RangeError(`RateLimit: client has the ${option} ${bits}: write ${least} to ${most}`)
  }
}

const longest = Duration.toMillis("3650 days")

const millis = (of: string, option: string, input: Duration.DurationInput): number => {
  const length = Math.round(Duration.toMillis(input))
  if (!(length >= 1 && length <= longest)) {
    throw new RangeError(
      `RateLimit: ${of} has the ${option} ${
        String(input)
      }: write a time from 1 millisecond to ten years, such as "1 minute"`
    )
  }
  return length
}

/** What is multiplied in every driver must be exact in every driver. */
const exact = (of: string, limit: number, window: number): void => {
  if (limit * window > Number.MAX_SAFE_INTEGER / 2) {
    throw new RangeError(
      `RateLimit: ${of} has a limit of ${limit} in ${window} ms, more than can be counted exactly: write a shorter time`
    )
  }
}

/** A name is a String of RFC 9651, and part of a store's key. */
const nameOf = (of: string, name: string | undefined, window: number): string => {
  if (name === undefined) return window % 1000 === 0 ? `${window / 1000}s` : `${window}ms`
  if (!/^[a-z\d][\w.-]{0,63}$/i.test(name)) {
    throw new TypeError(
      `RateLimit: ${of} has the name ${JSON.stringify(name)}: write letters, digits, ".", "_" and "-"`
    )
  }
  return name
}
