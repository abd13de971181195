/**
 * An ordered stack of middlewares as one value: written outermost first, checked
 * by the compiler, printed, edited by name, and mounted anywhere.
 *
 * @since 0.1.0
 */
import * as Cookies from "@effect/platform/Cookies"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import type * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import type * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerError from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import { dual } from "effect/Function"
import { globalValue } from "effect/GlobalValue"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import * as Entropy from "./Entropy.js"
import type { Make } from "./internal/stackMake.js"
import type { Stack, Verify } from "./internal/stackTypes.js"
import type {
  Any,
  AnyTag,
  Exchange,
  Middleware,
  Outcome,
  PerRequest,
  Phases,
  Refuse,
  RequestChanges,
  Respond,
  Wrapping
} from "./Middleware.js"
import type { ResponseDraft } from "./ResponseDraft.js"
import { Draft } from "./ResponseDraft.js"

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
  Stack
} from "./internal/stackTypes.js"

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
  <P, F, R2, H>(middleware: Middleware<P, F, R2, H>): <E, R>(app: HttpApp.Default<E, R>) => Served<P, R2, R>
  <E, R, P, F, R2, H>(app: HttpApp.Default<E, R>, middleware: Middleware<P, F, R2, H>): Served<P, R2, R>
} = dual(
  2,
  <E, R, P, F, R2, H>(app: HttpApp.Default<E, R>, middleware: Middleware<P, F, R2, H>): Served<P, R2, R> =>
    HttpServer.serve(middleware(app))
)

/**
 * @since 0.1.0
 * @category models
 */
export type Served<P, R2, R> = Layer.Layer<
  never,
  never,
  HttpServer.HttpServer | Exclude<Exclude<R, P> | R2, HttpServerRequest.HttpServerRequest | Scope.Scope>
>

/**
 * The names of the members, outermost first; those of a stack inside a stack in
 * its place.
 *
 * @since 0.1.0
 * @category inspection
 */
export const names = (middleware: Any): ReadonlyArray<string> =>
  isStack(middleware) ? middleware.members.flatMap(names) : [middleware.name]

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
  return [...rows.map(([name, facts], depth) => `${"│ ".repeat(depth)}${name}`.padEnd(width) + facts), `${
    "│ ".repeat(rows.length)
  }app`].join("\n")
}

// ---------------------------------------------------------------------------------------------------------------------
// editing
// ---------------------------------------------------------------------------------------------------------------------

type NameOf<M> = Middleware.Name<M>
type NamesOf<S extends AnyStack> = NameOf<S["members"][number]>
type Replaced<L, N, M> = { readonly [K in keyof L]: NameOf<L[K]> extends N ? M : L[K] }
type Without<L, N> = L extends readonly [infer A, ...infer T]
  ? NameOf<A> extends N ? Without<T, N> : [A, ...Without<T, N>]
  : []
type Before<L, N, M> = L extends readonly [infer A, ...infer T]
  ? NameOf<A> extends N ? [M, A, ...T] : [A, ...Before<T, N, M>]
  : []
type After<L, N, M> = L extends readonly [infer A, ...infer T]
  ? NameOf<A> extends N ? [A, M, ...T] : [A, ...After<T, N, M>]
  : []
type Edited<L> = L extends ReadonlyArray<Any> ? Stack<L> : never

/**
 * Adds a member inside all others.
 *
 * @since 0.1.0
 * @category editing
 */
export const append = <S extends AnyStack, M extends Any>(
  stack: S,
  middleware: M & Verify<[...S["members"], M]>
): Edited<[...S["members"], M]> => rebuild([...stack.members, middleware])

/**
 * Adds a member outside all others.
 *
 * @since 0.1.0
 * @category editing
 */
