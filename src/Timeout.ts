/**
 * Ends what takes too long: a handler that does not answer, a body that does not come to its end.
 *
 * 1. `limit` is the time from here inward until the app has answered. Then it is interrupted, its finalizers run, and the
 *    request is refused with `TimedOut`. Bodies and WebSockets are no part of it: an answer that has begun is in time.
 * 2. It is interrupted in every mount, also where platform's server could not be: and so, with this around it, by a client
 *    that leaves too. What is `Effect.uninterruptible` runs to its end first. A route with `uninterruptible: true` is not
 *    interrupted, and what it answers late is sent: a 503 would have the client do again what is done.
 * 3. With `disconnect` nothing is waited for: the refusal is sent at the limit, and what is left of the handler goes on
 *    behind it.
 * 4. `body.idle` is how long a stream may take for its next bytes. A client that reads slowly does not count: while it
 *    does not read, nothing is asked of the stream.
 * 5. `body.total` is how long all of the body may take to be sent, and there the client counts too.
 * 6. A body that has taken too long is not whole, and the client can tell: its connection is closed, in HTTP/2 its stream.
 *    Its finalizers run.
 * 7. `text/event-stream` may take for ever, and so may what comes after a 101.
 * 8. A client that is still sending when `limit` is over can read the refusal; then its connection is closed.
 *
 * Times are those of `Clock`, on its monotonic scale.
 *
 * @since 0.1.0
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type ErasedApp, type ExchangeImpl, fromPhases, wrapping } from "./internal/kernel.js"
import { leave, nodeRequest } from "./internal/nodeRequest.js"
import { abandon, discard, hasBegun, isUpgraded, nodeResponse } from "./internal/nodeResponse.js"
import * as Middleware from "./Middleware.js"
import * as ProblemDetails from "./ProblemDetails.js"
import type { ResponseDraft } from "./ResponseDraft.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<Name extends string = string> {
  /**
   * How long the app may take to answer. There is no default. `Infinity`: as long as it likes, for an app of which only
   * the bodies are limited.
   */
  readonly limit: Duration.DurationInput
  /**
   * What the client is told: 503, this server is too slow now, or 504, a server that it asked is (RFC 9110 15.6.4,
   * 15.6.5). 408 would say that the client was. Default: 503.
   */
  readonly status?: 503 | 504 | undefined
  /**
   * After what time the client may try again, sent as `Retry-After` in whole seconds. That a handler was slow does not say
   * when it will be faster, nor that it may be run twice: so by default there is none.
   */
  readonly retryAfter?: Duration.DurationInput | undefined
  /** Default: a body may take as long as it likes. */
  readonly body?: BodyOptions | undefined
  /**
   * Whether to answer at the limit without waiting for the finalizers of the handler. What cannot be interrupted then goes
   * on unseen, and may find the scope of its request closed. Default: `false`.
   */
  readonly disconnect?: boolean | undefined
  readonly name?: Name | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface BodyOptions {
  /** How long a stream may take for its next bytes, when it is asked for them. Default: as long as it likes. */
  readonly idle?: Duration.DurationInput | undefined
  /**
   * How long a body may take, from the moment that the response leaves here until all of it has been handed to the
   * system. Default: as long as it likes.
   */
  readonly total?: Duration.DurationInput | undefined
}

/**
 * It has taken too long: for `limit` the handler, which is a refusal; for `idle` and `total` a body, which is a failure of
 * the stream and found in the log. What the client sent is in no response and no log line.
 *
 * @since 0.1.0
 * @category errors
 */
export class TimedOut extends Schema.TaggedError<TimedOut>("effect-middleware/Timeout/TimedOut")(
  "TimedOut",
  {
    reason: Schema.Literal("limit", "idle", "total"),
    status: Schema.Literal(503, 504),
    /** In seconds. */
    retryAfter: Schema.optional(Schema.Number)
  },
  HttpApiSchema.annotations({ status: 503 })
) implements HttpServerRespondable.Respondable {
  override get message() {
    return causes[this.reason]
  }
  [HttpServerRespondable.symbol]() {
    const { retryAfter, status } = this
    return ProblemDetails.toResponse(
      { status, detail: "The request took too long to be answered" },
      retryAfter === undefined ? undefined : { headers: { "retry-after": String(retryAfter) } }
    )
  }
}

const causes = {
  limit: "The handler has not answered in time",
  idle: "The stream of a body has given nothing for too long",
  total: "The body of a response has taken too long"
}

