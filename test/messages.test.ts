/**
 * What the compiler says of a mistake, what a stack costs it, and whether every public name has a type test.
 *
 * The messages are kept in types/messages.snap.md, to be read: `npx vitest run test/messages.test.ts -u` writes them.
 */
import { assert, describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { Middleware, Stack } from "effect-middleware"
import * as Fs from "node:fs"
import * as Path from "node:path"
import ts from "typescript"
import { Session } from "./types/fixtures.js"

const root = Path.resolve(import.meta.dirname, "..")
const types = Path.join(root, "test/types")

interface Misuse {
  readonly title: string
  readonly code: string
  /** What a person must find in the first two lines; the message of a type that is platform's is as it is. */
  readonly says: RegExp | "platform's"
}

const misuses: ReadonlyArray<Misuse> = [
  // order
  {
    title: "A middleware stands outside the one that provides what it needs",
    code: `Stack.make(
  RequestId.middleware({ trust: "proxy" }),
  Forwarded.middleware({ trust: "none" })
)`,
    says:
      /MustStandInside<"Forwarded", Client>[^]*needs a service that only a later one provides: put it after that one/
  },
  {
    title: "The same, far apart",
    code: "Stack.make(errors, auth, cors, limit, session)",
    says: /MustStandInside<"Session", Session>[^]*put it after that one/
  },
  {
    title: "The same, of a stack inside a stack",
    code: "Stack.make(errors, Stack.make(cors, auth), session)",
    says: /MustStandInside<"Session", Session>[^]*put it after that one/
  },
  {
    title: "The same, inside a stack inside a stack",
    code: "Stack.make(errors, Stack.make(auth, session))",
    says: /MustStandInside<"Session", Session>[^]*put it after that one/
  },
  {
    title: "A middleware that is one of two",
    code: "Stack.make(errors, condition ? session : auth)",
    says: /MustBeOne/
  },
  {
    title: "Middlewares from an array",
    code: "const list = [errors, cors]\nStack.make(...list)",
    says: /must either have a tuple type/
  },
  {
    title: "An array of middlewares",
    code: "const list = [errors, cors]\nStack.make(list)",
    says: /MustBeListed[^]*list the middlewares one by one/
  },
  {
    title: "More than twenty middlewares: write a stack inside the stack",
    code: `Stack.make(${Array.from({ length: 21 }, () => "cors").join(", ")})`,
    says: /Expected 1-20 arguments, but got 21/
  },
  {
    title: "A plain HttpMiddleware",
    code: "Stack.make(errors, HttpMiddleware.logger)",
    says: /MustBeMiddleware[^]*enters by Middleware\.fromHttpMiddleware\(name, middleware\)/
  },
  {
    title: "A middleware of which nothing is known",
    code: `declare const any: Middleware.Any
export const served: Layer.Layer<never, never, HttpServer.HttpServer> = Stack.serve(app, Stack.make(session, any))`,
    says: /'unknown' is not assignable/
  },
  // claims
  {
    title: "A middleware is said to provide more than it does",
    code: "export const both: Middleware.Middleware<Session | User, never, Store> = session",
    says: /Middleware<Session,[^]*not assignable to type 'Middleware<Session \| User,/
  },
  {
    title: "A middleware is said to require less than it does",
    code: "export const alone: Middleware.Middleware<Session> = session",
    says: /'Store' is not assignable to type 'never'/
  },
  {
    title: "A middleware is said to handle what it does not",
    code: "export const handling: Middleware.Middleware<never, never, never, NotFound> = errors",
    says:
      /Middleware<never, never, never, Unauthenticated \| Busy,[^]*not assignable to type 'Middleware<never, never, never, NotFound/
  },
  // phases
  {
    title: "A service that is not provided on every path",
    code: `Middleware.make({
  name: "Sometimes",
  provides: Session,
  request: ({ request }) => request.url === "/" ? undefined : Middleware.Provide({ id: "1" })
})`,
    says:
      /'Provide<\{ id: string; \}> \| undefined' is not assignable to type 'Refuse<object> \| Respond \| Defer \| Provide/
  },
  {
    title: "The same, in an effect",
    code: `Middleware.make({
  name: "Sometimes",
  provides: Session,
  requestEffect: () => Effect.map(Store, () => condition ? undefined : Middleware.Provide({ id: "1" }))
})`,
    says: /Provide<\{ id: string; \}> \| undefined[^]*not assignable to type [^]*Provide<\{ readonly id: string; \}>/
  },
  {
    title: "A service of another type",
    code: "Middleware.make({ name: \"Wrong\", provides: Session, request: () => Middleware.Provide({ id: 1 }) })",
    says: /Provide<\{ id: number; \}>[^]*not assignable to type[^]*Provide<\{ readonly id: string; \}>/
  },
  {
    title: "The same, by Middleware.provide",
    code: "Middleware.provide(Session, Effect.succeed({ id: 1 }))",
    says: /Effect<\{ id: number; \}[^]*not assignable to parameter of type 'Effect<\{ readonly id: string; \}/
  },
  {
    title: "A service is read that is not named in `requires`",
    code: `Middleware.make({
  name: "Reading",
  requires: [Store],
  request: (exchange) => void exchange.get(Database)
})`,
    says: /'typeof Database' is not assignable to parameter of type 'NamedInRequires<Store>'/
  },
  {
    title: "A refusal that is not an object",
    code: "Middleware.make({ name: \"Refusing\", request: () => Middleware.Refuse(\"no\") })",
    says: /'string' is not assignable to parameter of type 'object'/
  },
  {
    title: "An effect where plain code is asked for",
    code: "Middleware.make({ name: \"Effectful\", request: () => Effect.as(Store, Middleware.Pass) })",
    says: /Effect<Pass, never, Store>' is not assignable to type '[^]*Refuse<object> \| Respond/
  },
  {
    title: "A response phase that can fail",
    code: "Middleware.make({ name: \"Failing\", responseEffect: () => Effect.fail(new Busy()) })",
    says: /Effect<never, Busy, never>' is not assignable to type '[^]*Effect<void, never, never>'/
  },
  {
    title: "A dispatch that handles one failure of many",
    code: `Middleware.dispatch("Some", (_, next) =>
  next.pipe(Effect.catchTag("NotFound", () => HttpServerResponse.empty({ status: 404 }))))`,
    says: "platform's"
  },
  {
    title: "A handler under another tag than its failure has",
    code: "ExceptionHandlers.byTag({ Missing: (error: NotFound) => HttpServerResponse.text(`no ${error.id}`) })",
    says: /MustHaveTag<"Missing">[^]*does not have the tag it stands under/
  },
  {
    title: "A failure that is forgotten, where all have to be handled",
    code: `ExceptionHandlers.exhaustive<NotFound | Busy | Error>()(
  ExceptionHandlers.byTag({ NotFound: () => HttpServerResponse.empty({ status: 404 }) })
)`,
    says: /MustHandle<Error \| "Busy">[^]*these failures have no handler here/
  },
  {
    title: "An alternative that wraps its app",
    code: "Middleware.firstOf(\"First\", session, errors)",
    says: /'Wrapping' is not assignable to type 'PhaseMembers'/
  },
  // editing
  {
    title: "A name that no member has",
    code: "Stack.without(Stack.make(errors, cors, session), \"Sesion\")",
    says: /'"Sesion"' is not assignable to parameter of type '("\w+"( \| )?)+'/
  },
  {
    title: "An edit that misplaces the new member",
    code: "Stack.before(Stack.make(errors, session), \"Session\", auth)",
    says: /MustStandInside<"Session", Session>[^]*put it after that one/
  },
  {
    title: "An edit that misplaces another member",
    code: "Stack.append(Stack.make(errors, auth), session)",
    says:
      /WouldMisplace<"Auth", Session>[^]*after this edit another middleware needs a service that only a later one provides/
  },
  // mounts
  {
    title: "A middleware is forgotten",
    code: "Layer.launch(Stack.serve(app, Stack.make(errors))).pipe(Effect.provide(server), Effect.runFork)",
    says: /Effect<never, never, Session>/
  },
  {
    title: "The same, where the type of the layer is written down",
    code: "export const served: Layer.Layer<never, never, HttpServer.HttpServer> = Stack.serve(app, errors)",
    says: /Layer<never, never, (Session \| HttpServer|HttpServer \| Session)>' is not assignable/
  },
  {
    title: "The same, on a route of HttpLayerRouter",
    code: `HttpLayerRouter.add("GET", "/", app).pipe(Layer.provide(Stack.layerRouter(auth).layer))`,
    says: "platform's"
  },
  {
    title: "What wraps its app, on an endpoint of HttpApi",
    code: "Stack.httpApiMiddleware(Effects, errors)",
    says: /'Wrapping' is not assignable to type 'PhaseMembers'/
  },
  {
    title: "What does not provide what an HttpApiMiddleware.Tag says",
    code: "Stack.httpApiMiddleware(WithSession, cors)",
    says: /'Session' is not assignable to type 'never'/
  },
  // sessions
  {
    title: "A session that nobody provides",
    code: `Layer.launch(Stack.serve(counted, cors)).pipe(Effect.provide(server), Effect.runFork)`,
    says: /Effect<never, never, Counter>/
  },
  {
    title: "A session in a store, without a store",
    code:
      `Layer.launch(Stack.serve(counted, Counter.middleware({ kind: "stored" }))).pipe(Effect.provide(server), Effect.runFork)`,
    says: /Effect<never, never, SessionStore>/
  },
  {
    title: "A signed session, without keys",
    code:
      `Layer.launch(Stack.serve(counted, Counter.middleware({ kind: "signed" }))).pipe(Effect.provide(server), Effect.runFork)`,
    says: /Effect<never, never, Keyring>/
  },
  {
    title: "A session of which it is not said where it is kept",
    code: "Counter.middleware({ maxAge: \"1 day\" })",
    says: /Property 'kind' is missing/
  },
  {
    title: "A session of which it is not said what a new one holds",
    code: `Sessions.Tag("app/Name")()(Schema.Struct({ name: Schema.String }))`,
    says: /Expected 2 arguments, but got 1/
  },
  {
    title: "A session set to what it cannot hold",
    code: "Effect.flatMap(Counter, (counter) => counter.set({ n: \"1\" }))",
    says: /Type 'string' is not assignable to type 'number'/
  },
  // who it is, and what they may do
  {
    title: "A handler that needs a principal, and nobody to provide it",
    code: "Layer.launch(Stack.serve(greet, cors)).pipe(Effect.provide(server), Effect.runFork)",
    says: /Effect<never, never, CurrentUser>/
  },
  {
    title: "A principal without its backend",
    code: "Layer.launch(Stack.serve(greet, CurrentUser.required())).pipe(Effect.provide(server), Effect.runFork)",
    says: /Effect<never, never, BackendOf<CurrentUser>>/
  },
  {
    title: "A backend for a session that the tag does not name",
    code:
      `CurrentUser.layer(Authentication.session(Counter, { find: (name) => Effect.succeed(Option.some({ user: { name } })) }))`,
    says: /MustBeRequiredByTag<Counter>[^]*name its tag in Authentication\.Tag/
  },
  {
    title: "A backend of another user",
    code: "CurrentUser.layer(Authentication.apiKey({ find: () => Effect.succeed(Option.some({ user: { id: 7 } })) }))",
    says: /Property 'name' is missing in type '{ id: number; }'/
  },
  {
    title: "A route of which nobody has said who may come",
    code: "CurrentUser.route(\"GET\", \"/\", CurrentUser.required(), greet)",
    says: /AccessOf<CurrentUser>/
  },
  {
    title: "A rule by a name that there is not",
    code: "CurrentUser.requires({ role: [\"admin\"] })",
    says: /'role' does not exist/
  },
  // traffic
  {
    title: "A limit for each client, of which nobody says who it is",
    code: `Stack.make(
  ConcurrencyLimit.middleware({ permits: 10, key: "client" }),
  Forwarded.middleware({ trust: "none" })
)`,
    says:
      /MustStandInside<"Forwarded", Client>[^]*needs a service that only a later one provides: put it after that one/
  },
  {
    title: "A queue without an end",
    code: "ConcurrencyLimit.middleware({ permits: 10, queue: { size: 100 } })",
    says: /Property 'maxWait' is missing/
  },
  {
    title: "A timeout that does not say when",
    code: "Timeout.middleware({ status: 504 })",
    says: /Property 'limit' is missing/
  },
  // WebSocket
  {
    title: "A close code that no server may send",
    code: "new WebSocket.WebSocketClose({ code: 1006 })",
    says: /MustBeSendable<1006>/
  },
  {
    title: "A secret that a log would show",
    code: "ServerErrors.middleware({ debug: { secret: \"0123456789abcdef\" } })",
    says: /Type 'string' is not assignable to type 'Redacted<string>'/
  },
  {
    title: "A handler of server errors that gives no response",
    code: "ServerErrors.middleware({ handler: () => Effect.succeed(\"sorry\") })",
    says: /'Effect<HttpServerResponse, unknown, never>'/
  },
  {
    title: "A WebSocket whose handshake nobody checks",
    code:
      `Layer.launch(Stack.serve(WebSocket.handle(() => Effect.void), cors)).pipe(Effect.provide(server), Effect.runFork)`,
    says: /Effect<never, never, Handshake>/
  }
]

const prelude = `import {
  HttpApiMiddleware, HttpApp, HttpLayerRouter, HttpMiddleware, HttpRouter, HttpServer, HttpServerResponse
} from "@effect/platform"
import { Effect, Layer, Option, Schema } from "effect"
import {
  Authentication, ConcurrencyLimit, ExceptionHandlers, Forwarded, Middleware, RequestId, ServerErrors,
  Session as Sessions, Stack, Timeout, WebSocket
} from "effect-middleware"
import {
  auth, Busy, condition, cors, Database, errors, limit, NotFound, Session, session, Store, User
} from "./fixtures.js"
declare const app: HttpApp.Default<never, Session>
declare const server: Layer.Layer<HttpServer.HttpServer>
class WithSession extends HttpApiMiddleware.Tag<WithSession>()("WithSession", { provides: Session }) {}
class Effects extends HttpApiMiddleware.Tag<Effects>()("Effects") {}
class Counter extends Sessions.Tag("app/Counter")<Counter>()(Schema.Struct({
  n: Schema.optionalWith(Schema.Number, { default: () => 0 })
})) {}
const counted = Effect.as(Counter, HttpServerResponse.empty())
class CurrentUser extends Authentication.Tag("app/CurrentUser")<CurrentUser, { readonly name: string }>() {}
const greet = Effect.as(CurrentUser, HttpServerResponse.empty())
`

// ---------------------------------------------------------------------------------------------------------------------
// what a stack costs: twenty members, each of which needs a service of the one before and has a failure of its own
// ---------------------------------------------------------------------------------------------------------------------

const range = (n: number) => Array.from({ length: n }, (_, i) => i)
const member = (i: number) =>
  `class S${i} extends Middleware.Service("S${i}")<S${i}, { readonly of${i}: 1 }>() {}
class E${i} extends Data.TaggedError("E${i}") {}
export declare const m${i}: (options: { readonly on: boolean }) => Middleware.Middleware<
  S${i}, E${i}, ${i === 0 ? "never" : `S${i - 1}`}, ${
    i % 3 === 0 ? `E${(i + 1) % 20}` : "never"
  }, "M${i}", Middleware.Phases
>
`
const call = (i: number) => `m.m${i}({ on: true })`
const nest = (from: number, depth: number): string =>
  depth === 0 ? call(from) : `Stack.make(${call(from)}, ${nest(from + 1, depth - 1)})`
const using = (stack: string) =>
  `import { Stack } from "effect-middleware"\nimport * as m from "./members.js"\n` +
  `export const stack = ${stack}\nexport const requires: import("effect-middleware").Middleware.Middleware.Requires<typeof stack> = null as never\n`

const costs = {
  "members.ts": `import { Data } from "effect"\nimport { Middleware } from "effect-middleware"\n` +
    range(20).map(member).join(""),
  // what the first use of any stack costs
  "one.ts": using(`Stack.make(${call(0)})`),
  "twenty.ts": using(`Stack.make(${range(20).map(call).join(", ")})`),
  "nested.ts": using(nest(0, 5)),
  "edited.ts": using(`Stack.append(Stack.make(${range(19).map(call).join(", ")}), ${call(19)})`)
}

// ---------------------------------------------------------------------------------------------------------------------
// one program
// ---------------------------------------------------------------------------------------------------------------------

const options: ts.CompilerOptions = (() => {
  const { config } = ts.readConfigFile(Path.join(root, "tsconfig.json"), ts.sys.readFile)
  return {
    ...ts.parseJsonConfigFileContent(config, ts.sys, root).options,
    moduleDetection: ts.ModuleDetectionKind.Force,
    noUnusedLocals: false
  }
})()

const modules = Fs.readdirSync(Path.join(root, "src")).filter((file) => file.endsWith(".ts") && file !== "index.ts")
const texts = new Map([
  ...Object.entries(costs).map(([name, code]) => [Path.join(types, name), code] as const),
  ...misuses.map(({ code }, index) => [Path.join(types, `misuse-${index}.ts`), prelude + code] as const)
])
const program = (() => {
  const host = ts.createCompilerHost(options)
  const { fileExists, getSourceFile, readFile } = host
  host.fileExists = (name) => texts.has(Path.normalize(name)) || fileExists(name)
  host.readFile = (name) => texts.get(Path.normalize(name)) ?? readFile(name)
  host.getSourceFile = (name, languageVersion, ...rest) => {
    const text = texts.get(Path.normalize(name))
    return text === undefined
      ? getSourceFile(name, languageVersion, ...rest)
      : ts.createSourceFile(name, text, languageVersion)
  }
  return ts.createProgram(
    [...texts.keys(), ...modules.map((file) => Path.join(root, "src", file))],
    options,
    host
  )
})()

const check = (name: string) => {
  const sourceFile = program.getSourceFile(Path.join(types, name))
  assert.isDefined(sourceFile)
  const before = program.getInstantiationCount()
  const diagnostics = [...program.getSyntacticDiagnostics(sourceFile), ...program.getSemanticDiagnostics(sourceFile)]
  return { sourceFile, diagnostics, instantiations: program.getInstantiationCount() - before }
}

// the order decides what is counted where
const counted = new Map(Object.keys(costs).map((name) => [name, check(name)]))

const messageOf = ({ messageText }: ts.Diagnostic) =>
  ts.flattenDiagnosticMessageText(messageText, "\n")
    .replaceAll(/import\("[^"]*"\)\./g, "")
    // said of every mismatch of an Effect, and never what is wrong
    .replaceAll(
      " with 'exactOptionalPropertyTypes: true'. Consider adding 'undefined' to the types of the target's properties.",
      "."
    )

/** The line of a mistake with the place underlined, and the message. */
const show = (sourceFile: ts.SourceFile, diagnostic: ts.Diagnostic) => {
  const { length = 1, start = 0 } = diagnostic
  const { character, line } = sourceFile.getLineAndCharacterOfPosition(start)
  const text = sourceFile.text.split("\n")[line] ?? ""
  const marks = "~".repeat(Math.max(1, Math.min(length, text.length - character)))
  return `${text}\n${" ".repeat(character)}${marks}\n${messageOf(diagnostic)}`
}

const thrown = (f: () => unknown) => {
  try {
    f()
  } catch (error) {
    return String(error)
  }
  return "nothing"
}

describe("the compiler says of a mistake", () => {
  const results = misuses.map((misuse, index) => ({ misuse, ...check(`misuse-${index}.ts`) }))

  for (const { diagnostics, misuse: { says, title } } of results) {
    it(title, () => {
      assert.isNotEmpty(diagnostics)
      const [first] = diagnostics
      if (says !== "platform's") assert.match(messageOf(first!).split("\n").slice(0, 2).join("\n"), says)
    })
  }

  it("what is kept in messages.snap.md", async () => {
    const sections = results.map(({ diagnostics, misuse: { code, title }, sourceFile }) =>
      `## ${title}\n\n\`\`\`ts\n${code}\n\`\`\`\n\n\`\`\`text\n${
        diagnostics.map((diagnostic) => show(sourceFile, diagnostic)).join("\n\n")
      }\n\`\`\`\n`
    )
    const atRun = [
      {
        title: "Two members of one name",
        code: "Stack.make(Middleware.make({ name: \"A\" }), Middleware.make({ name: \"A\" }))",
        run: () => Stack.make(Middleware.make({ name: "A" }), Middleware.make({ name: "A" }))
      },
      {
        title: "A name that the types do not know",
        code: "Stack.without(stack, name as \"A\") // \"C\"",
        run: () => Stack.without(Stack.make(Middleware.make({ name: "A" }), Middleware.make({ name: "B" })), "C" as "A")
      },
      {
        title: "A plain function, behind the compiler's back",
        code: "Stack.make(((app) => app) as never)",
        run: () => Stack.make(((app: unknown) => app) as never)
      },
      {
        title: "A service without a phase that provides it",
        code: "Middleware.make({ name: \"Mute\", provides: Session })",
        run: () => Middleware.make({ name: "Mute", provides: Session, responseEffect: () => Effect.void })
      }
    ].map(({ code, run, title }) => `## ${title}\n\n\`\`\`ts\n${code}\n\`\`\`\n\n\`\`\`text\n${thrown(run)}\n\`\`\`\n`)
    const page = "# What the compiler says\n\n" +
      "Written by `test/messages.test.ts`; the names are those of [fixtures.ts](fixtures.ts).\n\n" +
      sections.join("\n") + "\n# What only the program can say\n\n" + atRun.join("\n")
    await expect(page).toMatchFileSnapshot("types/messages.snap.md")
  })
})

describe("the compiler's work on a stack", () => {
  // as `tsc --extendedDiagnostics` counts them, without what the members alone cost; a fifth above what was measured
  it.each([
    ["twenty.ts", 5_600],
    ["nested.ts", 2_200],
    ["edited.ts", 7_200]
  ])("%s: at most %i instantiations", (name, most) => {
    const { diagnostics, instantiations } = counted.get(name)!
    assert.deepStrictEqual(diagnostics.map(messageOf), [])
    assert.isAtMost(instantiations, most)
  })
})

describe("every public name has a type test", () => {
  const tests = Fs.readdirSync(types).filter((file) => file.endsWith(".ts"))
    .map((file) => Fs.readFileSync(Path.join(types, file), "utf8")).join("\n")
  const checker = program.getTypeChecker()

  it.each(modules)("%s", (file) => {
    const sourceFile = program.getSourceFile(Path.join(root, "src", file))
    const symbol = sourceFile && checker.getSymbolAtLocation(sourceFile)
    assert.isDefined(symbol)
    const module = Path.basename(file, ".ts")
    const untested = checker.getExportsOfModule(symbol)
      .filter((exported) => !exported.getJsDocTags(checker).some(({ name }) => name === "internal"))
      .map(({ name }) => `${module}.${name}`)
      .filter((name) => !new RegExp(`\\b${name.replace(".", "\\.")}\\b`).test(tests))
    assert.deepStrictEqual(untested, [])
  })
})
