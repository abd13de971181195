/**
 * Limits how many requests are worked on at once, and refuses at once what would only wait.
 *
 * 1. A request takes a permit and holds it until its handler has ended and its response is done: the last byte handed to
 *    the system, or the connection lost. A client that leaves early frees nothing while its handler goes on.
 * 2. Where no permit is free it waits, if there is a `queue`: first come, first served. It is refused where the queue is
 *    full, and when it has waited for too long. A client that leaves gives up its place.
 * 3. With `shed` a request is refused also while the process is too busy, free permits or not; whoever waits already keeps
 *    the place.
 * 4. With `key` there are as many permits, and as long a queue, for each key. A key is forgotten with its last request, so
 *    that there are never more of them than requests.
 * 5. A WebSocket holds its permit until it is closed. A request that is tried again further out keeps the one it has.
 *
 * Each refusal is an `Overloaded`: 503 with `Retry-After` (RFC 9110 15.6.4, 10.2.3).
 *
 * @since 0.1.0
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as MetricLabel from "effect/MetricLabel"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Client } from "./Forwarded.js"
import { networkOf } from "./internal/address.js"
import { type Gate, Gates } from "./internal/gate.js"
import type { ExchangeImpl } from "./internal/kernel.js"
import * as Node from "./internal/load.js"
import { whenSent } from "./internal/nodeResponse.js"
import { compileExemption } from "./internal/pathPattern.js"
import * as Middleware from "./Middleware.js"
import * as ProblemDetails from "./ProblemDetails.js"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<K extends Key = Key, Name extends string = string> {
  /** How many requests may be worked on at once, in this process. There is no default. */
  readonly permits: number
  /** Default: none, and what finds no permit is refused at once. */
  readonly queue?: QueueOptions | undefined
  /** Whose permits they are. Default: one number for all. */
  readonly key?: K | undefined
  /** When the process is too busy for more. Default: never. */
  readonly shed?: ShedOptions | undefined
  /** After what time a client may try again, sent as `Retry-After` in whole seconds. Default: 1 second. */
  readonly retryAfter?: Duration.DurationInput | undefined
  /**
   * Routes that need no permit and are never refused, written as for `Middleware.exceptRoutes` and read as strictly:
   * `["GET /health"]`. Default: none.
   */
  readonly exceptRoutes?: ReadonlyArray<string> | undefined
  readonly name?: Name | undefined
}

/**
 * - `"client"`: the address of `Forwarded.Client`, which is then required; of IPv6 the /64, since a client has all of
 *   one. Clients without an address share one key.
 * - a function of the request: what it gives should be short, and not of the client's choosing.
 *
 * @since 0.1.0
 * @category models
 */
export type Key = "client" | KeyOf

/**
 * @since 0.1.0
 * @category models
 */
export type KeyOf = (request: HttpServerRequest.HttpServerRequest) => string

/**
 * @since 0.1.0
 * @category models
 */
export interface QueueOptions {
  /** How many may wait, at least 1. */
  readonly size: number
  /** For how long one may. */
  readonly maxWait: Duration.DurationInput
}

/**
 * What is too much: above any of these, requests are refused. Measured twice a second.
 *
 * @since 0.1.0
 * @category models
 */
