/**
 * The steps of every algorithm, on the state of one key: what has lapsed, whether a cost fits, what it leaves.
 *
 * A state is three whole numbers, `a`, `b` and `c`, at a place in an array of numbers; zeros are the state of a key that has
 * never been seen. Times are whole milliseconds. Where a clock was set back, what was spent counts as of now: nobody waits for
 * long, and nobody is given more for it. The other drivers have the same steps in their own languages, and the contract suite
 * holds them to these.
 *
 * | limit                | a                             | b                         | c                  |
 * |----------------------|-------------------------------|---------------------------|--------------------|
 * | FixedWindow          | when the window began         | spent in it               |                    |
 * | Quota                | when the period began         | spent in it               |                    |
 * | SlidingWindowCounter | when the window began         | spent in it               | spent in the last  |
 * | SlidingWindowLog     | when it was last spent        | spent within a window     | (a driver's own)   |
 * | TokenBucket          | as of when                    | what is to be refilled    |                    |
 * | Gcra                 | the theoretical arrival, in µs |                          |                    |
 * | BackOff              | until when nobody may try     | failures in a row         | the last of them   |
 * | Ban                  | until when it lasts           | refusals                  | the first of them  |
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import { createHash } from "node:crypto"
import type { Ban, Bucket, Decision, Limit, Limits, Quota, Standing } from "../RateLimitStore.js"

export interface Slots {
  cells: Float64Array
  /** Of the places that hold a log: times and costs in turn, the oldest first. */
  readonly logs: Map<number, Array<number>>
}

export interface Step {
  /** Takes out what has lapsed. Comes before each of the others. */
  readonly settle: (slots: Slots, at: number, now: number) => void
  /** How long until the cost fits: 0 if it does, `Infinity` if it never will. */
  readonly wait: (slots: Slots, at: number, now: number, cost: number) => number
  readonly spend: (slots: Slots, at: number, now: number, cost: number) => void
  /** Gives back what was spent at `since`, as far as it still counts. */
  readonly refund: (slots: Slots, at: number, now: number, cost: number, since: number) => void
  /** What would fit now. */
  readonly remaining: (slots: Slots, at: number, now: number) => number
  /** How long until all of it is there again, if nobody comes. */
  readonly reset: (slots: Slots, at: number, now: number) => number
}

/** How many numbers a state has. */
export const width = 3

export const stepOf = (limit: Limit | Ban): Step => {
  switch (limit._tag) {
    case "FixedWindow":
      return fixedWindow(limit.limit, limit.window)
    case "Quota":
      return quota(limit)
    case "SlidingWindowCounter":
      return slidingWindowCounter(limit.limit, limit.window)
    case "SlidingWindowLog":
      return slidingWindowLog(limit.limit, limit.window)
    case "TokenBucket":
      return tokenBucket(limit)
    case "Gcra":
      return gcra(limit)
    case "BackOff":
      return backOff(limit)
    case "Ban":
      return ban(limit)
  }
}

type Of<Tag> = Extract<Limit | Ban, { readonly _tag: Tag }>

const atLeast0 = (number: number): number => number < 0 ? 0 : number

const fixedWindow = (limit: number, window: number): Step => ({
  settle: ({ cells }, at, now) => {
    const start = cells[at]!
    // one in which nothing is spent has not begun
    if (now >= start + window || cells[at + 1] === 0) {
      cells[at] = now
      cells[at + 1] = 0
    } else if (start > now) cells[at] = now
  },
  wait: ({ cells }, at, now, cost) => {
    if (cells[at + 1]! + cost <= limit) return 0
    return cost > limit ? Infinity : cells[at]! + window - now
  },
  spend: ({ cells }, at, _, cost) => {
    cells[at + 1] = cells[at + 1]! + cost
  },
  refund: ({ cells }, at, _, cost, since) => {
    if (since >= cells[at]!) cells[at + 1] = atLeast0(cells[at + 1]! - cost)
  },
  remaining: ({ cells }, at) => atLeast0(limit - cells[at + 1]!),
  reset: ({ cells }, at, now) => cells[at + 1]! > 0 ? cells[at]! + window - now : 0
})

