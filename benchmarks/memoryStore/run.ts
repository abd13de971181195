import * as ChildProcess from "node:child_process"
import * as Path from "node:path"
import { promisify } from "node:util"
import type { Measured } from "../besideMap.js"
import { table } from "../servers/report.js"
import { median, type Spread, spread } from "../statistics.js"

export interface Plan {
  readonly rounds: number
  /** Of each, so many that a Map of the largest size moves house. */
  readonly reads: number
}

export const full: Plan = { rounds: 3, reads: 2_000_000 }
export const quick: Plan = { rounds: 1, reads: 200_000 }

const sizes = [1000, 10_000, 100_000, 1_000_000] as const
type Size = typeof sizes[number]
type Round = ReadonlyMap<Size, Measured>

const execFile = promisify(ChildProcess.execFile)

/** A process for each size in each round, the smallest first and the largest first in turn. */
export const run = async (folder: string, plan: Plan, log: (line: string) => void): Promise<string> => {
  const script = Path.join(folder, "benchmarks", "memoryStore", "measure.js")
  const measure = async (size: Size, reads: number, owned: boolean) => {
    const args = ["--expose-gc", script, `${size}`, `${reads}`, owned ? "owned" : "unowned"]
    return JSON.parse((await execFile(process.execPath, args)).stdout) as Measured
  }
  const rounds: Array<Round> = []
  for (let i = 0; i < plan.rounds; i++) {
    const round = new Map<Size, Measured>()
    for (const size of i % 2 === 0 ? sizes : [...sizes].reverse()) {
      const measured = await measure(size, plan.reads, false)
      round.set(size, measured)
      const { map, store } = measured
      log(`round ${i + 1}/${plan.rounds}  ${size} sessions: ${store.wall.toFixed(0)} ns, Map ${map.wall.toFixed(0)} ns`)
    }
    rounds.push(round)
  }
  return report(rounds, (await measure(1_000_000, 0, true)).memory)
}

type Figure = (round: Round, size: Size) => number
const figures = {
  "store, wall": (round, size) => round.get(size)!.store.wall,
  "Map, wall": (round, size) => round.get(size)!.map.wall,
  "store, CPU": (round, size) => round.get(size)!.store.cpu,
  "Map, CPU": (round, size) => round.get(size)!.map.cpu
} satisfies { readonly [name: string]: Figure }

const range = ({ max, median, min }: Spread) => `${median.toFixed(0)} (${min.toFixed(0)}–${max.toFixed(0)})`

/** By how much the last is more than the first. */
const growth = (figure: Figure) => (round: Round) => figure(round, 1_000_000) - figure(round, 1000)

const report = (rounds: ReadonlyArray<Round>, owned: number): string => {
  const memory = (size: Size) => median(rounds.map((round) => round.get(size)!.memory))
  const ratios = (["wall", "CPU"] as const).map((clock) => {
    const ofRounds = rounds.map((round) =>
      growth(figures[`store, ${clock}`])(round) / growth(figures[`Map, ${clock}`])(round)
    )
    const { max, median, min } = spread(ofRounds)
    return { clock, median, text: `${median.toFixed(2)} (${min.toFixed(2)}–${max.toFixed(2)})` }
  })
  const verdict = ratios.every(({ median }) => median <= 2) ? "It is." : "**It is not.**"
  return [
    "## What a read costs",
    "Nanoseconds: median (min–max of the rounds).",
    table(
      ["sessions", ...Object.keys(figures), "bytes a session"],
      sizes.map((size) => [
        size.toLocaleString("en"),
        ...Object.values(figures).map((figure) => range(spread(rounds.map((round) => figure(round, size))))),
        // of fewer it is the heap's own steps that show
        size < 100_000 ? "–" : memory(size).toFixed(0)
      ])
    ),
    `Bytes are of resident memory, for sessions of nobody; where each is of another principal, ${
      owned.toFixed(0)
    } bytes at a million.`,
    "From a thousand to a million a read of the store has to become dearer by at most twice as much as the Map's " +
    `step does. ${verdict}`,
    table(["", "dearer, of the Map's"], ratios.map(({ clock, text }) => [clock, text]))
  ].join("\n\n")
}

export const title = "Sessions in memory"

export const about = [
  "`SessionStore.layerMemory` with room for all, read by random keys; beside it, the least that keeps a Map in the order of use:",
  "the same keys are taken out of one, and put in again. Both are in one process and take turns, a few hundred keys each.",
  "See [how to read it](../README.md)."
].join("\n")
