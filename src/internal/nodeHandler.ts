/**
 * Runs an app for the requests of Node's server. With NodeServer.ts and the kernel it alone knows how a fiber begins and
 * what platform keeps of a request.
 */
import * as Cookies from "@effect/platform/Cookies"
import * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpBody from "@effect/platform/HttpBody"
import * as HttpServerError from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as HttpTraceContext from "@effect/platform/HttpTraceContext"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import { globalValue } from "effect/GlobalValue"
import { pipeArguments } from "effect/Pipeable"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import type { ServerResponse } from "node:http"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import {
  answered,
  begin,
  copyOf,
  type ErasedApp,
  markAnswered,
  originalOf,
  preResponse,
  requestOf,
  resume,
  setting,
  stackOf,
  withSettings
} from "./kernel.js"
import { cutOff, discard, type NodeResponse, whenDone } from "./nodeResponse.js"
import type { NodeServerRequest } from "./nodeServerRequest.js"
import { RequestSpan } from "./requestSpan.js"

type Response = HttpServerResponse.HttpServerResponse
type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

// --- scope -----------------------------------------------------------------------------------------------------------

/** What a scope has beside its public interface; test/platform-facts.test.ts holds it to that. */
interface ScopeInternals extends Scope.CloseableScope {
  readonly addFinalizer: (finalizer: Scope.Scope.Finalizer) => Effect.Effect<void>
  readonly fork: (strategy: ExecutionStrategy.ExecutionStrategy) => Effect.Effect<Scope.CloseableScope>
  readonly close: (exit: Exit.Exit<unknown, unknown>) => Effect.Effect<void>
}

/** The scope of a request, which is there once it is used. */
class LazyScope implements ScopeInternals {
  private made: ScopeInternals | undefined
  get [Scope.ScopeTypeId](): Scope.ScopeTypeId {
    return Scope.ScopeTypeId
  }
  get [Scope.CloseableScopeTypeId](): Scope.CloseableScopeTypeId {
    return Scope.CloseableScopeTypeId
  }
  get strategy() {
    return ExecutionStrategy.sequential
  }
  get isUsed() {
    return this.made !== undefined
  }
  private get real(): ScopeInternals {
    return this.made ??= Effect.runSync(Scope.make()) as ScopeInternals
  }
  addFinalizer(finalizer: Scope.Scope.Finalizer) {
    return this.real.addFinalizer(finalizer)
  }
  fork(strategy: ExecutionStrategy.ExecutionStrategy) {
    return this.real.fork(strategy)
  }
  close(exit: Exit.Exit<unknown, unknown>) {
    return this.real.close(exit)
  }
  /** Ends with `exit`, when what is left to be closed is; who ejects it closes it by himself. */
  closing<A, E>(exit: Exit.Exit<A, E>): Effect.Effect<A, E> {
    return this.made === undefined || ejected.has(this) ? exit : Effect.zipRight(this.made.close(exit), exit)
  }
  pipe() {
    // eslint-disable-next-line prefer-rest-params
    return pipeArguments(this, arguments)
  }
}

/** Where platform notes those that `HttpApp.ejectDefaultScopeClose` was given. */
const ejected = globalValue("@effect/platform/HttpApp/ejectedScopes", () => new WeakSet<Scope.Scope>())

// --- running ---------------------------------------------------------------------------------------------------------

export interface Running {
  readonly fibers: Set<AnyFiber>
  /** Whether each response is to be the last of its connection. */
  draining: boolean
}

/** A request that has been begun before there is a fiber. */
interface Started {
  readonly request: NodeServerRequest
  readonly scope: LazyScope
  readonly begun: ReturnType<typeof begin> | undefined
}

/**
 * One context for each request, put into the FiberRefs that its fiber begins with. Where nobody traces, the plain phases
 * of the outermost stack run before there is a fiber, and what they answer has none.
 */
