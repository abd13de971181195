/**
 * An ordered stack of middlewares as one value: written outermost first, checked
 * by the compiler, printed, edited by name, and mounted anywhere.
 *
 * @since 0.1.0
 */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import type * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import type * as HttpApiSecurity from "@effect/platform/HttpApiSecurity"
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import type * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { ErasedApp } from "./internal/kernel.js"
import { apply, concatAll, named, namesOf, phasesEffect, phasesOf } from "./internal/kernel.js"
import * as Lint from "./internal/lint.js"
import { layerRouterApp, remember, routesOfService } from "./internal/routes.js"
import type { Make } from "./internal/stackMake.js"
import type { Edited, Verify } from "./internal/stackTypes.js"
import type { Any, AnyTag, Middleware, PerRequest, PhaseMembers } from "./Middleware.js"

export type {
  /**
   * @since 0.1.0
   * @category models
   */
  MustBeListed,
  /**
   * @since 0.1.0
   * @category models
   */
  MustBeMiddleware,
  /**
   * @since 0.1.0
   * @category models
   */
  MustBeOne,
  /**
   * @since 0.1.0
   * @category models
   */
  MustStandInside,
  /**
   * @since 0.1.0
   * @category models
   */
  Stack,
  /**
   * @since 0.1.0
   * @category models
   */
  WouldMisplace
} from "./internal/stackTypes.js"

export {
  /**
   * @since 0.1.0
   * @category presets
   */
  api,
  type ApiParts,
  type CommonParts,
  type MustKnowClient,
  /**
   * @since 0.1.0
   * @category presets
   */
  site,
  type SiteParts
} from "./internal/presets.js"

/**
 * Any stack, for constraints.
 *
 * @since 0.1.0
 * @category models
 */
export type AnyStack = Any & { readonly members: ReadonlyArray<Any> }

/**
 * Puts middlewares in order: **the first is outermost**. It meets the request
 * first and the response last, and it provides and handles for those after it.
 *
 * - A member that needs what only a later one provides does not compile; the
 *   error says so in words.
 * - Two members of one name throw: editing by name would be ambiguous. Every
 *   `X.middleware` takes a `name`.
 * - A stack may stand inside a stack.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Forwarded, RequestId, Stack, TrustedHost } from "effect-middleware"
 *
 * const stack = Stack.make(
 *   Forwarded.middleware({ trust: "none" }),
 *   RequestId.middleware(),
 *   TrustedHost.middleware({ hosts: ["example.com"] })
 * )
 *
 * const app = HttpRouter.empty.pipe(HttpRouter.get("/", HttpServerResponse.text("hello")), stack)
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: Make = named("Stack")

/**
 * Serves an app behind a stack. The stack is applied to the app and the result
 * is served, so that it is the onion it looks like: what a middleware given to
 * `HttpServer.serve` itself cannot do (handle the app's failures), it does here.
 *
 * @example
 * ```ts
 * import { HttpRouter } from "@effect/platform"
 * import { RequestId, Stack } from "effect-middleware"
 *
 * const server = HttpRouter.empty.pipe(Stack.serve(Stack.make(RequestId.middleware())))
 * ```
 *
 * @since 0.1.0
 * @category mounts
 */
export const serve: {
  <P, F, R2, H>(middleware: Middleware<P, F, R2, H>): <E, R>(
    app: HttpApp.Default<E, R>
  ) => Layer.Layer<never, never, HttpServer.HttpServer | Exclude<Exclude<R, P> | R2, Supplied>>
  <E, R, P, F, R2, H>(
    app: HttpApp.Default<E, R>,
    middleware: Middleware<P, F, R2, H>
  ): Layer.Layer<never, never, HttpServer.HttpServer | Exclude<Exclude<R, P> | R2, Supplied>>
} = dual(
  2,
  <E, R, P, F, R2, H>(app: HttpApp.Default<E, R>, middleware: Middleware<P, F, R2, H>) =>
    HttpServer.serve(middleware(app))
)

/** What a server gives to each request. */
type Supplied = HttpServerRequest.HttpServerRequest | Scope.Scope

/**
 * The names of the members, outermost first; those of a stack inside a stack in
 * its place.
 *
 * @since 0.1.0
 * @category inspection
 */
export const names: (middleware: Any) => ReadonlyArray<string> = namesOf

