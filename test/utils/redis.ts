/**
 * Redis itself: a server, a Cluster and a set of Sentinels, from the machine's binaries, on free ports of the loopback and in
 * temporary folders. They go with their scope, and with the test process, however it ends.
 *
 * Readiness is waited for in real time, whatever clock the test has.
 */
import { Clock, Context, Data, Effect, ExecutionStrategy, Exit, identity, Layer, Schedule, Scope } from "effect"
import { type ChildProcess, execFile, spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"

export interface Options {
  /** Every write is on disk before it is answered, and is there again after `start`. Default: nothing is kept. */
  readonly durable?: boolean
  /** More of what `redis-server` takes, such as `["--requirepass", "secret"]`. */
  readonly args?: ReadonlyArray<string>
}

/** One process. */
export interface Node {
  readonly port: number
  readonly url: string
  /** A command by redis-cli, which shares nothing with the clients under test; of an array, an item a line. */
  readonly command: (...args: ReadonlyArray<string>) => Effect.Effect<string, Error>
  /** SIGKILL: nothing is saved, and nobody is told. */
  readonly stop: Effect.Effect<void>
  /** Again, on the same port and folder, until it takes commands. */
  readonly start: Effect.Effect<void>
  /** SIGSTOP: connections stay open, new ones are accepted by the system, and nothing is answered. */
  readonly pause: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
}

/** Three primaries with a replica each. */
export interface Cluster {
  readonly nodes: ReadonlyArray<Node>
  /** The primary that has the key's slot, as a node alive sees it. `stop` it, and its replica takes over in two seconds. */
  readonly primaryOf: (key: string) => Effect.Effect<Node>
  /** Waits until every node is up and agrees, and every primary has its replica. */
  readonly healthy: Effect.Effect<void>
}

/** A primary and a replica, watched by three Sentinels; two make a quorum. */
export interface Sentinel {
  /** What the Sentinels call the primary. */
  readonly name: string
  readonly sentinels: ReadonlyArray<Node>
  readonly nodes: ReadonlyArray<Node>
  /** As a Sentinel says. `stop` it, and the replica is promoted in two seconds. */
  readonly primary: Effect.Effect<Node>
  /** Waits until the primary has its replica, and every Sentinel knows of both and of the others. */
  readonly healthy: Effect.Effect<void>
}

const installed = ["redis-server", "redis-cli"].every((binary) =>
  (process.env["PATH"] ?? "").split(Path.delimiter).some((folder) => Fs.existsSync(Path.join(folder, binary)))
)

/** What to install, where something is missing. */
export const missingRedis = installed ? undefined : "Redis is missing: apt-get install -y redis-server"

// --- a server --------------------------------------------------------------------------------------------------------

export const makeServer = (options: Options = {}): Effect.Effect<Node, never, Scope.Scope> =>
  onFreePorts(1, (next) => makeNode(next(), keeping(options)))

export class RedisServer extends Context.Tag("test/RedisServer")<RedisServer, Node>() {
  static readonly layer = (options?: Options) => Layer.scoped(RedisServer, makeServer(options))
}

// --- a Cluster -------------------------------------------------------------------------------------------------------

const thirds = [["0", "5460"], ["5461", "10922"], ["10923", "16383"]] as const

export const makeCluster = (options: Options = {}): Effect.Effect<Cluster, never, Scope.Scope> =>
  onFreePorts(12, (next) =>
    Effect.gen(function*() {
      const members = yield* Effect.forEach(
        Array.from({ length: 6 }, () => ({ port: next(), bus: next() })),
        (member) =>
          Effect.map(
            makeNode(
              member.port,
              [
                ...keeping(options),
                ["--cluster-enabled", "yes"],
                ["--cluster-port", `${member.bus}`],
                ["--cluster-node-timeout", "2000"],
                // a replica of any age may take over: these are never apart for long
                ["--cluster-replica-validity-factor", "0"]
              ].flat()
            ),
            (node) => ({ ...member, node })
          ),
        { concurrency: "unbounded" }
      )
      const nodes = members.map(({ node }) => node)

      // an epoch is taken before a node knows of others
      yield* Effect.forEach(thirds, (slots, i) =>
        Effect.zip(
          ask(nodes[i], "CLUSTER", "SET-CONFIG-EPOCH", `${i + 1}`),
          ask(nodes[i], "CLUSTER", "ADDSLOTSRANGE", ...slots)
        ))
      yield* Effect.forEach(nodes, ({ command }, i) =>
        Effect.forEach(members.slice(i + 1), ({ bus, port }) =>
          command("CLUSTER", "MEET", "127.0.0.1", `${port}`, `${bus}`)))
      yield* Effect.forEach(thirds, (_, i) =>
        Effect.gen(function*() {
          const id = yield* ask(nodes[i], "CLUSTER", "MYID")
          // it has to hear of its primary first
          yield* until("a replica", Effect.as(ask(nodes[3 + i], "CLUSTER", "REPLICATE", id), true))
        }), { concurrency: "unbounded" })

      const healthy = until(
        "a healthy cluster",
        all(nodes, (node) =>
          Effect.gen(function*() {
            if (!(yield* ask(node, "CLUSTER", "INFO")).includes("cluster_state:ok")) {
              return false
            }
            const seen = parseNodes(yield* ask(node, "CLUSTER", "NODES"))
            return seen.length === nodes.length && seen.every(({ flags }) =>
              !/fail|handshake|noaddr/.test(flags)
            ) &&
              seen.filter(({ slots }) => slots.length > 0).length === 3 && (yield* isReplicating(node))
          }))
      )
      yield* healthy

      const primaryOf = (key: string) =>
        Effect.gen(function*() {
          const alive = yield* Effect.firstSuccessOf(nodes.map((node) => Effect.as(node.command("PING"), node)))
          const slot = Number(yield* alive.command("CLUSTER", "KEYSLOT", key))
          const owner = parseNodes(yield* ask(alive, "CLUSTER", "NODES"))
            .find(({ slots }) => slots.some(([from, to]) => from <= slot && slot <= to))
          return yield* Effect.fromNullable(nodes.find(({ port }) => port === owner?.port))
        }).pipe(eventually)
      return { nodes, primaryOf, healthy }
    }))

export class RedisCluster extends Context.Tag("test/RedisCluster")<RedisCluster, Cluster>() {
  static readonly layer = (options?: Options) => Layer.scoped(RedisCluster, makeCluster(options))
}

/** The lines of CLUSTER NODES: id, address, flags, primary, ping, pong, epoch, link, and the slots that it serves. */
const parseNodes = (lines: string) =>
  lines.trim().split("\n").map((line) => {
    const [, address = "", flags = "", , , , , , ...ranges] = line.split(" ")
    const slots = ranges.map((range) => range.split("-").map(Number)).map(([from = NaN, to = from]) =>
      [from, to] as const
    )
    return {
      port: Number(/:(\d+)/.exec(address)?.[1]),
      flags,
      slots: flags.includes("master") && !flags.includes("fail") ? slots : []
    }
  })

// --- Sentinels -------------------------------------------------------------------------------------------------------

export const makeSentinel = (options: Options = {}): Effect.Effect<Sentinel, never, Scope.Scope> =>
  onFreePorts(5, (next) =>
    Effect.gen(function*() {
      const name = "primary"
      const first = next()
      const nodes = yield* Effect.all([
        makeNode(first, keeping(options)),
        makeNode(next(), [...keeping(options), "--replicaof", "127.0.0.1", `${first}`])
      ], { concurrency: "unbounded" })
      const sentinels = yield* Effect.forEach([1000, 1000, 2000], (downAfter) =>
        makeNode(
          next(),
          ["--sentinel"],
          [
            `sentinel monitor ${name} 127.0.0.1 ${first} 2`,
            // the last is slower, and so votes for one of the others: three that vote for themselves elect nobody
            `sentinel down-after-milliseconds ${name} ${downAfter}`,
            `sentinel failover-timeout ${name} 1000`
          ]
        ), { concurrency: "unbounded" })
      // they tell each other of themselves every two seconds, unless asked for more; not so their pings: a replica that was
      // not heard of for five of them is not promoted
      const often = ["INFO-PERIOD", "100", "PUBLISH-PERIOD", "100", "ASK-PERIOD", "100", "PING-PERIOD", "500"]
      yield* Effect.forEach(sentinels, ({ command }) => command("SENTINEL", "DEBUG", ...often))

      const primary = Effect.firstSuccessOf(
        sentinels.map(({ command }) => command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name))
      ).pipe(
        Effect.flatMap((address) => Effect.fromNullable(nodes.find(({ port }) => address.endsWith(`\n${port}`)))),
        eventually
      )
      const healthy = until(
        "healthy Sentinels",
        Effect.zipWith(
          all(nodes, isReplicating),
          all(sentinels, (node) =>
            Effect.map(ask(node, "INFO", "sentinel"), (info) => /status=ok,.*slaves=1,sentinels=3/.test(info))),
          (replicating, known) =>
            replicating && known
        )
      )
      yield* healthy
      return { name, sentinels, nodes, primary, healthy }
    }))

