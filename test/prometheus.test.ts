/**
 * The metrics example: what it serves is in the text format of Prometheus, as a reader of its own understands it.
 */
import { HttpServer } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, FastCheck, Layer, Metric, MetricBoundaries } from "effect"
import { server } from "../docs/examples/metrics/app.js"
import * as Prometheus from "../docs/examples/metrics/prometheus.js"
import { nodeServer, request } from "./utils/TestApp.js"

interface Sample {
  readonly name: string
  readonly labels: { readonly [name: string]: string }
  readonly value: number
}
interface Family {
  readonly name: string
  readonly type: string
  readonly help: string
  readonly samples: ReadonlyArray<Sample>
}

/** Reads the format line by line, and throws on whatever is not in it. */
const parse = (text: string): ReadonlyArray<Family> => {
  assert.match(text, /(?:^|\n)$/, "the last line ends")
  const families: Array<Family & { readonly samples: Array<Sample> }> = []
  const lines = text.split("\n").slice(0, -1)
  for (let i = 0; i < lines.length; i++) {
    const help = /^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) ((?:[^\\]|\\[\\n])*)$/.exec(lines[i]!)
    if (help !== null) {
      const type = /^# TYPE (\S+) (counter|gauge|histogram|summary)$/.exec(lines[++i] ?? "")
      assert.strictEqual(type?.[1], help[1], lines[i])
      assert.isFalse(families.some(({ name }) => name === help[1]), `${help[1]} is there twice`)
      families.push({ name: help[1]!, type: type![2]!, help: unescape(help[2]!), samples: [] })
      continue
    }
    const sample =
      /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\["\\n])*",?)*)\})? (NaN|[+-]Inf|[-+0-9.e]+)$/
        .exec(lines[i]!)
    assert.isNotNull(sample, lines[i])
    const [, name, labels = "", value] = sample!
    const family = families.at(-1)
    assert.isDefined(family)
    const suffixes = { histogram: ["_bucket", "_sum", "_count"], summary: ["", "_sum", "_count"] }[family!.type] ?? [""]
    assert.include(suffixes.map((suffix) => family!.name + suffix), name, "under its family")
    const pairs = [...labels.matchAll(/([a-zA-Z0-9_]+)="((?:[^"\\]|\\["\\n])*)"/g)]
      .map(([, name, value]) => [name!, unescape(value!)] as const)
    assert.strictEqual(new Set(pairs.map(([name]) => name)).size, pairs.length, "each label once")
    family!.samples.push({
      name: name!,
      labels: Object.fromEntries(pairs),
      value: Number(value!.replace("Inf", "Infinity"))
    })
  }
  for (const { name, samples, type } of families) {
    const texts = samples.map(({ labels, name }) => JSON.stringify([name, Object.entries(labels).sort()]))
    assert.strictEqual(new Set(texts).size, texts.length, `a series of ${name} is there twice`)
    if (type === "histogram") checkHistogram(name, samples)
    if (type === "counter") assert.match(name, /_total$/)
  }
  return families
}

