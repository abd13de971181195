/**
 * Runs the benchmarks and writes what they say to `results/`.
 *
 *     npm run bench                       # all suites, some twenty-five minutes
 *     npm run bench -- layers
 *     npm run bench -- failures
 *     npm run bench -- sessions memory-store
 *     npm run bench -- rate-limits
 *     npm run bench -- servers --cases full,error --only raw,ours
 *     npm run bench -- servers --cases acceptance
 *     npm run bench -- servers --quick    # three minutes at most; prints and writes nothing
 *     npm run bench -- --rounds 9
 */
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { parseArgs } from "node:util"
import * as Failures from "./failures/run.js"
import * as Layers from "./layers/run.js"
import * as MemoryStore from "./memoryStore/run.js"
import * as RateLimits from "./rateLimits/run.js"
import * as Servers from "./servers/run.js"
import * as Sessions from "./sessions/run.js"
import { snapshot } from "./snapshot.js"

const { positionals, values: options } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    cases: { type: "string" },
    only: { type: "string" }
  }
})
const kind = options.quick ? "quick" : "full"
const rounds = options.rounds === undefined ? undefined : Number(options.rounds)
if (rounds !== undefined && (!Number.isInteger(rounds) || rounds < 1)) {
  throw new TypeError("--rounds takes a number from 1 on")
}

/** The pages and pictures of a suite, by the names of their files. */
type Suite = (folder: string) => Promise<{ readonly [file: string]: string }>

const layers: Suite = async (folder) => {
  const plan = {
    ...Layers[kind],
    ...rounds !== undefined && { rounds, served: { ...Layers[kind].served, rounds } }
  }
  const facts = machine()
  const results = await Layers.run(folder, plan, console.error)
  const took = `${plan.rounds}, of ${plan.measuring} ms of CPU time after ${plan.warmUp} of warm-up`
  return { "layers.md": page(Layers.title, Layers.about, facts(took), results) }
}

const failures: Suite = async (folder) => {
  const plan = { ...Failures[kind], ...(rounds && { rounds }) }
  const facts = machine()
  const results = await Failures.run(folder, plan, console.error)
  const took = `${plan.rounds}, of ${plan.measuring} ms of CPU time for each after ${plan.warmUp} of warm-up`
  return { "failures.md": page(Failures.title, Failures.about, facts(took), results) }
}

const memoryStore: Suite = async (folder) => {
  const plan = { ...MemoryStore[kind], ...(rounds && { rounds }) }
  const facts = machine()
  const results = await MemoryStore.run(folder, plan, console.error)
  const took = `${plan.rounds}, of ${plan.reads} reads for each size`
  return { "memory-store.md": page(MemoryStore.title, MemoryStore.about, facts(took), results) }
}

const rateLimits: Suite = async (folder) => {
  const plan = { ...RateLimits[kind], ...(rounds && { rounds }) }
  const facts = machine()
  const results = await RateLimits.run(folder, plan, console.error)
  const took = `${plan.rounds}, of ${plan.decisions} decisions for each size; ${
    plan.rounds * 3
  }, of ${plan.remote}, in Redis`
  return { "rate-limits.md": page(RateLimits.title, RateLimits.about, facts(took), results) }
}

/** One that is served over sockets: a page and a picture. */
const served = (
  name: string,
  { full, quick, run, title }: Pick<typeof Servers | typeof Sessions, "full" | "quick" | "run" | "title">
): Suite =>
async (folder) => {
  const plan = { ...(options.quick ? quick : full), ...(rounds && { rounds }) }
  const facts = machine()
  const selection = { cases: options.cases?.split(","), servers: options.only?.split(",") }
  const { about, chart, results } = await run(folder, plan, selection, console.error)
  const took = `${plan.rounds}, each ${plan.measuring} ms of CPU time on ${plan.connections} connections that never ` +
    `wait, and ${plan.measuring} ms at a rate`
  // a group has a page of its own
  const file = isGroup(options.cases) ? options.cases : name
  const picture = `![CPU time of a request, by case and server](${file}.svg)`
  return { [`${file}.md`]: page(title, about, facts(took), picture, results), [`${file}.svg`]: chart }
}

const suites: { readonly [name: string]: Suite | undefined } = {
  layers,
  failures,
  servers: served("servers", Servers),
  sessions: served("sessions", Sessions),
  "memory-store": memoryStore,
  "rate-limits": rateLimits
}
const names = positionals.length === 0 ? Object.keys(suites) : positionals
const unknown = names.find((name) => !Object.hasOwn(suites, name))
if (unknown !== undefined) throw new TypeError(`No suite "${unknown}": ${Object.keys(suites).join(", ")}`)
/** Half of it would look like all of it. */
const writes = !options.quick && (options.cases === undefined || isGroup(options.cases)) && options.only === undefined

const folder = snapshot()
try {
  for (const name of names) {
    for (const [file, content] of Object.entries(await suites[name]!(folder))) {
      if (file.endsWith(".md")) console.log(content)
      if (!writes) continue
      const path = Path.join(import.meta.dirname, "results", file)
      Fs.mkdirSync(Path.dirname(path), { recursive: true })
      Fs.writeFileSync(path, content)
      console.error(`Written to ${Path.relative(process.cwd(), path)}`)
    }
  }
} finally {
  Fs.rmSync(folder, { recursive: true })
}

function isGroup(cases: string | undefined): cases is string {
  return cases !== undefined && Object.hasOwn(Servers.groups, cases)
}

/** Where and when; what is known only afterwards is asked for then. */
function machine() {
  const load = () => Os.loadavg()[0]!.toFixed(1)
  const began = new Date()
  const before = load()
  const cpus = Os.cpus()
  return (rounds: string) =>
    [
      "| | |\n|---|---|",
      `| Date | ${began.toISOString().slice(0, 10)} |`,
      `| Node | ${process.version} |`,
      `| CPU | ${cpus[0]!.model.trim()}, ${cpus.length} cores, ${Os.platform()} ${Os.arch()} |`,
      `| Load average | ${before} before, ${load()} after |`,
      `| Rounds | ${rounds}; ${((Date.now() - began.getTime()) / 60_000).toFixed(1)} minutes in all |`
    ].join("\n")
}

function page(title: string, ...parts: ReadonlyArray<string>): string {
  return [`# ${title}`, ...parts].join("\n\n") + "\n"
}