export const make = (
  { app, clock, runtime, running, tracer }: {
    readonly app: ErasedApp
    readonly clock: Clock.Clock
    readonly runtime: Runtime.Runtime<never>
    readonly running: Running
    readonly tracer: Tracer.Tracer
  }
): (request: NodeServerRequest) => void => {
  const services = runtime.context.unsafeMap
  const refs = FiberRefs.forkAs(runtime.fiberRefs, FiberId.none)
  const isTraced = tracer !== nativeTracer
  const stack = isTraced ? undefined : stackOf(app)
  const fork = Runtime.runFork(Runtime.make({
    context: Context.empty(),
    fiberRefs: FiberRefs.empty(),
    // as in platform's server: what may be interrupted says so
    runtimeFlags: RuntimeFlags.disable(runtime.runtimeFlags, RuntimeFlags.Interruption)
  }))

  const send = (request: HttpServerRequest.HttpServerRequest, scope: LazyScope | undefined, response: Response) => {
    const node = responseOf(request)
    if (running.draining) node.shouldKeepAlive = false
    return write(request, node, scope?.isUsed !== false, response)
  }

  const inFiber = (
    { begun, request, scope }: Started,
    effect: (fiber: AnyFiber) => Effect.Effect<unknown, unknown, unknown>
  ) => {
    const settings = begun === undefined
      ? [setting(FiberRef.currentContext, contextOf(services, request, scope))]
      : begun.outermost.run.settings(refs)
    // what the app requires is in the context of the settings
    const program = Effect.withFiberRuntime(effect) as Effect.Effect<unknown, unknown>
    const fiber = fork(program, { updateRefs: (_, id) => withSettings(refs, id, settings) })
    const exit = fiber.unsafePoll()
    if (exit !== null) return settle(request, exit)
    running.fibers.add(fiber)
    fiber.addObserver((exit) => {
      running.fibers.delete(fiber)
      settle(request, exit)
    })
    whenLost(request, () => fiber.unsafeInterruptAsFork(HttpServerError.clientAbortFiberId))
  }

  // platform's own, with a scope of its own: its tracer is not to be had otherwise
  const traced = isTraced
    ? HttpApp.toHandled(app as HttpApp.Default, (request, response) => send(request, undefined, response))
    : undefined

  const handled = (fiber: AnyFiber, { begun, scope }: Started, app: ErasedApp): ErasedApp => {
    const run = begun?.outermost.run
    const answer = (response: Response): ErasedApp => {
      const request = requestOf(fiber)
      const settled = preResponse(fiber, run, request, response)
      return HttpServerResponse.isServerResponse(settled)
        ? send(request, scope, settled)
        : Effect.flatMap(settled, (response) => send(request, scope, response))
    }
    const close = (exit: Exit.Exit<Response, unknown>): ErasedApp => scope.closing(exit)
    const fail = (cause: Cause.Cause<unknown>): ErasedApp =>
      Effect.flatMap(HttpServerError.causeResponse(cause), ([response, rest]): ErasedApp => {
        const sent = answer(response)
        return Cause.isEmptyType(rest) ? sent : Effect.zipRight(sent, Exit.failCause(rest))
      }).pipe(Effect.exit, Effect.flatMap(close))
    const closed = (sent: ErasedApp): ErasedApp =>
      isDone(sent)
        ? close(sent)
        : Effect.matchCauseEffect(sent, { onSuccess: (response) => close(Exit.succeed(response)), onFailure: fail })
    return Effect.matchCauseEffect(app, { onSuccess: (response) => closed(answer(response)), onFailure: fail })
  }

  return (request) => {
    const scope = new LazyScope()
    if (stack === undefined) {
      const started = { request, scope, begun: undefined }
      return inFiber(started, (fiber) => traced ?? handled(fiber, started, app))
    }
    const begun = begin(stack, { currentContext: contextOf(services, request, scope), clock, _fiberRefs: refs })
    const started = { request, scope, begun }
    const known = answered(begun)
    if (known === undefined) {
      return inFiber(started, (fiber) => handled(fiber, started, resume(fiber, begun.outermost)))
    }
    if (HttpServerResponse.isServerResponse(known)) {
      const sent = send(request, scope, known)
      if (!isDone(sent)) inFiber(started, (fiber) => handled(fiber, started, sent))
      return
    }
    inFiber(started, (fiber) => handled(fiber, started, known))
  }
}
const isDone = (sent: ErasedApp): sent is Exit.Success<Response, unknown> => Exit.isExit(sent) && Exit.isSuccess(sent)

const nativeTracer = Effect.runSync(Effect.tracer)
/** As platform's tracer has it from the native one. */
const spanOf = (request: HttpServerRequest.HttpServerRequest): Tracer.Span =>
  nativeTracer.span(
    `http.server ${request.method}`,
    HttpTraceContext.fromHeaders(request.headers),
    Context.empty(),
    [],
    0n,
    "server"
  )

const contextOf = (
  services: ReadonlyMap<string, unknown>,
  request: HttpServerRequest.HttpServerRequest,
  scope: Scope.Scope
): Context.Context<never> => {
  const all = copyOf(services)
  all.set(HttpServerRequest.HttpServerRequest.key, request)
  all.set(Scope.Scope.key, scope)
  all.set(Tracer.ParentSpan.key, new RequestSpan(request, spanOf))
  return Context.unsafeMake(all)
}

/** Of a request that asks for another protocol it is made when it is first asked for. */
const responseOf = (request: HttpServerRequest.HttpServerRequest): ServerResponse => {
  const { response } = request as NodeServerRequest
  return typeof response === "function" ? response() : response
}

const whenLost = (request: NodeServerRequest, f: () => void) => {
  const { response, source } = request
  if (typeof response === "function") {
    const { socket } = source
    socket.once("close", () => {
      if (!socket.writableEnded) f()
    })
  } else {
    whenDone(request, response as NodeResponse, (lost) => {
      if (lost && !response.writableEnded) f()
    })
  }
}

/** Whatever has gone wrong, a client that is still there gets an answer. */
const settle = (request: NodeServerRequest, exit: Exit.Exit<unknown, unknown>) => {
  if (Exit.isSuccess(exit) || request.source.socket.destroyed) return
  const node = responseOf(request)
  if (!node.headersSent) node.writeHead(500)
  if (!node.writableEnded) node.end()
}

