/** What the body of a response is made of, in the forms in which a server takes one. */
import type { HttpBody } from "@effect/platform/HttpBody"
import { Readable } from "node:stream"
import type { ReadableStream as NodeReadableStream } from "node:stream/web"
import type { Bytes } from "./zlib.js"

/** With neither `bytes` nor `readable` it comes by an Effect stream. */
export interface Content {
  /** All of it. */
  readonly bytes?: Bytes
  /** What it comes by. */
  readonly readable?: () => Readable
  readonly size?: number
  /** What the server will say of it where no header does. */
  readonly type?: string | undefined
  /** A response of the web, which will be sent in the place of platform's. */
  readonly response?: Response
}

export const contentOf = (body: HttpBody): Content | undefined => {
  switch (body._tag) {
    case "Empty":
      return undefined
    case "Uint8Array":
      return { bytes: body.body, size: body.body.length }
    case "Stream":
      return {}
    case "FormData":
      return webContent(new Response(body.formData))
    case "Raw":
      return rawContent(body.body)
  }
}

const rawContent = (raw: unknown): Content | undefined => {
  if (typeof raw === "string") return { bytes: raw, size: Buffer.byteLength(raw) }
  if (raw instanceof Uint8Array || raw instanceof ArrayBuffer || raw instanceof DataView) {
    return { bytes: raw, size: raw.byteLength }
  }
  if (raw instanceof Readable) return { readable: () => raw }
  if (raw instanceof Blob) return { ...webContent(new Response(raw)), size: raw.size }
  if (raw instanceof ReadableStream || raw instanceof FormData || raw instanceof URLSearchParams) {
    return webContent(new Response(raw))
  }
  return raw instanceof Response && raw.body !== null ? { ...webContent(raw), response: raw } : undefined
}

const webContent = (response: Response): Content => ({
  // Node's types and those of the DOM have a class each for the one that there is
  readable: () => Readable.fromWeb(response.body as NodeReadableStream),
  type: response.headers.get("content-type") ?? undefined
})