const unescape = (text: string) => text.replace(/\\([\\"n])/g, (_, c) => c === "n" ? "\n" : c)

/** Buckets grow with their bound, and the last has all. */
const checkHistogram = (name: string, samples: ReadonlyArray<Sample>) => {
  const groups = new Map<string, ReadonlyArray<Sample>>()
  for (const sample of samples) {
    const { le: _, ...labels } = sample.labels
    const key = JSON.stringify(labels)
    groups.set(key, [...groups.get(key) ?? [], sample])
  }
  for (const group of groups.values()) {
    const buckets = group.filter((sample) => sample.name === `${name}_bucket`)
    const bounds = buckets.map(({ labels }) => Number(labels.le!.replace("Inf", "Infinity")))
    assert.deepStrictEqual(bounds, [...bounds].sort((a, b) => a - b))
    assert.strictEqual(bounds.at(-1), Infinity)
    const counts = buckets.map(({ value }) => value)
    assert.deepStrictEqual(counts, [...counts].sort((a, b) => a - b))
    assert.strictEqual(group.find((sample) => sample.name === `${name}_count`)?.value, counts.at(-1))
    assert.isDefined(group.find((sample) => sample.name === `${name}_sum`))
  }
}

describe("the metrics example", () => {
  const start = Effect.map(Layer.build(Layer.provideMerge(server, nodeServer)), (context) => {
    const { address } = Context.get(context, HttpServer.HttpServer)
    return address._tag === "TcpAddress" ? address.port : 0
  })

  it.scoped("serves what its stack and its handlers have measured", () =>
    Effect.gen(function*() {
      const port = yield* start
      for (const path of ["/dice/6", "/dice/20", "/broken", "/nothing/at/all"]) yield* request(port, { path })
      yield* request(port, { path: "/dice/6", headers: { host: "evil.test" } })
      yield* request(port, { path: "/metrics" })
      const { body, headers, status } = yield* request(port, { path: "/metrics" })
      assert.strictEqual(status, 200)
      assert.strictEqual(headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
      const families = new Map(parse(body).map((family) => [family.name, family]))
      const samples = (family: string, suffix = "") =>
        (families.get(family)?.samples ?? []).filter(({ name }) => name === family + suffix)
          .map(({ labels, value }) => [labels, value] as const)

      const common = { http_request_method: "GET", url_scheme: "http", network_protocol_version: "1.1" }
      assert.sameDeepMembers(samples("http_server_request_duration_seconds", "_count"), [
        [{ ...common, http_response_status_code: "200", http_route: "/dice/:sides" }, 2],
        [{ ...common, http_response_status_code: "500", http_route: "/broken", error_type: "500" }, 1],
        [{ ...common, http_response_status_code: "404" }, 1],
        [{ ...common, http_response_status_code: "400" }, 1]
      ])
      assert.strictEqual(families.get("http_server_request_duration_seconds")?.type, "histogram")
      assert.strictEqual(families.get("http_server_response_body_size_bytes")?.type, "histogram")
      assert.strictEqual(families.get("http_server_active_requests")?.type, "gauge")
      assert.deepStrictEqual(samples("http_server_active_requests"), [
        [{ http_request_method: "GET", url_scheme: "http" }, 0]
      ])
      assert.deepStrictEqual(samples("http_server_refusals_total"), [
        [{ middleware: "TrustedHost", error_type: "UntrustedHost" }, 1]
      ])
      assert.deepStrictEqual(samples("dice_rolls_total"), [[{}, 2]])
      assert.notInclude(body, "evil.test")
      assert.notInclude(body, "/metrics")
      assert.notInclude(body, "nothing")
    }))
})

describe("render", () => {
  let count = 0
  const show = (name: string) =>
    Prometheus.render(Metric.unsafeSnapshot().filter(({ metricKey }) => metricKey.name === name))
  /** A name that no other test has. */
  const fresh = () => `test.metric.${count++}`

  it("a counter, a gauge, and a counter that goes down", () => {
    const [up, down, level, whole] = [fresh(), fresh(), fresh(), fresh()]
    Metric.counter(up, { description: "Up.", incremental: true }).unsafeUpdate(2, [])
    Metric.counter(down).unsafeUpdate(-1, [])
    Metric.gauge(level).unsafeUpdate(1.5e300, [])
    Metric.counter(whole, { bigint: true, incremental: true }).unsafeUpdate(2n ** 64n, [])
    assert.strictEqual(
      show(up),
      "# HELP test_metric_0_total Up.\n# TYPE test_metric_0_total counter\ntest_metric_0_total 2\n"
    )
    assert.strictEqual(show(down), "# HELP test_metric_1 \n# TYPE test_metric_1 gauge\ntest_metric_1 -1\n")
    assert.strictEqual(parse(show(level))[0]?.samples[0]?.value, 1.5e300)
    assert.match(show(whole), /_total 18446744073709551616\n$/)
  })

  it("a histogram, with a unit", () => {
    const name = fresh()
    const metric = Metric.histogram(name, MetricBoundaries.fromIterable([0.1, 1]), "Took.").pipe(
      Metric.tagged("unit", "s")
    )
    for (const value of [0.1, 0.5, 7]) metric.unsafeUpdate(value, [])
    assert.strictEqual(
      show(name),
      `# HELP test_metric_4_seconds Took.
# TYPE test_metric_4_seconds histogram
test_metric_4_seconds_bucket{le="0.1"} 1
test_metric_4_seconds_bucket{le="1"} 2
test_metric_4_seconds_bucket{le="+Inf"} 3
test_metric_4_seconds_sum 7.6
test_metric_4_seconds_count 3
`
    )
  })

  it("a summary and a frequency", () => {
    const [summary, frequency] = [fresh(), fresh()]
    const options = { name: summary, maxAge: "1 day", maxSize: 10, error: 0, quantiles: [0.5] } as const
    const [family] = (Metric.summaryTimestamp(options).unsafeUpdate([3, 0], []), parse(show(summary)))
    assert.deepStrictEqual(family?.samples.map(({ labels, name }) => [name, labels]), [
      ["test_metric_5", { quantile: "0.5" }],
      ["test_metric_5_sum", {}],
      ["test_metric_5_count", {}]
    ])
    const words = Metric.frequency(frequency)
    for (const word of ["a", "b", "a"]) words.unsafeUpdate(word, [])
    assert.deepStrictEqual(parse(show(frequency))[0]?.samples.map(({ labels, value }) => [labels.key, value]), [
      ["a", 2],
      ["b", 1]
    ])
  })

  it("numbers that are none", () => {
    const names = [Infinity, -Infinity, Number.NaN].map((value) => {
      const name = fresh()
      Metric.gauge(name).unsafeUpdate(value, [])
      return show(name).split(" ").at(-1)
    })
    assert.deepStrictEqual(names, ["+Inf\n", "-Inf\n", "NaN\n"])
  })

  it.prop(
    "what stands in labels and descriptions comes back",
    [
      FastCheck.fullUnicodeString(),
      FastCheck.stringOf(FastCheck.constantFrom("\\", "\"", "\n", "n", "{", "}", ",", "=", " "))
    ],
    ([text, nasty]) => {
      for (const value of [text.replaceAll("\r", ""), nasty]) {
        const name = fresh()
        Metric.gauge(name, { description: value }).pipe(Metric.tagged("a.label", value)).unsafeUpdate(1, [])
        const [family] = parse(show(name))
        assert.strictEqual(family?.help, value)
        assert.deepStrictEqual(family?.samples, [{
          name: name.replaceAll(".", "_"),
          labels: { a_label: value },
          value: 1
        }])
      }
    }
  )

  it.prop(
    "any name becomes one",
    [FastCheck.string({ minLength: 1 }), FastCheck.string({ minLength: 1 })],
    ([a, b]) => {
      const name = a + fresh()
      Metric.gauge(name).pipe(Metric.tagged(b, "1")).unsafeUpdate(1, [])
      parse(show(name))
    }
  )
})
