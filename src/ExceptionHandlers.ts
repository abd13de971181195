/**
 * Turns failures into responses, and says so in the type: what is handled is gone from the error channel, what is not
 * stays.
 *
 * Handlers are middlewares that can be joined to one (`concat`). Of those that fit a failure, one answers:
 *
 * 1. `byTag`: the one for its tag.
 * 2. `byClass`: the one for its class, or for the nearest class that it extends.
 * 3. `byPredicate`: the first whose predicate holds, those joined last first.
 * 4. `byStatus`: the one for the fewest statuses, among them the one that the failure would be answered with.
 * 5. `standard`.
 *
 * Of two for the same tag, class or statuses the one joined last counts.
 *
 * @since 0.1.0
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as ParseResult from "effect/ParseResult"
import type * as Predicate from "effect/Predicate"
import { type Answer, answerOf, constant, tagOf } from "./internal/answers.js"
import { type Failed, rescue } from "./internal/failures.js"
import type { Middleware, Wrapping } from "./Middleware.js"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A handler answers a failure: with a response, or an effect of one that may use
 * services and may itself fail.
 *
 * @since 0.1.0
 * @category models
 */
export type Handler<Failure = never, E = unknown, R = unknown> = (
  error: Failure,
  request: HttpServerRequest.HttpServerRequest
) => Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>

/**
 * @since 0.1.0
 * @category models
 */
export interface Handlers {
  readonly [tag: string]: Handler
}

/**
 * A handler by status is also given the response that the failure would be answered with.
 *
 * @since 0.1.0
 * @category models
 */
export type StatusHandler<E = unknown, R = unknown> = (
  error: unknown,
  request: HttpServerRequest.HttpServerRequest,
  response: HttpServerResponse.HttpServerResponse
) => Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<Name extends string = string> {
  /** Whether it answers defects too, by the same rule. The types do not know defects. Default: `false`. */
  readonly defects?: boolean | undefined
  readonly name?: Name | undefined
}

/**
 * The members of handlers: what `concat` joins.
 *
 * @since 0.1.0
 * @category models
 */
