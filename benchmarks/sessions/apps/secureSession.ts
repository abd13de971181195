import secureSession from "@fastify/secure-session"
import { cookieName, seconds, secret } from "../work.js"
import { listenOn } from "./fastify.js"

export const start = (): Promise<number> =>
  listenOn(async (app) => {
    await app.register(secureSession, {
      cookieName,
      key: Buffer.from(secret),
      expiry: seconds,
      cookie: { path: "/", httpOnly: true, secure: true, sameSite: "lax", maxAge: seconds }
    })
  })
