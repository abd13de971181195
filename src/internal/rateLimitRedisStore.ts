/** What was spent, in Redis: a decision is one script about one key, whose text depends on the kinds of limits alone. */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import type { Ban, Bucket, Decision, Limit, Limits, RateLimitUnavailable, Service } from "../RateLimitStore.js"
import * as Redis from "../Redis.js"
import * as limits from "./limits.js"

// The value is the state of `limits.ts`: three numbers for each limit. A log has a list beside it, of "time:cost", the oldest
// first. What is read is settled in variables (a1, b1, c1, a2, ...). Who is refused writes them only if that has changed them.

interface Kind {
  /** What it is told, in order. */
  readonly parameters: ReadonlyArray<string>
  /** Changes nothing unless something has lapsed, or a clock was set back; zeros are the state of what was never seen. */
  readonly settle: string
  /** An expression. */
  readonly fits: string
  readonly spend: string
  readonly refund: string
  /** An expression: how long until the state is that of a key which was never seen. */
  readonly lapse: string
}

const kinds: { readonly [Tag in (Limit | Ban)["_tag"]]: Kind } = {
  FixedWindow: {
    parameters: ["limit", "window"],
    settle: "if b == 0 or now >= a + window then a, b = 0, 0 elseif a > now then a = now end",
    fits: "b + cost <= limit",
    spend: "if b == 0 then a = now end\nb = b + cost",
    refund: "if since >= a then b = math.max(0, b - cost) end",
    lapse: "b > 0 and a + window - now or 0"
  },
  Quota: {
    parameters: ["limit", "before", "start", "finish", "after"],
    // by the time of the server it may be the period before or after that of the one who asks
    settle:
      `if now >= finish then start, finish = finish, after elseif now < start then start, finish = before, start end
if b == 0 or start > a then a, b = 0, 0 elseif a > finish then a = start end`,
    fits: "b + cost <= limit",
    spend: "if b == 0 then a = start end\nb = b + cost",
    refund: "if since >= a then b = math.max(0, b - cost) end",
    lapse: "b > 0 and finish - now or 0"
  },
  SlidingWindowCounter: {
    parameters: ["limit", "window"],
    settle: `local start = now - now % window
if start > a then
  if start - a == window then c = b else c = 0 end
  b = 0
end
if b == 0 and c == 0 then a = 0 elseif start ~= a - window then a = start end`,
    fits: "c * (window - now + a) + (b + cost) * window <= limit * window",
    spend: "if b == 0 and c == 0 then a = start end\nb = b + cost",
    refund:
      "if since >= a then b = math.max(0, b - cost) elseif since >= a - window then c = math.max(0, c - cost) end",
    lapse: "b > 0 and a + 2 * window - now or c > 0 and a + window - now or 0"
  },
  SlidingWindowLog: {
    parameters: ["limit", "window"],
    settle: "b, c = log.settle(a, b, window)\nif b == 0 then a = 0 elseif a > now then a = now end",
    fits: "b + cost <= limit",
    spend: "log.add()\na, b = now, b + cost",
    refund: "b = b - log.take()",
    lapse: "b > 0 and a + window - now or 0"
  },
  TokenBucket: {
    parameters: ["limit", "every", "refill"],
    settle: `local missing = b - math.max(0, now - a) * refill
if missing <= 0 then missing, a, b = 0, 0, 0 elseif a > now then a = now end`,
    fits: "missing + cost * every <= limit * every",
    spend: "a, b = now, missing + cost * every",
    refund: "a, b = now, math.max(0, missing - math.max(0, cost * every - math.max(0, now - since) * refill))",
    lapse: "b > 0 and math.ceil((b - (now - a) * refill) / refill) or 0"
  },
  Gcra: {
    parameters: ["burst", "interval"],
    settle: "if a <= now * 1000 then a = 0 else a = math.min(a, now * 1000 + burst * interval) end",
    fits: "math.max(0, a - now * 1000) + cost * interval <= burst * interval",
    spend: "a = math.max(a, now * 1000) + cost * interval",
    refund: `a = a - math.max(0, cost * interval - math.max(0, now - since) * 1000)
if a <= now * 1000 then a = 0 end`,
    lapse: "math.ceil(a / 1000 - now)"
  },
  BackOff: {
    parameters: ["limit", "window", "count"],
    settle: `local delays = p
p = p + count
if now >= c + window then a, b, c = 0, 0, 0 elseif c > now then a, c = math.max(0, a - c + now), now end`,
    fits: "a <= now",
    spend: `b, c = b + cost, now
if b >= limit then a = now + tonumber(ARGV[delays + 1 + math.min(b - limit, count - 1)]) end`,
    refund: "a, b, c = 0, 0, 0",
    lapse: "b > 0 and c + window - now or 0"
  },
  Ban: {
    parameters: ["limit", "window", "duration"],
    settle: `if a <= now then a = 0 else a = math.min(a, now + duration) end
if b == 0 or now >= c + window then b, c = 0, 0 elseif c > now then c = now end`,
    fits: "a <= now",
    spend: `b = b + 1
if b == 1 then c = now end
if b >= limit then a, b, c = now + duration, 0, 0 end`,
    refund: "",
    lapse: "math.max(a - now, b > 0 and c + window - now or 0)"
  }
}

