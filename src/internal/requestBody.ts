/**
 * The body of a request through a stream that a middleware has changed: whatever platform offers to read it reads that.
 */
import { MaxBodySize } from "@effect/platform/HttpIncomingMessage"
import * as HttpServerError from "@effect/platform/HttpServerError"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Multipart from "@effect/platform/Multipart"
import * as UrlParams from "@effect/platform/UrlParams"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { isEmpty } from "./content.js"
import { type NodeRequest, nodeRequest } from "./nodeRequest.js"

type Request = HttpServerRequest.HttpServerRequest
export type Body = Stream.Stream<Uint8Array, HttpServerError.RequestError>
type Failed = (cause: unknown) => HttpServerError.RequestError

const streamed: unique symbol = Symbol.for("effect-middleware/Middleware/streamed")

/** Whether a middleware further out has changed the body: then what the header says is not true of it. */
export const isStreamed = (request: Request): boolean => streamed in request

/** What platform has to read a body by, for a view of a request whose body is that of `base`, changed. */
export const bodyAccessors = (view: Request, base: Request, change: (body: Body) => Body): PropertyDescriptorMap => {
  const failed = (cause: unknown) => new HttpServerError.RequestError({ request: view, reason: "Decode", cause })
  let opened = false
  const stream: Body = Stream.suspend(() => {
    if (opened) return Stream.fail(failed(new Error("The body has been read already")))
    opened = true
    return change(bodyOf(base, failed))
  })
  const bytes = lazy(() => cached(Effect.flatMap(MaxBodySize, (limit) => collect(stream, limit, failed))))
  const text = lazy(() => Effect.map(bytes(), (bytes) => new TextDecoder().decode(bytes)))
  const decoded = <A>(f: (text: string) => A) => lazy(() => Effect.tryMap(text(), { try: f, catch: failed }))
  const parts = lazy(() =>
    Stream.pipeThroughChannel(
      Stream.mapError(stream, (cause) => new Multipart.MultipartError({ reason: "InternalError", cause })),
      Multipart.makeChannel<Multipart.MultipartError>(view.headers)
    )
  )
  const accessors: { readonly [K in Accessor | typeof streamed]: () => K extends Accessor ? Request[K] : true } = {
    // each a copy: who has it may write to it
    arrayBuffer: lazy(() => Effect.map(bytes(), (bytes) => bytes.slice().buffer)),
    // what is empty is null in platform's Node server alone
    json: decoded((text): unknown => text === "" && nodeRequest(view) !== undefined ? null : JSON.parse(text)),
    multipart: lazy(() => cached(Multipart.toPersisted(parts()))),
    multipartStream: parts,
    stream: () => stream,
    text,
    urlParamsBody: decoded((text) => UrlParams.fromInput(new URLSearchParams(text))),
    [streamed]: () => true
  }
  return Object.fromEntries(
    Reflect.ownKeys(accessors).map((
      key
    ) => [key, { configurable: true, get: accessors[key as keyof typeof accessors] }])
  )
}

type Accessor = "arrayBuffer" | "json" | "multipart" | "multipartStream" | "stream" | "text" | "urlParamsBody"

const lazy = <A>(make: () => A): () => A => {
  let made: A | undefined
  return () => made ??= make()
}

const cached = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.runSync(Effect.cached(effect))

/** What a middleware further out has made of it, or what the server has. */
const bodyOf = (request: Request, failed: Failed): Body => {
  const node = isStreamed(request) ? undefined : nodeRequest(request)
  if (node !== undefined) return fromNode(node, failed)
  // of an empty one platform's stream fails
  return isEmpty(request) && !isStreamed(request) ? Stream.empty : request.stream
}

/** Platform's own destroys the connection when it is not read to its end: then there is no answer. */
const fromNode = (source: NodeRequest, failed: Failed): Body =>
  source.readableDidRead
    ? Stream.fail(failed(new Error("The body has been read already")))
    : Stream.unwrapScoped(Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => new Reader(source)),
        (reader) => Effect.sync(() => reader.close())
      ),
      (reader) =>
        Stream.repeatEffectOption(Effect.async<Uint8Array, Option.Option<HttpServerError.RequestError>>((resume) => {
          const step = () => {
            const bytes = source.read()
            if (bytes !== null) resume(Effect.succeed(bytes))
            else if (source.readableEnded) resume(Effect.fail(Option.none()))
            else if (source.destroyed) resume(Effect.fail(Option.some(failed(source.errored))))
            else reader.wake = step
          }
          step()
        }))
    ))

const events = ["readable", "end", "error", "close"] as const

class Reader {
  wake = () => {}
  private readonly woken = () => {
    const { wake } = this
    this.wake = () => {}
    wake()
  }
  constructor(private readonly source: NodeRequest) {
    for (const event of events) source.on(event, this.woken)
  }
  close() {
    for (const event of events) this.source.off(event, this.woken)
  }
}

const collect = (stream: Body, limit: Option.Option<bigint>, failed: Failed) => {
  const most = Option.match(limit, { onNone: () => Infinity, onSome: Number })
  const read = { chunks: [] as Array<Uint8Array>, length: 0 }
  return Effect.map(
    Stream.runForEach(stream, (chunk) => {
      read.chunks.push(chunk)
      read.length += chunk.length
      // the words of platform's Node server
      return read.length > most ? Effect.fail(failed(new Error("maxBytes exceeded"))) : Effect.void
    }),
    () => {
      const bytes = new Uint8Array(read.length)
      let at = 0
      for (const chunk of read.chunks) {
        bytes.set(chunk, at)
        at += chunk.length
      }
      return bytes
    }
  )
}
