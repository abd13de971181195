/**
 * What a middleware is: an `HttpMiddleware` that says in its type what it gives
 * to the handlers inside it, how it can refuse, what it runs on and which
 * failures it turns into responses; and the constructors and conditions to make
 * one.
 *
 * A middleware is a value with phases. The plain phases of a whole stack run as
 * one loop over functions on one mutable draft; only a phase that is an Effect
 * costs one.
 *
 * @since 0.1.0
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import type { unhandled } from "@effect/platform/HttpLayerRouter"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import type * as Entropy from "./Entropy.js"
import { rescue } from "./internal/failures.js"
import type { By, Ended, ErasedWrap, ExchangeImpl, Made, Phase } from "./internal/kernel.js"
import {
  advance,
  apply,
  choose,
  fromPhases,
  isSync,
  isUnwrapped,
  mayRespond,
  named,
  phasesOf,
  settle,
  waiting,
  wrapping
} from "./internal/kernel.js"
import { lift } from "./internal/lift.js"
import { compileExemption, compileGuard } from "./internal/pathPattern.js"
import type { Make } from "./internal/stackMake.js"
import type { ResponseDraft } from "./ResponseDraft.js"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

declare const Types: unique symbol
declare const PerRequestTypeId: unique symbol

/**
 * A function from an Effect HTTP app to an Effect HTTP app, and what it does to
 * the app's type. The parameters stand in the order of `Layer<Out, Error, In>`:
 *
 * - `Provides`: services it hands to what is inside; gone from the app's `R`.
 * - `Fails`: how it can refuse; added to the app's `E`.
 * - `Requires`: what it runs on; added to the app's `R`.
 * - `Handles`: failures of what is inside that it answers; gone from `E`.
 * - `Name`: the literal name by which a stack can be edited.
 * - `Members`: for a stack, the tuple of its members.
 *
 * It is assignable to platform's `HttpMiddleware`; a plain `HttpMiddleware`
 * enters by `fromHttpMiddleware`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Middleware<
  in Provides = never,
  out Fails = never,
  out Requires = never,
  in Handles = never,
  out Name extends string = string,
  out Members = unknown
> {
  <E, R>(app: HttpApp.Default<E, R>): HttpApp.Default<Exclude<E, Handles> | Fails, Exclude<R, Provides> | Requires>
  /**
   * Variance is written down because the generic call hides it: were it optional
   * or covariant, a `Middleware<A>` would pass for a `Middleware<A | B>`.
   */
  readonly [Types]: {
    readonly p: (_: Provides) => void
    readonly f: Fails
    readonly r: Requires
    readonly h: (_: Handles) => void
  }
  readonly name: Name
  readonly members: Members
}

/**
 * Any middleware, for constraints.
 *
 * @since 0.1.0
 * @category models
 */
export type Any = Middleware<never, unknown, unknown, never>

/**
 * @since 0.1.0
 * @category models
 */
export declare namespace Middleware {
  /**
   * @since 0.1.0
   */
  export type Provides<M> = [M] extends [Middleware<infer X, unknown, unknown, never>] ? X : never
  /**
   * @since 0.1.0
   */
  export type Fails<M> = M extends Middleware<never, infer X, unknown, never> ? X : never
  /**
   * @since 0.1.0
   */
  export type Requires<M> = M extends Middleware<never, unknown, infer X, never> ? X : never
  /**
   * @since 0.1.0
   */
  export type Handles<M> = [M] extends [Middleware<never, unknown, unknown, infer X>] ? X : never
  /**
   * @since 0.1.0
   */
  export type Name<M> = M extends { readonly name: infer X extends string } ? X : never
}

/**
 * The members of a middleware made of phases alone: it can run where there is no
 * app to wrap, such as an `HttpApi` endpoint.
 *
 * @since 0.1.0
 * @category models
 */
export interface Phases {
  readonly kind: "phases"
}

/**
 * The members of a middleware that wraps nothing: phases, or a stack of such.
 *
 * @since 0.1.0
 * @category models
 */
export type PhaseMembers = Phases | ReadonlyArray<{ readonly members: PhaseMembers }>

/**
 * The members of a middleware under a condition: of a stack, too, the whole is meant, so that an edit cannot take a
 * member out from under it.
 *
 * @since 0.1.0
 * @category models
 */
export type Undivided<M extends Any> = M["members"] extends PhaseMembers ? Phases : Wrapping

/**
 * The members of a middleware that wraps its app.
 *
 * @since 0.1.0
 * @category models
 */
export interface Wrapping {
  readonly kind: "around"
}

