/**
 * Where the time of a request goes, layer by layer: a stack that tells of itself.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import type * as Tracer from "effect/Tracer"
import { concatAll, edit, type ExchangeImpl, fromPhases, type Phase, phasesOf, withRun } from "./internal/kernel.js"
import type { Any, Exchange } from "./Middleware.js"
import { local } from "./Middleware.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * What each phase of each member leaves in the trace: an event on the current span, a child span, or nothing.
   * Default: `"events"`.
   */
  readonly spans?: "events" | "children" | "none" | undefined
  /** Whether the time that each phase of each member takes goes into `durations`. Default: `true`. */
  readonly durations?: boolean | undefined
}

/**
 * The same stack, observed. A stack that is not observed pays nothing; in one that is, a plain phase still costs no
 * Effect.
 *
 * - A phase is `request` (with its Effect, where it has both), `response`, or `around` for what wraps.
 * - The duration of what wraps leaves out what is inside it; its child span covers that too. The span does not become
 *   the parent of those inside: the router tells its route to the server's.
 * - A member under a condition is seen when the condition is met.
 * - A member that an edit adds later is not observed.
 *
 * @example
 * ```ts
 * import { Forwarded, RequestId, Stack, Telemetry } from "effect-middleware"
 *
 * const stack = Telemetry.observe(Stack.make(Forwarded.middleware({ trust: "none" }), RequestId.middleware()))
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const observe = <M extends Any>(middleware: M, options: Options = {}): M => {
  const { durations = true, spans = "events" } = options
  // each member stays in its place, with its name and its type
  return durations || spans !== "none" ? observeAll(middleware, { durations, spans }) as M : middleware
}

interface Report {
  readonly spans: "events" | "children" | "none"
  readonly durations: boolean
}

const observeAll = (middleware: Any, report: Report): Any =>
  Array.isArray(middleware.members)
    ? concatAll(middleware.name, middleware.members.map((member: Any) => observeAll(member, report)))
    : fromPhases(
      middleware.name,
      phasesOf(middleware).map((phase) => phase.guard === undefined ? observed(phase, report) : phase),
      middleware.members
    )

const observed = (phase: Phase, report: Report): Phase => {
  const began = local<Begun>()
  const onRequest = recorder(phase.name, "request", report)
  const onResponse = recorder(phase.name, "response", report)
  const { around, request, requestEffect } = phase
  return {
    ...phase,
    request: request && ((exchange) => {
      const begun = onRequest.begin(exchange)
      let undecided = false
      try {
        const outcome = request(exchange)
        undecided = requestEffect !== undefined && (outcome === undefined || outcome._tag === "Defer")
        return outcome
      } finally {
        if (undecided) began.set(exchange, begun)
        else onRequest.end(exchange, begun)
      }
    }),
    requestEffect: requestEffect &&
      ((exchange) =>
        onRequest.during(exchange, began.get(exchange) ?? onRequest.begin(exchange), requestEffect(exchange))),
    response: phase.response === undefined && phase.responseEffect === undefined ? undefined : (draft, exchange) => {
      const begun = onResponse.begin(exchange)
      let effect: ReturnType<typeof edit>
      try {
        effect = edit(phase, draft, exchange)
      } finally {
        if (effect === undefined) onResponse.end(exchange, begun)
      }
      return effect && onResponse.during(exchange, begun, effect)
    },
    responseEffect: undefined,
    around: around && ((app) => {
      const onAround = recorder(phase.name, "around", report)
      const inside = local<Inside>()
      const timed = withRun((run) => {
        const state = inside.get(run) ?? { running: 0, since: 0n, spent: 0n }
        inside.set(run, state)
        // of runs at the same time the time counts once
        if (state.running++ === 0) state.since = now(run)
        const ended = Effect.sync(() => {
          if (--state.running === 0) state.spent += now(run) - state.since
        })
        return Effect.ensuring(app, ended)
      })
      const wrapped = around(timed)
      return withRun((run) => {
        const begun = onAround.begin(run)
        return Effect.ensuring(wrapped, Effect.sync(() => onAround.end(run, begun, spentIn(run, inside.get(run)))))
      })
    })
  }
}

/** What is inside something that wraps: how often it runs now, since when, and the time of what has ended. */
interface Inside {
  running: number
  since: bigint
  spent: bigint
}

const spentIn = (exchange: Exchange, inside: Inside | undefined): bigint =>
  inside === undefined ? 0n : inside.spent + (inside.running > 0 ? now(exchange) - inside.since : 0n)

interface Begun {
  readonly start: bigint
  readonly span: Tracer.Span | undefined
}

/** From 10 µs to 10 s: most layers are plain code, the others ask a store. */
const boundaries = MetricBoundaries.fromIterable([
  0.00001,
  0.000025,
  0.00005,
  0.0001,
  0.00025,
  0.0005,
  0.001,
  0.0025,
  0.005,
  0.01,
  0.025,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  2.5,
  5,
  10
])

/**
 * The time each phase of each member took, without what is inside it, in seconds; by `middleware.name` and
 * `middleware.phase`.
 *
 * @since 0.1.0
 * @category metrics
 */
export const durations = Metric.histogram(
  "http.server.middleware.duration",
  boundaries,
  "Time a middleware took, without what is inside it, in seconds"
)

const recorder = (layer: string, stage: "request" | "response" | "around", report: Report) => {
  const name = `${layer} ${stage}`
  const attributes = { "middleware.name": layer, "middleware.phase": stage }
  const metric = Object.entries(attributes).reduce(
    (metric, [key, value]) => Metric.tagged(metric, key, value),
    durations
  )

  const begin = (exchange: Exchange): Begun => {
    const start = now(exchange)
    return { start, span: report.spans === "children" ? run(exchange).childSpan(name, start, attributes) : undefined }
  }
  /** `inside` is the time that what is inside has taken. */
  const end = (exchange: Exchange, { span, start }: Begun, inside: bigint = 0n) => {
    const done = now(exchange)
    const seconds = Number(done - start - inside) / 1e9
    if (report.durations) metric.unsafeUpdate(seconds, [])
    span?.end(done, Exit.void)
    if (report.spans === "events") {
      run(exchange).span?.event(name, start, { ...attributes, "middleware.duration": seconds })
    }
  }
  const during = <A, E, R>(exchange: Exchange, begun: Begun, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.ensuring(
      begun.span === undefined ? effect : Effect.withParentSpan(effect, begun.span) as Effect.Effect<A, E, R>,
      Effect.sync(() => end(exchange, begun))
    )
  return { begin, during, end }
}

const run = (exchange: Exchange) => exchange as ExchangeImpl
const now = (exchange: Exchange) => exchange.clock.unsafeCurrentTimeNanos()
