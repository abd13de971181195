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
  HttpServer
} from "@effect/platform"
import { NodeContext, NodeHttpServer } from "@effect/platform-node"
import { Context, Effect, Layer, type Runtime, type Scope } from "effect"
import { type Middleware, Stack } from "effect-middleware"
import * as Http from "node:http"

export interface Init {
  readonly method?: string
  readonly path?: string
  readonly headers?: Record<string, string>
  readonly body?: string
}

export interface Reply {
  readonly status: number
  readonly headers: Record<string, string>
  readonly cookies: ReadonlyArray<string>
  readonly body: string
}

export type App = HttpApp.Default<unknown, never>
export type Send = (init?: Init) => Effect.Effect<Reply>
export type Mounted = Effect.Effect<Send, never, Scope.Scope>

export interface Mount {
  readonly name: string
  /** Whether the app's own failure can be handled there: platform's serve mounts answer it further in. */
  readonly handles: boolean
  readonly mount: (app: App, middleware: Middleware.Any) => Mounted
}

type Handler = (request: Request) => Promise<Response>

const viaWeb = (make: (runtime: Runtime.Runtime<never>) => Handler | Effect.Effect<Handler, never, Scope.Scope>) =>
  Effect.flatMap(Effect.runtime<never>(), (runtime) => {
    const made = make(runtime)
    return Effect.map(
      Effect.isEffect(made) ? made : Effect.succeed(made),
      (handler): Send => ({ body, headers = {}, method = "GET", path = "/" } = {}) =>
        Effect.promise(async () => {
          const response = await handler(
            new Request(`http://localhost${path}`, { method, headers: { host: "localhost", ...headers }, body: body ?? null })
          )
          return {
            status: response.status,
            headers: Object.fromEntries(response.headers),
            cookies: response.headers.getSetCookie(),
            body: await response.text()
          }
        })
    )
  })

/** Sends over a socket, with Node's own client, which adds and hides nothing. */
export const request = (port: number, { body, headers = {}, method = "GET", path = "/" }: Init = {}): Effect.Effect<Reply> =>
  Effect.async((resume) => {
    const message = Http.request({ port, host: "127.0.0.1", method, path, headers, agent: false }, (response) => {
      const chunks: Array<Buffer> = []
      response.on("data", (chunk) => chunks.push(chunk))
      response.on("error", (error) => resume(Effect.die(error)))
      response.on("end", () => {
        const { "set-cookie": cookies = [], ...rest } = response.headers
        resume(Effect.succeed({
          status: response.statusCode!,
          headers: rest as Record<string, string>,
          cookies,
          body: Buffer.concat(chunks).toString()
        }))
      })
    })
    message.on("error", (error) => resume(Effect.die(error)))
    message.end(body)
  })

export const nodeServer = NodeHttpServer.layer(() => Http.createServer(), { port: 0, host: "127.0.0.1" })

const viaNode = (served: Layer.Layer<never, never, HttpServer.HttpServer>): Mounted =>
  Effect.map(unshared(Effect.scope.pipe(
    Effect.flatMap((scope) => Effect.flatMap(Layer.CurrentMemoMap, (memoMap) =>
      Layer.buildWithMemoMap(Layer.provideMerge(served, nodeServer), memoMap, scope)))
  )), (context): Send => {
    const { address } = Context.get(context, HttpServer.HttpServer)
    return (init) => request(address._tag === "TcpAddress" ? address.port : 0, init)
  }).pipe(Effect.orDie)

const web = (app: App, served?: Middleware.Any) =>
  viaWeb((runtime) => HttpApp.toWebHandlerRuntime(runtime)(app, served as never) as Handler)

const routes = (app: App) => HttpLayerRouter.add("*", "*", app as HttpApp.Default)

/** Layers are shared by reference within a memo map, and so would be the router of two mounts. */
const unshared = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Layer.makeMemoMap, (memoMap) => Effect.provideService(effect, Layer.CurrentMemoMap, memoMap))

