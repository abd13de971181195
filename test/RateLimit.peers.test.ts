/**
 * The decisions of rate-limiter-flexible, express-rate-limit and @fastify/rate-limit, whose one algorithm is ours of `fixedWindow`:
 * a window that begins with the first request. The same where it is, and what is not, and why.
 *
 * They take the time from `Date`, which is the test's; nobody waits.
 */
import { afterEach, assert, beforeEach, describe, it, vi } from "@effect/vitest"
import fastifyRateLimit, { type RateLimitPluginOptions } from "@fastify/rate-limit"
import { Effect, FastCheck } from "effect"
import { RateLimit, RateLimitStore } from "effect-middleware"
import express from "express"
import { type Options, rateLimit } from "express-rate-limit"
import fastify from "fastify"
import { once } from "node:events"
import { createServer, request } from "node:http"
import { RateLimiterMemory, RateLimiterRes } from "rate-limiter-flexible"

const start = Date.UTC(2026, 2, 28, 22, 59, 58, 321)
const limit = 5
const window = 10_000
const fixedWindow = RateLimit.limits(RateLimit.fixedWindow({ limit, window }))

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: start })
})
afterEach(() => {
  vi.useRealTimers()
})

// --- what is asked ---------------------------------------------------------------------------------------------------

interface Step {
  /** How long after the step before. */
  readonly after: number
  readonly key: string
  /** Whether the handler fails. */
  readonly fails: boolean
}

const steps = FastCheck.array(
  FastCheck.record<Step>({
    after: FastCheck.oneof(
      { weight: 12, arbitrary: FastCheck.nat(1500) },
      { weight: 2, arbitrary: FastCheck.nat(2 * window) },
      // at its end, and the millisecond before
      { weight: 1, arbitrary: FastCheck.constantFrom(window, window - 1) }
    ),
    key: FastCheck.constantFrom("a", "a", "b"),
    fails: FastCheck.boolean()
  }),
  { maxLength: 50 }
)

/** What a client is told. */
interface Answer {
  readonly allowed: boolean
  readonly remaining: number
  /** In whole seconds, until the window ends. */
  readonly reset: number
}

interface Limiter {
  readonly ask: (step: Step) => Promise<Answer>
}

const seconds = (millis: number) => Math.ceil(millis / 1000)

const makeOurs = (limits = fixedWindow, refundsFailures = false) => {
  const store = Effect.runSync(Effect.provide(RateLimitStore.RateLimitStore, RateLimitStore.layerMemory()))
  const consume = (key: string, cost = 1) =>
    Effect.runPromise(store.consume({ limiter: "test", key, limits }, { cost, now: Date.now() }))
  const refund = (key: string, since: number) =>
    Effect.runPromise(store.refund({ limiter: "test", key, limits }, { cost: 1, now: Date.now(), since }))
  return {
    consume,
    refund,
    ask: async ({ fails, key }: Step): Promise<Answer> => {
      const { allowed, limits: standings, now } = await consume(key)
      if (allowed && fails && refundsFailures) await refund(key, now)
      return { allowed, remaining: standings[0]!.remaining, reset: seconds(standings[0]!.resetAfter) }
    }
  }
}

const sameAs = (limiter: () => Promise<Limiter & AsyncDisposable>, ours: () => Limiter, numRuns: number) =>
  FastCheck.assert(
    FastCheck.asyncProperty(steps, async (steps) => {
      vi.setSystemTime(start)
      await using theirs = await limiter()
      const own = ours()
      for (const step of steps) {
        vi.setSystemTime(Date.now() + step.after)
        assert.deepStrictEqual(await own.ask(step), await theirs.ask(step))
      }
    }),
    { numRuns }
  )