/**
 * Draws the onion: one line a member, with the phases it takes part in.
 *
 * @example
 * ```ts
 * import { Forwarded, RequestId, Stack } from "effect-middleware"
 *
 * console.log(Stack.describe(Stack.make(Forwarded.middleware({ trust: "none" }), RequestId.middleware())))
 * ```
 *
 * @since 0.1.0
 * @category inspection
 */
export const describe = (middleware: Any): string => {
  const rows: Array<readonly [string, string]> = []
  const guards: Array<{ readonly label: string; left: number }> = []
  for (const phase of phasesOf(middleware)) {
    for (const guard of guards) guard.left--
    while (guards.at(-1)?.left === -1) guards.pop()
    if (phase.guard !== undefined) {
      guards.push({ label: phase.name, left: phase.skip ?? 0 })
      continue
    }
    const labels = [...guards.map((guard) => guard.label), ...(phase.label === undefined ? [] : [phase.label])]
    const facts = [
      phase.request === undefined && phase.requestEffect === undefined ? "" : "→ request",
      phase.provides === undefined ? "" : `provides ${phase.provides}`,
      phase.around === undefined ? "" : "↔ wraps",
      phase.response === undefined && phase.responseEffect === undefined ? "" : "← response",
      labels.length === 0 ? "" : `(${labels.join(", ")})`
    ]
    rows.push([phase.name, facts.filter((fact) => fact !== "").join("  ")])
  }
  const width = Math.max(0, ...rows.map(([name], depth) => name.length + depth * 2)) + 2
  return [
    ...rows.map(([name, facts], depth) => `${"│ ".repeat(depth)}${name}`.padEnd(width) + facts),
    `${"│ ".repeat(rows.length)}app`
  ].join("\n")
}

/**
 * What is unwise in the order of a stack, though it compiles: each with why, and what to do. Stacks in the stack and
 * conditions are seen through. `[]` is all well.
 *
 * @example
 * ```ts
 * import { Conditional, Compression, Stack } from "effect-middleware"
 *
 * for (const { code, members, reason, remedy } of Stack.lint(
 *   Stack.make(Conditional.middleware(), Compression.middleware())
 * )) {
 *   console.log(`${code} (${members.join(", ")}): ${reason} ${remedy}`)
 * }
 * ```
 *
 * @since 0.1.0
 * @category inspection
 */
export const lint: (middleware: Any) => ReadonlyArray<Diagnostic> = Lint.lint

/**
 * Something that is unwise in a stack.
 *
 * @since 0.1.0
 * @category models
 */
export interface Diagnostic {
  /** It stays the same from version to version. */
  readonly code: Code
  /** A `"note"` is something to see, which may be meant. */
  readonly severity: "warning" | "note"
  /** The names of those that it is about, outermost first. */
  readonly members: ReadonlyArray<string>
  readonly reason: string
  readonly remedy: string
}

/**
 * What a diagnostic is told by.
 *
 * @since 0.1.0
 * @category models
 */
export type Code = Lint.Code

// ---------------------------------------------------------------------------------------------------------------------
// editing
// ---------------------------------------------------------------------------------------------------------------------

type NameOf<M> = Middleware.Name<M>
/**
 * What is not named by a literal, such as a stack without a name, cannot be edited by name. Any name will do for an
 * array, which is what the compiler takes a stack made in the argument's place for at first.
 */
type NamesOf<S extends AnyStack> = number extends S["members"]["length"] ? string : Literal<S["members"][number]>
type Literal<M> = M extends { readonly name: infer N } ? string extends N ? never : N : never
// of a choice between two names, a choice between two tuples
type Replaced<L, N, M> = N extends unknown ? { [K in keyof L]: NameOf<L[K]> extends N ? M : L[K] } : never
type Without<L, N> = N extends unknown
  ? L extends readonly [infer A, ...infer T] ? NameOf<A> extends N ? Without<T, N> : [A, ...Without<T, N>] : L
  : never
type Before<L, N, M> = N extends unknown
  ? L extends readonly [infer A, ...infer T] ? NameOf<A> extends N ? [M, A, ...T] : [A, ...Before<T, N, M>] : L
  : never
type After<L, N, M> = N extends unknown
  ? L extends readonly [infer A, ...infer T] ? NameOf<A> extends N ? [A, M, ...T] : [A, ...After<T, N, M>] : L
  : never
/**
 * Adds a member inside all others.
 *
 * @since 0.1.0
 * @category editing
 */
