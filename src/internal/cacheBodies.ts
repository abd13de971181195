/** Responses as they are stored, and as they are given. */
import * as HttpBody from "@effect/platform/HttpBody"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Entry } from "../ResponseCacheStore.js"
import { open } from "../ResponseDraft.js"
import { bodyOf } from "./bufferedBody.js"
import type { Fields } from "./cachePolicy.js"
import { contentOf } from "./content.js"
import { notModified } from "./notModified.js"
import { evaluate, isConditional } from "./preconditions.js"

type Response = HttpServerResponse.HttpServerResponse

export const noBytes = new Uint8Array(0)

/** Made once for as long as it is stored. */
const made = new WeakMap<object, Response>()

export const responseOf = (entry: Pick<Entry, "body" | "headers" | "status">): Response => {
  const known = made.get(entry)
  if (known !== undefined) return known
  const { body, headers, status } = entry
  const type = headers["content-type"]
  const empty = HttpServerResponse.empty({ status, headers })
  const hasBody = type !== undefined || body.byteLength > 0
  const response = hasBody ? HttpServerResponse.setBody(empty, bodyOf(body, type)) : empty
  made.set(entry, response)
  return response
}

/** As the client's own preconditions have it. */
export const matched = (request: HttpServerRequest.HttpServerRequest, response: Response, now: number): Response => {
  const { headers, method } = request
  if (response.status < 200 || response.status > 299 || !isConditional(headers)) return response
  const validators = { etag: response.headers["etag"], lastModified: response.headers["last-modified"] }
  if (evaluate(method, headers, validators, now) !== "notModified") return response
  const draft = open(response)
  notModified(draft)
  return draft.toResponse()
}

export const fieldsOf = ({ body, headers }: Response): Fields =>
  body.contentType === undefined || headers["content-type"] !== undefined
    ? headers
    : { ...headers, "content-type": body.contentType }

export const lengthOf = ({ body, headers }: Response, content: Uint8Array | string | undefined): number =>
  typeof content === "string"
    ? Buffer.byteLength(content)
    : content?.byteLength ?? body.contentLength ?? Number(headers["content-length"] ?? 0)

/** What is kept stays what it was, whoever writes to the bytes that he has sent. */
export const copyOf = (content: Uint8Array | string): Uint8Array =>
  typeof content === "string" ? Buffer.from(content) : new Uint8Array(content)

/**
 * Passes a stream on, and keeps what has passed: whole, or not at all. One that is larger than it may be, or not as long as
 * its response says, is none.
 */
export const teed = (
  response: Response,
  most: number,
  { none, whole }: { readonly whole: (body: Uint8Array) => Effect.Effect<void>; readonly none: () => void }
): Response => {
  const { body, headers } = response
  if (body._tag !== "Stream") return response
  const { contentLength, contentType } = body
  const length = contentLength ??
    (headers["content-length"] === undefined ? undefined : Number(headers["content-length"]))
  const stream = Stream.suspend(() => {
    const chunks = makeChunks(most)
    const kept = Stream.execute(Effect.suspend(() => {
      const bytes = chunks.all()
      if (bytes === undefined) return Effect.void
      return length === undefined || length === bytes.byteLength ? whole(bytes) : Effect.sync(none)
    }))
    return body.stream.pipe(
      Stream.tap((bytes) => Effect.sync(() => chunks.add(bytes) ? undefined : none())),
      Stream.concat(kept)
    )
  })
  return HttpServerResponse.setBody(response, HttpBody.stream(stream, contentType, contentLength)).pipe(
    // as it was, whatever the body would say
    (teed) => Object.assign(Object.create(Object.getPrototypeOf(teed)), teed, { headers: response.headers }) as Response
  )
}

export const collected = (response: Response, most: number): Effect.Effect<Uint8Array | undefined, unknown> => {
  const content = contentOf(response.body)
  if (content !== undefined) return Effect.succeed(copyOf(content))
  if (response.body._tag !== "Stream") return Effect.succeed(undefined)
  const chunks = makeChunks(most)
  return response.body.stream.pipe(
    Stream.runForEachWhile((bytes) => Effect.sync(() => chunks.add(bytes))),
    Effect.map(chunks.all)
  )
}

const makeChunks = (most: number) => {
  let chunks: Array<Uint8Array> | undefined = []
  let size = 0
  return {
    /** Whether there is room for it. */
    add: (bytes: Uint8Array): boolean => {
      size += bytes.byteLength
      if (size > most) chunks = undefined
      chunks?.push(bytes)
      return chunks !== undefined
    },
    all: () => chunks && Buffer.concat(chunks)
  }
}