export interface ShedOptions {
  /** The mean delay of the event loop, since the last time that it was measured. */
  readonly eventLoopDelay?: Duration.DurationInput | undefined
  /** Of the JavaScript heap: bytes, or up to 1 a fraction of its limit. */
  readonly heapUsed?: number | undefined
  /** Of the process: bytes, or up to 1 a fraction of what the container, or else the machine, has. */
  readonly rss?: number | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// services
// ---------------------------------------------------------------------------------------------------------------------

/**
 * How busy the process is. Plain code, asked for each request: measure seldom.
 *
 * @since 0.1.0
 * @category services
 */
export interface Measured {
  /** In milliseconds. */
  readonly eventLoopDelay: () => number
  /** In bytes. */
  readonly heap: () => { readonly used: number; readonly limit: number }
  /** In bytes. */
  readonly rss: () => { readonly used: number; readonly limit: number }
}

/**
 * Where `shed` learns how busy the process is. The default asks Node.
 *
 * @example
 * ```ts
 * import { ConcurrencyLimit } from "effect-middleware"
 * import { Layer } from "effect"
 *
 * const busy = Layer.succeed(ConcurrencyLimit.Load, {
 *   eventLoopDelay: () => 250,
 *   heap: () => ({ used: 900, limit: 1000 }),
 *   rss: () => ({ used: 900, limit: 1000 })
 * })
 * ```
 *
 * @since 0.1.0
 * @category services
 */
export class Load extends Context.Reference<Load>()("effect-middleware/ConcurrencyLimit/Load", {
  defaultValue: (): Measured => Node
}) {}

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * There is too much to do: no permit and no place in the queue, none within its time, or the process is too busy. The
 * client is told the same of each.
 *
 * @since 0.1.0
 * @category errors
 */
export class Overloaded extends Schema.TaggedError<Overloaded>("effect-middleware/ConcurrencyLimit/Overloaded")(
  "Overloaded",
  {
    reason: Schema.Literal("queue-full", "waited", "shedding"),
    /** In seconds. */
    retryAfter: Schema.Number
  },
  HttpApiSchema.annotations({ status: 503 })
) implements HttpServerRespondable.Respondable {
  override get message() {
    return causes[this.reason]
  }
  [HttpServerRespondable.symbol]() {
    return ProblemDetails.toResponse(
      { status: 503, detail: "The server has too much to do" },
      { headers: { "retry-after": String(this.retryAfter) } }
    )
  }
}

const causes = {
  "queue-full": "No permit is free, and no place in the queue",
  waited: "No permit has become free in time",
  shedding: "The process is too busy"
}

// ---------------------------------------------------------------------------------------------------------------------
// middleware
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Refuses with `Overloaded`.
 *
 * How many permits are in use and how many requests wait is in two metrics of Effect, `http.server.concurrency.in_use` and
 * `http.server.concurrency.queued`, each with the label `middleware`: its `name`.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { ConcurrencyLimit, Forwarded, Stack } from "effect-middleware"
 *
 * const app = HttpRouter.empty.pipe(
 *   HttpRouter.get("/", HttpServerResponse.text("hello")),
 *   HttpRouter.get("/health", HttpServerResponse.text("ok")),
 *   Stack.make(
 *     Forwarded.middleware({ trust: "none" }),
 *     ConcurrencyLimit.middleware({
 *       permits: 200,
 *       queue: { size: 100, maxWait: "2 seconds" },
 *       shed: { eventLoopDelay: "200 millis", heapUsed: 0.9 },
 *       exceptRoutes: ["GET /health"]
 *     }),
 *     ConcurrencyLimit.middleware({ permits: 10, key: "client", name: "ConcurrencyPerClient" })
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <const K extends Key = KeyOf, const Name extends string = "ConcurrencyLimit">(
  options: Options<K, Name>
): Middleware.Middleware<
  never,
  Overloaded,
  "client" extends K ? Client : never,
  never,
  Name,
  Middleware.Phases
> => {
  const { exceptRoutes, permits, queue } = options
  const name = options.name ?? "ConcurrencyLimit" as Name
  if (!isCount(permits)) {
    throw new TypeError(`ConcurrencyLimit: permits is ${permits}: write a whole number, at least 1`)
  }
  if (queue !== undefined && !isCount(queue.size)) {
    throw new TypeError(
      `ConcurrencyLimit: queue.size is ${queue.size}: write a whole number, at least 1; for no queue, leave it out`
    )
  }
  const maxWait = queue === undefined ? 0 : millis("queue.maxWait", queue.maxWait)
  const retryAfter = Math.ceil(millis("retryAfter", options.retryAfter ?? "1 second") / 1000)
  const isShedding = compileShed(options.shed)
  const isExempt = exceptRoutes === undefined ? () => false : compileExemption(exceptRoutes)
  const keyOf = compileKey(options.key)
  const inUse = gauge("in_use", "Number of permits in use.", name)
  const queued = gauge("queued", "Number of requests that wait for a permit.", name)
  const gates = new Gates<Waiter>(permits, queue?.size ?? 0)
  /** By what arrived and not by run: a request that is tried again further out is one request. */
  const held = new WeakMap<object, Permit>()

  const hold = (run: ExchangeImpl, gate: Gate<Waiter>) => {
    let over = false
    const release = () => {
      if (over) return
      over = true
      held.delete(sourceOf(run))
      const next = gate.release()
      if (next === undefined) return inUse(-1)
      queued(-1)
      next.granted = true
      hold(next.run, gate)
      next.go()
    }
    held.set(sourceOf(run), { run, release })
    // also where no response of this run is sent: it was given up, or cut off, or goes on behind an answer
    run.whenEnded(() => over || whenSent(run.request, release))
  }

  // made once: an error with its stack and its schema costs more than the decision
  const refuse = (reason: Overloaded["reason"]) => Middleware.Refuse(new Overloaded({ reason, retryAfter }))
  const [full, waited, shedding] = [refuse("queue-full"), refuse("waited"), refuse("shedding")]

  const request = (exchange: Middleware.Exchange<Client>) => {
    const run = exchange as ExchangeImpl
    const { method, url } = run.request
    if (isExempt(method, url) || held.has(sourceOf(run))) return Middleware.Pass
    if (isShedding(exchange)) return shedding
    const gate = gates.at(keyOf(exchange))
    if (gate.take()) {
      inUse(1)
      hold(run, gate)
      return Middleware.Pass
    }
    return gate.isFull ? full : Middleware.Defer
  }
  const wait = (exchange: Middleware.Exchange<Client>) =>
    Effect.uninterruptible(Effect.suspend(() => {
      // asked again: others have run since
      const outcome = request(exchange)
      if (outcome._tag !== "Defer") return Effect.succeed(outcome)
      const run = exchange as ExchangeImpl
      const gate = gates.at(keyOf(exchange))
      const waiter: Waiter = { run, granted: false, go: () => {} }
      gate.wait(waiter)
      queued(1)
      return Effect.async<void>((resume) => {
        waiter.go = () => resume(Effect.void)
        if (waiter.granted) waiter.go()
      }).pipe(
        Effect.timeoutTo({ duration: maxWait, onSuccess: () => {}, onTimeout: () => {} }),
        // also where platform's server could not be: a client that leaves gives up its place
        Effect.interruptible,
        Effect.ensuring(Effect.sync(() => gate.leave(waiter) && queued(-1))),
        Effect.map(() => waiter.granted ? Middleware.Pass : waited)
      )
    }))

  return Middleware.make({
    name,
    traits: ["guard", "permits"],
    requires: [Client],
    request,
    requestEffect: queue === undefined ? undefined : wait,
    response: (draft, exchange) => {
      const permit = held.get(sourceOf(exchange as ExchangeImpl))
      // a handler that is in another fiber may go on: that fiber tells
      if (permit?.run.isCurrent === true) draft.onSent(permit.release)
    }
    // `Client` is read, and so required, only as the key
  }) as Middleware.Middleware<never, Overloaded, never, never, Name, Middleware.Phases>
}

interface Permit {
  readonly run: ExchangeImpl
  readonly release: () => void
}

interface Waiter {
  readonly run: ExchangeImpl
  granted: boolean
  go: () => void
}

/** On every server it is an object. */
const sourceOf = ({ request }: ExchangeImpl) => request.source as object

const compileKey = (key: Key | undefined): (exchange: Middleware.Exchange<Client>) => string => {
  if (key === undefined) return () => ""
  return key === "client"
    ? (exchange) => {
      const { address } = exchange.get(Client)
      // of IPv6 the /64, since a client may have any address in it
      return address === undefined ? "unknown" : networkOf(address, 32, 64) ?? "unknown"
    }
    : ({ request }) => key(request)
}

const compileShed = (shed: ShedOptions | undefined): (exchange: Middleware.Exchange) => boolean => {
  if (shed === undefined) return () => false
  const { eventLoopDelay, heapUsed, rss } = shed
  if (eventLoopDelay === undefined && heapUsed === undefined && rss === undefined) {
    throw new TypeError("ConcurrencyLimit: shed is empty: name what is too much, or leave it out")
  }
  const delay = eventLoopDelay === undefined ? undefined : millis("shed.eventLoopDelay", eventLoopDelay)
  const [isHeap, isRss] = [compileMemory("heapUsed", heapUsed), compileMemory("rss", rss)]
  return (exchange) => {
    const load = Option.getOrElse(exchange.getOption(Load), () => Node)
    return (delay !== undefined && load.eventLoopDelay() > delay) || isHeap(load.heap) || isRss(load.rss)
  }
}

const compileMemory = (option: string, most: number | undefined): (measure: Measured["heap"]) => boolean => {
  if (most === undefined) return () => false
  if (!(most > 0 && most < Infinity)) {
    throw new TypeError(`ConcurrencyLimit: shed.${option} is ${most}: write bytes, or up to 1 a fraction (0.9)`)
  }
  return (measure) => {
    const { limit, used } = measure()
    return used > (most <= 1 ? most * limit : most)
  }
}

const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 1

/** Above 0, and below what a timer can be set for. */
const millis = (option: string, input: Duration.DurationInput): number => {
  const duration = Duration.decodeUnknown(input)
  const value = Option.isSome(duration) ? Duration.toMillis(duration.value) : 0
  if (value > 0 && value < 2 ** 31) return value
  throw new TypeError(`ConcurrencyLimit: ${option} is ${String(input)}: write a time above 0 ("2 seconds")`)
}

const gauge = (metric: "in_use" | "queued", description: string, name: string): (change: number) => void => {
  // limits of one name are one series, and add up
  const counter = Metric.counter(`http.server.concurrency.${metric}`, { description })
  const tags = [MetricLabel.make("middleware", name), MetricLabel.make("unit", "{request}")]
  return (change) => counter.unsafeUpdate(change, tags)
}