/**
 * What a middleware is to others, for `Stack.lint`: why one should stand outside another. Those of this package say theirs;
 * one of your own joins them by `traits` of `make`, or by `withTraits`.
 *
 * - `"guard"` may refuse a request; `"access"` by who asks, `"authentication"` by what was presented, `"csrf"` by where the
 *   request is from, `"host"` by its host, `"rate-limit"` by how many there were, `"by-client"` of each client,
 *   `"body-limit"` by the size of the body, `"permits"` by how many run; `"https"` sends to another scheme.
 * - `"trusts-host"` relies on the host of the request, which a `"host"` has looked at.
 * - `"client"` tells who the client is, `"method"` changes the method, `"decompression"` the body; `"hides-cookies"` hides
 *   them from what is inside.
 * - `"identifier"`, `"session"` and `"nonce"` are made for one request.
 * - `"log"` and `"metrics"` tell of each response, `"problem"` words refusals, `"cors"` and `"headers"` add to all.
 * - `"cache"` stores responses, `"compression"` codes them, `"etag"` gives them a tag, `"timeout"` ends them.
 *
 * @since 0.1.0
 * @category models
 */
export type Trait =
  | "access"
  | "authentication"
  | "body-limit"
  | "by-client"
  | "cache"
  | "client"
  | "compression"
  | "cors"
  | "csrf"
  | "decompression"
  | "etag"
  | "guard"
  | "headers"
  | "hides-cookies"
  | "host"
  | "https"
  | "identifier"
  | "log"
  | "method"
  | "metrics"
  | "nonce"
  | "permits"
  | "problem"
  | "rate-limit"
  | "session"
  | "timeout"
  | "trusts-host"

/**
 * Any tag, for constraints: `Context.Tag` is invariant, so this names the parts
 * that are read.
 *
 * @since 0.1.0
 * @category models
 */
export interface AnyTag {
  readonly key: string
  readonly Identifier: unknown
  readonly Service: unknown
}

/**
 * A service that lives for one request. The mark lets the bridges tell such a
 * service from one that a layer supplies once (see `Stack.layerRouter`).
 *
 * @since 0.1.0
 * @category models
 */
export interface PerRequest {
  readonly [PerRequestTypeId]: true
}

/**
 * @since 0.1.0
 * @category models
 */
export interface ServiceClass<in out Self, Id extends string, in out Shape> extends Context.Tag<Self, Shape> {
  new(_: never): Context.TagClassShape<Id, Shape> & PerRequest
  readonly key: Id
}

/**
 * A tag for a service that lives for one request.
 *
 * @example
 * ```ts
 * import { Middleware } from "effect-middleware"
 *
 * class Tenant extends Middleware.Service("app/Tenant")<Tenant, { readonly id: string }>() {}
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const Service = <const Id extends string>(id: Id) => <Self, Shape>(): ServiceClass<Self, Id, Shape> =>
  // the mark is a type alone: at run time this is Context.Tag
  Context.Tag(id)<Self, Shape>() as unknown as ServiceClass<Self, Id, Shape>

/**
 * What one request is to a plain phase, which has no Effect to ask: the request,
 * the clock, randomness and the services that stand outside it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Exchange<in R = never> {
  /** The request as this place in the stack sees it. */
  readonly request: HttpServerRequest.HttpServerRequest
  readonly clock: Clock.Clock
  readonly entropy: Entropy.Service
  /** A service that the middleware declared in `requires`, or provides itself. */
  get<T extends NamedInRequires<R>>(tag: T): T["Service"]
  /** A service that may stand outside, or not. */
  getOption<I, S>(tag: Context.Tag<I, S>): Option.Option<S>
  /** Gives what is inside another view of the request; its upgrade stays that of the original. */
  deriveRequest(changes: RequestChanges): void
  /** Annotates every log line of this request from here on. */
  annotateLogs(key: string, value: unknown): void
  /** Sets an attribute on the current span, where there is one. */
  annotateSpan(key: string, value: unknown): void
  /**
   * The pattern of the route that the router has matched, such as `/users/:id`: inside a router, and on the way out.
   * Outside the router it is what the router has told the span of platform's server; `undefined` where its tracer is
   * disabled.
   */
  readonly route: string | undefined
  /** On the way out: the last refusal of this middleware or of one further in, whatever became of it. */
  readonly refusal: Refusal | undefined
  /** Writes to the log, with the annotations of this request. */
  log(
    level: LogLevel.LogLevel,
    message: unknown,
    annotations?: { readonly [key: string]: unknown },
    cause?: Cause.Cause<unknown>
  ): void
}

/**
 * Who has refused a request, and with what.
 *
 * @since 0.1.0
 * @category models
 */
