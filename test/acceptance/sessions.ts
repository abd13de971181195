/**
 * Sessions while their store fails: real engines, servers in processes of their own, requests over sockets.
 *
 *     npm run acceptance:sessions -- --engines redis,postgres --down 3
 *
 * For each engine and client, two servers share it, one with `onUnavailable: "refuse"` and one with `"allow"`. Each session
 * counts; what the servers have acknowledged is compared with what is there in the end, read by the other server.
 * It ends with code 1 if something does not hold:
 *
 * - Every request is answered. While the engine is down, by a 503 with Retry-After, or by a 200 with a new session.
 * - An answer takes two operations of the store, of 250 ms at most, and a margin.
 * - The servers recover by themselves, and then answer as before.
 * - No counter has more than was asked for.
 * - Where every write is on disk before it is answered, nothing is lost that a server with "refuse" has acknowledged. One
 *   with "allow" answers 200 although nothing is kept: it may lose what it has acknowledged during the fault, and no more.
 *
 * What a failover loses is counted: replication is asynchronous in Cluster and with Sentinels. SQLite is no process that
 * could fail by itself, and is left out.
 */
import { Effect, type Scope } from "effect"
import * as Http from "node:http"
import { performance } from "node:perf_hooks"
import { setTimeout as sleep } from "node:timers/promises"
import { parseArgs } from "node:util"
import { makeCluster, makeSentinel, makeServer, type Node } from "../utils/redis.js"
import { makePostgres } from "../utils/sql.js"
import { startChild } from "./children.js"
import type { Answer, Client, Config, Engine } from "./sessionServer.js"
import { printTable } from "./table.js"

const { values: options } = parseArgs({
  options: {
    engines: { type: "string", default: "redis,cluster,sentinel,postgres" },
    clients: { type: "string", default: "ioredis,node-redis,pg" },
    /** Sessions of each server. */
    sessions: { type: "string", default: "12" },
    /** Seconds before the fault, of the fault, and after everybody has recovered. */
    before: { type: "string", default: "2" },
    down: { type: "string", default: "3" },
    after: { type: "string", default: "2" },
    /** Milliseconds that a session waits between two requests, and that an answer may take beside the store. */
    pace: { type: "string", default: "50" },
    margin: { type: "string", default: "500" },
    /** Milliseconds that an operation of the store may take. */
    limit: { type: "string", default: "250" },
    logs: { type: "boolean", default: false }
  }
})
const engines = options.engines.split(",")
const clients = options.clients.split(",")
const [sessions, before, down, after, pace, margin, limit] = [
  Number(options.sessions),
  Number(options.before) * 1000,
  Number(options.down) * 1000,
  Number(options.after) * 1000,
  Number(options.pace),
  Number(options.margin),
  Number(options.limit)
]
/** Of an answer: to read the session, and to write it. */
const longest = 2 * limit + margin
/** How long recovery may take, of the engine and of the servers. */
const patience = 20_000

// --- servers ---------------------------------------------------------------------------------------------------------

interface Server {
  readonly onUnavailable: Config["onUnavailable"]
  readonly send: (method: "GET" | "POST", path: string, cookie?: string) => Promise<Reply | undefined>
}

interface Reply {
  readonly status: number
  readonly headers: Http.IncomingHttpHeaders
  readonly body: string
}