export interface Handling extends Wrapping {
  readonly rules: ReadonlyArray<Rule>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Rule {
  readonly kind: "tag" | "class" | "predicate" | "status" | "standard"
}

/**
 * Any handlers, for constraints.
 *
 * @since 0.1.0
 * @category models
 */
export type Any = Middleware<never, unknown, unknown, never, string, Handling>

/**
 * What the compiler prints for a handler whose failure has another tag than its
 * key.
 *
 * @since 0.1.0
 * @category models
 */
export interface MustHaveTag<Tag> {
  // the compiler names the property that a function lacks only if a function is asked for
  (error: never): unknown
  readonly "the failure this handler takes does not have the tag it stands under": Tag
}

/**
 * What the compiler prints for handlers that leave failures unhandled.
 *
 * @since 0.1.0
 * @category models
 */
export interface MustHandle<Failures> {
  // the compiler names the property that a function lacks only if a function is asked for
  (app: never): unknown
  readonly "these failures have no handler here": Failures
}

// ---------------------------------------------------------------------------------------------------------------------
// by tag, class, predicate, status
// ---------------------------------------------------------------------------------------------------------------------

/** A handler that does not look at the failure handles whatever has the tag; of tags that are not known, none is handled. */
type HandledBy<Tag, H> = string extends Tag ? never
  : H extends (error: infer A, ...rest: never) => unknown
    ? [A] extends [never] ? { readonly _tag: Tag } : unknown extends A ? { readonly _tag: Tag } : A
  : never

type Matching<Tag, H> = [HandledBy<Tag, H>] extends [{ readonly _tag: Tag }] ? unknown : MustHaveTag<Tag>

// not by ReturnType, which is `any` for a function of `never`
type FailsOf<H> = H extends (...args: never) => Effect.Effect<unknown, infer E, unknown> ? E : never
type RequiresOf<H> = H extends (...args: never) => Effect.Effect<unknown, unknown, infer R>
  ? Exclude<R, HttpServerRequest.HttpServerRequest>
  : never

/**
 * Handles failures by their `_tag`.
 *
 * - Annotate the parameter of a handler that looks at the failure; its type is
 *   what leaves the error channel.
 * - The first failure of a cause decides; interruption passes, and so do defects
 *   unless `defects` is set.
 * - A handler that fails leaves its own failure in the error channel.
 * - The response passes the middlewares that stand outside, and receives the
 *   edits of those inside that the failure left behind.
 * - In platform's `serve(middleware)` mounts the response has already left: the
 *   handler's answer cannot be sent, which is logged once, as an error.
 *
 * @example
 * ```ts
 * import { ExceptionHandlers, ProblemDetails, Stack } from "effect-middleware"
 * import { Schema } from "effect"
 *
 * class NoteNotFound extends Schema.TaggedError<NoteNotFound>()("NoteNotFound", { id: Schema.Number }) {}
 *
 * const stack = Stack.make(
 *   ExceptionHandlers.byTag({
 *     NoteNotFound: (error: NoteNotFound) => ProblemDetails.toResponse({ status: 404, detail: `No note ${error.id}` }),
 *     RouteNotFound: () => ProblemDetails.toResponse({ status: 404 })
 *   })
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const byTag = <const H extends Handlers, const Name extends string = "ExceptionHandlers">(
  handlers: { readonly [Tag in keyof H]: Matching<Tag, H[Tag]> & H[Tag] },
  options?: Options<Name>
): Middleware<
  never,
  { [Tag in keyof H]: FailsOf<H[Tag]> }[keyof H],
  { [Tag in keyof H]: RequiresOf<H[Tag]> }[keyof H],
  { [Tag in keyof H]: HandledBy<Tag, H[Tag]> }[keyof H],
  Name,
  Handling
> =>
  fromRules(
    options?.name,
    Object.entries(handlers as Handlers).map(([tag, handler]) => ({
      kind: "tag",
      tag,
      handler,
      defects: options?.defects === true
    }))
  )

/**
 * Handles failures that are instances of a class. Of several classes that a failure is an instance of, the nearest
 * counts.
 *
 * @example
 * ```ts
 * import { ExceptionHandlers, ProblemDetails } from "effect-middleware"
 *
 * class DatabaseError extends Error {}
 * class DeadlockError extends DatabaseError {}
 *
 * const errors = ExceptionHandlers.concat(
 *   ExceptionHandlers.byClass(DatabaseError, () => ProblemDetails.toResponse({ status: 503 })),
 *   ExceptionHandlers.byClass(DeadlockError, () => ProblemDetails.toResponse({ status: 409 }))
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const byClass = <Failure extends object, E, R, const Name extends string = "ExceptionHandlers">(
  Class: abstract new(...args: never) => Failure,
  handler: Handler<NoInfer<Failure>, E, R>,
  options?: Options<Name>
): Middleware<never, E, Exclude<R, HttpServerRequest.HttpServerRequest>, Failure, Name, Handling> =>
  fromRules(options?.name, [{
    kind: "class",
    prototype: Class.prototype as object,
    handler,
    defects: options?.defects === true
  }])

/**
 * Handles failures for which a predicate holds. What a refinement picks out leaves the error channel; what a mere
 * predicate does is unknown to the types, and stays in them.
 *
 * @example
 * ```ts
 * import { ExceptionHandlers, ProblemDetails } from "effect-middleware"
 * import { Cause } from "effect"
 *
 * const timeouts = ExceptionHandlers.byPredicate(
 *   Cause.isTimeoutException,
 *   () => ProblemDetails.toResponse({ status: 504 })
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const byPredicate: {
  <Failure, E, R, const Name extends string = "ExceptionHandlers">(
    refinement: Predicate.Refinement<unknown, Failure>,
    handler: Handler<NoInfer<Failure>, E, R>,
    options?: Options<Name>
  ): Middleware<never, E, Exclude<R, HttpServerRequest.HttpServerRequest>, Failure, Name, Handling>
  <E, R, const Name extends string = "ExceptionHandlers">(
    predicate: Predicate.Predicate<unknown>,
    handler: Handler<unknown, E, R>,
    options?: Options<Name>
  ): Middleware<never, E, Exclude<R, HttpServerRequest.HttpServerRequest>, never, Name, Handling>
} = <Failure, E, R, const Name extends string>(
  predicate: Predicate.Predicate<unknown>,
  handler: Handler<never, E, R>,
  options?: Options<Name>
): Middleware<never, E, Exclude<R, HttpServerRequest.HttpServerRequest>, Failure, Name, Handling> =>
  fromRules(options?.name, [{
    kind: "predicate",
    predicate,
    handler,
    defects: options?.defects === true
  }])

/**
 * Handles failures by the status that they would be answered with: one, or a range of two, both included. The handler
 * is also given that response. A failure that nobody has a response for would be answered with 500.
 *
 * Which failures those are is unknown to the types, and so they stay in them. Throws on a status or a range that is
 * none.
 *
 * @example
 * ```ts
 * import { HttpServerResponse } from "@effect/platform"
 * import { ExceptionHandlers } from "effect-middleware"
 *
 * const errors = ExceptionHandlers.concat(
 *   ExceptionHandlers.standard(),
 *   ExceptionHandlers.byStatus(404, (_, request) => HttpServerResponse.html`<h1>Nothing at ${request.url}</h1>`)
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const byStatus = <E, R, const Name extends string = "ExceptionHandlers">(
  status: number | readonly [from: number, to: number],
  handler: StatusHandler<E, R>,
  options?: Options<Name>
): Middleware<never, E, Exclude<R, HttpServerRequest.HttpServerRequest>, never, Name, Handling> => {
  const [from, to] = typeof status === "number" ? [status, status] : status
  if (!Number.isInteger(from) || !Number.isInteger(to) || from < 200 || to > 599 || from > to) {
    throw new TypeError(
      `ExceptionHandlers: ${JSON.stringify(status)} is no status; use one of 200 to 599, or two: [500, 599]`
    )
  }
  return fromRules(options?.name, [{
    kind: "status",
    from,
    to,
    handler,
    defects: options?.defects === true
  }])
}

// ---------------------------------------------------------------------------------------------------------------------
// sets
// ---------------------------------------------------------------------------------------------------------------------

type HandlesOf<L> = { [I in keyof L]: Middleware.Handles<L[I]> } extends infer T extends ReadonlyArray<unknown>
  ? T[number]
  : never

/**
 * Joins handlers to one middleware, which has the name of the first. What a handler of one fails with, the others do
 * not see: for that, let them stand in a stack one inside the other.
 *
 * @example
 * ```ts
 * import { ExceptionHandlers, ProblemDetails } from "effect-middleware"
 *
 * const errors = ExceptionHandlers.concat(
 *   ExceptionHandlers.standard(),
 *   ExceptionHandlers.byTag({ Locked: () => ProblemDetails.toResponse({ status: 423 }) })
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const concat = <const L extends readonly [Any, ...ReadonlyArray<Any>]>(
  ...handlers: L
): Middleware<
  never,
  Middleware.Fails<L[number]>,
  Middleware.Requires<L[number]>,
  HandlesOf<L>,
  Middleware.Name<L[0]>,
  Handling
> =>
  fromRules(
    handlers[0].name as Middleware.Name<L[0]>,
    handlers.flatMap(({ members }) => members.rules) as ReadonlyArray<Compilable>
  )

type TagsOf<E> = E extends { readonly _tag: infer Tag } ? Tag : E

/**
 * States which failures there are, and gives the handlers back: one that is forgotten is a compile error.
 *
 * @example
 * ```ts
 * import type { HttpApp } from "@effect/platform"
 * import { ExceptionHandlers, HttpException } from "effect-middleware"
 * import { Effect, Schema } from "effect"
 *
 * class Locked extends Schema.TaggedError<Locked>()("Locked", {}) {}
 * declare const app: HttpApp.Default<Locked | HttpException.HttpException>
 *
 * const errors = ExceptionHandlers.exhaustive<Effect.Effect.Error<typeof app>>()(
 *   ExceptionHandlers.concat(
 *     ExceptionHandlers.standard(),
 *     ExceptionHandlers.byTag({ Locked: () => HttpException.locked().response })
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const exhaustive = <Failures>() =>
<H extends Any>(
  handlers:
    & ([Exclude<Failures, Middleware.Handles<H>>] extends [never] ? unknown
      : MustHandle<TagsOf<Exclude<Failures, Middleware.Handles<H>>>>)
    & H
): H => handlers

// ---------------------------------------------------------------------------------------------------------------------
// what knows its answer
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The failures that `standard` answers, whatever they are. It also answers what has nothing but a status; but a class
 * does not show that in its type, and so those stay in the error channel.
 *
 * @since 0.1.0
 * @category models
 */
export type Standard =
  | HttpServerRespondable.Respondable
  | HttpServerResponse.HttpServerResponse
  | ParseResult.ParseError
  | Cause.NoSuchElementException

/**
 * Answers what says by itself how it wants to be answered, and what platform's own parts fail with:
 *
 * | failure | answer |
 * |---|---|
 * | `HttpException`, a refusal, any `HttpServerRespondable`, a response | its own |
 * | `RouteNotFound` | 404; 405 with `Allow` where the path is known with another method |
 * | `ParseError` | 400, or 422 where it was in the content; with the paths that failed |
 * | `RequestError` | 400; 413 for too much content; 415 for content that says it is something else |
 * | `MultipartError` | 400, 413, 415; none for a failure of the server |
 * | another error with a status by `HttpApiSchema.annotations`, such as those of `HttpApiError` | that status |
 * | `NoSuchElementException` | 404 |
 *
 * None of them says anything of what the client sent, or of the cause. A `RequestError` and a `MultipartError` are
 * answered as defects too, since that is what an `HttpApi` makes of them. An error that throws as it renders is a
 * defect. Inside `Stack.httpApi`, an error that has nothing but a status is left to the api, whose schema knows it.
 *
 * @example
 * ```ts
 * import { ExceptionHandlers, ProblemDetails, RequestId, Stack } from "effect-middleware"
 *
 * const stack = Stack.make(RequestId.middleware(), ProblemDetails.middleware(), ExceptionHandlers.standard())
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const standard = <const Name extends string = "ExceptionHandlers">(
  options?: { readonly name?: Name | undefined }
): Middleware<never, never, never, Standard, Name, Handling> => fromRules(options?.name, [{ kind: "standard" }])

// ---------------------------------------------------------------------------------------------------------------------
// the choice of a handler
// ---------------------------------------------------------------------------------------------------------------------

type Compilable =
  | { readonly kind: "tag"; readonly tag: string; readonly handler: Handler; readonly defects: boolean }
  | { readonly kind: "class"; readonly prototype: object; readonly handler: Handler; readonly defects: boolean }
  | {
    readonly kind: "predicate"
    readonly predicate: Predicate.Predicate<unknown>
    readonly handler: Handler
    readonly defects: boolean
  }
  | {
    readonly kind: "status"
    readonly from: number
    readonly to: number
    readonly handler: StatusHandler
    readonly defects: boolean
  }
  | { readonly kind: "standard" }

type Of<Kind> = Extract<Compilable, { readonly kind: Kind }>

/** The signature of each constructor says what its rules handle. */
const fromRules = <Fails, Requires, Handles, Name extends string>(
  name: Name | undefined,
  rules: ReadonlyArray<Compilable>
): Middleware<never, Fails, Requires, Handles, Name, Handling> => {
  const of = <K extends Compilable["kind"]>(kind: K) =>
    rules.filter((rule): rule is Extract<Compilable, { readonly kind: K }> => rule.kind === kind)
  const tags = new Map(of("tag").map((rule) => [rule.tag, rule]))
  const classes = new Map(of("class").map((rule) => [rule.prototype, rule]))
  // the last joined first; sorting keeps that order among equals
  const predicates = of("predicate").reverse()
  const statuses = of("status").reverse().sort((a, b) => (a.to - a.from) - (b.to - b.from))
  const isStandard = of("standard").length > 0
  const defects = isStandard || rules.some((rule) => rule.kind !== "standard" && rule.defects)

  const handlerOf = ({ defect, error }: Failed): Handler | undefined => {
    const meant = (rule: Of<"tag" | "class" | "predicate"> | undefined) =>
      rule !== undefined && (rule.defects || !defect) ? rule.handler : undefined
    const byTag = tags.size === 0 ? undefined : meant(tags.get(tagOf(error)))
    if (byTag !== undefined) return byTag
    if (classes.size > 0 && typeof error === "object" && error !== null) {
      for (let p: object | null = Object.getPrototypeOf(error); p !== null; p = Object.getPrototypeOf(p)) {
        const byClass = meant(classes.get(p))
        if (byClass !== undefined) return byClass
      }
    }
    return meant(predicates.find((rule) => (rule.defects || !defect) && rule.predicate(error)))
  }

  return rescue(
    name ?? "ExceptionHandlers" as Name,
    (failed) => {
      const { defect, error, request } = failed
      const handler = handlerOf(failed)
      // by the rule that chose it the error is what its parameter asks
      if (handler !== undefined) return Option.some(interruptible(handler(error as never, request)))
      const meant = statuses.filter((rule) => rule.defects || !defect)
      if (!isStandard && meant.length === 0) return Option.none()
      const answer = answerOf(failed)
      const standard = isStandard ? Option.fromNullable(answer) : Option.none()
      if (meant.length === 0) return standard
      const byStatus = (response: HttpServerResponse.HttpServerResponse, otherwise: Option.Option<Answer>) => {
        const rule = meant.find(({ from, to }) => from <= response.status && response.status <= to)
        return rule === undefined ? otherwise : Option.some(interruptible(rule.handler(error, request, response)))
      }
      if (answer === undefined || HttpServerResponse.isServerResponse(answer)) {
        return byStatus(answer ?? constant(500), standard)
      }
      return Effect.match(Effect.sandbox(answer), {
        onSuccess: (response) => byStatus(response, isStandard ? Option.some(response) : standard),
        onFailure: (cause) => byStatus(constant(500), isStandard ? Option.some(Effect.failCause(cause)) : standard)
      })
    },
    { kind: "around", rules },
    defects,
    (failed) => {
      if (handlerOf(failed) !== undefined || statuses.length > 0) return undefined
      if (!isStandard) return "passes"
      const answer = answerOf(failed)
      return answer === undefined ? "passes" : HttpServerResponse.isServerResponse(answer) ? answer : undefined
    }
  ) as Middleware<never, Fails, Requires, Handles, Name, Handling>
}

/** As a route's handler is, so that a client that goes away need not be waited for. */
const interruptible = <E, R>(answer: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>): typeof answer =>
  HttpServerResponse.isServerResponse(answer) ? answer : Effect.interruptible(answer)