/**
 * Fails with `TimedOut`.
 *
 * A route that may take less has a `Timeout` of its own, further in; one that may take more has `extend`.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Timeout } from "effect-middleware"
 * import { Effect } from "effect"
 *
 * const report = Effect.delay(HttpServerResponse.text("a long story"), "2 minutes")
 *
 * const app = HttpRouter.empty.pipe(
 *   HttpRouter.get("/", HttpServerResponse.text("hello")),
 *   HttpRouter.get("/report", Timeout.extend("5 minutes")(report)),
 *   Timeout.middleware({ limit: "10 seconds", body: { idle: "30 seconds", total: "10 minutes" } })
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <const Name extends string = "Timeout">(
  options: Options<Name>
): Middleware.Middleware<never, TimedOut, never, never, Name, Middleware.Wrapping> => {
  const { body = {}, disconnect = false, retryAfter, status = 503 } = options
  const name = options.name ?? "Timeout" as Name
  const limit = millis("limit", options.limit)
  const idle = body.idle === undefined ? Infinity : millis("body.idle", body.idle)
  const total = body.total === undefined ? Infinity : millis("body.total", body.total)
  if (status !== 503 && status !== 504) {
    throw new TypeError(`Timeout: status is ${String(status)}: write 503 or 504; 408 is for a client that is slow`)
  }
  if (limit === Infinity && idle === Infinity && total === Infinity) {
    throw new TypeError("Timeout: limit is infinite, and so is body: name a time, or leave the middleware out")
  }
  // made once: an error with its stack and its schema costs more than the request
  const refusal = new TimedOut({
    reason: "limit",
    status,
    ...retryAfter === undefined ? {} : { retryAfter: Math.ceil(millis("retryAfter", retryAfter, 2 ** 31) / 1000) }
  })
  return fromPhases(name, [
    ...idle === Infinity && total === Infinity
      ? []
      : [{ name, response: (draft: ResponseDraft, exchange: ExchangeImpl) => limitBody(draft, exchange, idle, total) }],
    {
      name,
      traits: ["timeout"],
      around: (app: ErasedApp) => limit === Infinity ? app : within(app, limit, disconnect, refusal)
    }
  ], wrapping)
}

/**
 * Gives what is inside it longer than every `Timeout` around it says: `limit` then counts from where each of them began.
 * It never shortens one, and outside of `Timeout` it does nothing.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Timeout } from "effect-middleware"
 *
 * const exports = HttpRouter.empty.pipe(
 *   HttpRouter.get("/all", HttpServerResponse.text("everything")),
 *   Timeout.extend("5 minutes")
 * )
 *
 * const app = HttpRouter.empty.pipe(
 *   HttpRouter.mountApp("/exports", exports),
 *   Timeout.middleware({ limit: "10 seconds" })
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const extend = <const Name extends string = "TimeoutExtended">(
  limit: Duration.DurationInput,
  options: { readonly name?: Name | undefined } = {}
): Middleware.Middleware<never, never, never, never, Name, Middleware.Phases> => {
  const longer = millis("extend", limit)
  return Middleware.make({
    name: options.name ?? "TimeoutExtended" as Name,
    request: ({ request }) => {
      for (const deadline of running.get(sourceOf(request)) ?? []) deadline.limit = Math.max(deadline.limit, longer)
    }
  })
}

const millis = (option: string, input: Duration.DurationInput, most = Infinity): number => {
  const duration = Duration.decodeUnknown(input)
  const value = Option.isSome(duration) ? Duration.toMillis(duration.value) : 0
  if (value > 0 && value <= most) return value
  throw new TypeError(`Timeout: ${option} is ${String(input)}: write a time above 0 ("10 seconds")`)
}

// --- the handler -----------------------------------------------------------------------------------------------------

interface Deadline {
  readonly began: bigint
  handler: Handler | undefined
  /** In milliseconds. */
  limit: number
}

/** By what arrived, whatever view of it there is further in. */
const running = new WeakMap<object, Set<Deadline>>()

/** On every server it is an object. */
const sourceOf = ({ source }: HttpServerRequest.HttpServerRequest) => source as object

/** A timer that is set for longer does not wait at all. */
const longestSleep = 2 ** 30

const sleepUntil = (deadline: Deadline, clock: Clock.Clock): Effect.Effect<void> =>
  Effect.suspend(() => {
    const left = deadline.limit - elapsed(deadline.began, clock)
    if (left <= 0) return Effect.void
    return Effect.zipRight(Effect.sleep(Math.min(Math.ceil(left), longestSleep)), sleepUntil(deadline, clock))
  })

const elapsed = (since: bigint, clock: Clock.Clock): number =>
  Number(clock.unsafeCurrentTimeNanos() - since) / 1_000_000

type Handler = Fiber.RuntimeFiber<unknown, unknown>

