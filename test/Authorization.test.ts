import { HttpLayerRouter, HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Data, Effect, Exit, FastCheck, Layer, Logger, Option, Redacted } from "effect"
import { Authentication, Authorization, Stack } from "effect-middleware"
import { type Init, listen, request } from "./utils/TestApp.js"

interface User {
  readonly id: string
}
class CurrentUser extends Authentication.Tag("test/CurrentUser")<CurrentUser, User>() {}

const principalOf = (identity: Omit<Authentication.Identity<User>, "user"> = {}): Authentication.Principal<User> =>
  Effect.runSync(
    Effect.map(CurrentUser.Backend, ({ authenticate }) => {
      const exchange = { clock: { unsafeCurrentTimeMillis: () => 0 } }
      const answer = authenticate(exchange as never) as Authentication.Authenticated<User>
      return answer.principal
    }).pipe(Effect.provide(CurrentUser.layerTest({ id: "u1" }, identity)))
  )

const decide = <E>(
  requirement: Authorization.Requirement<User, E>,
  identity: Omit<Authentication.Identity<User>, "user"> = {}
): Effect.Effect<Authorization.Decision, E> => {
  const decided = Authorization.make(requirement).decide(principalOf(identity))
  return Effect.isEffect(decided) ? decided : Effect.succeed(decided)
}
const told = <E>(
  requirement: Authorization.Requirement<User, E>,
  identity?: Omit<Authentication.Identity<User>, "user">
) => Effect.map(decide(requirement, identity), Authorization.explain)

