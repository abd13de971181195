import { Context, Effect, Layer } from "effect"
import { Redis } from "effect-middleware"
import { typeOf } from "./fixtures.js"

const script = Redis.script("return 1")
typeOf(script).is<Redis.Script>()
typeOf(script.lua).is<string>()
typeOf(script.sha1).is<string>()

const command: Redis.Command = ["GET", "key"]
// @ts-expect-error a command has a name
export const none: Redis.Command = []

const redis = Redis.make((key, command) => {
  typeOf(key).is<string>()
  typeOf(command).is<Redis.Command>()
  return Promise.resolve(command[0])
}, { commandTimeout: "1 second", maxPending: 10, isReply: (error) => error instanceof Error })
typeOf(redis).is<Redis.Service>()
typeOf(redis.send("key", command)).is<Effect.Effect<unknown, Redis.RedisError>>()
typeOf(redis.eval(script, ["key"], [])).is<Effect.Effect<unknown, Redis.RedisError>>()
typeOf(redis.within("100 millis")).is<Redis.Service>()
// @ts-expect-error without a key, nobody knows where it goes
redis.eval(script, [], [])
// @ts-expect-error a script is made once, by Redis.script
redis.eval("return 1", ["key"], [])
// @ts-expect-error arguments are strings
redis.send("key", ["SET", "key", 1])
// @ts-expect-error a client answers later
Redis.make(() => 1)

const options: Redis.Options = { commandTimeout: undefined, maxPending: undefined }
typeOf(Redis.make(() => Promise.resolve(1), options)).is<Redis.Service>()

typeOf(Effect.flatMap(Redis.Redis, (redis) => redis.send("key", command)))
  .is<Effect.Effect<unknown, Redis.RedisError, Redis.Redis>>()
typeOf(Layer.succeed(Redis.Redis, redis)).is<Layer.Layer<Redis.Redis>>()
typeOf(Context.make(Redis.Redis, redis)).is<Context.Context<Redis.Redis>>()

const error = new Redis.RedisError({ reason: "timeout", command: "GET" })
typeOf(error._tag).is<"RedisError">()
typeOf(error.reason).is<Redis.Reason>()
typeOf(error.command).is<string>()
// @ts-expect-error there is no such reason
new Redis.RedisError({ reason: "slow", command: "GET" })
