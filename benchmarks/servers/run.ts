import * as ChildProcess from "node:child_process"
import * as Path from "node:path"
import { check, checkLog, checkOrigins, checkRoundTrips, checkTokens, expectedOf, useUp } from "./check.js"
import { type Contestant, contestants, type Name } from "./contestants.js"
import {
  aboutCores,
  measure,
  open,
  type Outcome,
  type Plan,
  select,
  type Selection,
  versions,
  withServers
} from "./processes.js"
import * as Redis from "./redis.js"
import { chart, tables } from "./report.js"
import { bytesOf, type Case, cases, isLimited, needsRedis, type Variant } from "./work.js"

export const full: Plan = { rounds: 3, connections: 64, start: 20_000, warmUp: 8000, measuring: 800, rate: 1000 }
export const quick: Plan = { rounds: 1, connections: 64, start: 4000, warmUp: 1000, measuring: 250, rate: 1000 }

const python = ["python3", "/usr/bin/python3"]
  .find((python) =>
    ChildProcess.spawnSync(python, ["-c", "import starlette, uvicorn, uvloop, httptools, jwt"]).status === 0
  )
const starlette = Path.join(import.meta.dirname, "apps", "starlette.py")

/** Checks all, then measures all. */
export const run = async (
  folder: string,
  plan: Plan,
  selection: Selection,
  log: (line: string) => void
): Promise<Outcome> => {
  const servers = select("server", contestants, selection.servers)
    .filter(({ name }) => name !== "starlette" || python !== undefined)
  if (python === undefined) {
    log("Starlette is left out: apt-get install python3-starlette uvicorn python3-uvloop python3-httptools python3-jwt")
  }
  const limiting = servers.filter(({ name }) => name !== "starlette")
  // platform has no compression, and Koa's is a package that few have
  const compressing = servers.filter(({ name }) => name !== "effect" && name !== "koa")
  // a hit is compared with the handler that it saves
  const caching = servers.filter(({ name }) => name === "raw" || name === "ours")
  const doing = ({ name, variant }: Case) => {
    if (isLimited(variant)) return limiting
    if (variant === "compressed") return compressing
    return variant === "cached" || name === "slow" ? caching : servers
  }
  const asked = select("case", cases, selection.cases)
    .filter(({ variant }) => Redis.isInstalled || !needsRedis(variant))
    .map((one) => ({ ...one, servers: doing(one).map(({ name }) => name) }))
    .filter(({ servers }) => servers.length > 0)
  if (!Redis.isInstalled) log("What needs Redis is left out: apt-get install redis-server")
  if (limiting.length < servers.length && asked.some(({ variant }) => isLimited(variant))) {
    log("Starlette brings no limit, and is left out where there is one")
  }

  const script = Path.join(folder, "benchmarks", "servers", "serve.js")
  const redis = asked.some(({ variant }) => needsRedis(variant)) ? await Redis.start() : undefined
  const env = { REDIS_URL: redis?.url ?? "" }
  const start = (name: Name, variant: Variant, file?: string) =>
    name === "starlette"
      ? open(name, python!, [starlette, variant], { file })
      : open(name, process.execPath, [script, name, variant], { file, env })

  try {
    for (const [variant, names] of new Map(asked.map(({ servers, variant }) => [variant, servers]))) {
      const fileOf = (name: Name) => Path.join(folder, `${name}.log`)
      await withServers(names, (name) => start(name, variant, fileOf(name)), async (opened) => {
        for (const { name, port } of opened) {
          for (const one of cases) {
            if (one.variant !== variant) continue
            await useUp(name, one, port)
            await check(name, one, port)
            if (variant === "logged") await checkLog(name, one, port, fileOf(name))
            if (redis !== undefined && needsRedis(variant)) await checkRoundTrips(name, one, port, redis)
          }
          if (variant === "full") await checkOrigins(name, port)
          if (variant === "auth") await checkTokens(name, port)
        }
      })
      log(`${variant}: ${names.join(", ")} do the same work`)
    }

    const results = await measure({
      folder,
      plan,
      asked,
      open: start,
      job: async ({ name, port }, one) => {
        await useUp(name, one, port)
        return { requests: [bytesOf(one)], status: expectedOf(name, one).status }
      },
      log
    })
    return {
      about: about(servers),
      results: tables(asked, results, plan.rate),
      chart: chart(asked, results)
    }
  } finally {
    await redis?.stop()
  }
}

export const title = "The same application on each server"

const about = (servers: ReadonlyArray<Contestant>) =>
  [
    "Client identity, server timing, request id, trusted hosts, CORS, failures as problem details and a router, done by each",
    "server in its own idiom. Status, body and header names were checked to be the same before anything was timed. See",
    "[how to read it](../README.md). Starlette brings no limit, and is left out where there is one.",
    "",
    ...servers.map(({ is, name, packages }) => `- ${name}: ${is} (${versionsOf(name, packages)})`),
    "",
    `${aboutCores} Redis shares the load's.`
  ].join("\n")

const versionsOf = (name: string, packages: ReadonlyArray<string>): string => {
  if (name === "raw") return `Node ${process.version}, ${versions(packages)}`
  if (name !== "starlette") return versions(packages)
  return ChildProcess.execFileSync(python!, [starlette, "versions"], { encoding: "utf8" }).trim().replace(/\n/g, ", ")
}
