/**
 * Limits how much a client, a user or a key may ask for in a time.
 *
 * @since 0.1.0
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import type {
  BackOff,
  FixedWindow,
  Gcra,
  Limit,
  Limits,
  Named,
  Period,
  Quota,
  SlidingWindowCounter,
  SlidingWindowLog,
  TokenBucket
} from "./RateLimitStore.js"

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
  return {
    _tag: "Gcra",
    ...window,
    interval,
    burst: burst === undefined ? window.limit : whole("gcra", "burst", burst)
  }
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
 * Throws where there is none, and where two have one name.
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
