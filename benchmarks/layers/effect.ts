import * as Headers from "@effect/platform/Headers"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Middleware from "effect-middleware/Middleware"
import type { ResponseDraft } from "effect-middleware/ResponseDraft"
import * as Stack from "effect-middleware/Stack"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import { body, clientHeader, type Layer, type Server } from "./work.js"

type App = HttpApp.Default
type Wrap = (app: App) => App

const forbidden = HttpServerResponse.empty({ status: 403 })

/** The layers as one stack of this package. */
export const stackOf = (
  layers: ReadonlyArray<Layer>,
  respond: (layer: Layer) => (draft: ResponseDraft) => void = ({ header, value }) => (draft) => draft.set(header, value)
): Middleware.Middleware =>
  // a tuple of unknown length has no type that could say what stands in it
  (Stack.make as unknown as (...members: ReadonlyArray<Middleware.Middleware>) => Middleware.Middleware)(
    ...layers.map((layer) =>
      Middleware.make({
        name: layer.header,
        request: ({ request }) =>
          request.headers[clientHeader] === layer.refuses ? Middleware.Respond(forbidden) : undefined,
        response: respond(layer)
      })
    )
  )

export const compiled = (layers: ReadonlyArray<Layer>): Wrap => stackOf(layers)

/** The layers as an Effect user writes them, generator and all. */
export const naiveGen = (layers: ReadonlyArray<Layer>): Wrap =>
  nested(
    layers,
    ({ header, refuses, value }) =>
      HttpMiddleware.make(<E, R>(app: HttpApp.Default<E, R>) =>
        Effect.gen(function*() {
          const request = yield* HttpServerRequest.HttpServerRequest
          if (request.headers[clientHeader] === refuses) return forbidden
          return HttpServerResponse.setHeader(yield* app, header, value)
        })
      )
  )

/** The same without generators. */
export const naiveFlatMap = (layers: ReadonlyArray<Layer>): Wrap =>
  nested(layers, ({ header, refuses, value }) => {
    const set = HttpServerResponse.setHeader(header, value)
    return HttpMiddleware.make(<E, R>(app: HttpApp.Default<E, R>) =>
      Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
        request.headers[clientHeader] === refuses ? Effect.succeed(forbidden) : Effect.map(app, set))
    )
  })

const nested = (layers: ReadonlyArray<Layer>, middleware: (layer: Layer) => Wrap): Wrap => (app) =>
  layers.reduceRight((app, layer) => middleware(layer)(app), app)

/**
 * Runs an app as platform's servers do: through `toHandled`, a fiber and a context
 * per request. There is no socket; the request headers are there as Node parses
 * them. The tracer, which `toHandled` turns on, is off: it costs each response
 * header something and is nobody's dispatch.
 */
export const serve = (wrap: Wrap): Server => {
  let sent: HttpServerResponse.HttpServerResponse | undefined
  const handler = Effect.sync(() => HttpServerResponse.text(body))
  const handled = HttpApp.toHandled(wrap(handler), (_, response) => {
    sent = response
    return Effect.void
  })
  const runtime = Effect.runSync(
    Effect.locally(Effect.runtime<never>(), HttpMiddleware.currentTracerDisabledWhen, () => true)
  )
  return (client) => {
    const web = new Request("http://localhost/")
    const headers = Headers.fromInput({ host: "localhost", [clientHeader]: client })
    const send = () => {
      const request = HttpServerRequest.fromWeb(web).modify({ headers })
      const context = Context.make(HttpServerRequest.HttpServerRequest, request)
      sent = undefined
      Runtime.runFork(Runtime.make({ ...runtime, context }), handled)
      // nothing in it waits, so the fiber has run to its end
      if (sent === undefined) throw new Error("The app has not answered")
      return sent as HttpServerResponse.HttpServerResponse
    }
    return {
      send,
      reply: () => {
        const { body, headers, status } = send()
        return {
          status,
          headers: { ...headers },
          body: body._tag === "Uint8Array" ? new TextDecoder().decode(body.body) : ""
        }
      }
    }
  }
}
