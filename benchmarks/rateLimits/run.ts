import * as ChildProcess from "node:child_process"
import * as Path from "node:path"
import { promisify } from "node:util"
import type { Measured } from "../besideMap.js"
import { isInstalled, start } from "../servers/redis.js"
import { table } from "../servers/report.js"
import { median, type Spread, spread } from "../statistics.js"
import type { Throughput } from "./redis.js"

export interface Plan {
  readonly rounds: number
  /** Of each size in memory. */
  readonly decisions: number
  readonly sizes: ReadonlyArray<number>
  /** In Redis, in each of three times as many rounds. */
  readonly remote: number
}

export const full: Plan = {
  rounds: 3,
  decisions: 1_000_000,
  sizes: [1000, 100_000, 1_000_000, 10_000_000],
  remote: 50_000
}
export const quick: Plan = { rounds: 1, decisions: 200_000, sizes: [1000, 100_000, 1_000_000], remote: 20_000 }

const execFile = promisify(ChildProcess.execFile)
type Round = ReadonlyMap<number, Measured>

/** A process for each size in each round, the smallest first and the largest first in turn; then one for Redis. */
export const run = async (folder: string, plan: Plan, log: (line: string) => void): Promise<string> => {
  const script = (name: string) => Path.join(folder, "benchmarks", "rateLimits", `${name}.js`)
  const { decisions, remote, sizes } = plan
  const rounds: Array<Round> = []
  for (let i = 0; i < plan.rounds; i++) {
    const round = new Map<number, Measured>()
    for (const size of i % 2 === 0 ? sizes : [...sizes].reverse()) {
      const args = ["--expose-gc", "--max-old-space-size=12288", script("memory"), `${size}`, `${decisions}`]
      const measured = JSON.parse((await execFile(process.execPath, args)).stdout) as Measured
      round.set(size, measured)
      const { map, store } = measured
      log(`round ${i + 1}/${plan.rounds}  ${size} keys: ${store.wall.toFixed(0)} ns, Map ${map.wall.toFixed(0)} ns`)
    }
    rounds.push(round)
  }
  return [
    inMemory(sizes, rounds),
    isInstalled ? await inRedis(script("redis"), plan.rounds * 3, remote, log) : "Redis is not installed."
  ]
    .join("\n\n")
}

type Figure = (measured: Measured) => number
const figures: { readonly [name: string]: Figure } = {
  "decision, wall": ({ store }) => store.wall,
  "Map, wall": ({ map }) => map.wall,
  "decision, CPU": ({ store }) => store.cpu,
  "Map, CPU": ({ map }) => map.cpu
}

const range = ({ max, median, min }: Spread, digits = 0) =>
  `${median.toFixed(digits)} (${min.toFixed(digits)}–${max.toFixed(digits)})`

const inMemory = (sizes: ReadonlyArray<number>, rounds: ReadonlyArray<Round>): string => {
  const [smallest] = sizes
  const all = (size: number, figure: Figure) => rounds.map((round) => figure(round.get(size)!))
  const grown = (clock: "cpu" | "wall") =>
    sizes.slice(1).map((size) => {
      const growth = (round: Round, of: "store" | "map") =>
        round.get(size)![of][clock] - round.get(smallest!)![of][clock]
      return range(spread(rounds.map((round) => growth(round, "store") / growth(round, "map"))), 2)
    })
  return [
    "## In memory",
    "Nanoseconds: median (min–max of the rounds). A decision is to take 500 at most at a thousand keys.",
    table(
      ["keys", ...Object.keys(figures), "bytes a key"],
      sizes.map((size) => [
        size.toLocaleString("en"),
        ...Object.values(figures).map((figure) => range(spread(all(size, figure)))),
        // of fewer it is the heap's own steps that show
        size < 100_000 ? "–" : median(all(size, ({ memory }) => memory)).toFixed(0)
      ])
    ),
    `By how much a decision becomes dearer than at ${smallest} keys, of what the Map does: 2 at most.`,
    table(["", ...sizes.slice(1).map((size) => size.toLocaleString("en"))], [
      ["wall", ...grown("wall")],
      ["CPU", ...grown("cpu")]
    ])
  ].join("\n\n")
}

const inRedis = async (
  script: string,
  rounds: number,
  decisions: number,
  log: (line: string) => void
): Promise<string> => {
  const redis = await start()
  try {
    const { stdout } = await execFile(process.execPath, [script, redis.url, `${decisions}`, `${rounds}`])
    const measured = JSON.parse(stdout) as ReadonlyArray<Throughput>
    const ratio = spread(measured.map(({ bare, store }) => store / bare))
    log(`Redis: ${range(ratio, 2)} of a bare EVALSHA`)
    return [
      "## In Redis",
      `Decisions a second on one connection, 64 under way at once; beside it the same script with the same ` +
      "arguments by the same client (ioredis), and nothing around it. The ratio is to be 0.8 at least.",
      table(["", "median (min–max)"], [
        ["decisions", range(spread(measured.map(({ store }) => store)))],
        ["bare EVALSHA", range(spread(measured.map(({ bare }) => bare)))],
        ["ratio", range(ratio, 2)]
      ])
    ].join("\n\n")
  } finally {
    await redis.stop()
  }
}

export const title = "Rate limits"

export const about = [
  "`RateLimitStore.layerMemory` with room for all, asked about random keys in plain code, as the middleware asks it (GCRA);",
  "beside it, the least that keeps a Map in the order of use: the same keys are taken out of one, and put in again. Both are in",
  "one process and take turns, a few hundred keys each. Then `layerRedis`. See [how to read it](../README.md)."
].join("\n")
