/**
 * Every way a user can mount a middleware, behind one function that sends a
 * request and reads the whole answer.
 */
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApp,
  HttpLayerRouter,
  HttpRouter,
  HttpServer,
  type HttpServerRequest
} from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Context, Effect, Layer, Option, type Runtime, type Scope } from "effect"
import { type Middleware, Stack } from "effect-middleware"
import * as NodeServer from "effect-middleware/NodeServer"
import * as Http from "node:http"
import type { Init, Place, Reply, Send } from "../../src/internal/laws.js"
import { codings, decode } from "./compression.js"

export type { Init, Reply, Send }

export type App = HttpApp.Default<unknown, never>
export type Mounted = Effect.Effect<Send, never, Scope.Scope>

export interface Mount extends Pick<Place, "handles" | "router"> {
  readonly name: string
  readonly mount: (app: App, middleware: Middleware.Any) => Mounted
}

/** One server for all that a test mounts, where the mount is on one. */
export const serverOf = ({ name }: Mount): typeof nodeServer | typeof Layer.empty =>
  name.endsWith("NodeServer") ? ownServer : name.endsWith("Node") ? nodeServer : Layer.empty

/** What the routers of the mounts know, on every path; `unknownRoute` is none of it. */
const methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] as const
export const unknownRoute: Init = { method: "PURGE" }

// --- clients ---------------------------------------------------------------------------------------------------------

/** What was sent to an answer to HEAD, and what is not coded in a way that is known here, is as it is. */
const textOf = (coding: string | null | undefined, bytes: Uint8Array): string =>
  bytes.length > 0 && codings.some((known) => known === coding)
    ? decode(coding!, bytes).toString()
    : Buffer.from(bytes).toString()

type Handler = (request: Request) => Promise<Response>

const viaWeb = (make: (runtime: Runtime.Runtime<never>) => Handler): Mounted =>
  Effect.map(Effect.runtime<never>(), (runtime) => {
    const handler = make(runtime)
    return ({ body, headers = {}, method = "GET", path = "/" } = {}) =>
      Effect.promise(async (signal) => {
        const response = await handler(
          new Request(`http://localhost${path}`, {
            method,
            headers: { host: "localhost", ...headers },
            body: body ?? null,
            signal
          })
        )
        return {
          status: response.status,
          headers: Object.fromEntries(response.headers),
          cookies: response.headers.getSetCookie(),
          body: textOf(response.headers.get("content-encoding"), new Uint8Array(await response.arrayBuffer()))
        }
      })
  })

/** Sends over a socket, with Node's own client, which adds and hides nothing. Without an agent, over one of its own. */
export const request = (
  port: number,
  { body, headers = {}, method = "GET", path = "/" }: Init = {},
  agent: Http.Agent | false = false
): Effect.Effect<Reply> =>
  Effect.async((resume) => {
    const message = Http.request({ port, host: "127.0.0.1", method, path, headers, agent }, (response) => {
      const chunks: Array<Buffer> = []
      response.on("data", (chunk) => chunks.push(chunk))
      response.on("error", (error) => resume(Effect.die(error)))
      response.on("end", () => {
        const { "set-cookie": cookies = [], ...rest } = response.headers
        resume(Effect.succeed({
          status: response.statusCode!,
          headers: rest as Record<string, string>,
          cookies,
          body: textOf(response.headers["content-encoding"], Buffer.concat(chunks))
        }))
      })
    })
    message.on("error", (error) => resume(Effect.die(error)))
    message.end(body)
    return Effect.sync(() => message.destroy())
  })

// --- servers ---------------------------------------------------------------------------------------------------------

/** What platform's servers and routers need. It holds nothing that is to be released, and to build it takes longer than ten requests. */
const platform = Layer.succeedContext(
  Effect.runSync(
    Effect.scoped(Layer.build(Layer.provideMerge(NodeHttpServer.layerContext, HttpServer.layerContext)))
  )
)

const anywhere = { port: 0, host: "127.0.0.1" }

export const nodeServer = Layer.merge(NodeHttpServer.layerServer(() => Http.createServer(), anywhere), platform)