describe("rules", () => {
  const cases: ReadonlyArray<
    readonly [
      what: string,
      requirement: Authorization.Requirement<User>,
      identity: Omit<Authentication.Identity<User>, "user">,
      allowed: boolean
    ]
  > = [
    ["nothing is enough for a principal", {}, {}, true],
    ["a scope", { scopes: ["docs:read"] }, { scopes: ["docs:read"] }, true],
    ["no scope", { scopes: ["docs:read"] }, {}, false],
    ["a prefix of a scope", { scopes: ["docs"] }, { scopes: ["docs:read"] }, false],
    ["a scope that it is a prefix of", { scopes: ["docs:read"] }, { scopes: ["docs"] }, false],
    ["another case", { scopes: ["docs:read"] }, { scopes: ["Docs:Read"] }, false],
    ["scopes in one text", { scopes: ["a"] }, { scopes: ["a b"] }, false],
    ["all scopes", { scopes: ["a", "b"] }, { scopes: ["b", "a", "c"] }, true],
    ["one of two scopes", { scopes: ["a", "b"] }, { scopes: ["a"] }, false],
    ["one of two roles", { roles: ["admin", "editor"] }, { roles: ["editor"] }, true],
    ["none of two roles", { roles: ["admin", "editor"] }, { roles: ["viewer"] }, false],
    ["a scope is no role", { roles: ["admin"] }, { scopes: ["admin"] }, false],
    ["all permissions", { permissions: ["p", "q"] }, { permissions: ["p", "q"] }, true],
    ["one of two permissions", { permissions: ["p", "q"] }, { permissions: ["p"] }, false],
    ["all that is said has to hold", { scopes: ["a"], roles: ["r"] }, { scopes: ["a"] }, false],
    ["all", { all: [{ scopes: ["a"] }, { roles: ["r"] }] }, { scopes: ["a"], roles: ["r"] }, true],
    ["all but one", { all: [{ scopes: ["a"] }, { roles: ["r"] }] }, { scopes: ["a"] }, false],
    ["any", { any: [{ scopes: ["a"] }, { roles: ["r"] }] }, { roles: ["r"] }, true],
    ["none of any", { any: [{ scopes: ["a"] }, { roles: ["r"] }] }, {}, false],
    ["not", { not: { roles: ["suspended"] } }, {}, true],
    ["not, but so", { not: { roles: ["suspended"] } }, { roles: ["suspended"] }, false],
    ["a rule", Authorization.role("r"), { roles: ["r"] }, true],
    ["a rule of your own", Authorization.rule<User>("own", ({ user }) => user.id === "u1"), {}, true]
  ]
  it.effect.each(cases)(
    "%s",
    ([what, requirement, identity, allowed]) =>
      Effect.map(decide(requirement, identity), (decision) => assert.strictEqual(decision.allowed, allowed, what))
  )

  it("what no principal could have is refused as it is made", () => {
    const mistakes: ReadonlyArray<readonly [Authorization.Requirement, RegExp]> = [
      [{ scopes: [] }, /^Authorization: all is empty: list a rule, or leave it out$/],
      [{ roles: [] }, /^Authorization: any is empty: list a rule, or leave it out$/],
      [{ any: [] }, /any is empty/],
      [{ all: [] }, /all is empty/],
      [{ scopes: ["a b"] }, /^Authorization: scope "a b": write one name, without spaces and quotes$/],
      [{ scopes: ["a\""] }, /write one name/],
      [{ scopes: [""] }, /write one name/],
      [{ roles: [""] }, /^Authorization: a role is empty: write its name$/],
      [{ permissions: [""] }, /^Authorization: a permission is empty: write its name$/]
    ]
    for (const [requirement, message] of mistakes) assert.throws(() => Authorization.make(requirement), message)
  })

  it.effect("a decision tells how it came about, and nothing that was not needed", () =>
    Effect.gen(function*() {
      const closed = Authorization.rule("office hours", () => Effect.succeed(Authorization.deny("it is Sunday")))
      assert.strictEqual(
        yield* told({ scopes: ["a", "b"], any: [closed, { not: { roles: ["r"] } }, { roles: ["s"] }] }, {
          scopes: ["a", "b"],
          roles: ["r"]
        }),
        [
          "denied: all",
          "  allowed: all",
          "    allowed: scope a",
          "    allowed: scope b",
          "  denied: any",
          "    denied: office hours (it is Sunday)",
          "    denied: not",
          "      allowed: role r",
          "    denied: role s"
        ].join("\n")
      )
      let asked = 0
      const counted = Authorization.rule("counted", () => Effect.sync(() => ++asked > 0))
      assert.strictEqual(yield* told({ all: [{ roles: ["r"] }, counted] }), "denied: all\n  denied: role r")
      assert.strictEqual(
        yield* told({ any: [{ not: { roles: ["r"] } }, counted] }),
        "allowed: any\n  allowed: not\n    denied: role r"
      )
      assert.strictEqual(asked, 0)
    }))

  it.effect("a rule that cannot decide neither allows nor denies", () =>
    Effect.gen(function*() {
      class Down extends Data.TaggedError("Down")<{}> {}
      const down = Authorization.rule("down", () => Effect.fail(new Down()))
      for (const requirement of [down, Authorization.not(down), Authorization.any(Authorization.role("r"), down)]) {
        assert.deepStrictEqual(yield* Effect.exit(decide(requirement)), Exit.fail(new Down()))
      }
      // what is decided without it is decided
      assert.isTrue((yield* decide(Authorization.any(Authorization.not(Authorization.role("r")), down))).allowed)
    }))

  // rules as terms over three roles, and what they say by logic alone
  type Term = string | { readonly all: ReadonlyArray<Term> } | { readonly any: ReadonlyArray<Term> } | {
    readonly not: Term
  }
  const term: FastCheck.Arbitrary<Term> = FastCheck.letrec<{ term: Term }>((tie) => ({
    term: FastCheck.oneof(
      { maxDepth: 4 },
      FastCheck.constantFrom("a", "b", "c"),
      FastCheck.record({ all: FastCheck.array(tie("term"), { minLength: 1, maxLength: 3 }) }),
      FastCheck.record({ any: FastCheck.array(tie("term"), { minLength: 1, maxLength: 3 }) }),
      FastCheck.record({ not: tie("term") })
    )
  })).term
  const requirementOf = (term: Term, asEffect: boolean): Authorization.Requirement => {
    if (typeof term === "string") {
      return asEffect
        ? Authorization.rule(term, ({ roles }) => Effect.succeed(roles.includes(term)))
        : { roles: [term] }
    }
    if ("all" in term) return { all: term.all.map((part) => requirementOf(part, asEffect)) }
    if ("any" in term) return { any: term.any.map((part) => requirementOf(part, asEffect)) }
    return { not: requirementOf(term.not, asEffect) }
  }
  const holds = (term: Term, roles: ReadonlyArray<string>): boolean => {
    if (typeof term === "string") return roles.includes(term)
    if ("all" in term) return term.all.every((part) => holds(part, roles))
    if ("any" in term) return term.any.some((part) => holds(part, roles))
    return !holds(term.not, roles)
  }
  it.effect.prop(
    "is logic, in plain code and in Effects",
    [term, FastCheck.subarray(["a", "b", "c"]), FastCheck.boolean()],
    ([term, roles, asEffect]) =>
      Effect.map(
        decide(requirementOf(term, asEffect), { roles }),
        ({ allowed }) => assert.strictEqual(allowed, holds(term, roles))
      )
  )
})

const bearer = Authentication.bearer({
  verify: (token) => {
    const [id = "", scopes = "", roles = ""] = Redacted.value(token).split("/")
    return id === "bad"
      ? Effect.succeed(Option.none())
      : Effect.succeed(Option.some({ user: { id }, scopes: scopes.split("+"), roles: roles.split("+") }))
  }
})
const key = Authentication.apiKey({ find: () => Effect.succeed(Option.some({ user: { id: "k" } })) })
const backend = CurrentUser.layer(Authentication.firstOf(bearer, key))
const hello = Effect.map(CurrentUser, ({ user }) => HttpServerResponse.text(user.id))

