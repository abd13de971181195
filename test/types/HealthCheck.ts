import type { HttpApp, HttpServer } from "@effect/platform"
import { Context, Effect, type Layer } from "effect"
import { HealthCheck, type Middleware } from "effect-middleware"
import { same, typeOf } from "./fixtures.js"

type Of<Name extends string = "HealthCheck"> = Middleware.Middleware<
  never,
  never,
  HealthCheck.HealthCheck,
  never,
  Name,
  Middleware.Phases
>

typeOf(HealthCheck.middleware()).is<Of>()
typeOf(HealthCheck.middleware({ live: "/up", details: true, name: "Own" })).is<Of<"Own">>()
declare const options: HealthCheck.Options
typeOf(HealthCheck.middleware(options)).is<Of<string>>()
declare const app: HttpApp.Default
// @ts-expect-error the checks are a service
export const alone: HttpApp.Default = HealthCheck.middleware()(app)

// what the checks run on is asked for once, by the layer
class Database extends Context.Tag("Database")<Database, { readonly ping: Effect.Effect<void> }>() {}
class Cache extends Context.Tag("Cache")<Cache, { readonly ping: Effect.Effect<void, Error> }>() {}
const checks = {
  database: Effect.flatMap(Database, ({ ping }) => ping),
  cache: { check: Effect.flatMap(Cache, ({ ping }) => ping), critical: false }
} satisfies { readonly [name: string]: HealthCheck.Check }
same<HealthCheck.Requires<typeof checks>, Database | Cache>()
declare const settings: HealthCheck.Settings
typeOf(HealthCheck.layer(checks, settings)).is<Layer.Layer<HealthCheck.HealthCheck, never, Database | Cache>>()
typeOf(HealthCheck.layer({})).is<Layer.Layer<HealthCheck.HealthCheck>>()
// @ts-expect-error a check is an Effect
HealthCheck.layer({ database: () => true })

declare const server: Layer.Layer<never, Error, HttpServer.HttpServer>
declare const draining: HealthCheck.Draining
typeOf(HealthCheck.drainOnShutdown(draining)(server)).is<
  Layer.Layer<never, Error, HttpServer.HttpServer | HealthCheck.HealthCheck>
>()

same<Context.Tag.Service<HealthCheck.HealthCheck>, HealthCheck.Service>()
declare const service: HealthCheck.Service
typeOf(service.check).is<Effect.Effect<HealthCheck.Report>>()

// the rules alone
typeOf(HealthCheck.policy({ live: "/up" })).is<(method: string, target: string) => HealthCheck.Decision>()
same<HealthCheck.Decision, "pass" | "live" | "ready" | "method">()
