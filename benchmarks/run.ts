/**
 * Runs the benchmarks and writes what they say to `results/`.
 *
 *     npm run bench               # some five minutes
 *     npm run bench -- --quick    # under one; prints and writes nothing
 *     npm run bench -- --rounds 9
 */
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { parseArgs } from "node:util"
import * as Layers from "./layers/run.js"
import { snapshot } from "./snapshot.js"

const { values: options } = parseArgs({
  options: { quick: { type: "boolean", default: false }, rounds: { type: "string" } }
})
const plan = options.quick ? Layers.quick : Layers.full
const rounds = options.rounds === undefined ? plan.rounds : Number(options.rounds)
if (!Number.isInteger(rounds) || rounds < 1) throw new TypeError("--rounds takes a number from 1 on")

const load = () => Os.loadavg()[0]!.toFixed(1)
const began = new Date()
const before = load()
const folder = snapshot()
const results = await Layers.run(folder, { ...plan, rounds }, console.error)
  .finally(() => Fs.rmSync(folder, { recursive: true }))
const minutes = ((Date.now() - began.getTime()) / 60_000).toFixed(1)
const cpus = Os.cpus()

const page = [
  `# ${Layers.title}`,
  Layers.about,
  table([
    ["Date", began.toISOString().slice(0, 10)],
    ["Node", process.version],
    ["CPU", `${cpus[0]!.model.trim()}, ${cpus.length} cores, ${Os.platform()} ${Os.arch()}`],
    ["Load average", `${before} before, ${load()} after`],
    [
      "Rounds",
      `${rounds}, of ${plan.measuring} ms of CPU time after ${plan.warmUp} of warm-up; ${minutes} minutes in all`
    ]
  ]),
  results
].join("\n\n") + "\n"

console.log(page)
if (!options.quick) {
  const file = Path.join(import.meta.dirname, "results", "layers.md")
  Fs.mkdirSync(Path.dirname(file), { recursive: true })
  Fs.writeFileSync(file, page)
  console.error(`Written to ${Path.relative(process.cwd(), file)}`)
}

function table(rows: ReadonlyArray<readonly [string, string]>): string {
  return ["| | |", "|---|---|", ...rows.map(([name, value]) => `| ${name} | ${value} |`)].join("\n")
}
