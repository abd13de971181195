/**
 * Rate limits under fire: real Redis, several processes with a client each, and more demand than the limits admit.
 *
 *     npm run acceptance:rate-limits -- --engines redis,cluster --seconds 4
 *
 * Every admission is kept with the time of the server that made it, and compared with the policy by another algorithm than the
 * store's. It ends with code 1 if something does not hold:
 *
 * - While the primaries are stable, nothing is admitted beyond a limit: of 1, of 100, of 1000 and of 100,000 keys.
 * - Of up to 1000 keys at least 99 % is admitted of what the policy allows to those who came, when they came.
 * - Over a failover, and over the loss of a server that keeps nothing, a key is admitted its limit once more at most.
 * - While Redis is away every request is answered in time: by a decision, or by `RateLimitUnavailable`. It recovers by itself.
 *
 * While all is well a decision may take as long as a busy machine needs; while something is down, the 100 milliseconds of the
 * default, and what a busy machine makes of them.
 */
import { Effect, type Scope } from "effect"
import { RateLimit, type RateLimitStore } from "effect-middleware"
import { performance } from "node:perf_hooks"
import { setTimeout as sleep } from "node:timers/promises"
import { parseArgs } from "node:util"
import { nameOf } from "../../src/internal/limits.js"
import { makeCluster, makeServer } from "../utils/redis.js"
import { startChild } from "./children.js"
import type { Engine, Result, Run } from "./rateLimitLoad.js"
import { printTable } from "./table.js"

const { values: options } = parseArgs({
  options: {
    engines: { type: "string", default: "redis,cluster" },
    processes: { type: "string", default: "4" },
    /** How many ask at a time in each process, and how many milliseconds each waits after a refusal. */
    fibers: { type: "string", default: "6" },
    pace: { type: "string", default: "2" },
    /** Seconds under load, before a fault, while it lasts, and after it. */
    seconds: { type: "string", default: "4" },
    before: { type: "string", default: "1.5" },
    down: { type: "string", default: "2" },
    after: { type: "string", default: "10" },
    /** Milliseconds that an answer may take beside the 100 of the store, for a busy machine. */
    slack: { type: "string", default: "250" }
  }
})
const engines = options.engines.split(",")
const [processes, fibers, pace, seconds, before, down, after, slack] = [
  Number(options.processes),
  Number(options.fibers),
  Number(options.pace),
  Number(options.seconds) * 1000,
  Number(options.before) * 1000,
  Number(options.down) * 1000,
  Number(options.after) * 1000,
  Number(options.slack)
]
const timeout = 100

// --- processes -------------------------------------------------------------------------------------------------------

interface Load {
  readonly send: (run: Run) => Effect.Effect<Result>
}

const startLoad: Effect.Effect<Load, never, Scope.Scope> = Effect.gen(function*() {
  const child = yield* startChild("rateLimitLoad.ts")
  yield* child.next<"ready">()
  return { send: (run) => child.ask<Result>(run) }
})

// --- what a policy allows --------------------------------------------------------------------------------------------

/** By how much the times of one key, in order, exceed a limit at the worst moment; 0 if they never do. */
const excessOf = (limit: RateLimitStore.Limit, times: ReadonlyArray<number>): number => {
  switch (limit._tag) {
    // in any interval no more than the burst, and what has come back in it
    case "Gcra":
      return bucketExcess(times, limit.burst, limit.interval, 1000)
    case "TokenBucket":
      return bucketExcess(times, limit.limit, limit.every, limit.refill)
    // in any window no more than the limit
    case "SlidingWindowLog": {
      let excess = 0
      let first = 0
      times.forEach((time, i) => {
        while ((times[first] ?? time) <= time - limit.window) first++
        excess = Math.max(excess, i - first + 1 - limit.limit)
      })
      return excess
    }
    // a window begins with the first that is admitted after the last one
    case "FixedWindow": {
      let excess = 0
      let count = 0
      let start = -Infinity
      for (const time of times) {
        if (time >= start + limit.window) [start, count] = [time, 0]
        excess = Math.max(excess, ++count - limit.limit)
      }
      return excess
    }
    default:
      throw new Error(`${limit._tag} is not checked here`)
  }
}

