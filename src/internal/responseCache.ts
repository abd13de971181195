/** What `ResponseCache` does with one request: it looks, gives, fills, refreshes and forgets. */
import * as Headers from "@effect/platform/Headers"
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as LogLevel from "effect/LogLevel"
import * as Metric from "effect/Metric"
import * as MetricLabel from "effect/MetricLabel"
import { Client, type ClientInfo } from "../Forwarded.js"
import * as Middleware from "../Middleware.js"
import {
  type Entry,
  type Found,
  ResponseCacheStore,
  type ResponseCacheUnavailable,
  type Service
} from "../ResponseCacheStore.js"
import type { ResponseDraft } from "../ResponseDraft.js"
import { originForm } from "./authority.js"
import { collected, copyOf, fieldsOf, lengthOf, matched, noBytes, responseOf, teed } from "./cacheBodies.js"
import { type Fields, judge } from "./cachePolicy.js"
import * as rules from "./cacheRules.js"
import { contentOf, hasContent } from "./content.js"
import { makeFlights, makeHopeless } from "./flights.js"
import { formatHttpDate } from "./httpDate.js"
import { failureStatus } from "./kernel.js"
import { isPersonal, sourceOf } from "./personal.js"
import { isRead } from "./preconditions.js"

type Request = HttpServerRequest.HttpServerRequest
type Response = HttpServerResponse.HttpServerResponse
type Exchange = Middleware.Exchange<ResponseCacheStore | Client>

export interface Config {
  readonly name: string
  /** As it stands in `Cache-Status`, which is not sent without. */
  readonly status: string | undefined
  readonly ttl: number | undefined
  readonly jitter: number
  readonly vary: ReadonlyArray<string>
  readonly cookies: "bypass" | "hide"
  readonly directives: boolean
  readonly maxEntrySize: number
  readonly wait: number
  readonly tags: ((request: Request, response: Response) => Iterable<string>) | undefined
  readonly notCached: object
}

/** What is made of a request, from the way in to the way out. */
type Plan = Pass | Write | Read

interface Pass {
  readonly _tag: "Pass"
  readonly status: string
}

interface Write {
  readonly _tag: "Write"
  readonly key: string
}

/** The app is asked, now or behind the answer. */
interface Read {
  readonly _tag: "Read"
  readonly verdict: "refresh" | "validate" | "miss"
  readonly key: string
  readonly id: string
  readonly variantOf: (vary: ReadonlyArray<string>) => string
  found: Found
  readonly entry: Entry | undefined
  /** Until when it waits for others. */
  readonly until: number
  /** As it came in. */
  readonly request: Request
  /** As the app sees it. */
  readonly headers: Headers.Headers
  readonly directives: rules.Directives
  readonly random: number
  status: string
  /** Lets those go that wait for this one. */
  release: (() => void) | undefined
  /** Whether they wait until it is kept, and not only until it is sent. */
  keeping: boolean
}

export const all = "*"
export const tagOf = (tag: string) => `t:${tag}`

/** What handlers have said of their responses. */
export const tagged = new WeakMap<object, Set<string>>()

class Planned extends Middleware.Service("effect-middleware/ResponseCache/Planned")<Planned, Plan>() {}

/** More at once would be a load of its own. */
const mostRefreshes = 64
const refreshTimeout = "30 seconds"

const safe = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PROPFIND", "REPORT", "SEARCH"])

