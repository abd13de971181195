/**
 * Chromium, driven over the pipe of its DevTools protocol: no port, no driver
 * program, and a browser that goes when the tests go.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { describe, layer, type Vitest } from "@effect/vitest"
import { Context, Data, Effect, Layer } from "effect"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Http from "node:http"
import * as Os from "node:os"
import * as Path from "node:path"
import type * as Stream from "node:stream"
import { listen } from "./TestApp.js"

type Json = null | boolean | number | string | ReadonlyArray<Json> | { readonly [key: string]: Json }

export interface Page {
  /** Runs a function in the page: it sees its arguments and the page's globals, and nothing of the test's. */
  readonly run: <Args extends ReadonlyArray<Json>, A extends Json | void>(
    f: (...args: Args) => A | Promise<A>,
    ...args: Args
  ) => Effect.Effect<A>
  /** Why requests of the page failed, oldest first: the name of the CORS error, or of the network's. */
  readonly failures: ReadonlyArray<string>
}

/** One browser with a profile of its own. */
export class Chromium extends Context.Tag("test/Chromium")<Chromium, {
  readonly open: (url: string) => Effect.Effect<Page>
}>() {}

/** A name of this machine that Chromium takes for a site of its own: `localhost` counts as a top-level domain. */
export const loopback = (name: string, port: number): string => `http://${name}.localhost:${port}`

/** Serves over a socket; gives the port. Of the connections that a browser keeps, closing waits for none. */
export const listenToBrowser = (served: Parameters<typeof listen>[0]) =>
  Effect.gen(function*() {
    const server = Http.createServer()
    const context = yield* Layer.build(NodeHttpServer.layer(() => server, { port: 0, host: "127.0.0.1" }))
    yield* Effect.addFinalizer(() => Effect.sync(() => server.closeAllConnections()))
    return yield* Effect.provide(listen(served), context)
  })

/** A suite with one browser. Without Chromium it is skipped, by a name that says what to install; in CI it fails. */
export const describeChromium = (name: string, tests: (it: Vitest.MethodsNonLive<Chromium, true>) => void) =>
  describe.skipIf(executable === undefined && process.env["CI"] !== "true")(
    executable === undefined ? `${name} (${missing})` : name,
    () => layer(live, { excludeTestServices: true, timeout: "30 seconds" })(tests)
  )

// --- the protocol ----------------------------------------------------------------------------------------------------

/** The commands in use: what each takes, and what it gives. */
interface Commands {
  readonly "Target.createTarget": [{ readonly url: string }, { readonly targetId: string }]
  readonly "Target.attachToTarget": [
    { readonly targetId: string; readonly flatten: true },
    { readonly sessionId: string }
  ]
  readonly "Network.enable": [{}, {}]
  readonly "Page.enable": [{}, {}]
  readonly "Page.navigate": [{ readonly url: string }, { readonly errorText?: string }]
  readonly "Runtime.evaluate": [
    { readonly expression: string; readonly awaitPromise: true; readonly returnByValue: true },
    {
      readonly result: { readonly value?: unknown }
      readonly exceptionDetails?: { readonly text: string; readonly exception?: { readonly description?: string } }
    }
  ]
}

/** The events in use. There are others. */
type Event =
  & { readonly sessionId: string }
  & (
    | { readonly method: "Page.loadEventFired" }
    | {
      readonly method: "Network.loadingFailed"
      readonly params: { readonly errorText: string; readonly corsErrorStatus?: { readonly corsError: string } }
    }
  )

type Answer =
  & { readonly id: number }
  & (
    | { readonly result: unknown }
    | { readonly error: { readonly message: string } }
  )

class BrowserError extends Data.TaggedError("BrowserError")<{ readonly message: string }> {}

interface Connection {
  readonly command: <Method extends keyof Commands>(
    method: Method,
    params: Commands[Method][0],
    sessionId?: string
  ) => Effect.Effect<Commands[Method][1]>
  /** For the events of a session. */
  readonly listeners: Map<string, (event: Event) => void>
}

/** Messages are JSON, each ended by a zero. */
const connect = (browser: ChildProcess.ChildProcess): Connection => {
  // as `start` has asked for them
  const [, , errors, input, output] = browser.stdio as [null, null, Stream.Readable, Stream.Writable, Stream.Readable]
  const waiting = new Map<number, (answer: Answer) => void>()
  const listeners: Connection["listeners"] = new Map()

  let text = ""
  output.setEncoding("utf8").on("data", (chunk: string) => {
    const messages = (text + chunk).split("\0")
    text = messages.pop() ?? ""
    for (const json of messages) {
      const message: Answer | Event = JSON.parse(json)
      if ("id" in message) waiting.get(message.id)?.(message)
      else listeners.get(message.sessionId)?.(message)
    }
  })

  let said = ""
  errors.setEncoding("utf8").on("data", (chunk: string) => said = (said + chunk).slice(-2000))
  const gone = (id: number): Answer => ({ id, error: { message: `Chromium is gone. It said:\n${said}` } })
  browser.on("close", () => waiting.forEach((resume, id) => resume(gone(id))))
  input.on("error", () => {})

  let last = 0
  const command: Connection["command"] = <Method extends keyof Commands>(
    method: Method,
    params: Commands[Method][0],
    sessionId?: string
  ) => {
    const id = ++last
    return Effect.async<Answer>((resume) => {
      waiting.set(id, (answer) => resume(Effect.succeed(answer)))
      if (isGone(browser)) resume(Effect.succeed(gone(id)))
      else input.write(`${JSON.stringify({ id, method, params, sessionId })}\0`)
    }).pipe(
      Effect.ensuring(Effect.sync(() => waiting.delete(id))),
      Effect.flatMap((answer) =>
        "error" in answer
          ? new BrowserError({ message: `${method}: ${answer.error.message}` })
          : Effect.succeed(answer.result as Commands[Method][1])
      ),
      within(method)
    )
  }

  return { command, listeners }
}