const quota = ({ limit, periodOf }: Of<"Quota">): Step => {
  let period = periodOf(0)
  const current = (now: number) => now >= period.start && now < period.end ? period : period = periodOf(now)
  const counted = fixedWindow(limit, 0)
  return {
    ...counted,
    settle: ({ cells }, at, now) => {
      const { end, start } = current(now)
      if (start > cells[at]! || cells[at + 1] === 0) {
        cells[at] = start
        cells[at + 1] = 0
        // what was spent in the next period, before a clock was set back, stays spent in it
      } else if (cells[at]! > end) cells[at] = start
    },
    wait: ({ cells }, at, now, cost) => {
      if (cells[at + 1]! + cost <= limit) return 0
      return cost > limit ? Infinity : current(now).end - now
    },
    reset: ({ cells }, at, now) => cells[at + 1]! > 0 ? current(now).end - now : 0
  }
}

const slidingWindowCounter = (limit: number, window: number): Step => {
  /** How far into its window a time is: before its begin where a clock was set back, and then the last one counts for more. */
  const into = (cells: Float64Array, at: number, now: number) => now - cells[at]!
  return {
    settle: ({ cells }, at, now) => {
      const start = now - now % window
      const passed = start - cells[at]!
      const isUnspent = cells[at + 1] === 0 && cells[at + 2] === 0
      if (passed === 0 || passed === -window && !isUnspent) return
      cells[at] = start
      if (passed < 0) return
      cells[at + 2] = passed === window ? cells[at + 1]! : 0
      cells[at + 1] = 0
    },
    wait: ({ cells }, at, now, cost) => {
      if (cost > limit) return Infinity
      const [spent, before, passed] = [cells[at + 1]!, cells[at + 2]!, into(cells, at, now)]
      if (before * (window - passed) + (spent + cost) * window <= limit * window) return 0
      // as much of the window that counts as the rest leaves room for
      if (spent + cost <= limit) return window - Math.floor((limit - cost - spent) * window / before) - passed
      return window - passed + window - Math.floor((limit - cost) * window / spent)
    },
    spend: ({ cells }, at, _, cost) => {
      cells[at + 1] = cells[at + 1]! + cost
    },
    refund: ({ cells }, at, _, cost, since) => {
      const start = cells[at]!
      const cell = since >= start ? at + 1 : at + 2
      if (since >= start - window) cells[cell] = atLeast0(cells[cell]! - cost)
    },
    remaining: ({ cells }, at, now) =>
      atLeast0(
        Math.floor((limit * window - cells[at + 2]! * (window - into(cells, at, now))) / window) - cells[at + 1]!
      ),
    reset: ({ cells }, at, now) => {
      const left = window - into(cells, at, now)
      if (cells[at + 1]! > 0) return left + window
      return cells[at + 2]! > 0 ? left : 0
    }
  }
}

const slidingWindowLog = (limit: number, window: number): Step => ({
  settle: ({ cells, logs }, at, now) => {
    const log = logs.get(at)
    if (log === undefined) return
    let head = cells[at + 2]!
    if (cells[at]! > now) {
      let cost = 0
      for (; log.length > head && log[log.length - 2]! >= now; log.length -= 2) cost += log[log.length - 1]!
      if (cost > 0) log.push(now, cost)
      cells[at] = now
    }
    for (; head < log.length && log[head]! <= now - window; head += 2) cells[at + 1] = cells[at + 1]! - log[head + 1]!
    // each entry is moved once at most, however long the log
    if (head > log.length / 2) {
      log.splice(0, head)
      head = 0
    }
    cells[at + 2] = head
  },
  wait: ({ cells, logs }, at, now, cost) => {
    if (cells[at + 1]! + cost <= limit) return 0
    if (cost > limit) return Infinity
    const log = logs.get(at)!
    let over = cells[at + 1]! + cost - limit
    let i = cells[at + 2]!
    for (; over > log[i + 1]!; i += 2) over -= log[i + 1]!
    return log[i]! + window - now
  },
  spend: ({ cells, logs }, at, now, cost) => {
    const log = logs.get(at) ?? []
    cells[at] = now
    cells[at + 1] = cells[at + 1]! + cost
    if (log.length > 0 && log[log.length - 2] === now) log[log.length - 1]! += cost
    else log.push(now, cost)
    logs.set(at, log)
  },
  refund: ({ cells, logs }, at, _, cost, since) => {
    const log = logs.get(at) ?? []
    let i = log.length - 2
    while (i >= cells[at + 2]! && log[i]! > since) i -= 2
    if (i < cells[at + 2]! || log[i] !== since) return
    const given = Math.min(cost, log[i + 1]!)
    cells[at + 1] = cells[at + 1]! - given
    log[i + 1]! -= given
    // or what is always given back would be remembered for nothing
    if (log[i + 1] === 0) log.splice(i, 2)
  },
  remaining: ({ cells }, at) => atLeast0(limit - cells[at + 1]!),
  reset: ({ cells }, at, now) => cells[at + 1]! > 0 ? cells[at]! + window - now : 0
})

