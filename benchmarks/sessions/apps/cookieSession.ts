import cookieSession from "cookie-session"
import { cookieName, seconds, secret } from "../work.js"
import { listenOn } from "./express.js"

export const signed = () =>
  cookieSession({ name: cookieName, keys: [secret], maxAge: seconds * 1000, secure: true, sameSite: "lax" })

export const start = (): Promise<number> => listenOn((app) => app.use(signed()))
