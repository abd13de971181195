/**
 * A server whose failures are in its traces:
 * `node --conditions=effect-middleware --import=tsx docs/examples/opentelemetry/main.ts`.
 */
import { NodeSdk } from "@effect/opentelemetry"
import { HttpServer } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { ConsoleSpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base"
import { Config, Console, Layer } from "effect"
import * as NodeServer from "effect-middleware/NodeServer"
import { createServer } from "node:http"
import { reporter, server } from "./app.js"

const greeting = HttpServer.addressWith((address) => {
  const url = `http://127.0.0.1:${address._tag === "TcpAddress" ? address.port : 0}`
  return Console.log(`
Listening on ${url}; spans are printed here. Try:

  curl ${url}/stock/tea
  curl ${url}/report
`)
})

// in production: BatchSpanProcessor, and an OTLP exporter
const tracing = NodeSdk.layer(() => ({
  resource: { serviceName: "stock" },
  spanProcessor: new SimpleSpanProcessor(new ConsoleSpanExporter())
}))

const node = NodeServer.layerConfig(() => createServer(), {
  port: Config.integer("PORT").pipe(Config.withDefault(3000)),
  host: Config.string("HOST").pipe(Config.withDefault("127.0.0.1"))
})

NodeRuntime.runMain(
  Layer.launch(
    Layer.effectDiscard(greeting).pipe(Layer.provideMerge(server), Layer.provide([node, reporter, tracing]))
  )
)