export const prepend = <S extends AnyStack, M extends Any>(
  stack: S,
  middleware: M & Verify<[M, ...S["members"]]>
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
  middleware: M & Verify<Before<S["members"], N, M>>
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
  middleware: M & Verify<After<S["members"], N, M>>
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
  middleware: M & Verify<Replaced<S["members"], N, M>>
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

const isStack = (middleware: Any): middleware is AnyStack => Array.isArray(middleware.members)

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
const rebuild = <L>(members: ReadonlyArray<Any>): Edited<L> => concatAll("Stack", members) as Edited<L>

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
/** What a bridge asks of each request: marked services and those the caller names. */
type OfRequest<R, Tags extends ReadonlyArray<AnyTag>> = Extract<R, PerRequest> | Extract<R, Identifiers<Tags>>
/** What a bridge asks once, of the layer. */
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
  requires: OfRequest<R, Tags>
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
  | HttpLayerRouter.Request.From<"GlobalRequires", OfRequest<R, Tags>>
  | HttpLayerRouter.Request.From<"GlobalError", F>
  | OfLayer<R, Tags, HttpLayerRouter.GlobalProvided>
> =>
  HttpLayerRouter.middleware<{ provides: P; handles: H }>()(captured(middleware) as never, { global: true }) as never

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
  ) => ServedRouter<P, R2, E, R>
  <A, E, R, P, F, R2, H>(routes: Layer.Layer<A, E, R>, middleware: Middleware<P, F, R2, H>): ServedRouter<P, R2, E, R>
} = dual(
  2,
  <A, E, R, P, F, R2, H>(routes: Layer.Layer<A, E, R>, middleware: Middleware<P, F, R2, H>): ServedRouter<P, R2, E, R> =>
    Layer.unwrapScoped(
      Effect.map(HttpLayerRouter.toHttpEffect(routes), (app) => HttpServer.serve(middleware(app)))
    ) as never
)

/**
 * @since 0.1.0
 * @category models
 */
export type ServedRouter<P, R2, E, R> = Layer.Layer<
  never,
  HttpLayerRouter.Request.Without<E>,
  | HttpServer.HttpServer
  | Exclude<
    | Exclude<HttpLayerRouter.Request.Without<R>, HttpLayerRouter.HttpRouter>
    | Exclude<HttpLayerRouter.Request.Only<"Requires" | "GlobalRequires", R>, P>
    | R2,
    HttpServerRequest.HttpServerRequest | Scope.Scope
  >
>

/**
 * A stack as the middleware of an `HttpApi`, around all its endpoints: a layer
 * for `HttpApiBuilder.serve()`, in the place of `HttpApiBuilder.middleware`.
 *
 * @since 0.1.0
 * @category bridges
 */
export const httpApi = <P, F, R, H>(
  middleware: Middleware<P, F, R, H>
): Layer.Layer<never, never, OfLayer<R, [], HttpRouter.HttpRouter.Provided>> =>
  // a refusal knows its response; the api's own error schema need not
  Layer.discard(HttpApiBuilder.middleware(captured(middleware) as never)) as never

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
export const httpApiMiddleware = <I, A, P, F, R, H>(
  tag: Context.Tag<I, HttpApiMiddleware.HttpApiMiddleware<A, F>> & {
    readonly provides?: Context.Tag<P, A> | undefined
  },
  middleware: Middleware<P, F, R, H, string, Phases>
): Layer.Layer<I, never, OfLayer<R, [], HttpRouter.HttpRouter.Provided>> =>
  Layer.effect(
    tag,
    Effect.map(Effect.context<OfLayer<R, [], HttpRouter.HttpRouter.Provided>>(), (context) =>
      phasesEffect(middleware, context, tag.provides?.key) as never)
  )

const captured = (middleware: Any) =>
  Effect.map(
    Effect.context<never>(),
    (context) => (app: ErasedApp): Effect.Effect<Response, unknown, never> =>
      // the signature of each bridge says what is required, and of whom
      apply(phasesOf(middleware), app, context) as Effect.Effect<Response, unknown>
  )

// ---------------------------------------------------------------------------------------------------------------------
// the kernel: from here on types are erased, and this file and NodeServer.ts know how fibers carry it
// ---------------------------------------------------------------------------------------------------------------------

type Response = HttpServerResponse.HttpServerResponse
export type ErasedApp = Effect.Effect<Response, unknown, unknown>
export type ErasedWrap = (app: ErasedApp) => ErasedApp
type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>
export type Ended = Refuse<unknown> | Respond | { readonly _tag: "Die"; readonly defect: unknown }

/** @internal */
export interface Phase {
  readonly name: string
  /** How a condition shows in `Stack.describe`. */
  readonly label?: string | undefined
  /** Unless met, the next `skip` phases are passed over. */
  readonly guard?: ((exchange: ExchangeImpl) => boolean | Effect.Effect<boolean, unknown, unknown>) | undefined
  readonly skip?: number | undefined
  readonly provides?: string | undefined
  readonly request?: ((exchange: Exchange) => Outcome | void) | undefined
  readonly requestEffect?: ((exchange: Exchange) => Effect.Effect<Outcome | void, unknown, unknown>) | undefined
  readonly response?:
    | ((draft: ResponseDraft, exchange: Exchange) => void | Effect.Effect<void, unknown, unknown>)
    | undefined
  readonly responseEffect?:
    | ((draft: ResponseDraft, exchange: Exchange) => Effect.Effect<void, never, unknown>)
    | undefined
  readonly around?: ErasedWrap | undefined
}