/** The one of this package. */
export const ownServer = Layer.merge(NodeServer.layerServer(() => Http.createServer(), anywhere), platform)

/** The server there is, or one of one's own. */
const server = (otherwise: typeof nodeServer) =>
  Layer.unwrapEffect(
    Effect.map(
      Effect.serviceOption(HttpServer.HttpServer),
      Option.match({
        onNone: () => otherwise,
        onSome: (server) => Layer.merge(Layer.succeed(HttpServer.HttpServer, server), platform)
      })
    )
  )

/** Serves over a socket; gives the port. */
export const listen = (
  served: Layer.Layer<never, never, Layer.Layer.Success<typeof nodeServer>>,
  otherwise: typeof nodeServer = nodeServer
): Effect.Effect<number, never, Scope.Scope> =>
  Layer.provideMerge(served, server(otherwise)).pipe(
    (layer) =>
      Effect.flatMap(Effect.scope, (scope) =>
        Effect.flatMap(Layer.CurrentMemoMap, (memoMap) => Layer.buildWithMemoMap(layer, memoMap, scope))),
    unshared,
    Effect.orDie,
    Effect.map((context) => {
      const { address } = Context.get(context, HttpServer.HttpServer)
      return address._tag === "TcpAddress" ? address.port : 0
    })
  )

/** Serves an app over a socket, with the services that the test provides; gives the port. */
export const listenTo = <E, R>(app: HttpApp.Default<E, R>) =>
  Effect.flatMap(
    Effect.context<Exclude<R, HttpServerRequest.HttpServerRequest | Scope.Scope>>(),
    (context) =>
      listen(HttpServer.serve(
        Effect.mapInputContext(
          app,
          // all but what the server gives by itself is there
          (request: Context.Context<never>) =>
            Context.merge(context, request) as Context.Context<R | HttpServerRequest.HttpServerRequest>
        )
      ))
  )

const node = (...served: Parameters<typeof listen>): Mounted =>
  Effect.gen(function*() {
    const port = yield* listen(...served)
    const agent = yield* Effect.acquireRelease(
      Effect.sync(() => new Http.Agent({ keepAlive: true })),
      (agent) => Effect.sync(() => agent.destroy())
    )
    return (init) => request(port, init, agent)
  })

const web = (app: App, served?: Middleware.Any): Mounted =>
  viaWeb((runtime) => HttpApp.toWebHandlerRuntime(runtime)(app, served as never) as Handler)

// --- routers ---------------------------------------------------------------------------------------------------------

const routed = (app: App): HttpRouter.HttpRouter<unknown> =>
  HttpRouter.fromIterable(methods.map((method) => HttpRouter.makeRoute(method, "*", app)))

const layerRoutes = (app: App) =>
  HttpLayerRouter.addAll(methods.map((method) => HttpLayerRouter.route(method, "*", app as HttpApp.Default)))

/** Layers are shared by reference within a memo map, and so would be the router of two mounts. */
const unshared = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Layer.makeMemoMap, (memoMap) => Effect.provideService(effect, Layer.CurrentMemoMap, memoMap))

const layerRouted = (layer: Layer.Layer<never, never, HttpLayerRouter.HttpRouter>): Mounted =>
  Effect.flatMap(unshared(HttpLayerRouter.toHttpEffect(layer)), (app) => web(app as App))

const endpoints = methods.map((method) => HttpApiEndpoint.make(method)(method, "/*"))
const api = HttpApi.make("api").add(
  endpoints.reduce((group, endpoint) => group.add(endpoint as never), HttpApiGroup.make("group"))
)

const apiLive = (app: App): Layer.Layer<HttpApi.Api> => {
  const handled = HttpApiBuilder.group(api, "group", (handlers) =>
    methods.reduce(
      (handlers, method) => handlers.handleRaw(method as never, (() => app) as never) as never,
      handlers
    ) as never)
  // of the groups, whose names the reduction above has lost to the types, there is this one
  return Layer.provide(HttpApiBuilder.api(api), handled) as Layer.Layer<HttpApi.Api>
}

