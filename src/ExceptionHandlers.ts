/**
 * Turns typed failures into responses, and says so in the type: what is handled
 * is gone from the error channel, what is not stays.
 *
 * @since 0.1.0
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { rescue } from "./internal/kernel.js"
import type { Middleware, Wrapping } from "./Middleware.js"

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

/** A handler that does not look at the failure handles whatever has the tag; of tags that are not known, none is handled. */
type HandledBy<Tag, H> = string extends Tag ? never
  : H extends (error: infer A, ...rest: never) => unknown
    ? [A] extends [never] ? { readonly _tag: Tag } : unknown extends A ? { readonly _tag: Tag } : A
  : never

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
 * - The first failure of a cause decides; defects and interruption pass.
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
  options?: { readonly name?: Name | undefined }
): Middleware<
  never,
  { [Tag in keyof H]: FailsOf<H[Tag]> }[keyof H],
  { [Tag in keyof H]: RequiresOf<H[Tag]> }[keyof H],
  { [Tag in keyof H]: HandledBy<Tag, H[Tag]> }[keyof H],
  Name,
  Wrapping
> =>
  rescue(options?.name ?? "ExceptionHandlers" as Name, (error, request) => {
    const handler = Object.hasOwn(handlers, tagOf(error)) ? (handlers as Handlers)[tagOf(error)] : undefined
    // the key is the failure's tag, which is all that the handler's parameter asks
    return handler === undefined ? Option.none() : Option.some(handler(error as never, request) as never)
  })

const tagOf = (error: unknown): string =>
  typeof error === "object" && error !== null && "_tag" in error && typeof error._tag === "string" ? error._tag : ""
