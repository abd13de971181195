/**
 * Tells an orchestrator or a load balancer whether the process is alive and whether it is ready for requests.
 *
 * 1. Live is an answer without a question: the process runs, and its event loop turns.
 * 2. Ready asks what the app depends on, all of it at once, each with a timeout. A flood of probes asks once, and for a
 *    short time goes by what was found last.
 * 3. Where a critical one fails, ready is 503, and where another one does it is 200 with `"warn"`.
 * 4. Once the shutdown has begun ready is 503, whatever the checks say; live stays what it is.
 *
 * Both are answered where the middleware stands, before all that is inside. The answer is `{"status":"pass"}`, `"warn"` or
 * `"fail"`, with `Cache-Control: no-store`. What went wrong is for the log. A method other than `GET` and `HEAD` is 405 with
 * `Allow` (RFC 9110 15.5.6).
 *
 * @since 0.1.0
 */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Middleware from "./Middleware.js"
import * as ProblemDetails from "./ProblemDetails.js"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<Name extends string = string> {
  /** The path of live, compared as it is written; a query makes no difference. Default: `"/livez"`. */
  readonly live?: string | undefined
  /** The path of ready, likewise. Default: `"/readyz"`. */
  readonly ready?: string | undefined
  /** Whether ready names each check and says whether it passes, to everybody who asks. Default: `false`. */
  readonly details?: boolean | undefined
  readonly name?: Name | undefined
}

/**
 * Passes if it succeeds, with whatever; fails if it fails, dies or takes too long. One that fails and is not critical is a
 * warning.
 *
 * @since 0.1.0
 * @category models
 */
export type Check<R = unknown> =
  | Effect.Effect<unknown, unknown, R>
  | {
    readonly check: Effect.Effect<unknown, unknown, R>
    /** Default: `true`. */
    readonly critical?: boolean | undefined
  }

/**
 * @since 0.1.0
 * @category models
 */
