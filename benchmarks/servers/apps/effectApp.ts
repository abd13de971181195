/** The application without its middleware, and the servers that it runs on. */
import { type HttpApp, HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Data, Effect, Layer, Logger, ManagedRuntime, Stream } from "effect"
import * as NodeServer from "effect-middleware/NodeServer"
import { createServer } from "node:http"
import { exported, few, findUser, many, pieces, report, users } from "../work.js"

export class UserLocked extends Data.TaggedError("UserLocked") {}

const readUser = Effect.gen(function*() {
  const { id } = yield* HttpRouter.params
  const user = findUser(Number(id))
  if (user === undefined) return yield* new UserLocked()
  return yield* HttpServerResponse.json(user)
})

export const router = HttpRouter.empty.pipe(
  HttpRouter.get("/users", HttpServerResponse.json(users)),
  HttpRouter.get("/users/:id", readUser),
  HttpRouter.get("/few", HttpServerResponse.json(few)),
  HttpRouter.get("/report", Effect.suspend(() => HttpServerResponse.json(report()))),
  HttpRouter.get("/many", HttpServerResponse.json(many)),
  HttpRouter.get(
    "/export",
    Effect.sync(() => HttpServerResponse.stream(Stream.fromIterable(pieces()), { contentType: exported.type }))
  )
)

/** Where all listen: on a free port. */
export const local = { host: "127.0.0.1", port: 0 }

export type Server = Layer.Layer<HttpServer.HttpServer, unknown>

/** Platform's. */
export const platform: Server = NodeHttpServer.layer(createServer, local)

/** This package's. */
export const own: Server = NodeServer.layer(() => createServer(), local)

/** Serves an app. */
export const listen = <E>(app: HttpApp.Default<E>): Promise<number> => layerOn(HttpServer.serve(app))

/** The same for one that is a layer by now. */
export const layerOn = <E>(
  serving: Layer.Layer<never, E, HttpServer.HttpServer>,
  server = platform
): Promise<number> => {
  const served = serving.pipe(Layer.provideMerge(server), Layer.provide(Logger.json))
  return ManagedRuntime.make(served).runPromise(
    HttpServer.addressWith((address) => Effect.succeed(address._tag === "TcpAddress" ? address.port : 0))
  )
}
