/**
 * The port to Redis of every store that is kept there: one command, or one Lua script, about one key.
 *
 * `effect-middleware/Redis/Ioredis` and `effect-middleware/Redis/NodeRedis` are its adapters: a single server, Sentinel or
 * Cluster. `make` is for any other client. Rules, for all of them:
 *
 * 1. A command takes as long as `commandTimeout` at most, by the `Clock`, even if its client never settles it.
 * 2. While `maxPending` commands are under way, another one fails at once: nothing queues without bound. A command that
 *    timed out counts until the client has settled it.
 * 3. A script is sent as its SHA-1 (EVALSHA), and as its text (EVAL) only to a server that does not know it yet.
 * 4. Nothing is sent twice, unless a server has said that it did not execute it. Whether a command that failed by `timeout`
 *    or `connection` has been executed is not known.
 * 5. An error tells the name of the command and what went wrong, never an argument.
 *
 * @since 0.1.0
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import { createHash } from "node:crypto"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How long a command may take; a script has no more for its second attempt. Default: 250 milliseconds. */
  readonly commandTimeout?: Duration.DurationInput | undefined
  /** How many commands may be under way at once. Default: 4096. */
  readonly maxPending?: number | undefined
}

/**
 * A command and its arguments, which are sent as UTF-8: `["SET", key, value, "PX", "60000"]`.
 *
 * @since 0.1.0
 * @category models
 */
export type Command = NonEmptyReadonlyArray<string>

/**
 * A Lua script and its SHA-1.
 *
 * @since 0.1.0
 * @category models
 */
export interface Script {
  readonly lua: string
  readonly sha1: string
}

/**
 * Replies are strings, numbers, `null` and arrays of these.
 *
 * @since 0.1.0
 * @category services
 */
export interface Service {
  /** One command about `key`, which in a Cluster decides where it goes. */
  readonly send: (key: string, command: Command) => Effect.Effect<unknown, RedisError>
  /**
   * Runs a script, which is atomic. In a Cluster all its keys must lie in one slot, so several keys must have one hash tag,
   * as `"{42}:cart"` and `"{42}:user"` have; without it this is a defect, on a single server too.
   */
  readonly eval: (
    script: Script,
    keys: NonEmptyReadonlyArray<string>,
    args: ReadonlyArray<string>
  ) => Effect.Effect<unknown, RedisError>
  /** The same, with another limit in the place of `commandTimeout`. Make it once, and not for each command. */
  readonly within: (commandTimeout: Duration.DurationInput) => Service
}

/**
 * @since 0.1.0
 * @category services
 */
export class Redis extends Context.Tag("effect-middleware/Redis")<Redis, Service>() {}

/**
 * Why a command failed:
 *
 * - `timeout`: it took longer than `commandTimeout`. It may have been executed, and may still be.
 * - `connection`: no server takes commands: none is connected, or it is loading, has lost its primary, or was demoted. What
 *   was under way when a connection was lost may have been executed.
 * - `reply`: Redis answered with an error, such as WRONGTYPE or OOM.
 * - `overloaded`: it was not sent, because `maxPending` others were under way.
 *
 * @since 0.1.0
 * @category errors
 */
export type Reason = "timeout" | "connection" | "reply" | "overloaded"

/**
 * A command failed. `cause` is the client's error without what the client adds to it, which may be the command's arguments.
 *
 * @since 0.1.0
 * @category errors
 */
export class RedisError extends Schema.TaggedError<RedisError>("effect-middleware/Redis/RedisError")("RedisError", {
  reason: Schema.Literal("timeout", "connection", "reply", "overloaded"),
  command: Schema.String,
  cause: Schema.optional(Schema.Defect)
}) {
  override get message() {
    return `Redis ${this.command}: ${messages[this.reason]}`
  }
}

const messages: { readonly [reason in Reason]: string } = {
  timeout: "no reply in time",
  connection: "no server takes commands",
  reply: "the server answered with an error",
  overloaded: "too many commands are under way"
}