/** Where one costs so many units, and so many come back in a millisecond. */
const bucketExcess = (times: ReadonlyArray<number>, burst: number, cost: number, speed: number): number => {
  const [origin = 0] = times
  let least = Infinity
  let most = 0
  times.forEach((time, i) => {
    const spent = i * cost - (time - origin) * speed
    least = Math.min(least, spent)
    most = Math.max(most, spent - least + cost)
  })
  return Math.max(0, Math.ceil((most - burst * cost) / cost))
}

/** How many of those who come at these times a policy admits that knows of all at once. */
const allowedOf = (limit: RateLimitStore.Limit, times: ReadonlyArray<number>): number => {
  switch (limit._tag) {
    case "Gcra":
      return bucketAllows(times, limit.burst, limit.interval, 1000)
    case "TokenBucket":
      return bucketAllows(times, limit.limit, limit.every, limit.refill)
    case "SlidingWindowLog": {
      const admitted: Array<number> = []
      for (const time of times) {
        if ((admitted.at(-limit.limit) ?? -Infinity) <= time - limit.window) admitted.push(time)
      }
      return admitted.length
    }
    case "FixedWindow": {
      let [admitted, count, start] = [0, 0, -Infinity]
      for (const time of times) {
        if (time >= start + limit.window) [start, count] = [time, 0]
        if (++count <= limit.limit) admitted++
      }
      return admitted
    }
    default:
      throw new Error(`${limit._tag} is not checked here`)
  }
}

const bucketAllows = (times: ReadonlyArray<number>, burst: number, cost: number, speed: number): number => {
  let [admitted, left, last] = [0, burst * cost, Infinity]
  for (const time of times) {
    left = Math.min(burst * cost, left + Math.max(0, time - last) * speed)
    last = time
    if (left < cost) continue
    left -= cost
    admitted++
  }
  return admitted
}

// --- a run -----------------------------------------------------------------------------------------------------------

interface Target {
  readonly engine: Engine
  readonly faults: ReadonlyArray<Fault>
}

interface Fault {
  readonly name: string
  readonly begin: (key: string) => Effect.Effect<void>
  readonly end: Effect.Effect<void>
}

interface Case {
  readonly name: string
  readonly keys: number
  readonly limit: RateLimitStore.Limit
  /** Whether what is admitted has to reach what is allowed. */
  readonly full: boolean
  readonly duration?: number
  readonly skew?: number
  readonly fault?: Fault
}

const header = [
  "engine",
  "limit",
  "keys",
  "decisions/s",
  "admitted",
  "allowed",
  "%",
  "over",
  "keys over",
  "unavailable",
  "slowest ms",
  "loop late ms",
  "longest without s"
]

let runs = 0

const runCase = (
  engine: Engine,
  loads: ReadonlyArray<Load>,
  { duration = seconds, fault, full, keys, limit, name, skew = 1 }: Case
) =>
  Effect.gen(function*() {
    const limits = RateLimit.limits(limit)
    const run: Run = {
      engine,
      limiter: `fire-${++runs}`,
      limits,
      keys,
      skew,
      fibers,
      pace,
      calm: fault === undefined ? 0 : before,
      duration: fault === undefined ? duration : before + down + after,
      timeout: fault === undefined ? 5000 : timeout
    }
    const injected = fault === undefined ? Effect.void : Effect.gen(function*() {
      yield* Effect.promise(() => sleep(before))
      yield* fault.begin(`limit:{${nameOf({ limiter: run.limiter, key: "k0", limits })}}`)
      yield* Effect.promise(() => sleep(down))
      yield* fault.end
    })
    const [results] = yield* Effect.all(
      [Effect.all(loads.map((load) => load.send(run)), { concurrency: "unbounded" }), injected],
      { concurrency: "unbounded" }
    )
    return report(engine, results, { name, keys, limit, full, run, fault })
  })

