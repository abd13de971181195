/** What `connect-redis` does by default, which is not installed: GET, SET with EX, EXPIRE for a touch, DEL. */
import type { RedisClientType } from "redis"
import { seconds } from "../work.js"

type Done = (error?: unknown) => void

export const makeStore = <A>(redis: Pick<RedisClientType, "del" | "expire" | "get" | "set">, prefix: string) => {
  const keyOf = (id: string) => `${prefix}:${id}`
  const settle = (promise: Promise<unknown>, done: Done | undefined) => void promise.then(() => done?.(), done)
  return {
    get: (id: string, done: (error: unknown, session?: A | null) => void) =>
      void redis.get(keyOf(id)).then((text) => done(null, text === null ? null : JSON.parse(text) as A), done),
    set: (id: string, session: A, done?: Done) =>
      settle(redis.set(keyOf(id), JSON.stringify(session), { EX: seconds }), done),
    touch: (id: string, _session: A, done?: Done) => settle(redis.expire(keyOf(id), seconds), done),
    destroy: (id: string, done?: Done) => settle(redis.del(keyOf(id)), done)
  }
}