export interface Refusal {
  /** The name of the middleware. */
  readonly by: string
  readonly error: unknown
}

/**
 * A tag that the middleware declared: what the compiler prints for one that is
 * not in `requires`.
 *
 * @since 0.1.0
 * @category models
 */
export interface NamedInRequires<out R> extends AnyTag {
  readonly Identifier: R
}

/**
 * What is changed of a request for what is inside. `stream` changes its body, and runs when that is first read, in whatever
 * way: as `text`, `json`, `multipart`, `stream` and the others.
 *
 * @since 0.1.0
 * @category models
 */
export type RequestChanges = {
  readonly [K in "headers" | "method" | "remoteAddress" | "stream" | "url"]?:
    | (K extends "stream" ? (body: HttpServerRequest.HttpServerRequest[K]) => HttpServerRequest.HttpServerRequest[K]
      : HttpServerRequest.HttpServerRequest[K])
    | undefined
}

/**
 * A value that one middleware keeps for one request, from its `request` phase to
 * its `response` phase.
 *
 * @example
 * ```ts
 * import { Middleware } from "effect-middleware"
 *
 * const began = Middleware.local<number>()
 *
 * const age = Middleware.make({
 *   name: "Age",
 *   request: (exchange) => {
 *     began.set(exchange, exchange.clock.unsafeCurrentTimeMillis())
 *   },
 *   response: (draft, exchange) => {
 *     const since = began.get(exchange)
 *     if (since !== undefined) draft.set("x-took", `${exchange.clock.unsafeCurrentTimeMillis() - since}`)
 *   }
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const local = <A>(): Local<A> => {
  const key = {}
  return {
    get: (exchange) => (exchange as ExchangeImpl).locals?.get(key) as A | undefined,
    set: (exchange, value) => void ((exchange as ExchangeImpl).locals ??= new Map()).set(key, value)
  }
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Local<A> {
  readonly get: (exchange: Exchange) => A | undefined
  readonly set: (exchange: Exchange, value: A) => void
}

// ---------------------------------------------------------------------------------------------------------------------
// outcomes
// ---------------------------------------------------------------------------------------------------------------------

/**
 * What a request phase decides; nothing at all lets the request through.
 *
 * @since 0.1.0
 * @category outcomes
 */
export type Outcome<E = unknown, A = unknown> = Refuse<E> | Respond | Provide<A> | Pass | Defer

/**
 * @since 0.1.0
 * @category outcomes
 */
export interface Refuse<out E> {
  readonly _tag: "Refuse"
  readonly error: E
}
/**
 * @since 0.1.0
 * @category outcomes
 */
export interface Respond {
  readonly _tag: "Respond"
  readonly response: HttpServerResponse.HttpServerResponse
}
/**
 * @since 0.1.0
 * @category outcomes
 */
export interface Provide<out A> {
  readonly _tag: "Provide"
  readonly value: A
}
/**
 * @since 0.1.0
 * @category outcomes
 */
export interface Pass {
  readonly _tag: "Pass"
}
/**
 * @since 0.1.0
 * @category outcomes
 */
export interface Defer {
  readonly _tag: "Defer"
}

/**
 * Refuses the request with a failure, which joins the app's error channel.
 *
 * @since 0.1.0
 * @category outcomes
 */
export const Refuse = <E extends object>(error: E): Refuse<E> => ({ _tag: "Refuse", error })

/**
 * Answers the request here: a redirect, a preflight.
 *
 * @since 0.1.0
 * @category outcomes
 */
export const Respond = (response: HttpServerResponse.HttpServerResponse): Respond => ({ _tag: "Respond", response })

/**
 * Hands the declared service to what is inside.
 *
 * @since 0.1.0
 * @category outcomes
 */
export const Provide = <A>(value: A): Provide<A> => ({ _tag: "Provide", value })

/**
 * Lets the request through without running `requestEffect`.
 *
 * @since 0.1.0
 * @category outcomes
 */
export const Pass: Pass = { _tag: "Pass" }

/**
 * Leaves the decision to `requestEffect`.
 *
 * @since 0.1.0
 * @category outcomes
 */
export const Defer: Defer = { _tag: "Defer" }

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

type Identifiers<T extends ReadonlyArray<AnyTag>> = T[number]["Identifier"]
type Refused<O> = O extends Refuse<infer E> ? E : never

/**
 * What `request` may give. A middleware that provides a service must say what
 * becomes of the request on every path.
 *
 * @since 0.1.0
 * @category models
 */
export type RequestOutcome<I, S> = [I] extends [never] ? Refuse<object> | Respond | Pass | Defer | void
  : Refuse<object> | Respond | Provide<S> | Defer

