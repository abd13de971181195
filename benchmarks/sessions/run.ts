import * as Path from "node:path"
import type { Contestant } from "../servers/contestants.js"
import {
  aboutCores,
  measure,
  open,
  type Outcome,
  type Plan,
  select,
  type Selection,
  type Server,
  versions,
  withServers
} from "../servers/processes.js"
import * as Redis from "../servers/redis.js"
import { chart, type Count, countTable, tables } from "../servers/report.js"
import { bytesOf } from "../servers/work.js"
import { check, login, send } from "./check.js"
import { contestants, type Name } from "./contestants.js"
import { cases, headersWith, type Variant } from "./work.js"

export const full: Plan = { rounds: 3, connections: 64, start: 4000, warmUp: 2000, measuring: 700, rate: 500 }
export const quick: Plan = { rounds: 1, connections: 64, start: 1000, warmUp: 500, measuring: 200, rate: 200 }

/** Checks all, counts what reaches Redis, and then measures all: with one session for each connection. */
export const run = async (
  folder: string,
  plan: Plan,
  selection: Selection,
  log: (line: string) => void
): Promise<Outcome> => {
  if (!Redis.isInstalled) log("What needs Redis is left out: apt-get install redis-server")
  const servers = select("server", contestants, selection.servers)
  const asked = select("case", cases, selection.cases)
    .filter(({ variant }) => Redis.isInstalled || (variant !== "redis" && variant !== "any"))
    .map((one) => ({ ...one, servers: having(servers, one.variant).map(({ name }) => name) }))
  const redis = Redis.isInstalled ? await Redis.start() : undefined
  try {
    const script = Path.join(folder, "benchmarks", "sessions", "serve.js")
    const start = (name: Name, variant: Variant) =>
      open(name, process.execPath, [script, name, variant], { env: { REDIS_URL: redis?.url ?? "" } })

    const counts: Array<Count> = []
    for (const variant of new Set(asked.map(({ variant }) => variant))) {
      const names = having(servers, variant).map(({ name }) => name)
      await withServers(names, (name) => start(name, variant), async (opened) => {
        for (const { name, port } of opened) {
          await check(name, variant, port)
          if (redis === undefined || (variant !== "redis" && variant !== "any")) continue
          for (const { method, name: one, path } of asked.filter((one) => one.variant === variant)) {
            const cookie = await login(port)
            const ask = () => send(port, method, path, cookie)
            await ask()
            counts.push({ one, name, ...await redis.count(100, ask) })
          }
        }
      })
      log(`${variant}: ${names.join(", ")} do the same work`)
    }

    const sessions = new WeakMap<Server<Name>, ReadonlyArray<string>>()
    const sessionsOf = async (server: Server<Name>) => {
      const known = sessions.get(server)
      if (known !== undefined) return known
      const begun = await Promise.all(Array.from({ length: plan.connections }, () => login(server.port)))
      sessions.set(server, begun)
      return begun
    }
    const { rates, results } = await measure({
      folder,
      plan,
      asked,
      open: start,
      job: async (server, { expected: { status }, method, path }) =>
        (await sessionsOf(server)).map((cookie) => ({
          status,
          text: bytesOf({
            method,
            path,
            headers: { ...headersWith(cookie), ...method === "POST" && { "content-length": "0" } }
          })
        })),
      log
    })
    return {
      about: about(servers),
      results: [...countTable(counts), tables(asked, results, rates)].join("\n\n"),
      chart: chart(asked, results)
    }
  } finally {
    await redis?.stop()
  }
}

const having = (servers: ReadonlyArray<typeof contestants[number]>, variant: Variant) =>
  servers.filter(({ variants }: { readonly variants: ReadonlyArray<Variant> }) => variants.includes(variant))

export const title = "Sessions on each server"

const about = (servers: ReadonlyArray<Contestant>) =>
  [
    "A name and a count of visits in 200 bytes of JSON, in a session that is read, or read and written, by each server in its",
    "own idiom. That it is kept, that a forged cookie is none, and the attributes of the cookie were checked before anything",
    "was timed. See [how to read it](../README.md).",
    "",
    ...servers.map(({ is, name, packages }) => `- ${name}: ${is} (${versions(packages)})`),
    "",
    `${aboutCores} Redis shares the load's.`
  ].join("\n")
