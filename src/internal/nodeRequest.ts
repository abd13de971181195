/** What Node's request has beside platform's. On another server all of it is missing. */
import { isHandshake, nodeResponse } from "./nodeResponse.js"

interface Request {
  readonly source: unknown
}

/** An `IncomingMessage`. */
export interface NodeRequest {
  readonly httpVersionMajor: number
  readonly socket: Connection
  /** Whether all of it has been received. */
  readonly complete: boolean
  readonly readableDidRead: boolean
  readonly readableEnded: boolean
  readonly destroyed: boolean
  readonly errored: unknown
  readonly read: () => Uint8Array | null
  readonly resume: () => void
  destroy: (error?: Error) => unknown
  readonly on: (event: "readable" | "end" | "error" | "close", f: () => void) => void
  readonly off: (event: "readable" | "end" | "error" | "close", f: () => void) => void
}

type OnData = (bytes: Uint8Array) => void

interface Connection {
  destroySoon: () => void
  readonly destroyed: boolean
  readonly end: () => void
  readonly destroy: () => void
  readonly pause: () => void
  readonly resume: () => void
  readonly _read: () => void
  readonly on: (event: "data", f: OnData) => void
  readonly off: (event: "data", f: OnData) => void
  readonly once: (event: "close" | "end", f: () => void) => void
  readonly listeners: (event: "data") => ReadonlyArray<OnData>
}

export const nodeRequest = ({ source }: Request): NodeRequest | undefined =>
  typeof source === "object" && source !== null && "readableDidRead" in source && "httpVersionMajor" in source
    ? source as NodeRequest
    : undefined

/** How long, and how much, is read of what a client goes on to send to whom has been answered. */
export const leaving = { millis: 5000, bytes: 64 * 1024 * 1024 }

/**
 * Has the connection closed after the response to this request, in such a way that a client that is still sending can
 * read it: what has not been read when a connection is closed resets it, and the client loses what it has received.
 *
 * Node says so in the response (`Connection: close`), and closes the connection by `destroySoon`. From then on its parser
 * gets nothing: what follows is no request any more (RFC 9112 section 9.6).
 */
export const leave = (request: Request): void => {
  const source = nodeRequest(request)
  const response = isHandshake(request) ? undefined : nodeResponse(request)
  if (source === undefined || response === undefined) return
  const { stream } = response
  if (stream !== undefined) {
    return stream.once("finish", () => {
      // NO_ERROR: the rest of the request is not needed (RFC 9113 section 8.1); Node waits until what has come is read
      stream.close(0)
      source.resume()
    })
  }
  response.shouldKeepAlive = false
  const { socket } = source
  left.set(socket, source)
  socket.destroySoon = () => linger(socket)
  // who stops reading in platform's own way destroys the connection, and Node does, with an error, where it is lost
  const destroy = source.destroy.bind(source)
  source.destroy = (error) => error === undefined && !socket.destroyed ? source : destroy(error)
}

/** Whether the connection has been left before this request, which then has no answer: nothing may be done for it. */
export const isLeft = (request: Request): boolean => {
  const source = nodeRequest(request)
  const last = source && left.get(source.socket)
  return last !== undefined && last !== source
}

const left = new WeakMap<Connection, NodeRequest>()

const linger = (socket: Connection): void => {
  socket.end()
  let bytes = 0
  const parsers = socket.listeners("data")
  socket.on("data", (chunk) => {
    bytes += chunk.length
    // the answer is there to be read until the time is over
    if (bytes > leaving.bytes) socket.pause()
  })
  for (const parser of parsers) socket.off("data", parser)
  const timer = setTimeout(() => socket.destroy(), leaving.millis)
  timer.unref()
  socket.once("end", () => socket.destroy())
  socket.once("close", () => clearTimeout(timer))
  socket.resume()
  // the parser may have stopped the reading, of which the socket does not know
  socket._read()
}