/**
 * What `requestEffect` may give.
 *
 * @since 0.1.0
 * @category models
 */
export type EffectOutcome<I, S> = [I] extends [never] ? Refuse<object> | Respond | Pass | void
  : Refuse<object> | Respond | Provide<S>

/**
 * Makes a middleware of phases. Each is optional.
 *
 * - `requires`: tags that the plain phases read with `exchange.get`.
 * - `provides`: the tag of the service that `Provide` hands over.
 * - `request`: runs inward, plain code; gives `Refuse`, `Respond`, `Pass` or
 *   nothing; with `provides`, on every path, `Provide`, `Refuse`, `Respond` or
 *   `Defer`.
 * - `requestEffect`: runs inward when `request` gave nothing or `Defer`; the same,
 *   as an Effect.
 * - `response`: runs outward, once, on every response to a request that this
 *   middleware let through, whatever it came from: a handler, a failure, a defect,
 *   a refusal further in. Edits the draft; inner middlewares come first. Its own
 *   refusal is its own to word.
 * - `responseEffect`: the same as an Effect that cannot fail.
 * - `traits`: what `Stack.lint` is to know of it.
 *
 * A phase that throws is a defect, and the client gets a 500: on the way in it
 * leaves the app as any defect does, on the way out its cause is logged.
 *
 * @example
 * ```ts
 * import { Middleware } from "effect-middleware"
 * import { Schema } from "effect"
 *
 * class TeapotOnly extends Schema.TaggedError<TeapotOnly>()("TeapotOnly", {}) {}
 *
 * const teapot = Middleware.make({
 *   name: "Teapot",
 *   request: ({ request }) => request.headers["x-pot"] === "tea" ? undefined : Middleware.Refuse(new TeapotOnly()),
 *   response: (draft) => draft.set("x-short-and-stout", "1")
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <
  const Name extends string,
  const Requires extends ReadonlyArray<AnyTag> = [],
  I = never,
  S = never,
  Out extends RequestOutcome<I, S> = never,
  OutEffect extends EffectOutcome<I, S> = never,
  E = never,
  R = never,
  R2 = never
>(
  options: {
    readonly name: Name
    readonly traits?: ReadonlyArray<Trait> | undefined
    readonly requires?: Requires
    readonly provides?: Context.Tag<I, S>
    readonly request?: ((exchange: Exchange<Identifiers<Requires>>) => Out) | undefined
    readonly requestEffect?:
      | ((exchange: Exchange<Identifiers<Requires>>) => Effect.Effect<OutEffect, E, R>)
      | undefined
    readonly response?: ((draft: ResponseDraft, exchange: Exchange<Identifiers<Requires> | I>) => void) | undefined
    readonly responseEffect?:
      | ((draft: ResponseDraft, exchange: Exchange<Identifiers<Requires> | I>) => Effect.Effect<void, never, R2>)
      | undefined
  }
): Middleware<
  I,
  Refused<Out> | Refused<OutEffect> | E,
  Identifiers<Requires> | Exclude<R | Exclude<R2, I>, HttpServerRequest.HttpServerRequest>,
  never,
  Name,
  Phases
> => {
  const { name, provides, request, requestEffect, response, responseEffect, traits } = options
  if (provides !== undefined && request === undefined && requestEffect === undefined) {
    throw new TypeError(`Middleware: "${name}" provides ${provides.key} but has no request phase that could`)
  }
  return fromPhases(name, [{ name, traits, provides: provides?.key, request, requestEffect, response, responseEffect }])
}

/**
 * Wraps what is inside: for what truly surrounds it, such as a timeout, a permit
 * or a retry. What the app fails with is `unhandled`, so that a wrapper cannot
 * swallow it by accident; `Config` names what it does handle or provide.
 *
 * @example
 * ```ts
 * import { Middleware } from "effect-middleware"
 * import { Data, Effect, Option } from "effect"
 *
 * class Busy extends Data.TaggedError("Busy") {}
 *
 * const permits = Effect.unsafeMakeSemaphore(10)
 * const limit = Middleware.around("Limit", (app) =>
 *   Effect.flatMap(
 *     permits.withPermitsIfAvailable(1)(app),
 *     Option.match({ onNone: () => Effect.fail(new Busy()), onSome: Effect.succeed })
 *   ))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const around: {
  <const Name extends string, E, R>(
    name: Name,
    wrap: (app: HttpApp.Default<unhandled>) => HttpApp.Default<E, R>
  ): Middleware<never, Exclude<E, unhandled>, PlainRequires<R>, HandlesAll<E>, Name, Wrapping>
  <Config extends { readonly provides?: unknown; readonly handles?: unknown }>(): <const Name extends string, E, R>(
    name: Name,
    wrap: (app: HttpApp.Default<unhandled | ConfigHandles<Config>, ConfigProvides<Config>>) => HttpApp.Default<E, R>
  ) => Middleware<
    ConfigProvides<Config>,
    Exclude<E, unhandled>,
    PlainRequires<R>,
    ConfigHandles<Config>,
    Name,
    Wrapping
  >
} = (...args: ReadonlyArray<unknown>): never => {
  const build = (name: string, wrap: ErasedWrap) => fromPhases(name, [{ name, around: wrap }], wrapping)
  // the overloads say what the erased builder does
  return (args.length === 0 ? build : build(args[0] as string, args[1] as ErasedWrap)) as never
}

type ConfigHandles<C> = C extends { readonly handles: infer H } ? H : never
type ConfigProvides<C> = C extends { readonly provides: infer P } ? P : never
type PlainRequires<R> = Exclude<R, HttpServerRequest.HttpServerRequest>
/** A wrapper out of which `unhandled` no longer comes has answered whatever failed. */
type HandlesAll<E> = unhandled extends E ? never : unknown