const tokenBucket = ({ every, limit, refill }: Of<"TokenBucket">): Step => {
  // counted in parts of a token, of which `refill` come in a millisecond
  const full = limit * every
  /** What is to be refilled by now. */
  const missing = (cells: Float64Array, at: number, now: number) => cells[at + 1]! - (now - cells[at]!) * refill
  return {
    // what was refilled is taken off when there is something to write, so that to be refused leaves nothing
    settle: ({ cells }, at, now) => {
      if (missing(cells, at, now) <= 0) {
        cells[at] = now
        cells[at + 1] = 0
      } else if (cells[at]! > now) cells[at] = now
    },
    wait: ({ cells }, at, now, cost) => {
      const over = missing(cells, at, now) + cost * every - full
      if (over <= 0) return 0
      return cost > limit ? Infinity : Math.ceil(over / refill)
    },
    spend: ({ cells }, at, now, cost) => {
      cells[at + 1] = missing(cells, at, now) + cost * every
      cells[at] = now
    },
    // what has been refilled since may have been that of others, and is not given twice
    refund: ({ cells }, at, now, cost, since) => {
      cells[at + 1] = atLeast0(missing(cells, at, now) - atLeast0(cost * every - atLeast0(now - since) * refill))
      cells[at] = now
    },
    remaining: ({ cells }, at, now) => atLeast0(Math.floor((full - missing(cells, at, now)) / every)),
    reset: ({ cells }, at, now) => Math.ceil(missing(cells, at, now) / refill)
  }
}

/** As in the Generic Cell Rate Algorithm (ITU-T I.371), in its form of virtual scheduling. */
const gcra = ({ burst, interval }: Of<"Gcra">): Step => {
  const tolerance = burst * interval
  /** How far ahead of the time it is, in microseconds. */
  const ahead = (cells: Float64Array, at: number, now: number) => atLeast0(cells[at]! - now * 1000)
  return {
    settle: ({ cells }, at, now) => {
      const tat = cells[at]!
      const time = now * 1000
      // whose time has come owes nothing, also where a clock is set back
      if (tat <= time) cells[at] = 0
      else if (tat > time + tolerance) cells[at] = time + tolerance
    },
    wait: ({ cells }, at, now, cost) => {
      const over = ahead(cells, at, now) + cost * interval - tolerance
      if (over <= 0) return 0
      return cost > burst ? Infinity : Math.ceil(over / 1000)
    },
    spend: ({ cells }, at, now, cost) => {
      cells[at] = Math.max(cells[at]!, now * 1000) + cost * interval
    },
    refund: ({ cells }, at, now, cost, since) => {
      const tat = cells[at]! - atLeast0(cost * interval - atLeast0(now - since) * 1000)
      cells[at] = tat <= now * 1000 ? 0 : tat
    },
    remaining: ({ cells }, at, now) => Math.floor((tolerance - ahead(cells, at, now)) / interval),
    reset: ({ cells }, at, now) => Math.ceil(ahead(cells, at, now) / 1000)
  }
}

