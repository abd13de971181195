/** Bytes as they are on the wire, and as they were before they were coded. */
import { Effect } from "effect"
import { type Coding } from "effect-middleware/Compression"
import { createHook } from "node:async_hooks"
import * as Http from "node:http"
import * as Zlib from "node:zlib"
import { availableOf } from "../../src/internal/zlib.js"

export const codings = availableOf("test")

const { zstdDecompressSync } = Zlib as unknown as { zstdDecompressSync: (bytes: Uint8Array) => Buffer }
const decoders: { readonly [C in Coding]: (bytes: Uint8Array) => Buffer } = {
  gzip: (bytes) => Zlib.gunzipSync(bytes),
  deflate: (bytes) => Zlib.inflateSync(bytes),
  br: (bytes) => Zlib.brotliDecompressSync(bytes),
  zstd: zstdDecompressSync
}

/** Throws on bytes that are not whole. */
export const decode = (coding: string | undefined, bytes: Uint8Array): Buffer =>
  coding === undefined ? Buffer.from(bytes) : decoders[coding as Coding](bytes)

const { zstdCompressSync } = Zlib as unknown as { zstdCompressSync: (bytes: Uint8Array) => Buffer }
const encoders: { readonly [C in Coding]: (bytes: Uint8Array) => Buffer } = {
  gzip: (bytes) => Zlib.gzipSync(bytes),
  deflate: (bytes) => Zlib.deflateSync(bytes),
  br: (bytes) => Zlib.brotliCompressSync(bytes, { params: { [Zlib.constants.BROTLI_PARAM_QUALITY]: 4 } }),
  zstd: (bytes) => zstdCompressSync(bytes)
}

export const encode = (coding: Coding, bytes: string | Uint8Array): Uint8Array<ArrayBuffer> =>
  new Uint8Array(encoders[coding](Buffer.from(bytes)))

/** JSON of so many bytes, which gets smaller as JSON does. */
export const json = (size: number): string => {
  const rows = Array.from(
    { length: Math.ceil(size / 40) },
    (_, id) => `{"id":${id},"name":"user ${(id * 7919) % 1000}","on":${id % 3 === 0}}`
  )
  return rows.join(", ").padEnd(size, "x").slice(0, size)
}

export interface Received {
  readonly status: number
  readonly headers: Http.IncomingHttpHeaders
  readonly bytes: Buffer
  /** Why the client knows that it has not got all of it. */
  readonly error: string | undefined
}

export interface Asked extends Pick<Http.RequestOptions, "method" | "path" | "headers" | "agent"> {
  readonly body?: string | Uint8Array | undefined
}

/** What a server sends, byte for byte, also where it breaks off. */
export const receive = (port: number, { body, ...options }: Asked = {}): Effect.Effect<Received> =>
  Effect.async((resume) => {
    const request = Http.request({ host: "127.0.0.1", port, agent: false, ...options }, (response) => {
      const chunks: Array<Buffer> = []
      const end = (error?: string) =>
        resume(Effect.succeed({
          status: response.statusCode!,
          headers: response.headers,
          bytes: Buffer.concat(chunks),
          error
        }))
      response.on("data", (chunk) => chunks.push(chunk))
      response.on("error", (error) => end(error.message))
      response.on("end", () => end())
    })
    request.on(
      "error",
      (error) => resume(Effect.succeed({ status: 0, headers: {}, bytes: Buffer.alloc(0), error: error.message }))
    )
    request.end(body)
    return Effect.sync(() => request.destroy())
  })

/** Counts what of node:zlib is begun, and what of it is closed. */
export const handles = () => {
  const counts = { begun: 0, closed: 0 }
  const hook = createHook({
    init(_, type, __, resource) {
      if (type !== "ZLIB") return
      counts.begun++
      const handle = resource as { close: () => void }
      const close = handle.close.bind(handle)
      handle.close = () => {
        counts.closed++
        close()
      }
    }
  })
  return Effect.acquireRelease(Effect.sync(() => (hook.enable(), counts)), () => Effect.sync(() => hook.disable()))
}

/** Looks again and again, a turn of the loop at a time. */
export const until = (holds: () => boolean) =>
  Effect.repeat(Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void))), { until: holds })
