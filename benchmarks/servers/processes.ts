/** Servers and loads, a process each, and the rounds in which they are measured. */
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import type { Readable } from "node:stream"
import { promisify } from "node:util"
import type { Job, Measured, Sent } from "./load.js"

export interface Plan {
  readonly rounds: number
  readonly connections: number
  /** Requests before a new server, and before a case, is measured. */
  readonly start: number
  readonly warmUp: number
  /** Milliseconds: of the server's CPU time at saturation, of wall time at the fixed rate. */
  readonly measuring: number
  /** Requests a second, where there is nobody whose throughput says it. */
  readonly rate: number
}

/** A rate that is a share of what a server does, measured before the rounds. */
export interface Pace<Name extends string> {
  readonly of: Name
  readonly share: number
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

/** Requests a second, by the name of the case. */
export type Rates = ReadonlyMap<string, number>

interface Measuring<Name extends string, Variant extends string, Case> {
  readonly folder: string
  readonly plan: Plan
  readonly pace?: Pace<Name>
  readonly asked: ReadonlyArray<Case>
  readonly open: (name: Name, variant: Variant) => Promise<Server<Name>>
  /** What the connections send, one of these each in turn. */
  readonly job: (server: Server<Name>, asked: Case) => Promise<ReadonlyArray<Sent>>
  readonly log: (line: string) => void
}

/** Milliseconds of CPU time for a request of the warm-up: what takes more than that is sent less. The first take a millisecond. */
const patience = 1

/** One load, on its core. */
export const load = async (folder: string, job: Job): Promise<Measured> => {
  const script = Path.join(folder, "benchmarks", "servers", "load.js")
  const { stdout } = await execFile(...on("load", process.execPath, [script, JSON.stringify(job)]))
  return JSON.parse(stdout) as Measured
}

/** A process for each server in each round, with one load at a time. */
export const measure = async <
  Name extends string,
  Variant extends string,
  Case extends Asked<Name, Variant>
>(
  { asked, folder, job, log, open, pace, plan }: Measuring<Name, Variant, Case>
): Promise<{ readonly results: Results<Name>; readonly rates: Rates }> => {
  const results = new Map(
    asked.map(({ name, servers }) => [name, new Map(servers.map((server) => [server, new Array<Measured>()]))])
  )
  const rates = new Map(asked.map(({ name, weight = 1 }) => [name, plan.rate / weight]))
  const put = async (server: Server<Name>, one: Case, warmUp: number, pacing: number): Promise<Measured> => {
    const { weight = 1 } = one
    // a few of what takes long say nothing
    const longer = weight > 100 ? 3 : 1
    const measured = load(folder, {
      requests: await job(server, one),
      port: server.port,
      pid: server.pid,
      connections: Math.max(4, Math.round(plan.connections / weight)),
      warmUp: Math.ceil(warmUp / weight),
      patience: warmUp * patience,
      measuring: plan.measuring * longer,
      pacing: pacing * longer,
      rate: rates.get(one.name)!
    })
    return measured.catch(({ stderr }: { readonly stderr: string }) => {
      throw new Error(`${server.name}, ${one.name}: ${stderr}`)
    })
  }

  const variants = [...new Set(asked.map(({ variant }) => variant))]
  for (const variant of pace === undefined ? [] : variants) {
    const cases = asked.filter((one) => one.variant === variant && one.servers.includes(pace!.of))
    if (cases.length === 0) continue
    await withServers([pace!.of], (name) => open(name, variant), async ([server]) => {
      for (const one of cases) {
        const { throughput } = await put(server!, one, one === cases[0] ? plan.start : plan.warmUp, 0)
        const rate = Number((throughput * pace!.share).toPrecision(2))
        rates.set(one.name, rate)
        log(`${one.name}: ${rate} requests/s are ${pace!.share} of what ${pace!.of} does`)
      }
    })
  }

  for (let round = 0; round < plan.rounds; round++) {
    for (const variant of variants) {
      const cases = asked.filter((one) => one.variant === variant)
      const names = [...new Set(cases.flatMap(({ servers }) => servers))]
      await withServers(names, (name) => open(name, variant), async (opened) => {
        const warm = new Set<Server<Name>>()
        for (const one of cases) {
          const servers = opened.filter(({ name }) => one.servers.includes(name))
          for (const server of rotated(servers, round + asked.indexOf(one))) {
            const measured = await put(server, one, warm.has(server) ? plan.warmUp : plan.start, plan.measuring)
            warm.add(server)
            results.get(one.name)!.get(server.name)!.push(measured)
            const { cpu, paced, throughput } = measured
            log(
              `round ${round + 1}/${plan.rounds}  ${one.name}, ${server.name}: ${throughput.toFixed(0)} requests/s, ${
                cpu.toFixed(0)
              } µs CPU, p99 ${paced?.p99.toFixed(1) ?? "–"} ms at ${rates.get(one.name)!}/s`
            )
          }
        }
      })
    }
  }
  return { results, rates }
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
