import { HttpRouter, HttpServerResponse } from "@effect/platform"
import { Cause, Clock, Context, Data, Effect, Option, Stream, Tracer } from "effect"
import { ErrorReporter, ProblemDetails, RequestId, ServerErrors, Stack } from "effect-middleware"

export const stack = Stack.make(ServerErrors.middleware(), RequestId.middleware(), ProblemDetails.middleware())

/**
 * The span of a request that `ServerErrors` answers ends as failed, with the exception: nothing is to be done for it.
 * What fails elsewhere becomes an event of the span in which it did, as OpenTelemetry's conventions have it.
 */
export const reporter = ErrorReporter.layer(({ cause, part, services }) =>
  Effect.gen(function*() {
    const span = Option.getOrUndefined(Context.getOption(services, Tracer.ParentSpan))
    if (part === "request" || span?._tag !== "Span") return
    const now = yield* Clock.currentTimeNanos
    for (const { message, name, stack } of Cause.prettyErrors(cause)) {
      span.attribute("error.type", name)
      span.event("exception", now, {
        "exception.type": name,
        "exception.message": message,
        "exception.stacktrace": stack
      })
    }
  })
)

class StockUnknown extends Data.TaggedError("StockUnknown")<{ readonly item: string }> {}

const stockOf = (item: string) =>
  new StockUnknown({ item }).pipe(Effect.withSpan("stock.lookup", { attributes: { item } }))

const report = Stream.make("item,stock\n", "tea,3\n").pipe(
  Stream.concat(Stream.fail(new StockUnknown({ item: "coffee" }))),
  Stream.encodeText
)

export const routes = HttpRouter.empty.pipe(
  HttpRouter.get("/stock/:item", Effect.flatMap(HttpRouter.params, ({ item = "" }) => stockOf(item))),
  HttpRouter.get("/report", HttpServerResponse.stream(report, { contentType: "text/csv" }))
)

export const server = Stack.serve(routes, stack)