export class RedisSentinel extends Context.Tag("test/RedisSentinel")<RedisSentinel, Sentinel>() {
  static readonly layer = (options?: Options) => Layer.scoped(RedisSentinel, makeSentinel(options))
}

// --- processes -------------------------------------------------------------------------------------------------------

class PortTaken extends Data.TaggedError("PortTaken") {}

const inRealTime = Effect.withClock(Clock.make())

/** Begins again with other ports when another process was faster; what had been started by then is stopped. */
const onFreePorts = <A>(
  count: number,
  make: (next: () => number) => Effect.Effect<A, Error, Scope.Scope>
): Effect.Effect<A, never, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const scope = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
      const ports = yield* freePorts(count)
      return yield* restore(make(() => {
        const port = ports.shift()
        if (port === undefined) throw new Error(`more than ${count} ports`)
        return port
      })).pipe(
        Scope.extend(scope),
        Effect.onError(() => Scope.close(scope, Exit.void))
      )
    })
  ).pipe(Effect.retry({ times: 10, while: (error) => error instanceof PortTaken }), Effect.orDie, inRealTime)

/** All at once, so that they differ. */
export const freePorts = (count: number): Effect.Effect<Array<number>> =>
  Effect.promise(async () => {
    const servers = Array.from({ length: count }, () => Net.createServer())
    const ports = await Promise.all(servers.map((server) =>
      new Promise<number>((resolve, reject) =>
        server.once("error", reject).listen(0, "127.0.0.1", () => {
          const address = server.address()
          resolve(typeof address === "object" && address !== null ? address.port : NaN)
        })
      )
    ))
    await Promise.all(servers.map((server) =>
      new Promise((resolve) => server.close(resolve))
    ))
    return ports
  })

