/**
 * What stands around an app and answers its failures: those that somebody expects (`rescue`), and all others (`guard`).
 */
import * as HttpServerError from "@effect/platform/HttpServerError"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as FiberRef from "effect/FiberRef"
import * as HashSet from "effect/HashSet"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import type { Failure } from "../DebugPage.js"
import type { Middleware, Wrapping } from "../Middleware.js"
import {
  type Bypass,
  type ErasedApp,
  type ExchangeImpl,
  failSpan,
  fromPhases,
  type Guard,
  isAnswered,
  isOf,
  nearest,
  outermost,
  ownFace,
  requestOf,
  tooLate,
  type Unanswered,
  unansweredAt,
  wrapping
} from "./kernel.js"
import { isUpgraded } from "./nodeResponse.js"
import { quietly, report } from "./report.js"
import { allowed, isInApi } from "./routes.js"

type Response = HttpServerResponse.HttpServerResponse

/** What a rescue is told of what failed. */
export interface Failed {
  readonly error: unknown
  readonly defect: boolean
  readonly request: HttpServerRequest.HttpServerRequest
  /** For a route that was not found: which methods its path has, as the value of `Allow`, where that is known. */
  readonly allow: () => string | undefined
  /** Whether an `HttpApi` around it encodes the errors that it declares. */
  readonly inApi: () => boolean
}

const failedOf = (
  app: ErasedApp,
  request: HttpServerRequest.HttpServerRequest,
  fiber: Parameters<typeof allowed>[2],
  error: unknown,
  defect: boolean
): Failed => ({ error, defect, request, allow: () => allowed(app, request, fiber), inApi: () => isInApi(app) })

type Answer<E, R> = Option.Option<Effect.Effect<Response, E, R>>

/** The same of a refusal for which no app has run. */
const refusedOf = (run: ExchangeImpl, error: unknown): Failed => ({
  error,
  defect: false,
  request: run.request,
  allow: () => undefined,
  inApi: () => isInApi(run.stack!.app)
})

/**
 * Answers the failures for which `f` gives an effect, and the defects if asked
 * to. In a mount where the response has already left (platform's
 * `serve(middleware)`) nothing can be handled: that is logged once, as an error,
 * and the failure passes.
 */
export const rescue = <Handles, const Name extends string, E, R, Members>(
  name: Name,
  f: (failed: Failed) => Answer<E, R> | Effect.Effect<Answer<E, R>, E, R>,
  members: Members,
  defects = false,
  /** What it makes of a refusal without running anything. */
  knows?: (failed: Failed) => Response | "passes" | undefined
): Middleware<never, E, Exclude<R, HttpServerRequest.HttpServerRequest>, Handles, Name, Members> => {
  let told = false
  const wrap = (app: ErasedApp): ErasedApp =>
    Effect.withFiberRuntime((fiber) => {
      const request = requestOf(fiber)
      return Effect.catchAllCause(app, (cause): ErasedApp => {
        const failure = Cause.failureOption(cause)
        // a response in the place of a defect is what platform has to send
        const defect = failure._tag === "None" && defects
          ? Chunk.findFirst(Cause.defects(cause), (defect) => !HttpServerResponse.isServerResponse(defect))
          : Option.none()
        const found = failure._tag === "Some" ? failure : defect
        if (found._tag === "None") return Effect.failCause(cause)
        const settle = (answer: Answer<E, R>): ErasedApp => {
          if (answer._tag === "None") return Effect.failCause(cause)
          if (!isAnswered(request)) return answer.value as ErasedApp
          if (told) return Effect.failCause(cause)
          told = true
          return Effect.zipRight(tooLate(name), Effect.failCause(cause))
        }
        const answer = f(failedOf(app, request, fiber, found.value, failure._tag === "None"))
        return Option.isOption(answer) ? settle(answer) : Effect.flatMap(answer, settle) as ErasedApp
      })
    })
  const bypass: Bypass | undefined = knows && {
    enters: () => true,
    refuses: (error, run) => knows(refusedOf(run, error))
  }
  return fromPhases(name, [{ name, around: wrap, bypass }], members)
}

/**
 * Answers whatever fails inside, and so handles everything. Its `answer` is also asked for what is sent in the place of a
 * response that the stack could not finish.
 *
 * - A failure that knows its answer, and a response in the place of a failure, is answered by that.
 * - An interruption is 503, or 499 where the client has gone.
 * - What is the server's fault is told, once.
 * - In a mount where the response has already left it can do no more than that.
 */
