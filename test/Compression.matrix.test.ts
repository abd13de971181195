/**
 * Every form of a body, coding, size, method and status: over a socket and through the web handler, decoded back to what it
 * was made of.
 */
import { HttpApp, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpPlatform } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { Compression, ServerErrors, Stack } from "effect-middleware"
import * as Fs from "node:fs"
import * as Http from "node:http"
import * as Os from "node:os"
import * as Path from "node:path"
import { Readable } from "node:stream"
import { codings, decode, json, receive } from "./utils/compression.js"
import { listenTo } from "./utils/TestApp.js"

const minSize = 1024
const sizes = [0, 10, minSize - 1, minSize, 20_000, 100_000]
const statuses = [200, 204, 206, 304, 404, 500]
const type = "application/json"

const texts = new Map(sizes.map((size) => [size, json(size)]))
const pieces = (text: string) => (text.match(/[^]{1,4000}/g) ?? []).map((piece) => Buffer.from(piece))

const folder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-middleware-"))),
  (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true }))
)

interface Kind {
  /** Whether the size is known before the last byte is. */
  readonly sized: boolean
  /** Platform's Node server takes none that is not compressed. */
  readonly web?: true
  readonly make: (text: string, status: number, folder: string) => Effect.Effect<HttpServerResponse.HttpServerResponse>
}

const raw = (sized: boolean, body: (text: string, status: number) => unknown, web?: true): Kind => ({
  sized,
  ...(web && { web }),
  make: (text, status) => Effect.succeed(HttpServerResponse.raw(body(text, status), { status, contentType: type }))
})

const kinds: { readonly [kind: string]: Kind } = {
  text: {
    sized: true,
    make: (text, status) => Effect.succeed(HttpServerResponse.text(text, { status, contentType: type }))
  },
  stream: {
    sized: false,
    make: (text, status) =>
      Effect.succeed(
        HttpServerResponse.stream(Stream.rechunk(Stream.fromIterable(pieces(text)), 2), { status, contentType: type })
      )
  },
  file: {
    sized: true,
    make: (text, status, folder) => {
      const path = Path.join(folder, `${text.length}.json`)
      if (!Fs.existsSync(path)) Fs.writeFileSync(path, text)
      return HttpServerResponse.file(path, { status }).pipe(Effect.provide(NodeHttpPlatform.layer), Effect.orDie)
    }
  },
  "raw string": raw(true, (text) => text),
  "raw bytes": raw(true, (text) => Buffer.from(text)),
  "raw stream of Node": raw(false, (text) => Readable.from(pieces(text))),
  "raw stream of the web": raw(false, (text) => new Blob([text]).stream(), true),
  "raw Blob": raw(true, (text) => new Blob([text]), true),
  "raw Response": raw(false, (text, status) => {
    const content = status === 204 || status === 304 ? null : text
    return new Response(content, { status, headers: { "content-type": type } })
  }, true)
}

interface Case {
  readonly kind: string
  readonly size: number
  readonly status: number
}

const appIn = (folder: string) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers }) => {
    const { kind, size, status } = JSON.parse(headers["x-case"]!) as Case
    return kinds[kind]!.make(texts.get(size)!, status, folder)
  })

const stack = Stack.make(ServerErrors.middleware(), Compression.middleware())

/** What it is sent with, by the rules as the page has them. */
const expected = ({ kind, size, status }: Case, coding: string) => {
  const worth = !kinds[kind]!.sized || size >= minSize
  return coding !== "identity" && worth && ![204, 206, 304].includes(status) ? coding : undefined
}

type Ask = (c: Case, method: string, coding: string) => Effect.Effect<{
  readonly status: number
  readonly headers: { readonly [name: string]: unknown }
  readonly bytes: Uint8Array
}>

const check = (all: ReadonlyArray<Case>, ask: Ask) =>
  Effect.gen(function*() {
    let checked = 0
    for (const c of all) {
      for (const coding of [...codings, "identity"]) {
        const what = `${JSON.stringify(c)} ${coding}`
        const [got, head] = yield* Effect.all([ask(c, "GET", coding), ask(c, "HEAD", coding)])
        const text = c.status === 204 || c.status === 304 ? "" : texts.get(c.size)!
        const sentWith = expected(c, coding)
        assert.strictEqual(got.status, c.status, what)
        assert.strictEqual(got.headers["content-encoding"], sentWith, what)
        assert.strictEqual(decode(sentWith, got.bytes).toString(), text, what)
        assert.strictEqual(got.headers["vary"], c.status === 204 ? undefined : "accept-encoding", what)
        const length = got.headers["content-length"]
        if (length !== undefined && c.status !== 304) assert.strictEqual(length, String(got.bytes.length), what)
        assert.strictEqual(head.bytes.length, 0)
        assert.deepStrictEqual(ownOf(head.headers), ownOf(got.headers), what)
        checked++
      }
    }
    return checked
  })

/** Without what Node says of the connection. */
const ownOf = (headers: { readonly [name: string]: unknown }) =>
  Object.entries(headers).filter(([name]) => !/^(?:connection|date|keep-alive|transfer-encoding)$/.test(name))

const casesOf = (among: (kind: Kind) => boolean) =>
  Object.keys(kinds).filter((kind) => among(kinds[kind]!)).flatMap((kind) =>
    sizes.flatMap((size) => statuses.map((status) => ({ kind, size, status })))
  )

const header = (c: Case, coding: string) => ({ "x-case": JSON.stringify(c), "accept-encoding": coding })

describe("matrix", () => {
  it.scoped("over a socket", () =>
    Effect.gen(function*() {
      const port = yield* listenTo(stack(appIn(yield* folder)))
      const agent = yield* Effect.acquireRelease(
        Effect.sync(() => new Http.Agent({ keepAlive: true })),
        (agent) => Effect.sync(() => agent.destroy())
      )
      const ask: Ask = (c, method, coding) => receive(port, { method, headers: header(c, coding), agent })
      const all = casesOf(({ web }) => web !== true)
      assert.strictEqual(yield* check(all, ask), all.length * (codings.length + 1))
    }), 60_000)

  it.scoped("through the web handler", () =>
    Effect.gen(function*() {
      const handler = HttpApp.toWebHandler(stack(appIn(yield* folder)))
      const ask: Ask = (c, method, coding) =>
        Effect.promise(async () => {
          const response = await handler(new Request("http://localhost/", { method, headers: header(c, coding) }))
          return {
            status: response.status,
            headers: Object.fromEntries(response.headers),
            bytes: new Uint8Array(await response.arrayBuffer())
          }
        })
      const all = casesOf(() => true)
      assert.strictEqual(yield* check(all, ask), all.length * (codings.length + 1))
    }), 60_000)
})