const apiApp = (app: App, extra: Layer.Layer<never>): Effect.Effect<App, never, Scope.Scope> =>
  Layer.build(
    Layer.mergeAll(apiLive(app), extra).pipe(
      Layer.provideMerge(Layer.mergeAll(HttpApiBuilder.Router.Live, HttpApiBuilder.Middleware.layer)),
      Layer.provideMerge(platform)
    )
  ).pipe(
    Effect.flatMap((context) => Effect.map(Effect.provide(HttpApiBuilder.httpApp, context), Effect.provide(context)))
  )

// --- mounts ----------------------------------------------------------------------------------------------------------

// what a test's middleware requires is in the context in which it mounts
type Closed = Middleware.Middleware
type Failing = HttpApp.Default

export const mounts: ReadonlyArray<Mount> = [
  {
    name: "app.pipe",
    handles: true,
    router: "none",
    mount: (app, mw) => web((mw as Closed)(app as Failing))
  },
  {
    name: "router.pipe",
    handles: true,
    router: "inside",
    mount: (app, mw) => web((mw as Closed)(routed(app) as App as Failing))
  },
  {
    name: "a route",
    handles: true,
    router: "outside",
    mount: (app, mw) => web(routed((mw as Closed)(app as Failing)))
  },
  {
    name: "HttpRouter.use",
    handles: true,
    router: "outside",
    mount: (app, mw) => web(HttpRouter.use(routed(app), (app) => (mw as Closed)(app as Failing)))
  },
  {
    name: "Stack.serve, Node",
    handles: true,
    router: "none",
    mount: (app, mw) => node(Stack.serve(app as Failing, mw as Closed))
  },
  {
    name: "Stack.serve, NodeServer",
    handles: true,
    router: "none",
    mount: (app, mw) => node(Stack.serve(app as Failing, mw as Closed), ownServer)
  },
  {
    name: "HttpServer.serve(mw), NodeServer",
    handles: true,
    router: "none",
    mount: (app, mw) =>
      node(HttpServer.serve(app, mw as never) as Layer.Layer<never, never, HttpServer.HttpServer>, ownServer)
  },
  {
    name: "Stack.serveRouter, Node",
    handles: true,
    router: "inside",
    mount: (app, mw) => node(Stack.serveRouter(layerRoutes(app), mw as Closed))
  },
  {
    name: "Stack.layerRouter",
    handles: true,
    router: "outside",
    mount: (app, mw) =>
      layerRouted(Layer.provide(layerRoutes(app), Stack.layerRouter(mw as Closed).layer as Layer.Layer<never>))
  },
  {
    name: "Stack.layerRouterGlobal",
    handles: true,
    router: "inside",
    mount: (app, mw) =>
      layerRouted(Layer.provideMerge(layerRoutes(app), Stack.layerRouterGlobal(mw as Closed) as Layer.Layer<never>))
  },
  {
    name: "Stack.httpApi",
    handles: true,
    router: "inside",
    mount: (app, mw) => Effect.flatMap(apiApp(app, Stack.httpApi(mw as Closed)), (app) => web(app))
  },
  {
    name: "toWebHandler(app, mw)",
    handles: false,
    router: "none",
    mount: (app, mw) => web(app, mw)
  },
  {
    name: "HttpServer.serve(mw), Node",
    handles: false,
    router: "none",
    mount: (app, mw) => node(HttpServer.serve(app, mw as never) as Layer.Layer<never, never, HttpServer.HttpServer>)
  },
  {
    name: "HttpApiBuilder.serve(mw), Node",
    handles: false,
    router: "inside",
    mount: (app, mw) => node(Layer.provide(HttpApiBuilder.serve(mw as Closed), apiLive(app)))
  },
  {
    name: "HttpLayerRouter.serve({ middleware }), Node",
    handles: false,
    router: "inside",
    mount: (app, mw) =>
      node(HttpLayerRouter.serve(layerRoutes(app), {
        middleware: mw as Closed,
        disableLogger: true,
        disableListenLog: true
      }))
  }
]

/** Sends one request to an app. */
export const send = (app: App, init?: Init): Effect.Effect<Reply> =>
  Effect.scoped(Effect.flatMap(web(app), (send) => send(init)))