export const append = <S extends AnyStack, M extends Any>(
  stack: S,
  middleware: Verify<[...S["members"], M], M> & M
): Edited<[...S["members"], M]> => rebuild([...stack.members, middleware])

/**
 * Adds a member outside all others.
 *
 * @since 0.1.0
 * @category editing
 */
export const prepend = <S extends AnyStack, M extends Any>(
  stack: S,
  middleware: Verify<[M, ...S["members"]], M> & M
): Edited<[M, ...S["members"]]> => rebuild([middleware, ...stack.members])

/**
 * Adds a member just outside the named one.
 *
 * @since 0.1.0
 * @category editing
 */
export const before = <S extends AnyStack, const N extends NamesOf<S>, M extends Any>(
  stack: S,
  name: N,
  middleware: Verify<Before<S["members"], N, M>, M> & M
): Edited<Before<S["members"], N, M>> => edit(stack, name, (member) => [middleware, member])

/**
 * Adds a member just inside the named one.
 *
 * @since 0.1.0
 * @category editing
 */
export const after = <S extends AnyStack, const N extends NamesOf<S>, M extends Any>(
  stack: S,
  name: N,
  middleware: Verify<After<S["members"], N, M>, M> & M
): Edited<After<S["members"], N, M>> => edit(stack, name, (member) => [member, middleware])

/**
 * Puts another member in the place of the named one.
 *
 * @since 0.1.0
 * @category editing
 */
export const replace = <S extends AnyStack, const N extends NamesOf<S>, M extends Any>(
  stack: S,
  name: N,
  middleware: Verify<Replaced<S["members"], N, M>, M> & M
): Edited<Replaced<S["members"], N, M>> => edit(stack, name, () => [middleware])

/**
 * Leaves the named member out. What it provided becomes a requirement.
 *
 * @since 0.1.0
 * @category editing
 */
export const without = <S extends AnyStack, const N extends NamesOf<S>>(
  stack: S,
  name: N
): Edited<Without<S["members"], N>> => edit(stack, name, () => [])

const edit = <L>(stack: AnyStack, name: string, f: (member: Any) => ReadonlyArray<Any>): Edited<L> => {
  if (!stack.members.some((member) => member.name === name)) {
    throw new TypeError(
      `Stack: no member is named "${name}"; the members are ${
        stack.members.map((member) => `"${member.name}"`).join(", ")
      }`
    )
  }
  return rebuild(stack.members.flatMap((member) => member.name === name ? f(member) : [member]))
}

// the types above say which tuple it is
const rebuild = <L>(members: ReadonlyArray<Any>): Edited<L> => concatAll("Stack", members) as unknown as Edited<L>

// ---------------------------------------------------------------------------------------------------------------------
// bridges
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Services of one's own that live per request, for a bridge to leave to what
 * stands outside instead of asking a layer for them. Ours are known.
 *
 * @since 0.1.0
 * @category models
 */
export interface BridgeOptions<Tags extends ReadonlyArray<AnyTag>> {
  readonly perRequest?: Tags | undefined
}

type Identifiers<T extends ReadonlyArray<AnyTag>> = T[number]["Identifier"]
/** What a bridge asks once, of the layer: all but marked services and those the caller names. */
type OfLayer<R, Tags extends ReadonlyArray<AnyTag>, Provided> = Exclude<R, PerRequest | Identifiers<Tags> | Provided>

/**
 * A stack as a middleware of `HttpLayerRouter`, for the routes its layer is
 * provided to. Services that live per request stay requirements of the request
 * (another middleware provides them); all others, such as stores, are taken once
 * when the layer is built.
 *
 * @example
 * ```ts
 * import { HttpLayerRouter, HttpServerResponse } from "@effect/platform"
 * import { RequestId, Stack } from "effect-middleware"
 * import { Effect, Layer } from "effect"
 *
 * const routes = HttpLayerRouter.add("GET", "/", Effect.map(RequestId.RequestId, HttpServerResponse.text)).pipe(
 *   Layer.provide(Stack.layerRouter(Stack.make(RequestId.middleware())).layer)
 * )
 * ```
 *
 * @since 0.1.0
 * @category bridges
 */