const argumentsOf = (limit: Limit | Ban, now: number): ReadonlyArray<number> => {
  switch (limit._tag) {
    case "FixedWindow":
    case "SlidingWindowCounter":
    case "SlidingWindowLog":
      return [limit.limit, limit.window]
    case "Quota": {
      const { after, last, next, start } = limits.periodsOf(limit, now)
      return [limit.limit, last, start, next, after]
    }
    case "TokenBucket":
      return [limit.limit, limit.every, limit.refill]
    case "Gcra":
      return [limit.burst, limit.interval]
    case "BackOff":
      return [limit.limit, limit.window, limit.delays.length, ...limit.delays]
    case "Ban":
      return [limit.limit, limit.window, limit.duration]
  }
}

// --- the script ------------------------------------------------------------------------------------------------------

const cells = ["a", "b", "c"]

/** The names of a kind are those of one limit: `a` is `a2`, `window` is `window2`. */
const numbered = (code: string, { parameters }: Kind, i: number): string =>
  [...parameters, "a", "b", "c", "start", "missing", "delays", "log"].reduce(
    (code, name) => code.replace(new RegExp(`(?<![\\w.])${name}\\b`, "g"), `${name}${i}`),
    code
  )

/** A list in which nothing is changed before it is said to be. Entries that a clock left in the future count as of now. */
const logs = `
local function logOf(key, known)
  local head, tail, moved = 0, 0, 0
  local log = {}
  local function entry(i)
    local text = redis.call("LINDEX", key, i)
    if not text then return end
    local t, n = string.match(text, "^(%d+):(%d+)$")
    return tonumber(t), tonumber(n)
  end
  function log.settle(last, total, window)
    if not known then return 0, 0 end
    if last > now then
      local t, n = entry(-1)
      while t and t >= now do
        moved, tail = moved + n, tail + 1
        t, n = entry(-1 - tail)
      end
    end
    local t, n = entry(head)
    if not t then total = 0 end
    while t and t <= now - window do
      total, head = total - n, head + 1
      t, n = entry(head)
    end
    return total, 0
  end
  -- what has to lapse before the cost fits
  function log.first(over)
    local found, i = {}, head
    while over > 0 do
      local t, n = entry(i)
      if not t then break end
      found[#found + 1], found[#found + 2] = math.min(t, now), n
      over, i = over - n, i + 1
    end
    return found
  end
  function log.commit()
    if not known then redis.call("DEL", key) end
    if head > 0 or tail > 0 then redis.call("LTRIM", key, head, -1 - tail) end
    if moved > 0 then redis.call("RPUSH", key, string.format("%.0f:%.0f", now, moved)) end
    head, tail, moved, known = 0, 0, 0, true
  end
  function log.add()
    log.commit()
    local t, n = entry(-1)
    if t == now then redis.call("LSET", key, -1, string.format("%.0f:%.0f", now, n + cost))
    else redis.call("RPUSH", key, string.format("%.0f:%.0f", now, cost)) end
  end
  function log.take()
    log.commit()
    local i = -1
    local t, n = entry(i)
    while t and t > since do
      i = i - 1
      t, n = entry(i)
    end
    if t ~= since then return 0 end
    local given = math.min(cost, n)
    if given < n then redis.call("LSET", key, i, string.format("%.0f:%.0f", t, n - given))
    else
      redis.call("LSET", key, i, "gone")
      redis.call("LREM", key, 1, "gone")
    end
    return given
  end
  function log.expire(ttl)
    if ttl then redis.call("PEXPIRE", key, ttl) else redis.call("DEL", key) end
  end
  return log
end
`

