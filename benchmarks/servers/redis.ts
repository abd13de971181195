/** A Redis of its own, and what it has been asked. */
import * as ChildProcess from "node:child_process"
import * as Net from "node:net"
import * as Os from "node:os"
import { setTimeout } from "node:timers/promises"
import { createClient } from "redis"
import { on } from "./processes.js"

/** Of one request. */
export interface Commands {
  /** How often Redis has read something that was sent. */
  readonly roundTrips: number
  /** How often each command has run; those that a script calls are counted as well. */
  readonly calls: Readonly<Record<string, number>>
}

export interface Redis {
  readonly url: string
  /** What so many requests have sent, one after the other, by what Redis itself has counted. */
  readonly count: (requests: number, send: () => Promise<unknown>) => Promise<Commands>
  readonly stop: () => Promise<unknown>
}

export const isInstalled = ChildProcess.spawnSync("redis-server", ["--version"]).status === 0

/** Nothing is kept on disk. It shares the load's core: the other one is the server's alone. */
export const start = async (): Promise<Redis> => {
  const port = await freePort()
  const args = ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", Os.tmpdir()]
  const child = ChildProcess.spawn(...on("load", "redis-server", args), { stdio: "ignore" })
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()))
  const url = `redis://127.0.0.1:${port}`
  const client = createClient({ url, RESP: 2, socket: { reconnectStrategy: () => 50 } }).on("error", () => {})
  await Promise.race([
    client.connect(),
    setTimeout(20_000).then(() => Promise.reject(new Error("Redis has not started")))
  ])

  const info = async (section: string, line: RegExp) => [...(await client.info(section)).matchAll(line)]
  const reads = async () => Number((await info("stats", /^total_reads_processed:(\d+)/gm))[0]?.[1])
  const count: Redis["count"] = async (requests, send) => {
    await client.configResetStat()
    const before = await reads()
    for (let i = 0; i < requests; i++) await send()
    // the one that asks is itself read
    const roundTrips = (await reads() - before - 1) / requests
    const calls = (await info("commandstats", /^cmdstat_([^:]+):calls=(\d+)/gm))
      .filter(([, name]) => !/^(?:info|config)/.test(name!))
      .map(([, name, calls]): [string, number] => [name!, Number(calls) / requests])
    return { roundTrips, calls: Object.fromEntries(calls) }
  }
  const stop = () => {
    client.destroy()
    child.kill("SIGKILL")
    return ended
  }
  return { url, count, stop }
}

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = Net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as Net.AddressInfo
      server.close(() => resolve(port))
    })
  })