const backOff = ({ delays, limit, window }: Of<"BackOff">): Step => ({
  settle: ({ cells }, at, now) => {
    const last = cells[at + 2]!
    if (now >= last + window) cells[at] = cells[at + 1] = cells[at + 2] = 0
    else if (last > now) {
      cells[at] = atLeast0(cells[at]! - last + now)
      cells[at + 2] = now
    }
  },
  wait: ({ cells }, at, now) => atLeast0(cells[at]! - now),
  spend: ({ cells }, at, now, cost) => {
    const failures = cells[at + 1]! + cost
    cells[at + 1] = failures
    cells[at + 2] = now
    if (failures >= limit) cells[at] = now + delays[Math.min(failures - limit, delays.length - 1)]!
  },
  // it has not failed, so it was not one in a row
  refund: ({ cells }, at) => {
    cells[at] = cells[at + 1] = cells[at + 2] = 0
  },
  remaining: ({ cells }, at, now) => cells[at]! > now ? 0 : Math.max(1, limit - cells[at + 1]!),
  reset: ({ cells }, at, now) => cells[at + 1]! > 0 ? cells[at + 2]! + window - now : 0
})

/** Its cost is a refusal by the others. */
const ban = ({ duration, limit, window }: Of<"Ban">): Step => ({
  settle: ({ cells }, at, now) => {
    const [until, first] = [cells[at]!, cells[at + 2]!]
    if (until <= now) cells[at] = 0
    else if (until > now + duration) cells[at] = now + duration
    if (now >= first + window) cells[at + 1] = 0
    else if (first > now) cells[at + 2] = now
  },
  wait: ({ cells }, at, now) => atLeast0(cells[at]! - now),
  spend: ({ cells }, at, now) => {
    const refusals = cells[at + 1]! + 1
    if (refusals === 1) cells[at + 2] = now
    cells[at + 1] = refusals % limit
    if (refusals >= limit) cells[at] = now + duration
  },
  refund: () => {},
  remaining: () => Infinity,
  reset: ({ cells }, at, now) => Math.max(cells[at]! - now, cells[at + 1]! > 0 ? cells[at + 2]! + window - now : 0, 0)
})

// ---------------------------------------------------------------------------------------------------------------------
// all of a key
// ---------------------------------------------------------------------------------------------------------------------

/** The limits, and the ban where there is one: the order of a row. */
export const everyOf = ({ all, ban }: Limits): NonEmptyReadonlyArray<Limit | Ban> =>
  ban === undefined ? all : [...all, ban]

/** The period that a time is in, and those beside it: the clock of an engine may be in one of them already, or still. */
export interface Periods {
  readonly last: number
  readonly start: number
  readonly next: number
  readonly after: number
}

const periods = new WeakMap<Quota, Periods>()

/** Asked of the calendar once in a period, which takes longer than a decision. */
export const periodsOf = (quota: Quota, now: number): Periods => {
  const known = periods.get(quota)
  if (known !== undefined && now >= known.start && now < known.next) return known
  const { end, start } = quota.periodOf(now)
  const made = { last: quota.periodOf(start - 1).start, start, next: end, after: quota.periodOf(end).end }
  periods.set(quota, made)
  return made
}

/** What a store needs to know of limits. */
export interface Compiled {
  /** The limits, and the ban where there is one: in this order, each with its place in a row. */
  readonly steps: ReadonlyArray<Step>
  readonly ban: Step | undefined
  /** How many numbers a row has. */
  readonly stride: number
  /** What limits must have alike to be limits of the same spending. */
  readonly shape: string
}

const compiled = new WeakMap<Limits, Compiled>()

export const compile = (limits: Limits): Compiled => {
  const known = compiled.get(limits)
  if (known !== undefined) return known
  const { all, ban } = limits
  const every = everyOf(limits)
  const made: Compiled = {
    steps: all.map(stepOf),
    ban: ban && stepOf(ban),
    stride: every.length * width,
    shape: every.map(shapeOf).join(",")
  }
  compiled.set(limits, made)
  return made
}