/**
 * Starlette's `BaseHTTPMiddleware`, without its buffering: a function of the
 * request and of what is inside. Failures of what is inside are `unhandled` and
 * pass by; a dispatch that answers them all handles them all.
 *
 * @example
 * ```ts
 * import { HttpServerResponse } from "@effect/platform"
 * import { Middleware } from "effect-middleware"
 * import { Effect } from "effect"
 *
 * const hello = Middleware.dispatch("Hello", (request, next) =>
 *   Effect.map(next, HttpServerResponse.setHeader("x-hello", request.method)))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const dispatch = <const Name extends string, E, R>(
  name: Name,
  f: (
    request: HttpServerRequest.HttpServerRequest,
    next: HttpApp.Default<unhandled>
  ) => Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
): Middleware<never, Exclude<E, unhandled>, PlainRequires<R>, HandlesAll<E>, Name, Wrapping> =>
  around(name, (app) => Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => f(request, app)))

/**
 * Brings a plain `HttpMiddleware` into a stack.
 *
 * @example
 * ```ts
 * import { HttpMiddleware } from "@effect/platform"
 * import { Middleware } from "effect-middleware"
 *
 * const logger = Middleware.fromHttpMiddleware("Logger", HttpMiddleware.logger)
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromHttpMiddleware = <const Name extends string, E, R>(
  name: Name,
  middleware: (app: HttpApp.Default<unhandled>) => HttpApp.Default<E, R>
): Middleware<never, Exclude<E, unhandled>, PlainRequires<R>, HandlesAll<E>, Name, Wrapping> => around(name, middleware)

/**
 * Runs an effect before what is inside. A response that it returns is the answer.
 *
 * @since 0.1.0
 * @category constructors
 */
export const before = <const Name extends string, A extends HttpServerResponse.HttpServerResponse | void, E, R>(
  name: Name,
  f: (request: HttpServerRequest.HttpServerRequest) => Effect.Effect<A, E, R>
): Middleware<never, E, PlainRequires<R>, never, Name, Phases> =>
  fromPhases(name, [{
    name,
    requestEffect: ({ request }) =>
      Effect.map(f(request), (result) =>
        HttpServerResponse.isServerResponse(result)
          ? Respond(result)
          : undefined)
  }])

/**
 * Edits every response that leaves through this place. The effect cannot fail:
 * once there is a response there is nobody to fail to.
 *
 * @since 0.1.0
 * @category constructors
 */
export const after = <const Name extends string, R>(
  name: Name,
  f: (
    response: HttpServerResponse.HttpServerResponse,
    request: HttpServerRequest.HttpServerRequest
  ) => Effect.Effect<HttpServerResponse.HttpServerResponse, never, R>
): Middleware<never, never, PlainRequires<R>, never, Name, Phases> =>
  fromPhases(name, [{
    name,
    response: (draft, { request }) => {
      const result = f(draft.toResponse(), request)
      if (HttpServerResponse.isServerResponse(result)) return draft.replace(result)
      return Effect.map(result, (response) => draft.replace(response))
    }
  }])

/**
 * Answers whatever what is inside fails with. Defects and interruption pass by.
 *
 * @since 0.1.0
 * @category constructors
 */
export const onError = <const Name extends string, E, R>(
  name: Name,
  f: (
    error: unknown,
    request: HttpServerRequest.HttpServerRequest
  ) => Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
): Middleware<never, E, PlainRequires<R>, unknown, Name, Wrapping> =>
  rescue(name, ({ error, request }) => Option.some(f(error, request)), wrapping)

