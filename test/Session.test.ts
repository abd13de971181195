import { HttpServerResponse } from "@effect/platform"
import { HttpServerRequest } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Schema, TestClock } from "effect"
import { Keyring, Session, SessionStore, Stack } from "effect-middleware"
import { mounts, type Reply } from "./utils/TestApp.js"

class Counter extends Session.Tag("test/Counter")<Counter>()(Schema.Struct({
  n: Schema.optionalWith(Schema.Number, { default: () => 0 })
})) {}

const keyring = Keyring.make({ keys: [Redacted.make("Vx0b2kqTq6yJmJ3l8pYwHn5sRf9cZdA1uEoGiKtLbXw=")] })

const app = Effect.gen(function*() {
  const request = yield* HttpServerRequest.HttpServerRequest
  const counter = yield* Counter
  if (request.url === "/inc") yield* counter.update(({ n }) => ({ n: n + 1 }))
  if (request.url === "/login") yield* counter.rotate({ principal: "ada" })
  if (request.url === "/destroy") yield* counter.destroy
  if (request.url === "/none") return HttpServerResponse.text("none")
  const { n } = yield* counter.get
  return HttpServerResponse.text(`${n} ${yield* counter.isNew} ${JSON.stringify(yield* counter.principal)}`)
})

const cookieOf = (reply: Reply) => reply.cookies[0]?.split(";")[0] ?? ""

for (const kind of ["signed", "encrypted", "stored"] as const) {
  describe(kind, () => {
    for (const mount of mounts) {
      it.scoped(mount.name, () =>
        Effect.gen(function*() {
          const mw = kind === "stored" ? Counter.middleware({ kind }) : Counter.middleware({ kind, keyring })
          const send = yield* mount.mount(app as never, Stack.make(mw as never) as never)
          const none = yield* send({ path: "/none" })
          assert.deepStrictEqual([none.cookies, none.headers.vary], [[], undefined])
          const first = yield* send({ path: "/inc" })
          assert.deepStrictEqual([first.status, first.body], [200, `1 true {"_id":"Option","_tag":"None"}`])
          const second = yield* send({ path: "/inc", headers: { cookie: cookieOf(first) } })
          assert.match(second.body, /^2 false/)
          const third = yield* send({
            path: "/login",
            headers: { cookie: kind === "stored" ? cookieOf(first) : cookieOf(second) }
          })
          assert.match(third.body, /^2 false.*ada/)
          assert.lengthOf(third.cookies, 1)
          const fourth = yield* send({ path: "/", headers: { cookie: cookieOf(third) } })
          assert.match(fourth.body, /^2 false.*ada/)
          const gone = yield* send({ path: "/destroy", headers: { cookie: cookieOf(third) } })
          assert.lengthOf(gone.cookies, 1)
          yield* TestClock.adjust("15 days")
          assert.match((yield* send({ path: "/", headers: { cookie: cookieOf(third) } })).body, /^0 true/)
        }).pipe(Effect.provide(SessionStore.layerMemory())))
    }
  })
}
