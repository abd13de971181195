import type { HttpServerResponse } from "@effect/platform"
import {
  Config,
  type ConfigError,
  type Effect,
  type Layer,
  type Logger,
  type Option,
  Redacted,
  type Tracer
} from "effect"
import { DebugPage, type Entropy, type ErrorReporter, type Middleware } from "effect-middleware"
import { typeOf } from "./fixtures.js"

typeOf(DebugPage.layer()).is<Layer.Layer<never>>()
typeOf(DebugPage.layer({ secret: Redacted.make("0123456789abcdef") })).is<Layer.Layer<never>>()
typeOf(DebugPage.layerConfig(Config.boolean("DEBUG"))).is<Layer.Layer<never, ConfigError.ConfigError>>()
typeOf(DebugPage.layerConfig(Config.boolean("DEBUG"), {
  secret: Config.withDefault(Config.redacted("DEBUG_SECRET"), undefined),
  editor: Config.succeed("vscode://file/{file}:{line}")
})).is<Layer.Layer<never, ConfigError.ConfigError>>()

typeOf(DebugPage.make()).is<DebugPage.Service>()
typeOf(DebugPage.policy()).is<(facts: DebugPage.Facts) => boolean>()
declare const options: DebugPage.Options
typeOf(DebugPage.make(options)).is<DebugPage.Service>()

declare const service: DebugPage.Service
typeOf(service.sees).is<(exchange: Middleware.Exchange) => boolean>()
typeOf(service.render).is<(failure: DebugPage.Failure) => Effect.Effect<HttpServerResponse.HttpServerResponse>>()
declare const tag: Effect.Effect.Success<typeof DebugPage.DebugPage>
typeOf(tag).is<Option.Option<DebugPage.Service>>()

declare const failure: DebugPage.Failure
const report: ErrorReporter.Report = failure
typeOf(failure.members()).is<ReadonlyArray<DebugPage.Member>>()
typeOf(failure.spans).is<ReadonlyArray<Tracer.Span>>()
typeOf(failure.logs).is<ReadonlyArray<Logger.Logger.Options<unknown>>>()
typeOf(failure.entropy).is<Entropy.Service>()
void report

// @ts-expect-error a secret that a log would show
DebugPage.layer({ secret: "0123456789abcdef" })
// @ts-expect-error whether, and not who
DebugPage.layerConfig(Config.redacted("DEBUG_SECRET"))