/**
 * Provides a service made anew for each request. What the effect acquires is
 * released with the request's scope: after the response has been sent.
 *
 * @example
 * ```ts
 * import { Middleware } from "effect-middleware"
 * import { Effect } from "effect"
 *
 * class Connection extends Middleware.Service("app/Connection")<Connection, { readonly id: number }>() {}
 *
 * const connection = Middleware.provide(
 *   Connection,
 *   Effect.acquireRelease(Effect.succeed({ id: 1 }), ({ id }) => Effect.log(`released ${id}`))
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const provide = <I, S, E, R, const Key extends string, const Name extends string = Key>(
  tag: Context.Tag<I, S> & { readonly key: Key },
  effect: Effect.Effect<S, E, R>,
  options?: { readonly name?: Name | undefined }
): Middleware<I, E, PlainRequires<R>, never, Name, Phases> => {
  const name = options?.name ?? tag.key as string as Name
  const requestEffect = Effect.map(effect, Provide)
  return fromPhases(name, [{ name, provides: tag.key, requestEffect: () => requestEffect }])
}

/**
 * The same middleware, of which `Stack.lint` knows more: for one that wraps, or that somebody else has written.
 *
 * @example
 * ```ts
 * import { HttpServerResponse } from "@effect/platform"
 * import { Middleware } from "effect-middleware"
 *
 * const secret = Middleware.dispatch("Secret", (request, next) =>
 *   request.headers["x-key"] === "secret" ? next : HttpServerResponse.empty({ status: 401 }))
 *
 * export const guard = Middleware.withTraits(secret, "guard", "access", "authentication")
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const withTraits = <M extends Any>(middleware: M, ...traits: ReadonlyArray<Trait>): M =>
  // the phases are those of `M`, and so is what they do
  fromPhases(middleware.name, phasesOf(middleware), middleware.members, { of: [middleware], traits }) as unknown as M

// ---------------------------------------------------------------------------------------------------------------------
// conditions
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Decides by the request; an Effect may ask services.
 *
 * @since 0.1.0
 * @category models
 */
export type Condition<E = never, R = never> = (
  request: HttpServerRequest.HttpServerRequest
) => boolean | Effect.Effect<boolean, E, R>

/**
 * Applies a middleware to the requests that meet the condition. Since it may not
 * have run, the result provides and handles nothing; `whenOr` keeps the types.
 *
 * Never let a request header that the client can set decide whether a security
 * middleware runs (CVE-2025-29927).
 *
 * @since 0.1.0
 * @category conditions
 */
export const when = <M extends Any, E = never, R = never>(
  condition: Condition<E, R>,
  middleware: M
): Middleware<
  never,
  Middleware.Fails<M> | E,
  Middleware.Requires<M> | PlainRequires<R>,
  never,
  Middleware.Name<M>,
  Undivided<M>
> => conditional({ label: "when", known: known.has(condition) }, (exchange) => condition(exchange.request), middleware)

/**
 * Applies a middleware to the requests that do not meet the condition.
 *
 * @since 0.1.0
 * @category conditions
 */
export const unless = <M extends Any, E = never, R = never>(
  condition: Condition<E, R>,
  middleware: M
): Middleware<
  never,
  Middleware.Fails<M> | E,
  Middleware.Requires<M> | PlainRequires<R>,
  never,
  Middleware.Name<M>,
  Undivided<M>
> =>
  conditional(
    { label: "unless", known: known.has(condition) },
    (exchange) => not(condition(exchange.request)),
    middleware
  )

/**
 * A condition that is given nothing of the request but what it names. So it cannot read a header, and `Stack.lint` lets it
 * decide whether a guard runs.
 *
 * @example
 * ```ts
 * import { Middleware } from "effect-middleware"
 * import { Option } from "effect"
 *
 * export const isLocal = Middleware.reading(
 *   ["remoteAddress"],
 *   ({ remoteAddress }) => Option.contains(remoteAddress, "127.0.0.1")
 * )
 * ```
 *
 * @since 0.1.0
 * @category conditions
 */
export const reading = <const Field extends "method" | "remoteAddress">(
  fields: ReadonlyArray<Field>,
  decide: (facts: Pick<HttpServerRequest.HttpServerRequest, Field>) => boolean
): Condition => {
  const condition: Condition = ({ method, remoteAddress }) => {
    const all = { method, remoteAddress }
    // the fields are those that the type names
    return decide(Object.fromEntries(fields.map((field) => [field, all[field]])) as never)
  }
  known.add(condition)
  return condition
}
/** The conditions of which it is known what they read. */
const known = new WeakSet<object>()

