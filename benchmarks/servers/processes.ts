/** Servers and loads, a process each, and the rounds in which they are measured. */
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import type { Readable } from "node:stream"
import { promisify } from "node:util"
import type { Job, Measured } from "./load.js"

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

export interface Server<Name extends string = string> {
  readonly name: Name
  readonly port: number
  readonly pid: number
  readonly stop: () => Promise<unknown>
}

const execFile = promisify(ChildProcess.execFile)
const root = Path.resolve(import.meta.dirname, "..", "..")

/** Server and load have a core each, where there are two and Linux to ask for them. */
const pins = Os.availableParallelism() > 1 && ChildProcess.spawnSync("taskset", ["-V"]).status === 0
export const cores = { server: 0, load: 1 } as const
export const on = (
  core: keyof typeof cores,
  command: string,
  args: ReadonlyArray<string>
): [string, Array<string>] => pins ? ["taskset", ["-c", `${cores[core]}`, command, ...args]] : [command, [...args]]

export const aboutCores = pins
  ? "The server has one core and the load another."
  : "Server and load were not given cores of their own: `taskset` is missing, or a second core."

/** One that writes its port to descriptor 3. Standard output, which only an access log writes to, goes to the file. */
export const open = async <Name extends string>(
  name: Name,
  command: string,
  args: ReadonlyArray<string>,
  { env, file = Os.devNull }: {
    readonly env?: Readonly<Record<string, string>>
    readonly file?: string | undefined
  } = {}
): Promise<Server<Name>> => {
  const output = Fs.openSync(file, "w")
  const child = ChildProcess.spawn(...on("server", command, args), {
    stdio: ["ignore", output, "inherit", "pipe"],
    env: { ...process.env, NODE_ENV: "production", ...env }
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

/** Opens one after the other, and stops them all in the end. */
export const withServers = async <Name extends string, A>(
  names: ReadonlyArray<Name>,
  open: (name: Name) => Promise<Server<Name>>,
  use: (servers: ReadonlyArray<Server<Name>>) => Promise<A>
): Promise<A> => {
  const servers: Array<Server<Name>> = []
  try {
    for (const name of names) servers.push(await open(name))
    return await use(servers)
  } finally {
    await Promise.all(servers.map((server) => server.stop()))
  }
}

/** From another one on each time, and every other time backwards: nobody is always first, or always after the same. */
const rotated = <A>(items: ReadonlyArray<A>, by: number): ReadonlyArray<A> => {
  const at = by % items.length
  const order = [...items.slice(at), ...items.slice(0, at)]
  return by % 2 === 0 ? order : order.reverse()
}

/** What is asked of which servers; those of one variant in a row share their processes. */
export interface Asked<Name extends string, Variant extends string> {
  readonly name: string
  readonly variant: Variant
  readonly servers: ReadonlyArray<Name>
  readonly weight?: number
}

/** By the names of case and server; one a round, in the order of the rounds. */
export type Results<Name extends string = string> = ReadonlyMap<string, ReadonlyMap<Name, ReadonlyArray<Measured>>>

interface Measuring<Name extends string, Variant extends string, Case> {
  readonly folder: string
  readonly plan: Plan
  readonly asked: ReadonlyArray<Case>
  readonly open: (name: Name, variant: Variant) => Promise<Server<Name>>
  /** What the connections send, one of these each in turn, and the status that comes of it. */
  readonly job: (server: Server<Name>, asked: Case) => Promise<Pick<Job, "requests" | "status">>
  readonly log: (line: string) => void
}

/** A process for each server in each round, with one load at a time. */
export const measure = async <
  Name extends string,
  Variant extends string,
  Case extends Asked<Name, Variant>
>({ asked, folder, job, log, open, plan }: Measuring<Name, Variant, Case>): Promise<Results<Name>> => {
  const results = new Map(
    asked.map(({ name, servers }) => [name, new Map(servers.map((server) => [server, new Array<Measured>()]))])
  )
  const script = Path.join(folder, "benchmarks", "servers", "load.js")
  const load = async (server: Server<Name>, one: Case, warmUp: number): Promise<Measured> => {
    const { measuring } = plan
    const { pid, port } = server
    const { weight = 1 } = one
    const all: Job = {
      ...await job(server, one),
      port,
      pid,
      connections: Math.max(4, Math.round(plan.connections / weight)),
      warmUp: Math.ceil(warmUp / weight),
      // a few of what takes long say nothing
      measuring: weight > 100 ? measuring * 3 : measuring,
      rate: plan.rate / weight
    }
    const { stdout } = await execFile(...on("load", process.execPath, [script, JSON.stringify(all)]))
      .catch(({ stderr }: { readonly stderr: string }) => {
        throw new Error(`${server.name}, ${one.name}: ${stderr}`)
      })
    return JSON.parse(stdout) as Measured
  }

  const variants = [...new Set(asked.map(({ variant }) => variant))]
  for (let round = 0; round < plan.rounds; round++) {
    for (const variant of variants) {
      const cases = asked.filter((one) => one.variant === variant)
      const names = [...new Set(cases.flatMap(({ servers }) => servers))]
      await withServers(names, (name) => open(name, variant), async (opened) => {
        const warm = new Set<Server<Name>>()
        for (const one of cases) {
          const servers = opened.filter(({ name }) => one.servers.includes(name))
          for (const server of rotated(servers, round + asked.indexOf(one))) {
            const measured = await load(server, one, warm.has(server) ? plan.warmUp : plan.start)
            warm.add(server)
            results.get(one.name)!.get(server.name)!.push(measured)
            const { cpu, paced, throughput } = measured
            log(
              `round ${round + 1}/${plan.rounds}  ${one.name}, ${server.name}: ${throughput.toFixed(0)} requests/s, ${
                cpu.toFixed(0)
              } µs CPU, p99 ${paced.p99.toFixed(1)} ms at ${plan.rate / (one.weight ?? 1)}/s`
            )
          }
        }
      })
    }
  }
  return results
}

export interface Selection {
  /** All that there are, unless named. */
  readonly cases?: ReadonlyArray<string> | undefined
  readonly servers?: ReadonlyArray<string> | undefined
}

export const select = <A extends { readonly name: string }>(
  what: string,
  all: ReadonlyArray<A>,
  names: ReadonlyArray<string> | undefined
): ReadonlyArray<A> => {
  const unknown = names?.find((name) => all.every((one) => one.name !== name))
  if (unknown !== undefined) throw new TypeError(`No ${what} "${unknown}": ${all.map(({ name }) => name).join(", ")}`)
  return all.filter(({ name }) => names === undefined || names.includes(name))
}

export interface Outcome {
  readonly about: string
  /** Markdown. */
  readonly results: string
  /** SVG. */
  readonly chart: string
}

export const versions = (packages: ReadonlyArray<string>): string =>
  packages.map((name) => {
    const file = Path.join(root, "node_modules", name, "package.json")
    return `${name} ${(JSON.parse(Fs.readFileSync(file, "utf8")) as { readonly version: string }).version}`
  }).join(", ")
