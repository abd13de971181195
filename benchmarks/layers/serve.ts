/**
 * The process of one server with so many layers: writes its port to descriptor 3, and serves until it is killed.
 *
 *     node serve.js <name> <layers> <kind>
 */
import { HttpServer, HttpServerResponse } from "@effect/platform"
import { Effect } from "effect"
import { Stack } from "effect-middleware"
import * as Fs from "node:fs"
import { createServer } from "node:http"
import { layerOn, own, platform, type Server } from "../servers/apps/effectApp.js"
import { listen } from "../servers/apps/listen.js"
import { stackOf } from "./effect.js"
import type { Kind, ServedName } from "./served.js"
import { body, clientHeader, contentType, type Layer, layersOf } from "./work.js"

type Respond = Parameters<typeof stackOf>[1]

/** No response has this status, which a layer has to look to know. */
const never = 599

const responds: { readonly [K in Kind]: Respond } = {
  sets: undefined,
  looks: ({ header, value }) => (draft) => {
    if (draft.status === never) draft.set(header, value)
  }
}

const ours = (server: Server) => (layers: ReadonlyArray<Layer>, kind: Kind): Promise<number> => {
  const app = Effect.sync(() => HttpServerResponse.text(body))
  const serving = layers.length === 0 ? HttpServer.serve(app) : Stack.serve(app, stackOf(layers, responds[kind]))
  return layerOn(serving, server)
}

/** Functions in a list. */
const raw = (layers: ReadonlyArray<Layer>, kind: Kind): Promise<number> => {
  const content = ["content-type", contentType, "content-length", `${body.length}`]
  const enter = layers.map(({ refuses }) => (client: unknown) => client === refuses)
  const leave = layers.map(({ header, value }) => (status: number, fields: Array<string>) => {
    if (kind === "sets" || status === never) fields.push(header, value)
  })
  return listen(createServer((request, response) => {
    const client = request.headers[clientHeader]
    const refused = enter.findIndex((refuses) => refuses(client))
    const status = refused < 0 ? 200 : 403
    const fields = refused < 0 ? [...content] : []
    for (let i = refused < 0 ? leave.length - 1 : refused - 1; i >= 0; i--) leave[i]!(status, fields)
    response.writeHead(status, fields)
    response.end(refused < 0 ? body : undefined)
  }))
}

const servers: { readonly [Name in ServedName]: (layers: ReadonlyArray<Layer>, kind: Kind) => Promise<number> } = {
  raw,
  ours: ours(own),
  "ours-platform": ours(platform)
}

const [name, layers, kind] = process.argv.slice(2) as [ServedName, string, Kind]
Fs.writeSync(3, `${await servers[name](layersOf(Number(layers)), kind)}\n`)