/**
 * A script, hashed once: make it outside of what runs per request.
 *
 * @example
 * ```ts
 * import { Redis } from "effect-middleware"
 * import { Effect } from "effect"
 *
 * const increment = Redis.script(`
 *   local count = redis.call("INCR", KEYS[1])
 *   if count == 1 then redis.call("PEXPIRE", KEYS[1], ARGV[1]) end
 *   return count
 * `)
 *
 * const visits = (id: string) =>
 *   Effect.flatMap(Redis.Redis, (redis) => redis.eval(increment, [`visits:${id}`], ["60000"]))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const script = (lua: string): Script => ({ lua, sha1: createHash("sha1").update(lua).digest("hex") })

/**
 * The service over any client. `send` has to fail fast while there is no connection, and to settle what was under way when
 * one is lost, without sending it again.
 *
 * `isReply` tells whether an error that `send` rejected with is Redis' own answer; its message then is what Redis said.
 * Default: its message begins with a code, as in `WRONGTYPE Operation against a key ...`.
 *
 * @example
 * ```ts
 * import { Redis } from "effect-middleware"
 * import { Layer } from "effect"
 *
 * declare const client: { readonly request: (args: ReadonlyArray<string>) => Promise<unknown> }
 *
 * const layer = Layer.sync(Redis.Redis, () =>
 *   Redis.make((_key, command) => client.request(command), { commandTimeout: "100 millis" })
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  send: (key: string, command: Command) => Promise<unknown>,
  { commandTimeout = "250 millis", isReply = hasCode, maxPending = 4096 }: Options & {
    readonly isReply?: ((error: unknown) => boolean) | undefined
  } = {}
): Service => {
  if (!(maxPending >= 1)) {
    throw new TypeError(`Redis: maxPending is ${maxPending}: write how many commands may be under way, such as 4096`)
  }
  // not fewer than wait: what has timed out is under way until its client settles it
  let pending = 0

  const within = (commandTimeout: Duration.DurationInput): Service => {
    const deadlines = makeDeadlines(commandTimeout)
    /** What has failed is tried by what `instead` makes of the failure, once. */
    const call = (
      name: string,
      start: () => Promise<unknown>,
      instead?: (error: unknown) => (() => Promise<unknown>) | undefined
    ) =>
      Effect.clockWith((clock) =>
        Effect.async<unknown, RedisError>((resume) => {
          const fail = (reason: Reason, cause?: Error) =>
            resume(Effect.fail(new RedisError({ reason, command: name, ...cause && { cause } })))
          if (pending >= maxPending) return fail("overloaded")
          pending++
          const waiting = deadlines.add(clock, fail)
          const succeeded = (reply: unknown) => {
            pending--
            deadlines.settle(waiting)
            resume(Effect.succeed(reply))
          }
          const failed = (error: unknown) => {
            pending--
            deadlines.settle(waiting)
            const cause = withoutArguments(error)
            fail(isReply(error) && !unavailable.test(cause.message) ? "reply" : "connection", cause)
          }
          const attempt = (start: () => Promise<unknown>, failed: (error: unknown) => void) => {
            try {
              start().then(succeeded, failed)
            } catch (error) {
              failed(error)
            }
          }
          attempt(start, (error) => {
            const next = instead?.(error)
            if (next === undefined) failed(error)
            else attempt(next, failed)
          })
        })
      )
    return {
      send: (key, command) => call(command[0], () => send(key, command)),
      eval: ({ lua, sha1 }, keys, args) => {
        const [key] = keys
        if (keys.length > 1 && new Set(keys.map(hashTag)).size > 1) return Effect.die(new TypeError(differentSlots))
        const rest = [`${keys.length}`, ...keys, ...args]
        return call(
          "EVAL",
          () => send(key, ["EVALSHA", sha1, ...rest]),
          (error) =>
            isReply(error) && messageOf(error).startsWith("NOSCRIPT")
              ? () => send(key, ["EVAL", lua, ...rest])
              : undefined
        )
      },
      within
    }
  }
  return within(commandTimeout)
}

/** One limit is one for all, so they time out in the order that they began in, and one fiber at a time waits for it. */
const makeDeadlines = (commandTimeout: Duration.DurationInput) => {
  const limit = Duration.toMillis(commandTimeout)
  if (!(limit > 0 && limit < Infinity)) {
    throw new TypeError(`Redis: commandTimeout is ${limit} ms: write how long a command may take, such as "250 millis"`)
  }
  // no Set: one that is added to and deleted from all the time leaves old tables, each of which keeps the next one alive
  const waiting: Array<Waiting> = []
  /** The oldest that is not settled, if any is. */
  let oldest = 0
  let watched = false
  const settle = (settled: Waiting) => {
    settled.fail = undefined
    while (oldest < waiting.length && waiting[oldest]?.fail === undefined) oldest++
    // each is moved once at most
    if (oldest * 2 >= waiting.length) oldest -= waiting.splice(0, oldest).length
  }
  const watch = Effect.gen(function*() {
    for (let entry = waiting[oldest]; entry !== undefined; entry = waiting[oldest]) {
      const left = entry.deadline - (yield* Clock.currentTimeMillis)
      if (left > 0) yield* Effect.sleep(left)
      else {
        const { fail } = entry
        settle(entry)
        fail?.("timeout")
      }
    }
    watched = false
  })
  return {
    /** Fails it in time, unless it is settled before. */
    add: (clock: Clock.Clock, fail: (reason: "timeout") => void): Waiting => {
      const entry = { deadline: clock.unsafeCurrentTimeMillis() + limit, fail }
      waiting.push(entry)
      if (!watched) {
        watched = true
        // of the fiber that happens to be first it has the clock, and nothing that would be kept alive by it
        Runtime.runFork(Runtime.defaultRuntime)(Effect.withClock(watch, clock))
      }
      return entry
    },
    settle
  }
}

interface Waiting {
  readonly deadline: number
  fail: ((reason: "timeout") => void) | undefined
}

const differentSlots =
  "Redis: the keys of a script may lie in different slots of a Cluster: give them one hash tag, as in \"{42}:cart\""

/** What decides on the slot: what stands between the first `{` and the `}` after it, or else the whole key. */
const hashTag = (key: string): string => /^[^{]*\{([^}]+)\}/.exec(key)?.[1] ?? key

const messageOf = (error: unknown): string => error instanceof Error ? error.message : String(error)

const hasCode = (error: unknown): boolean => /^[A-Z][A-Z0-9_]+ /.test(messageOf(error))

/** Replies of a server that does not take commands, or no longer: nothing was executed. */
const unavailable = /^(?:CLUSTERDOWN|LOADING|MASTERDOWN|READONLY|TRYAGAIN)\b/

/** Clients put the command into their errors, and of one that it does not know, Redis repeats the arguments. */
const withoutArguments = (error: unknown): Error => {
  const cause = new Error(messageOf(error).replace(/, with args beginning with:[^]*/, ""))
  if (error instanceof Error) cause.name = error.name
  return cause
}