const sum = (numbers: ReadonlyArray<number>) => numbers.reduce((total, number) => total + number, 0)

const report = (
  engine: Engine,
  results: ReadonlyArray<Result>,
  { fault, full, keys, limit, name, run }: {
    readonly name: string
    readonly keys: number
    readonly limit: RateLimitStore.Limit
    readonly full: boolean
    readonly run: Run
    readonly fault: Fault | undefined
  }
) => {
  const admissions = new Map<number, Array<number>>()
  const requests = new Map<number, Array<number>>()
  const exhausted = new Set<number>()
  const note = (of: Map<number, Array<number>>, key: number, time: number) => {
    const times = of.get(key)
    if (times === undefined) of.set(key, [time])
    else times.push(time)
  }
  for (const result of results) {
    result.times.forEach((time, i) => {
      const which = result.keys[i] ?? NaN
      const key = which < 0 ? -1 - which : which
      note(requests, key, time)
      if (which < 0) exhausted.add(key)
      else note(admissions, key, time)
    })
  }
  for (const times of [...admissions.values(), ...requests.values()]) times.sort((a, b) => a - b)
  const excesses = [...admissions.values()].map((times) => excessOf(limit, times))
  const over = Math.max(0, ...excesses)
  const asked = sum(results.map(({ times }) => times.length))
  const admitted = sum([...admissions.values()].map((times) => times.length))
  const allowed = sum([...requests.values()].map((times) => allowedOf(limit, times)))
  const share = admitted / allowed
  const unavailable = sum(results.map((result) => result.unavailable))
  const others = results.flatMap((result) => result.others)
  const slowest = Math.max(...results.map((result) => result.slowest))
  const most = limit._tag === "Gcra" ? limit.burst : limit.limit

  const hold: ReadonlyArray<readonly [holds: boolean, violation: string]> = [
    [others.length === 0, `answered otherwise: ${others[0]}`],
    [asked > admitted, "the demand was no more than the limit"],
    ...fault === undefined
      ? [
        [over === 0, `${over} more than a key's limit were admitted`],
        [unavailable === 0, `${unavailable} unavailable, although nothing was down`],
        [
          !full || (exhausted.size >= keys / 2 && share >= 0.99),
          `only ${(share * 100).toFixed(2)} % of what is allowed, ${exhausted.size} keys were asked for more`
        ]
      ] as const
      : [
        [over <= most, `${over} more than a key's limit of ${most} were admitted`],
        [unavailable > 0, "the fault was not noticed"],
        [exhausted.size === keys, `only ${exhausted.size} keys of ${keys} were spent: ask for longer`],
        [
          results.every(({ late, slowest }) => slowest <= timeout + Math.max(slack, late + 50)),
          `an answer took ${Math.round(slowest)} ms, more than ${timeout + slack}, and its process was not as late`
        ],
        [results.every(({ ended, lastDecision }) => lastDecision > ended - after / 2), "it has not recovered"]
      ] as const
  ]
  return {
    columns: [
      engine.name,
      name,
      keys,
      Math.round(asked / run.duration * 1000),
      admitted,
      full ? allowed : "",
      full ? (share * 100).toFixed(2) : "",
      over,
      excesses.filter((excess) => excess > 0).length,
      unavailable,
      Math.round(slowest),
      Math.round(Math.max(...results.map(({ late }) => late))),
      fault === undefined
        ? ""
        : (Math.max(...results.map(({ ended, gap, lastDecision }) => Math.max(gap, ended - lastDecision))) / 1000)
          .toFixed(2)
    ],
    violations: hold.flatMap(([holds, violation]) =>
      holds ? [] : [`${engine.name}, ${name}, ${keys} keys: ${violation}`]
    )
  }
}

// --- all of it -------------------------------------------------------------------------------------------------------

