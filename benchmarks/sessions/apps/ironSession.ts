import { getIronSession } from "iron-session"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { listen } from "../../servers/apps/listen.js"
import { cookieName, counted, greeting, health, nobody, seconds, secret, type Visitor, visitor } from "../work.js"

const options = { cookieName, password: secret, ttl: seconds }

const answer = (response: ServerResponse, value: object) => {
  const body = JSON.stringify(value)
  response.setHeader("content-type", "application/json")
  response.setHeader("content-length", Buffer.byteLength(body))
  response.end(body)
}

const serve = async (request: IncomingMessage, response: ServerResponse) => {
  if (request.url === "/health") return answer(response, health)
  const session = await getIronSession<{ visitor?: Visitor }>(request, response, options)
  const found = session.visitor ?? nobody
  if (request.method === "GET") return answer(response, greeting(found))
  const changed = request.url === "/login" ? visitor : counted(found)
  session.visitor = changed
  await session.save()
  answer(response, greeting(changed))
}

export const start = (): Promise<number> => listen(createServer((request, response) => void serve(request, response)))
