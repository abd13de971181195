/**
 * The kernel: compiles phases over an app and runs them. From here on types are
 * erased, and this file, failures.ts, routes.ts and NodeServer.ts alone know how a
 * fiber carries a request, what platform's pre-response handlers are, and how
 * platform marks a request.
 */
import * as Cookies from "@effect/platform/Cookies"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerError from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import { globalValue } from "effect/GlobalValue"
import * as HashMap from "effect/HashMap"
import * as Inspectable from "effect/Inspectable"
import type * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import type { Failure, Member } from "../DebugPage.js"
import * as Entropy from "../Entropy.js"
import type { Report } from "../ErrorReporter.js"
import type {
  Any,
  AnyTag,
  Exchange,
  Middleware,
  Outcome,
  Phases,
  Refusal,
  Refuse,
  RequestChanges,
  Respond,
  Trait,
  Wrapping
} from "../Middleware.js"
import type { ResponseDraft, Sent } from "../ResponseDraft.js"
import { open } from "../ResponseDraft.js"
import { cutOff, discard, failureOf, hearErrors, isUpgraded, nodeResponse, whenDone } from "./nodeResponse.js"
import { quietly, report } from "./report.js"
import { bodyAccessors, isStreamed } from "./requestBody.js"
import { RequestSpan } from "./requestSpan.js"
import { baseKey, type Viewable, viewKey } from "./requestView.js"
import { inherit } from "./routes.js"
import type { Make } from "./stackMake.js"

type Response = HttpServerResponse.HttpServerResponse
export type ErasedApp = Effect.Effect<Response, unknown, unknown>
export type ErasedWrap = (app: ErasedApp) => ErasedApp
type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>
export type Ended = Refuse<unknown> | Respond | { readonly _tag: "Die"; readonly defect: unknown }

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
  /** It enters response phases of others: alternatives. */
  readonly responds?: boolean | undefined
  readonly around?: ErasedWrap | undefined
  readonly bypass?: Bypass | undefined
  readonly traits?: ReadonlyArray<Trait> | undefined
}

/** What `Stack.lint` sees of a middleware made from others. */
export interface Made {
  /** Of these one runs, or none. */
  readonly of: ReadonlyArray<Any>
  readonly by?: By | undefined
  readonly traits?: ReadonlyArray<Trait> | undefined
}

/** What decides whether it runs, and whether it is known what that reads. */
export interface By {
  readonly label: string
  readonly known: boolean
  readonly routes?: ReadonlyArray<string> | undefined
}

/** Of what wraps and lets responses by as they are: what a server can know without running it, before there is a fiber. */
export interface Bypass {
  /** Whether it lets the request by as it is. */
  readonly enters: (run: ExchangeImpl) => boolean
  /** What it makes of a refusal further in: its response, `"passes"`, or nothing where only running it can tell. */
  readonly refuses: (error: unknown, run: ExchangeImpl) => Response | "passes" | undefined
}

const phasesKey = Symbol.for("effect-middleware/Middleware/phases")
const madeKey = Symbol.for("effect-middleware/Middleware/made")
export const wrapping: Wrapping = { kind: "around" }
const plain: Phases = { kind: "phases" }