const layerRouted = (layer: Layer.Layer<never, never, HttpLayerRouter.HttpRouter>, served?: Middleware.Any) =>
  Effect.flatMap(unshared(HttpLayerRouter.toHttpEffect(layer)), (app) => web(app as App, served))

const endpoint = HttpApiEndpoint.get("all", "/*")
const api = HttpApi.make("api").add(HttpApiGroup.make("group").add(endpoint))
const groupLive = (app: App) =>
  HttpApiBuilder.group(api, "group", (handlers) => handlers.handleRaw("all", () => app as HttpApp.Default))

const apiApp = (app: App, extra: Layer.Layer<never> = Layer.empty) =>
  Layer.build(
    Layer.mergeAll(HttpApiBuilder.api(api).pipe(Layer.provide(groupLive(app))), extra).pipe(
      Layer.provideMerge(Layer.mergeAll(HttpApiBuilder.Router.Live, HttpApiBuilder.Middleware.layer)),
      Layer.provideMerge(Layer.mergeAll(HttpServer.layerContext, NodeContext.layer))
    )
  ).pipe(
    Effect.flatMap((context) => Effect.map(Effect.provide(HttpApiBuilder.httpApp, context), Effect.provide(context)))
  ) as Effect.Effect<App, never, Scope.Scope>

export const mounts: ReadonlyArray<Mount> = [
  { name: "app.pipe", handles: true, mount: (app, mw) => web(mw(app as HttpApp.Default)) },
  {
    name: "router.pipe",
    handles: true,
    mount: (app, mw) => web(mw(HttpRouter.empty.pipe(HttpRouter.all("*", app)) as App as HttpApp.Default))
  },
  {
    name: "a route",
    handles: true,
    mount: (app, mw) => web(HttpRouter.empty.pipe(HttpRouter.all("*", mw(app as HttpApp.Default))))
  },
  {
    name: "HttpRouter.use",
    handles: true,
    mount: (app, mw) => web(HttpRouter.empty.pipe(HttpRouter.all("*", app), HttpRouter.use((app) => mw(app as HttpApp.Default))))
  },
  {
    name: "Stack.serve, Node",
    handles: true,
    mount: (app, mw) => viaNode(Stack.serve(app as HttpApp.Default, mw as Middleware.Middleware))
  },
  {
    name: "Stack.serveRouter, Node",
    handles: true,
    mount: (app, mw) => viaNode(Stack.serveRouter(routes(app), mw as Middleware.Middleware))
  },
  {
    name: "Stack.layerRouter",
    handles: true,
    mount: (app, mw) =>
      layerRouted(Layer.provide(routes(app), Stack.layerRouter(mw as Middleware.Middleware).layer as Layer.Layer<never>))
  },
  {
    name: "Stack.layerRouterGlobal",
    handles: true,
    mount: (app, mw) =>
      layerRouted(Layer.provideMerge(routes(app), Stack.layerRouterGlobal(mw as Middleware.Middleware) as Layer.Layer<never>))
  },
  {
    name: "Stack.httpApi",
    handles: true,
    mount: (app, mw) =>
      Effect.flatMap(apiApp(app, Stack.httpApi(mw as Middleware.Middleware)), (app) => web(app))
  },
  { name: "toWebHandler(app, mw)", handles: false, mount: (app, mw) => web(app, mw) },
  {
    name: "HttpServer.serve(mw), Node",
    handles: false,
    mount: (app, mw) =>
      viaNode(HttpServer.serve(app, mw as never) as Layer.Layer<never, never, HttpServer.HttpServer>)
  },
  {
    name: "HttpApiBuilder.serve(mw)",
    handles: false,
    mount: (app, mw) => Effect.flatMap(apiApp(app), (app) => web(app, mw))
  },
  {
    name: "HttpLayerRouter.serve({ middleware })",
    handles: false,
    mount: (app, mw) => layerRouted(routes(app), mw)
  }
]

/** Mounts an app in every way and hands each to a test body. */
export const send = (app: App, init?: Init): Effect.Effect<Reply> =>
  Effect.scoped(Effect.flatMap(web(app), (send) => send(init)))
