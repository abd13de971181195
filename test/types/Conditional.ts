import type { Etag, HttpServerRequest, HttpServerRespondable, HttpServerResponse } from "@effect/platform"
import type { Effect } from "effect"
import type { BodyLimit } from "effect-middleware"
import { Conditional, type Middleware } from "effect-middleware"
import { type Database, type NotFound, same, typeOf } from "./fixtures.js"

type Of<Name extends string = "Conditional"> = Middleware.Middleware<
  never,
  Conditional.PreconditionRequired,
  never,
  never,
  Name,
  Middleware.Phases
>

typeOf(Conditional.middleware()).is<Of>()
typeOf(Conditional.middleware({ etag: false, maxSize: "64 KiB", name: "Etags" })).is<Of<"Etags">>()
typeOf(Conditional.middleware({ requireIfMatch: ["PUT /articles/:id"] })).is<Of>()
// @ts-expect-error no kind of an entity-tag
Conditional.middleware({ etag: true })
// @ts-expect-error at least one route
Conditional.middleware({ requireIfMatch: [] })
same<NonNullable<Conditional.Options["maxSize"]>, BodyLimit.Size>()

// the work keeps what it is, and may not be done
declare const work: Effect.Effect<number, NotFound, Database>
type Response = HttpServerResponse.HttpServerResponse
type Work = Conditional.Checked<number, NotFound, Database>
typeOf(Conditional.check(work, { etag: "1" })).is<Work>()
typeOf(work.pipe(Conditional.check({ lastModified: new Date(0), headers: { vary: "accept" } }))).is<Work>()
typeOf(work.pipe(Conditional.check(null))).is<Work>()
same<
  Work,
  Effect.Effect<
    number | Response,
    NotFound | Conditional.PreconditionFailed,
    Database | HttpServerRequest.HttpServerRequest
  >
>()
same<NonNullable<Conditional.Current["etag"]>, string | Etag.Etag>()
// @ts-expect-error a version is a text
Conditional.check(work, { etag: 1 })

// the refusals know their responses
declare const refusals: Conditional.PreconditionFailed | Conditional.PreconditionRequired
same<typeof refusals._tag, "PreconditionFailed" | "PreconditionRequired">()
export const respondable: HttpServerRespondable.Respondable = refusals
