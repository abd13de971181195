/**
 * A notes API behind a stack: `npm start`.
 */
import { HttpServer } from "@effect/platform"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Config, Console, Effect, Layer, Option } from "effect"
import { DebugPage, SessionStore, Stack } from "effect-middleware"
import * as NodeRedis from "effect-middleware/Redis/NodeRedis"
import { createServer } from "node:http"
import { server, stack } from "./app.js"
import { Notes } from "./Notes.js"

const greeting = HttpServer.addressWith((address) => {
  const port = address._tag === "TcpAddress" ? address.port : 0
  const url = `http://127.0.0.1:${port}`
  return Console.log(`
${Stack.describe(stack)}

Listening on ${url}. Try:

  curl -i ${url}/notes -H 'content-type: application/json' -d '{"text":"milk"}'
  curl -i ${url}/notes/1
  curl -i ${url}/notes/99
  curl -i ${url}/notes/99 -H 'accept: text/plain'
  curl -i '${url}/notes?limit=many'
  curl -i ${url}/notes -X PUT
  curl -i ${url}/notes -H 'content-type: text/plain' -d milk
  curl -iN ${url}/notes/stream
  curl -i ${url}/notes -H 'host: evil.test'
  curl -i ${url}/notes/1 -X OPTIONS -H 'origin: http://localhost:5173' -H 'access-control-request-method: DELETE'

A visitor's session, in memory or at REDIS_URL. With another jar you are at another browser:

  json='content-type: application/json'
  curl -i -b jar -c jar ${url}/cart -H "$json" -d '{"item":"tea"}'
  curl -i -b jar -c jar ${url}/login -H "$json" -d '{"name":"ada"}'
  curl -i -b jar -c jar ${url}/cart
  curl -i -b jar -c jar ${url}/sessions
  curl -i -b jar -c jar ${url}/sessions/ID -X DELETE
  curl -i -b jar -c jar ${url}/logout -H "$json" -d '{}'
  curl -i -b jar -c jar ${url}/logout-everywhere -H "$json" -d '{}'

What goes wrong: ${url}/broken/ followed by defect, failure, both, unavailable, half or unsendable.
A client is told nothing of it. With DEBUG=true you are: by curl, and in a browser.
`)
})

/** In memory; with REDIS_URL in Redis, where they outlive this process, and others share them. */
const store = Layer.unwrapEffect(Effect.map(
  Config.option(Config.redacted("REDIS_URL")),
  Option.match({
    onNone: () => SessionStore.layerMemory(),
    onSome: (url) => Layer.provide(SessionStore.layerRedis(), NodeRedis.layerConfig(Config.succeed(url)))
  })
))

const node = NodeHttpServer.layerConfig(() => createServer(), {
  port: Config.integer("PORT").pipe(Config.withDefault(3000)),
  host: Config.string("HOST").pipe(Config.withDefault("127.0.0.1"))
})

NodeRuntime.runMain(Layer.launch(
  Layer.effectDiscard(greeting).pipe(
    Layer.provideMerge(server),
    Layer.provide([Notes.Default, store]),
    Layer.provide(DebugPage.layerConfig(Config.withDefault(Config.boolean("DEBUG"), false))),
    Layer.provide(node)
  )
))
