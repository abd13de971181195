import * as ChildProcess from "node:child_process"
import * as Path from "node:path"
import {
  begin,
  check,
  checkLog,
  checkOrigins,
  checkRoundTrips,
  checkSessions,
  checkTokens,
  countCommands,
  expectedOf,
  useUp
} from "./check.js"
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
import { chart, type Count, countTable, summary, tables } from "./report.js"
import { bytesOf, type Case, cases, groups, isLimited, isWhole, needsRedis, type Variant, withCookie } from "./work.js"

export { groups } from "./work.js"

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
  const usual = servers.filter(({ name }) => name !== "ours-platform" && name !== "floor")
  const limiting = usual.filter(({ name }) => name !== "starlette")
  // platform has no compression, and Koa's is a package that few have
  const compressing = usual.filter(({ name }) => name !== "effect" && name !== "koa")
  // a hit is compared with the handler that it saves
  const caching = usual.filter(({ name }) => name === "raw" || name === "ours")
  const doing = ({ name, variant }: Case) => {
    // where none of the work is a handler's, the floor is what is done by hand
    const doing = ["bare", "whole", "whole-20k"].includes(name)
      ? servers
      : servers.filter(({ name }) => name !== "floor")
    // Starlette would need a client of Redis that Debian does not have
    if (isWhole(variant)) return doing.filter(({ name }) => name !== "starlette" || !needsRedis(variant))
    if (variant === "bare") return doing
    if (isLimited(variant)) return limiting
    if (variant === "compressed") return compressing
    return variant === "cached" || name === "slow" ? caching : usual
  }
  const names = selection.cases?.flatMap((name) => groups[name] ?? name)
  const asked = select("case", cases, names)
    .filter(({ variant }) => Redis.isInstalled || !needsRedis(variant))
    .map((one) => ({ ...one, servers: doing(one).map(({ name }) => name) }))
    .filter(({ servers }) => servers.length > 0)
  if (!Redis.isInstalled) log("What needs Redis is left out: apt-get install redis-server")
  if (limiting.length < servers.length && asked.some(({ variant }) => isLimited(variant) && !isWhole(variant))) {
    log("Starlette brings no limit, and is left out where there is one")
  }

  const script = Path.join(folder, "benchmarks", "servers", "serve.js")
  const redis = asked.some(({ variant }) => needsRedis(variant)) ? await Redis.start() : undefined
  const env = { REDIS_URL: redis?.url ?? "" }
  const start = (name: Name, variant: Variant, file?: string) =>
    name === "starlette"
      ? open(name, python!, [starlette, variant], { file })
      : open(name, process.execPath, [script, name, variant], { file, env })

  const counts: Array<Count> = []
  try {
    for (const variant of new Set(asked.map(({ variant }) => variant))) {
      const names = [...new Set(asked.flatMap((one) => one.variant === variant ? one.servers : []))]
      const fileOf = (name: Name) => Path.join(folder, `${name}.log`)
      await withServers(names, (name) => start(name, variant, fileOf(name)), async (opened) => {
        for (const { name, port } of opened) {
          for (const one of cases) {
            if (one.variant !== variant || !doing(one).some((server) => server.name === name)) continue
            await useUp(name, one, port)
            await check(name, one, port)
            if (variant === "logged") await checkLog(name, one, port, fileOf(name))
            if (one.name === "full" || one.name === "whole") await checkOrigins(name, one, port)
            if (one.name === "401" || one.name === "whole-401") await checkTokens(name, one, port)
            if (one.name === "whole" || one.name === "whole-redis") await checkSessions(name, one, port)
            if (redis === undefined || !needsRedis(variant)) continue
            if (isWhole(variant)) counts.push({ one: one.name, name, ...await countCommands(name, one, port, redis) })
            else await checkRoundTrips(name, one, port, redis)
          }
        }
      })
      log(`${variant}: ${names.join(", ")} do the same work`)
    }

    const { rates, results } = await measure({
      folder,
      plan,
      pace: { of: "fastify", share: 0.5 },
      asked,
      open: start,
      job: async ({ name, port }, one) => {
        await useUp(name, one, port)
        const { status } = expectedOf(name, one)
        if (one.hasSession !== true) return [{ text: bytesOf(one), status }]
        // one for each connection, so that nobody waits for the turn of another
        const cookies = Array.from({ length: plan.connections }, () => begin(name, one, port))
        return (await Promise.all(cookies)).map((cookie) => ({ text: bytesOf(withCookie(one, cookie)), status }))
      },
      log
    })
    return {
      about: about(servers),
      results: [
        ...summary("ours", asked, results, rates),
        ...summary("ours-platform", asked, results, rates),
        ...countTable(counts),
        tables(asked, results, rates)
      ].join("\n\n"),
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
    "server in its own idiom; and the whole stack, with security headers, gzip, a limit, a session and a token beside. Status,",
    "body and header fields were checked to be the same before anything was timed. See [how to read it](../README.md).",
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
