/** Connections that a test writes to by hand. */
import { Effect } from "effect"
import * as Net from "node:net"

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
