/** What the rounds say: tables in Markdown, and a chart. */
import { median, type Spread, spread } from "../statistics.js"
import type { Latency, Measured } from "./load.js"
import type { Rates, Results } from "./processes.js"
import type { Commands } from "./redis.js"

interface Case {
  readonly name: string
  readonly is: string
  readonly method: string
  readonly path: string
  readonly expected: { readonly status: number }
  readonly weight?: number
}

type Figure = (measured: Measured) => number

const cpu: Figure = (measured) => measured.cpu
const throughput: Figure = (measured) => measured.throughput

/** The dearest last. */
const sorted = (servers: ReadonlyMap<string, ReadonlyArray<Measured>>, figure: Figure) =>
  [...servers].map(([name, rounds]) => ({ name, rounds, spread: spread(rounds.map(figure)) }))
    .sort((a, b) => a.spread.median - b.spread.median)

const decimals = (value: number) => Number.isNaN(value) ? "–" : value.toFixed(value < 1 ? 2 : value < 10 ? 1 : 0)
const range = ({ max, median, min }: Spread) => `${decimals(median)} (${decimals(min)}–${decimals(max)})`

export const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>) =>
  [head, head.map((_, i) => (i === 0 ? "---" : "--:")), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n")

/** What one request of a case sends to Redis. */
export interface Count extends Commands {
  readonly one: string
  readonly name: string
}

export const countTable = (counts: ReadonlyArray<Count>): ReadonlyArray<string> => {
  if (counts.length === 0) return []
  return [
    "## What reaches Redis",
    "For one request: how often Redis has read something, and the commands that it has run (`INFO commandstats`), those that a\n" +
    "script calls included. Over many requests, one after the other.",
    table(
      ["", "server", "round trips", "commands"],
      counts.map(({ calls, name, one, roundTrips }) => [
        one,
        name,
        `${roundTrips}`,
        Object.entries(calls).map(([name, count]) => count === 1 ? name : `${count} ${name}`).join(", ") || "none"
      ])
    )
  ]
}

export const tables = (asked: ReadonlyArray<Case>, results: Results, rates: Rates): string => {
  const names = [...new Set(asked.flatMap(({ name }) => [...results.get(name)!.keys()]))]
  const middle = (name: string, server: string) => decimals(median(results.get(name)!.get(server)?.map(cpu) ?? [NaN]))
  return [
    "## CPU time of a request",
    "Microseconds of the server's process, the kernel's share included: medians of the rounds.",
    table(
      ["", ...asked.map(({ name }) => name)],
      names.map((server) => [server, ...asked.map(({ name }) => middle(name, server))])
    ),
    ...asked.flatMap((one) => [
      `## ${one.name}`,
      `\`${one.method} ${one.path}\`, ${one.expected.status}: ${one.is}.`,
      caseTable(results.get(one.name)!, rates.get(one.name)!)
    ])
  ].join("\n\n")
}

/** Below this, it was not the server that could do no more. */
const saturated = 0.95

type Rounds = ReadonlyMap<string, ReadonlyArray<Measured>>

/** Of the ratios within a round. */
const ratio = (servers: Rounds, rounds: ReadonlyArray<Measured>, of: string, figure: Figure): string => {
  const others = servers.get(of)
  return others === undefined ? "–" : median(rounds.map((one, i) => figure(one) / figure(others[i]!))).toFixed(2)
}

const caseTable = (servers: Rounds, rate: number): string => {
  // a suite without them has no such columns
  const compared = ["raw", "fastify"].filter((name) => servers.has(name))
  const ratios = (rounds: ReadonlyArray<Measured>, figure: Figure) =>
    compared.map((name) => ratio(servers, rounds, name, figure))
  const latency = (rounds: ReadonlyArray<Measured>, of: (measured: Measured) => Latency | undefined) => {
    const known = rounds.flatMap((one) => of(one) ?? [])
    // most rounds have to say something
    if (known.length * 2 <= rounds.length) return "too many"
    return (["p50", "p99"] as const).map((p) => decimals(median(known.map((one) => one[p])))).join(" / ")
  }
  const ofThem = compared.map((name) => `of ${name}`)
  return table(
    [
      "",
      "CPU µs",
      ...ofThem,
      "user + system",
      "requests/s",
      ...ofThem,
      "p50 / p99 ms",
      `p50 / p99 ms at ${rate}/s`,
      "bytes",
      "MB"
    ],
    sorted(servers, cpu).map(({ name, rounds, spread: cpus }) => [
      name,
      range(cpus),
      ...ratios(rounds, cpu),
      [median(rounds.map(({ cpu, system }) => cpu - system)), median(rounds.map(({ system }) => system))]
        .map(decimals).join(" + "),
      (median(rounds.map(({ busy }) => busy)) < saturated ? "≥ " : "") + range(spread(rounds.map(throughput))),
      ...ratios(rounds, throughput),
      latency(rounds, ({ saturated }) => saturated),
      latency(rounds, ({ paced }) => paced),
      decimals(median(rounds.map(({ bytes }) => bytes))),
      decimals(median(rounds.map(({ memory }) => memory)))
    ])
  )
}

/** A server beside the bare one and beside Fastify, case by case. */
export const summary = (
  name: string,
  asked: ReadonlyArray<Case>,
  results: Results,
  rates: Rates
): ReadonlyArray<string> => {
  const rows = asked.flatMap((one) => {
    const servers: Rounds = results.get(one.name)!
    const rounds = servers.get(name)
    if (rounds === undefined) return []
    const p99 = (rounds: ReadonlyArray<Measured> | undefined) =>
      decimals(median(rounds?.flatMap(({ paced }) => paced?.p99 ?? []) ?? [NaN]))
    return [[
      one.name,
      decimals(median(rounds.map(throughput))),
      ratio(servers, rounds, "raw", throughput),
      ratio(servers, rounds, "fastify", throughput),
      decimals(median(rounds.map(cpu))),
      ratio(servers, rounds, "raw", cpu),
      ratio(servers, rounds, "fastify", cpu),
      `${rates.get(one.name)!}`,
      p99(rounds),
      p99(servers.get("fastify"))
    ]]
  })
  if (rows.length === 0) return []
  return [
    `## ${name}, beside raw and Fastify`,
    "Medians of the rounds, and of the ratios within a round. More requests are better, less CPU time is.",
    table(
      [
        "",
        "requests/s",
        "of raw",
        "of fastify",
        "CPU µs",
        "of raw",
        "of fastify",
        "at/s",
        "p99 ms",
        "fastify's p99 ms"
      ],
      rows
    )
  ]
}

const style = `
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600 }
  .figure { fill: #59636e }
  rect { fill: #afb8c1 }
  .ours { fill: #1f6feb }
  line { stroke: #59636e }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .figure { fill: #9198a1 }
    rect { fill: #4b535d }
    .ours { fill: #4493f8 }
    line { stroke: #9198a1 }
  }
`

/** A panel a case, two beside each other, a bar a server; the line is from the least to the most of the rounds. */
export const chart = (asked: ReadonlyArray<Case>, results: Results): string => {
  const [column, row, label, figure, gap] = [440, 22, 78, 50, 34]
  const servers = Math.max(...asked.map(({ name }) => results.get(name)!.size))
  const panel = (servers + 1) * row + gap
  const panels = asked.map(({ is, name }, i) => {
    const bars = sorted(results.get(name)!, cpu)
    const widest = Math.max(...bars.map(({ spread: { max } }) => max))
    const scale = (value: number) => Math.round(value / widest * (column - label - figure - 20))
    const at = [i % 2 * column, Math.floor(i / 2) * panel + gap]
    return [
      `<g transform="translate(${at.join(" ")})">`,
      `<text class="title" y="0">${name}</text><text class="figure" x="${label}" y="0">${is}</text>`,
      ...bars.map(({ name, spread: { max, median, min } }, i) => {
        const y = 10 + i * row
        return [
          `<text x="${label - 8}" y="${y + 13}" text-anchor="end">${name}</text>`,
          `<rect${name.startsWith("ours") ? ` class="ours"` : ""} x="${label}" y="${y}" width="${
            scale(median)
          }" height="16"/>`,
          `<line x1="${label + scale(min)}" x2="${label + scale(max)}" y1="${y + 8}" y2="${y + 8}"/>`,
          `<text class="figure" x="${label + scale(max) + 6}" y="${y + 13}">${decimals(median)}</text>`
        ].join("")
      }),
      "</g>"
    ].join("\n")
  })
  const [width, height] = [Math.min(asked.length, 2) * column, Math.ceil(asked.length / 2) * panel + gap]
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="-8 -8 ${width + 8} ${height}" width="${width}" role="img">`,
    "<title>Microseconds of CPU time a request, by case and server: shorter is better</title>",
    `<style>${style}</style>`,
    `<text class="title" y="8">µs of CPU time a request; shorter is better</text>`,
    ...panels,
    "</svg>",
    ""
  ].join("\n")
}
