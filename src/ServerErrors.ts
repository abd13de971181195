/**
 * The outermost layer: answers what nobody has answered, and tells of it once.
 *
 * | what comes to it | the client gets | the log and the reporter |
 * |---|---|---|
 * | a failure that knows its answer, of 4xx | that answer | nothing |
 * | a failure that knows its answer, of 5xx | that answer | the cause |
 * | another failure, a defect | a constant 500, what `handler` gives, or the debug page | the cause |
 * | an interruption, as the server shuts down | 503 | a warning, without a cause |
 * | an interruption, since the client has gone | nothing; 499 in the access log | nothing |
 * | a body that fails after the header was sent | a connection that is cut off | the cause |
 * | a response phase that fails | as for a defect, with the edits of the others | the cause |
 *
 * @since 0.1.0
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as DebugPage from "./DebugPage.js"
import { answerOf, constant } from "./internal/answers.js"
import { guard, type Recorder, recorder } from "./internal/failures.js"
import type { ExchangeImpl } from "./internal/kernel.js"
import { report } from "./internal/report.js"
import * as Middleware from "./Middleware.js"

/**
 * Gives the response for what nobody has answered. Where it fails the client gets the constant 500, and the log has both
 * causes.
 *
 * @since 0.1.0
 * @category models
 */
export type Handler<out R = unknown> = (
  cause: Cause.Cause<unknown>,
  request: HttpServerRequest.HttpServerRequest
) => Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, R>

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<out R = unknown, out Name extends string = string> {
  /** Default: a problem of status 500 that says nothing else. */
  readonly handler?: Handler<R> | undefined
  /**
   * Shows the debug page to those who may see it; `true` for its defaults. It goes before `handler`. Default: what the
   * `DebugPage` of the server says, which is none.
   */
  readonly debug?: boolean | DebugPage.Options | undefined
  readonly name?: Name | undefined
}

/**
 * Answers whatever fails inside: no failure leaves it, whatever the app's type says. Which failures have an answer of
 * their own, see `ExceptionHandlers.standard`, whose answers it shares.
 *
 * - Put it first, around all others. What they do to responses, they do to its responses too.
 * - The constant 500 says nothing of the cause. `ProblemDetails.middleware` gives it the form that the client asks for.
 * - The span that platform's server makes for the request ends as failed.
 * - In platform's `serve(middleware)` mounts the response has left before it sees the failure: there it tells of it, and
 *   what the client gets is platform's own, with the edits of the stack.
 * - Inside `Stack.httpApi` the failures that an api declares are left to the api.
 *
 * @example
 * ```ts
 * import { HttpRouter } from "@effect/platform"
 * import { DebugPage, ProblemDetails, RequestId, ServerErrors, Stack } from "effect-middleware"
 * import { Config, Layer } from "effect"
 *
 * const stack = Stack.make(ServerErrors.middleware(), RequestId.middleware(), ProblemDetails.middleware())
 *
 * const server = Stack.serve(HttpRouter.empty, stack).pipe(
 *   Layer.provide(DebugPage.layerConfig(Config.withDefault(Config.boolean("DEBUG"), false)))
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <R = never, const Name extends string = "ServerErrors">(
  options: Options<R, Name> = {}
): Middleware.Middleware<
  never,
  never,
  Exclude<R, HttpServerRequest.HttpServerRequest>,
  unknown,
  Name,
  Middleware.Wrapping
> => {
  const { debug, handler } = options
  const fixed = debug === undefined
    ? undefined
    : debug === false
    ? Option.none()
    : Option.some(DebugPage.make(debug === true ? {} : debug))
  const recordings = Middleware.local<readonly [page: DebugPage.Service, recorder: Recorder]>()
  const pageFor = (exchange: ExchangeImpl): DebugPage.Service | undefined => {
    const page = fixed ?? exchange.get(DebugPage.DebugPage)
    return page._tag === "Some" && page.value.sees(exchange) ? page.value : undefined
  }
  return guard(options.name ?? "ServerErrors" as Name, {
    answerOf,
    unavailable: constant(503),
    prepares: (exchange) => pageFor(exchange) !== undefined,
    prepare: (app, exchange) => {
      const page = pageFor(exchange)
      if (page === undefined) return app
      const recording = recorder(exchange)
      recordings.set(exchange, [page, recording])
      return recording.record(app)
    },
    answer: (unanswered, exchange) => {
      const recorded = recordings.get(exchange)
      const [what, answer] = recorded !== undefined
        ? ["debug page", () => shown(recorded[0].render(recorded[1].recording(unanswered)), exchange)] as const
        : ["handler", handler && (() => Effect.interruptible(handler(unanswered.cause, unanswered.request)))] as const
      if (answer === undefined) return Effect.succeed(constant(500))
      return Effect.catchAllCause(Effect.suspend(answer), (cause) => {
        // a client that leaves is not waited for
        const failed = Cause.isInterruptedOnly(cause)
          ? Effect.void
          : report(`The ${what} of ServerErrors failed`, { ...unanswered, cause, part: "handler" })
        return Effect.as(failed, constant(500))
      })
    }
  })
}

/** What stands inside edits the page as any response, but for what it needs to work and to be kept by nobody. */
const shown = (page: Effect.Effect<HttpServerResponse.HttpServerResponse>, run: ExchangeImpl) =>
  Effect.map(page, (response) => {
    run.enter({
      name: "ServerErrors",
      response: (draft) => {
        if (draft.get("content-type") !== response.headers["content-type"]) return
        for (const name of ["cache-control", "content-security-policy"]) {
          const value = response.headers[name]
          if (value !== undefined) draft.set(name, value)
        }
      }
    })
    return response
  })