const phasesKey = Symbol.for("effect-middleware/Middleware/phases")
export const wrapping: Wrapping = { kind: "around" }
const plain: Phases = { kind: "phases" }

/**
 * The only way a middleware comes to be.
 *
 * @internal
 */
export const fromPhases = <P, F, R, H, Name extends string, Members>(
  name: Name,
  phases: ReadonlyArray<ErasedPhase>,
  members: unknown = plain
): Middleware<P, F, R, H, Name, Members> => {
  const self = (app: ErasedApp) => apply(phases as ReadonlyArray<Phase>, app)
  Object.defineProperties(self, {
    name: { value: name },
    members: { value: members, enumerable: true },
    [phasesKey]: { value: phases }
  })
  // the phantom says what the phases do; the constructors above state it from the phases' own types
  return self as unknown as Middleware<P, F, R, H, Name, Members>
}

/** A phase before its services are erased: what `requires` and `provides` declare makes `exchange.get` sound. */
type ErasedPhase = {
  readonly [K in keyof Phase]: K extends "request" | "requestEffect" | "response" | "responseEffect"
    // eslint-disable-next-line @typescript-eslint/no-explicit-any
    ? ((...args: Array<any>) => unknown) | undefined
    : Phase[K]
}

/** @internal */
export const phasesOf = (middleware: Any): ReadonlyArray<Phase> => {
  const phases = (middleware as unknown as { readonly [phasesKey]?: ReadonlyArray<Phase> })[phasesKey]
  if (phases === undefined) {
    throw new TypeError(
      "effect-middleware: expected a middleware; a plain HttpMiddleware enters by " +
        "Middleware.fromHttpMiddleware(name, middleware)"
    )
  }
  return phases
}

export const isUnwrapped = (phase: Phase) => phase.around === undefined
export const isSync = (phase: Phase) => phase.guard === undefined
const hasResponse = (phase: Phase) => phase.response !== undefined || phase.responseEffect !== undefined

/** What a request has been through in one application of a stack, and what its response still has before it. */
export class ExchangeImpl implements Exchange {
  request: HttpServerRequest.HttpServerRequest
  locals: Map<object, unknown> | undefined
  /** Response phases entered and not yet run, innermost last. */
  readonly pending: Array<Phase> = []
  /** Per frame, how much was pending when it was entered. */
  readonly bases: Array<number> = []
  /** Whether the response handler stands in the fiber, here or in a stack around this one. */
  covered: boolean
  /** Nobody of this stack is outside the fiber any more. */
  left = false
  /** The last stack entered inside this one. */
  child: ExchangeImpl | undefined
  /** How the app itself failed, to tell it from a refusal. */
  appCause: Cause.Cause<unknown> | undefined
  /** A refusal that could not be given its response (a primitive, a frozen object). */
  unarmed = false
  annotations: Array<readonly [string, unknown]> | undefined
  private ended: Ended | undefined
  waitingFor: Effect.Effect<boolean, unknown, unknown> | undefined
  private services: Map<string, unknown>
  private owned = false
  private previous: Context.Context<never> | undefined
  private registered = false
  private rendered: { readonly error: unknown; readonly response: Response } | undefined
  readonly clock: Clock.Clock

  constructor(
    fiber: Pick<AnyFiber, "currentContext"> & { readonly clock?: Clock.Clock },
    readonly stack: Compiled | undefined,
    readonly parent?: ExchangeImpl | undefined
  ) {
    this.services = fiber.currentContext.unsafeMap as Map<string, unknown>
    this.request = this.services.get(HttpServerRequest.HttpServerRequest.key) as HttpServerRequest.HttpServerRequest
    this.clock = fiber.clock ?? Context.get((fiber as AnyFiber).currentDefaultServices, Clock.Clock)
    this.covered = parent !== undefined && (parent.covered || parent.stack?.responds === true)
    if (parent !== undefined) parent.child = this
  }

