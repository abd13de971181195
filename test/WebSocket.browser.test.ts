/**
 * What a browser's `WebSocket` makes of it: pages of two loopback origins open sockets to the server of one of them.
 */
import { HttpRouter, HttpServerResponse } from "@effect/platform"
import { assert } from "@effect/vitest"
import { Effect, Logger, Schema, Stream } from "effect"
import { Stack, WebSocket } from "effect-middleware"
import { Chromium, describeChromium, listenToBrowser, loopback, type Page } from "./utils/chromium.js"

const page = HttpServerResponse.text("<!doctype html><link rel=icon href='data:,'>", { contentType: "text/html" })

const talk = (socket: WebSocket.Socket) => {
  const { messages, send } = WebSocket.json(socket, { receive: Said, send: Schema.String })
  return Stream.runForEach(messages, ({ close, text }) =>
    close === undefined
      ? send(`${socket.protocol} ${text}`)
      : Effect.fail(new WebSocket.WebSocketClose({ code: close, reason: text })))
}
const Said = Schema.Struct({ text: Schema.String, close: Schema.optional(Schema.Number) })

const quiet = Logger.remove(Logger.defaultLogger)

const app = HttpRouter.empty.pipe(
  HttpRouter.get("/", page),
  HttpRouter.get("/chat", WebSocket.handle(talk, { maxMessageSize: 1000 })),
  HttpRouter.get("/defect", Effect.provide(WebSocket.handle(() => Effect.dieMessage("hunter2")), quiet)),
  HttpRouter.get("/shared", WebSocket.handle(talk).pipe(WebSocket.middleware({ origins: "*", protocols: ["v1"] })))
)

/** Opens a socket, sends what is given, and says what came and how it ended, `clean` or not. */
const open = (page: Page, url: string, protocols: Array<string>, messages: ReadonlyArray<string>) =>
  page.run(
    (url, protocols, messages) =>
      new Promise<Array<string>>((resolve) => {
        const seen: Array<string> = []
        const socket = new globalThis.WebSocket(url, protocols)
        socket.onopen = () => {
          seen.push(`open ${socket.protocol}`)
          for (const message of messages) socket.send(message)
        }
        socket.onmessage = ({ data }) => {
          seen.push(data)
          if (data.endsWith("leave\"")) socket.close(4001, "left")
        }
        socket.onclose = ({ code, reason, wasClean }) => {
          seen.push(`${code} ${reason} ${wasClean ? "clean" : "broken"}`)
          resolve(seen)
        }
      }),
    url,
    protocols,
    messages
  )

const say = (text: string, close?: number) => JSON.stringify({ text, close })

describeChromium("WebSocket, in Chromium", (it) => {
  it.scoped("sees the protocol, the messages, the code and the reason", () =>
    Effect.gen(function*() {
      const browser = yield* Chromium
      const port = yield* listenToBrowser(Stack.serve(app, WebSocket.middleware({ protocols: ["v2", "v1"] })))
      const [here, there] = [loopback("here", port), loopback("there", port)]
      const chat = `${here.replace("http", "ws")}/chat`
      const own = yield* browser.open(here)
      const other = yield* browser.open(there)

      assert.deepStrictEqual(yield* open(own, chat, ["v1", "v2"], [say("a"), say("\u00e9"), say("leave")]), [
        "open v1",
        "\"v1 a\"",
        "\"v1 \u00e9\"",
        "\"v1 leave\"",
        "4001 left clean"
      ])
      assert.deepStrictEqual(yield* open(own, chat, [], [say("\u{1F600}".repeat(40), 4000)]), [
        "open ",
        `4000 ${"\u{1F600}".repeat(30)} clean`
      ])
      assert.deepStrictEqual(yield* open(own, chat, [], ["{"]), ["open ", "1007  clean"])
      assert.deepStrictEqual(yield* open(own, chat, [], ["x".repeat(1001)]), ["open ", "1009  clean"])
      assert.deepStrictEqual(yield* open(own, chat.replace("chat", "defect"), [], []), ["open ", "1011  clean"])

      // a handshake that is refused, and one without the subprotocol that was asked for, is all the same to a page
      assert.deepStrictEqual(yield* open(other, chat, ["v1"], []), ["1006  broken"])
      assert.deepStrictEqual(yield* open(own, chat, ["v0"], []), ["1006  broken"])
    }), 30_000)

  it.scoped("opens from elsewhere where that is allowed", () =>
    Effect.gen(function*() {
      const browser = yield* Chromium
      const port = yield* listenToBrowser(Stack.serve(app, WebSocket.middleware({ origins: "*" })))
      const other = yield* browser.open(loopback("there", port))
      const shared = `${loopback("here", port).replace("http", "ws")}/shared`
      assert.deepStrictEqual(yield* open(other, shared, ["v1"], [say("leave")]), [
        "open v1",
        "\"v1 leave\"",
        "4001 left clean"
      ])
    }), 30_000)
})
