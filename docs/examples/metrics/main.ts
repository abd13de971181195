/**
 * A server that Prometheus can scrape:
 * `node --conditions=effect-middleware --import=tsx docs/examples/metrics/main.ts`.
 */
import { HttpServer } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Layer } from "effect"
import * as NodeServer from "effect-middleware/NodeServer"
import { createServer } from "node:http"
import { server } from "./app.js"

const greeting = HttpServer.addressWith((address) => {
  const url = `http://127.0.0.1:${address._tag === "TcpAddress" ? address.port : 0}`
  return Console.log(`
Listening on ${url}. Try:

  curl ${url}/dice/6
  curl ${url}/slow
  curl -i ${url}/broken
  curl -i ${url}/dice/6 -H 'host: evil.test'
  curl ${url}/metrics
`)
})

const node = NodeServer.layerConfig(() => createServer(), {
  port: Config.integer("PORT").pipe(Config.withDefault(3000)),
  host: Config.string("HOST").pipe(Config.withDefault("127.0.0.1"))
})

NodeRuntime.runMain(Layer.launch(Layer.effectDiscard(greeting).pipe(Layer.provideMerge(server), Layer.provide(node))))
