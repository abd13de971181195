/** What both Express servers are beside their sessions. */
import express, { type Express, type Request } from "express"
import { createServer } from "node:http"
import { listen } from "../../servers/apps/listen.js"
import { counted, greeting, health, nobody, type Visitor, visitor } from "../work.js"

/** The types of `cookie-session` and `express-session` both say what a request has, and not the same. */
export const sessionOf = (request: Request) => request.session as unknown as { visitor?: Visitor }

export const listenOn = (use: (app: Express) => unknown): Promise<number> => {
  const app = express()
  app.disable("etag")
  app.disable("x-powered-by")
  app.set("trust proxy", 1)
  use(app)
  app.get("/health", (_request, response) => {
    response.json(health)
  })
  app.get("/visits", (request, response) => {
    response.json(greeting(sessionOf(request).visitor ?? nobody))
  })
  app.post("/visits", (request, response) => {
    const changed = counted(sessionOf(request).visitor ?? nobody)
    sessionOf(request).visitor = changed
    response.json(greeting(changed))
  })
  app.post("/login", (request, response) => {
    sessionOf(request).visitor = visitor
    response.json(greeting(visitor))
  })
  return listen(createServer(app))
}