export const layerRouter = <P, F, R, H, const Tags extends ReadonlyArray<AnyTag> = []>(
  middleware: Middleware<P, F, R, H>,
  _options?: BridgeOptions<Tags>
): HttpLayerRouter.Middleware<{
  provides: P
  handles: H
  error: F
  requires: Extract<R, PerRequest> | Extract<R, Identifiers<Tags>>
  layerError: never
  layerRequires: OfLayer<R, Tags, HttpLayerRouter.Provided>
}> => HttpLayerRouter.middleware<{ provides: P; handles: H }>()(captured(middleware) as never) as never

/**
 * The same for every route of the router. It does not see a request for which
 * there is no route as anything but a failure; its response phases edit that
 * response too.
 *
 * @since 0.1.0
 * @category bridges
 */
export const layerRouterGlobal = <P, F, R, H, const Tags extends ReadonlyArray<AnyTag> = []>(
  middleware: Middleware<P, F, R, H>,
  _options?: BridgeOptions<Tags>
): Layer.Layer<
  | HttpLayerRouter.Request.From<"Requires", P>
  | HttpLayerRouter.Request.From<"Error", H>
  | HttpLayerRouter.Request.From<"GlobalRequires", P>
  | HttpLayerRouter.Request.From<"GlobalError", H>,
  never,
  | HttpLayerRouter.HttpRouter
  | HttpLayerRouter.Request.From<"GlobalRequires", Extract<R, PerRequest> | Extract<R, Identifiers<Tags>>>
  | HttpLayerRouter.Request.From<"GlobalError", F>
  | OfLayer<R, Tags, HttpLayerRouter.GlobalProvided>
> => HttpLayerRouter.middleware<{ provides: P; handles: H }>()(captured(middleware) as never, { global: true }) as never

/**
 * Serves the routes of a `HttpLayerRouter` behind a stack: like `serve`, for an
 * app that is a layer of routes. The stack sees every request, unknown routes
 * included.
 *
 * @since 0.1.0
 * @category mounts
 */
export const serveRouter: {
  <P, F, R2, H>(middleware: Middleware<P, F, R2, H>): <A, E, R>(
    routes: Layer.Layer<A, E, R>
  ) => Layer.Layer<
    never,
    HttpLayerRouter.Request.Without<E>,
    HttpServer.HttpServer | Exclude<NeededByRoutes<R, P> | R2, Supplied>
  >
  <A, E, R, P, F, R2, H>(
    routes: Layer.Layer<A, E, R>,
    middleware: Middleware<P, F, R2, H>
  ): Layer.Layer<
    never,
    HttpLayerRouter.Request.Without<E>,
    HttpServer.HttpServer | Exclude<NeededByRoutes<R, P> | R2, Supplied>
  >
} = dual(
  2,
  <A, E, R, P, F, R2, H>(routes: Layer.Layer<A, E, R>, middleware: Middleware<P, F, R2, H>) =>
    Layer.unwrapScoped(
      Effect.map(layerRouterApp(routes), (app) => HttpServer.serve(middleware(app)))
    ) as never
)

type NeededByRoutes<R, P> =
  | Exclude<HttpLayerRouter.Request.Without<R>, HttpLayerRouter.HttpRouter>
  | Exclude<HttpLayerRouter.Request.Only<"Requires" | "GlobalRequires", R>, P>

/**
 * A stack as the middleware of an `HttpApi`, around all its endpoints: a layer
 * for `HttpApiBuilder.serve()`, in the place of `HttpApiBuilder.middleware`.
 *
 * @since 0.1.0
 * @category bridges
 */
export const httpApi = <P, F, R, H, const Tags extends ReadonlyArray<AnyTag> = []>(
  middleware: Middleware<P, F, R, H>,
  _options?: BridgeOptions<Tags>
): Layer.Layer<never, never, Exclude<R, Identifiers<Tags> | HttpRouter.HttpRouter.Provided>> =>
  // a refusal knows its response; the api's own error schema need not
  Layer.discard(
    HttpApiBuilder.middleware(
      Effect.map(Effect.all([HttpApiBuilder.Router, captured(middleware)]), ([router, wrap]) => {
        const routes = routesOfService(router)
        return (app: HttpApp.Default) => wrap(remember(app, routes))
      }) as never
    )
  ).pipe(Layer.provide(HttpApiBuilder.Router.Live)) as never

