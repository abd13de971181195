/**
 * The databases themselves: PostgreSQL from the machine's binaries, on a socket in a temporary folder, which goes with its
 * scope, and with the test process, however it ends; and SQLite, in a file or in memory.
 *
 * Readiness is waited for in real time, whatever clock the test has.
 */
import * as Reactivity from "@effect/experimental/Reactivity"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Statement from "@effect/sql/Statement"
import type { Scope } from "effect"
import { Context, Effect, Exit, Layer, Redacted } from "effect"
import { execFile, spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"

// --- PostgreSQL ------------------------------------------------------------------------------------------------------

export interface PostgresOptions {
  /** Every commit is on disk before it is answered, so that it outlives the machine and not only the server. */
  readonly durable?: boolean
  /** More settings, such as `{ default_transaction_isolation: "serializable" }`. */
  readonly settings?: Readonly<Record<string, string>>
}

export interface Server {
  readonly url: string
  /** What psql prints of a query, without alignment: it shares nothing with the client under test. */
  readonly psql: (query: string) => Effect.Effect<string, Error>
  /** At once, as in a crash: connections break, and the log is replayed at the next start. */
  readonly stop: Effect.Effect<void>
  /** Again, on the same socket and folder, until it takes connections. */
  readonly start: Effect.Effect<void>
  readonly restart: Effect.Effect<void>
  /** SIGSTOP: connections stay open, new ones are accepted by the system, and nothing is answered. */
  readonly pause: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
}

// distributions keep the server off the path, by version
const binaries = [
  ...(process.env["PATH"] ?? "").split(Path.delimiter),
  ...list("/usr/lib/postgresql").sort((a, b) => Number(b) - Number(a)).map((version) =>
    `/usr/lib/postgresql/${version}/bin`
  )
].find((folder) => ["initdb", "postgres", "psql"].every((binary) => Fs.existsSync(Path.join(folder, binary))))

/** What to install, where something is missing. */
export const missingPostgres = binaries === undefined
  ? "PostgreSQL is missing: apt-get install -y postgresql"
  : undefined

function list(folder: string): Array<string> {
  return Fs.existsSync(folder) ? Fs.readdirSync(folder) : []
}

/** PostgreSQL refuses to run as root. */
const account = ((): { readonly uid?: number; readonly gid?: number } => {
  if (process.getuid?.() !== 0) return {}
  const accounts = new Map(
    Fs.readFileSync("/etc/passwd", "utf8").split("\n").map((line) => line.split(":")).map(
      ([name, , uid, gid]) => [name, { uid: Number(uid), gid: Number(gid) }] as const
    )
  )
  return accounts.get("postgres") ?? accounts.get("nobody") ?? {}
})()

const run = (binary: string, args: ReadonlyArray<string>): Effect.Effect<string, Error> =>
  Effect.async((resume) => {
    if (binaries === undefined) return resume(Effect.fail(new Error(missingPostgres)))
    const child = execFile(
      Path.join(binaries, binary),
      args,
      { ...account, cwd: Os.tmpdir(), timeout: 30_000 },
      (error, stdout, stderr) =>
        resume(error === null ? Effect.succeed(stdout.trimEnd()) : Effect.fail(new Error(stderr, { cause: error })))
    )
    return Effect.sync(() => child.kill("SIGKILL"))
  })

interface Running {
  /** The server and, while they are stopped, the processes that answer its connections. */
  readonly signal: (name: NodeJS.Signals, backends: ReadonlyArray<number>) => void
  readonly exited: Promise<void>
}

/** Until it takes connections, or has ended. */
const launch = (args: ReadonlyArray<string>, folder: string): Effect.Effect<Running> =>
  Effect.async((resume) => {
    if (binaries === undefined) return resume(Effect.dieMessage(`${missingPostgres}`))
    const child = spawn(Path.join(binaries, "postgres"), args, {
      ...account,
      cwd: folder,
      stdio: ["ignore", "ignore", "pipe"]
    })
    // reads the end of its input when this process is gone, even by SIGKILL, and ends what would have survived it; each
    // line that it has read until then lists processes that are stopped
    const watch = spawn("sh", [
      "-c",
      "while read -r line; do stopped=$line; done; kill -QUIT $0; kill -CONT $0 $stopped; " +
      "for _ in $(seq 200); do kill -0 $0 || break; sleep 0.05; done; rm -rf \"$1\"",
      `${child.pid}`,
      folder
    ], { stdio: ["pipe", "ignore", "ignore"], detached: true })
    const exited = new Promise<void>((resolve) =>
      child.once("exit", () => {
        watch.kill("SIGKILL")
        resolve()
      })
    )
    // it may be gone by then
    watch.stdin.on("error", () => {})
    const signal: Running["signal"] = (name, backends) => {
      watch.stdin.write(`${name === "SIGSTOP" ? backends.join(" ") : ""}\n`)
      child.kill(name)
      for (const pid of backends) {
        try {
          process.kill(pid, name)
        } catch {
          // so may they
        }
      }
    }

    let log = ""
    const fail = () => resume(Effect.dieMessage(`postgres: ${log}`))
    child.once("error", fail).once("exit", fail)
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
      log += chunk
      if (log.includes("is ready to accept connections")) {
        log = ""
        child.stderr.removeAllListeners("data").resume()
        resume(Effect.succeed({ signal, exited }))
      }
    })
    return Effect.promise(() => {
      child.kill("SIGQUIT")
      return exited
    })
  })