const step = (fails = false): Step => ({ after: 0, key: "a", fails })
const allowed = async ({ ask }: Limiter, times: number, fails = false) => {
  const answers: Array<boolean> = []
  for (let i = 0; i < times; i++) answers.push((await ask(step(fails))).allowed)
  return answers
}
const elapse = (millis: number) => {
  vi.setSystemTime(Date.now() + millis)
}

// --- rate-limiter-flexible -------------------------------------------------------------------------------------------

describe("rate-limiter-flexible", () => {
  const options = { points: limit, duration: window / 1000 }

  const makeTheirs = (more: { readonly blockDuration?: number } = {}) => {
    const theirs = new RateLimiterMemory({ ...options, ...more })
    const consume = async (key: string, points = 1) => {
      try {
        return { allowed: true, result: await theirs.consume(key, points) }
      } catch (result) {
        assert.instanceOf(result, RateLimiterRes)
        return { allowed: false, result }
      }
    }
    return {
      theirs,
      consume,
      ask: async ({ key }: Step): Promise<Answer> => {
        const { allowed, result } = await consume(key)
        return { allowed, remaining: result.remainingPoints, reset: seconds(result.msBeforeNext) }
      },
      [Symbol.asyncDispose]: async () => {
        for (const key of ["a", "b"]) await theirs.delete(key)
      }
    }
  }

  it("decides alike", () => sameAs(async () => makeTheirs(), () => makeOurs(), 50))

  it("blocks alike where a block is as long as the window or longer: a ban after one refusal", () =>
    FastCheck.assert(
      FastCheck.asyncProperty(steps, FastCheck.integer({ min: 10, max: 40 }), async (steps, blockDuration) => {
        vi.setSystemTime(start)
        await using theirs = makeTheirs({ blockDuration })
        const ours = makeOurs(
          RateLimit.limits(RateLimit.fixedWindow({ limit, window }), {
            ban: { after: 1, duration: `${blockDuration} seconds` }
          })
        )
        for (const { after, key } of steps) {
          elapse(after)
          const [{ allowed, retryAfter }, other] = [await ours.consume(key), await theirs.consume(key)]
          assert.strictEqual(allowed, other.allowed)
          if (!allowed) assert.strictEqual(retryAfter, other.result.msBeforeNext)
        }
      }),
      { numRuns: 50 }
    ))

  it("differs: a block that is shorter than the window ends the window, and a ban of ours does not", async () => {
    await using theirs = makeTheirs({ blockDuration: 1 })
    const ours = makeOurs(
      RateLimit.limits(RateLimit.fixedWindow({ limit, window }), { ban: { after: 1, duration: "1 second" } })
    )
    for (const limiter of [theirs, ours]) assert.strictEqual((await allowed(limiter, 6)).at(-1), false)
    elapse(1000)
    assert.deepStrictEqual([await allowed(theirs, 1), await allowed(ours, 1)], [[true], [false]])
  })

  it("differs: a cost that is refused is spent, and of ours it is not", async () => {
    await using theirs = makeTheirs()
    const ours = makeOurs()
    for (const { consume } of [theirs, ours]) {
      await consume("a", 4)
      assert.isFalse((await consume("a", 2)).allowed)
    }
    assert.deepStrictEqual([await allowed(theirs, 1), await allowed(ours, 1)], [[false], [true]])
  })

  it("differs: a reward after the window makes room that was not taken, and a refund of ours does not", async () => {
    await using theirs = makeTheirs()
    const ours = makeOurs()
    await theirs.consume("a", 5)
    const { now } = await ours.consume("a", 5)
    elapse(window)
    await theirs.theirs.reward("a", 1)
    await ours.refund("a", now)
    assert.deepStrictEqual([(await allowed(theirs, 6)).at(-1), (await allowed(ours, 6)).at(-1)], [true, false])
  })
})

// --- express-rate-limit ----------------------------------------------------------------------------------------------