/** A state means the same for two limits of one shape. */
const shapeOf = (limit: Limit | Ban): string => {
  switch (limit._tag) {
    case "Gcra":
    case "BackOff":
    case "Ban":
      return `${letters[limit._tag]}-${limit.name}`
    case "TokenBucket":
      return `${letters[limit._tag]}${limit.every}-${limit.name}`
    default:
      return `${letters[limit._tag]}${limit.window}-${limit.name}`
  }
}
const letters: { readonly [Tag in (Limit | Ban)["_tag"]]: string } = {
  FixedWindow: "f",
  SlidingWindowLog: "l",
  SlidingWindowCounter: "c",
  TokenBucket: "t",
  Gcra: "g",
  Quota: "q",
  BackOff: "b",
  Ban: "x"
}

/** What a driver calls a bucket: short, of characters that every engine takes, and never that of another. */
export const nameOf = ({ key, limiter, limits }: Bucket): string => {
  const { shape } = compile(limits)
  if (plainName.test(limiter) && plainKey.test(key)) return `${limiter}:${shape}:${key}`
  const all = JSON.stringify([limiter, shape, key])
  return `#${createHash("sha256").update(all).digest("base64url")}`
}
// neither a limiter nor a shape has the colon that parts them
const plainName = /^[\w.-]{1,64}$/
const plainKey = /^[\w.:/@+-]{1,64}$/

/** Decides on a row, and spends where it is to: on every limit, or on none. */
export const decide = (
  { ban, steps }: Compiled,
  slots: Slots,
  row: number,
  now: number,
  cost: number,
  spends: boolean
): Decision => {
  let retryAfter = 0
  for (let i = 0; i < steps.length; i++) {
    const step = steps[i]!
    const at = row + i * width
    step.settle(slots, at, now)
    const wait = step.wait(slots, at, now, cost)
    if (wait > retryAfter) retryAfter = wait
  }
  let banned = false
  if (ban !== undefined) {
    const at = row + steps.length * width
    ban.settle(slots, at, now)
    // a refusal by the ban is not counted, or it would never end
    if (retryAfter > 0 && spends && ban.wait(slots, at, now, 1) === 0) ban.spend(slots, at, now, 1)
    const wait = ban.wait(slots, at, now, 1)
    banned = wait > 0
    if (wait > retryAfter) retryAfter = wait
  }
  const allowed = retryAfter === 0
  const limits: Array<Standing> = []
  for (let i = 0; i < steps.length; i++) {
    const step = steps[i]!
    const at = row + i * width
    if (allowed && spends && cost > 0) step.spend(slots, at, now, cost)
    limits.push({ remaining: step.remaining(slots, at, now), resetAfter: step.reset(slots, at, now) })
  }
  return { allowed, banned, now, retryAfter, limits }
}

/** A decision that a driver has made elsewhere, from the row that it has left. */
export const decided = (
  compiled: Compiled,
  slots: Slots,
  row: number,
  now: number,
  cost: number,
  allowed: boolean
): Decision => {
  // of what was admitted nobody asks how long it would have to wait for the same again
  const left = decide(compiled, slots, row, now, allowed ? 0 : cost, false)
  return allowed ? { ...left, allowed, banned: false, retryAfter: 0 } : { ...left, allowed }
}

export const giveBack = (
  { ban, steps }: Compiled,
  slots: Slots,
  row: number,
  now: number,
  cost: number,
  since: number
): void =>
  [...steps, ...(ban === undefined ? [] : [ban])].forEach((step, i) => {
    const at = row + i * width
    step.settle(slots, at, now)
    step.refund(slots, at, now, cost, since)
  })

/** How long until a row says no more than one that was never seen. */
export const lapseOf = ({ ban, steps }: Compiled, slots: Slots, row: number, now: number): number => {
  let longest = 0
  for (let i = 0; i <= steps.length; i++) {
    const step = i < steps.length ? steps[i] : ban
    if (step === undefined) break
    const at = row + i * width
    step.settle(slots, at, now)
    const reset = step.reset(slots, at, now)
    if (reset > longest) longest = reset
  }
  return longest
}