/** Says what did not come, before the runner says only that the test took too long. */
const within = (what: string) => <A, R>(effect: Effect.Effect<A, BrowserError, R>): Effect.Effect<A, never, R> =>
  effect.pipe(
    Effect.timeoutFail({
      duration: "20 seconds",
      onTimeout: () => new BrowserError({ message: `Chromium did not answer within 20 seconds: ${what}` })
    }),
    Effect.orDie
  )

const openPage = ({ command, listeners }: Connection) => (url: string): Effect.Effect<Page> =>
  Effect.gen(function*() {
    const { targetId } = yield* command("Target.createTarget", { url: "about:blank" })
    const { sessionId } = yield* command("Target.attachToTarget", { targetId, flatten: true })
    yield* command("Network.enable", {}, sessionId)
    yield* command("Page.enable", {}, sessionId)

    const failures: Array<string> = []
    const loaded = Effect.async<void>((resume) => {
      listeners.set(sessionId, (event) => {
        if (event.method === "Page.loadEventFired") resume(Effect.void)
        if (event.method === "Network.loadingFailed") {
          failures.push(event.params.corsErrorStatus?.corsError ?? event.params.errorText)
        }
      })
    })
    const navigated = Effect.filterOrFail(
      command("Page.navigate", { url }, sessionId),
      ({ errorText }) => errorText === undefined,
      ({ errorText }) => new BrowserError({ message: `${url}: ${errorText}` })
    )
    yield* Effect.all([loaded, navigated], { concurrency: 2 }).pipe(within(`load ${url}`))

    const run = <Args extends ReadonlyArray<Json>, A>(f: (...args: Args) => A | Promise<A>, ...args: Args) =>
      command("Runtime.evaluate", {
        expression: `(${f})(...${JSON.stringify(args)})`,
        awaitPromise: true,
        returnByValue: true
      }, sessionId).pipe(
        Effect.flatMap(({ exceptionDetails, result }) =>
          exceptionDetails === undefined
            ? Effect.succeed(result.value as A)
            : new BrowserError({ message: exceptionDetails.exception?.description ?? exceptionDetails.text })
        ),
        Effect.orDie
      )
    return { run, failures }
  })

// --- the browser -----------------------------------------------------------------------------------------------------

const executable = (process.env["PATH"] ?? "").split(Path.delimiter)
  .flatMap((folder) => ["chromium", "chromium-browser", "google-chrome"].map((name) => Path.join(folder, name)))
  .find((file) => Fs.existsSync(file))

const missing = "Chromium is missing: apt-get install -y chromium"

const start = (folder: string) => {
  if (executable === undefined) throw new Error(missing)
  return ChildProcess.spawn(executable, [
    "--headless=new",
    "--remote-debugging-pipe",
    `--user-data-dir=${folder}`,
    // no other name resolves: nothing leaves the machine
    "--host-resolver-rules=MAP *.localhost 127.0.0.1, MAP * ~NOTFOUND",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--no-first-run",
    "--no-startup-window",
    ...process.getuid?.() === 0 ? ["--no-sandbox"] : []
  ], {
    // what it writes beside its profile goes where that goes
    env: { ...process.env, HOME: folder },
    stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"]
  })
}

const isGone = ({ exitCode, signalCode }: ChildProcess.ChildProcess) => exitCode !== null || signalCode !== null

/** `close` comes when the last of its processes has let go of the pipes. */
const stop = (browser: ChildProcess.ChildProcess) =>
  Effect.async<void>((resume) => {
    if (isGone(browser)) return resume(Effect.void)
    browser.on("close", () => resume(Effect.void))
    browser.kill()
  }).pipe(Effect.timeoutTo({
    duration: "10 seconds",
    onSuccess: () => {},
    onTimeout: () => void browser.kill("SIGKILL")
  }))

const live = Layer.scoped(
  Chromium,
  Effect.gen(function*() {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-middleware-chromium-"))),
      (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true, maxRetries: 5 }))
    )
    const connection = connect(yield* Effect.acquireRelease(Effect.sync(() => start(folder)), stop))
    return { open: openPage(connection) }
  })
)
