/**
 * Whether a server stays what it is under load: its memory, its latency and its CPU time, minute by minute.
 *
 *     npm run acceptance:soak -- --minutes 10 --only ours
 *
 * The application is the whole stack of `benchmarks/servers`, as `ours` or any other server there has it. 64 connections send
 * all that is asked of it: `GET /me`, 20 kB with gzip, preflights, refused tokens, and sessions that are written. A third of
 * each minute they never wait; for the rest requests fall due at half of what the first minute has shown that the server can
 * do, and a latency counts from then on. After a minute to warm up, it ends with code 1 if something does not hold:
 *
 * - The memory of the later half is at most a tenth above that of the earlier half.
 * - So is the CPU time of a request.
 * - p99 of the later half is at most a quarter above that of the earlier half, or a millisecond.
 */
import * as Fs from "node:fs"
import * as Path from "node:path"
import { parseArgs } from "node:util"
import { begin, check, expectedOf } from "../../benchmarks/servers/check.js"
import { contestants } from "../../benchmarks/servers/contestants.js"
import type { Measured, Sent } from "../../benchmarks/servers/load.js"
import { load, open, select } from "../../benchmarks/servers/processes.js"
import { bytesOf, cases, withCookie } from "../../benchmarks/servers/work.js"
import { snapshot } from "../../benchmarks/snapshot.js"
import { median } from "../../benchmarks/statistics.js"
import { printTable } from "./table.js"

const { values: options } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    only: { type: "string", default: "ours" },
    /** How long a minute is. */
    seconds: { type: "string", default: "60" }
  }
})
const [minutes, seconds] = [Number(options.minutes), Number(options.seconds)]
if (!(minutes >= 3)) throw new TypeError("--minutes takes a number from 3 on: one to warm up, and two to compare")
const [{ name }] = select("server", contestants, [options.only]) as [typeof contestants[number]]
const connections = 64

const folder = snapshot()
const script = Path.join(folder, "benchmarks", "servers", "serve.js")
const server = await open(name, process.execPath, [script, name, "whole"])
const { pid, port } = server
const measured: Array<Measured> = []
try {
  const asked = cases.filter(({ variant }) => variant === "whole")
  for (const one of asked) await check(name, one, port)
  const mixed: Array<Sent> = []
  for (let i = 0; i < connections; i++) {
    const one = asked[i % asked.length]!
    const sent = one.hasSession === true ? withCookie(one, await begin(name, one, port)) : one
    mixed.push({ text: bytesOf(sent), status: expectedOf(name, one).status })
  }
  let rate = 100
  for (let minute = 1; minute <= minutes; minute++) {
    // what the server is busy for a third of the time
    const one = await load(folder, {
      port,
      pid,
      requests: mixed,
      connections,
      warmUp: 0,
      patience: 0,
      measuring: seconds * 333,
      pacing: seconds * 667,
      rate
    })
    if (minute === 1) rate = Math.round(one.throughput / 2)
    measured.push(one)
    const { cpu, memory, paced, throughput } = one
    console.log(
      `minute ${minute}: ${memory.toFixed(0)} MB, ${throughput.toFixed(0)} requests/s, ${cpu.toFixed(0)} µs CPU, p99 ${
        paced?.p99.toFixed(1) ?? "–"
      } ms`
    )
  }
  console.log(`after the first minute at ${rate} requests/s\n`)
} finally {
  await server.stop()
  Fs.rmSync(folder, { recursive: true })
}

// --- what holds ------------------------------------------------------------------------------------------------------

const warm = measured.slice(1)
const middle = Math.floor(warm.length / 2)
const halves = [warm.slice(0, middle), warm.slice(middle)]
const lines = [
  { what: "memory, MB", figure: ({ memory }: Measured) => memory, most: (earlier: number) => earlier * 1.1 },
  { what: "CPU µs a request", figure: ({ cpu }: Measured) => cpu, most: (earlier: number) => earlier * 1.1 },
  {
    what: "p99, ms",
    figure: ({ paced }: Measured) => paced?.p99 ?? Infinity,
    most: (earlier: number) => Math.max(earlier * 1.25, earlier + 1)
  }
].map(({ figure, most, what }) => {
  const [earlier, later] = halves.map((half) => median(half.map(figure))) as [number, number]
  return { what, earlier, later, most: most(earlier) }
})
printTable([
  ["", "earlier half", "later half", "at most"],
  ...lines.map(({ earlier, later, most, what }) => [what, ...[earlier, later, most].map((value) => value.toFixed(1))])
])
if (lines.some(({ later, most }) => !(later <= most))) {
  console.error("It does not stay what it is")
  process.exitCode = 1
}
