import * as ChildProcess from "node:child_process"
import * as Path from "node:path"
import { promisify } from "node:util"
import type { Job, Measured as Loaded } from "../servers/load.js"
import { type Spread, spread } from "../statistics.js"
import type { Measured } from "./measure.js"
import { acceptOf, type Case, cases } from "./work.js"

export interface Plan {
  readonly rounds: number
  /** Milliseconds of CPU time of all cases before they are timed, and of each. */
  readonly warmUp: number
  readonly measuring: number
}

export const full: Plan = { rounds: 6, warmUp: 4000, measuring: 1000 }
export const quick: Plan = { rounds: 3, warmUp: 2000, measuring: 400 }

/** Of one round: microseconds a request, by the name of the case. */
interface Round {
  readonly web: Measured
  readonly served: { readonly [name: string]: number }
}

const execFile = promisify(ChildProcess.execFile)

/** A process for each round, with all cases in it, in turn: what disturbs one disturbs all. */
export const run = async (folder: string, plan: Plan, log: (line: string) => void): Promise<string> => {
  const rounds: Array<Round> = []
  for (let i = 0; i < plan.rounds; i++) {
    const round = { web: await throughHandler(folder, plan), served: await overSockets(folder, plan, i) }
    rounds.push(round)
    const each = cases.map(({ name }) =>
      `${name} ${round.web[name]!.cpu.toFixed(0)}, ${round.served[name]!.toFixed(0)}`
    )
    log(`round ${i + 1}/${plan.rounds}  ${each.join("; ")} µs CPU`)
  }
  return report(rounds)
}

const scriptOf = (folder: string, ...path: ReadonlyArray<string>) => Path.join(folder, "benchmarks", ...path)

const throughHandler = async (folder: string, { measuring, warmUp }: Plan): Promise<Measured> => {
  const args = [scriptOf(folder, "failures", "measure.js"), `${warmUp}`, `${measuring}`]
  return JSON.parse((await execFile(process.execPath, args)).stdout) as Measured
}

/** One server, and the load of `servers/` for one case after the other; all of them once before any is timed. */
const overSockets = async (folder: string, { measuring }: Plan, round: number): Promise<Round["served"]> => {
  const server = ChildProcess.spawn(process.execPath, [scriptOf(folder, "failures", "serve.js")], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, NODE_ENV: "production" }
  })
  try {
    const port = await new Promise<number>((resolve, reject) => {
      server.stdout.once("data", (text: Buffer) => resolve(Number(text)))
      server.once("exit", () => reject(new Error("the server has not started")))
    })
    const load = async (one: Case, warmUp: number, measuring: number) => {
      const request = `${one.method ?? "GET"} ${one.path} HTTP/1.1\r\nHost: localhost\r\nAccept: ${
        acceptOf(one)
      }\r\n\r\n`
      const { pid = 0 } = server
      const job: Job = {
        port,
        pid,
        requests: [{ text: request, status: one.status }],
        connections: 16,
        warmUp,
        patience: 60_000,
        measuring,
        pacing: 0,
        rate: 100
      }
      const args = [scriptOf(folder, "servers", "load.js"), JSON.stringify(job)]
      return (JSON.parse((await execFile(process.execPath, args)).stdout) as Loaded).cpu
    }
    for (const one of cases) await load(one, 3000, 20)
    const measured: Record<string, number> = {}
    for (const one of round % 2 === 0 ? cases : [...cases].reverse()) {
      measured[one.name] = await load(one, 500, measuring)
    }
    return measured
  } finally {
    server.kill("SIGKILL")
  }
}

const range = ({ max, median, min }: Spread, digits: number) =>
  `${median.toFixed(digits)} (${min.toFixed(digits)}–${max.toFixed(digits)})`

const report = (rounds: ReadonlyArray<Round>): string => {
  const [{ name: answer }] = cases as [(typeof cases)[number]]
  const clocks: ReadonlyArray<(round: Round, name: string) => number> = [
    ({ served }, name) => served[name]!,
    ({ web }, name) => web[name]!.cpu,
    ({ web }, name) => web[name]!.wall
  ]
  const rows = cases.map(({ name }) => [
    name,
    ...clocks.flatMap((clock) => [
      range(spread(rounds.map((round) => clock(round, name))), 0),
      range(spread(rounds.map((round) => clock(round, name) / clock(round, answer))), 2)
    ])
  ])
  const head = ["", "served, CPU", "ratio", "web handler, CPU", "ratio", "web handler, wall", "ratio"]
  return [
    "## What a request costs",
    "Microseconds: median (min–max of the rounds). A ratio is to the 200 of the same round.",
    [head, head.map((_, i) => (i === 0 ? "---" : "--:")), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n")
  ].join("\n\n")
}

export const title = "Cost of a failure"

export const about = [
  "One app behind one stack: `RequestId`, `ProblemDetails`, and `ExceptionHandlers.standard()` with a handler by tag. Served by Node",
  "over sockets, with the kernel's share, and asked through platform's web handler in process; tracer and all. Status and body were",
  "checked before anything was timed. See [how to read it](../README.md).",
  "",
  ...cases.map(({ is, name }) => `- ${name}: ${is}`)
].join("\n")