/** Sends to a router whose requirements are met by the backend. */
const serve = (router: HttpRouter.HttpRouter<unknown, Authentication.BackendOf<CurrentUser>>) =>
  Effect.gen(function*() {
    const context = yield* Layer.build(backend)
    const port = yield* listen(
      HttpServer.serve(
        HttpRouter.provideService(router, CurrentUser.Backend, yield* Effect.provide(CurrentUser.Backend, context))
      )
    )
    return (path: string, token?: string, more: Init["headers"] = {}) =>
      request(port, { path, headers: { ...token === undefined ? {} : { authorization: `Bearer ${token}` }, ...more } })
  })

describe("requires", () => {
  it.scoped("401 without a principal, 403 with one that may not", () =>
    Effect.gen(function*() {
      const send = yield* serve(HttpRouter.empty.pipe(
        HttpRouter.get("/docs", CurrentUser.requires({ scopes: ["docs:read", "docs:list"] })(hello)),
        HttpRouter.get("/admin", CurrentUser.requires({ roles: ["admin"] })(hello)),
        HttpRouter.get("/hidden", CurrentUser.requires({ roles: ["admin"] }, { hide: true })(hello)),
        HttpRouter.get("/page", CurrentUser.requires({ roles: ["admin"] }, { redirect: "/why" })(hello)),
        HttpRouter.get(
          "/users/:id",
          CurrentUser.requires(
            Authorization.rule("is self", ({ user }: { readonly user: User }) =>
              Effect.map(HttpRouter.params, ({ id }) =>
                id === user.id || Authorization.deny("it is another user")))
          )(hello)
        )
      ))
      const told = (path: string, token?: string, more?: Init["headers"]) =>
        Effect.map(
          send(path, token, more),
          (
            { body, headers, status }
          ) => [status, status === 200 ? body : headers["www-authenticate"] ?? headers["location"] ?? ""]
        )
      const none = "Bearer realm=\"app\", ApiKey realm=\"app\", in=\"header\", name=\"x-api-key\""
      assert.deepStrictEqual(yield* told("/docs"), [401, none])
      assert.deepStrictEqual(yield* told("/docs", "ada/docs:read+docs:list"), [200, "ada"])
      assert.deepStrictEqual(yield* told("/docs", "ada/docs:read"), [
        403,
        "Bearer realm=\"app\", error=\"insufficient_scope\", scope=\"docs:read docs:list\""
      ])
      // to who has come by another scheme no scope is of use, and a role is none
      assert.deepStrictEqual(yield* told("/docs", undefined, { "x-api-key": "k" }), [403, ""])
      assert.deepStrictEqual(yield* told("/admin", "ada//editor"), [403, ""])
      assert.deepStrictEqual(yield* told("/admin", "ada//admin"), [200, "ada"])

      const [hidden, unknown] = [yield* send("/hidden", "ada"), yield* send("/nowhere", "ada")]
      assert.deepStrictEqual(
        { ...hidden, headers: { ...hidden.headers, date: "" } },
        { ...unknown, headers: { ...hidden.headers, date: "", ...unknown.headers, date: "" } } as never
      )
      assert.strictEqual(hidden.status, 404)
      assert.deepStrictEqual(yield* told("/hidden"), [401, none])
      assert.deepStrictEqual(yield* told("/page", "ada", { "sec-fetch-mode": "navigate" }), [303, "/why"])
      assert.deepStrictEqual(yield* told("/page", "ada"), [403, ""])
      assert.deepStrictEqual(yield* told("/users/ada", "ada"), [200, "ada"])
      assert.deepStrictEqual(yield* told("/users/bo", "ada"), [403, ""])
    }))

  it.scoped("asks once who it is, wherever that was asked before", () =>
    Effect.gen(function*() {
      let asked = 0
      const counting = Authentication.bearer({
        verify: (token) => Effect.sync(() => (asked++, Option.some({ user: { id: Redacted.value(token) } })))
      })
      const admin = CurrentUser.requires({ not: { roles: ["suspended"] } })
      for (const outer of [CurrentUser.required(), CurrentUser.optional()] as const) {
        const context = yield* Layer.build(CurrentUser.layer(counting))
        const app = Stack.make(outer as ReturnType<typeof CurrentUser.required>, admin)(hello)
        const port = yield* listen(HttpServer.serve(Effect.provide(app, context)))
        asked = 0
        const { body } = yield* request(port, { headers: { authorization: "Bearer ada" } })
        assert.deepStrictEqual([body, asked], ["ada", 1])
      }
      // who is nobody to `optional` is asked again, and is still nobody
      const context = yield* Layer.build(CurrentUser.layer(counting))
      const app = Stack.make(CurrentUser.optional(), admin)(hello)
      const port = yield* listen(HttpServer.serve(Effect.provide(app, context)))
      assert.strictEqual((yield* request(port)).status, 401)
    }))

  it.scoped("a policy that is down is no denial: its failure goes on", () =>
    Effect.gen(function*() {
      class PolicyDown extends Data.TaggedError("PolicyDown")<{}> {}
      const down = CurrentUser.requires(Authorization.rule("down", () => Effect.fail(new PolicyDown())))
      const app = Effect.catchTag(down(hello), "PolicyDown", () => HttpServerResponse.text("down", { status: 503 }))
      const send = yield* serve(HttpRouter.empty.pipe(HttpRouter.get("/", app)))
      assert.strictEqual((yield* send("/", "ada")).status, 503)
    }))

  it.scoped("the log says why, and the client does not", () =>
    Effect.gen(function*() {
      const lines: Array<unknown> = []
      const logger = Logger.make(({ annotations }) => lines.push(Object.fromEntries(annotations)["authorization"]))
      const app = CurrentUser.requires({ roles: ["secret-role"] })(hello).pipe(
        Effect.tapErrorTag("NotPermitted", ({ message }) => Effect.sync(() => lines.push(message)))
      )
      const send = yield* Effect.provide(
        serve(HttpRouter.empty.pipe(HttpRouter.get("/", app))),
        Logger.replace(Logger.defaultLogger, logger)
      )
      const { body, headers } = yield* send("/", "ada")
      assert.include(lines.join("\n"), "denied: role secret-role")
      assert.notInclude(body + JSON.stringify(headers), "secret-role")
    }))
})