const keeping = ({ args = [], durable = false }: Options): ReadonlyArray<string> =>
  [
    ["--save", ""],
    durable ? ["--appendonly", "yes", "--appendfsync", "always"] : [],
    // a replica is not kept waiting for others
    ["--repl-diskless-sync-delay", "0"],
    args
  ].flat()

const makeNode = (
  port: number,
  args: ReadonlyArray<string>,
  config: ReadonlyArray<string> = []
): Effect.Effect<Node, PortTaken, Scope.Scope> =>
  Effect.gen(function*() {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-middleware-redis-"))),
      (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))
    )
    const file = Path.join(folder, "redis.conf")
    Fs.writeFileSync(file, [`port ${port}`, "bind 127.0.0.1", `dir ${folder}`, ...config, ""].join("\n"))

    let running: Running | undefined
    const start = Effect.suspend(() =>
      running === undefined
        ? Effect.map(launch([file, ...args], folder), (started) => {
          running = started
        })
        : Effect.void
    )
    const stop = Effect.suspend(() => {
      const stopping = running
      running = undefined
      return stopping === undefined ? Effect.void : stopping.kill
    })
    const signal = (name: NodeJS.Signals) => Effect.sync(() => running?.process.kill(name))

    yield* Effect.addFinalizer(() => stop)
    yield* start
    const restart: Effect.Effect<void, PortTaken> = Effect.uninterruptible(start)
    return {
      port,
      url: `redis://127.0.0.1:${port}`,
      command: (...args) => cli(port, args),
      stop,
      // its port is free for any process meanwhile, but rarely and not for long
      start: eventually(restart),
      pause: signal("SIGSTOP"),
      resume: signal("SIGCONT")
    }
  })

