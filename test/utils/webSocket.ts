/**
 * Clients of a WebSocket: `ws`, which platform's Node server brings, the runtime's own, and one that writes frames by
 * hand and does nothing unless it is told to.
 */
import { Deferred, Effect, type Scope } from "effect"
import * as Http from "node:http"
import { createRequire } from "node:module"
import type * as Net from "node:net"

/** The handshake of RFC 6455 section 1.3, and what it is answered. */
export const handshake = {
  "connection": "Upgrade",
  "upgrade": "websocket",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  "sec-websocket-version": "13"
}
export const accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

export interface Closed {
  readonly code: number
  readonly reason: string
}

export interface Client {
  readonly protocol: string
  /** The next message. */
  readonly next: Effect.Effect<string | Uint8Array>
  readonly send: (message: string | Uint8Array) => void
  readonly close: (code?: number, reason?: string) => void
  readonly closed: Effect.Effect<Closed>
}

type Constructor = new(
  url: string,
  protocols?: Array<string>,
  options?: { readonly headers?: Record<string, string> }
) => globalThis.WebSocket

/** The package itself does not depend on `ws`: this is the one of the server. */
const { WebSocket: Ws } = createRequire(
  createRequire(import.meta.url).resolve("@effect/platform-node/NodeHttpServer")
)("ws") as { readonly WebSocket: Constructor }

/** With the clients that this Node has: its own came with 22. */
export const clients: ReadonlyArray<readonly [name: string, make: Constructor]> = [
  ["ws", Ws],
  ...typeof globalThis.WebSocket === "function" ? [["Node's", globalThis.WebSocket] as const] : []
]

export const connect = (
  port: number,
  { headers = {}, make = Ws, path = "/", protocols = [] }: {
    readonly make?: Constructor
    readonly path?: string
    readonly protocols?: Array<string>
    readonly headers?: Record<string, string>
  } = {}
): Effect.Effect<Client, Closed, Scope.Scope> =>
  Effect.gen(function*() {
    const closed = yield* Deferred.make<Closed>()
    const received: Array<string | Uint8Array> = []
    const readers: Array<(message: string | Uint8Array) => void> = []
    const socket = yield* Effect.acquireRelease(
      Effect.sync(() => new make(`ws://127.0.0.1:${port}${path}`, protocols, { headers })),
      (socket) => Effect.sync(() => socket.close())
    )
    socket.binaryType = "arraybuffer"
    socket.addEventListener("message", ({ data }) => {
      const message: string | Uint8Array = typeof data === "string" ? data : new Uint8Array(data)
      const reader = readers.shift()
      if (reader === undefined) received.push(message)
      else reader(message)
    })
    socket.addEventListener("close", ({ code, reason }) => {
      Deferred.unsafeDone(closed, Effect.succeed({ code, reason }))
    })
    socket.addEventListener("error", () => {})
    const opened = Effect.async<void>((resume) => {
      socket.addEventListener("open", () => resume(Effect.void))
    })
    yield* Effect.raceFirst(opened, Effect.flatMap(Deferred.await(closed), Effect.fail))
    return {
      protocol: socket.protocol,
      next: Effect.async((resume) => {
        const message = received.shift()
        if (message === undefined) readers.push((message) => resume(Effect.succeed(message)))
        else resume(Effect.succeed(message))
      }),
      send: (message) => socket.send(message as string),
      close: (code, reason) => socket.close(code, reason),
      closed: Deferred.await(closed)
    }
  })

// --- by hand ---------------------------------------------------------------------------------------------------------

export interface Frame {
  readonly opcode: number
  readonly payload: Buffer
}

export interface RawClient {
  readonly status: number
  readonly headers: Http.IncomingHttpHeaders
  readonly socket: Net.Socket
  /** The frames that came, in order; what is not read stays. */
  readonly frame: Effect.Effect<Frame>
  readonly send: (opcode: number, payload?: string | Uint8Array, fin?: boolean) => void
  readonly ended: Effect.Effect<void>
}

export const opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

/** Shakes hands and does nothing else: it answers no ping and no close. Where it is refused, `socket` is no WebSocket. */
export const raw = (
  port: number,
  headers: Record<string, string | Array<string>> = {},
  { method = "GET", path = "/" } = {}
): Effect.Effect<RawClient, never, Scope.Scope> =>
  Effect.async<readonly [Http.IncomingMessage, Net.Socket, Buffer]>((resume) => {
    const request = Http.request({
      port,
      method,
      path,
      host: "127.0.0.1",
      headers: { ...handshake, ...headers },
      agent: false
    })
    request.on("upgrade", (response, socket, head) => resume(Effect.succeed([response, socket as Net.Socket, head])))
    request.on("response", (response) => {
      response.resume()
      resume(Effect.succeed([response, response.socket, Buffer.alloc(0)]))
    })
    request.on("error", (error) => resume(Effect.die(error)))
    request.end()
  }).pipe(
    Effect.tap(([, socket]) => Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))),
    Effect.map(([{ headers, statusCode }, socket, head]) => {
      let bytes = head
      let reader: (() => void) | undefined
      let gone = false
      socket.on("data", (chunk) => {
        bytes = Buffer.concat([bytes, chunk])
        reader?.()
      })
      socket.on("error", () => {})
      socket.on("close", () => gone = true)
      return {
        status: statusCode!,
        headers,
        socket,
        frame: Effect.async<Frame>((resume) => {
          reader = () => {
            const frame = parse(bytes)
            if (frame === undefined) return
            bytes = bytes.subarray(frame.length)
            reader = undefined
            resume(Effect.succeed(frame))
          }
          reader()
        }),
        send: (opcode, payload = "", fin = true) => socket.write(print(opcode, Buffer.from(payload as string), fin)),
        ended: Effect.async<void>((resume) => {
          if (gone) resume(Effect.void)
          else socket.on("close", () => resume(Effect.void))
        })
      }
    })
  )

/** The frame of a server: whole, and not masked. */
const parse = (bytes: Buffer): Frame & { readonly length: number } | undefined => {
  if (bytes.length < 2) return undefined
  const short = bytes[1]! & 127
  const start = short === 126 ? 4 : short === 127 ? 10 : 2
  if (bytes.length < start) return undefined
  const size = short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short
  if (bytes.length < start + size) return undefined
  return { opcode: bytes[0]! & 15, payload: bytes.subarray(start, start + size), length: start + size }
}

/** The frame of a client: masked, here with zeros. */
export const print = (opcode: number, payload: Buffer, fin = true): Buffer => {
  const { length } = payload
  const head = length < 126 ? Buffer.alloc(2) : length < 65536 ? Buffer.alloc(4) : Buffer.alloc(10)
  head[0] = (fin ? 128 : 0) | opcode
  head[1] = 128 | (length < 126 ? length : length < 65536 ? 126 : 127)
  if (head.length === 4) head.writeUInt16BE(length, 2)
  if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2)
  return Buffer.concat([head, Buffer.alloc(4), payload])
}

/** What a close frame says. */
export const closedOf = ({ opcode: code, payload }: Frame): Closed | undefined =>
  code !== opcode.close
    ? undefined
    : { code: payload.length === 0 ? 1005 : payload.readUInt16BE(0), reason: payload.subarray(2).toString() }
