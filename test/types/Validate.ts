import { type HttpApp, HttpServerResponse } from "@effect/platform"
import { Context, Effect, Schema } from "effect"
import { type Middleware, Stack, Validate } from "effect-middleware"
import { same, typeOf } from "./fixtures.js"

class Paging extends Validate.Query("app/Paging")<Paging>()(Schema.Struct({
  limit: Schema.NumberFromString,
  tag: Schema.optional(Schema.Array(Schema.String))
})) {}
class Version extends Validate.Headers("app/Version")<Version>()(
  Schema.Struct({ "x-version": Schema.Literal("1", "2") }),
  { status: 422 }
) {}

type Phases<P, F, R = never, Name extends string = string> = Middleware.Middleware<
  P,
  F,
  R,
  never,
  Name,
  Middleware.Phases
>

// what the schema makes of it is the service, and it lives for one request
typeOf(Effect.map(Paging, (paging) => paging.limit)).is<Effect.Effect<number, never, Paging>>()
typeOf(Effect.map(Version, (version) => version["x-version"])).is<Effect.Effect<"1" | "2", never, Version>>()
export const perRequest: Middleware.PerRequest = null as never as Paging

typeOf(Paging.middleware()).is<Phases<Paging, Validate.InvalidInput, never, "app/Paging">>()
typeOf(Paging.middleware({ name: "Paging" })).is<Phases<Paging, Validate.InvalidInput, never, "Paging">>()
same<Validate.InvalidInput["in"], "headers" | "query">()
same<Validate.InvalidInput["status"], 400 | 422>()

// in a stack, for those inside
const handler = Effect.map(Paging, ({ limit }) => HttpServerResponse.text(`${limit}`))
typeOf(Stack.make(Paging.middleware(), Version.middleware())(handler)).is<HttpApp.Default<Validate.InvalidInput>>()

// a schema that asks a service has the middleware require it
class Known extends Context.Tag("Known")<Known, ReadonlyArray<string>>() {}
class Language extends Validate.Query("app/Language")<Language>()(
  Schema.Struct({
    lang: Schema.String.pipe(Schema.filterEffect((lang) => Effect.map(Known, (known) => known.includes(lang))))
  }),
  { exact: true }
) {}
typeOf(Language.middleware()).is<Phases<Language, Validate.InvalidInput, Known, "app/Language">>()
same<keyof Validate.Options, "status">()
same<keyof Validate.QueryOptions, "status" | "exact">()
export const validated: Validate.Validated<
  Language,
  "app/Language",
  { readonly lang: string },
  Known
>["middleware"] = Language.middleware

// content
typeOf(Validate.contentType(["application/json"])).is<
  Phases<never, Validate.UnsupportedContent, never, "ContentType">
>()
typeOf(Validate.contentType(["application/json"], { name: "Json" })).is<
  Phases<never, Validate.UnsupportedContent, never, "Json">
>()
typeOf(Validate.contentTypePolicy(["text/*"])).is<(facts: Validate.ContentTypeFacts) => boolean>()
same<keyof Validate.ContentTypeFacts, "contentType" | "hasContent">()

// @ts-expect-error a query is of texts
Validate.Query("x")<Paging>()(Schema.Struct({ limit: Schema.Number }))
// @ts-expect-error a field has one value
Validate.Headers("x")<Version>()(Schema.Struct({ "x-version": Schema.Array(Schema.String) }))
// @ts-expect-error no status for that
Validate.Query("x")<Paging>()(Schema.Struct({ limit: Schema.String }), { status: 404 })
// @ts-expect-error at least one
Validate.contentType([])
// @ts-expect-error all fields are never known
Validate.Headers("x")<Version>()(Schema.Struct({ "x-version": Schema.String }), { exact: true })