export const guard = <const Name extends string, R>(
  name: Name,
  { answer, answerOf, prepare, prepares, unavailable }: {
    readonly answer: Guard<R>
    readonly answerOf: (failed: Failed) => Effect.Effect<Response, unknown> | undefined
    readonly prepare: (app: ErasedApp, run: ExchangeImpl) => ErasedApp
    /** Whether that makes another app of it. */
    readonly prepares: (run: ExchangeImpl) => boolean
    readonly unavailable: Response
  }
): Middleware<never, never, Exclude<R, HttpServerRequest.HttpServerRequest>, unknown, Name, Wrapping> => {
  let told = false
  const watchOver = (run: ExchangeImpl) => {
    outermost(run).guard ??= (unanswered) => answer(unanswered, run) as Effect.Effect<Response>
  }
  const bypass: Bypass = {
    enters: (run) => {
      watchOver(run)
      return !prepares(run)
    },
    refuses: (error, run) => {
      const known = answerOf(refusedOf(run, error))
      return HttpServerResponse.isServerResponse(known) && known.status < 500 ? known : undefined
    }
  }
  const wrap = (app: ErasedApp): ErasedApp =>
    Effect.withFiberRuntime((fiber) => {
      const run = nearest(fiber)!
      watchOver(run)
      const unanswered = (cause: Cause.Cause<unknown>) => unansweredAt(failedIn(run, cause), cause, "request")
      const decline = (cause: Cause.Cause<unknown>): ErasedApp => {
        const failed = unanswered(cause)
        return Effect.zipRight(tell(failed), answer(failed, run)) as ErasedApp
      }
      const tell = (unanswered: Unanswered) => {
        failSpan(run.span, unanswered.cause)
        return report("A request failed", unanswered)
      }
      const settle = (cause: Cause.Cause<unknown>): ErasedApp => {
        const request = requestOf(fiber)
        const [sent, rest] = withoutResponse(cause)
        if (isAnswered(request)) {
          const late = Effect.zipRight(told ? Effect.void : tooLate(name), Effect.failCause(cause))
          told = true
          const isFault = sent !== undefined && sent.status >= 500 && !Cause.isInterruptedOnly(rest)
          return isFault ? Effect.zipRight(tell(unanswered(rest)), late) : late
        }
        if (sent !== undefined) {
          const failed = Cause.isEmpty(rest) ? cause : rest
          return sent.status < 500 || Cause.isInterruptedOnly(failed) ? sent : Effect.as(tell(unanswered(failed)), sent)
        }
        if (Cause.isInterruptedOnly(cause)) {
          // a WebSocket has been told by its close code
          return isAbort(cause) || isUpgraded(request)
            ? clientClosedRequest
            : Effect.as(quietly(Effect.logWarning("A request was interrupted")), unavailable)
        }
        const failure = Cause.failureOption(cause)
        const defect = failure._tag === "None"
        const error: unknown = defect ? Option.getOrUndefined(Cause.dieOption(cause)) : failure.value
        const known = answerOf(failedOf(app, request, fiber, error, defect)) ??
          // platform renders a defect too that knows how
          (defect && typeof error === "object" && error !== null ? ownFace(error) : undefined)
        // the errors of its endpoints an `HttpApi` encodes outside of us
        if (known === undefined && !defect && isInApi(app)) return Effect.failCause(cause)
        return known === undefined ? decline(cause) : Effect.matchCauseEffect(known, {
          onFailure: decline,
          onSuccess: (response) => {
            if (!HttpServerResponse.isServerResponse(response)) return decline(cause)
            // a defect beside a failure that has an answer is somebody's mistake all the same
            const expected = response.status < 500 && (defect || Chunk.isEmpty(Cause.defects(cause)))
            return expected ? response : Effect.as(tell(unanswered(cause)), response)
          }
        })
      }
      const onCause = (cause: Cause.Cause<unknown>): ErasedApp => {
        try {
          return settle(cause)
        } catch {
          // an error may throw whatever it is asked; platform has not answered it either
          return decline(cause)
        }
      }
      return Effect.catchAllCause(prepare(app, run), onCause)
    })
  return fromPhases(name, [{ name, around: wrap, bypass }], wrapping)
}

/** Keeps what a request logs, and the spans that it makes. */
export interface Recorder {
  readonly record: (app: ErasedApp) => ErasedApp
  readonly recording: (unanswered: Unanswered) => Failure
}

/** More than this many would be a loop, and fill the memory. */
const most = 500

export const recorder = ({ clock, entropy }: ExchangeImpl): Recorder => {
  const startedAt = clock.unsafeCurrentTimeMillis()
  const spans: Array<Tracer.Span> = []
  const logs: Array<Logger.Logger.Options<unknown>> = []
  const logger = Logger.make<unknown, void>((options) => void (logs.length < most && logs.push(options)))
  return {
    record: (app) =>
      Effect.flatMap(Effect.tracer, (tracer) =>
        app.pipe(
          Effect.withTracer(Tracer.make({
            context: (f, fiber) => tracer.context(f, fiber),
            span: (...args) => {
              const span = tracer.span(...args)
              if (spans.length < most) spans.push(span)
              return span
            }
          })),
          Effect.locallyWith(FiberRef.currentLoggers, HashSet.add(logger))
        )),
    recording: (unanswered) => ({
      ...unanswered,
      spans,
      logs,
      startedAt,
      now: clock.unsafeCurrentTimeMillis(),
      entropy
    })
  }
}

const clientClosedRequest = HttpServerResponse.empty({ status: 499 })
const isAbort = (cause: Cause.Cause<unknown>) =>
  HashSet.some(Cause.interruptors(cause), (id) => Equal.equals(id, HttpServerError.clientAbortFiberId))

/** A response in the place of a defect is what platform has to send, or has sent. */
const withoutResponse = (cause: Cause.Cause<unknown>): readonly [Response | undefined, Cause.Cause<unknown>] => {
  const [sent] = Chunk.filter(Cause.defects(cause), HttpServerResponse.isServerResponse)
  if (sent === undefined) return [undefined, cause]
  const rest = Cause.stripSomeDefects(
    cause,
    (defect) => HttpServerResponse.isServerResponse(defect) ? Option.some(Cause.empty) : Option.none()
  )
  return [sent, Option.getOrElse(rest, () => Cause.empty)]
}

/** The run furthest in that a failure has come from: one that was tried again has failed with another. */
const failedIn = (run: ExchangeImpl, cause: Cause.Cause<unknown>): ExchangeImpl =>
  run.child !== undefined && isOf(run.child.passed, cause) ? failedIn(run.child, cause) : run