/**
 * Applies the first middleware to the requests that meet the condition and the
 * second to the others: the result provides and handles what both do.
 *
 * @since 0.1.0
 * @category conditions
 */
export const whenOr = <const Name extends string, A extends Any, B extends Any, E = never, R = never>(
  name: Name,
  condition: Condition<E, R>,
  onTrue: A,
  onFalse: B
): Middleware<
  Extract<Middleware.Provides<A>, Middleware.Provides<B>>,
  Middleware.Fails<A> | Middleware.Fails<B> | E,
  Middleware.Requires<A> | Middleware.Requires<B> | PlainRequires<R>,
  Extract<Middleware.Handles<A>, Middleware.Handles<B>>,
  Name,
  Wrapping
> => {
  const decide = (exchange: ExchangeImpl) => condition(exchange.request)
  const made: Made = { of: [onTrue, onFalse], by: { label: "whenOr", known: known.has(condition) } }
  const [yes, no] = [phasesOf(onTrue), phasesOf(onFalse)]
  if (yes.every(isUnwrapped) && no.every(isUnwrapped)) {
    // a guard that is never met is a jump over the alternative
    return fromPhases(
      name,
      [
        { name: `${name} when`, guard: decide, skip: yes.length + 1 },
        ...yes,
        { name: `${name} or`, guard: () => false, skip: no.length },
        ...no
      ],
      wrapping,
      made
    )
  }
  return fromPhases(name, [{ name, around: (app) => choose(decide, apply(yes, app), apply(no, app)) }], wrapping, made)
}

/**
 * Applies a middleware to the requests for the given routes: a guard. Written as
 * the router's own paths (`"/admin/*"`, which covers `/admin` too, `"/users/:id"`),
 * with a method before the path if wished (`"POST /login"`; `GET` covers `HEAD`).
 *
 * - Outside a router its options are unknown, so the path is read as loosely as
 *   any router of platform's may read it: any case, duplicate and trailing
 *   slashes, `;parameters`, percent-encoding. The guard may run for a path that
 *   the router does not know; it is never missed for one that it does.
 * - That holds for apps mounted inside others too, which can route `/users` to a
 *   mounted `/:id`: so a guard for `"/users/:id"` also runs for `/users`, unless
 *   `nested: false` says that no app is mounted inside another. Default: `true`.
 * - Throws on a pattern that no route can have.
 *
 * @example
 * ```ts
 * import { Middleware, TrustedHost } from "effect-middleware"
 *
 * const internal = Middleware.forRoutes(["/admin/*"], TrustedHost.middleware({ hosts: ["admin.internal"] }))
 * ```
 *
 * @since 0.1.0
 * @category conditions
 */
export const forRoutes = <M extends Any>(
  routes: ReadonlyArray<string>,
  middleware: M,
  options?: { readonly nested?: boolean | undefined }
): Middleware<
  never,
  Middleware.Fails<M>,
  Middleware.Requires<M>,
  never,
  Middleware.Name<M>,
  Undivided<M>
> => {
  const match = compileGuard(routes, options)
  return conditional<M, never, never>({ label: "forRoutes", known: true, routes }, (exchange) => {
    const { method, url } = exchange.request
    const route = routed(exchange)
    return match(method, url) || (route !== undefined && match(method, route))
  }, middleware)
}

/**
 * Applies a middleware to all requests but those for the given routes: an
 * exemption.
 *
 * - The path is read as strictly as possible: only the exact, unencoded path is
 *   exempt, `"/public/*"` not for `/public` itself, `GET` not for `HEAD`.
 * - A parameter or `*` exempts every clean path that it matches, also one that
 *   another route spells out: only a literal path means exactly one route.
 * - Where an app is mounted at the exempt path itself, `/docs?x=1` may reach a
 *   mounted `/:page`: there, put the middleware inside the mounted app.
 * - Throws on a pattern whose meaning depends on the router.
 *
 * @example
 * ```ts
 * import { Middleware, TrustedHost } from "effect-middleware"
 *
 * const hosts = Middleware.exceptRoutes(["GET /health"], TrustedHost.middleware({ hosts: ["example.com"] }))
 * ```
 *
 * @since 0.1.0
 * @category conditions
 */
export const exceptRoutes = <M extends Any>(routes: ReadonlyArray<string>, middleware: M): Middleware<
  never,
  Middleware.Fails<M>,
  Middleware.Requires<M>,
  never,
  Middleware.Name<M>,
  Undivided<M>
> => {
  const match = compileExemption(routes)
  return conditional<M, never, never>(
    { label: "exceptRoutes", known: true, routes },
    (exchange) => !match(exchange.request.method, exchange.request.url),
    middleware
  )
}

