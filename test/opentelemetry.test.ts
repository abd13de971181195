/**
 * The OpenTelemetry example: what its own SDK makes of failures.
 */
import { NodeSdk } from "@effect/opentelemetry"
import { assert, it } from "@effect/vitest"
import { InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base"
import { Effect, Layer, Logger } from "effect"
import { reporter, server } from "../docs/examples/opentelemetry/app.js"
import { answered } from "./utils/laws.js"
import { listen, request } from "./utils/TestApp.js"

/** `SpanStatusCode.ERROR` */
const error = 2

/** The spans of one request, innermost first. */
const spansOf = (path: string, until: number) => {
  const exporter = new InMemorySpanExporter()
  return Effect.gen(function*() {
    const port = yield* listen(server)
    yield* Effect.fork(request(port, { path }))
    yield* answered(Effect.repeat(Effect.yieldNow(), { until: () => exporter.getFinishedSpans().length === until }))
    return exporter.getFinishedSpans().map(({ attributes, events, name, status }) => ({
      name,
      failed: status.code === error,
      status: attributes["http.response.status_code"],
      // what is logged is an event, too
      exceptions: events.filter(({ name }) => name === "exception")
        .map(({ attributes }) => [attributes?.["exception.type"], attributes?.["exception.message"]])
    }))
  }).pipe(
    Effect.provide(Layer.mergeAll(
      reporter,
      NodeSdk.layer(() => ({ resource: { serviceName: "test" }, spanProcessor: new SimpleSpanProcessor(exporter) })),
      Logger.remove(Logger.defaultLogger)
    ))
  )
}

it.scopedLive("a request that fails ends its span as failed, with the exception once", () =>
  Effect.gen(function*() {
    const exceptions = [["StockUnknown", "An error has occurred"]]
    assert.deepStrictEqual(yield* spansOf("/stock/tea", 2), [
      { name: "stock.lookup", failed: true, status: undefined, exceptions },
      { name: "http.server GET", failed: true, status: 500, exceptions }
    ])
  }))

it.scopedLive("a body that fails is an exception of the span, too", () =>
  Effect.gen(function*() {
    const [span, ...others] = yield* spansOf("/report", 1)
    assert.deepStrictEqual([span!.name, span!.failed, others], ["http.server GET", true, []])
    assert.include(span!.exceptions.map(([type]) => type), "StockUnknown")
  }))

it.scopedLive("what knows its answer fails no span", () =>
  Effect.gen(function*() {
    assert.deepStrictEqual(yield* spansOf("/nothing", 1), [
      { name: "http.server GET", failed: false, status: 404, exceptions: [] }
    ])
  }))
