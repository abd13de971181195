/**
 * Which methods a router has for a path: platform's routers keep their routes
 * and do not tell, so a 404 for a path that another method has is made a 405
 * here.
 */
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"

type Mount = readonly [
  prefix: string,
  app: object,
  options?: { readonly includePrefix?: boolean | undefined } | undefined
]

/** An `HttpRouter`, or what is known of another one. */
export interface Routes {
  readonly routes: Iterable<{ readonly method: string; readonly path: HttpRouter.PathInput }>
  readonly mounts: Iterable<Mount>
  readonly config?: Partial<HttpLayerRouter.FindMyWay.RouterConfig> | undefined
  /** Whether an `HttpApi` stands around the app, and encodes the errors that it declares. */
  readonly inApi?: boolean | undefined
}

const known = new WeakMap<object, Routes>()

const routesOf = (app: object): Routes | undefined =>
  HttpRouter.TypeId in app ? app as HttpRouter.HttpRouter<unknown, unknown> : known.get(app)

/** What is known of the router of one app is known of another: what wraps it. */
export const inherit = <A extends object>(from: object, to: A): A => {
  const routes = routesOf(from)
  if (routes !== undefined && !(HttpRouter.TypeId in to)) known.set(to, routes)
  return to
}

export const remember = <A extends object>(app: A, routes: Routes): A => {
  known.set(app, routes)
  return app
}

export const isInApi = (app: object): boolean => routesOf(app)?.inApi === true

const methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] as const

type Find = (method: string, url: string) => boolean

/** Of a list of routes, once it is asked for: by then all routes are there. */
const compiled = new WeakMap<Routes, { readonly find: Find; readonly mounts: ReadonlyArray<Mount> }>()

const compile = (routes: Routes, fiber: Fiber.RuntimeFiber<unknown, unknown>) => {
  const before = compiled.get(routes)
  if (before !== undefined) return before
  const config = routes.config ?? fiber.getFiberRef(HttpRouter.currentRouterConfig)
  const router = HttpLayerRouter.FindMyWay.make<true>(config)
  for (const { method, path } of routes.routes) {
    // a route that stands twice is one
    if (method === "*") router.all(path, true)
    else router.on(method as "GET", path, true)
  }
  const find: Find = (method, url) => router.find(method as "GET", url) !== undefined
  const made = { find, mounts: [...routes.mounts] }
  compiled.set(routes, made)
  return made
}

/**
 * The value of `Allow` for a request that found no route; none where its path has none, where nobody knows, or where the
 * method has one: then it was somebody further in who found nothing.
 */
export const allowed = (
  app: object,
  { method, url }: { readonly method: string; readonly url: string },
  fiber: Fiber.RuntimeFiber<unknown, unknown>
): string | undefined => {
  const routes = routesOf(app)
  if (routes === undefined) return undefined
  const { find, mounts } = compile(routes, fiber)
  const search = url.indexOf("?")
  const path = search === -1 ? url : url.slice(0, search)
  for (const [prefix, inner, options] of mounts) {
    if (path !== prefix && !path.startsWith(`${prefix}/`)) continue
    const rest = url.length <= prefix.length ? "/" : url.slice(prefix.length)
    return allowed(inner, { method, url: options?.includePrefix === true ? url : rest }, fiber)
  }
  // a router answers HEAD where it answers GET
  const all = methods.filter((method) => find(method, url) || (method === "HEAD" && find("GET", url)))
  return all.length === 0 || all.some((one) => one === method) ? undefined : all.join(", ")
}

/** The app of a layer of routes, of which its routes are known. */
export const layerRouterApp = <A, E, R>(layer: Layer.Layer<A, E, R>) =>
  Effect.flatMap(HttpLayerRouter.RouterConfig, (config) => {
    const routes: Array<{ readonly method: string; readonly path: HttpRouter.PathInput }> = []
    const recording = Layer.effect(
      HttpLayerRouter.HttpRouter,
      Effect.map(HttpLayerRouter.HttpRouter, (router) => recorded(router, (route) => routes.push(route)))
    )
    return Effect.map(
      HttpLayerRouter.toHttpEffect(Layer.provide(layer, recording)),
      (app) => remember(app, { routes, mounts: [], config })
    )
  })

const recorded = (
  router: HttpLayerRouter.HttpRouter,
  record: (route: { readonly method: string; readonly path: HttpRouter.PathInput }) => void,
  prefix = ""
): HttpLayerRouter.HttpRouter => ({
  ...router,
  add: (method, path, handler, options) =>
    Effect.zipLeft(
      router.add(method, path, handler, options),
      Effect.sync(() => record({ method, path: prefixed(prefix, path) }))
    ),
  addAll: (routes) =>
    Effect.zipLeft(
      router.addAll(routes),
      Effect.sync(() => {
        for (const { method, path } of routes) record({ method, path: prefixed(prefix, path) })
      })
    ),
  // in the order in which platform joins them
  prefixed: (inner) =>
    recorded(router.prefixed(inner), record, prefix === "" ? inner : HttpLayerRouter.prefixPath(prefix, inner))
})

const prefixed = (prefix: string, path: string) =>
  (prefix === "" ? path : HttpLayerRouter.prefixPath(path, prefix)) as HttpRouter.PathInput

/** The routes of an `HttpApi`, which are added to this router before a request comes. */
export const routesOfService = (service: { readonly router: Effect.Effect<Routes> }): Routes => {
  let routes: Routes | undefined
  const read = () => routes ??= Effect.runSync(service.router)
  return {
    inApi: true,
    get routes() {
      return read().routes
    },
    get mounts() {
      return read().mounts
    }
  }
}