  get context(): Context.Context<unknown> {
    return Context.unsafeMake(this.services)
  }
  get entropy(): Entropy.Service {
    return this.services.get(Entropy.Entropy.key) as Entropy.Service | undefined ?? defaultEntropy
  }
  get<I, S>(tag: Context.Tag<I, S>): S {
    const found = this.services.get(tag.key)
    // a Reference has a default, and what is missing dies with Effect's own message
    return found === undefined ? Context.unsafeGet(this.context as Context.Context<I>, tag) : found as S
  }
  getOption<I, S>(tag: Context.Tag<I, S>): Option.Option<S> {
    return Context.getOption(this.context, tag)
  }
  deriveRequest(changes: RequestChanges) {
    this.request = derive(this.request, changes)
    this.give(HttpServerRequest.HttpServerRequest.key, this.request)
  }
  annotateLogs(key: string, value: unknown) {
    ;(this.annotations ??= []).push([key, value])
  }
  annotateSpan(key: string, value: unknown) {
    const span = this.services.get(Tracer.ParentSpan.key) as Tracer.AnySpan | undefined
    if (span !== undefined && span._tag === "Span") span.attribute(key, value)
  }

  give(key: string, value: unknown) {
    if (!this.owned) {
      this.services = new Map(this.services)
      this.owned = true
    }
    this.services.set(key, value)
  }
  adopt(base: Context.Context<never>) {
    // what a layer captured stands behind what the request brings
    this.services = new Map([...base.unsafeMap, ...this.services])
    this.owned = true
  }
  end(ended: Ended) {
    this.ended = ended
  }
  takeEnded() {
    const ended = this.ended
    this.ended = undefined
    return ended
  }

  /**
   * Puts into the fiber what is not there yet, in one set: the response handler,
   * this exchange, the services (where there is an app for them).
   */
  install(fiber: AnyFiber) {
    const entries: Array<Setting> = []
    const stack = this.stack
    if (!this.registered && stack !== undefined && (stack.responds || stack.frames.length > 1)) {
      this.registered = true
      entries.push(setting(currentExchange, this))
      if (stack.responds && !this.covered) {
        const outer = fiber.getFiberRef(HttpApp.currentPreResponseHandlers)
        entries.push(setting(HttpApp.currentPreResponseHandlers, Option.some(handlerOf(this, outer))))
      }
    }
    if (this.owned && stack?.frames.length !== 0 && (fiber.currentContext.unsafeMap as unknown) !== this.services) {
      this.previous ??= fiber.currentContext
      entries.push(setting(FiberRef.currentContext, this.context as Context.Context<never>))
    }
    if (this.annotations !== undefined) {
      let annotations = fiber.getFiberRef(FiberRef.currentLogAnnotations)
      for (const [key, value] of this.annotations) annotations = HashMap.set(annotations, key, value)
      entries.push(setting(FiberRef.currentLogAnnotations, annotations))
      this.annotations = undefined
    }
    if (entries.length > 0) setAll(fiber, entries)
  }

  get restores() {
    return this.previous !== undefined
  }

  /** The stack is left: what it provided is gone, and its marks on a derived request are on the original. */
  leave(fiber: AnyFiber) {
    this.left = true
    if (this.previous === undefined) return
    const original = this.previous.unsafeMap.get(HttpServerRequest.HttpServerRequest.key) as
      | HttpServerRequest.HttpServerRequest
      | undefined
    if (original !== undefined && original !== this.request && isAnswered(this.request)) {
      Object.assign(original, { [answered]: true })
    }
    setAll(fiber, [setting(FiberRef.currentContext, this.previous)])
    this.previous = undefined
  }

  /** The response of a refusal that left every stack, edited: rendered once, however often it is asked for. */
  refusal(error: unknown, render: Effect.Effect<Response, unknown>): Effect.Effect<Response, unknown> {
    if (this.rendered !== undefined && this.rendered.error === error) return Effect.succeed(this.rendered.response)
    return Effect.flatMap(render, (response) =>
      Effect.map(lift(flush(this, response, 0)), (response) => {
        this.rendered = { error, response }
        return response
      }))
  }
}

const defaultEntropy = Context.get(Context.empty(), Entropy.Entropy)

/** Platform's own mark on a request whose response has been handed over. */
const answered = Symbol.for("@effect/platform/HttpApp/handled")
export const isAnswered = (request: HttpServerRequest.HttpServerRequest) => answered in request

const currentExchange = globalValue(
  "effect-middleware/Middleware/currentExchange",
  () => FiberRef.unsafeMake<ExchangeImpl | undefined>(undefined)
)
const exchangeOf = (fiber: AnyFiber) => fiber.getFiberRef(currentExchange)
export const requestOf = (fiber: AnyFiber) => Context.unsafeGet(fiber.currentContext, HttpServerRequest.HttpServerRequest)

// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Setting = readonly [ref: FiberRef.FiberRef<any>, value: unknown]
const setting = <A>(ref: FiberRef.FiberRef<A>, value: A): Setting => [ref, value]

/** What a running fiber has beside its public interface; test/platform-facts.test.ts holds it to that. */
interface FiberInternals {
  readonly _fiberRefs: FiberRefs.FiberRefs
  readonly setFiberRefs: (refs: FiberRefs.FiberRefs) => void
}

/** Several FiberRefs for the price of one; `setFiberRef` would also leave out a context that is `Equal`. */
const setAll = (fiber: AnyFiber, entries: ReadonlyArray<Setting>) => {
  const internals = fiber as unknown as FiberInternals
  const id = fiber.id()
  // the field: its getter sets the runtime flags first, at the price of another copy
  const locals = new Map(internals._fiberRefs.locals)
  for (const [ref, value] of entries) {
    const stack = locals.get(ref) ?? []
    locals.set(ref, [[id, value], ...(stack[0]?.[0] === id ? stack.slice(1) : stack)])
  }
  internals.setFiberRefs(FiberRefs.unsafeMake(locals))
}

// --- inward ----------------------------------------------------------------------------------------------------------

/**
 * Runs plain phases from `from` on. Stops at the end, at an outcome
 * (`exchange.takeEnded`) or at a phase that is an Effect, whose index it gives.
 */
export const advance = (exchange: ExchangeImpl, phases: ReadonlyArray<Phase>, from: number): number => {
  for (let i = from; i < phases.length; i++) {
    const phase = phases[i]!
    const mark = exchange.pending.length
    try {
      if (phase.guard !== undefined) {
        const verdict = phase.guard(exchange)
        if (verdict === true) continue
        if (verdict !== false) {
          exchange.waitingFor = verdict
          return i
        }
        i += phase.skip ?? 0
        continue
      }
      if (hasResponse(phase)) exchange.pending.push(phase)
      const outcome = phase.request?.(exchange)
      if (outcome === undefined || outcome._tag === "Defer") {
        if (phase.requestEffect !== undefined) return i
      } else if (outcome._tag === "Provide") {
        exchange.give(phase.provides!, outcome.value)
      } else if (outcome._tag !== "Pass") {
        exchange.end(outcome)
        return i
      }
    } catch (defect) {
      exchange.pending.length = mark
      exchange.end({ _tag: "Die", defect })
      return i
    }
  }
  return phases.length
}

/** The effect at which `advance` stopped. */
export const waiting = (
  exchange: ExchangeImpl,
  phases: ReadonlyArray<Phase>,
  at: number
): Effect.Effect<boolean | Outcome | void, unknown, unknown> => {
  const guard = exchange.waitingFor
  if (guard === undefined) return Effect.suspend(() => phases[at]!.requestEffect!(exchange))
  exchange.waitingFor = undefined
  return guard
}

/** Takes what that effect gave; the index to go on from. */
export const settle = (
  exchange: ExchangeImpl,
  phases: ReadonlyArray<Phase>,
  at: number,
  given: boolean | Outcome | void
): number => {
  const phase = phases[at]!
  if (typeof given === "boolean") return at + 1 + (given ? 0 : phase.skip ?? 0)
  if (given === undefined || given._tag === "Pass" || given._tag === "Defer") return at + 1
  if (given._tag === "Provide") {
    exchange.give(phase.provides!, given.value)
    return at + 1
  }
  exchange.end(given)
  return phases.length
}

interface Frame {
  readonly index: number
  readonly phases: ReadonlyArray<Phase>
  next: ErasedApp
}

/** @internal */
export interface Compiled {
  readonly frames: ReadonlyArray<Frame>
  readonly responds: boolean
  readonly base: Context.Context<never> | undefined
}

/**
 * Compiles phases over an app: consecutive plain phases are one frame, what
 * wraps stands between two.
 *
 * @internal
 */
export const apply = (
  phases: ReadonlyArray<Phase>,
  app: ErasedApp,
  base?: Context.Context<never> | undefined
): ErasedApp => {
  const wraps = phases.flatMap((phase, i) => phase.around === undefined ? [] : [i])
  const frames: Array<Frame> = [...wraps, phases.length - 1].map((end, index) => ({
    index,
    phases: phases.slice(index === 0 ? 0 : wraps[index - 1]! + 1, end + 1),
    next: app
  }))
  const stack: Compiled = { frames, responds: phases.some(hasResponse), base }
  for (let i = wraps.length - 1; i >= 0; i--) {
    frames[i]!.next = phases[wraps[i]!]!.around!(frameApp(stack, frames[i + 1]!))
  }
  return frameApp(stack, frames[0]!)
}