const targets: Readonly<Record<Engine["name"], Effect.Effect<Target, never, Scope.Scope>>> = {
  redis: Effect.map(makeServer(), ({ start, stop, url }) => ({
    engine: { name: "redis", url },
    faults: [{ name: "killed, restarted empty", begin: () => stop, end: start }]
  })),
  cluster: Effect.map(makeCluster(), ({ nodes, primaryOf }) => ({
    engine: { name: "cluster", ports: nodes.map(({ port }) => port) },
    faults: [{
      name: "a primary killed",
      begin: (key) => Effect.flatMap(primaryOf(key), ({ stop }) => stop),
      end: Effect.void
    }]
  }))
}

const second = "1 second"
const many: Case = {
  name: "gcra",
  keys: 100_000,
  full: false,
  skew: 4,
  duration: seconds * 1.25,
  limit: RateLimit.gcra({ limit: 1, window: "1 minute" })
}
const cases: ReadonlyArray<Case> = [
  { name: "gcra", keys: 1, full: true, limit: RateLimit.gcra({ limit: 100, window: second }) },
  {
    name: "tokenBucket",
    keys: 1,
    full: true,
    limit: RateLimit.tokenBucket({ capacity: 100, refill: 100, every: second })
  },
  { name: "slidingWindowLog", keys: 1, full: true, limit: RateLimit.slidingWindowLog({ limit: 100, window: second }) },
  { name: "fixedWindow", keys: 1, full: true, limit: RateLimit.fixedWindow({ limit: 100, window: second }) },
  { name: "gcra", keys: 100, full: true, limit: RateLimit.gcra({ limit: 3, window: second }) },
  {
    name: "tokenBucket",
    keys: 100,
    full: true,
    limit: RateLimit.tokenBucket({ capacity: 3, refill: 3, every: second })
  },
  {
    name: "slidingWindowLog",
    keys: 100,
    full: true,
    limit: RateLimit.slidingWindowLog({ limit: 3, window: second })
  },
  { name: "fixedWindow", keys: 100, full: true, limit: RateLimit.fixedWindow({ limit: 3, window: second }) },
  {
    name: "gcra",
    keys: 1000,
    full: true,
    duration: seconds * 1.25,
    limit: RateLimit.gcra({ limit: 2, window: "10 seconds", burst: 2 })
  },
  many
]

const rows: Array<ReadonlyArray<string | number>> = [header]
const violations: Array<string> = []
const began = performance.now()

const runTarget = ({ engine, faults }: Target, loads: ReadonlyArray<Load>) =>
  Effect.gen(function*() {
    const faulty = faults.map((fault): Case => ({
      name: fault.name,
      keys: 20,
      full: false,
      limit: RateLimit.gcra({ limit: 150, window: "10 minutes" }),
      fault
    }))
    // the first second of a process is not one of those that it runs for
    yield* runCase(engine, loads, { ...many, name: "", duration: 1500 })
    for (const each of [...cases, ...faulty]) {
      console.log(
        `${((performance.now() - began) / 1000).toFixed(0)} s: ${engine.name}, ${each.name}, ${each.keys} keys`
      )
      const row = yield* runCase(engine, loads, each)
      rows.push(row.columns)
      violations.push(...row.violations)
    }
  })

const main = Effect.gen(function*() {
  const names = (["redis", "cluster"] as const).filter((name) => engines.includes(name))
  const [loads, started] = yield* Effect.all([
    Effect.all(Array.from({ length: processes }, () => startLoad), { concurrency: "unbounded" }),
    Effect.forEach(names, (name) => targets[name], { concurrency: "unbounded" })
  ], { concurrency: "unbounded" })
  yield* Effect.forEach(started, (target) => runTarget(target, loads))
})

await Effect.runPromise(Effect.scoped(main))
printTable(rows)
console.log(`${((performance.now() - began) / 1000).toFixed(0)} s; ${JSON.stringify(options)}`)
for (const violation of violations) console.log(`does not hold: ${violation}`)
process.exitCode = violations.length > 0 || rows.length === 1 ? 1 : 0