const scriptOf = (all: ReadonlyArray<Limit | Ban>): Redis.Script => {
  const parts = all.map(({ _tag }, index) => {
    const kind = kinds[_tag]
    const i = index + 1
    const of = (code: string) => numbered(code, kind, i)
    return { _tag, i, of, kind, isLog: _tag === "SlidingWindowLog", isBan: _tag === "Ban" }
  })
  const limited = parts.filter(({ isBan }) => !isBan)
  const logged = parts.filter(({ isLog }) => isLog)
  const ban = parts.find(({ isBan }) => isBan)
  const lines = (code: ReadonlyArray<string>) => code.join("\n")
  const size = all.length * limits.width
  return Redis.script(`
local mode, cost, since = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = tonumber(ARGV[4])
if not now then
  local time = redis.call("TIME")
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local p = 4
local function parameter()
  p = p + 1
  return tonumber(ARGV[p])
end
local s = {}
for number in string.gmatch(redis.call("GET", KEYS[1]) or "", "%d+") do s[#s + 1] = tonumber(number) end
local known = #s == ${size}
if not known then
  if mode == "refund" then return 0 end
  for i = 1, ${size} do s[i] = 0 end
end
${logged.length === 0 ? "" : logs}
${
    lines(parts.map(({ i, isLog, kind, of }, index) =>
      lines([
        `local a${i}, b${i}, c${i} = s[${index * 3 + 1}], s[${index * 3 + 2}], s[${index * 3 + 3}]`,
        ...kind.parameters.map((name) => `local ${name}${i} = parameter()`),
        ...(isLog ? [`local log${i} = logOf(KEYS[${logged.findIndex((part) => part.i === i) + 2}], known)`] : []),
        of(kind.settle)
      ])
    ))
  }
local changed = ${
    parts.map(({ i }, index) => cells.map((cell, j) => `${cell}${i} ~= s[${index * 3 + j + 1}]`).join(" or ")).join(
      " or "
    )
  }
local keeps = false
local fits, allowed
if mode == "refund" then
  ${lines(limited.map(({ kind, of }) => of(kind.refund)))}
  keeps = true
else
  fits = ${limited.map(({ kind, of }) => `(${of(kind.fits)})`).join(" and ")}
  allowed = fits${ban === undefined ? "" : ` and ${ban.of(ban.kind.fits)}`}
end
if mode == "consume" then
  keeps = changed
  if allowed and cost > 0 then
    ${lines(limited.map(({ kind, of }) => of(kind.spend)))}
    keeps = true
  ${
    ban === undefined ? "" : `elseif not fits and ${ban.of(ban.kind.fits)} then
    ${ban.of(ban.kind.spend)}
    keeps = true
  `
  }end
end
if keeps then
  local lapse = math.max(0, ${parts.map(({ kind, of }) => `(${of(kind.lapse)})`).join(", ")})
  ${lines(logged.map(({ i }) => `log${i}.commit()`))}
  if lapse <= 0 then
    redis.call("DEL", KEYS[1])
    ${lines(logged.map(({ i }) => `log${i}.expire()`))}
  else
    -- a time that is given passes at another pace than that of the server
    if ARGV[4] ~= "" then lapse = math.max(lapse, 60000) end
    local ttl = string.format("%.0f", lapse)
    redis.call("SET", KEYS[1], string.format("${Array(size).fill("%.0f").join(" ")}", ${
    parts.map(({ i }) => `a${i}, b${i}, c${i}`).join(", ")
  }), "PX", ttl)
    ${lines(logged.map(({ i }) => `log${i}.expire(ttl)`))}
  end
end
if mode == "refund" then return 0 end
return { allowed and 1 or 0, now, ${parts.map(({ i }) => `a${i}, b${i}, c${i}`).join(", ")}${
    logged.map(({ i }) => `, (allowed or cost > limit${i}) and {} or log${i}.first(b${i} + cost - limit${i})`).join("")
  } }
`)
}

/** As many as there are combinations of kinds in a program. */
const scripts = new Map<string, Redis.Script>()

// --- the store -------------------------------------------------------------------------------------------------------