const within = (app: ErasedApp, limit: number, disconnect: boolean, refusal: TimedOut): ErasedApp =>
  Effect.uninterruptible(Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    const clock = yield* Effect.clock
    const deadline: Deadline = { began: clock.unsafeCurrentTimeNanos(), handler: undefined, limit }
    const deadlines = running.get(sourceOf(request)) ?? new Set()
    running.set(sourceOf(request), deadlines.add(deadline))
    // what becomes of the handler; nothing where it is no longer waited for
    const over = yield* Deferred.make<Exit.Exit<HttpServerResponse.HttpServerResponse, unknown> | undefined>()
    let [done, late] = [false, false]

    const handler: Handler = yield* Effect.interruptible(app).pipe(
      Effect.exit,
      Effect.tap(() => Effect.sync(() => done = true)),
      Effect.flatMap((exit) =>
        Effect.flatMap(Deferred.succeed(over, exit), (isFirst) => {
          if (Exit.isFailure(exit)) return Effect.void
          // what it has forked ends with its fiber, and may be what feeds the body
          if (isFirst) return Effect.interruptible(forever)
          return Effect.sync(() => discard(exit.value.body))
        })
      ),
      Effect.forkDaemon
    )
    deadline.handler = handler
    const stop = Effect.suspend((): Effect.Effect<unknown> => {
      const stopped = Array.from(deadlines).some(isProtected) ? Deferred.await(over) : Fiber.interrupt(handler)
      return disconnect ? Effect.zipRight(Effect.forkDaemon(stopped), Deferred.succeed(over, undefined)) : stopped
    })
    const timer = yield* sleepUntil(deadline, clock).pipe(
      Effect.zipRight(Effect.suspend(() => {
        if (done || hasBegun(request)) return Effect.void
        late = true
        // what is still to come of its body nobody reads
        if (nodeRequest(request)?.complete === false) leave(request)
        return stop
      })),
      Effect.interruptible,
      Effect.forkDaemon
    )
    const exit = yield* Deferred.await(over).pipe(
      Effect.interruptible,
      Effect.onInterrupt(() => stop),
      Effect.ensuring(Effect.suspend(() => {
        deadlines.delete(deadline)
        timer.unsafeInterruptAsFork(timer.id())
        return Effect.void
      }))
    )
    if (exit === undefined) return yield* refusal
    yield* Fiber.inheritAll(handler)
    if (Exit.isFailure(exit)) return yield* late && Cause.isInterrupted(exit.cause) ? refusal : exit
    const scope = yield* Effect.serviceOption(Scope.Scope)
    const end = Effect.sync(() => handler.unsafeInterruptAsFork(handler.id()))
    yield* Option.isSome(scope) ? Scope.addFinalizer(scope.value, end) : end
    return exit.value
  }))

/** Without the timer by which Effect's own keeps the process alive. */
const forever = Effect.async<never>(() => {})

/** Whether it has come to a route that may not be interrupted. Of nested ones the innermost knows. */
const isProtected = ({ handler }: Deadline): boolean =>
  handler !== undefined &&
  Option.exists(Context.getOption(handler.currentContext, HttpRouter.RouteContext), ({ route }) =>
    route.uninterruptible)

// --- the body --------------------------------------------------------------------------------------------------------

const limitBody = (draft: ResponseDraft, exchange: ExchangeImpl, idle: number, total: number): void => {
  const { body } = draft
  const { clock, request } = exchange
  const type = draft.get("content-type")
  if (body._tag === "Empty" || request.method === "HEAD" || isUpgraded(request) || isEvents(type)) return
  const began = clock.unsafeCurrentTimeNanos()
  const left = () => total - elapsed(began, clock)
  let pulling = false

  const timed = (stream: Stream.Stream<Uint8Array, unknown>): Stream.Stream<Uint8Array, unknown> =>
    Stream.unwrapScoped(
      Effect.map(Stream.toPull(stream), (pull) =>
        Stream.repeatEffectChunkOption(
          Effect.suspend(() => {
            pulling = true
            const [duration, failure] = idle <= left() ? [idle, idleFor] : [Math.max(left(), 0), takenFor]
            return Effect.timeoutFail(pull, {
              duration,
              onTimeout: () => Option.some(failure)
            })
          }).pipe(Effect.ensuring(Effect.sync(() => pulling = false)))
        ))
    )

  if (body._tag === "Stream") {
    // what the fields say is the handler's, and not the body's
    const length = draft.get("content-length")
    draft.setBody(HttpBody.stream(timed(body.stream), body.contentType, body.contentLength))
    if (type !== undefined) draft.set("content-type", type)
    if (length !== undefined) draft.set("content-length", length)
  }
  const node = total === Infinity ? undefined : nodeResponse(request)
  if (node === undefined) return draft.onSent(() => {})
  const timer = exchange.fork(Effect.flatMap(Effect.sleep(total), () =>
    Effect.sync(() => {
      // a stream that is asked for more fails by itself
      if (!pulling && abandon(request, node)) {
        exchange.log(LogLevel.Warning, `Timeout: ${causes.total}: connection closed`)
      }
    })))
  draft.onSent(() => timer.unsafeInterruptAsFork(timer.id()))
}

const isEvents = (type: string | undefined): boolean => type !== undefined && /^text\/event-stream\b/i.test(type)

const idleFor = new TimedOut({ reason: "idle", status: 503 })
const takenFor = new TimedOut({ reason: "total", status: 503 })