interface Running {
  readonly process: ChildProcess
  readonly kill: Effect.Effect<void>
}

/** Until it takes commands, or has ended. */
const launch = (args: ReadonlyArray<string>, folder: string): Effect.Effect<Running, PortTaken> =>
  Effect.async((resume) => {
    const child = spawn("redis-server", args, { stdio: ["ignore", "pipe", "inherit"] })
    // reads the end of its input when this process is gone, even by SIGKILL, and ends what would have survived it
    const watch = spawn("sh", ["-c", "read -r _; kill -9 \"$0\"; rm -rf \"$1\"", `${child.pid}`, folder], {
      stdio: ["pipe", "ignore", "ignore"],
      detached: true
    })
    const exited = new Promise<void>((resolve) =>
      child.once("exit", () => {
        watch.kill("SIGKILL")
        resolve()
      })
    )
    const kill = Effect.promise(() => {
      child.kill("SIGKILL")
      return exited
    })

    let log = ""
    const fail = () =>
      resume(
        /Address already in use/.test(log) ? Effect.fail(new PortTaken()) : Effect.dieMessage(`redis-server: ${log}`)
      )
    child.once("error", fail).once("exit", fail)
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      log += chunk
      if (/Ready to accept connections|Sentinel ID is/.test(log)) {
        log = ""
        child.stdout.removeAllListeners("data").resume()
        resume(Effect.succeed({ process: child, kill }))
      }
    })
    return kill
  })

const cli = (port: number, args: ReadonlyArray<string>): Effect.Effect<string, Error> =>
  Effect.async((resume) => {
    const child = execFile(
      "redis-cli",
      ["-e", "-p", `${port}`, ...args],
      { timeout: 2000 },
      (error, stdout, stderr) =>
        resume(
          error === null ? Effect.succeed(stdout.slice(0, -1)) : Effect.fail(new Error(stderr, { cause: error }))
        )
    )
    return Effect.sync(() => child.kill("SIGKILL"))
  })

const ask = (node: Node | undefined, ...args: ReadonlyArray<string>): Effect.Effect<string, Error> =>
  node?.command(...args) ?? Effect.dieMessage("no such node")

const isReplicating = (node: Node): Effect.Effect<boolean, Error> =>
  Effect.map(
    ask(node, "INFO", "replication"),
    (info) => /role:master[^]*connected_slaves:1\b[^]*state=online/.test(info) || info.includes("master_link_status:up")
  )

const all = <A>(items: ReadonlyArray<A>, check: (item: A) => Effect.Effect<boolean, Error>) =>
  Effect.map(Effect.forEach(items, check, { concurrency: "unbounded" }), (each) => each.every(identity))

/** Until it succeeds, for twenty seconds and what it takes itself. */
export const eventually = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, never, R> =>
  effect.pipe(Effect.retry({ schedule: Schedule.spaced("50 millis"), times: 400 }), Effect.orDie, inRealTime)

const until = (what: string, check: Effect.Effect<boolean, Error>): Effect.Effect<void> =>
  eventually(Effect.filterOrFail(check, identity, () => new Error(`waited in vain for ${what}`))).pipe(Effect.asVoid)