const frameApp = (stack: Compiled, frame: Frame): ErasedApp =>
  Effect.withFiberRuntime((fiber) => {
    let exchange = exchangeOf(fiber)
    if (frame.index === 0) {
      while (exchange?.left === true) exchange = exchange.parent
      exchange = new ExchangeImpl(fiber, stack, exchange)
      if (stack.base !== undefined) exchange.adopt(stack.base)
    } else {
      while (exchange !== undefined && exchange.stack !== stack) exchange = exchange.parent
      // what wraps ran its app in a fiber without this one's refs
      exchange ??= new ExchangeImpl(fiber, stack)
      // a second run, by a retry: the first one's edits are void
      const base = exchange.bases[frame.index]
      if (base !== undefined) exchange.pending.length = Math.min(base, exchange.pending.length)
    }
    exchange.bases[frame.index] = exchange.pending.length
    return enter(fiber, exchange, frame, 0)
  })

const enter = (fiber: AnyFiber, exchange: ExchangeImpl, frame: Frame, from: number): ErasedApp => {
  const at = advance(exchange, frame.phases, from)
  const ended = exchange.takeEnded()
  if (ended !== undefined) {
    if (ended._tag === "Respond") return depart(fiber, exchange, frame, ended.response)
    return refuse(fiber, exchange, frame, ended._tag === "Die" ? Cause.die(ended.defect) : Cause.fail(ended.error))
  }
  exchange.install(fiber)
  if (at === frame.phases.length) return proceed(fiber, exchange, frame)
  return Effect.matchCauseEffect(waiting(exchange, frame.phases, at), {
    onFailure: (cause) => refuse(fiber, exchange, frame, cause),
    // when it refused, `settle` gives the end, where `enter` finds what ended it
    onSuccess: (given) => enter(fiber, exchange, frame, settle(exchange, frame.phases, at, given))
  })
}

const proceed = (fiber: AnyFiber, exchange: ExchangeImpl, frame: Frame): ErasedApp => {
  const stack = exchange.stack!
  const isLast = frame.index === stack.frames.length - 1
  if (!stack.responds && stack.frames.length === 1 && !exchange.restores) return frame.next
  return Effect.matchCauseEffect(frame.next, {
    onSuccess: (response) => depart(fiber, exchange, frame, response),
    onFailure: (cause) => {
      if (isLast) exchange.appCause = cause
      if (frame.index > 0) return Effect.failCause(cause)
      // an app's own failure passes untouched; one that a wrapper made is a refusal
      if (cause === exchange.appCause || isAnswered(exchange.request)) {
        exchange.leave(fiber)
        return Effect.failCause(cause)
      }
      return refuse(fiber, exchange, frame, cause)
    }
  })
}

/** Which of two apps a request meets.
 *
 * @internal
 */
export const choose = (
  decide: (exchange: ExchangeImpl) => boolean | Effect.Effect<boolean, unknown, unknown>,
  onTrue: ErasedApp,
  onFalse: ErasedApp
): ErasedApp =>
  Effect.withFiberRuntime((fiber) => {
    const verdict = decide(exchangeOf(fiber) ?? new ExchangeImpl(fiber, undefined))
    if (typeof verdict === "boolean") return verdict ? onTrue : onFalse
    return Effect.flatMap(verdict, (verdict) => verdict ? onTrue : onFalse)
  })

// --- outward ---------------------------------------------------------------------------------------------------------

const lift = (response: Response | Effect.Effect<Response, never, unknown>): Effect.Effect<Response> =>
  HttpServerResponse.isServerResponse(response) ? Effect.succeed(response) : response as Effect.Effect<Response>

/** A response leaves through a frame. */
const depart = (fiber: AnyFiber, exchange: ExchangeImpl, frame: Frame, response: Response): ErasedApp => {
  const flushed = lift(flush(exchange, response, exchange.bases[frame.index]!))
  if (frame.index === 0) exchange.leave(fiber)
  return flushed
}

/**
 * A refusal leaves through a frame. It stays the failure it is; the response that
 * it stands for will carry the edits of everything it passes.
 */
