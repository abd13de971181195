/** What both Fastify servers are beside their sessions. */
import Fastify, { type FastifyInstance, type FastifyRequest } from "fastify"
import type { AddressInfo } from "node:net"
import { counted, greeting, health, nobody, type Visitor, visitor } from "../work.js"

/** The types of both plugins say what a request has, and not the same. */
export const sessionOf = (request: FastifyRequest) =>
  request.session as unknown as {
    readonly get: (key: "visitor") => Visitor | undefined
    readonly set: (key: "visitor", value: Visitor) => void
  }

const answers = { schema: { response: { 200: schema({ name: { type: "string" }, visits: { type: "integer" } }) } } }
const healthy = { schema: { response: { 200: schema({ ok: { type: "boolean" } }) } } }
function schema(properties: object) {
  return { type: "object", properties }
}

export const listenOn = async (register: (app: FastifyInstance) => Promise<unknown>): Promise<number> => {
  const app = Fastify({ trustProxy: "127.0.0.1" })
  await register(app)
  app.get("/health", healthy, (_request, reply) => reply.send(health))
  app.get(
    "/visits",
    answers,
    (request, reply) => reply.send(greeting(sessionOf(request).get("visitor") ?? nobody))
  )
  app.post("/visits", answers, (request, reply) => {
    const changed = counted(sessionOf(request).get("visitor") ?? nobody)
    sessionOf(request).set("visitor", changed)
    return reply.send(greeting(changed))
  })
  app.post("/login", answers, (request, reply) => {
    sessionOf(request).set("visitor", visitor)
    return reply.send(greeting(visitor))
  })
  await app.listen({ host: "127.0.0.1", port: 0 })
  return (app.server.address() as AddressInfo).port
}
