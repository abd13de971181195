import type { Etag, HttpClient, HttpPlatform, HttpServerError } from "@effect/platform"
import { HttpRouter, HttpServer } from "@effect/platform"
import type { NodeContext } from "@effect/platform-node"
import type { NodeHttpServer } from "@effect/platform-node"
import { Config, type ConfigError, Effect, Layer, type Scope } from "effect"
import * as NodeServer from "effect-middleware/NodeServer"
import * as Http from "node:http"
import * as Http2 from "node:http2"
import * as Https from "node:https"
import { same, typeOf } from "./fixtures.js"

type Services = HttpServer.HttpServer | HttpPlatform.HttpPlatform | Etag.Generator | NodeContext.NodeContext

// the place of platform's, in one line
const own = NodeServer.layer(() => Http.createServer(), { port: 3000 })
typeOf(own).is<Layer.Layer<Services, NodeServer.ListenError>>()
const platform: ReturnType<typeof NodeHttpServer.layer> = own
export const launched = Layer.launch(Layer.provide(HttpServer.serve(HttpRouter.empty), platform))

typeOf(NodeServer.layerServer(() => Http.createServer(), { port: 0 })).is<
  Layer.Layer<HttpServer.HttpServer, NodeServer.ListenError>
>()
typeOf(NodeServer.make(() => Http.createServer(), { port: 0 })).is<
  Effect.Effect<HttpServer.HttpServer, NodeServer.ListenError, Scope.Scope>
>()
typeOf(
  NodeServer.layerConfig(() => Http.createServer(), {
    port: Config.integer("PORT"),
    keepAliveTimeout: Config.duration("KEEP_ALIVE")
  })
).is<Layer.Layer<Services, ConfigError.ConfigError | NodeServer.ListenError>>()
typeOf(NodeServer.layerTest).is<Layer.Layer<Services | HttpClient.HttpClient, NodeServer.ListenError>>()

// whatever Node creates
declare const server: NodeServer.Server
NodeServer.layer(() => server, {})
NodeServer.layer(() => Https.createServer(), {})
NodeServer.layer(() => Http2.createServer(), {})
NodeServer.layer(() => Http2.createSecureServer({ allowHTTP1: true }), { path: "/run/app.sock" })
declare const options: NodeServer.Options
NodeServer.layer(() => Http.createServer(), { ...options, shutdownTimeout: "1 minute", maxConnections: 1000 })

// @ts-expect-error the limits are options, and spelled as Node does
NodeServer.layer(() => Http.createServer(), { maxSockets: 1 })
// @ts-expect-error a duration
NodeServer.layer(() => Http.createServer(), { headersTimeout: true })
// @ts-expect-error a function that makes a server: one that has listened cannot be made again
NodeServer.layer(Http.createServer(), { port: 0 })

// it is platform's error, and knows more
declare const error: NodeServer.ListenError
same<typeof error._tag, "ServeError">()
same<typeof error.code, string>()
export const caught = Effect.catchTag(Layer.launch(own), "ServeError", ({ code }) => Effect.succeed(code))
export const isServeError: HttpServerError.ServeError = error