const refuse = (
  fiber: AnyFiber,
  exchange: ExchangeImpl,
  frame: Frame,
  cause: Cause.Cause<unknown>
): ErasedApp => {
  if (exchange.stack!.responds || exchange.covered) {
    exchange.install(fiber)
    for (const error of [...Cause.failures(cause), ...Cause.defects(cause)]) exchange.unarmed = !arm(error) || exchange.unarmed
  }
  if (frame.index > 0) return Effect.failCause(cause)
  exchange.leave(fiber)
  if (!exchange.unarmed || exchange.parent !== undefined) return Effect.failCause(cause)
  // last resort: nothing can be attached to a primitive, so its response rides in the cause
  return Effect.flatMap(HttpServerError.causeResponse(cause), ([response]) =>
    Effect.flatMap(lift(flush(exchange, response, 0)), (edited) =>
      Effect.failCause(Cause.sequential(cause, Cause.die(edited)))))
}

const armedKey = Symbol.for("effect-middleware/Middleware/armed")

/**
 * Makes an error render, once it has left every stack, as the response that the
 * stack has edited. It looks the exchange up in the fiber that renders it, so one
 * error object may serve many requests.
 */
const arm = (error: unknown): boolean => {
  if (typeof error !== "object" || error === null) return false
  if (armedKey in error) return true
  if (!Object.isExtensible(error)) return false
  const original = HttpServerRespondable.isRespondable(error) ? error[HttpServerRespondable.symbol] : undefined
  // asked before the error is armed: afterwards it would ask itself
  const otherwise = HttpServerRespondable.toResponseOrElse(error, internalServerError)
  const render = () => original === undefined ? otherwise : original.call(error)
  // not seen by enumeration: the error looks as it did
  Object.defineProperty(error, armedKey, { value: true })
  Object.defineProperty(error, HttpServerRespondable.symbol, {
    configurable: true,
    value: () =>
      Effect.withFiberRuntime<Response, unknown>((fiber) => {
        let top: ExchangeImpl | undefined
        for (let e = exchangeOf(fiber); e?.left === true; e = e.parent) top = e
        return top === undefined ? render() : top.refusal(error, render())
      })
  })
  return true
}

const internalServerError = HttpServerResponse.empty({ status: 500 })

const handlerOf =
  (exchange: ExchangeImpl, outer: Option.Option<HttpApp.PreResponseHandler>): HttpApp.PreResponseHandler =>
  (request, response) => {
    const edited = lift(flush(exchange, response, 0))
    return outer._tag === "None" ? edited : Effect.flatMap(edited, (response) => outer.value(request, response))
  }

/** Takes the next response phase to run: those of a stack further in come first. */
const take = (exchange: ExchangeImpl, base: number): readonly [ExchangeImpl, Phase] | undefined => {
  if (exchange.child !== undefined) {
    const inner = take(exchange.child, 0)
    if (inner !== undefined) return inner
    exchange.child = undefined
  }
  return exchange.pending.length > base ? [exchange, exchange.pending.pop()!] : undefined
}

/**
 * Runs what is pending down to `base` on one draft, each phase once. Total: a
 * phase that throws makes the response a 500 and the log has the cause.
 */
const flush = (
  exchange: ExchangeImpl,
  response: Response,
  base: number
): Response | Effect.Effect<Response, never, unknown> => {
  if (exchange.child === undefined && exchange.pending.length <= base) return response
  const draft = new Draft(response)
  const failed = (cause: Cause.Cause<unknown>) => {
    draft.replace(internalServerError)
    return Effect.logError("A response phase failed; the response was replaced by a 500", cause)
  }
  const go = (): Effect.Effect<void, never, unknown> | undefined => {
    for (let next = take(exchange, base); next !== undefined; next = take(exchange, base)) {
      const [owner, phase] = next
      const effect = run(owner, phase)
      if (effect !== undefined) return Effect.flatMap(effect, () => go() ?? Effect.void)
    }
    return undefined
  }
  const run = (owner: ExchangeImpl, phase: Phase): Effect.Effect<void, never, unknown> | undefined => {
    try {
      const edit = phase.response?.(draft, owner)
      const effect = phase.responseEffect === undefined
        ? edit
        : Effect.zipRight(edit ?? Effect.void, Effect.suspend(() => phase.responseEffect!(draft, owner)))
      if (effect === undefined) return render()
      return Effect.suspend(() => effect).pipe(
        Effect.provide(owner.context),
        Effect.catchAllCause(failed),
        Effect.flatMap(() => render() ?? Effect.void)
      )
    } catch (defect) {
      return failed(Cause.die(defect))
    }
  }
  const render = (): Effect.Effect<void> | undefined => {
    const error = draft.unrendered
    if (error === undefined) return undefined
    draft.unrendered = undefined
    return Effect.map(
      HttpServerRespondable.toResponseOrElse(error, internalServerError),
      (response) => draft.replace(response)
    )
  }
  const effect = go()
  return effect === undefined ? draft.toResponse() : Effect.map(effect, () => draft.toResponse())
}

