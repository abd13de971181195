import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import type { Readable } from "node:stream"
import { promisify } from "node:util"
import { check, checkLog, checkOrigins, expectedOf } from "./check.js"
import { type Contestant, contestants, type Name } from "./contestants.js"
import type { Job, Measured } from "./load.js"
import { chart, type Results, tables } from "./report.js"
import { bytesOf, type Case, cases, type Variant } from "./work.js"

export interface Plan {
  readonly rounds: number
  readonly connections: number
  /** Requests before a new server, and before a case, is measured. */
  readonly start: number
  readonly warmUp: number
  /** Milliseconds: of the server's CPU time at saturation, of wall time at the fixed rate. */
  readonly measuring: number
  /** Requests a second. */
  readonly rate: number
}

export const full: Plan = { rounds: 3, connections: 64, start: 20_000, warmUp: 8000, measuring: 800, rate: 1000 }
export const quick: Plan = { rounds: 1, connections: 64, start: 4000, warmUp: 1000, measuring: 250, rate: 1000 }

interface Server {
  readonly name: Name
  readonly port: number
  readonly pid: number
  readonly stop: () => Promise<unknown>
}

const execFile = promisify(ChildProcess.execFile)
const root = Path.resolve(import.meta.dirname, "..", "..")

/** Server and load have a core each, where there are two and Linux to ask for them. */
const pins = Os.availableParallelism() > 1 && ChildProcess.spawnSync("taskset", ["-V"]).status === 0
const on = (core: number, command: string, args: ReadonlyArray<string>): [string, Array<string>] =>
  pins ? ["taskset", ["-c", `${core}`, command, ...args]] : [command, [...args]]

const python = ["python3", "/usr/bin/python3"]
  .find((python) => ChildProcess.spawnSync(python, ["-c", "import starlette, uvicorn, uvloop, httptools"]).status === 0)
const starlette = Path.join(import.meta.dirname, "apps", "starlette.py")

/** Standard output, which only an access log writes to, goes to the file. */
const open = async (folder: string, name: Name, variant: Variant, file: string): Promise<Server> => {
  const [command, args] = name === "starlette"
    ? on(0, python!, [starlette, variant])
    : on(0, process.execPath, [Path.join(folder, "benchmarks", "servers", "serve.js"), name, variant])
  const output = Fs.openSync(file, "w")
  const child = ChildProcess.spawn(command, args, {
    stdio: ["ignore", output, "inherit", "pipe"],
    env: { ...process.env, NODE_ENV: "production" }
  })
  Fs.closeSync(output)
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()))
  const stop = () => {
    child.kill("SIGKILL")
    return ended
  }
  for await (const port of child.stdio[3] as Readable) return { name, port: Number(port), pid: child.pid!, stop }
  throw new Error(`${name} has not started`)
}

const openAll = async (
  folder: string,
  names: ReadonlyArray<Name>,
  variant: Variant,
  fileOf: (name: Name) => string = () => Os.devNull
) => {
  const servers: Array<Server> = []
  const stop = () => Promise.all(servers.map((server) => server.stop()))
  try {
    for (const name of names) servers.push(await open(folder, name, variant, fileOf(name)))
  } catch (error) {
    await stop()
    throw error
  }
  return { servers, stop }
}

const measure = async (folder: string, server: Server, asked: Case, plan: Plan): Promise<Measured> => {
  const { connections, measuring, rate, warmUp } = plan
  const { pid, port } = server
  const { status } = expectedOf(server.name, asked)
  const job: Job = { port, pid, request: bytesOf(asked), status, connections, warmUp, measuring, rate }
  const script = Path.join(folder, "benchmarks", "servers", "load.js")
  const { stdout } = await execFile(...on(1, process.execPath, [script, JSON.stringify(job)]))
    .catch(({ stderr }: { readonly stderr: string }) => {
      throw new Error(`${server.name}, ${asked.name}: ${stderr}`)
    })
  return JSON.parse(stdout) as Measured
}

/** From another one on each time, and every other time backwards: nobody is always first, or always after the same. */
const rotated = <A>(items: ReadonlyArray<A>, by: number): ReadonlyArray<A> => {
  const at = by % items.length
  const order = [...items.slice(at), ...items.slice(0, at)]
  return by % 2 === 0 ? order : order.reverse()
}