describe("express-rate-limit", () => {
  const makeTheirs = async (options: Partial<Options> = {}) => {
    const app = express()
    app.use(rateLimit({
      limit,
      windowMs: window,
      standardHeaders: "draft-6",
      legacyHeaders: false,
      keyGenerator: (request) => request.get("x-key") ?? "",
      ...options
    }))
    let hold: Promise<void> | undefined
    let began = () => {}
    app.get("/", async (request, response) => {
      began()
      await hold
      response.status(request.get("x-fails") === "true" ? 500 : 200).end()
    })
    const server = createServer(app).listen(0, "127.0.0.1")
    await once(server, "listening")
    const address = server.address()
    assert.isNotNull(address)
    const port = typeof address === "string" ? 0 : address.port
    /** Its count is changed when the answer has been sent, in promises that come after that. */
    const finished = () => new Promise((resolve) => setImmediate(resolve))
    const get = async ({ fails, key }: Step) => {
      const sent = request({ port, host: "127.0.0.1", headers: { "x-key": key, "x-fails": String(fails) } }).end()
      const [response]: Array<import("node:http").IncomingMessage> = await once(sent, "response")
      assert.isDefined(response)
      await once(response.resume(), "end")
      await finished()
      return response
    }
    return {
      ask: async (step: Step): Promise<Answer> => {
        const { headers, statusCode } = await get(step)
        const reset = Number(headers["ratelimit-reset"])
        if (statusCode === 429) assert.strictEqual(Number(headers["retry-after"]), reset)
        return { allowed: statusCode !== 429, remaining: Number(headers["ratelimit-remaining"]), reset }
      },
      /** One whose answer comes when it is told to; it is with the handler. */
      slow: async (step: Step) => {
        let answer = () => {}
        hold = new Promise<void>((resolve) => answer = resolve)
        const reached = new Promise<void>((resolve) => began = resolve)
        const response = get(step)
        await reached
        hold = undefined
        return async () => {
          answer()
          await response
        }
      },
      [Symbol.asyncDispose]: async () => {
        server.closeAllConnections()
        server.close()
        await once(server, "close")
      }
    }
  }

  it("decides alike", () => sameAs(makeTheirs, () => makeOurs(), 15))

  it("decides alike of failures that are given back, also after a window", async () => {
    await using theirs = await makeTheirs({ skipFailedRequests: true })
    const ours = makeOurs(fixedWindow, true)
    const both = async (times: number, fails: boolean) => {
      const [expected, decided] = [await allowed(theirs, times, fails), await allowed(ours, times, fails)]
      assert.deepStrictEqual(decided, expected)
      return decided
    }
    await both(2, false)
    assert.deepStrictEqual(await both(9, true), Array.from({ length: 9 }, () => true))
    assert.deepStrictEqual(await both(5, false), [true, true, true, false, false])
    assert.deepStrictEqual(await both(1, true), [false])
    elapse(window)

    // one that fails in the next window has been forgotten with its own
    const answer = await theirs.slow(step(true))
    const { now } = await ours.consume("a")
    elapse(window)
    assert.deepStrictEqual(await both(5, false), [true, true, true, true, true])
    await answer()
    await ours.refund("a", now)
    assert.deepStrictEqual(await both(1, false), [false])
  })

  it("differs: a window of which all was given back goes on, and one of ours begins with the next request", async () => {
    await using theirs = await makeTheirs({ skipFailedRequests: true })
    const ours = makeOurs(fixedWindow, true)
    for (const { ask } of [theirs, ours]) await ask(step(true))
    elapse(window - 1000)
    assert.deepStrictEqual([(await theirs.ask(step())).reset, (await ours.ask(step())).reset], [1, 10])
  })
})

// --- @fastify/rate-limit ---------------------------------------------------------------------------------------------