export const fromRedis = (
  redis: Redis.Service,
  prefix: string,
  unavailable: (operation: string) => (cause: unknown) => RateLimitUnavailable
): Service => {
  /** Of the state, and of each log. */
  const keysOf = (bucket: Bucket, { logs }: Plan): NonEmptyReadonlyArray<string> => {
    const key = `${prefix}{${limits.nameOf(bucket)}}`
    return logs.length === 0 ? [key] : [key, ...logs.map((i) => `${key}:${i}`)]
  }
  const run = <A>(
    operation: "consume" | "peek" | "refund",
    bucket: Bucket,
    { cost, now, since }: { readonly cost: number; readonly now?: number | undefined; readonly since?: number },
    decode: (reply: unknown, plan: Plan) => A
  ): Effect.Effect<A, RateLimitUnavailable> => {
    const plan = planOf(bucket.limits)
    const asked = [operation, `${cost}`, since === undefined ? "" : `${since}`, now === undefined ? "" : `${now}`]
    const ask = (numbers: ReadonlyArray<string>) =>
      Effect.matchEffect(redis.eval(plan.script, keysOf(bucket, plan), asked.concat(numbers)), {
        onFailure: (error) => Effect.fail(unavailable(operation)(error)),
        onSuccess: (reply) => {
          try {
            return Effect.succeed(decode(reply, plan))
          } catch (error) {
            return Effect.fail(unavailable(operation)(error))
          }
        }
      })
    // the periods of the calendar are those of here, until the server says what time it is
    return now === undefined && plan.calendar
      ? Effect.clockWith((clock) => ask(plan.numbers(clock.unsafeCurrentTimeMillis())))
      : ask(plan.numbers(now ?? 0))
  }
  const decide = (operation: "consume" | "peek"): Service["consume"] => (bucket, options) =>
    run(operation, bucket, options, (reply, plan) => decisionOf(plan, options.cost, reply))
  return {
    consume: decide("consume"),
    peek: decide("peek"),
    refund: (bucket, options) => run("refund", bucket, options, () => undefined),
    reset: (bucket) => {
      const keys = keysOf(bucket, planOf(bucket.limits))
      return Effect.asVoid(Effect.mapError(redis.send(keys[0], ["DEL", ...keys]), unavailable("reset")))
    }
  }
}

interface Plan {
  readonly compiled: limits.Compiled
  /** The places of logs, whose lists have keys of their own. */
  readonly logs: ReadonlyArray<number>
  readonly script: Redis.Script
  /** Whether what the script is told of the limits depends on the time. */
  readonly calendar: boolean
  readonly numbers: (now: number) => ReadonlyArray<string>
}

const plans = new WeakMap<Limits, Plan>()

const planOf = (of: Limits): Plan => {
  const made = plans.get(of)
  if (made !== undefined) return made
  const all = limits.everyOf(of)
  const kindsOf = all.map(({ _tag }) => _tag).join()
  const script = scripts.get(kindsOf) ?? scriptOf(all)
  scripts.set(kindsOf, script)
  const numbers = (now: number) => all.flatMap((limit) => argumentsOf(limit, now).map(String))
  const calendar = all.some(({ _tag }) => _tag === "Quota")
  const always = calendar ? [] : numbers(0)
  const plan: Plan = {
    compiled: limits.compile(of),
    logs: all.flatMap(({ _tag }, i) => _tag === "SlidingWindowLog" ? [i] : []),
    script,
    calendar,
    numbers: calendar ? numbers : () => always
  }
  plans.set(of, plan)
  return plan
}

const decisionOf = (plan: Plan, cost: number, reply: unknown): Decision => {
  const { compiled, logs } = plan
  if (!Array.isArray(reply) || reply.length < 2 + compiled.stride + logs.length) throw malformed()
  const replies: ReadonlyArray<unknown> = reply
  const cells = new Float64Array(compiled.stride)
  for (let i = 0; i < compiled.stride; i++) cells[i] = toNumber(replies[2 + i])
  const found = new Map<number, Array<number>>()
  logs.forEach((place, i) => {
    const log = replies[2 + compiled.stride + i]
    if (!Array.isArray(log)) throw malformed()
    if (log.length > 0) found.set(place * limits.width, log.map(toNumber))
  })
  return limits.decided(
    compiled,
    { cells, logs: found },
    0,
    toNumber(replies[1]),
    cost,
    toNumber(replies[0]) === 1
  )
}

const toNumber = (reply: unknown): number => {
  if (typeof reply === "number" && Number.isSafeInteger(reply)) return reply
  throw malformed()
}

const malformed = () => new TypeError("Redis has at this key what no rate limit store has written")