export interface Selection {
  /** All that there are, unless named. */
  readonly cases?: ReadonlyArray<string> | undefined
  readonly servers?: ReadonlyArray<string> | undefined
}

const select = <A extends { readonly name: string }>(
  what: string,
  all: ReadonlyArray<A>,
  names: ReadonlyArray<string> | undefined
): ReadonlyArray<A> => {
  const unknown = names?.find((name) => all.every((one) => one.name !== name))
  if (unknown !== undefined) throw new TypeError(`No ${what} "${unknown}": ${all.map(({ name }) => name).join(", ")}`)
  return all.filter(({ name }) => names === undefined || names.includes(name))
}

/** Checks all, then measures all: a process for each server in each round, with one load at a time. */
export const run = async (
  folder: string,
  plan: Plan,
  selection: Selection,
  log: (line: string) => void
): Promise<Outcome> => {
  const asked = select("case", cases, selection.cases)
  const servers = select("server", contestants, selection.servers)
    .filter(({ name }) => name !== "starlette" || python !== undefined)
  if (python === undefined) {
    log("Starlette is left out: apt-get install python3-starlette uvicorn python3-uvloop python3-httptools")
  }
  const names = servers.map(({ name }) => name)
  const variants = [...new Set(asked.map(({ variant }) => variant))]

  for (const variant of variants) {
    const fileOf = (name: Name) => Path.join(folder, `${name}.log`)
    const opened = await openAll(folder, names, variant, fileOf)
    try {
      for (const { name, port } of opened.servers) {
        for (const one of cases) {
          if (one.variant !== variant) continue
          await check(name, one, port)
          if (variant === "logged") await checkLog(name, one, port, fileOf(name))
        }
        if (variant === "full") await checkOrigins(name, port)
      }
    } finally {
      await opened.stop()
    }
    log(`${variant}: ${names.join(", ")} do the same work`)
  }

  const results: Results = new Map(asked.map(({ name }) => [name, new Map(names.map((name) => [name, []]))]))
  for (let round = 0; round < plan.rounds; round++) {
    for (const variant of variants) {
      const opened = await openAll(folder, names, variant)
      const warm = new Set<Server>()
      try {
        for (const one of asked) {
          if (one.variant !== variant) continue
          for (const server of rotated(opened.servers, round + asked.indexOf(one))) {
            const warmUp = warm.has(server) ? plan.warmUp : plan.start
            warm.add(server)
            const measured = await measure(folder, server, one, { ...plan, warmUp })
            results.get(one.name)!.get(server.name)!.push(measured)
            const { cpu, paced, throughput } = measured
            log(
              `round ${round + 1}/${plan.rounds}  ${one.name}, ${server.name}: ${throughput.toFixed(0)} requests/s, ${
                cpu.toFixed(0)
              } µs CPU, p99 ${paced.p99.toFixed(1)} ms at ${plan.rate}/s`
            )
          }
        }
      } finally {
        await opened.stop()
      }
    }
  }
  return {
    about: about(servers),
    results: tables(asked, results, plan.rate),
    chart: chart(asked, results)
  }
}

export interface Outcome {
  readonly about: string
  /** Markdown. */
  readonly results: string
  /** SVG. */
  readonly chart: string
}

export const title = "The same application on each server"

const about = (servers: ReadonlyArray<Contestant>) =>
  [
    "Client identity, server timing, request id, trusted hosts, CORS, failures as problem details and a router, done by each",
    "server in its own idiom. Status, body and header names were checked to be the same before anything was timed. See",
    "[how to read it](../README.md).",
    "",
    ...servers.map(({ is, name, packages }) => `- ${name}: ${is} (${versions(name, packages)})`),
    "",
    pins
      ? "The server has one core and the load another."
      : "Server and load were not given cores of their own: `taskset` is missing, or a second core."
  ].join("\n")

const versions = (name: string, packages: ReadonlyArray<string>): string => {
  if (name === "raw") return `Node ${process.version}`
  if (name === "starlette") {
    return ChildProcess.execFileSync(python!, [starlette, "versions"], { encoding: "utf8" }).trim().replace(/\n/g, ", ")
  }
  return packages.map((name) => {
    const file = Path.join(root, "node_modules", name, "package.json")
    return `${name} ${(JSON.parse(Fs.readFileSync(file, "utf8")) as { readonly version: string }).version}`
  }).join(", ")
}
