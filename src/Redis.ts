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
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { createHash } from "node:crypto"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How long a command may take, a script with both its attempts included. Default: 250 milliseconds. */
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
  const duration = Duration.decode(commandTimeout)
  if (Duration.toMillis(duration) <= 0) {
    throw new TypeError("Redis: commandTimeout is 0: write how long a command may take, such as \"250 millis\"")
  }
  if (!(maxPending >= 1)) {
    throw new TypeError(`Redis: maxPending is ${maxPending}: write how many commands may be under way, 1 or more`)
  }
  let pending = 0

  const attempt = (key: string, command: Command) =>
    Effect.suspend(() => {
      if (pending >= maxPending) return Effect.fail(new RedisError({ reason: "overloaded", command: command[0] }))
      pending++
      const sent = (async () => send(key, command))()
      // counted until it is settled, which may be long after its fiber has gone
      const settled = () => void pending--
      sent.then(settled, settled)
      return Effect.tryPromise({
        try: () => sent,
        catch: (error) => toRedisError(command[0], error, isReply(error))
      })
    })

  // what is raced with the time is interruptible even where the caller is not: platform's servers run an app uninterruptibly
  const limit = (name: string) => (effect: Effect.Effect<unknown, RedisError>) =>
    Effect.timeoutFail(Effect.interruptible(effect), {
      duration,
      onTimeout: () => new RedisError({ reason: "timeout", command: name })
    })

  return {
    send: (key, command) => limit(command[0])(attempt(key, command)),
    eval: ({ lua, sha1 }, keys, args) => {
      if (keys.length > 1 && new Set(keys.map(hashTag)).size > 1) return Effect.die(new TypeError(differentSlots))
      const rest = [`${keys.length}`, ...keys, ...args]
      return attempt(keys[0], ["EVALSHA", sha1, ...rest]).pipe(
        Effect.catchIf(isUnknownScript, () => attempt(keys[0], ["EVAL", lua, ...rest])),
        limit("EVALSHA")
      )
    }
  }
}

const differentSlots =
  "Redis: the keys of a script may lie in different slots of a Cluster: give them one hash tag, as in \"{42}:cart\""

/** What decides on the slot: what stands between the first `{` and the `}` after it, or else the whole key. */
const hashTag = (key: string): string => /^[^{]*\{([^}]+)\}/.exec(key)?.[1] ?? key

const messageOf = (error: unknown): string => error instanceof Error ? error.message : String(error)

const hasCode = (error: unknown): boolean => /^[A-Z][A-Z0-9_]+ /.test(messageOf(error))

const isUnknownScript = ({ cause, reason }: RedisError): boolean =>
  reason === "reply" && messageOf(cause).startsWith("NOSCRIPT")

/** Replies of a server that does not take commands, or no longer: nothing was executed. */
const unavailable = /^(?:CLUSTERDOWN|LOADING|MASTERDOWN|READONLY|TRYAGAIN)\b/

const toRedisError = (command: string, error: unknown, reply: boolean): RedisError => {
  // of an unknown command, Redis repeats the arguments
  const cause = new Error(messageOf(error).replace(/, with args beginning with:[^]*/, ""))
  if (error instanceof Error) cause.name = error.name
  return new RedisError({ reason: reply && !unavailable.test(cause.message) ? "reply" : "connection", command, cause })
}
