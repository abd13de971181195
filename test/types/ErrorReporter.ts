import type { HttpServerRequest } from "@effect/platform"
import { type Cause, type Context, Effect, type Layer } from "effect"
import { ErrorReporter } from "effect-middleware"
import { Database, typeOf } from "./fixtures.js"

// it takes what it needs once, and is required by nobody
typeOf(ErrorReporter.layer(() => Effect.void)).is<Layer.Layer<never>>()
typeOf(ErrorReporter.layer(() => Effect.asVoid(Database))).is<Layer.Layer<never, never, Database>>()
// it may fail
typeOf(ErrorReporter.layer(() => Effect.fail("gone"))).is<Layer.Layer<never>>()

declare const report: ErrorReporter.Report
typeOf(report.cause).is<Cause.Cause<unknown>>()
typeOf(report.part).is<"request" | "response" | "body" | "socket" | "handler">()
typeOf(report.request).is<HttpServerRequest.HttpServerRequest>()
typeOf(report.route).is<string | undefined>()
typeOf(report.services).is<Context.Context<never>>()

typeOf(ErrorReporter.silent).is<ErrorReporter.Service>()
typeOf(Effect.map(ErrorReporter.ErrorReporter, ({ report }) => report)).is<
  Effect.Effect<(report: ErrorReporter.Report) => Effect.Effect<void, unknown>>
>()

// @ts-expect-error no Effect
ErrorReporter.layer((failed) => console.error(failed))