const startServer = (config: Config): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.gen(function*() {
    const child = yield* startChild("sessionServer.ts", { args: [JSON.stringify(config)] })
    const { port } = yield* child.next<{ readonly port: number }>()
    const agent = yield* Effect.acquireRelease(
      Effect.sync(() => new Http.Agent({ keepAlive: true })),
      (agent) => Effect.sync(() => agent.destroy())
    )
    return {
      onUnavailable: config.onUnavailable,
      send: (method, path, cookie = "") =>
        new Promise((resolve) => {
          const gone = () => resolve(undefined)
          Http.request({ agent, host: "127.0.0.1", port, method, path, headers: { cookie }, timeout: 10_000 })
            .once("response", (response) => {
              let body = ""
              response.setEncoding("utf8").on("data", (text) => body += text).once("error", gone)
                .once("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }))
            })
            .once("timeout", gone).once("error", gone).end()
        })
    }
  })

// --- load ------------------------------------------------------------------------------------------------------------

/** `kept`: by the session that it was sent with; `new`: by another; `refused`: 503 with Retry-After; else what it was. */
type Outcome = "kept" | "new" | "refused" | "unanswered" | `status ${number}`

interface Exchange {
  readonly write: boolean
  readonly sent: number
  readonly done: number
  readonly outcome: Outcome
}

interface Counting {
  readonly id: string | null
  readonly cookie: string
  readonly exchanges: Array<Exchange>
  /** As it was last seen. */
  n: number
  /** How often there was less than was acknowledged, and how often more. */
  lost: number
  made: number
}

const now = () => performance.now()

const read = (reply: Reply | undefined): { readonly outcome: Outcome; readonly answer?: Answer } => {
  if (reply === undefined) return { outcome: "unanswered" }
  if (reply.status === 503 && reply.headers["retry-after"] !== undefined) return { outcome: "refused" }
  if (reply.status !== 200) return { outcome: `status ${reply.status}` }
  const answer: Answer = JSON.parse(reply.body)
  return { outcome: answer.isNew ? "new" : "kept", answer }
}

/** Makes a session, which no server has yet forgotten. */
const begin = async ({ send }: Server): Promise<Counting> => {
  const until = now() + patience
  for (;;) {
    const reply = await send("POST", "/add")
    const cookie = reply?.headers["set-cookie"]?.[0]?.split(";")[0]
    if (cookie !== undefined) {
      const { answer } = read(await send("GET", "/", cookie))
      if (answer !== undefined) return { id: answer.id, cookie, exchanges: [], n: 1, lost: 0, made: 0 }
    }
    if (now() > until) throw new Error(`no session could be made: ${reply?.status} ${reply?.body}`)
    await sleep(pace)
  }
}

const note = (session: Counting, expected: number, { n }: Answer) => {
  session.lost += Math.max(0, expected - n)
  session.made += Math.max(0, n - expected)
  session.n = n
}

/** Three writes, then a read, until the end; one at a time. */
const load = async ({ send }: Server, session: Counting, signal: AbortSignal): Promise<void> => {
  for (let i = 0; !signal.aborted; i++) {
    const write = i % 4 !== 3
    const sent = now()
    const { answer, outcome } = read(await send(write ? "POST" : "GET", write ? "/add" : "/", session.cookie))
    session.exchanges.push({ write, sent, done: now(), outcome })
    if (outcome === "kept" && answer !== undefined) note(session, session.n + (write ? 1 : 0), answer)
    await sleep(pace)
  }
}

/** What there is in the end; nothing of a session that is not there. */
const finish = async ({ send }: Server, session: Counting): Promise<void> => {
  const until = now() + patience
  for (;;) {
    const { answer, outcome } = read(await send("GET", "/", session.cookie))
    if (answer !== undefined) return note(session, session.n, outcome === "kept" ? answer : { ...answer, n: 0 })
    if (now() > until) throw new Error(`a session could not be read in the end: ${outcome}`)
    await sleep(pace)
  }
}

// --- faults ----------------------------------------------------------------------------------------------------------

interface Fault {
  readonly name: string
  /** Whether what was acknowledged is there again. */
  readonly durable: boolean
  /** Gives how to end it; without that the engine does so by itself, and may never be down for all. */
  readonly begin: (sessionId: string | null) => Effect.Effect<Effect.Effect<void> | undefined>
}

interface Target {
  readonly engine: Engine
  readonly faults: ReadonlyArray<Fault>
}

const lasting = (name: string, begin: Effect.Effect<void>, end: Effect.Effect<void>): Fault => ({
  name,
  durable: true,
  begin: () => Effect.as(begin, end)
})

const failover = (name: string, primary: (sessionId: string | null) => Effect.Effect<Node>): Fault => ({
  name,
  durable: false,
  begin: (id) => Effect.as(Effect.flatMap(primary(id), (node) => node.stop), undefined)
})

const portsOf = (nodes: ReadonlyArray<Node>) => nodes.map(({ port }) => port)

const targets: Readonly<Record<Engine["name"], Effect.Effect<Target, never, Scope.Scope>>> = {
  redis: Effect.map(makeServer({ durable: true }), ({ pause, resume, start, stop, url }) => ({
    engine: { name: "redis", url },
    faults: [lasting("Redis killed, restarted", stop, start), lasting("Redis paused, resumed", pause, resume)]
  })),
  cluster: Effect.map(makeCluster(), ({ nodes, primaryOf }) => ({
    engine: { name: "cluster", ports: portsOf(nodes) },
    faults: [failover("Cluster: a primary killed", (id) => primaryOf(`session:${id}`))]
  })),
  sentinel: Effect.map(makeSentinel(), ({ name, primary, sentinels }) => ({
    engine: { name: "sentinel", primary: name, ports: portsOf(sentinels) },
    faults: [failover("Sentinels: the primary killed", () => primary)]
  })),
  postgres: Effect.map(makePostgres({ durable: true }), ({ pause, resume, start, stop, url }) => ({
    engine: { name: "postgres", url },
    faults: [lasting("PostgreSQL killed, restarted", stop, start), lasting("PostgreSQL paused, resumed", pause, resume)]
  }))
}

/** When what was: `upAt` is when the engine was there again, or the time of the fault where it recovers by itself. */
interface Times {
  readonly faultAt: number
  readonly downFrom: number
  readonly downTo: number
  readonly upAt: number
  readonly endAt: number
}

const run = (servers: ReadonlyArray<Server>, fault: Fault) =>
  Effect.gen(function*() {
    const loads = yield* Effect.promise(() =>
      Promise.all(servers.map(async (server) => ({
        server,
        sessions: await Promise.all(Array.from({ length: sessions }, () => begin(server)))
      })))
    )
    const all = loads.flatMap(({ sessions }) => sessions)
    const stop = new AbortController()
    const loading = Promise.all(
      loads.flatMap(({ server, sessions }) => sessions.map((session) => load(server, session, stop.signal)))
    )
    yield* Effect.promise(() => sleep(before))

    const faultAt = now()
    const end = yield* fault.begin(all[0]?.id ?? null)
    const downFrom = now()
    yield* Effect.promise(() => sleep(down))
    const downTo = now()
    if (end !== undefined) yield* end
    const upAt = end === undefined ? faultAt : now()

    const isBack = ({ exchanges }: Counting) => exchanges.at(-1)?.outcome === "kept"
    const isAsked = ({ exchanges }: Counting) => (exchanges.at(-1)?.sent ?? 0) > Math.max(upAt, downTo)
    while (now() < upAt + patience && !all.every((session) => isAsked(session) && isBack(session))) {
      yield* Effect.promise(() => sleep(pace))
    }
    yield* Effect.promise(() => sleep(after))
    stop.abort()
    yield* Effect.promise(() => loading)
    const endAt = now()
    yield* Effect.promise(() =>
      Promise.all(loads.flatMap(({ sessions }, i) =>
        sessions.map((session) => finish(servers[servers.length - 1 - i] ?? servers[0]!, session))
      ))
    )
    const times: Times = { faultAt, downFrom, downTo, upAt, endAt }
    return loads.map(({ server, sessions }) =>
      report(server, fault, sessions, times)
    )
  })

// --- the report ------------------------------------------------------------------------------------------------------

interface Row {
  readonly columns: ReadonlyArray<string | number>
  readonly violations: ReadonlyArray<string>
}

const header = [
  "when down",
  "requests",
  "200",
  "200 new",
  "503",
  "other",
  "slowest ms",
  "first ok s",
  "all ok s",
  "acknowledged",
  "found",
  "lost",
  "made unacknowledged"
]

const report = (
  { onUnavailable }: Server,
  { durable }: Fault,
  sessions: ReadonlyArray<Counting>,
  { downFrom, downTo, endAt, faultAt, upAt }: Times
): Row => {
  const all = sessions.flatMap(({ exchanges }) => exchanges)
  const count = (outcome: Outcome) => all.filter((exchange) => exchange.outcome === outcome).length
  const others = [...new Set(all.map(({ outcome }) => outcome))]
    .filter((outcome) => !["kept", "new", "refused"].includes(outcome))
    .map((outcome) => `${count(outcome)} ${outcome}`)

  const failed = all.filter(({ outcome }) => outcome !== "kept")
  const lastFailure = Math.max(upAt, ...failed.map(({ done }) => done))
  // of those that have seen the fault
  const back = sessions.filter(({ exchanges }) => exchanges.some(({ outcome }) => outcome !== "kept"))
    .map(({ exchanges }) => {
      const first = exchanges.findIndex(({ outcome }) => outcome !== "kept")
      return exchanges.find(({ outcome, sent }, i) => i > first && outcome === "kept" && sent >= upAt)?.done ?? Infinity
    })
  const during = all.filter(({ done, sent }) => done >= faultAt && sent <= lastFailure)
  const slowest = Math.max(0, ...during.map(({ done, sent }) => done - sent))
  const whileDown = all.filter(({ done, sent }) => sent >= downFrom && done <= downTo)

  const writes = all.filter(({ write }) => write)
  const acknowledged = writes.filter(({ outcome }) => outcome === "kept").length + sessions.length
  const sum = (of: (session: Counting) => number) => sessions.reduce((total, session) => total + of(session), 0)
  const lost = sum((session) => session.lost)
  const asked = ({ exchanges }: Counting) => 1 + exchanges.filter(({ write }) => write).length
  const acknowledgedDuring = during.filter(({ outcome, write }) => write && outcome === "kept").length

  const expected: ReadonlyArray<Outcome> = [
    onUnavailable === "refuse" ? "refused" : "new",
    ...(durable ? [] : ["kept" as const])
  ]
  const surprises = whileDown.filter(({ outcome }) => !expected.includes(outcome))
  const hold: ReadonlyArray<readonly [holds: boolean, violation: string]> = [
    [others.length === 0, `answered otherwise: ${others.join(", ")}`],
    [failed.length > 0, "the fault was not noticed"],
    [surprises.length === 0, `while down, ${surprises.length} answers as ${surprises[0]?.outcome}`],
    [onUnavailable === "allow" || !durable || count("new") === 0, "a session was not found by a server that refuses"],
    [onUnavailable === "refuse" || count("refused") === 0, "a server that allows has refused"],
    [!failed.some(({ sent }) => sent < faultAt - longest), "it failed before the fault"],
    [slowest <= longest, `an answer took ${Math.round(slowest)} ms, more than ${longest}`],
    [Math.max(0, ...back) < Infinity && lastFailure < endAt - after / 2, "it has not recovered"],
    [sessions.every((session) => session.n <= asked(session)), "a counter has more than was asked for"],
    [!durable || lost <= (onUnavailable === "refuse" ? 0 : acknowledgedDuring), `${lost} acknowledged writes lost`]
  ]
  const seconds = (time: number) => ((time - upAt) / 1000).toFixed(2)
  return {
    columns: [
      onUnavailable,
      all.length,
      count("kept"),
      count("new"),
      count("refused"),
      others.join(", ") || 0,
      Math.round(slowest),
      seconds(Math.min(...back)),
      seconds(Math.max(lastFailure, ...back)),
      acknowledged,
      sum(({ n }) => n),
      lost,
      sum(({ made }) => made)
    ],
    violations: hold.flatMap(([holds, violation]) => holds ? [] : [violation])
  }
}

// --- all of it -------------------------------------------------------------------------------------------------------

const rows: Array<ReadonlyArray<string | number>> = [["fault", "client", ...header]]
const violations: Array<string> = []
const began = now()

const runTarget = (target: Effect.Effect<Target, never, Scope.Scope>, client: Client) =>
  Effect.scoped(Effect.gen(function*() {
    const { engine, faults } = yield* target
    const servers = yield* Effect.forEach(
      ["refuse", "allow"] as const,
      (onUnavailable) => startServer({ engine, client, onUnavailable, limit, logs: options.logs }),
      { concurrency: "unbounded" }
    )
    for (const fault of faults) {
      console.log(`${((now() - began) / 1000).toFixed(0)} s: ${fault.name} (${client})`)
      for (const row of yield* run(servers, fault)) {
        rows.push([fault.name, client, ...row.columns])
        violations.push(...row.violations.map((text) => `${fault.name} (${client}, ${row.columns[0]}): ${text}`))
      }
    }
  }))

const clientsOf: Readonly<Record<Engine["name"], ReadonlyArray<Client>>> = {
  redis: ["ioredis", "node-redis"],
  cluster: ["ioredis", "node-redis"],
  sentinel: ["ioredis", "node-redis"],
  postgres: ["pg"]
}

const main = Effect.forEach(
  ["redis", "cluster", "sentinel", "postgres"] as const,
  (name) =>
    Effect.forEach(
      clientsOf[name].filter((client) => engines.includes(name) && clients.includes(client)),
      (client) => runTarget(targets[name], client)
    )
)

await Effect.runPromise(main)
printTable(rows)
console.log(`${((now() - began) / 1000).toFixed(0)} s; ${JSON.stringify(options)}`)
for (const violation of violations) console.log(`does not hold: ${violation}`)
process.exitCode = violations.length > 0 || rows.length === 1 ? 1 : 0