// --- writing ---------------------------------------------------------------------------------------------------------

/** Sends a response. What is there as a whole is written at once, and waited for only if something comes after it. */
const write = (
  request: HttpServerRequest.HttpServerRequest,
  node: ServerResponse,
  waits: boolean,
  response: Response
): ErasedApp => {
  if (node.headersSent) return Exit.succeed(response)
  markAnswered(originalOf(request))
  const { body } = response
  const isHead = request.method === "HEAD"
  const whole = isHead ? undefined : wholeOf(body)
  if (whole === null) return Effect.as(pour(request, node, response), response)
  try {
    node.writeHead(response.status, fieldsOf(node, response))
    if (isHead) discard(body)
    node.end(whole)
  } catch (defect) {
    return Exit.die(defect)
  }
  return waits ? Effect.as(flushed(request, node), response) : Exit.succeed(response)
}

const flushed = (request: HttpServerRequest.HttpServerRequest, node: ServerResponse): Effect.Effect<void> =>
  Effect.async((resume) => whenDone(request, node as NodeResponse, () => resume(Effect.void)))

/** `null` where it is not there as a whole. */
const wholeOf = (body: HttpBody.HttpBody): string | Uint8Array | undefined | null => {
  if (body._tag === "Empty") return undefined
  if (body._tag === "Uint8Array") return body.body
  if (body._tag !== "Raw") return null
  return typeof body.body === "string" || body.body instanceof Uint8Array ? body.body : null
}

const fieldsOf = (node: ServerResponse, { cookies, headers }: Response): Record<string, string | Array<string>> => {
  const isOfConnection = (node as NodeResponse).stream !== undefined
  if (Cookies.isEmpty(cookies) && !isOfConnection) return headers as Record<string, string>
  const fields: Record<string, string | Array<string>> = Object.assign({}, headers)
  if (!Cookies.isEmpty(cookies)) {
    const own = headers["set-cookie"]
    fields["set-cookie"] = [...Cookies.toSetCookieHeaders(cookies), ...(own === undefined ? [] : [own])]
  }
  // Node throws at what HTTP/2 does not have (RFC 9113 section 8.2.2)
  if (isOfConnection) { for (const name of ofConnection) delete fields[name] }
  return fields
}
const ofConnection = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]

/** What comes in pieces. */
const pour = (
  request: HttpServerRequest.HttpServerRequest,
  node: ServerResponse,
  response: Response
): Effect.Effect<void, unknown> =>
  Effect.suspend(() => {
    const { body } = response
    if (body._tag === "Stream") {
      node.writeHead(response.status, fieldsOf(node, response))
      return pieces(request, node, body.stream)
    }
    const fields = fieldsOf(node, response)
    const [content, readable] = body._tag === "FormData"
      ? encoded(body.formData)
      : [{}, readableOf((body as HttpBody.Raw).body)] as const
    node.writeHead(response.status, { ...fields, ...content })
    return Effect.tryPromise({
      try: (signal) => pipeline(readable, node, { signal }),
      catch: (cause) => new HttpServerError.ResponseError({ request, response, reason: "Decode", cause })
    })
  }).pipe(
    Effect.interruptible,
    // a client that has left is not told
    Effect.tapErrorCause(() => node.headersSent && !node.destroyed ? cut(request, node) : Effect.void)
  )

const encoded = (formData: FormData) => {
  const response = new Response(formData)
  return [Object.fromEntries(response.headers), readableOf(response.body)] as const
}

const readableOf = (body: unknown): NodeJS.ReadableStream => {
  if (body instanceof ReadableStream) return Readable.fromWeb(body as Parameters<typeof Readable.fromWeb>[0])
  if (typeof body === "object" && body !== null && "pipe" in body && typeof body.pipe === "function") {
    return body as unknown as NodeJS.ReadableStream
  }
  throw new TypeError(
    "The body of a response is raw, and nothing that can be sent: use a string, bytes or a readable stream"
  )
}

const pieces = (
  request: HttpServerRequest.HttpServerRequest,
  node: ServerResponse,
  stream: Stream.Stream<Uint8Array, unknown>
): Effect.Effect<void> =>
  Stream.runForEachChunk(Stream.orDie(stream), (chunk) => {
    let isFull = false
    for (const bytes of Chunk.toReadonlyArray(chunk)) isFull = !node.write(bytes)
    return isFull ? drained(node) : Effect.void
  }).pipe(Effect.zipRight(Effect.sync(() => void node.end())))

const drained = (node: ServerResponse): Effect.Effect<void> =>
  Effect.async((resume) => {
    const go = () => resume(Effect.void)
    node.once("drain", go)
    return Effect.sync(() => node.off("drain", go))
  })

/** A client must be able to tell that it has not got all of it: platform's server would end it as if it were whole. */
const cut = (request: HttpServerRequest.HttpServerRequest, node: ServerResponse): Effect.Effect<void> =>
  Effect.async((resume) => cutOff(request, node as NodeResponse, () => resume(Effect.void)))
