/** What layers cost where they are used: in a server, under load over sockets. */
import * as assert from "node:assert/strict"
import * as Path from "node:path"
import { ask } from "../servers/check.js"
import type { Measured } from "../servers/load.js"
import { load, open, type Server, withServers } from "../servers/processes.js"
import { table } from "../servers/report.js"
import { bytesOf } from "../servers/work.js"
import { median, spread } from "../statistics.js"
import { clientHeader, expected } from "./work.js"

export interface Plan {
  readonly counts: ReadonlyArray<number>
  readonly rounds: number
  /** Requests. */
  readonly start: number
  /** Milliseconds of the server's CPU time. */
  readonly measuring: number
}

/** A layer reads a request header, could refuse by it, and sets a response header, or looks at the status alone. */
const kinds = ["looks", "sets"] as const
export type Kind = typeof kinds[number]

const names = ["raw", "ours", "ours-platform"] as const
export type ServedName = typeof names[number]

const request = (client: string) => ({
  method: "GET",
  path: "/",
  headers: { host: "localhost", [clientHeader]: client }
})

const check = async (what: string, port: number, layers: number, kind: Kind): Promise<void> => {
  for (const client of ["somebody", "client-0", `client-${layers - 1}`]) {
    const { body, headers, status } = await ask(port, request(client))
    const wanted = expected(layers, client)
    assert.equal(status, wanted.status, `${what}, for ${client}`)
    assert.equal(body, wanted.body, `${what}, for ${client}`)
    const set = Object.keys(wanted.headers).filter((name) => name.startsWith("x-layer-"))
    const sent = Object.keys(headers).filter((name) => name.startsWith("x-layer-"))
    assert.deepEqual(sent.sort(), kind === "sets" ? set.sort() : [], `${what}, for ${client}`)
  }
}

type Results = ReadonlyMap<string, ReadonlyMap<number, ReadonlyArray<Measured>>>

/** One process for each number of layers, in turn, and every other time backwards. */
export const served = async (folder: string, plan: Plan, log: (line: string) => void): Promise<string> => {
  const { counts, measuring, rounds, start } = plan
  const script = Path.join(folder, "benchmarks", "layers", "serve.js")
  const keyOf = (name: ServedName, kind: Kind) => `${name}, ${kind}`
  const variants = names.flatMap((name) => kinds.map((kind) => ({ name, kind })))
  const results = new Map(variants.map(({ kind, name }) => [
    keyOf(name, kind),
    new Map(counts.map((count) => [count, new Array<Measured>()]))
  ]))
  const started = ({ name: layers, pid, port }: Server) => ({ layers: Number(layers), pid, port })

  for (let round = 0; round < rounds; round++) {
    for (const { kind, name } of round % 2 === 0 ? variants : [...variants].reverse()) {
      const order = (round % 2 === 0 ? counts : [...counts].reverse()).map(String)
      const start1 = (layers: string) => open(layers, process.execPath, [script, name, layers, kind])
      await withServers(order, start1, async (servers) => {
        for (const { layers, pid, port } of servers.map(started)) {
          const what = `${keyOf(name, kind)} × ${layers}`
          if (round === 0) await check(what, port, layers, kind)
          const measured = await load(folder, {
            port,
            pid,
            requests: [{ text: bytesOf(request("somebody")), status: 200 }],
            connections: 64,
            warmUp: start,
            patience: 60_000,
            measuring,
            pacing: 0,
            rate: 1
          })
          results.get(keyOf(name, kind))!.get(layers)!.push(measured)
          log(`round ${round + 1}/${rounds}  ${what}, served: ${measured.cpu.toFixed(1)} µs CPU`)
        }
      })
    }
  }
  return report(results, counts)
}

const report = (results: Results, counts: ReadonlyArray<number>): string => {
  const [fewest, most] = [counts[0]!, counts.at(-1)!]
  const rows = [...results].map(([key, byCount]) => {
    const cpu = (count: number) => byCount.get(count)!.map(({ cpu }) => cpu)
    const base = cpu(fewest)
    const { max, median: middle, min } = spread(cpu(most).map((value, round) => value / base[round]!))
    return [
      key,
      ...counts.map((count) => median(cpu(count)).toFixed(1)),
      `${middle.toFixed(2)} (${min.toFixed(2)}–${max.toFixed(2)})`
    ]
  })
  return [
    "## What layers cost a server",
    "Microseconds of CPU time a request over sockets, the kernel's share included: medians of the rounds, and of the ratios\n" +
    "within a round. A layer that *looks* reads a request header, could refuse by it, and looks at the status of the response;\n" +
    "one that *sets* sets a response header instead, which Node then writes. `raw` is a list of functions on `node:http`.",
    table(["", ...counts.map((count) => `${count}`), `${most} of ${fewest}`], rows)
  ].join("\n\n")
}
