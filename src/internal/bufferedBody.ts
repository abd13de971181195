/** A body that is read to its end before it is sent, up to a limit. */
import * as HttpBody from "@effect/platform/HttpBody"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { mediaTypeOf } from "./content.js"
import { contentOf } from "./responseBody.js"

type Sendable = Pick<HttpServerResponse.HttpServerResponse, "body" | "headers" | "status">

export interface Buffered {
  /** All of it; `undefined` where it is too large, does not end, or has failed. */
  readonly bytes: Uint8Array | undefined
  /** What is to be sent in the place of the one that was read. */
  readonly body: HttpBody.HttpBody | undefined
  /** Whether it has failed. What is sent fails in the same way. */
  readonly failed: boolean
}

const noBytes = new Uint8Array(0)
const contentless = new Set([204, 205, 304])

export const buffered = ({ body, headers, status }: Sendable, most: number): Effect.Effect<Buffered> => {
  const content = contentless.has(status) ? undefined : contentOf(body)
  const response = content?.response
  const known = (bytes: Uint8Array | undefined) => Effect.succeed({ bytes, body: undefined, failed: false, response })
  if (content === undefined) return known(noBytes)
  const { bytes, readable } = content
  if (bytes !== undefined) {
    // who has sent bytes may write to them again
    return known(content.size! > most ? undefined : typeof bytes === "string" ? Buffer.from(bytes) : copyOf(bytes))
  }
  const type = headers["content-type"] ?? body.contentType ?? content.type
  // it is sent as it comes, for as long as there is something to tell
  const isEvents = type !== undefined && mediaTypeOf(type) === "text/event-stream"
  const declared = headers["content-length"] ?? body.contentLength ?? content.size
  const length = declared === undefined ? undefined : Number(declared)
  if (isEvents || (length ?? 0) > most) return known(undefined)
  const stream = body._tag === "Stream"
    ? body.stream
    : Stream.suspend(() => Stream.fromAsyncIterable<Uint8Array, unknown>(readable!(), (error) => error))
  return Effect.map(pulled(stream, most), ({ bytes, failed, rest }) =>
    // one that is not as long as it says is cut off as it is sent
    bytes === undefined || (length !== undefined && bytes.byteLength !== length)
      ? { bytes: undefined, body: HttpBody.stream(rest, type, length), failed: failed || bytes !== undefined }
      : { bytes, body: bodyOf(bytes, type), failed })
}

const copyOf = (bytes: ArrayBuffer | ArrayBufferView): Uint8Array =>
  bytes instanceof ArrayBuffer
    ? new Uint8Array(bytes.slice(0))
    : new Uint8Array(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))

/** Without a type where nobody has said one: platform would say that it is any. */
export const bodyOf = (bytes: Uint8Array, type: string | undefined) =>
  type === undefined ? HttpBody.raw(bytes, { contentLength: bytes.byteLength }) : HttpBody.uint8Array(bytes, type)

interface Pulled {
  readonly bytes: Uint8Array | undefined
  readonly failed: boolean
  /** All of the stream, with what has been read of it. */
  readonly rest: Stream.Stream<Uint8Array, unknown>
}

const pulled = (stream: Stream.Stream<Uint8Array, unknown>, most: number): Effect.Effect<Pulled> =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    // what is never read on is closed with the request
    const outer = yield* Effect.serviceOption(Scope.Scope)
    if (Option.isSome(outer)) yield* Scope.addFinalizerExit(outer.value, (exit) => Scope.close(scope, exit))
    const pull = yield* Scope.extend(Stream.toPull(stream), scope)
    const chunks: Array<Uint8Array> = []
    let size = 0
    while (size <= most) {
      const exit = yield* Effect.exit(pull)
      if (Exit.isSuccess(exit)) {
        for (const bytes of exit.value) {
          chunks.push(bytes)
          size += bytes.byteLength
        }
        continue
      }
      yield* Scope.close(scope, Exit.void)
      const end = Cause.failureOption(exit.cause)
      if (Option.isSome(end) && Option.isNone(end.value)) {
        return { bytes: Buffer.concat(chunks), failed: false, rest: Stream.fromChunk(Chunk.unsafeFromArray(chunks)) }
      }
      const cause = Cause.flatMap(exit.cause, Option.match({ onNone: () => Cause.empty, onSome: Cause.fail }))
      return {
        bytes: undefined,
        failed: true,
        rest: Stream.concat(Stream.fromChunk(Chunk.unsafeFromArray(chunks)), Stream.failCause(cause))
      }
    }
    const rest = Stream.concat(
      Stream.fromChunk(Chunk.unsafeFromArray(chunks)),
      Stream.repeatEffectChunkOption(pull)
    ).pipe(Stream.ensuring(Scope.close(scope, Exit.void)))
    return { bytes: undefined, failed: false, rest }
  })
