/** What the rounds say: tables in Markdown, and a chart. */
import { median, type Spread, spread } from "../statistics.js"
import type { Latency, Measured } from "./load.js"
import type { Results } from "./processes.js"

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

export const tables = (asked: ReadonlyArray<Case>, results: Results, rate: number): string => {
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
      caseTable(results.get(one.name)!, rate / (one.weight ?? 1))
    ])
  ].join("\n\n")
}

/** Below this, it was not the server that could do no more. */
const saturated = 0.95

const caseTable = (servers: ReadonlyMap<string, ReadonlyArray<Measured>>, rate: number): string => {
  const ofRaw = (rounds: ReadonlyArray<Measured>, figure: Figure) => {
    const raw = servers.get("raw")
    return raw === undefined ? "–" : median(rounds.map((one, i) => figure(one) / figure(raw[i]!))).toFixed(2)
  }
  const latency = (rounds: ReadonlyArray<Measured>, of: (measured: Measured) => Latency) =>
    (["p50", "p99"] as const).map((p) => decimals(median(rounds.map((one) => of(one)[p])))).join(" / ")
  return table(
    ["", "CPU µs", "of raw", "requests/s", "of raw", "p50 / p99 ms", `p50 / p99 ms at ${rate}/s`, "bytes", "MB"],
    sorted(servers, cpu).map(({ name, rounds, spread: cpus }) => [
      name,
      range(cpus),
      ofRaw(rounds, cpu),
      (median(rounds.map(({ busy }) => busy)) < saturated ? "≥ " : "") + range(spread(rounds.map(throughput))),
      ofRaw(rounds, throughput),
      latency(rounds, ({ saturated }) => saturated),
      latency(rounds, ({ paced }) => paced),
      decimals(median(rounds.map(({ bytes }) => bytes))),
      decimals(median(rounds.map(({ memory }) => memory)))
    ])
  )
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
          `<rect${name === "ours" ? ` class="ours"` : ""} x="${label}" y="${y}" width="${scale(median)}" height="16"/>`,
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