export const makePostgres = (options: PostgresOptions = {}): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.gen(function*() {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-middleware-postgres-"))),
      (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))
    )
    if (account.uid !== undefined && account.gid !== undefined) Fs.chownSync(folder, account.uid, account.gid)
    const data = Path.join(folder, "data")
    yield* Effect.orDie(
      run("initdb", ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"])
    )
    const settings = {
      listen_addresses: "",
      unix_socket_directories: folder,
      // what is left of it goes with the folder
      dynamic_shared_memory_type: "mmap",
      fsync: options.durable === true ? "on" : "off",
      ...options.settings
    }
    const args = ["-D", data, ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])]
    const psql = (query: string) =>
      run("psql", ["-h", folder, "-U", "postgres", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", query])

    let running: Running | undefined
    let stopped: ReadonlyArray<number> = []
    const start = Effect.suspend(() =>
      running === undefined
        ? Effect.map(launch(args, folder), (started) => {
          running = started
        })
        : Effect.void
    ).pipe(Effect.uninterruptible)
    const resume = Effect.sync(() => {
      if (stopped.length > 0) running?.signal("SIGCONT", stopped)
      stopped = []
    })
    const stop = Effect.suspend(() => {
      const stopping = running
      if (stopping === undefined) return Effect.void
      running?.signal("SIGQUIT", [])
      return Effect.zipRight(resume, Effect.promise(() => stopping.exited)).pipe(
        Effect.map(() => {
          running = undefined
        })
      )
    }).pipe(Effect.uninterruptible)
    const pause = Effect.gen(function*() {
      // the one that answers this very question is gone by then
      const backends = yield* psql(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
      )
      stopped = backends.split("\n").filter((pid) => pid !== "").map(Number)
      running?.signal("SIGSTOP", stopped)
    }).pipe(Effect.orDie)

    yield* Effect.addFinalizer(() => stop)
    yield* start
    return {
      url: `postgres://postgres@localhost/postgres?host=${encodeURIComponent(folder)}`,
      psql,
      stop,
      start,
      restart: Effect.zipRight(stop, start),
      pause,
      resume
    }
  })

export class Postgres extends Context.Tag("test/Postgres")<Postgres, Server>() {
  static readonly layer = (options?: PostgresOptions) => Layer.scoped(Postgres, makePostgres(options))
}

/** A client of it. */
export const postgresClient = (options?: Omit<PgClient.PgClientConfig, "url">) =>
  Layer.unwrapEffect(Effect.map(Postgres, ({ url }) => PgClient.layer({ url: Redacted.make(url), ...options }))).pipe(
    Layer.orDie
  )

// --- SQLite ----------------------------------------------------------------------------------------------------------

/** A client of a database in a file, or of one in memory. */
export const sqliteClient = (filename = ":memory:"): Layer.Layer<SqlClient.SqlClient> =>
  Layer.scoped(SqlClient.SqlClient, sqlite === undefined ? Effect.dieMessage("no SQLite") : sqlite(filename)).pipe(
    Layer.provide(Reactivity.layer)
  )

type MakeClient = (filename: string) => Effect.Effect<SqlClient.SqlClient, never, Scope.Scope | Reactivity.Reactivity>

const withAddon: MakeClient = (filename) => SqliteClient.make({ filename })

/** What is used here of `node:sqlite`, which the types of Node 20 do not have. */
interface NodeSqlite {
  readonly DatabaseSync: new(filename: string) => {
    exec(text: string): void
    prepare(text: string): {
      setReturnArrays(enabled: boolean): void
      all(...values: ReadonlyArray<unknown>): ReadonlyArray<Record<string, unknown>>
    }
    close(): void
  }
}

/** The same over what Node has since 22: the addon loads only in the Node that it was installed with. */
const withNode = ({ DatabaseSync }: NodeSqlite): MakeClient => (filename) =>
  Effect.gen(function*() {
    const database = yield* Effect.acquireRelease(
      Effect.sync(() => new DatabaseSync(filename)),
      (database) => Effect.sync(() => database.close())
    )
    database.exec("PRAGMA journal_mode = WAL")
    const execute = (text: string, values: ReadonlyArray<unknown>) =>
      Effect.try({
        try: () => database.prepare(text).all(...values),
        catch: (cause) => new SqlError({ cause, message: "Failed to execute statement" })
      })
    const connection: Connection = {
      execute: (text, values, transform) => {
        const rows = execute(text, values)
        return transform === undefined ? rows : Effect.map(rows, transform)
      },
      executeRaw: execute,
      executeValues: (text, values) => Effect.map(execute(text, values), (rows) => rows.map(Object.values)),
      executeUnprepared: (text, values) => execute(text, values),
      executeStream: () => {
        throw new Error("not needed")
      }
    }
    const semaphore = yield* Effect.makeSemaphore(1)
    return yield* SqlClient.make({
      acquirer: semaphore.withPermits(1)(Effect.succeed(connection)),
      transactionAcquirer: Effect.uninterruptibleMask((restore) =>
        restore(semaphore.take(1)).pipe(
          Effect.zipRight(Effect.addFinalizer(() => semaphore.release(1))),
          Effect.as(connection)
        )
      ),
      compiler: Statement.makeCompilerSqlite(),
      spanAttributes: []
    })
  })

const sqlite: MakeClient | undefined = (() => {
  const loads = Effect.runSyncExit(Effect.scoped(withAddon(":memory:")).pipe(Effect.provide(Reactivity.layer)))
  if (Exit.isSuccess(loads)) return withAddon
  const module = process.getBuiltinModule?.("node:sqlite") as NodeSqlite | undefined
  return module === undefined ? undefined : withNode(module)
})()

/** What to install, where neither the addon loads nor Node has its own. */
export const missingSqlite = sqlite === undefined ? "SQLite is missing: npm rebuild better-sqlite3" : undefined
