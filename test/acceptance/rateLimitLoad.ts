/** A process that `rateLimits.ts` starts: it asks a store for one decision after another. It goes with the one that started it. */
import type { Layer } from "effect"
import { Effect, Exit, Logger, LogLevel } from "effect"
import { RateLimitStore, type Redis } from "effect-middleware"
import * as Ioredis from "effect-middleware/Redis/Ioredis"
import { monitorEventLoopDelay, performance } from "node:perf_hooks"

export type Engine =
  | { readonly name: "redis"; readonly url: string }
  | { readonly name: "cluster"; readonly ports: ReadonlyArray<number> }

export interface Run {
  readonly engine: Engine
  readonly limiter: string
  readonly limits: RateLimitStore.Limits
  readonly keys: number
  /** From 1, evenly; the greater it is, the more the first keys are asked about. */
  readonly skew: number
  /** How many ask at a time, and how many milliseconds each waits after a refusal. */
  readonly fibers: number
  readonly pace: number
  /** How many after an admission, as long as all is well: a fault is to be while some of the limit is left. */
  readonly admittedPace: number
  /** Milliseconds, of the run and of a decision. */
  readonly duration: number
  readonly timeout: number
}

export interface Result {
  /** For each admission its key, and the time of the server. */
  readonly keys: Array<number>
  readonly times: Array<number>
  readonly refused: number
  /** Keys that were refused. */
  readonly exhausted: Array<number>
  readonly unavailable: number
  /** What was answered otherwise. */
  readonly others: Array<string>
  /** The last time of the server that was seen. */
  readonly seen: number
  /** Milliseconds, of one decision, and how late a timer of this process was at most. */
  readonly slowest: number
  readonly late: number
  /** By the clock of the machine: the first `RateLimitUnavailable`, 0 for none, the last decision, and the end. */
  readonly firstUnavailable: number
  readonly lastDecision: number
  readonly ended: number
  /** Milliseconds, the longest without a decision. */
  readonly gap: number
}

const redisOf = (engine: Engine): Layer.Layer<Redis.Redis> =>
  engine.name === "redis"
    ? Ioredis.layer(engine.url)
    : Ioredis.layerCluster({ nodes: engine.ports.map((port) => ({ host: "127.0.0.1", port })) })

const wall = () => performance.timeOrigin + performance.now()

const load = (run: Run) =>
  Effect.gen(function*() {
    const store = yield* RateLimitStore.RateLimitStore
    const result = {
      keys: new Array<number>(),
      times: new Array<number>(),
      refused: 0,
      exhausted: new Set<number>(),
      unavailable: 0,
      others: new Set<string>(),
      seen: 0,
      slowest: 0,
      firstUnavailable: 0,
      lastDecision: wall(),
      gap: 0
    }
    const delays = monitorEventLoopDelay({ resolution: 5 })
    delays.enable()
    const until = performance.now() + run.duration
    const ask = Effect.gen(function*() {
      const key = Math.floor(run.keys * Math.random() ** run.skew)
      const bucket = { limiter: run.limiter, key: `k${key}`, limits: run.limits }
      const began = performance.now()
      const exit = yield* Effect.exit(store.consume(bucket, { cost: 1 }))
      result.slowest = Math.max(result.slowest, performance.now() - began)
      if (Exit.isSuccess(exit)) {
        const { allowed, now } = exit.value
        const at = wall()
        result.gap = Math.max(result.gap, at - result.lastDecision)
        result.lastDecision = at
        result.seen = Math.max(result.seen, now)
        if (allowed) {
          result.keys.push(key)
          result.times.push(now)
          return result.unavailable === 0 ? run.admittedPace : 0
        }
        result.refused++
        result.exhausted.add(key)
      } else if (exit.cause._tag === "Fail" && exit.cause.error instanceof RateLimitStore.RateLimitUnavailable) {
        result.unavailable++
        result.firstUnavailable ||= wall()
      } else result.others.add(`${exit.cause}`)
      return run.pace
    })
    const fiber = Effect.gen(function*() {
      while (performance.now() < until) {
        const pace = yield* ask
        // a refusal of this process itself must not keep it from its sockets
        if (pace > 0) yield* Effect.sleep(pace)
      }
    })
    yield* Effect.all(Array.from({ length: run.fibers }, () => fiber), { concurrency: "unbounded", discard: true })
    delays.disable()
    return {
      ...result,
      exhausted: [...result.exhausted],
      others: [...result.others],
      late: delays.max / 1e6,
      ended: wall()
    } satisfies Result
  }).pipe(
    Effect.provide(RateLimitStore.layerRedis({ timeout: run.timeout })),
    Effect.provide(redisOf(run.engine)),
    Logger.withMinimumLogLevel(LogLevel.None)
  )

if (process.send !== undefined) {
  process.once("disconnect", () => process.exit())
  process.on("message", (run: Run) => void Effect.runPromise(load(run)).then((result) => process.send?.(result)))
  process.send("ready")
}