/**
 * Tries alternatives in order and takes the first that lets the request through.
 *
 * - Goes on when an alternative refuses, or answers itself; nothing is left of it.
 *   A failing effect (a store that is down) stops it.
 * - If all refuse, the refusal of the first, the preferred one, is the answer.
 * - An alternative that wraps its app cannot be tried and is refused by type.
 *
 * @since 0.1.0
 * @category conditions
 */
export const firstOf = <
  const Name extends string,
  const L extends readonly [PhasesOnly, PhasesOnly, ...ReadonlyArray<PhasesOnly>]
>(
  name: Name,
  ...alternatives: L
): Middleware<
  Common<L>,
  Middleware.Fails<L[number]>,
  Middleware.Requires<L[number]>,
  never,
  Name,
  Phases
> => {
  const all = alternatives.map(phasesOf)
  const run = (exchange: ExchangeImpl) => attempt(exchange, all, 0, undefined)
  const responds = all.flat().some(mayRespond)
  const phase: Phase = all.flat().every(isSync)
    ? { name, responds, request: (exchange) => run(exchange as ExchangeImpl) as Outcome }
    : {
      name,
      responds,
      requestEffect: (exchange) => lift(run(exchange as ExchangeImpl))
    }
  return fromPhases(name, [phase], undefined, { of: alternatives })
}

/**
 * @since 0.1.0
 * @category models
 */
export type PhasesOnly = Middleware<never, unknown, unknown, never, string, PhaseMembers>

/** What every alternative provides. */
type Common<L extends ReadonlyArray<unknown>> = L extends readonly [infer A, ...infer T]
  ? T extends readonly [] ? Middleware.Provides<A> : Extract<Middleware.Provides<A>, Common<T>>
  : never

const attempt = (
  exchange: ExchangeImpl,
  alternatives: ReadonlyArray<ReadonlyArray<Phase>>,
  index: number,
  first: Ended | undefined
): Outcome | Effect.Effect<Outcome, unknown, unknown> => {
  const phases = alternatives[index]
  if (phases === undefined) return first as Outcome
  const undo = exchange.attempt()
  const go = (from: number): Outcome | Effect.Effect<Outcome, unknown, unknown> => {
    const at = advance(exchange, phases, from)
    const ended = exchange.takeEnded()
    if (ended === undefined) {
      if (at === phases.length) return Pass
      return Effect.flatMap(
        Effect.provide(waiting(exchange, phases, at), exchange.context),
        (given) => lift(go(settle(exchange, phases, at, given)))
      )
    }
    undo()
    if (ended._tag === "Die") throw ended.defect
    return attempt(exchange, alternatives, index + 1, first ?? ended)
  }
  return go(0)
}

const conditional = <M extends Any, E, R>(
  by: By,
  decide: (exchange: ExchangeImpl) => boolean | Effect.Effect<boolean, E, R>,
  middleware: M
): Middleware<
  never,
  Middleware.Fails<M> | E,
  Middleware.Requires<M> | PlainRequires<R>,
  never,
  Middleware.Name<M>,
  Undivided<M>
> => {
  const phases = phasesOf(middleware)
  const { label } = by
  const made: Made = { of: [middleware], by }
  const name = middleware.name as Middleware.Name<M>
  if (phases.every(isUnwrapped)) {
    return fromPhases(name, [{ name: label, guard: decide, skip: phases.length }, ...phases], undefined, made)
  }
  return fromPhases(name, [{ name, label, around: (app) => choose(decide, apply(phases, app), app) }], wrapping, made)
}

const not = <E, R>(verdict: boolean | Effect.Effect<boolean, E, R>) =>
  typeof verdict === "boolean" ? !verdict : Effect.map(verdict, (verdict) => !verdict)

/** The pattern that the router matched, where the middleware stands inside one. */
const routed = (exchange: ExchangeImpl): string | undefined => {
  const context = exchange.getOption(HttpRouter.RouteContext)
  return context._tag === "Some" ? context.value.route.path : undefined
}

/**
 * All of several middlewares, in order, under one name: a stack that is edited as
 * one.
 *
 * @example
 * ```ts
 * import { Forwarded, Middleware, TrustedHost } from "effect-middleware"
 *
 * const arrival = Middleware.every("Arrival")(
 *   Forwarded.middleware({ trust: "none" }),
 *   TrustedHost.middleware({ hosts: ["example.com"] })
 * )
 * ```
 *
 * @since 0.1.0
 * @category conditions
 */
export const every: <const Name extends string>(name: Name) => Make<Name> = named