export const phasesOf = (config: Config) => {
  const { name } = config
  const plans = Middleware.local<Plan>()
  const asking = Middleware.local<Asking>()
  const flights = makeFlights(config.wait)
  const hopeless = makeHopeless()
  const refreshing = new Set<string>()
  const count = counterOf(name)
  const warn = warnerOf(name)

  const pass = (exchange: Exchange, status: string) => provide(exchange, { _tag: "Pass", status })
  const provide = (exchange: Exchange, plan: Plan) => {
    plans.set(exchange, plan)
    return Middleware.Provide(plan)
  }

  // --- on the way in -------------------------------------------------------------------------------------------------

  const request = (exchange: Exchange) => {
    const { request } = exchange
    const { headers, method } = request
    const client = exchange.get(Client)
    const key = rules.keyOf(client, request.originalUrl)
    if (!isRead(method)) {
      return safe.has(method) || key === undefined
        ? pass(exchange, "fwd=method")
        : provide(exchange, { _tag: "Write", key })
    }
    const bypass = key === undefined ? "no-host" : hasContent(request) ? "content" : rules.bypassOf(headers)
    if (key === undefined || bypass !== undefined) return bypassed(exchange, bypass ?? "")
    if (isPersonal(request)) return bypassed(exchange, "personal")
    const directives = config.directives ? rules.parseDirectives(headers["cache-control"]) : rules.noDirectives
    if (directives.noStore) return passedBy(exchange, "fwd=request")
    const seen = config.cookies === "hide" ? Headers.remove(headers, "cookie") : headers
    const scope = scopeOf(name, client, request)
    const asked = { key, directives, seen, variantOf: rules.variantOf(scope, seen) }
    const { sync } = exchange.get(ResponseCacheStore)
    if (sync !== undefined) {
      return conclude(exchange, asked, sync.get(key, asked.variantOf, exchange.clock.unsafeCurrentTimeMillis()))
    }
    asking.set(exchange, asked)
    return Middleware.Defer
  }
  const passedBy = (exchange: Exchange, status: string) => {
    count("bypass")
    const { headers } = exchange.request
    if (config.cookies === "hide" && headers["cookie"] !== undefined) {
      exchange.deriveRequest({ headers: Headers.remove(headers, "cookie") })
    }
    return pass(exchange, status)
  }
  const bypassed = (exchange: Exchange, detail: string) => passedBy(exchange, `fwd=bypass;detail=${detail}`)

  const requestEffect = (exchange: Exchange) => {
    const asked = asking.get(exchange)
    // `request` defers with it alone
    if (asked === undefined) return Effect.succeed(pass(exchange, "fwd=bypass"))
    return Effect.match(exchange.get(ResponseCacheStore).get(asked.key, asked.variantOf), {
      onSuccess: (found) => conclude(exchange, asked, found),
      onFailure: (error) => {
        warn(exchange, error)
        return bypassed(exchange, "store-unavailable")
      }
    })
  }

  const conclude = (exchange: Exchange, asked: Asking, found: Found) => {
    const { directives, key, seen, variantOf } = asked
    const { clock, entropy, request } = exchange
    const now = clock.unsafeCurrentTimeMillis()
    const entry = found.entry !== undefined && rules.isFor(found.entry, seen) ? found.entry : undefined
    const verdict = entry === undefined ? "miss" : rules.decide(entry, directives, now)
    if (entry !== undefined && verdict === "give") {
      count("hit")
      return Middleware.Respond(give(request, entry, now))
    }
    if (directives.onlyIfCached && verdict !== "refresh") return Middleware.Refuse(config.notCached)
    // the app gives what can be stored; whether the client has it already is compared with that
    const headers = Headers.fromInput({
      ...without(seen, ["if-none-match", "if-modified-since", "if-range"]),
      ...defined(rules.validating(entry))
    })
    if (verdict !== "refresh") exchange.deriveRequest({ headers })
    const miss = found.vary.length > 0 ? "vary-miss" : "uri-miss"
    return provide(exchange, {
      _tag: "Read",
      verdict: verdict === "give" ? "validate" : verdict,
      key,
      // what is kept varies by those of the option too
      id: `${key}\n${variantOf(found.vary.length > 0 ? found.vary : config.vary)}`,
      variantOf,
      found,
      entry,
      until: now + config.wait,
      request,
      headers,
      directives,
      random: (entropy.bytes(1)[0] ?? 0) / 256,
      status: `fwd=${
        verdict === "miss" ? miss : directives.noCache || rules.leftOf(entry!, now) > 0 ? "request" : "stale"
      }`,
      release: undefined,
      keeping: false
    })
  }

  // --- what is given -------------------------------------------------------------------------------------------------

  const statusOf = (entry: Entry, now: number) =>
    config.status === undefined
      ? undefined
      : `${config.status};hit;ttl=${Math.floor(rules.leftOf(entry, now) / 1000)}`

  /** What has asked the app has its status said on the way out. */
  const give = (request: Request, entry: Entry, now: number, status = statusOf(entry, now)): Response => {
    const response = HttpServerResponse.setHeaders(responseOf(entry), {
      age: String(Math.floor(rules.ageOf(entry, now) / 1000)),
      ...(status !== undefined && status !== "" && { "cache-status": status })
    })
    return matched(request, response, now)
  }

  // --- what wraps the app --------------------------------------------------------------------------------------------

  const around = (app: HttpApp.Default): HttpApp.Default<never, Planned | ResponseCacheStore> =>
    Effect.flatMap(Planned, (plan) => {
      if (plan._tag !== "Read") return app
      if (plan.verdict === "refresh") return refreshed(app, plan)
      return Effect.flatMap(ResponseCacheStore, (store) => fill(app, plan, store))
    })

  const fill = (app: HttpApp.Default, plan: Read, store: Service): HttpApp.Default => {
    const { headers, method } = plan.request
    const alone = method === "HEAD" || headers["authorization"] !== undefined || plan.headers["cookie"] !== undefined
    if (alone) return ask(app, plan, store)
    return Effect.clockWith((clock) => {
      const now = clock.unsafeCurrentTimeMillis()
      if (hopeless.has(plan.id, now)) return ask(app, plan, store)
      const flight = flights.join(plan.id, now, plan.until)
      if (flight === undefined) {
        plan.release = flights.begin(plan.id, now)
        return ask(app, plan, store)
      }
      return Effect.flatMap(flight, () => again(app, plan, store))
    })
  }

  /** Another request has asked the app in the meantime. Where nothing has come of that, one of those that waited is the next. */
  const again = (app: HttpApp.Default, plan: Read, store: Service): HttpApp.Default =>
    Effect.zipWith(
      Effect.option(store.get(plan.key, plan.variantOf)),
      Clock.currentTimeMillis,
      (found, now) => [found, now] as const
    ).pipe(
      Effect.flatMap(([found, now]) => {
        if (found._tag === "None") return ask(app, plan, store)
        const { entry } = plan.found = found.value
        // it was made after this request has come, so it is as new as the client may ask for; and nobody waits with credentials
        if (
          entry === undefined ||
          (plan.entry !== undefined && entry.storedAt <= plan.entry.storedAt) ||
          rules.decide(entry, rules.noDirectives, now) !== "give"
        ) return fill(app, plan, store)
        count("hit")
        plan.status += ";collapsed"
        return Effect.succeed(give(plan.request, entry, now, ""))
      })
    )

  const ask = (app: HttpApp.Default, plan: Read, store: Service): HttpApp.Default =>
    Effect.onExit(
      Effect.matchCauseEffect(app, {
        onFailure: (cause) => failed(plan, cause),
        onSuccess: (response) => Effect.clockWith((clock) => answered(plan, store, response, clock))
      }),
      (exit) => Exit.isFailure(exit) ? Effect.sync(() => release(plan)) : Effect.void
    )

  /** A failure is never stored; but what is stale may stand in for it. */
  const failed = (plan: Read, cause: Cause.Cause<never>): HttpApp.Default =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const { entry } = plan
      if (Cause.isInterruptedOnly(cause)) return Effect.failCause(cause)
      return Effect.flatMap(failureStatus(cause), (status) => {
        if (status < 500) giveUp(plan, now)
        if (status < 500 || entry === undefined || !rules.mayBeStale(entry, now)) return Effect.failCause(cause)
        return Effect.as(
          Effect.logWarning(`${name}: a stored response stands in for one that failed`, cause),
          standIn(plan, entry, status, now)
        )
      })
    })
  /** Of what cannot be stored nobody waits for the next one either. What has failed may be whole the next time. */
  const giveUp = (plan: Read, now: number) => {
    if (plan.release === undefined) return
    hopeless.add(plan.id, now)
    release(plan)
  }
  const release = (plan: Read) => {
    plan.release?.()
    plan.release = undefined
  }
  const standIn = (plan: Read, entry: Entry, status: number, now: number): Response => {
    count("stale")
    plan.status += `;fwd-status=${status};detail=stale-if-error`
    release(plan)
    return give(plan.request, entry, now, "")
  }

  const answered = (plan: Read, store: Service, response: Response, clock: Clock.Clock): HttpApp.Default => {
    const now = clock.unsafeCurrentTimeMillis()
    const { entry, request } = plan
    if (entry !== undefined && response.status === 304) {
      count("revalidated")
      plan.status += ";fwd-status=304"
      const fields = rules.freshened(entry.headers, response.headers)
      const fresh = entryOf(plan, entry.status, fields, entry.body, now)
      const kept = fresh ?? { ...entry, headers: fields, storedAt: now, age: 0 }
      if (fresh === undefined) giveUp(plan, now)
      const keep = fresh === undefined ? Effect.void : put(plan, store, fresh, response, request)
      return Effect.as(keep, HttpServerResponse.mergeCookies(give(request, kept, now, ""), response.cookies))
    }
    if (entry !== undefined && response.status >= 500 && rules.mayBeStale(entry, now)) {
      return Effect.succeed(standIn(plan, entry, response.status, now))
    }
    count("miss")
    const content = contentOf(response.body)
    const isStream = content === undefined && response.body._tag === "Stream"
    const made = request.method === "GET" && (content !== undefined || isStream)
      ? entryOf(plan, response.status, fieldsOf(response), noBytes, now)
      : undefined
    if (made === undefined || !mayStore(request, response) || lengthOf(response, content) > config.maxEntrySize) {
      if (response.status < 500) giveUp(plan, now)
      else release(plan)
      return Effect.succeed(matched(request, response, now))
    }
    plan.status += ";stored"
    if (content !== undefined) {
      const entry = { ...made, body: copyOf(content) }
      return Effect.as(put(plan, store, entry, response, request), matched(request, response, now))
    }
    // of a stream that fails, or is left, those that wait hear when the response has ended
    const whole = (body: Uint8Array) => put(plan, store, { ...made, body }, response, request)
    const none = () => giveUp(plan, now)
    return Effect.succeed(matched(request, teed(response, config.maxEntrySize, { whole, none }), now))
  }

  // --- what is kept --------------------------------------------------------------------------------------------------

  /** Whoever it is for is asked again when a stream has ended. */
  const mayStore = (request: Request, response: Response) =>
    !isPersonal(request) && Object.keys(response.cookies.cookies).length === 0

  const entryOf = (
    plan: Read,
    status: number,
    given: Fields,
    body: Uint8Array,
    now: number
  ): Entry | undefined => {
    const headers = { date: formatHttpDate(now), ...rules.storedFields(given) }
    const terms = judge(plan.headers, { status, headers }, { now, ttl: config.ttl })
    if (terms === undefined) return undefined
    const age = Number(/^\d{1,10}$/.exec(given["age"] ?? "")?.[0] ?? 0) * 1000
    const freshFor = terms.freshFor * (1 - config.jitter * plan.random)
    return { ...terms, freshFor, status, headers, body, storedAt: now, age }
  }

  const put = (plan: Read, store: Service, entry: Entry, response: Response, request: Request): Effect.Effect<void> => {
    const vary = rules.varyOf(entry.headers["vary"], ...plan.found.vary, ...config.vary)
    if (vary === undefined || isPersonal(plan.request) || !mayStore(request, response)) {
      return Effect.sync(() => giveUp(plan, entry.storedAt))
    }
    const tags = new Set(Array.from(config.tags?.(request, response) ?? [], tagOf))
    for (const tag of tagged.get(sourceOf(request)) ?? []) tags.add(tagOf(tag))
    const kept = store.put(plan.key, {
      vary,
      variant: plan.variantOf(vary),
      entry,
      tags: [all, ...tags],
      ttl: rules.keptFor(entry),
      asOf: plan.found.asOf
    }).pipe(
      Effect.catchAll((error) => warned(error)),
      Effect.ensuring(Effect.sync(() => release(plan)))
    )
    plan.keeping = true
    // the client does not wait for what is elsewhere
    return store.sync === undefined ? Effect.asVoid(Effect.forkDaemon(kept)) : Effect.asVoid(kept)
  }
  const warned = (error: ResponseCacheUnavailable) =>
    Effect.flatMap(
      Clock.currentTimeMillis,
      (now) => warn.isDue(now) ? Effect.logWarning(warn.message, error) : Effect.void
    )

  // --- behind the answer ---------------------------------------------------------------------------------------------

  const refreshed = (app: HttpApp.Default, plan: Read): HttpApp.Default<never, ResponseCacheStore> =>
    Effect.flatMap(Clock.currentTimeMillis, (now): HttpApp.Default<never, ResponseCacheStore> => {
      const { entry, id } = plan
      // it is stale, so it is there
      if (entry === undefined) return app
      count("stale")
      const response = give(plan.request, entry, now)
      plan.status = ""
      if (refreshing.has(id) || refreshing.size >= mostRefreshes) return Effect.succeed(response)
      refreshing.add(id)
      const refresh = refreshOf(app, plan).pipe(
        Effect.timeout(refreshTimeout),
        Effect.catchAllCause((cause) => Effect.logWarning(`${name}: a stored response could not be refreshed`, cause)),
        Effect.interruptible,
        Effect.ensuring(Effect.sync(() => refreshing.delete(id)))
      )
      return Effect.as(Effect.forkDaemon(refresh), response)
    })

  const refreshOf = (app: HttpApp.Default, plan: Read): Effect.Effect<void, unknown, ResponseCacheStore> =>
    Effect.gen(function*() {
      const store = yield* ResponseCacheStore
      const request = detached(plan)
      const response = yield* Effect.provideService(app, HttpServerRequest.HttpServerRequest, request)
      const body = yield* collected(response, config.maxEntrySize)
      const now = yield* Clock.currentTimeMillis
      const { entry } = plan
      if (response.status >= 500) return yield* Effect.logWarning(`${name}: a refresh was answered ${response.status}`)
      const fresh = entry !== undefined && response.status === 304
        ? entryOf(plan, entry.status, rules.freshened(entry.headers, response.headers), entry.body, now)
        : body === undefined || !mayStore(request, response)
        ? undefined
        : entryOf(plan, response.status, fieldsOf(response), body, now)
      // what is there now is for nobody else
      yield* fresh === undefined ? store.delete(plan.key) : put(plan, store, fresh, response, request)
    }).pipe(Effect.scoped)

  // --- on the way out ------------------------------------------------------------------------------------------------

  const response = (draft: ResponseDraft, exchange: Exchange) => {
    const plan = plans.get(exchange)
    if (plan === undefined) return
    // what is left to do then is to let go those that wait for a stream that has failed, or was not read
    if (plan._tag === "Read" && plan.release !== undefined) draft.onSent(() => plan.keeping || release(plan))
    const status = plan._tag === "Write" ? "fwd=method" : plan.status
    if (config.status !== undefined && status !== "") draft.append("cache-status", `${config.status};${status}`)
  }

  /** RFC 9111 section 4.4: after a write that succeeded. */
  const responseEffect = (draft: ResponseDraft, exchange: Exchange): Effect.Effect<void> => {
    const plan = plans.get(exchange)
    if (plan?._tag !== "Write" || draft.status >= 400) return Effect.void
    const store = exchange.get(ResponseCacheStore)
    return Effect.forEach(rules.invalidatedBy(plan.key, draft.headers), (key) => store.delete(key), { discard: true })
      .pipe(
        Effect.catchAll((error) =>
          Effect.sync(() =>
            exchange.log(LogLevel.Warning, `${name}: what a write has changed was not forgotten`, {}, Cause.fail(error))
          )
        )
      )
  }

  return {
    planned: Planned.key,
    request,
    requestEffect,
    around,
    response,
    responseEffect
  }
}

