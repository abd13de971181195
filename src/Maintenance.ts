/**
 * Closes an app for a while, and opens it again, without another release: 503, and when to come back.
 *
 * Rules, in this order:
 *
 * 1. While the switch is off, all pass.
 * 2. A route of `exceptRoutes` passes, such as a health check.
 * 3. So does who has the secret of `bypass`, or an address of `clients`: those who see whether all is well again.
 * 4. All else is refused, WebSocket handshakes too.
 *
 * The switch is a service of the app's: an operator's route, a signal or a schedule turns it. No request can.
 *
 * @since 0.1.0
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { Client } from "./Forwarded.js"
import { parseAddress } from "./internal/address.js"
import { compileRanges } from "./internal/cidr.js"
import { isToken } from "./internal/fields.js"
import { fromPhases } from "./internal/kernel.js"
import { compileExemption } from "./internal/pathPattern.js"
import { rangeSet } from "./internal/rangeSet.js"
import { isSame } from "./internal/same.js"
import * as Middleware from "./Middleware.js"
import * as ProblemDetails from "./ProblemDetails.js"

// ---------------------------------------------------------------------------------------------------------------------
// the switch
// ---------------------------------------------------------------------------------------------------------------------

/**
 * How long the app is closed, as far as anybody knows.
 *
 * @since 0.1.0
 * @category models
 */
export interface Period {
  /** When it is open again: clients are told to come back then. Nothing opens it by itself. Default: nobody knows. */
  readonly until?: DateTime.DateTime | undefined
}

/**
 * Opens and closes the app.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  readonly isOn: Effect.Effect<boolean>
  readonly turnOn: (period?: Period) => Effect.Effect<void>
  readonly turnOff: Effect.Effect<void>
  /** The same as it is at once, for what is no Effect; `undefined` while the app is open. */
  readonly unsafeState: () => Period | undefined
}

/**
 * @since 0.1.0
 * @category tags
 */
export class Switch extends Context.Tag("effect-middleware/Maintenance/Switch")<Switch, Service>() {}

const make = (initially: boolean): Service => {
  let state: Period | undefined = initially ? {} : undefined
  return {
    isOn: Effect.sync(() => state !== undefined),
    turnOn: (period = {}) =>
      Effect.sync(() => {
        state = period
      }),
    turnOff: Effect.sync(() => {
      state = undefined
    }),
    unsafeState: () => state
  }
}

/**
 * A switch of this process. Of several processes each has its own: turn them all, or give `Switch` a layer of yours that asks
 * where they all look.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = ({ initially = false }: { readonly initially?: boolean | undefined } = {}): Layer.Layer<Switch> =>
  Layer.sync(Switch, () => make(initially))

/**
 * The same, told by the configuration how it begins.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  config: Config.Config.Wrap<{ readonly initially?: boolean | undefined }>
): Layer.Layer<Switch, ConfigError.ConfigError> =>
  Layer.effect(Switch, Effect.map(Config.unwrap(config), ({ initially = false }) => make(initially)))

// ---------------------------------------------------------------------------------------------------------------------
// middleware
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<
  Clients extends ReadonlyArray<string> | undefined = ReadonlyArray<string> | undefined,
  Name extends string = string
> {
  /** When a client may come back where no `until` says it. Default: 5 minutes. */
  readonly retryAfter?: Duration.DurationInput | undefined
  /** Routes that stay open, written as for `Middleware.exceptRoutes` and read as strictly. Default: none. */
  readonly exceptRoutes?: ReadonlyArray<string> | undefined
  /** A field of the request whose value lets it by, and that value: at least 16 characters. */
  readonly bypass?: { readonly header: string; readonly secret: Redacted.Redacted } | undefined
  /** Addresses and ranges (CIDR) that pass. With them the middleware stands inside `Forwarded`. */
  readonly clients?: Clients
  readonly name?: Name | undefined
}

/**
 * @since 0.1.0
 * @category policy
 */
export interface Facts {
  readonly method: string
  /** The request target, as the middleware's place sees it. */
  readonly target: string
  readonly header: (name: string) => string | undefined
  readonly address: () => string | undefined
}

/**
 * Compiles who passes a closed app, once, to a pure function. Throws on a route that cannot be exempt, on what is no address,
 * on a field that is none, and on a secret that can be guessed.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { Maintenance } from "effect-middleware"
 *
 * const passes = Maintenance.policy({ exceptRoutes: ["GET /livez"], clients: ["10.0.0.0/8"] })
 * const facts = { method: "GET", target: "/", header: () => undefined, address: () => "10.1.2.3" }
 *
 * assert.equal(passes(facts), true)
 * assert.equal(passes({ ...facts, address: () => "192.0.2.1" }), false)
 * assert.equal(passes({ ...facts, address: () => undefined, target: "/livez" }), true)
 * ```
 *
 * @since 0.1.0
 * @category policy
 */
