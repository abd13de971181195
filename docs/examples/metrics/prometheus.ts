/**
 * Effect's metrics in the text format of Prometheus, version 0.0.4.
 */
import { type MetricKey, MetricKeyType, type MetricPair, MetricState, Option } from "effect"

export const contentType = "text/plain; version=0.0.4; charset=utf-8"

type Labels = ReadonlyMap<string, string>

/** What Effect keeps under the labels `unit` and `time_unit` stands at the end of the name here. */
const suffixes: ReadonlyMap<string, string> = new Map([
  ["s", "_seconds"],
  ["seconds", "_seconds"],
  ["ms", "_milliseconds"],
  ["milliseconds", "_milliseconds"],
  ["By", "_bytes"]
])

export const render = (pairs: ReadonlyArray<MetricPair.MetricPair.Untyped>): string => {
  // the lines of one name stand together, under one HELP and one TYPE
  const families = new Map<string, Array<string>>()
  for (const { metricKey, metricState } of pairs) {
    const labels = labelsOf(metricKey)
    const type = typeOf(metricKey)
    const name = nameOf(metricKey, type)
    let lines = families.get(name)
    if (lines === undefined) {
      const help = Option.getOrElse(metricKey.description, () => "").replace(/\\/g, "\\\\").replace(/\n/g, "\\n")
      families.set(name, lines = [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`])
    }
    for (const [suffix, extra, value] of samplesOf(metricState)) {
      lines.push(`${name}${suffix}${show(new Map([...labels, ...extra]))} ${number(value)}`)
    }
  }
  return [...families.values()].map((lines) => `${lines.join("\n")}\n`).join("")
}

const typeOf = ({ keyType }: MetricKey.MetricKey.Untyped): string => {
  if (MetricKeyType.isHistogramKey(keyType)) return "histogram"
  if (MetricKeyType.isSummaryKey(keyType)) return "summary"
  if (MetricKeyType.isFrequencyKey(keyType)) return "counter"
  // one that also goes down is a gauge here
  return MetricKeyType.isCounterKey(keyType) && keyType.incremental ? "counter" : "gauge"
}

const nameOf = ({ name, tags }: MetricKey.MetricKey.Untyped, type: string): string => {
  const unit = tags.find(({ key }) => isUnit(key))?.value ?? ""
  const endings = [suffixes.get(unit) ?? "", type === "counter" ? "_total" : ""]
  return endings.reduce(
    (name, ending) => name.endsWith(ending) ? name : name + ending,
    name.replace(/[^a-zA-Z0-9_:]/g, "_").replace(/^(?=[0-9])/, "_")
  )
}

const isUnit = (label: string) => label === "unit" || label === "time_unit"

const labelsOf = ({ tags }: MetricKey.MetricKey.Untyped): Labels =>
  new Map(
    tags.filter(({ key }) => !isUnit(key)).map(({ key, value }) => [
      key.replace(/[^a-zA-Z0-9_]/g, "_").replace(/^(?=[0-9])/, "_"),
      value
    ])
  )

type Sample = readonly [suffix: string, extra: Labels, value: number | bigint]
const none: Labels = new Map()

const samplesOf = (state: MetricState.MetricState.Untyped): ReadonlyArray<Sample> => {
  if (MetricState.isCounterState(state)) return [["", none, state.count]]
  if (MetricState.isGaugeState(state)) return [["", none, state.value]]
  if (MetricState.isFrequencyState(state)) {
    return [...state.occurrences].map(([key, count]) => ["", new Map([["key", key]]), count])
  }
  if (MetricState.isHistogramState(state)) {
    const bucket = (bound: number, count: number): Sample => ["_bucket", new Map([["le", number(bound)]]), count]
    const finite = state.buckets.filter(([bound]) => bound < Infinity)
    return [...finite.map(([bound, count]) => bucket(bound, count)), bucket(Infinity, state.count), ...totals(state)]
  }
  if (!MetricState.isSummaryState(state)) return []
  const quantiles = state.quantiles.map(([quantile, value]): Sample => [
    "",
    new Map([["quantile", number(quantile)]]),
    Option.getOrElse(value, () => Number.NaN)
  ])
  return [...quantiles, ...totals(state)]
}

const totals = ({ count, sum }: { readonly count: number; readonly sum: number }): ReadonlyArray<Sample> => [
  ["_sum", none, sum],
  ["_count", none, count]
]

const show = (labels: Labels): string => {
  const escape = (value: string) => value.replace(/["\\]/g, "\\$&").replace(/\n/g, "\\n")
  return labels.size === 0 ? "" : `{${[...labels].map(([name, value]) => `${name}="${escape(value)}"`).join(",")}}`
}

const number = (value: number | bigint): string => String(value).replace("Infinity", "Inf").replace(/^Inf/, "+Inf")