interface Asking {
  readonly key: string
  readonly directives: rules.Directives
  /** The fields that the app may see. */
  readonly seen: Headers.Headers
  readonly variantOf: (vary: ReadonlyArray<string>) => string
}

// --- requests -------------------------------------------------------------------------------------------------------------

/** What tells requests apart beside the URL and the fields: the name of the cache, and what else of host and target they show. */
const scopeOf = (
  name: string,
  { host, prefix = "" }: Pick<ClientInfo, "host" | "prefix">,
  request: Request
): string => {
  const { headers, originalUrl, url } = request
  const path = originForm(originalUrl)
  const shown = headers["host"] === host ? "" : headers["host"] ?? ""
  return `${name}\n${prefix}\n${shown}\n${originalUrl === path ? "" : originalUrl}\n${url === path ? "" : url}`
}

/** A request that nobody waits for: what answers it cannot touch the one that was answered. */
const detached = ({ headers, request }: Read): Request => {
  const detached = HttpServerRequest.fromWeb(new Request("http://localhost/")).modify({
    url: request.url,
    headers
  })
  return Object.defineProperty(detached, "originalUrl", { value: request.originalUrl })
}

const without = (headers: Fields, names: ReadonlyArray<string>): Fields => {
  const rest: Record<string, string> = { ...headers }
  for (const name of names) delete rest[name]
  return rest
}

