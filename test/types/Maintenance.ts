import type { HttpApp, HttpServerRespondable } from "@effect/platform"
import { Config, type ConfigError, type Context, type Effect, type Layer, Redacted } from "effect"
import { Forwarded, Maintenance, type Middleware, Stack } from "effect-middleware"
import { same, typeOf } from "./fixtures.js"

type Of<R, Name extends string = "Maintenance"> = Middleware.Middleware<
  never,
  Maintenance.UnderMaintenance,
  R,
  never,
  Name,
  Middleware.Phases
>

typeOf(Maintenance.middleware()).is<Of<Maintenance.Switch>>()
const secret = Redacted.make("0123456789abcdef")
typeOf(Maintenance.middleware({ bypass: { header: "x-bypass", secret }, name: "Own" })).is<
  Of<Maintenance.Switch, "Own">
>()

// with addresses it has to know the client
typeOf(Maintenance.middleware({ clients: ["10.0.0.0/8"] })).is<Of<Maintenance.Switch | Forwarded.Client>>()
Stack.make(Forwarded.middleware({ trust: "none" }), Maintenance.middleware({ clients: ["10.0.0.0/8"] }))
Stack.make(
  // @ts-expect-error nobody knows the client here
  Maintenance.middleware({ clients: ["10.0.0.0/8"] }),
  Forwarded.middleware({ trust: "none" })
)
declare const options: Maintenance.Options
typeOf(Maintenance.middleware(options)).is<Of<Maintenance.Switch | Forwarded.Client, string>>()

// @ts-expect-error a secret is not written down
Maintenance.middleware({ bypass: { header: "x-bypass", secret: "0123456789abcdef" } })
declare const app: HttpApp.Default
// @ts-expect-error the switch is a service of the app's
export const alone: HttpApp.Default<Maintenance.UnderMaintenance> = Maintenance.middleware()(app)

typeOf(Maintenance.layer({ initially: true })).is<Layer.Layer<Maintenance.Switch>>()
typeOf(Maintenance.layerConfig({ initially: Config.boolean("CLOSED") })).is<
  Layer.Layer<Maintenance.Switch, ConfigError.ConfigError>
>()
same<Context.Tag.Service<Maintenance.Switch>, Maintenance.Service>()
declare const service: Maintenance.Service
declare const period: Maintenance.Period
typeOf(service.turnOn(period)).is<Effect.Effect<void>>()

// the refusal knows its response
declare const refusal: Maintenance.UnderMaintenance
same<typeof refusal._tag, "UnderMaintenance">()
export const respondable: HttpServerRespondable.Respondable = refusal

// the rules alone
typeOf(Maintenance.policy({ exceptRoutes: ["GET /livez"] })).is<(facts: Maintenance.Facts) => boolean>()
