/**
 * Tells the client how long an answer took, and of what that was made: `Server-Timing`, and `X-Process-Time`.
 *
 * Times tell of the inside, so who may not see the details gets the total alone, in whole milliseconds. Rules:
 *
 * 1. `total` is the time from here inward until the response leaves through here: headers, not the body of a stream.
 *    The clock is monotonic.
 * 2. The marks of handlers and inner middlewares are sent where `details` says so. Elsewhere they are not even kept.
 * 3. Measures of one name add up, so a name stands in the header once, and concurrent ones can be more than the total.
 * 4. A measure that has not ended when the response leaves is not sent.
 * 5. After `maxMarks` names, others are left out: a loop cannot grow the header without end.
 * 6. What the handler has put into `Server-Timing` itself stays, and stands first.
 *
 * @since 0.1.0
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import { isToken } from "./internal/fields.js"
import * as Middleware from "./Middleware.js"

/**
 * The marks of the current request. In an Effect, use `measure` and `mark`; a plain phase further in takes this by
 * `exchange.getOption(ServerTiming.ServerTiming)`.
 *
 * @since 0.1.0
 * @category services
 */
export class ServerTiming extends Middleware.Service("effect-middleware/ServerTiming")<ServerTiming, Timings>() {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Timings {
  /** Adds to the mark of this name. Throws on a name that is no token. */
  readonly mark: (name: string, options?: MarkOptions) => void
  /** Begins a measure; the function it gives ends it, once. Throws on a name that is no token. */
  readonly start: (name: string, options?: MeasureOptions) => () => void
}

/**
 * @since 0.1.0
 * @category models
 */
export interface MeasureOptions {
  /**
   * For people, such as `"cache read"`: the first one of a name counts. Sent as printable ASCII, at most 64 characters:
   * control characters are removed, others become `?`.
   */
  readonly description?: string | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface MarkOptions extends MeasureOptions {
  /** How long it took. Without one, and for an infinite one, the mark says that something happened. */
  readonly duration?: Duration.DurationInput | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<Name extends string = string> {
  /** Whether `Server-Timing` has the total, for everybody. Default: `true`. */
  readonly total?: boolean | undefined
  /**
   * Who is sent the marks, and microseconds: nobody, everybody, or as a predicate says. It is asked when the request
   * comes in.
   *
   * **Mind this**: how long a lookup took can tell whether it found something. Everybody is for development; let a
   * predicate compare a secret, and not just look for a header. Default: `false`.
   */
  readonly details?: boolean | Detailed | undefined
  /** Whether to send `X-Process-Time` too: the total in seconds, as in Starlette's recipe. Default: `false`. */
  readonly processTime?: boolean | undefined
  /** How many names of marks are kept, 1 to 100. Default: `32`. */
  readonly maxMarks?: number | undefined
  readonly name?: Name | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export type Detailed = (request: HttpServerRequest.HttpServerRequest) => boolean

/**
 * @since 0.1.0
 * @category policy
 */
export interface Facts {
  /** The total, in milliseconds. */
  readonly elapsed: number
  /** Whether this client may see the details. */
  readonly detailed: boolean
  readonly marks: Iterable<Mark>
}

/**
 * @since 0.1.0
 * @category policy
 */
export interface Mark {
  /** An RFC 9110 token. */
  readonly name: string
  /** In milliseconds. */
  readonly duration: number | undefined
  readonly description: string | undefined
}

/**
 * Values of the two fields; `undefined` for one that is not sent.
 *
 * @since 0.1.0
 * @category policy
 */
export interface Decision {
  readonly serverTiming: string | undefined
  readonly processTime: string | undefined
}

/**
 * Compiles the options, once, to a pure function. Throws on options by which nothing would ever be sent, and on a
 * `maxMarks` that is none.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { ServerTiming } from "effect-middleware"
 *
 * const decide = ServerTiming.policy({ processTime: true })
 * const marks = [{ name: "db", duration: 8.25, description: "two queries" }]
 *
 * assert.deepEqual(decide({ elapsed: 12.3456, detailed: false, marks }), {
 *   serverTiming: "total;dur=12",
 *   processTime: "0.012"
 * })
 * assert.deepEqual(decide({ elapsed: 12.3456, detailed: true, marks }), {
 *   serverTiming: "total;dur=12.346, db;dur=8.25;desc=\"two queries\"",
 *   processTime: "0.012346"
 * })
 * ```
 *
 * @since 0.1.0
 * @category policy
 */
export const policy = (options: Options = {}): (facts: Facts) => Decision => {
  const { details = false, maxMarks = defaultMarks, processTime = false, total = true } = options
  if (!total && !processTime && details === false) {
    throw new TypeError(
      "ServerTiming: total, processTime and details are all off: leave the middleware out, or turn one of them on"
    )
  }
  if (!Number.isInteger(maxMarks) || maxMarks < 1 || maxMarks > 100) {
    throw new TypeError(`ServerTiming: maxMarks is ${maxMarks}: write a whole number, 1 to 100`)
  }
  return ({ detailed, elapsed, marks }) => {
    // a client measures through the noise of the network; finer than a millisecond, the server would take it away
    const millis = detailed ? micros(elapsed) : Math.round(elapsed)
    const metrics = total ? [`total;dur=${millis}`] : []
    if (detailed) { for (const mark of marks) metrics.push(print(mark)) }
    return {
      serverTiming: metrics.length === 0 ? undefined : metrics.join(", "),
      processTime: processTime ? String(Math.round(millis * 1000) / 1_000_000) : undefined
    }
  }
}

/**
 * Provides `ServerTiming`, and sends the fields with every response that leaves through it.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { ServerTiming } from "effect-middleware"
 * import { Effect } from "effect"
 *
 * const users = Effect.succeed(["Ada", "Grace"]).pipe(ServerTiming.measure("db"))
 *
 * const app = HttpRouter.empty.pipe(
 *   HttpRouter.get("/users", Effect.flatMap(users, (names) => Effect.orDie(HttpServerResponse.json(names)))),
 *   ServerTiming.middleware({ details: ({ headers }) => headers["x-debug"] === "a secret of yours" })
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <const Name extends string = "ServerTiming">(
  options: Options<Name> = {}
): Middleware.Middleware<ServerTiming, never, never, never, Name, Middleware.Phases> => {
  const decide = policy(options)
  const { details = false, maxMarks = defaultMarks } = options
  const local = Middleware.local<Recording>()
  return Middleware.make({
    name: options.name ?? "ServerTiming" as Name,
    provides: ServerTiming,
    request: (exchange) => {
      const detailed = typeof details === "function" ? details(exchange.request) : details
      const recording = new Recording(exchange.clock, detailed ? maxMarks : 0)
      local.set(exchange, recording)
      return Middleware.Provide(recording)
    },
    response: (draft, exchange) => {
      const recording = local.get(exchange)
      if (recording === undefined) return
      const { processTime, serverTiming } = decide(recording.facts())
      if (serverTiming !== undefined) draft.serverTiming(serverTiming)
      if (processTime !== undefined) draft.set("x-process-time", processTime)
    }
  })
}

/**
 * Measures an effect, however it ends. Outside the middleware, it only runs it. Throws on a name that is no RFC 9110
 * token of at most 64 characters.
 *
 * @example
 * ```ts
 * import { ServerTiming } from "effect-middleware"
 * import { Effect } from "effect"
 *
 * const both = Effect.all([
 *   Effect.succeed("Ada").pipe(ServerTiming.measure("db", { description: "user" })),
 *   ServerTiming.measure(Effect.succeed(1), "cache")
 * ])
 * ```
 *
 * @since 0.1.0
 * @category marks
 */
export const measure: {
  (name: string, options?: MeasureOptions): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, name: string, options?: MeasureOptions): Effect.Effect<A, E, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(self: Effect.Effect<A, E, R>, name: string, options?: MeasureOptions): Effect.Effect<A, E, R> => {
    checkName(name)
    return Effect.flatMap(
      Effect.serviceOption(ServerTiming),
      (timings) =>
        timings._tag === "None" ? self : Effect.ensuring(self, Effect.sync(timings.value.start(name, options)))
    )
  }
)

/**
 * Adds to the mark of this name; outside the middleware, does nothing. Throws on a name that is no RFC 9110 token of at
 * most 64 characters.
 *
 * @example
 * ```ts
 * import { ServerTiming } from "effect-middleware"
 *
 * const missed = ServerTiming.mark("miss")
 * const waited = ServerTiming.mark("queue", { duration: "12 millis", description: "waited for a worker" })
 * ```
 *
 * @since 0.1.0
 * @category marks
 */
export const mark = (name: string, options?: MarkOptions): Effect.Effect<void> => {
  checkName(name)
  return Effect.map(Effect.serviceOption(ServerTiming), (timings) => {
    if (timings._tag === "Some") timings.value.mark(name, options)
  })
}

const defaultMarks = 32

class Recording implements Timings {
  private readonly marks = new Map<string, { duration: number | undefined; description: string | undefined }>()
  private readonly began: bigint
  constructor(private readonly clock: Clock.Clock, private readonly limit: number) {
    this.began = clock.unsafeCurrentTimeNanos()
  }
  mark(name: string, options: MarkOptions = {}) {
    const { description, duration } = options
    this.add(name, duration === undefined ? undefined : Duration.toMillis(duration), description)
  }
  start(name: string, options: MeasureOptions = {}) {
    checkName(name)
    const { clock } = this
    const began = clock.unsafeCurrentTimeNanos()
    let running = true
    return () => {
      if (running) this.add(name, millisBetween(began, clock.unsafeCurrentTimeNanos()), options.description)
      running = false
    }
  }
  facts(): Facts {
    return {
      elapsed: millisBetween(this.began, this.clock.unsafeCurrentTimeNanos()),
      detailed: this.limit > 0,
      marks: Array.from(this.marks, ([name, { description, duration }]) => ({ name, description, duration }))
    }
  }
  private add(name: string, duration: number | undefined, description: string | undefined) {
    checkName(name)
    const known = this.marks.get(name)
    if (known !== undefined) {
      if (duration !== undefined) known.duration = (known.duration ?? 0) + duration
      known.description ??= description
    } else if (this.marks.size < this.limit) this.marks.set(name, { duration, description })
  }
}

const checkName = (name: string): void => {
  if (!isToken(name) || name.length > 64) {
    throw new TypeError(
      `ServerTiming: ${
        JSON.stringify(name)
      } is no name: write a token of 1 to 64 characters (RFC 9110 section 5.6.2), ` +
        `such as "db", and the rest as its description`
    )
  }
}

const print = ({ description, duration, name }: Mark): string => {
  const dur = duration === undefined || !Number.isFinite(micros(duration)) ? "" : `;dur=${micros(duration)}`
  const desc = description === undefined ? "" : `;desc="${quotable(description)}"`
  return `${name}${dur}${desc}`
}

/** What a quoted-string may hold (RFC 9110 section 5.6.4), in characters that every server can send. */
const quotable = (text: string): string =>
  text.replace(/\p{Cc}/gu, "").replace(/[^ -~]/gu, "?").slice(0, 64).replace(/["\\]/g, "\\$&")

const micros = (millis: number): number => Math.round(millis * 1000) / 1000

const millisBetween = (from: bigint, to: bigint): number => Number(to - from) / 1_000_000
