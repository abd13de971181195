/**
 * What compression keeps in memory, over sockets of Node's server:
 *
 *     npm run acceptance:compression -- --bytes 1073741824 --clients 4 --aborted 1000
 *
 * 1. Several clients read a stream of a gigabyte each, at once, one of them slowly, in gzip, and before that as much once:
 *    what the process grows by stays below 64 MiB, however much has flowed. They are other processes.
 * 2. Clients that leave after the first bytes: every native handle that was begun is closed, and is gone when the memory is
 *    swept (`async_hooks`: as many ZLIB destroyed as made).
 *
 * It prints what it has measured, and ends with code 1 if something does not hold.
 */
import { HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Effect, Layer, Stream } from "effect"
import { Compression, ServerErrors, Stack } from "effect-middleware"
import { createHook } from "node:async_hooks"
import { spawn } from "node:child_process"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import { Readable } from "node:stream"
import { setTimeout as sleep } from "node:timers/promises"
import { parseArgs } from "node:util"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { json } from "../utils/compression.js"

const { values: options } = parseArgs({
  options: {
    /** Of one stream, before it is compressed. */
    bytes: { type: "string", default: String(1024 ** 3) },
    clients: { type: "string", default: "4" },
    aborted: { type: "string", default: "1000" }
  }
})
const [bytes, clients, aborted] = [Number(options.bytes), Number(options.clients), Number(options.aborted)]
const limit = 64 * 1024 ** 2

setFlagsFromString("--expose-gc")
const collect = runInNewContext("gc") as () => void
const mib = (bytes: number) => `${(bytes / 1024 ** 2).toFixed(1)} MiB`
const failures: Array<string> = []
const check = (what: string, holds: boolean) => {
  console.log(`${holds ? "holds" : "FAILS"}: ${what}`)
  if (!holds) failures.push(what)
}

const chunk = Buffer.from(json(64 * 1024))
const count = Math.ceil(bytes / chunk.length)
function* chunks(count: number) {
  for (let i = 0; i < count; i++) yield chunk
}
const bodies: { readonly [kind: string]: () => HttpServerResponse.HttpServerResponse } = {
  "effect": () =>
    HttpServerResponse.stream(Stream.take(Stream.repeatEffect(Effect.sync(() => chunk)), count), {
      contentType: "text/plain"
    }),
  "node": () => HttpServerResponse.raw(Readable.from(chunks(count)), { contentType: "text/plain" })
}

/** Which form the next requests are answered in. */
const kinds: Array<string> = []
const server = Http.createServer()
const app = HttpServer.serve(
  Stack.make(ServerErrors.middleware(), Compression.middleware({ algorithms: ["gzip"] }))(
    Effect.sync(() => bodies[kinds.shift()!]!())
  )
)
Effect.runFork(
  Layer.launch(app.pipe(Layer.provide(NodeHttpServer.layer(() => server, { port: 0, host: "127.0.0.1" }))))
)
while (!server.listening) await sleep(10)
const { port } = server.address() as AddressInfo

// --- 1. streams ------------------------------------------------------------------------------------------------------

/** Reads a response to its end, counts what is decoded, and waits between two chunks. */
const reader = `
const http = require("node:http"), zlib = require("node:zlib")
const [port, pause] = process.argv.slice(1).map(Number)
http.get({ port, host: "127.0.0.1", headers: { "accept-encoding": "gzip" } }, async (response) => {
  let count = 0
  for await (const chunk of response.pipe(zlib.createGunzip())) {
    count += chunk.length
    if (pause > 0 && count % (4 * 1024 * 1024) < chunk.length) await new Promise((r) => setTimeout(r, pause))
  }
  process.stdout.write(String(count))
})`

const read = (pause: number) =>
  new Promise<number>((resolve) => {
    const child = spawn(process.execPath, ["-e", reader, String(port), String(pause)], {
      stdio: ["ignore", "pipe", "inherit"]
    })
    let text = ""
    child.stdout.on("data", (data) => void (text += String(data)))
    child.on("close", () => resolve(Number(text)))
  })

for (const kind of Object.keys(bodies)) {
  // V8 sweeps what lies outside of its heap when that is some 64 MiB: so much a process takes once, and keeps
  kinds.push(...Array.from({ length: clients * 2 }, () => kind))
  await Promise.all(Array.from({ length: clients }, () => read(0)))
  collect()
  const before = process.memoryUsage.rss()
  let peak = before
  const watching = setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 50)
  const began = performance.now()
  const counts = await Promise.all(Array.from({ length: clients }, (_, i) => read(i === 0 ? 20 : 0)))
  clearInterval(watching)
  const seconds = (performance.now() - began) / 1000
  const total = counts.reduce((a, b) => a + b, 0)
  console.log(
    `${kind}: ${clients} clients, ${mib(total)} in ${seconds.toFixed(1)} s, ${mib(total / seconds)}/s; ` +
      `memory ${mib(before)} before, ${mib(peak)} at most`
  )
  check(`${kind}: every client has all of it`, counts.every((read) => read === count * chunk.length))
  check(`${kind}: memory grows by less than ${mib(limit)}`, peak - before < limit)
}

// --- 2. clients that leave -------------------------------------------------------------------------------------------

const handles = new Set<number>()
const tally = { made: 0, closed: 0, destroyed: 0 }
createHook({
  init(id, type, _, resource) {
    if (type !== "ZLIB") return
    handles.add(id)
    tally.made++
    const handle = resource as { close: () => void }
    const close = handle.close.bind(handle)
    handle.close = () => {
      tally.closed++
      close()
    }
  },
  destroy(id) {
    if (handles.delete(id)) tally.destroyed++
  }
}).enable()

const leaveEarly = () =>
  new Promise<void>((resolve) => {
    const request = Http.get({ port, host: "127.0.0.1", headers: { "accept-encoding": "gzip" }, agent: false })
    request.on("response", (response) => response.once("data", () => request.destroy()))
    request.on("error", () => {})
    request.on("close", resolve)
  })

const leave = async (kind: string) => {
  for (let left = aborted; left > 0; left -= 20) {
    const some = Math.min(20, left)
    kinds.push(...Array.from({ length: some }, () => kind))
    await Promise.all(Array.from({ length: some }, leaveEarly))
  }
  for (let i = 0; i < 100 && (tally.closed < tally.made || tally.destroyed < tally.made); i++) {
    await sleep(50)
    collect()
  }
  collect()
  return process.memoryUsage.rss()
}

for (const kind of Object.keys(bodies)) {
  const { made } = tally
  // what a process takes once it keeps: a leak would show in the second round
  const [before, after] = [await leave(kind), await leave(kind)]
  console.log(
    `${kind}: twice ${aborted} clients left; ZLIB ${tally.made - made} made; of all, ${tally.made} made, ` +
      `${tally.closed} closed, ${tally.destroyed} destroyed; memory ${mib(before)} after the first, ${
        mib(after)
      } after the second`
  )
  check(`${kind}: a handle each`, tally.made - made === 2 * aborted)
  check(`${kind}: each is closed and destroyed`, tally.closed === tally.made && tally.destroyed === tally.made)
  check(`${kind}: memory grows by less than ${mib(limit / 4)}`, after - before < limit / 4)
}

process.exit(failures.length === 0 ? 0 : 1)
