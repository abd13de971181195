/**
 * What a browser sees: a form, the page of who has logged in, and the way out.
 */
import { HttpLayerRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, Layer, Option, type Redacted, Schema } from "effect"
import { Authentication, PasswordHash, SecurityHeaders, Validate } from "effect-middleware"
import { logins } from "./limits.js"
import { CurrentUser, Users, Visitor } from "./Users.js"

/** The way back is signed, so that no link to the form leads elsewhere. */
export const login = { path: "/login" }

const escape = (text: string) => text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`)

const page = (title: string, main: string, { headers, status }: HttpServerResponse.Options = {}) =>
  Effect.map(SecurityHeaders.Nonce, (nonce) =>
    HttpServerResponse.text(
      `<!doctype html>
<html lang="en">
<meta name="viewport" content="width=device-width">
<title>${escape(title)}</title>
<style nonce="${nonce.value}">
  body { max-width: 20rem; margin: 4rem auto; font: 1rem/1.5 system-ui, sans-serif }
  input, button { box-sizing: border-box; width: 100%; margin-bottom: 1rem; padding: .5rem; font: inherit }
</style>
<h1>${escape(title)}</h1>
${main}
`,
      {
        status,
        contentType: "text/html; charset=utf-8",
        headers: { ...headers, "cache-control": "no-store" }
      }
    ))

// it is sent to where it came from, with the way back in the query
const form = (message = "", options?: HttpServerResponse.Options) =>
  page(
    "Log in",
    `<form method="post">
  <p role="alert">${message}</p>
  <label>Name <input name="name" autocomplete="username" required autofocus></label>
  <label>Password <input name="password" type="password" autocomplete="current-password" required></label>
  <button>Log in</button>
</form>`,
    options
  )

const wrong = form("The name or the password is wrong", {
  status: 401,
  headers: { "www-authenticate": "Cookie realm=\"app\"" }
})

const post = <const Path extends `/${string}`, E, R>(
  path: Path,
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
) =>
  HttpLayerRouter.add(
    "POST",
    path,
    handler.pipe(Validate.contentType(["application/x-www-form-urlencoded"]))
  )

const seeOther = (path: string) => HttpServerResponse.redirect(path, { status: 303 })

const credentials = HttpServerRequest.schemaBodyUrlParams(Schema.Struct({
  name: Schema.String,
  password: Schema.Redacted(Schema.String)
}))

// who does not exist costs what a wrong password does
const verify = PasswordHash.verifier({ find: (name) => Effect.flatMap(Users, (users) => users.find(name)) })

// counted before the password is looked at, and given back if it is right
const check = (name: string, password: Redacted.Redacted) =>
  verify({ username: name, password }).pipe(Effect.flatten, logins.protect(name))

const tooOften = (seconds: number) =>
  form(`There were too many failures: try again in ${seconds} s`, {
    status: 429,
    headers: { "retry-after": `${seconds}` }
  })

const logIn = Effect.gen(function*() {
  const { name, password } = yield* credentials
  yield* check(name, password)
  const visitor = yield* Visitor
  // somebody else's cart stays theirs
  if (Option.exists(yield* visitor.principal, (before) => before !== name)) yield* visitor.destroy
  // who knew the identifier from before knows nothing now
  yield* visitor.rotate({ principal: name })
  yield* visitor.flash(`Welcome, ${name}`)
  const { url } = yield* HttpServerRequest.HttpServerRequest
  const back = yield* Authentication.returnAddress(url, login)
  return seeOther(Option.getOrElse(back, () => "/account"))
}).pipe(Effect.catchTags({
  NoSuchElementException: () => wrong,
  RateLimited: ({ retryAfter }) => tooOften(retryAfter)
}))

const logOut = Effect.gen(function*() {
  yield* (yield* Visitor).destroy
  return seeOther(login.path)
})

const account = Effect.gen(function*() {
  const { user } = yield* CurrentUser
  const visitor = yield* Visitor
  const { cart } = yield* visitor.get
  const messages = (yield* visitor.flashes).map(({ text }) => `<p role="status">${escape(text)}</p>`)
  return yield* page(
    user.name,
    `${messages.join("")}
<p>In your cart: ${cart.length === 0 ? "nothing" : escape(cart.join(", "))}</p>
<form method="post" action="/logout"><button>Log out</button></form>`
  )
}).pipe(CurrentUser.required({ login }))

export const routes = Layer.mergeAll(
  HttpLayerRouter.add("GET", "/login", form()),
  post("/login", logIn),
  post("/logout", logOut),
  HttpLayerRouter.add("GET", "/account", account)
)
