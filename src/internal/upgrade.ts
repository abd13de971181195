/**
 * What Node's server and `ws`, by which platform makes the handshake, have beside platform's `Socket`. On another server
 * all of it is missing. test/platform-facts.test.ts holds them to it.
 */

/** The connection itself. */
export interface Connection {
  readonly bytesRead: number
  /** Neither when one of the sides has ended it. */
  readonly readable: boolean
  readonly writable: boolean
  readonly destroyed: boolean
  /** Whether more waits to be sent than the system and the stream's buffer take. */
  readonly writableNeedDrain: boolean
  readonly destroy: () => void
  readonly on: (event: "drain" | "close", f: () => void) => void
}

/** The WebSocket of `ws`. */
export interface Ws {
  readonly pause: () => void
  readonly resume: () => void
  readonly ping: () => void
  readonly _receiver?: { _maxPayload?: number }
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null

interface Received {
  readonly method: string
  readonly headers: { readonly [name: string]: string | undefined }
  readonly httpVersion?: string
}

/** The request as Node's server holds it, which is what `ws` reads; of another server the request itself. */
export const receivedOf = (request: Received & { readonly source: unknown }): Received => {
  const { source } = request
  return isObject(source) && "httpVersion" in source ? source as Received : request
}

export const connectionOf = (source: unknown): Connection | undefined => {
  const socket = isObject(source) && "socket" in source ? source.socket : undefined
  return isObject(socket) && "bytesRead" in socket && "writableNeedDrain" in socket && "destroy" in socket
    ? socket as Connection
    : undefined
}

/** After the 101. `ws` keeps it on the connection, under a symbol of its own. */
export const wsOf = (connection: Connection): Ws | undefined => {
  const symbol = symbolOf(connection)
  const found = symbol && (connection as unknown as { readonly [key: symbol]: unknown })[symbol]
  return isObject(found) && "pause" in found && "resume" in found && "ping" in found ? found as Ws : undefined
}

const symbolOf = (connection: Connection): symbol | undefined =>
  Object.getOwnPropertySymbols(connection).find(({ description }) => description === "websocket")

/**
 * Whether a request has been answered by a 101: also when the connection has closed since. Its response cannot be asked:
 * platform would make one, and send it when the WebSocket ends.
 */
export const isOpened = (request: { readonly source: unknown }): boolean => {
  if (!("response" in request) || typeof request.response !== "function") return false
  const connection = connectionOf(request.source)
  return connection !== undefined && symbolOf(connection) !== undefined
}

/** Without it a message is known to be too long when it is there, and `ws` takes up to 100 MiB. */
export const limit = ({ _receiver }: Ws, bytes: number): void => {
  if (_receiver?._maxPayload !== undefined) _receiver._maxPayload = bytes
}

/**
 * Has `ws` answer what has been agreed. It takes the first subprotocol of those that the client offers, and reads the
 * offer from the request; and it takes no list for `Upgrade`. Gives back how to undo it.
 */
export const agree = (source: unknown, protocol: string | undefined): () => void => {
  const headers = isObject(source) && "headers" in source && isObject(source.headers) ? source.headers as Fields : {}
  const { "sec-websocket-protocol": offered, upgrade } = headers
  headers["upgrade"] = "websocket"
  set(headers, "sec-websocket-protocol", protocol)
  return () => {
    set(headers, "upgrade", upgrade)
    set(headers, "sec-websocket-protocol", offered)
  }
}

type Fields = { [name: string]: string | undefined }

const set = (fields: Fields, name: string, value: string | undefined) => {
  if (value === undefined) delete fields[name]
  else fields[name] = value
}
