/**
 * What is asked of one app behind one stack: an answer, and ways to fail. Each request is the same but for its path,
 * its method and what it accepts.
 */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as ExceptionHandlers from "effect-middleware/ExceptionHandlers"
import * as HttpException from "effect-middleware/HttpException"
import * as ProblemDetails from "effect-middleware/ProblemDetails"
import * as RequestId from "effect-middleware/RequestId"
import * as Stack from "effect-middleware/Stack"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

export interface Case {
  readonly name: string
  readonly is: string
  readonly path: string
  readonly method?: string
  readonly accept?: string | undefined
  readonly status: number
  /** What the body has in it, beside the identifier of the request. */
  readonly says: string
}

const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

/** What all of them send, so that none pays for a field that another has not. */
export const acceptOf = ({ accept = "application/json" }: Case): string => accept

/** The first is what the others are compared with. */
export const cases: ReadonlyArray<Case> = [
  { name: "200", is: "a route that answers with 40 bytes of JSON", path: "/notes/1", status: 200, says: "\"milk\"" },
  { name: "404", is: "no route", path: "/nowhere", status: 404, says: "\"Not Found\"" },
  { name: "405", is: "a route with another method", path: "/notes", method: "PUT", status: 405, says: "\"Method Not" },
  { name: "404, HTML", is: "no route, for a browser", path: "/nowhere", accept: browser, status: 404, says: "<h1>404" },
  { name: "failed", is: "one `HttpException`, again and again", path: "/gone", status: 410, says: "\"Gone\"" },
  {
    name: "failed, made",
    is: "an `HttpException` of its own",
    path: "/notes/2",
    status: 404,
    says: "\"There is no note\""
  },
  {
    name: "by tag",
    is: "a `Data.TaggedError` that a handler by tag answers",
    path: "/locked",
    status: 423,
    says: "\"Locked\""
  },
  { name: "invalid", is: "a `ParseError`", path: "/notes/x", status: 400, says: "\"#/id\"" }
]

class Locked extends Data.TaggedError("Locked") {}

const gone = HttpException.gone()
const locked = ProblemDetails.toResponse({ status: 423 })
const idParam = HttpRouter.schemaPathParams(Schema.Struct({ id: Schema.NumberFromString }))

const read = Effect.flatMap(
  idParam,
  ({ id }): Effect.Effect<HttpServerResponse.HttpServerResponse, HttpException.HttpException> =>
    id === 1
      ? Effect.succeed(HttpServerResponse.unsafeJson({ id, text: "milk", done: false }))
      : HttpException.notFound({ detail: "There is no note" })
)

export const app = HttpRouter.empty.pipe(
  HttpRouter.get("/notes", HttpServerResponse.empty()),
  HttpRouter.get("/notes/:id", read),
  HttpRouter.get("/gone", gone),
  HttpRouter.get("/locked", Effect.suspend(() => new Locked())),
  Stack.make(
    RequestId.middleware(),
    ProblemDetails.middleware(),
    ExceptionHandlers.concat(
      ExceptionHandlers.standard(),
      ExceptionHandlers.byTag({ Locked: () => locked })
    )
  )
)
