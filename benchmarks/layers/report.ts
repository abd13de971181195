/** What the rounds say, as a page of Markdown. */
import { median, type Spread, spread } from "../statistics.js"
import type { Measured } from "./measure.js"
import { type Contestant, contestants } from "./variants.js"

/** One number a round, in the order of the rounds. */
export type Results = ReadonlyMap<string, ReadonlyArray<Measured>>

export const keyOf = ({ group, name }: Contestant, layers: number) =>
  layers === 0 ? `${group} without layers` : `${name} × ${layers}`

const clocks = ["wall", "cpu"] as const
type Clock = typeof clocks[number]

const decimals = (value: number) => (Math.abs(value) < 10 ? value.toFixed(2) : value.toFixed(1))
const range = ({ max, median, min }: Spread) => `${decimals(median)} (${decimals(min)}–${decimals(max)})`

const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>) =>
  [head, head.map((_, i) => (i === 0 ? "---" : "--:")), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n")

export const report = (
  results: Results,
  counts: ReadonlyArray<number>,
  more: ReadonlyArray<number>
): string => {
  const values = (contestant: Contestant, layers: number, clock: Clock) =>
    results.get(keyOf(contestant, layers))!.map((measured) => measured[clock])

  /** Over the contestant's own baseline, round by round. */
  const added = (contestant: Contestant, layers: number, clock: Clock) => {
    const base = values(contestant, 0, clock)
    return values(contestant, layers, clock).map((value, round) => value - base[round]!)
  }

  const [compiled] = contestants
  const ratio = (contestant: Contestant, layers: number, clock: Clock) => {
    if (contestant === compiled) return "1"
    const ours = added(compiled, layers, clock)
    const theirs = added(contestant, layers, clock)
    // what adds nothing that can be measured has no ratio to anything
    if (ours.concat(theirs).some((value) => value <= 0)) return "–"
    const ratios = spread(theirs.map((value, round) => value / ours[round]!))
    return range({ ...ratios, median: median(theirs) / median(ours) })
  }

  const layered = counts.filter((count) => count > 0)
  const [fewest, most] = [layered[0]!, layered.at(-1)!]
  const baselines = contestants.filter(({ group }, i) => contestants.findIndex((other) => other.group === group) === i)

  const perLayer = contestants.map((contestant) => [
    contestant.name,
    ...clocks.flatMap((clock) => {
      const further = median(values(contestant, most, clock)) - median(values(contestant, fewest, clock))
      return [decimals(median(added(contestant, fewest, clock))), (further / (most - fewest)).toFixed(3)]
    })
  ])

  const perRequest = layered.flatMap((layers) =>
    contestants.map((contestant) => [
      contestant.name,
      `${layers}`,
      ...clocks.flatMap((clock) => [
        range(spread(added(contestant, layers, clock))),
        (median(added(contestant, layers, clock)) / layers).toFixed(3),
        ratio(contestant, layers, clock)
      ])
    ])
  )

  /** Of the compiled stack, whose numbers of layers are all there. */
  const all = [...layered, ...more].sort((a, b) => a - b)
  const flat = clocks.map((clock) => {
    const base = values(compiled, fewest, clock)
    const of = (layers: number) => spread(values(compiled, layers, clock).map((value, round) => value / base[round]!))
    return [
      clock === "wall" ? "wall" : "CPU",
      ...all.map((layers) => decimals(median(values(compiled, layers, clock)))),
      range(of(most))
    ]
  })

  const absolute = [
    ...baselines.map((contestant) => [contestant, 0] as const),
    ...layered.flatMap((layers) => contestants.map((contestant) => [contestant, layers] as const))
  ].map(([contestant, layers]) => [
    keyOf(contestant, layers),
    ...clocks.map((clock) => range(spread(values(contestant, layers, clock))))
  ])

  return [
    "## What a layer costs",
    `Microseconds. The first is what ${fewest} adds to a server without any; each further one is the slope from ${fewest} to ${most}.`,
    table(["", "first, wall", "each further, wall", "first, CPU", "each further, CPU"], perLayer),
    "## What a request through a stack costs",
    "Microseconds of the compiled stack, by the number of its layers; the ratio is of a round.",
    table(["", ...all.map((layers) => `${layers}`), `${most} of ${fewest}`], flat),
    "## What layers add to a request",
    "Microseconds over the contestant's own server without layers, measured in the same round: median (min–max of the rounds).",
    table(
      ["", "layers", "added, wall", "a layer", "ratio", "added, CPU", "a layer", "ratio"],
      perRequest
    ),
    "## What a request costs",
    "Microseconds: median (min–max of the rounds). These are not servers of one kind: compare what is added.",
    table(["", "wall", "CPU"], absolute)
  ].join("\n\n")
}