export interface Settings {
  /** How long one check may take. Default: 2 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
  /** How long what was found is good. `0` asks for each probe that finds none on its way. Default: 1 second. */
  readonly cacheFor?: Duration.DurationInput | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Draining {
  /**
   * How long the shutdown waits once ready has begun to fail: longer than the load balancer takes to notice. Default: it
   * does not.
   */
  readonly drainDelay?: Duration.DurationInput | undefined
}

/**
 * What was found. When it is draining nothing is asked, and `checks` is empty.
 *
 * @since 0.1.0
 * @category models
 */
export interface Report {
  readonly status: "pass" | "warn" | "fail"
  readonly checks: { readonly [name: string]: "pass" | "fail" }
}

/**
 * What the checks run on.
 *
 * @since 0.1.0
 * @category models
 */
export type Requires<Checks> = {
  [K in keyof Checks]: Checks[K] extends Effect.Effect<unknown, unknown, infer R> ? R
    : Checks[K] extends { readonly check: Effect.Effect<unknown, unknown, infer R> } ? R
    : never
}[keyof Checks]

// ---------------------------------------------------------------------------------------------------------------------
// service
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category services
 */
export interface Service {
  /** What is known already and is still good at that time, in milliseconds. */
  readonly known: (now: number) => Report | undefined
  /** What is known, or is found now: of those who ask at once one does. */
  readonly check: Effect.Effect<Report>
  /** From here on it is not ready. There is no way back. */
  readonly drain: Effect.Effect<void>
}

/**
 * Whether the app is ready.
 *
 * @since 0.1.0
 * @category services
 */
export class HealthCheck extends Context.Tag("effect-middleware/HealthCheck")<HealthCheck, Service>() {}

/**
 * Checks by their names. What they run on is taken when the layer is built. A check that begins to fail is told to the log,
 * with its cause, and again when it passes. One that cannot be interrupted is not begun a second time while it runs.
 *
 * Throws on a time that is none.
 *
 * @example
 * ```ts
 * import { HealthCheck } from "effect-middleware"
 * import { Effect } from "effect"
 *
 * const health = HealthCheck.layer({
 *   database: Effect.void, // sql`SELECT 1`
 *   cache: { check: Effect.void, critical: false }
 * }, { timeout: "2 seconds", cacheFor: "1 second" })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <const Checks extends { readonly [name: string]: Check }>(
  checks: Checks,
  settings: Settings = {}
): Layer.Layer<HealthCheck, never, Exclude<Requires<Checks>, Scope.Scope>> => {
  const timeout = millis("timeout", settings.timeout ?? "2 seconds", 1)
  const cacheFor = millis("cacheFor", settings.cacheFor ?? "1 second", 0)
  // what each of them requires is required
  const entries = Object.entries(checks) as ReadonlyArray<[string, Check<Requires<Checks>>]>
  return Layer.scoped(
    HealthCheck,
    Effect.gen(function*() {
      const context = yield* Effect.context<Exclude<Requires<Checks>, Scope.Scope>>()
      const scope = yield* Effect.scope
      const probes = entries.map(([name, given]) => {
        const { check, critical = true } = Effect.isEffect(given) ? { check: given } : given
        const provided = Effect.provide(Effect.scoped(check), context) as Effect.Effect<unknown, unknown>
        return { name, critical, passes: makeProbe(name, provided, timeout) }
      })

      const ask = Effect.map(
        Effect.forEach(probes, ({ passes }) => passes, { concurrency: "unbounded" }),
        (passed): Report => {
          const failed = probes.filter((_, i) => passed[i] === false)
          return {
            status: failed.some(({ critical }) => critical) ? "fail" : failed.length > 0 ? "warn" : "pass",
            checks: Object.fromEntries(probes.map(({ name }, i) => [name, passed[i] === true ? "pass" : "fail"]))
          }
        }
      )

      let draining = false
      let last: { readonly at: number; readonly report: Report } | undefined
      let flight: Deferred.Deferred<Report> | undefined
      const known = (now: number) => {
        if (draining) return drained
        // a clock that was set back makes nothing good for longer
        return last !== undefined && now >= last.at && now - last.at < cacheFor ? last.report : undefined
      }
      // a flight that is noted takes off, and lands, whoever leaves and whatever is released meanwhile
      const find = Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Deferred.make<Report>(), (own) => {
          if (flight !== undefined) return restore(Deferred.await(flight))
          flight = own
          const land = (report: Report) => {
            flight = undefined
            Deferred.unsafeDone(own, Effect.succeed(report))
          }
          return ask.pipe(
            Effect.zipWith(Clock.currentTimeMillis, (report, at) => {
              last = { at, report }
              return report
            }),
            Effect.interruptible,
            Effect.onExit((exit) => Effect.sync(() => land(exit._tag === "Success" ? exit.value : drained))),
            Effect.forkIn(scope),
            Effect.zipRight(restore(Deferred.await(own)))
          )
        })
      )
      const drain = Effect.sync(() => {
        draining = true
      })
      yield* Effect.addFinalizer(() => drain)
      return {
        known,
        check: Effect.flatMap(Clock.currentTimeMillis, (now) => {
          const report = known(now)
          return report === undefined ? Effect.map(find, (found) => draining ? drained : found) : Effect.succeed(report)
        }),
        drain
      }
    })
  )
}

const drained: Report = { status: "fail", checks: {} }

/** Whether a check passes, in time. */
const makeProbe = (name: string, check: Effect.Effect<unknown, unknown>, timeout: number): Effect.Effect<boolean> => {
  let [running, failing] = [false, false]
  const began = (cause: Cause.Cause<unknown>) => {
    if (failing) return Effect.void
    failing = true
    return Effect.logWarning(`HealthCheck: ${name} fails`, cause)
  }
  const passed = Effect.suspend(() => {
    if (!failing) return Effect.void
    failing = false
    return Effect.logInfo(`HealthCheck: ${name} passes again`)
  })
  const once = Effect.suspend(() => {
    if (running) return Effect.dieMessage("It has not ended since it was asked last")
    running = true
    return Effect.ensuring(
      check,
      Effect.sync(() => {
        running = false
      })
    )
  })
  return once.pipe(
    // one that cannot be interrupted is left behind
    Effect.disconnect,
    Effect.timeout(timeout),
    Effect.matchCauseEffect({
      onFailure: (cause) => Effect.as(began(cause), false),
      onSuccess: () => Effect.as(passed, true)
    })
  )
}

/**
 * Lets ready fail when the shutdown begins, before the server that is given stops: so a load balancer sends no more while
 * the requests that are there still have their answers.
 *
 * @example
 * ```ts
 * import { HttpServerResponse } from "@effect/platform"
 * import { HealthCheck, Stack } from "effect-middleware"
 * import { Layer } from "effect"
 *
 * const server = HttpServerResponse.text("hello").pipe(
 *   Stack.serve(HealthCheck.middleware()),
 *   HealthCheck.drainOnShutdown({ drainDelay: "10 seconds" }),
 *   Layer.provide(HealthCheck.layer({}))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const drainOnShutdown = (options: Draining = {}) => {
  const delay = millis("drainDelay", options.drainDelay ?? 0, 0)
  const drains = Layer.scopedDiscard(
    Effect.flatMap(
      HealthCheck,
      ({ drain }) => Effect.addFinalizer(() => delay === 0 ? drain : Effect.zipRight(drain, Effect.sleep(delay)))
    )
  )
  // what is built last is released first
  return <A, E, R>(server: Layer.Layer<A, E, R>): Layer.Layer<A, E, R | HealthCheck> =>
    Layer.provideMerge(drains, server)
}

const millis = (option: string, input: Duration.DurationInput, least: number): number => {
  const duration = Duration.decodeUnknown(input)
  const value = Option.isSome(duration) ? Duration.toMillis(duration.value) : -1
  if (value >= least && value < 2 ** 31) return value
  throw new TypeError(`HealthCheck: ${option} is ${String(input)}: write a time ("2 seconds")`)
}

// ---------------------------------------------------------------------------------------------------------------------
// policy
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category policy
 */
export type Decision = "pass" | "live" | "ready" | "method"

/**
 * Compiles the paths, once, to a pure function of a request. Throws on what is no path, and on two that are one.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { HealthCheck } from "effect-middleware"
 *
 * const decide = HealthCheck.policy({ live: "/livez", ready: "/readyz" })
 *
 * assert.equal(decide("GET", "/readyz?verbose"), "ready")
 * assert.equal(decide("POST", "/livez"), "method")
 * assert.equal(decide("GET", "/livez/"), "pass")
 * ```
 *
 * @since 0.1.0
 * @category policy
 */
export const policy = (
  { live = "/livez", ready = "/readyz" }: Pick<Options, "live" | "ready"> = {}
): (method: string, target: string) => Decision => {
  for (const [option, path] of [["live", live], ["ready", ready]] as const) {
    if (!/^\/[\w\-.~/]*$/.test(path)) {
      throw new TypeError(`HealthCheck: ${option} is ${JSON.stringify(path)}: write a path ("/${option}z")`)
    }
  }
  if (live === ready) {
    throw new TypeError(`HealthCheck: live and ready are both ${JSON.stringify(live)}: write two paths`)
  }
  return (method, target) => {
    const end = target.indexOf("?")
    const path = end === -1 ? target : target.slice(0, end)
    if (path !== live && path !== ready) return "pass"
    if (method !== "GET" && method !== "HEAD") return "method"
    return path === live ? "live" : "ready"
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// middleware
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Answers live and ready. Stands outermost, so that nothing else is asked for a probe; inside an access log where probes
 * are to be logged.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { HealthCheck } from "effect-middleware"
 *
 * // it requires `HealthCheck.HealthCheck`
 * const app = HttpRouter.empty.pipe(
 *   HttpRouter.get("/", HttpServerResponse.text("hello")),
 *   HealthCheck.middleware({ live: "/livez", ready: "/readyz" })
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <const Name extends string = "HealthCheck">(
  options: Options<Name> = {}
): Middleware.Middleware<never, never, HealthCheck, never, Name, Middleware.Phases> => {
  const decide = policy(options)
  const answer = (report: Report) => Middleware.Respond(toResponse(report, options.details === true))
  return Middleware.make({
    name: options.name ?? "HealthCheck" as Name,
    requires: [HealthCheck],
    request: (exchange) => {
      const { clock, request: { method, url } } = exchange
      const decision = decide(method, url)
      if (decision === "pass") return Middleware.Pass
      if (decision === "live") return alive
      if (decision === "method") return notAllowed
      const report = exchange.get(HealthCheck).known(clock.unsafeCurrentTimeMillis())
      return report === undefined ? Middleware.Defer : answer(report)
    },
    requestEffect: (exchange) => Effect.map(exchange.get(HealthCheck).check, answer)
  })
}

const headers = { "cache-control": "no-store" }

const toResponse = ({ checks, status }: Report, details: boolean) =>
  HttpServerResponse.unsafeJson(details ? { status, checks } : { status }, {
    status: status === "fail" ? 503 : 200,
    headers
  })

const alive = Middleware.Respond(toResponse({ status: "pass", checks: {} }, false))

const notAllowed = Middleware.Respond(ProblemDetails.toResponse({ status: 405 }, { headers: { allow: "GET, HEAD" } }))
