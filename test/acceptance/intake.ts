/**
 * What a server takes in from clients that mean it ill: slow bodies, idle connections, uploads without end.
 *
 *     npm run acceptance:intake -- --seconds 20
 *
 * A server in a process of its own has `Timeout`, `ConcurrencyLimit` and `BodyLimit`, on platform's server; the attackers have
 * another one. All the while ordinary clients send theirs, and their latency is compared with that of a quiet time. It ends
 * with code 1 if something does not hold:
 *
 * - Every ordinary request is answered with 200, and not much later than in a quiet time.
 * - Who sends a body a byte a second is answered by the limit of `Timeout`, or at once where nobody reads it, and the
 *   connection ends.
 * - Idle connections are ended by Node's own times (`keepAliveTimeout`, `headersTimeout`), and give back their memory.
 * - Every upload without end has a 413 to read. What is taken in of it is bounded, and so is the memory meanwhile.
 * - In the end all permits are there: so many requests at once are served, and not one more.
 *
 * Each of the three processes needs a file descriptor for each connection: `ulimit -n` should say 4096 at least.
 */
import { Effect } from "effect"
import * as Http from "node:http"
import { performance } from "node:perf_hooks"
import { setTimeout as sleep } from "node:timers/promises"
import { parseArgs } from "node:util"
import { startChild } from "./children.js"
import type { Attack, Outcome } from "./intakeClients.js"
import type { Config, Memory } from "./intakeServer.js"
import { printTable } from "./table.js"

const { values: options } = parseArgs({
  options: {
    clients: { type: "string", default: "20" },
    /** Connections. */
    slow: { type: "string", default: "500" },
    idle: { type: "string", default: "2000" },
    endless: { type: "string", default: "8" },
    /** How long the uploads without end go on, and the quiet time. */
    seconds: { type: "string", default: "20" },
    quiet: { type: "string", default: "5" }
  }
})
const [clients, slow, idle, endless, seconds, quiet] = [
  Number(options.clients),
  Number(options.slow),
  Number(options.idle),
  Number(options.endless),
  Number(options.seconds),
  Number(options.quiet)
]
const config: Config = { permits: 600, limit: 5000, hold: 3000, headers: 10_000, request: 15_000, keepAlive: 30_000 }
/** Seconds that an event may be late on a busy machine. */
const slack = 2.5
/** How long `BodyLimit` waits for a client to read its answer, and how long it reads what a handler does not. */
const [lingers, drains] = [5, 1]
const MiB = 1024 ** 2

// --- ordinary clients ------------------------------------------------------------------------------------------------

interface Served {
  readonly times: Array<number>
  readonly failures: Array<string>
}

/** One request after the other, every fourth of them an upload, until the end. */
const client = async (port: number, { failures, times }: Served, signal: AbortSignal) => {
  const agent = new Http.Agent({ keepAlive: true })
  for (let i = 0; !signal.aborted; i++) {
    const began = performance.now()
    const outcome = await send(port, agent, i % 4 === 3)
    times.push(performance.now() - began)
    if (outcome !== 200) failures.push(String(outcome))
    await sleep(50)
  }
  agent.destroy()
}

const send = (port: number, agent: Http.Agent, upload: boolean) =>
  new Promise<number | string>((resolve) => {
    const [method, path] = upload ? ["POST", "/upload"] : ["GET", "/ping"]
    Http.request({ agent, host: "127.0.0.1", port, method, path, timeout: 10_000 })
      .once("response", (response) => response.resume().once("end", () => resolve(response.statusCode ?? 0)))
      .once("timeout", () => resolve("no answer"))
      .once("error", ({ message }) => resolve(message))
      .end(upload ? "x".repeat(1000) : undefined)
  })

/** With ordinary clients, as long as it takes. */
const served = <A>(port: number, effect: Effect.Effect<A>) =>
  Effect.gen(function*() {
    const served: Served = { times: [], failures: [] }
    const end = new AbortController()
    const all = Promise.all(Array.from({ length: clients }, () => client(port, served, end.signal)))
    const result = yield* effect
    end.abort()
    yield* Effect.promise(() => all)
    return [result, served] as const
  })

// --- the report ------------------------------------------------------------------------------------------------------

const rows: Array<ReadonlyArray<string | number>> = [[
  "",
  "requests",
  "failed",
  "p50 ms",
  "p99 ms",
  "most ms",
  "connections",
  "answers",
  "answered s",
  "ended s",
  "MiB each, most",
  "MiB in all",
  "heap MiB",
  "RSS MiB",
  "RSS MiB, most"
]]
const violations: Array<string> = []
const check = (what: string, holds: boolean, violation: string) => {
  if (!holds) violations.push(`${what}: ${violation}`)
}