/**
 * A middleware of phases as the service of an `HttpApiMiddleware.Tag`, for
 * groups and endpoints. There is no app to wrap in that place: request phases,
 * one provided service and response edits work, what wraps is refused by type.
 *
 * @example
 * ```ts
 * import { HttpApiMiddleware } from "@effect/platform"
 * import { RequestId, Stack } from "effect-middleware"
 *
 * class WithRequestId extends HttpApiMiddleware.Tag<WithRequestId>()("app/WithRequestId", {
 *   provides: RequestId.RequestId
 * }) {}
 *
 * const live = Stack.httpApiMiddleware(WithRequestId, RequestId.middleware())
 * ```
 *
 * @since 0.1.0
 * @category bridges
 */
export const httpApiMiddleware = <I, A, F, R, H, P = never, const Tags extends ReadonlyArray<AnyTag> = []>(
  tag: Context.Tag<I, HttpApiMiddleware.HttpApiMiddleware<A, F>> & {
    readonly provides?: Context.Tag<P, A> | undefined
  },
  middleware: Middleware<NoInfer<P>, NoInfer<F>, R, H, string, PhaseMembers>,
  _options?: BridgeOptions<Tags>
): Layer.Layer<I, never, Exclude<R, Identifiers<Tags> | HttpRouter.HttpRouter.Provided>> =>
  Layer.effect(
    tag,
    Effect.map(Effect.context<never>(), (context) => phasesEffect(middleware, context, tag.provides?.key) as never)
  )

/**
 * The same for a tag with `security`, by which OpenAPI shows the schemes. The middleware reads the credentials, once;
 * platform's reading of them is not used.
 *
 * @example
 * ```ts
 * import { HttpApiMiddleware, HttpApiSecurity } from "@effect/platform"
 * import { Authentication, Stack } from "effect-middleware"
 *
 * class CurrentUser extends Authentication.Tag("app/CurrentUser")<CurrentUser, string>() {}
 *
 * class Authed extends HttpApiMiddleware.Tag<Authed>()("app/Authed", {
 *   provides: CurrentUser,
 *   failure: Authentication.AuthenticationError,
 *   security: { token: HttpApiSecurity.bearer }
 * }) {}
 *
 * const live = Stack.httpApiSecurity(Authed, CurrentUser.required())
 * ```
 *
 * @since 0.1.0
 * @category bridges
 */
export const httpApiSecurity = <Tag extends SecurityTag, R, H, const Tags extends ReadonlyArray<AnyTag> = []>(
  tag: Tag,
  middleware: Middleware<Provided<Tag>, Tag["failure"]["Type"], R, H, string, PhaseMembers>,
  _options?: BridgeOptions<Tags>
): Layer.Layer<Tag["Identifier"], never, Exclude<R, Identifiers<Tags> | HttpRouter.HttpRouter.Provided>> =>
  Layer.effect(
    // any tag is one: the constraint names the parts that are read
    tag as unknown as Context.Tag<Tag["Identifier"], unknown>,
    Effect.map(
      Effect.context<never>(),
      (context) => onceOf(Object.keys(tag.security), phasesEffect(middleware, context, tag.provides?.key))
    )
  )

/**
 * An `HttpApiMiddleware.Tag` with `security`.
 *
 * @since 0.1.0
 * @category models
 */
export interface SecurityTag extends AnyTag {
  readonly security: { readonly [scheme: string]: HttpApiSecurity.HttpApiSecurity }
  readonly failure: { readonly Type: unknown }
  readonly provides?: AnyTag | undefined
}
type Provided<Tag extends SecurityTag> = Tag["provides"] extends AnyTag ? Tag["provides"]["Identifier"] : never

/**
 * Platform reads the credentials of each scheme in a way of its own, which is not looked at; it tries one after the other,
 * and the last one's failure counts: that is where the phases run.
 */
const onceOf = (schemes: ReadonlyArray<string>, phases: Effect.Effect<unknown, unknown, unknown>) =>
  Object.fromEntries(schemes.map((scheme, at) => [scheme, () => at === schemes.length - 1 ? phases : another]))
const another = Effect.fail("another scheme")

const captured = (middleware: Any) =>
  Effect.map(
    Effect.context<never>(),
    (context) => (app: ErasedApp): Effect.Effect<HttpServerResponse.HttpServerResponse, unknown> =>
      // the signature of each bridge says what is required, and of whom
      apply(phasesOf(middleware), app, context) as Effect.Effect<HttpServerResponse.HttpServerResponse, unknown>
  )
