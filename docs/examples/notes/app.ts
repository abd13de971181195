import { HttpLayerRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Data, Effect, Layer, Schema, Stream } from "effect"
import {
  AccessLog,
  Compression,
  Cors,
  Csrf,
  ExceptionHandlers,
  Forwarded,
  HttpException,
  Idempotency,
  ProblemDetails,
  RequestId,
  SecurityHeaders,
  ServerErrors,
  ServerTiming,
  Stack,
  TrustedHost,
  Validate,
  WebSocket
} from "effect-middleware"
import * as Access from "./access.js"
import * as Catalogue from "./catalogue.js"
import { byAddress } from "./limits.js"
import * as Login from "./login.js"
import { Note, type NoteNotFound, Notes } from "./Notes.js"
import * as Sessions from "./sessions.js"
import { Visitor } from "./Users.js"

/** First is outermost: it meets the request first and the response last. */
export const stack = Stack.make(
  // what nobody answers: a 500 that says nothing, a line in the log, a page for developers where DEBUG=true
  ServerErrors.middleware(),
  Forwarded.middleware({ trust: "none" }),
  RequestId.middleware({ generate: RequestId.uuid7 }),
  AccessLog.middleware({ slow: "1 second" }),
  // an example: everybody may see where the time goes
  ServerTiming.middleware({ details: true }),
  ProblemDetails.middleware(),
  // a page of a development server may call this one
  Cors.middleware({
    origins: [/http:\/\/localhost:\d+/],
    methods: ["DELETE"],
    exposedHeaders: ["x-request-id", "ratelimit", "retry-after"]
  }),
  // what a page may do, and who with it; its styles have the nonce of its response
  SecurityHeaders.middleware({ nonce: ["styleSrc"], contentSecurityPolicy: { frameAncestors: ["'none'"] } }),
  TrustedHost.middleware({ hosts: ["localhost", "127.0.0.1", "[::1]"] }),
  WebSocket.middleware({ origins: ["same-origin", /http:\/\/localhost:\d+/] }),
  // what a page of elsewhere has a browser do, but for the notes, which are everybody's
  Csrf.middleware({ exceptRoutes: ["POST /notes", "DELETE /notes/:id", "GET /live"] }),
  // what it refuses is a page's own answer, and no session is looked up for it
  byAddress,
  // outside what gives a tag to bytes that are not compressed yet, and stores them
  Compression.middleware(),
  // an example: http://localhost may keep the cookie, too
  Visitor.middleware({ kind: "stored", cookie: { localhost: true } }),
  ExceptionHandlers.concat(
    ExceptionHandlers.standard(),
    ExceptionHandlers.byTag({
      NoteNotFound: (error: NoteNotFound) => HttpException.notFound({ detail: `There is no note ${error.id}` }).response
    })
  )
)

/** What a list may be asked for. */
class Search extends Validate.Query("notes/Search")<Search>()(Schema.Struct({
  limit: Schema.optionalWith(Schema.NumberFromString.pipe(Schema.int(), Schema.between(1, 100)), { default: () => 20 })
})) {}

const json = HttpServerResponse.schemaJson
const noteJson = json(Note)
const notesJson = json(Schema.Array(Note))
const idParam = HttpLayerRouter.schemaPathParams(Schema.Struct({ id: Schema.NumberFromString }))
const newNote = HttpServerRequest.schemaBodyJson(Schema.Struct({ text: Schema.NonEmptyString }))

const all = Effect.flatMap(Notes, (notes) => notes.list).pipe(ServerTiming.measure("notes"))

const list = Effect.gen(function*() {
  const { limit } = yield* Search
  return yield* notesJson((yield* all).slice(0, limit))
}).pipe(Search.middleware())

const create = Effect.gen(function*() {
  const { text } = yield* newNote
  const note = yield* (yield* Notes).create(text)
  yield* Effect.logInfo(`created note ${note.id}`)
  return yield* noteJson(note, { status: 201, headers: { location: `/notes/${note.id}` } })
}).pipe(
  Validate.contentType(["application/json"]),
  // the notes are everybody's, and so are the keys by which one is made once, however often it is sent
  Idempotency.middleware({ scope: "everyone" })
)