const quantile = (sorted: ReadonlyArray<number>, q: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0
const most = (numbers: ReadonlyArray<number>) => numbers.reduce((a, b) => Math.max(a, b), -Infinity)
const counted = (all: ReadonlyArray<string>) =>
  [...new Set(all)].sort().map((each) => `${all.filter((other) => other === each).length} x ${each}`).join(", ")
const answerOf = ({ error, givenUp, statuses }: Outcome) =>
  givenUp ? "given up" : statuses.length === 0 ? error ?? "closed" : statuses.join("+")
const inMiB = (bytes: number) => (bytes / MiB).toFixed(1)

/** A row for the ordinary clients and one for each kind of attacker. */
const report = (what: string, { failures, times }: Served, outcomes: ReadonlyArray<Outcome>, memory: Memory) => {
  const sorted = [...times].sort((a, b) => a - b)
  const [p50, p99, slowest] = [quantile(sorted, 0.5), quantile(sorted, 0.99), quantile(sorted, 1)]
  rows.push([
    what,
    times.length,
    failures.length,
    ...[p50, p99, slowest].map((time) => time.toFixed(1)),
    outcomes.length,
    "",
    "",
    "",
    inMiB(memory.receivedMost),
    inMiB(memory.received),
    inMiB(memory.heap),
    inMiB(memory.rss),
    inMiB(memory.rssMost)
  ])
  for (const kind of [...new Set(outcomes.map(({ what }) => what))].sort()) {
    const of = outcomes.filter(({ what }) => what === kind)
    rows.push([
      `  ${kind}`,
      ...["", "", "", "", ""],
      of.length,
      counted(of.map(answerOf)),
      most(of.map(({ answered }) => answered)).toFixed(1),
      most(of.map(({ ended }) => ended)).toFixed(1),
      ...["", "", "", "", ""]
    ])
  }
  check(what, times.length > 0 && failures.length === 0, `ordinary requests failed: ${counted(failures)}`)
  check(what, memory.defects.length === 0, `defects were logged: ${counted(memory.defects)}`)
  return { p99, slowest }
}

/** Whether all connections of a kind were answered so, and at what time; and have ended. */
const expectAll = (
  outcomes: ReadonlyArray<Outcome>,
  kind: string,
  { answer, answered, ended }: {
    readonly answer: string
    readonly answered?: readonly [from: number, to: number]
    readonly ended: number
  }
) => {
  const of = outcomes.filter(({ what }) => what.startsWith(kind))
  const other = of.map(answerOf).filter((each) => each !== answer)
  check(kind, of.length > 0 && other.length === 0, `answered otherwise than by ${answer}: ${counted(other)}`)
  if (answered !== undefined) {
    const [from, to] = answered
    const off = of.map(({ answered }) => answered).filter((time) => !(time >= from && time <= to))
    check(kind, off.length === 0, `${off.length} answered after ${off[0]} s, and not within ${from} to ${to}`)
  }
  const late = most(of.map(({ ended }) => ended))
  check(kind, late <= ended, `ended after ${late} s, more than ${ended}`)
}

// --- all of it -------------------------------------------------------------------------------------------------------

const began = performance.now()
const say = (what: string) =>
  Effect.sync(() => console.log(`${((performance.now() - began) / 1000).toFixed(0)} s: ${what}`))
const wait = (seconds: number) => Effect.promise(() => sleep(seconds * 1000))

const main = Effect.gen(function*() {
  const server = yield* startChild("intakeServer.ts", { args: [JSON.stringify(config)], node: ["--expose-gc"] })
  const attackers = yield* startChild("intakeClients.ts")
  const { port } = yield* server.next<{ readonly port: number }>()
  yield* attackers.next<"ready">()
  const memory = server.ask<Memory>({})
  const attack = (kind: Attack["kind"], connections: number, seconds = 0) =>
    attackers.ask<ReadonlyArray<Outcome>>({ kind, connections, seconds, port, patience: 40 } satisfies Attack)

  yield* say("warming up")
  yield* served(port, Effect.all([attack("endless", endless, 3), wait(3)]))
  yield* memory

  yield* say("a quiet time")
  const [, calm] = yield* served(port, wait(quiet))
  const before = yield* memory
  const baseline = report("quiet", calm, [], before)
  /** Generous: two cores have three processes. */
  const others = (what: string, { p99, slowest }: { readonly p99: number; readonly slowest: number }) => {
    const bound = Math.max(1000, 10 * baseline.p99)
    check(
      what,
      p99 <= bound,
      `1 % of the ordinary requests took more than ${p99.toFixed(0)} ms, and ${bound.toFixed(0)} are allowed`
    )
    check(what, slowest <= config.limit, `an ordinary request took ${slowest.toFixed(0)} ms`)
  }
  /** Of memory, when they have gone. */
  const back = (what: string, after: Memory) => {
    check(what, after.connections === 0, `${after.connections} connections are left`)
    check(what, after.heap - before.heap < 8 * MiB, `the heap has grown by ${inMiB(after.heap - before.heap)} MiB`)
    check(what, after.rss - before.rss < 64 * MiB, `the memory has grown by ${inMiB(after.rss - before.rss)} MiB`)
  }

  yield* say("slow bodies")
  {
    const [outcomes, ordinary] = yield* served(port, attack("slow", slow))
    const after = yield* memory
    others("slow bodies", report("slow bodies", ordinary, outcomes, after))
    const limit = config.limit / 1000
    for (const framing of ["length", "chunked"]) {
      expectAll(outcomes, `/upload, ${framing}`, {
        answer: "503",
        answered: [limit - 0.1, limit + slack],
        ended: limit + lingers + slack
      })
    }
    // nobody waits for it, and so it is Node who ends it, and says why
    expectAll(outcomes, "/ignore, length", {
      answer: "200+408",
      answered: [0, slack],
      ended: config.request / 1000 + 1 + slack
    })
    expectAll(outcomes, "/ignore, chunked", {
      answer: "200",
      answered: [drains - 0.1, drains + slack],
      ended: drains + lingers + slack
    })
    back("slow bodies", after)
  }

  yield* say("idle connections")
  {
    const [[there, outcomes], ordinary] = yield* served(
      port,
      Effect.gen(function*() {
        yield* attack("idle", idle)
        const there = yield* memory
        return [there, yield* attackers.next<ReadonlyArray<Outcome>>()] as const
      })
    )
    const after = yield* memory
    others("idle connections", report("idle connections", ordinary, outcomes, after))
    const heap = (there.heap - after.heap) / idle / 1024
    const resident = (there.rss - after.rss) / idle / 1024
    notes.push(`an idle connection takes ${heap.toFixed(1)} KiB of the heap, and ${resident.toFixed(1)} KiB of RSS`)
    check("idle connections", there.connections >= idle, `only ${there.connections} were there at once`)
    check("idle connections", resident < 64, `each takes ${resident.toFixed(0)} KiB`)
    expectAll(outcomes, "kept", { answer: "closed", ended: config.keepAlive / 1000 + 1 + slack })
    expectAll(outcomes, "half a header", {
      answer: "408",
      answered: [config.headers / 1000 - 0.1, config.headers / 1000 + 1 + slack],
      ended: config.headers / 1000 + 1 + slack
    })
    back("idle connections", after)
  }

  yield* say("uploads without end")
  {
    const { rssMost: warm } = yield* Effect.zipRight(attack("endless", endless, seconds / 2), memory)
    const [outcomes, ordinary] = yield* served(port, attack("endless", endless, seconds))
    const after = yield* memory
    others("uploads without end", report("uploads without end", ordinary, outcomes, after))
    for (const path of ["/upload", "/ignore"]) {
      expectAll(outcomes, `${path}, stops`, { answer: "413", answered: [0, 2 * slack], ended: 3 * slack })
      expectAll(outcomes, `${path}, goes on`, {
        answer: "413",
        answered: [0, 2 * slack],
        ended: lingers + 3 * slack
      })
    }
    const { received, receivedMost, rssMost } = after
    check("uploads without end", receivedMost < 72 * MiB, `${inMiB(receivedMost)} MiB were taken in by a connection`)
    check("uploads without end", received > 20 * seconds * MiB, `only ${inMiB(received)} MiB were sent`)
    const grown = rssMost - warm
    check("uploads without end", grown < 64 * MiB, `the memory has grown by ${inMiB(grown)} MiB`)
    const [above, allowed] = [rssMost - before.rss, 192 * MiB]
    check("uploads without end", above < allowed, `${inMiB(above)} MiB more than in a quiet time were resident`)
    back("uploads without end", after)
  }

  yield* say("all permits at once")
  const outcomes = yield* attack("burst", config.permits + 50)
  const after = yield* memory
  report("all permits at once", { times: [0], failures: [] }, outcomes, after)
  const answers = counted(outcomes.map(answerOf))
  check("all permits at once", answers === `${config.permits} x 200, 50 x 503`, `answered by ${answers}`)
  back("all permits at once", after)
})

const notes: Array<string> = []
await Effect.runPromise(Effect.scoped(main))
printTable(rows)
for (const note of notes) console.log(note)
console.log(`${((performance.now() - began) / 1000).toFixed(0)} s; ${JSON.stringify({ ...options, ...config })}`)
for (const violation of violations) console.log(`does not hold: ${violation}`)
process.exitCode = violations.length > 0 ? 1 : 0