export const policy = ({ bypass, clients, exceptRoutes = [] }: Options = {}): (facts: Facts) => boolean => {
  const isExempt = exceptRoutes.length === 0 ? () => false : compileExemption(exceptRoutes)
  const isAllowed = clients === undefined ? undefined : rangeSet(compileRanges("Maintenance: clients", clients))
  if (bypass !== undefined && !isToken(bypass.header)) {
    throw new TypeError(
      `Maintenance: bypass.header is ${
        JSON.stringify(bypass.header)
      }: write the name of a field ("x-maintenance-bypass")`
    )
  }
  const field = bypass?.header.toLowerCase()
  const secret = bypass === undefined ? undefined : Redacted.value(bypass.secret)
  if (secret !== undefined && secret.length < 16) {
    throw new TypeError("Maintenance: bypass.secret is shorter than 16 characters: make one of 32 random ones")
  }
  return ({ address, header, method, target }) => {
    if (isExempt(method, target)) return true
    const given = field === undefined ? undefined : header(field)
    if (secret !== undefined && given !== undefined && isSame(given, secret)) return true
    const client = isAllowed && parseAddress(address() ?? "")
    return client !== undefined && isAllowed?.(client) === true
  }
}

/**
 * The app is closed for a while.
 *
 * @since 0.1.0
 * @category errors
 */
export class UnderMaintenance
  extends Schema.TaggedError<UnderMaintenance>("effect-middleware/Maintenance/UnderMaintenance")(
    "UnderMaintenance",
    {
      /** In seconds. */
      retryAfter: Schema.Number
    },
    HttpApiSchema.annotations({ status: 503 })
  )
  implements HttpServerRespondable.Respondable
{
  override get message() {
    return "The app is closed for maintenance"
  }
  [HttpServerRespondable.symbol]() {
    return ProblemDetails.toResponse(
      { status: 503, detail: "The service is closed for maintenance" },
      { headers: { "retry-after": String(this.retryAfter) } }
    )
  }
}

/**
 * Refuses with `UnderMaintenance` (503) while `Switch` is on. Stands inside what logs, and outside of all that needs what is
 * being mended: sessions, principals, databases.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Effect, Layer } from "effect"
 * import { Maintenance, Stack } from "effect-middleware"
 *
 * const app = HttpRouter.empty.pipe(
 *   HttpRouter.get("/livez", HttpServerResponse.empty()),
 *   // behind what lets operators through alone
 *   HttpRouter.post("/admin/close", Effect.as(Effect.flatMap(Maintenance.Switch, ({ turnOn }) => turnOn()), HttpServerResponse.empty()))
 * )
 *
 * const server = Stack.serve(app, Maintenance.middleware({ exceptRoutes: ["GET /livez"] })).pipe(
 *   Layer.provide(Maintenance.layer())
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <
  const Clients extends ReadonlyArray<string> | undefined = undefined,
  const Name extends string = "Maintenance"
>(
  options: Options<Clients, Name> = {}
): Middleware.Middleware<
  never,
  UnderMaintenance,
  Switch | ([Clients] extends [undefined] ? never : Client),
  never,
  Name,
  Middleware.Phases
> => {
  const passes = policy(options)
  const usual = secondsOf(Duration.toMillis(Duration.decode(options.retryAfter ?? "5 minutes")))
  const name = options.name ?? "Maintenance" as Name
  return fromPhases(name, [{
    name,
    traits: ["guard"],
    // what it requires is in the type above: the client is asked for where there are `clients`
    request: (exchange: Middleware.Exchange<unknown>) => {
      const period = exchange.get(Switch).unsafeState()
      if (period === undefined) return
      const { headers, method, url } = exchange.request
      const address = () => exchange.get(Client).address
      if (passes({ method, target: url, header: (name) => headers[name], address })) return
      const until = period.until === undefined ? 0 : DateTime.toEpochMillis(period.until)
      const left = until - exchange.clock.unsafeCurrentTimeMillis()
      return Middleware.Refuse(new UnderMaintenance({ retryAfter: left > 0 ? secondsOf(left) : usual }))
    }
  }])
}

const secondsOf = (millis: number) => Math.max(1, Math.ceil(millis / 1000))
