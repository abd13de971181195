import type { HttpBody } from "@effect/platform/HttpBody"
import { isOpened } from "./upgrade.js"

/** What Node's response tells of its own end; test/platform-facts.test.ts and test/exchange.test.ts hold it to that. */
export interface NodeResponse {
  readonly statusCode: number
  readonly headersSent: boolean
  readonly destroyed: boolean
  readonly writableEnded: boolean
  readonly writableFinished: boolean
  readonly errored?: { readonly name: string; readonly code?: unknown } | null
  /** Node writes `Connection: close` where it is false, and closes the connection after the response. */
  shouldKeepAlive: boolean
  /** None while it waits behind the response to an earlier request of the connection. */
  readonly socket: object | null
  /** In HTTP/2. */
  readonly stream?: {
    readonly aborted: boolean
    readonly close: (code: number) => void
    readonly once: (event: "finish", f: () => void) => void
  } | undefined
  readonly once: (event: "close", f: () => void) => void
  readonly prependOnceListener: (event: "finish", f: () => void) => void
  /** `f` runs when it has gone to the system. */
  readonly write: (text: string, f: () => void) => void
}

interface Connection {
  readonly destroyed: boolean
  readonly listeners: (event: "error") => ReadonlyArray<unknown>
  readonly on: (event: "error", f: () => void) => void
  readonly destroy: () => void
  readonly once: (event: "close", f: () => void) => void
}

interface Request {
  readonly source: unknown
}

/** Whether it asks for another protocol: then no body is read in this one, and platform's response is not to be asked for. */
export const isHandshake = (request: Request): boolean =>
  "response" in request && typeof request.response === "function"

/** Platform makes the response of an upgrade when it is first asked for, which is where the response is sent. */
export const nodeResponse = (request: Request): NodeResponse | undefined => {
  const response: unknown = "response" in request ? request.response : undefined
  const made: unknown = typeof response === "function" ? response() : response
  return typeof made === "object" && made !== null && "writableFinished" in made ? made as NodeResponse : undefined
}

/**
 * Node takes its own listeners off the connection of an upgrade and platform adds none, and an error that nobody hears
 * ends the process: one that a client has reset while it was waiting would.
 */
export const hearErrors = (request: Request): void => {
  if (!isHandshake(request)) return
  const { socket } = request.source as { readonly socket: Connection }
  if (!socket.listeners("error").includes(ignore)) socket.on("error", ignore)
}

/** An error closes the connection, and that is heard of elsewhere. */
const ignore = () => {}

/** Platform ends the response that it makes after an upgrade at once: nothing is sent by it. */
export const isUpgraded = (request: Request): boolean => {
  const node = nodeResponse(request)
  return node?.writableEnded === true && !node.destroyed && isHandshake(request)
}

/** Whether the answer is on its way, of which the response of an upgrade must not be asked: that would make it. */
export const hasBegun = (request: Request): boolean =>
  isHandshake(request) ? isOpened(request) : nodeResponse(request)?.headersSent === true

/** A stream of Node, as a body. */
interface Readable {
  readonly destroyed: boolean
  readonly readableEnded: boolean
  readonly errored: unknown
  readonly destroy: () => void
}

const readableOf = (body: HttpBody): Readable | undefined => {
  const readable = body._tag === "Raw" ? body.body : undefined
  return typeof readable === "object" && readable !== null && "readableEnded" in readable
    ? readable as Readable
    : undefined
}

/** What the body is read from has failed with; a client that leaves ends it with one of these codes. */
export const failureOf = ({ errored }: NodeResponse, body: HttpBody): unknown => {
  if (errored === null || errored === undefined) return undefined
  const { code, name } = errored
  if (code === "ERR_STREAM_PREMATURE_CLOSE") {
    const readable = readableOf(body)
    // one that is left is given an error of Node's: this one has been closed from its own end
    return readable?.destroyed === true && !readable.readableEnded && readable.errored === null ? errored : undefined
  }
  return name === "AbortError" || code === "ECONNRESET" || code === "EPIPE" ? undefined : errored
}

/** Closes a body that nobody will read: a file would stay open, and an error that nobody hears end the process. */
export const discard = (body: HttpBody): void => readableOf(body)?.destroy()

/**
 * Ends a response so that the client can tell that it is not whole: by its connection, in HTTP/2 by its stream. What has
 * been written goes out before, behind the responses to earlier requests; `f` runs then, and before that nothing more may
 * be written.
 */
export const cutOff = ({ source }: Request, node: NodeResponse, f: () => void): void => {
  if (node.stream !== undefined) {
    // INTERNAL_ERROR
    node.stream.close(2)
    return f()
  }
  const { socket } = source as { readonly socket: Connection }
  if (socket.destroyed || node.writableEnded) return f()
  const queue = queueOf(socket)
  const end = () => {
    if (!queue.delete(end)) return
    socket.destroy()
    f()
  }
  // Node forgets what waits for its turn where the connection is lost
  queue.add(end)
  // sends the header too, if nothing has: what was closed without a byte a client may ask for again
  node.write("", end)
}

/**
 * Ends a response at once, of which the rest is not taken. One that waits behind another on its connection is none of
 * those: the other one's client is still reading.
 */
export const abandon = ({ source }: Request, node: NodeResponse): boolean => {
  if (node.writableFinished || (node.stream === undefined && node.socket === null)) return false
  if (node.stream === undefined) (source as { readonly socket: Connection }).socket.destroy()
  // CANCEL
  else node.stream.close(8)
  return true
}

/**
 * Runs `f` once, when all of the response has gone to the system, or when it never will: the connection is `lost`.
 *
 * - `finish` alone proves nothing: Node emits it too for what it has thrown away with the connection. It is asked before
 *   Node's own listener, which closes the connection where it is not kept.
 * - A response behind an earlier one of its connection hears of no close: the connection does.
 */
export const whenDone = (request: Request, node: NodeResponse, f: (lost: boolean) => void): void => {
  const connection = node.stream === undefined ? (request.source as { readonly socket: Connection }).socket : undefined
  const isLost = () => connection === undefined ? node.stream?.aborted === true : connection.destroyed
  if (node.writableFinished) return f(false)
  if (node.destroyed || isLost()) return f(true)
  const known = waiting.get(node)
  if (known !== undefined) return void known.push(f)
  const all = [f]
  waiting.set(node, all)
  const tell = (lost: boolean) => {
    if (queue !== undefined) queue.delete(closed)
    // nobody is told twice
    for (const f of all.splice(0)) f(lost)
  }
  const closed = () => tell(!node.writableFinished || isLost())
  const queue = node.socket === null && connection !== undefined ? queueOf(connection) : undefined
  queue?.add(closed)
  node.prependOnceListener("finish", () => tell(isLost()))
  node.once("close", closed)
}

/** The same; at once where there is no response to be heard of, as behind an upgrade, whose response must not be asked. */
export const whenSent = (request: Request, f: () => void): void => {
  const node = isHandshake(request) ? undefined : nodeResponse(request)
  if (node === undefined) f()
  else whenDone(request, node, f)
}

const waiting = new WeakMap<NodeResponse, Array<(lost: boolean) => void>>()

/** One listener for a connection, however many requests it has sent at once. */
const queueOf = (connection: Connection): Set<() => void> => {
  const known = queues.get(connection)
  if (known !== undefined) return known
  const queue = new Set<() => void>()
  queues.set(connection, queue)
  connection.once("close", () => {
    for (const closed of [...queue]) closed()
  })
  return queue
}
const queues = new WeakMap<Connection, Set<() => void>>()
