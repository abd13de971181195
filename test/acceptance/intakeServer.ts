/** The server that `intake.ts` starts, with all that limits what it takes in. It goes with the process that has started it. */
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Cause, Chunk, Effect, Layer, Logger } from "effect"
import { BodyLimit, ConcurrencyLimit, Forwarded, ServerErrors, Stack, Timeout } from "effect-middleware"
import * as Http from "node:http"
import { setTimeout as sleep } from "node:timers/promises"

/** Milliseconds but for `permits`; `headers`, `request` and `keepAlive` are Node's own, and shorter than its defaults. */
export interface Config {
  readonly permits: number
  readonly limit: number
  readonly hold: number
  readonly headers: number
  readonly request: number
  readonly keepAlive: number
}

/** Bytes; the most is since it was asked last, and so is what has been received by the connections that have ended since. */
export interface Memory {
  readonly rss: number
  readonly rssMost: number
  readonly heap: number
  readonly connections: number
  readonly received: number
  readonly receivedMost: number
  readonly defects: ReadonlyArray<string>
}

const upload = Effect.map(
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => request.arrayBuffer),
  (bytes) => HttpServerResponse.text(String(bytes.byteLength))
)
const ok = HttpServerResponse.text("ok")

const main = ({ headers, hold, keepAlive, limit, permits, request }: Config) => {
  const defects: Array<string> = []
  const ended: Array<number> = []
  let rssMost = 0
  const look = () => {
    const rss = process.memoryUsage.rss()
    rssMost = Math.max(rssMost, rss)
    return rss
  }
  setInterval(look, 250)
  const server = Http.createServer({
    headersTimeout: headers,
    requestTimeout: request,
    keepAliveTimeout: keepAlive,
    connectionsCheckingInterval: 1000
  })
  server.on("connection", (socket) => socket.once("close", () => ended.push(socket.bytesRead)))

  process.on("message", async () => {
    // what the first leaves to its finalizers is for the second
    for (let i = 0; i < 2; i++) {
      globalThis.gc?.()
      await sleep(100)
    }
    const received = ended.splice(0)
    const connections = await new Promise<number>((resolve) => server.getConnections((_, count) => resolve(count)))
    const memory: Memory = {
      rss: look(),
      rssMost,
      heap: process.memoryUsage().heapUsed,
      connections,
      received: received.reduce((a, b) => a + b, 0),
      receivedMost: Math.max(0, ...received),
      defects: defects.splice(0)
    }
    rssMost = 0
    process.send?.(memory)
  })

  return HttpRouter.empty.pipe(
    HttpRouter.get("/ping", ok),
    HttpRouter.get("/hold", Effect.delay(ok, hold)),
    HttpRouter.post("/upload", upload),
    HttpRouter.post("/ignore", ok),
    Stack.serve(Stack.make(
      ServerErrors.middleware(),
      Forwarded.middleware({ trust: "none" }),
      Timeout.middleware({ limit, body: { idle: limit, total: 2 * limit } }),
      ConcurrencyLimit.middleware({ permits }),
      BodyLimit.middleware({ limit: "1 MiB" })
    )),
    Layer.merge(Layer.effectDiscard(HttpServer.addressWith((address) => Effect.sync(() => process.send?.(address))))),
    Layer.provide(NodeHttpServer.layer(() => server, { port: 0, host: "127.0.0.1" })),
    Layer.launch,
    Effect.provide(Logger.replace(
      Logger.defaultLogger,
      Logger.make(({ cause }) => defects.push(...Chunk.map(Cause.defects(cause), String)))
    ))
  )
}

const [, , config] = process.argv
if (process.send !== undefined && config !== undefined) {
  process.once("disconnect", () => process.exit())
  Effect.runFork(main(JSON.parse(config)))
}
