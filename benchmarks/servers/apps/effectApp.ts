/** The application without its middleware, and the server: the same for `ours` and `effect`. */
import { type HttpApp, HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Data, Effect, Layer, Logger, ManagedRuntime, Stream } from "effect"
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

/** Serves an app on a free port. */
export const listen = <E>(app: HttpApp.Default<E>): Promise<number> => layerOn(HttpServer.serve(app))

/** The same for one that is a layer by now. */
export const layerOn = <E>(serving: Layer.Layer<never, E, HttpServer.HttpServer>): Promise<number> => {
  const server = serving.pipe(
    Layer.provideMerge(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })),
    Layer.provide(Logger.json)
  )
  return ManagedRuntime.make(server).runPromise(
    HttpServer.addressWith((address) => Effect.succeed(address._tag === "TcpAddress" ? address.port : 0))
  )
}