const defined = (fields: { readonly [name: string]: string | undefined }): Fields =>
  Object.fromEntries(Object.entries(fields).flatMap(([name, value]) => value === undefined ? [] : [[name, value]]))

// --- what is told ----------------------------------------------------------------------------------------------------

const counterOf = (name: string) => {
  const counter = Metric.counter("http.server.response_cache.requests", {
    description: "Reads, by cache, and by what it has made of them: hit, stale, revalidated, miss or bypass",
    incremental: true
  })
  const labels = new Map<string, ReadonlyArray<MetricLabel.MetricLabel>>()
  return (result: "hit" | "stale" | "revalidated" | "miss" | "bypass") => {
    const known = labels.get(result) ??
      [MetricLabel.make("response_cache.name", name), MetricLabel.make("response_cache.result", result)]
    labels.set(result, known)
    counter.unsafeUpdate(1, known)
  }
}

/** Once in ten seconds. */
const warnerOf = (name: string) => {
  let quietUntil = -Infinity
  const message = `${name}: the store is unavailable, and the app answers`
  const isDue = (now: number) => {
    if (now < quietUntil) return false
    quietUntil = now + 10_000
    return true
  }
  return Object.assign(
    (exchange: Middleware.Exchange, error: ResponseCacheUnavailable) => {
      if (isDue(exchange.clock.unsafeCurrentTimeMillis())) {
        exchange.log(LogLevel.Warning, message, {}, Cause.fail(error))
      }
    },
    { isDue, message }
  )
}
