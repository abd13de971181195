import cookieSession from "cookie-session"
import { cookieName, seconds, secret } from "../work.js"
import { listenOn } from "./express.js"

export const start = (): Promise<number> =>
  listenOn((app) => {
    app.use(
      cookieSession({ name: cookieName, keys: [secret], maxAge: seconds * 1000, secure: true, sameSite: "lax" })
    )
  })