describe("@fastify/rate-limit", () => {
  const makeTheirs = async (options: RateLimitPluginOptions = {}) => {
    const app = fastify()
    await app.register(fastifyRateLimit, {
      max: limit,
      timeWindow: window,
      keyGenerator: (request) => String(request.headers["x-key"]),
      ...options
    })
    app.get("/", async () => "hello")
    const get = ({ key }: Step) => app.inject({ url: "/", headers: { "x-key": key } })
    return {
      get,
      ask: async (step: Step): Promise<Answer> => {
        const { headers, statusCode } = await get(step)
        const reset = Number(headers["x-ratelimit-reset"])
        if (statusCode === 429) assert.strictEqual(Number(headers["retry-after"]), reset)
        return { allowed: statusCode === 200, remaining: Number(headers["x-ratelimit-remaining"]), reset }
      },
      [Symbol.asyncDispose]: () => app.close()
    }
  }

  it("decides alike", () => sameAs(makeTheirs, () => makeOurs(), 20))

  it("differs: with continueExceeding who is refused waits a whole window again, and of ours nobody does", async () => {
    await using theirs = await makeTheirs({ continueExceeding: true })
    const ours = makeOurs()
    for (const limiter of [theirs, ours]) await allowed(limiter, 5)
    elapse(window - 1)
    assert.deepStrictEqual([await allowed(theirs, 1), await allowed(ours, 1)], [[false], [false]])
    elapse(1)
    assert.deepStrictEqual([await allowed(theirs, 1), await allowed(ours, 1)], [[false], [true]])
  })

  it("differs: its ban is a 403 that ends with the window, and one of ours lasts as long as it says", async () => {
    await using theirs = await makeTheirs({ ban: 2 })
    const ours = makeOurs(
      RateLimit.limits(RateLimit.fixedWindow({ limit, window }), { ban: { after: 3, duration: "1 minute" } })
    )
    const statuses: Array<number> = []
    const bans: Array<boolean> = []
    for (let i = 0; i < 8; i++) {
      statuses.push((await theirs.get(step())).statusCode)
      bans.push((await ours.consume("a")).banned)
    }
    assert.deepStrictEqual(statuses.slice(5), [429, 429, 403])
    assert.deepStrictEqual(bans.slice(5), [false, false, true])
    elapse(window)
    assert.deepStrictEqual([await allowed(theirs, 1), await allowed(ours, 1)], [[true], [false]])
    elapse(60_000 - window)
    assert.deepStrictEqual(await allowed(ours, 1), [true])
  })
})

// --- where ours are another algorithm --------------------------------------------------------------------------------

describe("the edge of two windows", () => {
  it("admits twice the limit at once of all of them, as a fixed window of ours does, and no other", async () => {
    const theirs = new RateLimiterMemory({ points: limit, duration: window / 1000 })
    const limiters: ReadonlyArray<readonly [consume: () => Promise<boolean>, admitted: number]> = [
      [() => theirs.consume("a").then(() => true, () => false), 2 * limit - 1],
      ...([
        [RateLimit.fixedWindow({ limit, window }), 2 * limit - 1],
        [RateLimit.slidingWindowLog({ limit, window }), limit],
        [RateLimit.slidingWindowCounter({ limit, window }), limit],
        [RateLimit.gcra({ limit, window }), limit],
        [RateLimit.tokenBucket({ capacity: limit, refill: limit, every: window }), limit]
      ] as const).map(([of, admitted]) => {
        const { consume } = makeOurs(RateLimit.limits(of))
        return [() => consume("a").then(({ allowed }) => allowed), admitted] as const
      })
    ]
    for (const [consume, most] of limiters) {
      // a window that begins with one, and whose others come at its end
      vi.setSystemTime(Math.ceil(start / window) * window)
      await consume()
      elapse(window - 1)
      let admitted = 0
      for (let i = 0; i < limit; i++) if (await consume()) admitted++
      elapse(1)
      for (let i = 0; i < limit; i++) if (await consume()) admitted++
      assert.isAtMost(admitted, most)
      if (most > limit) assert.strictEqual(admitted, most)
    }
  })
})