describe("permit", () => {
  it.scoped("decides inside a handler", () =>
    Effect.gen(function*() {
      const handler = Effect.map(CurrentUser.permit({ scopes: ["docs:write"] }), ({ user }) =>
        HttpServerResponse.text(user.id))
      const send = yield* serve(HttpRouter.empty.pipe(HttpRouter.get("/", CurrentUser.required()(handler))))
      const allowed = yield* send("/", "ada/docs:write")
      assert.deepStrictEqual([allowed.status, allowed.body], [200, "ada"])
      const denied = yield* send("/", "ada")
      assert.deepStrictEqual([denied.status, denied.headers["www-authenticate"]], [
        403,
        "Bearer realm=\"app\", error=\"insufficient_scope\", scope=\"docs:write\""
      ])
    }))
})

describe("deny by default", () => {
  it.scoped("a router of guarded routes alone", () =>
    Effect.gen(function*() {
      const router = CurrentUser.routes(
        CurrentUser.route("GET", "/health", CurrentUser.public, HttpServerResponse.text("up")),
        CurrentUser.route("GET", "/me", CurrentUser.requires({}), hello),
        CurrentUser.route("GET", "/admin", CurrentUser.requires({ roles: ["admin"] }), hello)
      )
      const send = yield* serve(router)
      const status = (path: string, token?: string) => Effect.map(send(path, token), ({ status }) => status)
      assert.strictEqual(yield* status("/health"), 200)
      assert.strictEqual(yield* status("/me"), 401)
      assert.strictEqual(yield* status("/me", "ada"), 200)
      assert.strictEqual(yield* status("/admin", "ada"), 403)
      assert.strictEqual(yield* status("/admin", "ada//admin"), 200)
    }))

  it.scoped("routes of a HttpLayerRouter", () =>
    Effect.gen(function*() {
      const routes = Layer.mergeAll(
        CurrentUser.layerRoute("GET", "/health", HttpServerResponse.text("up")).pipe(
          Layer.provide(Stack.layerRouter(CurrentUser.public).layer)
        ),
        CurrentUser.layerRoute("GET", "/admin", hello).pipe(
          Layer.provide(Stack.layerRouter(CurrentUser.requires({ roles: ["admin"] })).layer)
        )
      ).pipe(Layer.provide(backend))
      const port = yield* listen(HttpLayerRouter.serve(routes, { disableListenLog: true, disableLogger: true }))
      const status = (path: string, authorization?: string) =>
        Effect.map(
          request(port, { path, headers: authorization === undefined ? {} : { authorization } }),
          ({ status }) => status
        )
      assert.strictEqual(yield* status("/health"), 200)
      assert.strictEqual(yield* status("/admin"), 401)
      assert.strictEqual(yield* status("/admin", "Bearer ada"), 403)
      assert.strictEqual(yield* status("/admin", "Bearer ada//admin"), 200)
    }))
})
