import { assert, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import { Redis } from "effect-middleware"
import * as Ioredis from "effect-middleware/Redis/Ioredis"
import * as Net from "node:net"

/** A PING on the first connection ends it; all else is answered. */
const flaky = Effect.acquireRelease(
  Effect.async<{ readonly port: number; readonly connections: Array<Net.Socket>; readonly server: Net.Server }>(
    (resume) => {
      const connections: Array<Net.Socket> = []
      const server = Net.createServer((socket) => {
        const isFirst = connections.push(socket) === 1
        socket.on("error", () => {}).on("data", (data) => {
          const text = data.toString().toLowerCase()
          if (text.includes("ping")) return isFirst ? socket.destroy() : socket.write("+PONG\r\n")
          // what a client says when it connects, each answered
          for (const _ of text.matchAll(/^\*/gm)) socket.write("+OK\r\n")
        })
      }).listen(0, "127.0.0.1", () => {
        const address = server.address()
        if (typeof address === "object" && address !== null) {
          resume(Effect.succeed({ port: address.port, connections, server }))
        }
      })
    }
  ),
  ({ connections, server }) =>
    Effect.sync(() => {
      for (const socket of connections) socket.destroy()
      server.close()
    })
)

it.scopedLive("a command that is lost with its connection does not end the next one", () =>
  Effect.gen(function*() {
    const { connections, port } = yield* flaky
    const socketTimeout = 200
    yield* Effect.gen(function*() {
      const { send } = yield* Redis.Redis
      const ping = send("key", ["PING"])
      const lost = performance.now()
      assert.strictEqual((yield* Effect.flip(ping)).reason, "connection")
      yield* Effect.retry(ping, Schedule.spaced("5 millis"))
      while (performance.now() < lost + 2 * socketTimeout) {
        assert.strictEqual(yield* ping, "PONG")
      }
      assert.lengthOf(connections, 2)
    }).pipe(
      Effect.provide(
        Ioredis.layer({ host: "127.0.0.1", port, socketTimeout, enableReadyCheck: false }, {
          commandTimeout: "5 seconds"
        })
      )
    )
  }), 20_000)