/** The only way a middleware comes to be. */
export const fromPhases = <P, F, R, H, Name extends string, Members>(
  name: Name,
  phases: ReadonlyArray<ErasedPhase>,
  members: unknown = plain,
  made?: Made
): Middleware<P, F, R, H, Name, Members> => {
  const self = (app: ErasedApp) => apply(phases as ReadonlyArray<Phase>, app)
  Object.defineProperties(self, {
    name: { value: name },
    members: { value: members, enumerable: true },
    [phasesKey]: { value: phases },
    [madeKey]: { value: made }
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

export const madeOf = (middleware: Any): Made | undefined =>
  (middleware as unknown as { readonly [madeKey]?: Made })[madeKey]

export const isUnwrapped = (phase: Phase) => phase.around === undefined
export const isSync = (phase: Phase) => phase.guard === undefined && phase.requestEffect === undefined
const hasResponse = (phase: Phase) => phase.response !== undefined || phase.responseEffect !== undefined
export const mayRespond = (phase: Phase) => hasResponse(phase) || phase.responds === true

/** What carries a request: a fiber or, before there is one, a server's own beginning. */
export interface Host extends Pick<AnyFiber, "currentContext">, Partial<Pick<AnyFiber, "id">> {
  readonly clock?: Clock.Clock
  readonly _fiberRefs?: FiberRefs.FiberRefs
}

/**
 * One run through a frame of a stack: what the request is there, and which
 * response phases are before its response. The runs of a request are a tree, so
 * that a retry, a race or a stack further in has runs of its own.
 */
export class ExchangeImpl implements Exchange {
  request: HttpServerRequest.HttpServerRequest
  locals: Map<object, unknown> | undefined
  /** Response phases entered and not yet run, innermost last, each with the request as it saw it. */
  readonly pending: Array<Phase> = []
  readonly requests: Array<HttpServerRequest.HttpServerRequest> = []
  /** Whether a response handler stands in the fiber for this run. */
  covered: boolean
  left = false
  /** The run further in whose response phases come first: the last that was entered, or that ended. */
  child: ExchangeImpl | undefined
  /** The failure with which this run has ended: the app's own, or a refusal that carries its edits already. */
  passed: Cause.Cause<unknown> | undefined
  /** What its response has become. */
  edited: { readonly from: Response; readonly to: Response } | undefined
  /** Who is told how the response of this run, or of those further in, has fared. */
  listeners: ReadonlyArray<(sent: Sent) => void> = []
  /** A refusal that could not be given its response: a primitive, a frozen object, an interruption. */
  unarmed = false
  annotations: Array<readonly [string, unknown]> | undefined
  private ended: Ended | undefined
  private endedBy: string = ""
  waitingFor: Effect.Effect<boolean, unknown, unknown> | undefined
  private services: Map<string, unknown>
  private owned = false
  private registered = false
  /** The context that the services of this run have replaced. */
  replaced: Context.Context<never> | undefined
  private rendered: { readonly error: unknown; readonly response: Response } | undefined
  readonly clock: Clock.Clock
  /** The run around this one, of the same request. */
  readonly parent: ExchangeImpl | undefined

  /** The last refusal in this run or in one further in. */
  refusal: Refusal | undefined
  /** The phase or the wrapper of this run that has failed, where it was not the app. */
  failedBy: string | undefined
  /** On the outermost run: who answers what nobody has. */
  guard: Guard | undefined

  /** The run in the next frame, where a server has begun that too. */
  ahead: Begun | undefined

  constructor(
    private fiber: Host,
    readonly stack: Compiled | undefined,
    /** The run that this one began in: around it, or of another request that its handler answers by this one. */
    readonly before?: ExchangeImpl | undefined
  ) {
    this.services = fiber.currentContext.unsafeMap as Map<string, unknown>
    this.request = this.services.get(HttpServerRequest.HttpServerRequest.key) as HttpServerRequest.HttpServerRequest
    this.clock = fiber.clock ?? Context.get((fiber as AnyFiber).currentDefaultServices, Clock.Clock)
    let parent = before
    while (parent !== undefined && parent.request.source !== this.request.source) parent = parent.before
    this.parent = parent
    this.covered = parent?.covered === true
    if (parent === undefined) hearErrors(this.request)
    else parent.child = this
  }

  get context(): Context.Context<unknown> {
    return Context.unsafeMake(this.services)
  }
  get entropy(): Entropy.Service {
    return this.services.get(Entropy.Entropy.key) as Entropy.Service | undefined ?? defaultEntropy
  }
  get<T extends AnyTag>(tag: T): T["Service"] {
    const found = this.services.get(tag.key)
    if (found !== undefined || this.services.has(tag.key)) return found
    // a Reference has a default, and what is missing dies with Effect's own message: of any context that lacks it
    return Context.unsafeGet(Context.empty(), tag as unknown as Context.Tag<unknown, unknown>)
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
    this.span?.attribute(key, value)
  }
  get span(): Tracer.Span | undefined {
    const span = this.services.get(Tracer.ParentSpan.key) as Tracer.AnySpan | undefined
    return span?._tag === "Span" ? span : undefined
  }
  /** A span inside the current one; it does not become current itself. */
  childSpan(name: string, start: bigint, attributes: { readonly [key: string]: string }): Tracer.Span | undefined {
    const { span } = this
    if (span instanceof RequestSpan || span?.sampled !== true) return undefined
    const tracer = Context.get((this.fiber as AnyFiber).currentDefaultServices, Tracer.Tracer)
    const child = tracer.span(name, Option.some(span), Context.empty(), [], start, "internal")
    for (const key in attributes) child.attribute(key, attributes[key])
    return child
  }
  get route(): string | undefined {
    const context = this.services.get(HttpRouter.RouteContext.key) as HttpRouter.RouteContext | undefined
    if (context !== undefined) return context.route.path
    // outside a router: what the router has told the server's span
    const route = this.span?.attributes.get("http.route")
    return typeof route === "string" ? route : undefined
  }
  log(
    logLevel: LogLevel.LogLevel,
    message: unknown,
    annotations: { readonly [key: string]: unknown } = {},
    cause: Cause.Cause<unknown> = Cause.empty
  ) {
    const { clock, fiber } = this
    const refs = refsOf(fiber)
    const get = <A>(ref: FiberRef.FiberRef<A>) => FiberRefs.getOrDefault(refs, ref)
    if (LogLevel.lessThan(logLevel, get(FiberRef.currentMinimumLogLevel))) return
    const all = HashMap.mutate(get(FiberRef.currentLogAnnotations), (all) => {
      for (const [key, value] of this.annotations ?? []) HashMap.set(all, key, value)
      for (const key in annotations) HashMap.set(all, key, annotations[key])
    })
    const options: Logger.Logger.Options<unknown> = {
      fiberId: fiber.id?.() ?? FiberId.none,
      logLevel,
      message: [message],
      cause,
      context: refs,
      spans: get(FiberRef.currentLogSpan),
      annotations: all,
      date: new Date(clock.unsafeCurrentTimeMillis())
    }
    Inspectable.withRedactableContext(options.context, () => {
      for (const logger of get(FiberRef.currentLoggers)) logger.log(options)
    })
  }
  /** Notes what has ended this run; every run around it is told, if that was a refusal. */
  conclude(ended: Ended) {
    if (ended._tag === "Respond") return
    this.failedBy = this.endedBy
    if (ended._tag === "Refuse") this.refused(this.endedBy, ended.error)
  }
  refused(by: string, error: unknown) {
    // under a span Effect fails with a stand-in
    this.refusal = { by, error: Cause.originalError(error) }
    this.parent?.refused(by, error)
  }

  /** Runs beside the request, which may have ended. */
  fork(effect: Effect.Effect<void>): AnyFiber {
    const { currentContext: context } = this.fiber
    const runtimeFlags = Runtime.defaultRuntimeFlags
    return Runtime.runFork(Runtime.make({ context, runtimeFlags, fiberRefs: refsOf(this.fiber) }))(effect)
  }
  /** Runs `f` when the fiber that carries this run has ended, and with it whatever is further in. */
  whenEnded(f: () => void) {
    ;(this.fiber as Partial<AnyFiber>).addObserver?.(f)
  }
  /** Whether the code that runs now is that fiber's: on the way out, then nothing further in is running. */
  get isCurrent(): boolean {
    return Option.getOrUndefined(Fiber.getCurrentFiber()) === this.fiber
  }

  give(key: string, value: unknown) {
    if (!this.owned) {
      this.services = copyOf(this.services)
      this.owned = true
    }
    this.services.set(key, value)
  }
  /** The context is of this request alone: what is provided is written into it. */
  own() {
    this.owned = true
  }
  /** From a server's beginning to the fiber. */
  board(fiber: AnyFiber) {
    this.fiber = fiber
  }
  /** Begins what can be undone: from here on services are copied when written. */
  attempt() {
    const { annotations, owned, pending, request, services } = this
    const [noted, entered] = [annotations?.length ?? 0, pending.length]
    this.owned = false
    return () => {
      this.services = services
      this.owned = owned
      this.request = request
      if (this.annotations !== undefined) this.annotations.length = noted
      pending.length = this.requests.length = entered
    }
  }
  adopt(base: Context.Context<never>) {
    // what a layer captured stands behind what the request brings
    this.services = new Map([...base.unsafeMap, ...this.services])
    this.owned = true
  }
  end(ended: Ended, by: string) {
    this.ended = ended
    this.endedBy = by
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
    this.register(entries, () => fiber.getFiberRef(HttpApp.currentPreResponseHandlers))
    if (this.stack?.frames.length !== 0 && (fiber.currentContext.unsafeMap as unknown) !== this.services) {
      this.replaced ??= fiber.currentContext
      entries.push(setting(FiberRef.currentContext, this.context as Context.Context<never>))
    }
    if (this.annotations !== undefined) entries.push(this.annotationsOf(fiber, this.annotations))
    if (entries.length > 0) setAll(fiber, entries)
  }

  private register(entries: Array<Setting>, outer: () => Option.Option<HttpApp.PreResponseHandler>) {
    if (this.registered || this.stack?.matters !== true) return
    this.registered = true
    entries.push(setting(currentExchange, this))
    if (this.covered) return
    this.covered = true
    const around = outer()
    const handler = Option.some(handlerOf(this, around))
    if (around._tag === "None") this.handler = handler
    entries.push(setting(HttpApp.currentPreResponseHandlers, handler))
  }
  /** What it has put into the fiber, where nobody else's stood there. */
  handler: Option.Option<HttpApp.PreResponseHandler> | undefined

  /** What a fiber is to begin with, so that nothing is left for `install`. */
  settings(refs: FiberRefs.FiberRefs): ReadonlyArray<Setting> {
    const entries: Array<Setting> = [setting(FiberRef.currentContext, this.context as Context.Context<never>)]
    this.register(entries, () => FiberRefs.getOrDefault(refs, HttpApp.currentPreResponseHandlers))
    if (this.annotations !== undefined) {
      entries.push(this.takeAnnotations(FiberRefs.getOrDefault(refs, FiberRef.currentLogAnnotations), this.annotations))
    }
    return entries
  }

  /** What an answer that never reaches the app is logged with. */
  installAnnotations(fiber: AnyFiber) {
    if (this.annotations !== undefined) setAll(fiber, [this.annotationsOf(fiber, this.annotations)])
  }

  private annotationsOf(fiber: AnyFiber, added: ReadonlyArray<readonly [string, unknown]>): Setting {
    return this.takeAnnotations(fiber.getFiberRef(FiberRef.currentLogAnnotations), added)
  }
  private takeAnnotations(
    annotations: HashMap.HashMap<string, unknown>,
    added: ReadonlyArray<readonly [string, unknown]>
  ): Setting {
    for (const [key, value] of added) annotations = HashMap.set(annotations, key, value)
    this.annotations = undefined
    return setting(FiberRef.currentLogAnnotations, annotations)
  }

  /** What it provided is gone, and platform's mark on a derived request is on the original. */
  leave(fiber: AnyFiber) {
    this.left = true
    const outer = this.replaced
    if (outer === undefined) return
    const key = HttpServerRequest.HttpServerRequest.key
    const [inner, original] = [fiber.currentContext.unsafeMap.get(key), outer.unsafeMap.get(key)]
    if (inner !== undefined && original !== undefined && isAnswered(inner)) {
      markAnswered(original)
    }
    setAll(fiber, [setting(FiberRef.currentContext, outer)])
    this.replaced = undefined
  }

  /** Of several runs of one frame the last that ended counts; one that was only interrupted does not. */
  fail(cause: Cause.Cause<unknown>) {
    this.passed = cause
    if (this.parent !== undefined && !Cause.isInterruptedOnly(cause)) this.parent.child = this
  }

  /** Another run has taken the place of this one: its edits are void. */
  supersede() {
    this.pending.length = this.requests.length = 0
    this.listeners = []
    this.child = undefined
  }

  enter(phase: Phase) {
    if (!hasResponse(phase)) return
    this.pending.push(phase)
    this.requests.push(this.request)
  }

  /** The response of a refusal that left every stack, edited: rendered once, however often it is asked for. */
  faceOf(error: unknown, render: Effect.Effect<Response>): Effect.Effect<Response> {
    if (this.rendered !== undefined && this.rendered.error === error) return Effect.succeed(this.rendered.response)
    return Effect.flatMap(render, (response) =>
      Effect.map(lift(flush(this, response)), (response) => {
        this.rendered = { error, response }
        return response
      }))
  }
}

const defaultEntropy = Context.get(Context.empty(), Entropy.Entropy)

/** Platform's own mark on a request whose response has been handed over. */
const answeredKey: unique symbol = Symbol.for("@effect/platform/HttpApp/handled")
export const isAnswered = (request: HttpServerRequest.HttpServerRequest) =>
  answeredKey in request || answeredKey in originalOf(request)
export const markAnswered = (request: HttpServerRequest.HttpServerRequest & { [answeredKey]?: boolean }): void => {
  request[answeredKey] = true
}

const currentExchange = globalValue(
  "effect-middleware/Middleware/currentExchange",
  () => FiberRef.unsafeMake<ExchangeImpl | undefined>(undefined)
)
const exchangeOf = (fiber: AnyFiber) => fiber.getFiberRef(currentExchange)
export const requestOf = (fiber: AnyFiber) =>
  Context.unsafeGet(fiber.currentContext, HttpServerRequest.HttpServerRequest)

// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Setting = readonly [ref: FiberRef.FiberRef<any>, value: unknown]
export const setting = <A>(ref: FiberRef.FiberRef<A>, value: A): Setting => [ref, value]

/** What a running fiber has beside its public interface; test/platform-facts.test.ts holds it to that. */
interface FiberInternals {
  readonly _fiberRefs: FiberRefs.FiberRefs
  readonly setFiberRefs: (refs: FiberRefs.FiberRefs) => void
}

/** By `forEach`, since the constructor makes an array of each entry. */
export const copyOf = <K, V>(map: ReadonlyMap<K, V>): Map<K, V> => {
  const copy = new Map<K, V>()
  map.forEach((value, key) => copy.set(key, value))
  return copy
}

/** Several FiberRefs for the price of one; `setFiberRef` would also leave out a context that is `Equal`. */
const setAll = (fiber: AnyFiber, entries: ReadonlyArray<Setting>) =>
  (fiber as unknown as FiberInternals).setFiberRefs(withSettings(refsOf(fiber), fiber.id(), entries))

export const withSettings = (
  refs: FiberRefs.FiberRefs,
  id: FiberId.Runtime,
  entries: ReadonlyArray<Setting>
): FiberRefs.FiberRefs => {
  const locals = copyOf(refs.locals)
  for (const [ref, value] of entries) {
    const stack = locals.get(ref) ?? []
    locals.set(ref, [[id, value], ...(stack[0]?.[0] === id ? stack.slice(1) : stack)])
  }
  return FiberRefs.unsafeMake(locals)
}
/** The field: its getter sets the runtime flags first, at the price of a copy. */
const refsOf = (fiber: Host): FiberRefs.FiberRefs =>
  (fiber as unknown as Partial<FiberInternals>)._fiberRefs ?? FiberRefs.empty()

/** Inside what wraps: the run of the frame that it closes, which is always there. */
export const withRun = (f: (run: ExchangeImpl) => ErasedApp): ErasedApp =>
  Effect.withFiberRuntime((fiber) => f(nearest(fiber)!))

// --- inward ----------------------------------------------------------------------------------------------------------

/**
 * Runs plain phases from `from` on. Stops at the end, at an outcome
 * (`exchange.takeEnded`) or at a phase that is an Effect, whose index it gives.
 */
export const advance = (exchange: ExchangeImpl, phases: ReadonlyArray<Phase>, from: number): number => {
  for (let i = from; i < phases.length; i++) {
    const phase = phases[i]!
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
      const outcome = phase.request?.(exchange)
      if (outcome === undefined || outcome._tag === "Defer") {
        if (phase.requestEffect !== undefined) return i
      } else if (outcome._tag === "Provide") {
        exchange.give(phase.provides!, outcome.value)
      } else if (outcome._tag !== "Pass") {
        exchange.end(outcome, phase.name)
        return i
      }
      exchange.enter(phase)
    } catch (defect) {
      exchange.end({ _tag: "Die", defect }, phase.name)
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
  if (given !== undefined && (given._tag === "Refuse" || given._tag === "Respond")) {
    exchange.end(given, phase.name)
    return phases.length
  }
  if (given?._tag === "Provide") exchange.give(phase.provides!, given.value)
  exchange.enter(phase)
  return at + 1
}

interface Frame {
  readonly index: number
  /** Whether something wraps what is inside it. */
  readonly wrap: boolean
  /** Whether it is wrapped by what leaves responses as they are: they are edited further out, with those of the next frame. */
  readonly defers: boolean
  readonly phases: ReadonlyArray<Phase>
  next: ErasedApp
  /** Whether the log has been told that a failure was handled too late. */
  told: boolean
}

export interface Compiled {
  readonly frames: ReadonlyArray<Frame>
  /** Whether a run has to be found again: by its response phases, or by those of a stack inside what it wraps. */
  readonly matters: boolean
  readonly base: Context.Context<never> | undefined
  /** What is inside all of it. */
  readonly app: ErasedApp
}

/**
 * Compiles phases over an app: consecutive plain phases are one frame, what
 * wraps stands between two.
 */
export const apply = (
  phases: ReadonlyArray<Phase>,
  app: ErasedApp,
  base?: Context.Context<never> | undefined
): ErasedApp => {
  const wraps = phases.flatMap((phase, i) => phase.around === undefined ? [] : [i])
  const frames: Array<Frame> = [...wraps, phases.length - 1].map((end, index) => ({
    index,
    wrap: index < wraps.length,
    defers: index > 0 && phases[wraps[index - 1]!]!.bypass !== undefined,
    phases: phases.slice(index === 0 ? 0 : wraps[index - 1]! + 1, end + 1),
    next: app,
    told: false
  }))
  const stack: Compiled = { frames, matters: wraps.length > 0 || phases.some(mayRespond), base, app }
  // what wraps may ask what the app's router knows
  const frameOf = (frame: Frame) => inherit(app, frameApp(stack, frame))
  for (let i = wraps.length - 1; i >= 0; i--) {
    frames[i]!.next = phases[wraps[i]!]!.around!(frameOf(frames[i + 1]!))
  }
  const applied = frameOf(frames[0]!)
  stacks.set(applied, stack)
  return applied
}
const stacks = new WeakMap<ErasedApp, Compiled>()
/** The stack that an app is behind, where nothing stands around it. */
export const stackOf = (app: ErasedApp): Compiled | undefined => stacks.get(app)

/** The nearest run in this fiber that has not been left. Those of the same place that have are superseded. */
export const nearest = (fiber: AnyFiber): ExchangeImpl | undefined => {
  const { source } = requestOf(fiber)
  let exchange = exchangeOf(fiber)
  while (exchange?.left === true) {
    if (exchange.request.source === source) exchange.supersede()
    exchange = exchange.before
  }
  return exchange
}

const frameApp = (stack: Compiled, frame: Frame): ErasedApp =>
  Effect.withFiberRuntime((fiber) => {
    const before = nearest(fiber)
    const ahead = before?.ahead
    if (ahead?.frame === frame) {
      before!.ahead = undefined
      return resume(fiber, ahead)
    }
    const exchange = new ExchangeImpl(fiber, stack, before)
    if (frame.index === 0 && stack.base !== undefined) exchange.adopt(stack.base)
    return enter(fiber, exchange, frame, 0)
  })

/** Plain phases that a server has run before there is a fiber: once, whatever comes after. */
export interface Begun {
  readonly run: ExchangeImpl
  readonly frame: Frame
  readonly at: number
  readonly ended: Ended | undefined
}

/** Runs plain phases of a stack, past what wraps where that lets it by. Gives the outermost run, and the one where it stopped. */
export const begin = (stack: Compiled, host: Host & { currentContext: Context.Context<never> }) => {
  const [frame] = stack.frames
  const run = new ExchangeImpl(host, stack)
  run.own()
  if (stack.base !== undefined) run.adopt(stack.base)
  const outermost = beginFrame(run, frame!)
  let last = outermost
  while (last.ended === undefined && last.at === last.frame.phases.length && last.frame.wrap) {
    if (last.frame.phases.at(-1)!.bypass?.enters(last.run) !== true) break
    const inner = stack.frames[last.frame.index + 1]!
    host.currentContext = last.run.context as Context.Context<never>
    last.run.ahead = beginFrame(new ExchangeImpl(host, stack, last.run), inner)
    last = last.run.ahead
  }
  return { outermost, last }
}

const beginFrame = (run: ExchangeImpl, frame: Frame): Begun => {
  const at = advance(run, frame.phases, 0)
  return { run, frame, at, ended: run.takeEnded() }
}

/** What a stack has answered before there is a fiber; `undefined` where only the rest of it can tell. */
export const answered = ({ last, outermost }: ReturnType<typeof begin>): ReturnType<typeof flush> | undefined => {
  const { ended, run } = last
  if (ended === undefined || ended._tag === "Die") return undefined
  const response = ended._tag === "Respond" ? ended.response : faceOfRefusal(last, ended.error)
  if (response === undefined) return undefined
  run.conclude(ended)
  return flush(outermost.run, response)
}

const faceOfRefusal = ({ frame, run }: Begun, error: unknown): Response | undefined => {
  const { frames } = run.stack!
  let outer = run.parent
  for (let i = frame.index - 1; i >= 0; i--) {
    const made = passing(frames[i]!.phases.at(-1)!.bypass!, error, outer!)
    if (made !== "passes") return made
    outer = outer!.parent
  }
  return constantFace(error)
}
/** An error may throw whatever it is asked: then it is asked again where that is seen to. */
const passing = (bypass: Bypass, error: unknown, run: ExchangeImpl) => {
  try {
    return bypass.refuses(error, run)
  } catch {
    return undefined
  }
}

/** Goes on, in a fiber, where a server has stopped. */
export const resume = (fiber: AnyFiber, { at, ended, frame, run }: Begun): ErasedApp => {
  run.board(fiber)
  return go(fiber, run, frame, at, ended)
}

const enter = (fiber: AnyFiber, exchange: ExchangeImpl, frame: Frame, from: number): ErasedApp => {
  const at = advance(exchange, frame.phases, from)
  return go(fiber, exchange, frame, at, exchange.takeEnded())
}

const go = (
  fiber: AnyFiber,
  exchange: ExchangeImpl,
  frame: Frame,
  at: number,
  ended: Ended | undefined
): ErasedApp => {
  if (ended !== undefined) {
    exchange.conclude(ended)
    exchange.installAnnotations(fiber)
    if (ended._tag === "Respond") return depart(fiber, exchange, frame, ended.response)
    return refuse(fiber, exchange, ended._tag === "Die" ? Cause.die(ended.defect) : Cause.fail(ended.error))
  }
  exchange.install(fiber)
  if (at === frame.phases.length) return proceed(fiber, exchange, frame)
  return Effect.matchCauseEffect(waiting(exchange, frame.phases, at), {
    onFailure: (cause) => refuse(fiber, exchange, cause, frame.phases[at]!.name),
    // when it refused, `settle` gives the end, where `enter` finds what ended it
    onSuccess: (given) => enter(fiber, exchange, frame, settle(exchange, frame.phases, at, given))
  })
}

const proceed = (fiber: AnyFiber, exchange: ExchangeImpl, frame: Frame): ErasedApp => {
  if (exchange.stack?.matters !== true && exchange.replaced === undefined) return frame.next
  return Effect.matchCauseEffect(frame.next, {
    onSuccess: (response) => {
      const late = isLate(fiber, exchange, frame, Cause.empty)
      const departed = depart(fiber, exchange, frame, response)
      return late ? Effect.zipRight(tooLate(nameOf(frame)), departed) : departed
    },
    onFailure: (cause) => {
      const late = isLate(fiber, exchange, frame, cause)
      const inner = isOf(exchange.child?.passed, cause) ? exchange.child : undefined
      // an app's own failure passes untouched; one that a wrapper made is a refusal
      if (inner === undefined && frame.wrap && !isAnswered(requestOf(fiber))) {
        return refuse(fiber, exchange, cause, nameOf(frame))
      }
      exchange.unarmed = inner?.unarmed === true
      const passed = pass(fiber, exchange, cause)
      return late ? Effect.zipRight(tooLate(nameOf(frame)), passed) : passed
    }
  })
}

/** Whether a cause says nothing that the one further in did not: a wrapper may have built it anew. */
export const isOf = (inner: Cause.Cause<unknown> | undefined, cause: Cause.Cause<unknown>) => {
  if (inner === undefined || inner === cause) return inner === cause
  const known = new Set(errorsOf(inner))
  const errors = errorsOf(cause)
  if (errors.length === 0) return known.size === 0
  // most are the same objects, and of thousands not each has to be compared with each
  return errors.every((error) => known.has(error) || [...known].some((one) => areEqual(one, error)))
}
const areEqual = (a: unknown, b: unknown): boolean => {
  try {
    return Equal.equals(a, b)
  } catch {
    return false
  }
}
const errorsOf = (cause: Cause.Cause<unknown>) => [...Cause.failures(cause), ...Cause.defects(cause)]

const nameOf = (frame: Frame) => frame.phases.at(-1)!.name

/** Whether a wrapper has, for the first time, taken away a failure that platform had answered already. */
const isLate = (fiber: AnyFiber, exchange: ExchangeImpl, frame: Frame, cause: Cause.Cause<unknown>) => {
  const failed = frame.wrap && !frame.told ? exchange.child?.passed : undefined
  if (failed === undefined || failed === cause || !isAnswered(requestOf(fiber))) return false
  return frame.told = isTyped(failed) && !isTyped(cause)
}
const isTyped = (cause: Cause.Cause<unknown>) => Cause.failureOption(cause)._tag === "Some"

/** Which of two apps a request meets.
 */
export const choose = (
  decide: (exchange: ExchangeImpl) => boolean | Effect.Effect<boolean, unknown, unknown>,
  onTrue: ErasedApp,
  onFalse: ErasedApp
): ErasedApp =>
  Effect.withFiberRuntime((fiber) => {
    const verdict = decide(new ExchangeImpl(fiber, undefined))
    if (typeof verdict === "boolean") return verdict ? onTrue : onFalse
    return Effect.flatMap(verdict, (verdict) => verdict ? onTrue : onFalse)
  })

/** What nobody has answered, and where. */
export interface Unanswered extends Report, Pick<Failure, "members"> {}

/** Gives what is sent for what nobody has answered. */
export type Guard<R = never> = (unanswered: Unanswered, run: ExchangeImpl) => Effect.Effect<Response, never, R>

/** What there is to be shown of a context. */
export const entriesOf = (context: Context.Context<never>): Iterable<readonly [key: string, service: unknown]> =>
  context.unsafeMap

/** Platform ends the span of a request with what the app gave; that is a response, and the request has failed all the same. */
export const failSpan = (span: Tracer.Span | undefined, cause: Cause.Cause<unknown>) => {
  if (span?.kind !== "server") return
  const end = span.end.bind(span)
  // a tracer may freeze what it makes
  Reflect.set(span, "end", (time: bigint, exit: Exit.Exit<unknown, unknown>) => {
    try {
      end(time, Exit.isSuccess(exit) ? Exit.failCause(cause) : exit)
    } catch (defect) {
      // it has read the cause, and an error may throw whatever it is asked
      end(time, Exit.die(defect))
    }
  })
}

export const outermost = (run: ExchangeImpl): ExchangeImpl => run.parent === undefined ? run : outermost(run.parent)
export const unansweredAt = (
  run: ExchangeImpl,
  cause: Cause.Cause<unknown>,
  part: Report["part"],
  phase = run.failedBy
): Unanswered => ({
  cause,
  part,
  request: outermost(run).request,
  route: run.route,
  services: run.context as Context.Context<never>,
  members: () => membersOf(run, phase)
})

/** The members of every stack around a run, and in it. What has failed further out has failed last. */
const membersOf = (innermost: ExchangeImpl, failed: string | undefined): ReadonlyArray<Member> => {
  const stacks = new Set<Compiled>()
  let [by, of] = [failed, innermost.stack]
  for (let run: ExchangeImpl | undefined = innermost; run !== undefined; run = run.parent) {
    if (run.stack === undefined) continue
    stacks.add(run.stack)
    if (run !== innermost && run.failedBy !== undefined) [by, of] = [run.failedBy, run.stack]
  }
  return [...stacks].reverse().flatMap((stack) =>
    stack.frames.flatMap(({ phases }) => phases).filter(({ guard }) => guard === undefined).map(({ name }) => ({
      name,
      failed: stack === of && name === by
    }))
  )
}

export const tooLate = (name: string) =>
  quietly(Effect.logError(
    `${name} cannot handle failures here: the response has left before the middleware sees the failure, since ` +
      "the stack was given to HttpServer.serve, HttpApiBuilder.serve, HttpLayerRouter.serve or toWebHandler. " +
      "Write `app.pipe(stack, HttpServer.serve())` or `Stack.serve(app, stack)`."
  ))

// --- outward ---------------------------------------------------------------------------------------------------------

const lift = (response: Response | Effect.Effect<Response, never, unknown>): Effect.Effect<Response> =>
  HttpServerResponse.isServerResponse(response) ? Effect.succeed(response) : response as Effect.Effect<Response>

/** A response leaves through a frame. */
const depart = (fiber: AnyFiber, exchange: ExchangeImpl, { defers }: Frame, response: Response): ErasedApp => {
  const flushed = lift(defers && exchange.parent !== undefined ? response : flush(exchange, response))
  if (exchange.parent !== undefined) exchange.parent.child = exchange
  exchange.installAnnotations(fiber)
  exchange.leave(fiber)
  return flushed
}

/**
 * A refusal leaves through a frame. It stays the failure it is; the response that
 * it stands for will carry the edits of everything it passes.
 */
const refuse = (fiber: AnyFiber, exchange: ExchangeImpl, cause: Cause.Cause<unknown>, by?: string): ErasedApp => {
  const failure = by === undefined ? Option.none() : Cause.failureOption(cause)
  if (by !== undefined) exchange.failedBy = by
  if (failure._tag === "Some") exchange.refused(by!, failure.value)
  if (exchange.stack?.matters === true || exchange.covered) {
    exchange.install(fiber)
    const errors = errorsOf(cause)
    // an interruption has no error at all
    exchange.unarmed = errors.map(arm).includes(false) || errors.length === 0
  }
  return pass(fiber, exchange, cause)
}

/** A failure leaves through a frame. */
const pass = (fiber: AnyFiber, exchange: ExchangeImpl, cause: Cause.Cause<unknown>): ErasedApp => {
  exchange.fail(cause)
  exchange.leave(fiber)
  if (!exchange.unarmed || exchange.parent !== undefined || isAnswered(requestOf(fiber))) return Effect.failCause(cause)
  // last resort: what nothing can be attached to has its response ride in the cause
  return Effect.flatMap(
    HttpServerError.causeResponse(cause),
    ([response]) =>
      Effect.flatMap(
        lift(flush(exchange, response)),
        (edited) => Effect.failCause(Cause.sequential(cause, Cause.die(edited)))
      )
  )
}

const armedKey = Symbol.for("effect-middleware/Middleware/armed")
/** How an error renders without the stack; `constant` where it knows that by itself. */
interface Armed {
  readonly face: Effect.Effect<Response, unknown>
  readonly constant: (() => Effect.Effect<Response, unknown>) | undefined
}

/**
 * Makes an error render, once it has left every stack, as the response that the
 * stack has edited. It looks the exchange up in the fiber that renders it, so one
 * error object may serve many requests.
 */
const arm = (error: unknown): boolean => {
  if (typeof error !== "object" || error === null) return false
  if (armedKey in error) return true
  // a response in the place of an error is sent as it is
  if (HttpServerResponse.isServerResponse(error) || !Object.isExtensible(error)) return false
  // taken before the error is armed: afterwards it would ask itself
  const constant = HttpServerRespondable.isRespondable(error)
    ? error[HttpServerRespondable.symbol].bind(error)
    : undefined
  const face: Effect.Effect<Response, unknown> = constant === undefined
    ? HttpServerRespondable.toResponseOrElse(error, internalServerError)
    : Effect.suspend(constant)
  const render = Effect.catchAllCause(face, () => Effect.succeed(internalServerError))
  // not seen by enumeration: the error looks as it did
  const armed: Armed = { face, constant }
  Object.defineProperty(error, armedKey, { value: armed })
  Object.defineProperty(error, HttpServerRespondable.symbol, {
    configurable: true,
    value: () =>
      Effect.withFiberRuntime<Response, unknown>((fiber) => {
        const { source } = requestOf(fiber)
        let top: ExchangeImpl | undefined
        for (let e = exchangeOf(fiber); e !== undefined; e = e.before) {
          if (e.request.source !== source) continue
          // one without frames wraps nothing, and so is never left
          if (!e.left && e.stack?.frames.length !== 0) break
          top = e
        }
        return top === undefined ? render : top.faceOf(error, render)
      })
  })
  return true
}

/**
 * The response that an error knows by itself, if it does: without the edits of a stack that it has passed. It is there at
 * once where the error has it at once.
 */
export const ownFace = (error: object): Effect.Effect<Response, unknown> | undefined => {
  const constant = constantFace(error)
  if (constant !== undefined) return constant
  if (armedKey in error) {
    const armed = error[armedKey] as Armed
    return armed.constant && armed.face
  }
  return HttpServerRespondable.isRespondable(error)
    ? Effect.suspend(() => error[HttpServerRespondable.symbol]())
    : undefined
}

/** The status that a failure stands for. To render it inside of a stack would be to use up the edits that it is to carry. */
export const failureStatus = (cause: Cause.Cause<unknown>): Effect.Effect<number> => {
  const [error] = errorsOf(cause)
  const response = typeof error === "object" && error !== null && armedKey in error
    ? Effect.catchAllCause((error[armedKey] as Armed).face, () => Effect.succeed(internalServerError))
    : Effect.map(HttpServerError.causeResponse(cause), ([response]) => response)
  return Effect.map(response, ({ status }) => status)
}

/** The same where it is there at once, and so needs no fiber. */
const constantFace = (error: unknown): Response | undefined => {
  if (typeof error !== "object" || error === null) return undefined
  try {
    const face: unknown = armedKey in error
      ? (error[armedKey] as Armed).constant?.()
      : HttpServerRespondable.isRespondable(error)
      ? error[HttpServerRespondable.symbol]()
      : undefined
    return HttpServerResponse.isServerResponse(face) ? face : undefined
  } catch {
    return undefined
  }
}

const internalServerError = HttpServerResponse.empty({ status: 500 })

const handlerOf =
  (exchange: ExchangeImpl, outer: Option.Option<HttpApp.PreResponseHandler>): HttpApp.PreResponseHandler =>
  (request, response) => {
    // a handler may run another app with the fiber's refs: that one's responses are not ours
    const edited = lift(request.source === exchange.request.source ? flush(exchange, response) : response)
    return outer._tag === "None" ? edited : Effect.flatMap(edited, (response) => outer.value(request, response))
  }

/** What the response handlers of a fiber make of a response: at once where it is none, or that of the outermost run alone. */
export const preResponse = (
  fiber: AnyFiber,
  run: ExchangeImpl | undefined,
  request: HttpServerRequest.HttpServerRequest,
  response: Response
): Response | Effect.Effect<Response, unknown> => {
  const handler = fiber.getFiberRef(HttpApp.currentPreResponseHandlers)
  if (handler._tag === "None") return response
  return handler === run?.handler ? flush(run, response) as ReturnType<typeof lift> : handler.value(request, response)
}

interface Turn {
  readonly owner: ExchangeImpl
  readonly phase: Phase
  readonly request: HttpServerRequest.HttpServerRequest
}

/** Takes the next response phase to run: those of a run further in come first. */
const take = (exchange: ExchangeImpl): Turn | undefined => {
  if (exchange.child !== undefined) {
    const inner = take(exchange.child)
    if (inner !== undefined) return inner
    exchange.child = undefined
  }
  const phase = exchange.pending.pop()
  return phase === undefined ? undefined : { owner: exchange, phase, request: exchange.requests.pop()! }
}

/** Runs the response phase of one: what is left of it is an Effect. */
export const edit = (
  { response, responseEffect }: Phase,
  draft: ResponseDraft,
  exchange: Exchange
): Effect.Effect<void, unknown, unknown> | undefined => {
  const effect = response?.(draft, exchange) ?? undefined
  if (responseEffect === undefined) return effect
  return Effect.zipRight(effect ?? Effect.void, Effect.suspend(() => responseEffect(draft, exchange)))
}

/**
 * Runs what is pending on one draft, each phase once. Total: a phase that throws
 * makes the response a 500 and the log has the cause.
 */
export const flush = (
  exchange: ExchangeImpl,
  response: Response
): Response | Effect.Effect<Response, never, unknown> => {
  if (exchange.child === undefined && exchange.pending.length === 0) return response
  const edited = exchange.child?.edited
  const draft = open(response, edited?.to === response ? edited.from : response)
  const { guard } = outermost(exchange)
  const failed = (cause: Cause.Cause<unknown>, at = exchange, by?: string) => {
    const unanswered = unansweredAt(at, cause, "response", by)
    if (guard !== undefined) failSpan(outermost(exchange).span, cause)
    return Effect.map(
      Effect.zipRight(
        report(
          `${by === undefined ? "A response cannot be sent" : "A response phase failed"}; a 500 takes its place`,
          unanswered
        ),
        guard === undefined ? Effect.succeed(internalServerError) : guard(unanswered, exchange)
      ),
      (response) => {
        discard(draft.body)
        draft.fallBack(response)
      }
    )
  }
  const go = (): Effect.Effect<void, never, unknown> | undefined => {
    for (let turn = take(exchange); turn !== undefined; turn = take(exchange)) {
      const effect = run(turn)
      if (effect !== undefined) return Effect.flatMap(effect, () => go() ?? Effect.void)
    }
    return undefined
  }
  const run = (turn: Turn): Effect.Effect<void, never, unknown> | undefined => {
    const { owner, phase, request } = turn
    owner.request = request
    try {
      const effect = edit(phase, draft, owner)
      if (effect === undefined) return render(turn)
      return Effect.suspend(() => effect).pipe(
        Effect.provide(owner.context),
        Effect.catchAllCause((cause) => failed(cause, owner, phase.name)),
        Effect.flatMap(() => render(turn) ?? Effect.void)
      )
    } catch (defect) {
      return failed(Cause.die(defect), owner, phase.name)
    }
  }
  const render = ({ owner, phase }: Turn): Effect.Effect<void> | undefined => {
    const error = draft.takeRefusal()
    if (error === undefined) return undefined
    owner.refused(phase.name, error)
    const cause = Cause.fail(error)
    return Effect.suspend(() => HttpServerRespondable.toResponseOrElse(error, internalServerError)).pipe(
      Effect.flatMap((response) => {
        if (guard === undefined || response.status < 500) return Effect.succeed(response)
        const unanswered = unansweredAt(owner, cause, "response", phase.name)
        failSpan(outermost(exchange).span, cause)
        return Effect.zipRight(
          report("A request failed", unanswered),
          response === internalServerError ? guard(unanswered, exchange) : Effect.succeed(response)
        )
      }),
      Effect.map((response) => {
        discard(draft.body)
        draft.replace(response)
      }),
      Effect.catchAllCause((cause) => failed(cause, owner, phase.name))
    )
  }
  const inner = listenersOf(exchange.child)
  const close = (): Response | Effect.Effect<Response> => {
    exchange.listeners = [...inner, ...draft.listeners]
    // a response may yet be dropped: whoever stands outermost checks and watches the one that is sent
    if (exchange.parent !== undefined) {
      const to = draft.toResponse()
      exchange.edited = { from: draft.first, to }
      return to
    }
    const mistake = draft.mistake()
    const send = () => watch(exchange, draft.toResponse(), exchange.listeners)
    return mistake === undefined || isUpgraded(exchange.request)
      ? send()
      : Effect.map(failed(Cause.die(new TypeError(mistake))), send)
  }
  const effect = go()
  return effect === undefined ? close() : Effect.flatMap(effect, () => lift(close()))
}

/** Those of a run that failed are with the one further in. */
const listenersOf = (run: ExchangeImpl | undefined): ReadonlyArray<(sent: Sent) => void> =>
  run === undefined || run.listeners.length > 0 ? run?.listeners ?? [] : listenersOf(run.child)

/**
 * Tells the listeners, once, how the response fared; on the way its bytes are counted where nothing else knows them. A body
 * that fails is told too, and its connection cut off: platform's server would end it as if it were whole.
 */
const watch = (
  exchange: ExchangeImpl,
  response: Response,
  listeners: ReadonlyArray<(sent: Sent) => void>
): Response => {
  // nothing can go wrong with what is there as a whole
  if (listeners.length === 0 && (exchange.guard === undefined || isWhole(response.body))) return response
  // what platform has sent is watched already
  if (isAnswered(exchange.request)) return response
  const { request } = exchange
  const told = (cause: Cause.Cause<unknown>, part: Report["part"]) =>
    report(
      part === "body" ? "The body of a response failed" : "A listener of a response failed",
      unansweredAt(exchange, cause, part)
    )
  const tell = (sent: Sent) => {
    for (const listener of listeners) {
      try {
        listener(sent)
      } catch (defect) {
        exchange.fork(told(Cause.die(defect), "response"))
      }
    }
  }
  const node = nodeResponse(request)
  const known = bytesOf(request, response)
  const { body, headers } = response
  // platform runs a stream too that has no place in the response, as in a 204: then there is nothing to cut
  const hasContent = known !== 0
  let [counted, failed] = [0, false]
  if (node === undefined) {
    tell({ status: response.status, bytes: known, aborted: false, failed: false })
  } else if (isUpgraded(request)) {
    // what the app answered after the last message is not sent
    tell({ status: 101, bytes: 0, aborted: false, failed: false })
    return response
  } else {
    // a handler may have answered on Node's response, and another response than this may be sent in the end
    const isOurs = node.writableEnded ? () => false : () => node.statusCode === response.status
    whenDone(request, node, (lost) => {
      const broken = failureOf(node, body)
      if (broken !== undefined) exchange.fork(told(Cause.die(broken), "body"))
      failed ||= broken !== undefined
      const aborted = lost || failed
      const counts = body._tag === "Stream" && hasContent
      const bytes = counts ? counted : !node.headersSent ? 0 : aborted || !isOurs() ? undefined : known
      // of a client that did not wait there is no status but the one it was to have
      tell({ status: node.headersSent || !lost ? node.statusCode : response.status, bytes, aborted, failed })
    })
  }
  if (request.method === "HEAD") discard(body)
  if (body._tag !== "Stream" || request.method === "HEAD") return response
  const length = hasContent ? Number(headers["content-length"] ?? Number.NaN) : Number.NaN
  const tallied = Stream.map(body.stream, (bytes) => {
    // what is too much would be read as the next response
    if (counted + bytes.length > length) throw new RangeError("The body is longer than its Content-Length")
    counted += bytes.length
    return bytes
  })
  const whole = Number.isNaN(length) ? tallied : Stream.concat(
    tallied,
    // the client would wait for the rest
    Stream.suspend(() =>
      counted < length ? Stream.die(new RangeError("The body is shorter than its Content-Length")) : Stream.empty
    )
  )
  const watched = Stream.onError(whole, (cause) => {
    // a client that leaves interrupts it
    const isFault = !Cause.isInterruptedOnly(cause)
    failed = isFault && hasContent
    const cut = node === undefined || !hasContent
      ? Effect.void
      : Effect.async<void>((resume) => cutOff(request, node, () => resume(Effect.void)))
    return isFault ? Effect.zipRight(told(cause, "body"), cut) : cut
  })
  // a clone, as a draft makes it
  return Object.assign(Object.create(Object.getPrototypeOf(response)), response, {
    body: HttpBody.stream(watched, body.contentType, body.contentLength)
  })
}

const isWhole = (body: HttpBody.HttpBody): boolean =>
  body._tag === "Empty" || body._tag === "Uint8Array" || (body._tag === "Raw" && typeof body.body === "string")

/** The size of the content as it is sent (RFC 9110 section 6.4.1), where it is known beforehand. */
const bytesOf = (request: HttpServerRequest.HttpServerRequest, response: Response): number | undefined => {
  const { body, headers, status } = response
  if (request.method === "HEAD" || status === 204 || status === 304 || body._tag === "Empty") return 0
  // of a stream the field says it: platform sends none for a length of 0
  const known = body._tag === "Stream" ? undefined : body.contentLength
  const length = known ?? Number(headers["content-length"] ?? Number.NaN)
  return Number.isNaN(length) ? undefined : length
}

// --- the request -----------------------------------------------------------------------------------------------------

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

/** The request as the server made it. */
export const originalOf = (request: HttpServerRequest.HttpServerRequest): HttpServerRequest.HttpServerRequest => {
  const base = (request as Partial<Derived>)[baseKey]
  return base === undefined ? request : originalOf(base)
}

/**
 * Another view of a request by delegation to the original, on which the servers
 * keep how to answer it; `request.modify` would lose that.
 */
const derive = (
  base: HttpServerRequest.HttpServerRequest,
  changes: RequestChanges
): HttpServerRequest.HttpServerRequest => {
  if (viewKey in base && changes.stream === undefined && !isStreamed(base)) {
    return (base as unknown as Viewable)[viewKey](changes)
  }
  const derived = Object.create(base, shared) as Derived
  const define = (key: PropertyKey, value: unknown) =>
    Object.defineProperty(derived, key, { value, configurable: true, writable: true })
  define(baseKey, base)
  const { stream, ...fields } = changes
  for (const key in fields) {
    const value = fields[key as keyof typeof fields]
    if (value !== undefined) define(key, value)
  }
  if (changes.headers !== undefined && changes.headers.cookie !== base.headers.cookie) {
    define("cookies", Cookies.parseHeader(changes.headers.cookie ?? ""))
  }
  if (stream !== undefined) Object.defineProperties(derived, bodyAccessors(derived, base, stream))
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

/** The names of the members, outermost first; those of a stack inside a stack in its place. */
export const namesOf = (middleware: Any): ReadonlyArray<string> =>
  Array.isArray(middleware.members) ? middleware.members.flatMap(namesOf) : [middleware.name]

export const concatAll = <Name extends string>(name: Name, members: ReadonlyArray<Any>): Any => {
  const phases = members.flatMap(phasesOf)
  const seen = new Set<string>()
  for (const name of members.flatMap(namesOf)) {
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

export function named<Name extends string>(name: Name): Make<Name> {
  // the overloads of `Make` say what stands in which place
  return ((...members: ReadonlyArray<Any>) => concatAll(name, members)) as unknown as Make<Name>
}

/** An api words the body of a failure by its schema: what else its own response says, such as `Retry-After`, stays. */
const keepFields = (error: unknown): Effect.Effect<void> => {
  const face = typeof error === "object" && error !== null ? ownFace(error) : undefined
  if (face === undefined) return Effect.void
  return Effect.flatMap(
    Effect.option(face),
    (face) =>
      Option.isNone(face) ? Effect.void : HttpApp.appendPreResponseHandler((_, response) => {
        const draft = open(response)
        if (response.status !== face.value.status) return Effect.succeed(response)
        for (const [name, value] of Object.entries(face.value.headers)) {
          if (!name.startsWith("content-")) draft.setIfAbsent(name, value)
        }
        return Effect.succeed(draft.toResponse())
      })
  )
}

/**
 * The request phases alone, where there is no app to wrap: what is refused fails,
 * what is provided is the result, responses are edited by the stack around it or,
 * without one, just before they are sent.
 */
export const phasesEffect = (
  middleware: Any,
  base: Context.Context<never>,
  provides: string | undefined
): Effect.Effect<unknown, unknown, unknown> => {
  const phases = phasesOf(middleware)
  return Effect.withFiberRuntime((fiber) => {
    const stack: Compiled = { frames: [], matters: phases.some(mayRespond), base, app: Effect.never }
    const exchange = new ExchangeImpl(fiber, stack, nearest(fiber))
    exchange.adopt(base)
    const go = (from: number): Effect.Effect<unknown, unknown, unknown> => {
      const at = advance(exchange, phases, from)
      const ended = exchange.takeEnded()
      exchange.install(fiber)
      if (ended !== undefined) {
        exchange.conclude(ended)
        // an answer here is a failure to the endpoint: it is a response, and leaves as what it is
        if (ended._tag === "Respond") return Effect.fail(ended.response)
        if (ended._tag === "Die") return Effect.die(ended.defect)
        return Effect.zipRight(keepFields(ended.error), Effect.fail(ended.error))
      }
      if (at === phases.length) {
        return provides === undefined ? Effect.void : Effect.succeed(exchange.context.unsafeMap.get(provides))
      }
      return Effect.flatMap(
        Effect.tapError(Effect.provide(waiting(exchange, phases, at), exchange.context), keepFields),
        (given) => go(settle(exchange, phases, at, given))
      )
    }
    return go(0)
  })
}
