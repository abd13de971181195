import * as ChildProcess from "node:child_process"
import * as Path from "node:path"
import { promisify } from "node:util"
import type { Measured } from "./measure.js"
import { keyOf, report } from "./report.js"
import * as Served from "./served.js"
import { type Contestant, contestants } from "./variants.js"

export interface Plan {
  readonly counts: ReadonlyArray<number>
  /** Of the compiled stack alone, beside those. */
  readonly more: ReadonlyArray<number>
  readonly rounds: number
  /** Milliseconds of CPU time. */
  readonly warmUp: number
  readonly measuring: number
  readonly served: Served.Plan
}

export const full: Plan = {
  counts: [0, 1, 5, 20],
  more: [2, 10],
  rounds: 6,
  warmUp: 500,
  measuring: 800,
  served: { counts: [1, 2, 5, 10, 20], rounds: 4, start: 15_000, measuring: 800 }
}
export const quick: Plan = {
  counts: [0, 1, 20],
  more: [],
  rounds: 2,
  warmUp: 300,
  measuring: 200,
  served: { counts: [1, 20], rounds: 1, start: 3000, measuring: 200 }
}

const execFile = promisify(ChildProcess.execFile)

/** A process for each variant in each round, with the order reversed from round to round. */
export const run = async (folder: string, plan: Plan, log: (line: string) => void): Promise<string> => {
  const worker = Path.join(folder, "benchmarks", "layers", "measure.js")
  const variants = new Map<string, readonly [contestant: Contestant, layers: number]>()
  for (const contestant of contestants) {
    const more = contestant === contestants[0] ? plan.more : []
    for (const layers of [...plan.counts, ...more]) {
      const key = keyOf(contestant, layers)
      if (!variants.has(key)) variants.set(key, [contestant, layers])
    }
  }
  const results = new Map<string, Array<Measured>>([...variants.keys()].map((key) => [key, []]))
  for (let round = 0; round < plan.rounds; round++) {
    const order = round % 2 === 0 ? [...variants] : [...variants].reverse()
    for (const [key, [{ name }, layers]] of order) {
      const args = [worker, name, layers, plan.warmUp, plan.measuring].map(String)
      const { stdout } = await execFile(process.execPath, args).catch(({ stderr }: { readonly stderr: string }) => {
        throw new Error(`${key} has failed: ${stderr}`)
      })
      const measured = JSON.parse(stdout) as Measured
      results.get(key)!.push(measured)
      log(
        `round ${round + 1}/${plan.rounds}  ${key}: ${measured.cpu.toFixed(2)} µs CPU, ${
          measured.wall.toFixed(2)
        } µs wall`
      )
    }
  }
  return [report(results, plan.counts, plan.more), await Served.served(folder, plan.served, log)].join("\n\n")
}

export const title = "Cost per layer"

export const about = [
  "Every layer reads one request header, could refuse by it, and sets one response header. Each variant was checked to give",
  "the same status, headers and body before it was timed. See [how to read it](../README.md).",
  "",
  ...contestants.map(({ is, name }) => `- ${name}: ${is}`)
].join("\n")
