import cookie from "@fastify/cookie"
import session from "@fastify/session"
import type { FastifyInstance, Session } from "fastify"
import { createClient } from "redis"
import { cookieName, seconds, secret } from "../work.js"
import { listenOn } from "./fastify.js"
import { makeStore } from "./store.js"

export const register = async (app: FastifyInstance): Promise<void> => {
  const redis = await createClient({ url: process.env["REDIS_URL"]! }).connect()
  await app.register(cookie)
  await app.register(session, {
    cookieName,
    secret,
    // it has no touch: a session that is only read ends a fortnight after it was written
    store: makeStore<Session>(redis, "fastify"),
    saveUninitialized: false,
    rolling: false,
    cookie: { path: "/", maxAge: seconds * 1000, httpOnly: true, secure: true, sameSite: "lax" }
  })
}

export const start = (): Promise<number> => listenOn(register)
