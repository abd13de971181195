/** Chromium, the system's own, driven by Playwright: one browser for a suite, which goes when the suite does. */
import { NodeHttpServer } from "@effect/platform-node"
import { describe, layer, type Vitest } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import * as Fs from "node:fs"
import * as Http from "node:http"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Playwright from "playwright-core"
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
  readonly playwright: Playwright.Page
}

export interface Options extends Playwright.BrowserContextOptions {
  /** A page to share cookies and cache with. A page has its own unless it says so. */
  readonly beside?: Page
}

export class Chromium extends Context.Tag("test/Chromium")<Chromium, {
  readonly open: (url: string, options?: Options) => Effect.Effect<Page>
}>() {}

/** A name of this machine that Chromium takes for a site of its own: `localhost` counts as a top-level domain. */
export const loopback = (name: string, port: number, scheme: "http" | "https" = "http"): string =>
  `${scheme}://${name}.localhost:${port}`

/** Serves over a socket; gives the port. Of the connections that a browser keeps, closing waits for none. */
export const listenToBrowser = (served: Parameters<typeof listen>[0], server: Http.Server = Http.createServer()) =>
  Effect.gen(function*() {
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

const executable = (process.env["PATH"] ?? "").split(Path.delimiter)
  .flatMap((folder) => ["chromium", "chromium-browser", "google-chrome"].map((name) => Path.join(folder, name)))
  .find((file) => Fs.existsSync(file))

const missing = "Chromium is missing: apt-get install -y chromium"

const hosts = ["localhost", "*.localhost", "127.0.0.1"]

const launch = (home: string) => {
  if (executable === undefined) throw new Error(missing)
  return Playwright.chromium.launch({
    executablePath: executable,
    // no other name resolves: nothing leaves the machine
    args: [`--host-resolver-rules=${hosts.map((host) => `MAP ${host} 127.0.0.1`)},MAP * ~NOTFOUND`, "--disable-gpu"],
    chromiumSandbox: process.getuid?.() !== 0,
    // for what it writes beside its profile
    env: { ...process.env, HOME: home }
  })
}

const open = (browser: Playwright.Browser) => (url: string, { beside, ...options }: Options = {}) =>
  Effect.promise(async (): Promise<Page> => {
    const context = beside?.playwright.context() ?? await browser.newContext(options)
    const playwright = await context.newPage()

    // Playwright's own events do not name the CORS error
    const failures: Array<string> = []
    const session = await context.newCDPSession(playwright)
    session.on("Network.loadingFailed", ({ corsErrorStatus, errorText }) => {
      failures.push(corsErrorStatus?.corsError ?? errorText)
    })
    await session.send("Network.enable")

    await playwright.goto(url)
    return {
      run: <Args extends ReadonlyArray<Json>, A>(f: (...args: Args) => A | Promise<A>, ...args: Args) =>
        Effect.promise(async () => {
          const result = await playwright.evaluate<A>(`(${f})(...${JSON.stringify(args)})`)
          // a session tells in order: what has failed until now is told before it answers
          await session.send("Runtime.getIsolateId")
          return result
        }),
      failures,
      playwright
    }
  })

const live = Layer.scoped(
  Chromium,
  Effect.gen(function*() {
    const home = yield* Effect.acquireRelease(
      Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-middleware-chromium-"))),
      (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true, maxRetries: 5 }))
    )
    const browser = yield* Effect.acquireRelease(
      Effect.promise(() => launch(home)),
      (browser) => Effect.promise(() => browser.close())
    )
    return { open: open(browser) }
  })
)
