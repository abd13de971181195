import session, { type SessionData } from "express-session"
import { createClient } from "redis"
import { cookieName, seconds, secret } from "../work.js"
import { listenOn } from "./express.js"
import { makeStore } from "./store.js"

export const stored = async () => {
  const redis = await createClient({ url: process.env["REDIS_URL"]! }).connect()
  const { destroy, get, set, touch } = makeStore<SessionData>(redis, "express")
  // with its `touch`, without which a session would end although it is used
  class Store extends session.Store {
    override readonly get = get
    override readonly set = set
    override readonly touch = touch
    override readonly destroy = destroy
  }
  return session({
    name: cookieName,
    secret,
    store: new Store(),
    resave: false,
    saveUninitialized: false,
    rolling: false,
    cookie: { maxAge: seconds * 1000, secure: true, sameSite: "lax" }
  })
}

export const start = async (): Promise<number> => {
  const middleware = await stored()
  return listenOn((app) => app.use(middleware))
}
