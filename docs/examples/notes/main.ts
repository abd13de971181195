/**
 * A notes API behind a stack: `npm start`.
 */
import { HttpServer } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Effect, Layer, Option, Redacted } from "effect"
import {
  DebugPage,
  IdempotencyStore,
  Keyring,
  PasswordHash,
  RateLimitStore,
  ResponseCacheStore,
  SessionStore,
  Stack
} from "effect-middleware"
import * as NodeServer from "effect-middleware/NodeServer"
import * as NodeRedis from "effect-middleware/Redis/NodeRedis"
import { randomBytes } from "node:crypto"
import { createServer } from "node:http"
import { server, stack } from "./app.js"
import { Notes } from "./Notes.js"
import { backend, people, Tokens, Users } from "./Users.js"

const greeting = Effect.gen(function*() {
  const { address } = yield* HttpServer.HttpServer
  const { key } = yield* Users
  const url = `http://127.0.0.1:${address._tag === "TcpAddress" ? address.port : 0}`
  yield* Console.log(`
${Stack.describe(stack)}

Listening on ${url}. Try:

  curl -i ${url}/notes -H 'content-type: application/json' -d '{"text":"milk"}'
  curl -i ${url}/notes/1
  curl -i ${url}/notes/99
  curl -i ${url}/notes/99 -H 'accept: text/plain'
  curl -i '${url}/notes?limit=many'
  curl -i ${url}/notes -X PUT
  curl -i ${url}/notes -H 'content-type: text/plain' -d milk
  curl -iN ${url}/notes/stream
  curl -i ${url}/notes -H 'host: evil.test'
  curl -i ${url}/notes/1 -X OPTIONS -H 'origin: http://localhost:5173' -H 'access-control-request-method: DELETE'

One note, however often it is sent: by its key. With another text the key is refused:

  once="idempotency-key: \\"$RANDOM\\""
  for i in 1 2; do curl -i ${url}/notes -H 'content-type: application/json' -H "$once" -d '{"text":"tea"}'; done
  curl -i ${url}/notes -H 'content-type: application/json' -H "$once" -d '{"text":"coffee"}'

A large list, made once a minute, compressed and sent once. Look at cache-status, content-encoding and the size:

  curl -s ${url}/catalogue -o list -w '%{size_download} bytes, %{time_total} s\n'
  curl -s ${url}/catalogue -o list -w '%{size_download} bytes, %{time_total} s\n' --compressed --etag-save tag -D -
  curl -s ${url}/catalogue -o list -w '%{http_code}, %{size_download} bytes\n' --compressed --etag-compare tag

A visitor's session, in memory or at REDIS_URL. With another jar you are at another browser:

  json='content-type: application/json'
  curl -i -b jar -c jar ${url}/cart -H "$json" -d '{"item":"tea"}'
  curl -i -b jar -c jar ${url}/cart

Who logs in, in a browser at ${url}/account or here:

${
    people.map(({ name, password }) => `  curl -i -b jar -c jar ${url}/login -d 'name=${name}&password=${password}'`)
      .join("\n")
  }
  curl -i -b jar -c jar ${url}/account
  curl -i -b jar -c jar ${url}/sessions
  curl -i -b jar -c jar ${url}/sessions/ID -X DELETE
  curl -i -b jar -c jar ${url}/users   # for ${people[0].name}, who is an administrator
  curl -i -b jar -c jar ${url}/logout -X POST
  curl -i -b jar -c jar ${url}/logout-everywhere -H "$json" -d '{}'

What a page of another site would have a browser send, and what a page may do here:

  curl -i -b jar ${url}/logout -X POST -H 'sec-fetch-site: cross-site' -H 'origin: https://evil.test'
  curl -sI ${url}/login | grep -iE '^(content-security|cross-origin|permissions|referrer|x-)'

A machine, by a key, and by a token of five minutes that it gets for it:

  key='x-api-key: ${key}'
  curl -i ${url}/export -H "$key"
  curl -i ${url}/token -H "$key" -d scope=notes:export
  curl -i ${url}/export -H 'authorization: Bearer TOKEN'

Who asks too often: by an address, by a plan, or for a password. Look at ratelimit, and retry-after:

  for i in 1 2 3 4 5 6 7; do curl -i ${url}/login -d 'name=bob&password=guess'; done
  for i in $(seq 30); do curl -si ${url}/export -H "$key" | grep -iE '^(http|ratelimit:|retry)'; done

What goes wrong: ${url}/broken/ followed by defect, failure, both, unavailable, half or unsendable.
A client is told nothing of it. With DEBUG=true you are: by curl, and in a browser.
`)
})

/** Of this process, and gone with it, unless it is given one: then others can verify what it has signed. */
const secret = (name: string) =>
  Config.redacted(name).pipe(Config.withDefault(Redacted.make(randomBytes(32).toString("base64"))))

/** In memory; with REDIS_URL in Redis, where they outlive this process, and others share them. */
const stores = Layer.unwrapEffect(Effect.map(
  Config.option(Config.redacted("REDIS_URL")),
  Option.match({
    onNone: () =>
      Layer.mergeAll(
        SessionStore.layerMemory(),
        RateLimitStore.layerMemory(),
        ResponseCacheStore.layerMemory(),
        IdempotencyStore.layerMemory()
      ),
    onSome: (url) =>
      Layer.provide(
        Layer.mergeAll(
          SessionStore.layerRedis(),
          RateLimitStore.layerRedis(),
          ResponseCacheStore.layerRedis(),
          IdempotencyStore.layerRedis()
        ),
        NodeRedis.layerConfig(Config.succeed(url))
      )
  })
))

const node = NodeServer.layerConfig(() => createServer(), {
  port: Config.integer("PORT").pipe(Config.withDefault(3000)),
  host: Config.string("HOST").pipe(Config.withDefault("127.0.0.1"))
})

/** Who there is, and how they show who they are. */
const users = Layer.provideMerge(backend, Layer.merge(Users.Default, Tokens.layer(secret("TOKEN_SECRET")))).pipe(
  Layer.provideMerge(PasswordHash.layerScrypt())
)

NodeRuntime.runMain(Layer.launch(
  Layer.effectDiscard(greeting).pipe(
    Layer.provideMerge(server),
    Layer.provide([Notes.Default, users, stores, Keyring.layerConfig(secret("KEYRING"))]),
    Layer.provide(DebugPage.layerConfig(Config.withDefault(Config.boolean("DEBUG"), false))),
    Layer.provide(node)
  )
))
