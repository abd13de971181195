/** Connections that a test writes to by hand. */
import { Effect } from "effect"
import * as Net from "node:net"
import { answered } from "./laws.js"

/** Open until the scope ends, if the other side does not close it before. */
export const connected = (port: number) =>
  Effect.acquireRelease(
    Effect.async<Net.Socket>((resume) => {
      const socket = Net.connect(port, "127.0.0.1", () => resume(Effect.succeed(socket)))
      socket.on("error", () => {})
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

export const get = (socket: Net.Socket, path = "/") => socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`)

export interface Talk {
  readonly text: string
  /** What the client's connection has ended with: a reset, for one. */
  readonly error: string | undefined
}

/** What a client has received when its connection ends. */
export const talk = (port: number, write: (socket: Net.Socket) => void): Effect.Effect<Talk> =>
  answered(Effect.async<Talk>((resume) => {
    let [text, error]: [string, string | undefined] = ["", undefined]
    const socket = Net.connect(port, "127.0.0.1", () => write(socket))
    socket.on("data", (bytes) => text += bytes.toString("latin1"))
    socket.on("error", ({ message }) => error = message)
    socket.on("close", () => resume(Effect.succeed({ text, error })))
    return Effect.sync(() => socket.destroy())
  }))