const read = Effect.gen(function*() {
  const { id } = yield* idParam
  return yield* noteJson(yield* (yield* Notes).read(id))
})

const remove = Effect.gen(function*() {
  const { id } = yield* idParam
  yield* (yield* Notes).delete(id)
  return HttpServerResponse.empty()
})

/** One line a note, a quarter of a second apart: each arrives as it is produced. */
const stream = Effect.gen(function*() {
  const notes = yield* (yield* Notes).list
  return HttpServerResponse.stream(
    Stream.fromIterable(notes).pipe(
      Stream.zipWithIndex,
      Stream.mapEffect(([note, index]) => Effect.delay(Effect.succeed(note), index === 0 ? 0 : "250 millis")),
      Stream.map((note) => JSON.stringify(note) + "\n"),
      Stream.encodeText
    ),
    { contentType: "application/x-ndjson" }
  )
})

/** What the stack provides is typed: leave `RequestId` out of it and this file does not compile. */
const whoami = Effect.gen(function*() {
  const id = yield* RequestId.RequestId
  const { address, scheme } = yield* Forwarded.Client
  return HttpServerResponse.unsafeJson({ id, address, scheme })
})

/** Send the number of a note, and receive the note. */
const live = WebSocket.handle((socket) => {
  const { messages, send } = WebSocket.json(socket, { receive: Schema.Int, send: Note })
  return Effect.flatMap(Notes, ({ read }) => Stream.runForEach(messages, (id) => Effect.flatMap(read(id), send))).pipe(
    WebSocket.closeByTag({
      NoteNotFound: new WebSocket.WebSocketClose({ code: 4004, reason: "There is no such note" })
    })
  )
})

// what goes wrong, for you to see

class Unexpected extends Data.TaggedError("Unexpected")<{ readonly apiKey: string }> {}

const defect = Effect.dieMessage("a defect: the client is told nothing of it")
const failure = new Unexpected({ apiKey: "not for the client" }).pipe(
  Effect.withSpan("notes.index", { attributes: { notes: 3 } })
)
const unavailable = HttpException.serviceUnavailable({ headers: { "retry-after": "5" } })
const soon = <E>(fails: Effect.Effect<never, E>) => Effect.uninterruptible(Effect.zipRight(Effect.yieldNow(), fails))
const both = Effect.zipRight(
  Effect.all([soon(failure), soon(defect)], { concurrency: "unbounded" }),
  HttpServerResponse.empty()
)
const half = HttpServerResponse.stream(
  Stream.make("{\"id\":1,", "\"text\":").pipe(Stream.concat(failure), Stream.encodeText),
  { contentType: "application/json" }
)
const unsendable = HttpServerResponse.text("x", { headers: { "x-name": "two\r\nlines" } })

export const routes = Layer.mergeAll(
  HttpLayerRouter.add("GET", "/notes", list),
  HttpLayerRouter.add("POST", "/notes", create),
  HttpLayerRouter.add("GET", "/notes/stream", stream),
  HttpLayerRouter.add("GET", "/notes/:id", read),
  HttpLayerRouter.add("DELETE", "/notes/:id", remove),
  HttpLayerRouter.add("GET", "/whoami", whoami),
  HttpLayerRouter.add("GET", "/live", live),
  HttpLayerRouter.add("GET", "/broken/defect", defect),
  HttpLayerRouter.add("GET", "/broken/failure", failure),
  HttpLayerRouter.add("GET", "/broken/both", both),
  HttpLayerRouter.add("GET", "/broken/unavailable", unavailable),
  HttpLayerRouter.add("GET", "/broken/half", half),
  HttpLayerRouter.add("GET", "/broken/unsendable", unsendable),
  Sessions.routes,
  Login.routes,
  Access.routes,
  Catalogue.routes
)

export const server = Stack.serveRouter(routes, stack)