// --- the request -----------------------------------------------------------------------------------------------------

const baseKey = Symbol.for("effect-middleware/Middleware/base")
type Derived = HttpServerRequest.HttpServerRequest & { readonly [baseKey]: HttpServerRequest.HttpServerRequest }

/** Body accessors that cache on the instance: asked of the original, one cache serves every view. */
const shared: PropertyDescriptorMap = Object.fromEntries(
  (["arrayBuffer", "json", "multipart", "text", "urlParamsBody"] as const).map((key) => [key, {
    configurable: true,
    get(this: Derived) {
      return this[baseKey][key]
    }
  }])
)

/**
 * Another view of a request by delegation to the original, on which the servers
 * keep how to answer it; `request.modify` would lose that.
 */
const derive = (
  base: HttpServerRequest.HttpServerRequest,
  changes: RequestChanges
): HttpServerRequest.HttpServerRequest => {
  const derived = Object.create(base, shared) as Derived
  const define = (key: PropertyKey, value: unknown) =>
    Object.defineProperty(derived, key, { value, configurable: true, writable: true })
  define(baseKey, base)
  for (const key in changes) {
    const value = changes[key as keyof RequestChanges]
    if (value !== undefined) define(key, value)
  }
  if (changes.headers !== undefined && changes.headers.cookie !== base.headers.cookie) {
    define("cookies", Cookies.parseHeader(changes.headers.cookie ?? ""))
  }
  define("modify", (options: Parameters<typeof base.modify>[0]) => {
    const { headers, remoteAddress, url } = options
    return derive(derived, {
      headers,
      url,
      remoteAddress: remoteAddress === undefined ? undefined : Option.some(remoteAddress)
    })
  })
  return derived
}

// --- for Stack.ts ----------------------------------------------------------------------------------------------------

/** @internal */
export const concatAll = <Name extends string>(name: Name, members: ReadonlyArray<Any>): Any => {
  const phases = members.flatMap(phasesOf)
  const seen = new Set<string>()
  for (const { guard, name } of phases) {
    if (guard !== undefined) continue
    if (seen.has(name)) {
      throw new TypeError(
        `Stack: two middlewares are named "${name}"; give one of them another name: ` +
          `X.middleware({ name: "${name}2", ... })`
      )
    }
    seen.add(name)
  }
  return fromPhases(name, phases, members)
}

/** @internal */
export function named<Name extends string>(name: Name): Make<Name> {
  // the overloads of `Make` say what stands in which place
  return ((...members: ReadonlyArray<Any>) => concatAll(name, members)) as unknown as Make<Name>
}

/**
 * The request phases alone, where there is no app to wrap: what is refused fails,
 * what is provided is the result, responses are edited by the stack around it or,
 * without one, just before they are sent.
 *
 * @internal
 */
export const phasesEffect = (
  middleware: Any,
  base: Context.Context<never>,
  provides: string | undefined
): Effect.Effect<unknown, unknown, unknown> => {
  const phases = phasesOf(middleware)
  return Effect.withFiberRuntime((fiber) => {
    let outer = exchangeOf(fiber)
    while (outer?.left === true) outer = outer.parent
    const stack: Compiled = { frames: [], responds: phases.some(hasResponse), base }
    const exchange = new ExchangeImpl(fiber, stack, outer)
    exchange.adopt(base)
    const go = (from: number): Effect.Effect<unknown, unknown, unknown> => {
      const at = advance(exchange, phases, from)
      const ended = exchange.takeEnded()
      exchange.install(fiber)
      if (ended !== undefined) {
        // an answer here is a failure to the endpoint: it is a response, and leaves as what it is
        return ended._tag === "Respond"
          ? Effect.fail(ended.response)
          : Effect.failCause(ended._tag === "Die" ? Cause.die(ended.defect) : Cause.fail(ended.error))
      }
      if (at === phases.length) {
        return provides === undefined ? Effect.void : Effect.succeed(exchange.context.unsafeMap.get(provides))
      }
      return Effect.flatMap(
        Effect.provide(waiting(exchange, phases, at), exchange.context),
        (given) => go(settle(exchange, phases, at, given))
      )
    }
    return go(0)
  })
}
