import { Hono } from "hono"
import compose from "koa-compose"
import { body, clientHeader, contentType, type Layer, type Server } from "./work.js"

/** Hono as it is used: its router, its context, a web `Response`. */
export const hono = (layers: ReadonlyArray<Layer>): Server => {
  const app = new Hono()
  for (const { header, refuses, value } of layers) {
    app.use(async (c, next) => {
      if (c.req.header(clientHeader) === refuses) return c.body(null, 403)
      await next()
      // and not `c.header`, which at this point makes a new Response each time
      c.res.headers.set(header, value)
    })
  }
  const headers = { "content-type": contentType, "content-length": `${body.length}` }
  app.get("/", (c) => c.body(body, 200, headers))
  return (client) => {
    const request = new Request("http://localhost/", { headers: { [clientHeader]: client } })
    const send = () => app.fetch(request)
    return {
      send,
      reply: async () => {
        const response = await send()
        return {
          status: response.status,
          headers: Object.fromEntries(response.headers),
          body: await response.text()
        }
      }
    }
  }
}

/** The least a context can be, so that of a dispatcher nothing but its dispatch is left. */
class PlainContext {
  status = 404
  body = ""
  readonly headers: Record<string, string> = {}
  readonly req = { routeIndex: 0 }
  finalized = false
  constructor(readonly requestHeaders: Readonly<Record<string, string>>) {}
}

type Next = () => Promise<unknown>

const plain = ({ header, refuses, value }: Layer) => async (context: PlainContext, next: Next) => {
  if (context.requestHeaders[clientHeader] === refuses) {
    context.status = 403
    return
  }
  await next()
  context.headers[header] = value
}

const handle = (context: PlainContext) => {
  context.status = 200
  context.body = body
  context.headers["content-type"] = contentType
  context.headers["content-length"] = `${body.length}`
}

const dispatch = (composed: (context: PlainContext) => Promise<unknown>): Server => (client) => {
  const requestHeaders = { host: "localhost", [clientHeader]: client }
  const send = async () => {
    const context = new PlainContext(requestHeaders)
    await composed(context)
    return context
  }
  return {
    send,
    reply: async () => {
      const { body, headers, status } = await send()
      return { status, headers, body }
    }
  }
}

/** koa-compose on a plain context. */
export const koaCompose = (layers: ReadonlyArray<Layer>): Server => dispatch(compose([...layers.map(plain), handle]))

type HonoCompose = (
  layers: ReadonlyArray<readonly [readonly [(context: PlainContext, next: Next) => unknown]]>
) => (context: PlainContext) => Promise<unknown>

/** Hono's own dispatch, which it does not export, on the same plain context. */
export const honoCompose = async (layers: ReadonlyArray<Layer>): Promise<Server> => {
  const { compose }: { compose: HonoCompose } = await import(new URL("compose.js", import.meta.resolve("hono")).href)
  return dispatch(compose([...layers.map(plain), handle].map((layer) => [[layer]])))
}
