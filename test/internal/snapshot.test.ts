import { HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Chunk,
  Context,
  Data,
  Effect,
  Exit,
  FastCheck,
  FiberId,
  HashMap,
  LogLevel,
  Option,
  Redacted,
  Tracer
} from "effect"
import { globalValue } from "effect/GlobalValue"
import { vi } from "vitest"
import type { CauseNode, ErrorNode, Facts, RecordedLog, RecordedSpan, Snapshot } from "../../src/internal/snapshot.js"
import { snapshotOf } from "../../src/internal/snapshot.js"

const startedAt = 1_700_000_000_000

const post = (body: BodyInit, headers: Record<string, string>) =>
  new Request("http://localhost/", {
    method: "POST",
    body,
    headers: {
      "content-length": String(typeof body === "string" ? new TextEncoder().encode(body).length : 3),
      ...headers
    }
  })

const snapshot = (
  { web = new Request("http://localhost/"), ...facts }: Partial<Facts> & { readonly web?: Request } = {}
) => {
  const request = facts.request ?? HttpServerRequest.fromWeb(web)
  return snapshotOf({
    cause: Cause.fail("x"),
    status: 500,
    request,
    route: undefined,
    onion: [],
    services: [],
    spans: [],
    logs: [],
    startedAt,
    now: startedAt + 12.5,
    bodyLimit: 1024,
    readBody: () => Effect.runPromise(request.text),
    isResponse: HttpServerResponse.isServerResponse,
    ...facts
  })
}

/** A cause in short: `fail NotFound`, `parallel(...)`. */
const short = (node: CauseNode): string => {
  switch (node.kind) {
    case "empty":
      return "empty"
    case "interrupt":
      return `interrupt ${node.by}`
    case "fail":
    case "die":
      return `${node.kind} ${node.error.name}: ${node.error.message}`
    default:
      return `${node.kind}(${node.causes.map(short).join(", ")})`
  }
}

const errorIn = (shown: Snapshot): ErrorNode => {
  if (shown.cause.kind !== "fail" && shown.cause.kind !== "die") throw new Error(`It is ${shown.cause.kind}`)
  return shown.cause.error
}
const errorOf = async (error: unknown) => errorIn(await snapshot({ cause: Cause.die(error) }))

class NotFound extends Data.TaggedError("NotFound")<{
  readonly id: string
  readonly password?: string
  readonly message?: string
  readonly cause?: unknown
}> {}

const boom = () => {
  throw new Error("boom")
}

describe("the cause", () => {
  const fiber = FiberId.runtime(7, 0)
  const response = HttpServerResponse.empty()
  const { fail, parallel, sequential } = Cause
  const [a, b, c] = [fail("a"), fail("b"), Cause.die("c")]
  const table: ReadonlyArray<readonly [cause: Cause.Cause<unknown>, shown: string, title: string]> = [
    [Cause.empty, "empty", "The cause is empty"],
    [a, "fail string: a", "string: a"],
    [Cause.die(new TypeError("no\nmore")), "die TypeError: no\nmore", "TypeError: no"],
    [Cause.die(new Error()), "die Error: ", "Error"],
    [Cause.die(null), "die null: ", "null"],
    [Cause.die(undefined), "die undefined: ", "undefined"],
    [Cause.die(5), "die number: 5", "number: 5"],
    [fail({ _tag: "Gone", at: 1 }), "fail Gone: ", "Gone"],
    [fail({ message: "m" }), "fail Object: m", "Object: m"],
    [Cause.interrupt(fiber), "interrupt fiber #7", "Interrupted"],
    [Cause.interrupt(FiberId.none), "interrupt no fiber", "Interrupted"],
    [Cause.interrupt(FiberId.composite(fiber, FiberId.runtime(8, 0))), "interrupt fiber #7, #8", "Interrupted"],
    [sequential(a, b), "sequential(fail string: a, fail string: b)", "string: a"],
    [parallel(a, b), "parallel(fail string: a, fail string: b)", "string: a"],
    [parallel(parallel(a, b), c), "parallel(fail string: a, fail string: b, die string: c)", "string: a"],
    [sequential(a, sequential(b, c)), "sequential(fail string: a, fail string: b, die string: c)", "string: a"],
    [sequential(parallel(a, b), c), "sequential(parallel(fail string: a, fail string: b), die string: c)", "string: a"],
    [parallel(sequential(c, a), b), "parallel(sequential(die string: c, fail string: a), fail string: b)", "string: a"],
    [sequential(Cause.interrupt(fiber), c), "sequential(interrupt fiber #7, die string: c)", "string: c"],
    [sequential(a, Cause.empty), "fail string: a", "string: a"],
    [sequential(a, Cause.die(response)), "fail string: a", "string: a"],
    [parallel(sequential(a, Cause.die(response)), b), "parallel(fail string: a, fail string: b)", "string: a"],
    [Cause.die(response), "empty", "The cause is empty"],
    [parallel(sequential(Cause.die(response), Cause.empty), a), "fail string: a", "string: a"],
    [parallel(sequential(Cause.die(response), Cause.die(response)), Cause.empty), "empty", "The cause is empty"],
    [
      sequential(parallel(a, parallel(Cause.empty, b)), Cause.die(response)),
      "parallel(fail string: a, fail string: b)",
      "string: a"
    ]
  ]
  it.each(table.map(([cause, shown, title]) => [shown, title, cause] as const))(
    "%s, %s",
    async (shown, title, cause) => {
      const made = await snapshot({ cause })
      assert.strictEqual(short(made.cause), shown)
      assert.strictEqual(made.title, title)
    }
  )

  it("of thousands of errors is cut", async () => {
    const errors = Array.from({ length: 10_000 }, (_, index) => Cause.die(new Error(`${index}`)))
    const half = (causes: ReadonlyArray<Cause.Cause<never>>): Cause.Cause<never> =>
      causes.length < 2
        ? causes[0]!
        : parallel(half(causes.slice(0, causes.length / 2)), half(causes.slice(causes.length / 2)))
    const { cause, title } = await snapshot({ cause: half(errors) })
    assert.isTrue(cause.kind === "parallel" && cause.causes.length === 51)
    assert.strictEqual(title, "Error: 0")
  })

  it("of thousands of parts is cut", async () => {
    const deep = Array.from({ length: 20_000 }).reduce<Cause.Cause<string>>((cause) => sequential(cause, a), a)
    const wide = await snapshot({ cause: deep })
    assert.isTrue(wide.cause.kind === "sequential" && wide.cause.causes.length === 51)
    assert.match(short(wide.cause), /die …: There is more, which is not shown\)$/)
    const mixed = Array.from({ length: 20_000 }).reduce<Cause.Cause<string>>(
      (cause, _, index) => index % 2 === 0 ? sequential(cause, a) : parallel(cause, a),
      a
    )
    assert.include(JSON.stringify((await snapshot({ cause: mixed })).cause), "There is more")
  })
})

describe("an error", () => {
  it("has its tag, its message, and its own fields", async () => {
    const shown = await errorOf(
      new NotFound({ id: "a", password: "hunter2", message: "Bearer xyz1\nmore", cause: new Error("inner") })
    )
    assert.strictEqual(shown.name, "NotFound")
    assert.strictEqual(shown.message, "Bearer <redacted>\nmore")
    assert.deepStrictEqual(shown.fields, [["id", `"a"`], ["password", "<redacted>"]])
    assert.deepStrictEqual(shown.causes.map(({ message, name }) => [name, message]), [["Error", "inner"]])
    assert.isTrue(shown.frames.some(({ file, own }) => own && file === "test/internal/snapshot.test.ts"))
  })

  it("does not show its cause among its fields as well", async () => {
    const cause = new Error("inner")
    const shown = await errorOf(new Cause.UnknownException(cause))
    assert.deepStrictEqual(shown.fields, [])
    assert.deepStrictEqual(shown.causes.map(({ message }) => message), ["inner"])
  })

  it("hides what a program's own names say", async () => {
    const shown = errorIn(await snapshot({ cause: Cause.fail(new NotFound({ id: "hunter" })), redact: ["id"] }))
    assert.deepStrictEqual(shown.fields, [["id", "<redacted>"]])
  })

  it.each<[string, unknown, ReadonlyArray<string>]>([
    ["a cause that is text", new Error("a", { cause: "b" }), ["string: b"]],
    ["a cause that is null", new Error("a", { cause: null }), ["null: "]],
    ["no cause", new Error("a", { cause: undefined }), []],
    ["an aggregate", new AggregateError([new Error("b"), new TypeError("c")], "a"), ["Error: b", "TypeError: c"]],
    ["an aggregate with a cause", new AggregateError([new Error("b")], "a", { cause: new Error("c") }), [
      "Error: c",
      "Error: b"
    ]],
    ["a cause of Effect", new Error("a", { cause: Cause.parallel(Cause.fail("b"), Cause.interrupt(FiberId.none)) }), [
      "string: b"
    ]],
    ["errors that are none", Object.assign(new Error("a"), { errors: ["b"] }), []]
  ])("%s", async (_, error, causes) => {
    const shown = await errorOf(error)
    assert.deepStrictEqual(shown.causes.map(({ message, name }) => `${name}: ${message}`), causes)
  })

  it("a chain of causes ends, where it is a circle too", async () => {
    const circle = new Error("a")
    circle.cause = new Error("b", { cause: circle })
    const shown = await errorOf(circle)
    assert.deepStrictEqual(shown.causes[0]?.causes, [])
    const long = Array.from({ length: 100 }).reduce<Error>((cause) => new Error("x", { cause }), new Error("x"))
    const wide = new AggregateError(
      Array.from({ length: 20 }, () => new AggregateError(Array.from({ length: 20 }, () => long)))
    )
    assert.isBelow(JSON.stringify(await errorOf(long)).split(`"causes"`).length, 15)
    assert.isBelow(JSON.stringify(await errorOf(wide)).split(`"causes"`).length, 65)
  })

  it("knows the spans around it, and where they were opened", async () => {
    const failing = Effect.fail(new NotFound({ id: "a" })).pipe(
      Effect.withSpan("inner"),
      Effect.withSpan("outer\u001b")
    )
    const traces = globalValue("effect/Tracer/spanToTrace", () => new WeakMap<object, () => string | undefined>())
    const cause = Exit.match(Effect.runSyncExit(failing), { onSuccess: () => Cause.empty, onFailure: (cause) => cause })
    const shown = errorIn(await snapshot({ cause, locate: (span) => traces.get(span)?.() }))
    assert.deepStrictEqual(shown.spans, ["inner", "outer\u001b"])
    assert.deepStrictEqual(shown.fields, [["id", `"a"`]])
    const opened = shown.frames.filter(({ function: name }) => name === "inner" || name === "outer\u001b")
    assert.lengthOf(opened, 2)
    for (const { file, own, source } of opened) {
      assert.deepStrictEqual([file, own], ["test/internal/snapshot.test.ts", true])
      assert.include(source?.lines.join("\n"), "Effect.withSpan(\"inner\")")
    }
    const loop: Record<string, unknown> = { _tag: "Span", name: "loop" }
    loop.parent = Option.some(loop)
    const around = await errorOf({ [Symbol.for("effect/SpanAnnotation")]: loop })
    assert.deepStrictEqual(around.spans, Array(20).fill("loop"))
    assert.deepStrictEqual(errorIn(await snapshot({ cause, locate: boom })).spans, ["inner", "outer\u001b"])
  })

  const cyclic: Record<string, unknown> = { n: 1 }
  cyclic.self = cyclic
  it.each<[string, unknown, Partial<ErrorNode>]>([
    [
      "throws on everything",
      new Proxy({}, {
        get: boom,
        has: boom,
        ownKeys: boom,
        getPrototypeOf: boom,
        getOwnPropertyDescriptor: boom
      }),
      { name: "Object", message: "", fields: [["fields", "[unreadable]"]], frames: [], causes: [] }
    ],
    ["has getters that throw", {
      get message() {
        return boom()
      },
      get cause() {
        return boom()
      },
      get a() {
        return boom()
      }
    }, {
      name: "Object",
      message: "",
      fields: [["a", "[getter]"]],
      causes: []
    }],
    ["is cyclic", cyclic, { fields: [["n", "1"], ["self", "{ n: 1, self: [circular] }"]] }],
    ["is frozen", Object.freeze({ a: 1 }), { name: "Object", fields: [["a", "1"]] }],
    ["has no prototype", Object.assign(Object.create(null), { a: 1 }), { name: "Object", fields: [["a", "1"]] }],
    ["has a message that is a function", { message: () => "x" }, { name: "Object", message: "" }],
    ["has a name that is a number", Object.assign(new Error("x"), { name: 5 }), { name: "Error", message: "x" }],
    ["has a stack that is a number", Object.assign(new Error("x"), { stack: 5 }), { name: "Error", frames: [] }],
    ["is a list", [1, "a"], { name: "Array", fields: [["items", `[1, "a"]`]] }],
    ["is a function", function f() {}, { name: "function", message: "[function f]", frames: [] }],
    ["is a symbol", Symbol("s"), { name: "symbol", message: "Symbol(s)" }],
    ["is Redacted", Redacted.make("x"), { fields: [] }]
  ])("that %s", async (_, error, expected) => {
    const shown = await errorOf(error)
    for (const key of Object.keys(expected) as Array<keyof ErrorNode>) {
      assert.deepStrictEqual(shown[key], expected[key], key)
    }
  })

  it("that is huge is cut", async () => {
    const error = Object.assign(
      new Error("m".repeat(1e6)),
      Object.fromEntries(Array.from({ length: 1e4 }, (_, n) => [`f${n}`, "v".repeat(1e4)]))
    )
    const shown = await errorOf(error)
    assert.lengthOf(shown.message, 10_000)
    assert.lengthOf(shown.fields, 50)
    assert.isTrue(shown.fields.every(([, value]) => value.length <= 2002))
  })

  it("with forged frames in its message shows none of them", async () => {
    const shown = await errorOf(new Error("x\n    at f (/etc/passwd:1:1)\n    at g (/app/forged.js:1:1)"))
    assert.isAbove(shown.frames.length, 0)
    for (const { file } of shown.frames) assert.notMatch(file, /passwd|forged/)
  })
})

describe("the request", () => {
  it("is shown with what is secret in it hidden", async () => {
    const web = new Request("http://localhost/a?b=c&token=s3cr3t", {
      headers: {
        cookie: "theme=dark; sid=abc",
        authorization: "Bearer s3cr3t",
        "x-a": "1",
        referer: "http://h/?token=s3cr3t"
      }
    })
    const request = HttpServerRequest.fromWeb(web).modify({ remoteAddress: "127.0.0.1" })
    const shown = await snapshot({ request, route: "/:name" })
    assert.deepStrictEqual(shown.request, {
      method: "GET",
      target: "/a?b=c&token=<redacted>",
      route: "/:name",
      remoteAddress: "127.0.0.1",
      headers: [
        ["authorization", "<redacted>"],
        ["cookie", "<redacted>"],
        ["referer", "http://h/?token=<redacted>"],
        ["x-a", "1"]
      ],
      query: [["b", "c"], ["token", "<redacted>"]],
      cookies: [["theme", "<redacted>"], ["sid", "<redacted>"]],
      body: { text: undefined, note: "The request has no body" }
    })
  })

  it("without an address, a route or a query", async () => {
    const { query, remoteAddress, route } = (await snapshot()).request
    assert.deepStrictEqual([remoteAddress, route, query], [undefined, undefined, []])
  })

  const json = "application/json"
  const form = "application/x-www-form-urlencoded"
  it.each<[string, Request, string | undefined, string | undefined]>([
    [
      "JSON",
      post(`{"a":1,"password":"x"}`, { "content-type": json }),
      `{\n  "a": 1,\n  "password": "<redacted>"\n}`,
      undefined
    ],
    [
      "JSON of a kind",
      post("[1]", { "content-type": "application/problem+json; charset=utf-8" }),
      "[\n  1\n]",
      undefined
    ],
    ["no JSON", post(`{"password":"x"`, { "content-type": json }), `{"password":<redacted>`, "It is no JSON"],
    ["a form", post("a=b+c&password=x", { "content-type": form }), "a=b c\npassword=<redacted>", undefined],
    ["text", post("password=x\ny", { "content-type": "text/plain" }), "password=<redacted>\ny", undefined],
    ["XML", post("<a/>", { "content-type": "application/soap+xml" }), "<a/>", undefined],
    ["bytes", post(new Uint8Array(3), { "content-type": "image/png" }), undefined, "Not a text (image/png, 3 bytes)"],
    [
      "parts",
      post("abc", { "content-type": "multipart/form-data; boundary=x" }),
      undefined,
      "Parts are not shown (multipart/form-data, 3 bytes)"
    ],
    [
      "coded",
      post("abc", { "content-type": json, "content-encoding": "gzip" }),
      undefined,
      "Encoded (application/json, 3 bytes)"
    ],
    ["as long as may be", post("a".repeat(1024), { "content-type": "text/plain" }), "a".repeat(1024), undefined],
    [
      "too long",
      post("a".repeat(1025), { "content-type": "text/plain" }),
      undefined,
      "Too large to be shown (text/plain, 1025 bytes)"
    ],
    [
      "longer than it says",
      post("a".repeat(1025), { "content-type": "text/plain", "content-length": "5" }),
      undefined,
      "Too large to be shown (text/plain, 5 bytes)"
    ],
    [
      "of no such length",
      post("a", { "content-type": json, "content-length": "x" }),
      undefined,
      "Its length is not known before it is read"
    ]
  ])("a body that is %s", async (_, web, text, note) => {
    assert.deepStrictEqual((await snapshot({ web })).request.body, { text, note })
  })

  it("a body of unknown length is not read", async () => {
    const web = new Request("http://localhost/", { method: "POST", body: "abc", headers: { "content-type": json } })
    const { body } = (await snapshot({ web, readBody: boom })).request
    assert.strictEqual(body.note, "Its length is not known before it is read")
  })

  it("a body that a handler has read is shown again, from where platform keeps it", async () => {
    const request = HttpServerRequest.fromWeb(post("[1]", { "content-type": json }))
    await Effect.runPromise(request.json)
    assert.strictEqual((await snapshot({ request })).request.body.text, "[\n  1\n]")
  })

  const gone = "A handler has read it, or it could not be read (application/json, 3 bytes)"
  it.each<[string, () => Promise<string>]>([
    ["never comes", () => new Promise(() => {})],
    ["fails", () => Promise.reject(new Error("x"))],
    ["throws", boom]
  ])("a body that %s is not waited for", async (_, readBody) => {
    const web = post("[1]", { "content-type": json })
    assert.deepStrictEqual((await snapshot({ web, readBody })).request.body, { text: undefined, note: gone })
  })

  it("a body that has not arrived is not asked for", async () => {
    const request = HttpServerRequest.fromWeb(post("[1]", { "content-type": json }))
    // kept by the request, whose source is another below
    assert.isDefined(request.headers["content-length"])
    const body = async (complete: boolean) => {
      const { request: { body } } = await snapshot({
        request: Object.create(request, { source: { value: { complete } } }) as typeof request,
        readBody: () => Promise.resolve("[1]")
      })
      return body.note
    }
    assert.strictEqual(await body(false), "It had not arrived in whole (application/json, 3 bytes)")
    assert.isUndefined(await body(true))
  })

  it("that throws leaves the rest of the page", async () => {
    const request = new Proxy(HttpServerRequest.fromWeb(new Request("http://localhost/")), { get: boom })
    const shown = await snapshot({ request, onion: [{ name: "A", failed: true, app: false }] })
    assert.strictEqual(shown.request.target, "")
    assert.strictEqual(shown.request.body.note, "It could not be read")
    assert.strictEqual(shown.title, "string: x")
    assert.deepStrictEqual(shown.onion, [{ name: "A", failed: true, app: false }])
  })
})

describe("services", () => {
  class Database {
    readonly password = "x"
  }
  class Config extends Context.Tag("app/Config")<Config, { readonly port: number; readonly apiKey: string }>() {}

  it("are data, or what they are made by, in the order of their keys", async () => {
    const services: ReadonlyArray<readonly [string, unknown]> = [
      [Config.key, { port: 1, apiKey: "x", load: () => 1 }],
      ["app/Database", new Database()],
      ["app/Token", "s3cr3t"],
      ["app/A", Option.some(1)],
      ["app/List", [1]],
      ["app/Number", 5],
      ["effect/Scope", {}],
      ["@effect/platform/HttpServerRequest", {}],
      ["app/Hostile", new Proxy({}, { getPrototypeOf: boom })]
    ]
    assert.deepStrictEqual((await snapshot({ services })).services, [
      { key: "app/A", value: "Some { value: 1 }" },
      { key: "app/Config", value: "{ port: 1, apiKey: <redacted>, load() }" },
      { key: "app/Database", value: "Database" },
      { key: "app/Hostile", value: "[unreadable]" },
      { key: "app/List", value: "[1]" },
      { key: "app/Number", value: "5" },
      { key: "app/Token", value: "<redacted>" }
    ])
  })
})

const at = (millis: number) => BigInt(startedAt) * 1_000_000n + BigInt(Math.round(millis * 1_000_000))
const span = (
  spanId: string,
  start: number,
  end?: number,
  options: {
    readonly parent?: object
    readonly exit?: Exit.Exit<unknown, unknown>
    readonly attributes?: Record<string, unknown>
  } = {}
): RecordedSpan => ({
  name: `name of ${spanId}`,
  spanId,
  parent: Option.fromNullable(options.parent) as RecordedSpan["parent"],
  status: end === undefined
    ? { _tag: "Started", startTime: at(start) }
    : { _tag: "Ended", startTime: at(start), endTime: at(end), exit: options.exit ?? Exit.void },
  attributes: new Map(Object.entries(options.attributes ?? {}))
})

describe("spans", () => {
  it("are rows in the order of their beginning, as deep as they stand", async () => {
    const outside = Tracer.externalSpan({ spanId: "z", traceId: "t" })
    const a = span("a", 1, 5.25, {
      parent: outside,
      attributes: { "http.url": "http://h/?token=x", n: 1, password: "p", s: "t" }
    })
    const b = span("b", 2, undefined, { parent: a })
    const c = span("c", 3, 4, { parent: b, exit: Exit.fail("x") })
    const d = span("d", 6, 7, { exit: Exit.interrupt(FiberId.none) })
    const e = span("e", 8, 9, { exit: Exit.failCause(Cause.sequential(Cause.interrupt(FiberId.none), Cause.die("x"))) })
    const rows = (await snapshot({ spans: [e, c, b, d, a] })).spans
    assert.deepStrictEqual(
      rows.map(({ depth, name, start, status, took }) => [name.slice(-1), depth, start, took, status]),
      [
        ["a", 0, 1, 4.25, "ok"],
        ["b", 1, 2, undefined, "open"],
        ["c", 2, 3, 1, "failed"],
        ["d", 0, 6, 1, "interrupted"],
        ["e", 0, 8, 1, "failed"]
      ]
    )
    assert.deepStrictEqual(rows[0]?.attributes, [
      ["http.url", "http://h/?token=<redacted>"],
      ["n", "1"],
      ["password", "<redacted>"],
      ["s", "t"]
    ])
  })

  it("that are their own parents end", async () => {
    const a = span("a", 1)
    const loop = { ...a, parent: Option.some(a) as RecordedSpan["parent"] }
    assert.lengthOf((await snapshot({ spans: [loop] })).spans, 1)
  })

  it("of Effect's own tracer fit", async () => {
    const spans: Array<RecordedSpan> = []
    const tracer = Tracer.make({
      span: (name, parent, context, links, startTime, kind) => {
        const made = {
          _tag: "Span" as const,
          spanId: String(spans.length),
          traceId: "t",
          sampled: true,
          name,
          parent,
          context,
          links,
          kind,
          status: { _tag: "Started", startTime } as Tracer.SpanStatus,
          attributes: new Map<string, unknown>(),
          attribute: () => {},
          event: () => {},
          addLinks: () => {},
          end(endTime: bigint, exit: Exit.Exit<unknown, unknown>) {
            this.status = { _tag: "Ended", startTime, endTime, exit }
          }
        }
        spans.push(made)
        return made
      },
      context: (f) => f()
    })
    await Effect.runPromise(Effect.void.pipe(Effect.withSpan("b"), Effect.withSpan("a"), Effect.withTracer(tracer)))
    const rows = (await snapshot({ spans })).spans
    assert.deepStrictEqual(rows.map(({ depth, name, status }) => [name, depth, status]), [["a", 0, "ok"], [
      "b",
      1,
      "ok"
    ]])
  })
})

const log = (message: unknown, more: Partial<RecordedLog> = {}): RecordedLog => ({
  date: new Date(startedAt + 3),
  logLevel: LogLevel.Info,
  message,
  annotations: HashMap.empty(),
  cause: Cause.empty,
  ...more
})

describe("logs", () => {
  it("are rows with their annotations and causes", async () => {
    const cause = Cause.parallel(
      Cause.fail("x"),
      Cause.die(Object.assign(new Error("e"), { stack: "Error: e\n    at password=x" }))
    )
    const logs = [
      log(["a", { token: "x" }, "password=y"], { annotations: HashMap.make(["sid", "z"], ["sid2", 1]) }),
      log("b", { cause, logLevel: LogLevel.Error, date: new Date(startedAt - 1) }),
      log(new Proxy({}, { get: boom, has: boom }), { cause: Cause.interrupt(FiberId.runtime(1, 0)) })
    ]
    const rows = (await snapshot({ logs })).logs
    assert.deepStrictEqual(rows.map(({ annotations: _, ...row }) => row), [
      { level: "INFO", message: "a { token: <redacted> } password=<redacted>", at: 3, cause: undefined },
      { level: "ERROR", message: "b", at: 0, cause: "string: x\nError: e\n    at password=<redacted>" },
      { level: "INFO", message: "[unreadable]", at: 3, cause: "Interrupted by fiber #1" }
    ])
    assert.deepStrictEqual([...rows[0]!.annotations].sort(), [["sid", "<redacted>"], ["sid2", "<redacted>"]])
  })

  it("are the last 500", async () => {
    const rows = (await snapshot({ logs: Array.from({ length: 501 }, (_, index) => log(`${index}`)) })).logs
    assert.deepStrictEqual([rows.length, rows[0]?.message], [500, "1"])
  })
})

describe("the rest", () => {
  it("when, how long, what with", async () => {
    const shown = await snapshot({ versions: [["effect", "3.0.0"]] })
    assert.deepStrictEqual([shown.at, shown.took, shown.status], ["2023-11-14T22:13:20.012Z", 12.5, 500])
    assert.deepStrictEqual(shown.environment.map(([name]) => name), [
      "Node.js",
      "effect",
      "NODE_ENV",
      "platform",
      "working directory",
      "process",
      "up for",
      "memory"
    ])
    assert.deepStrictEqual(shown.environment.slice(0, 2), [["Node.js", process.version], ["effect", "3.0.0"]])
    assert.strictEqual((await snapshot({ now: startedAt - 1 })).took, 0)
    assert.strictEqual((await snapshot({ now: Number.NaN })).at, "")
  })

  it("where the process tells nothing there is the rest", async () => {
    const cwd = vi.spyOn(process, "cwd").mockImplementation(boom)
    const error = new Error("x")
    const shown = await snapshot({ cause: Cause.die(error), versions: [["effect", "3.0.0"]] }).finally(() =>
      cwd.mockRestore()
    )
    assert.deepStrictEqual(shown.environment, [["effect", "3.0.0"]])
    assert.isAbove(errorIn(shown).frames.length, 0)
  })

  it("no other variable of the environment shows", async () => {
    process.env.S4_CANARY = "c4nary-env"
    const shown = JSON.stringify(await snapshot())
    delete process.env.S4_CANARY
    assert.notInclude(shown, "c4nary-env")
  })

  it("what is secret in one place is hidden in all others", async () => {
    const secret = ["abc", "123", "def"].join("-")
    const web = new Request(`http://localhost/${secret}`, { headers: { authorization: `Bearer ${secret}` } })
    const shown = JSON.stringify(
      await snapshot({
        web,
        cause: Cause.die(new Error(`No user has ${secret}`)),
        logs: [log(["looking for", [secret]])],
        services: [["app/Current", { who: secret }]]
      })
    )
    assert.notInclude(shown, secret)
    assert.include(shown, "No user has <redacted>")
  })

  it("never rejects", async () => {
    const hostile = new Proxy({}, { get: boom, has: boom, ownKeys: boom }) as never
    const shown = await snapshot({
      cause: hostile,
      services: hostile,
      spans: hostile,
      logs: hostile,
      versions: hostile
    })
    assert.deepStrictEqual([shown.cause, shown.services, shown.spans, shown.logs], [{ kind: "empty" }, [], [], []])
  })
})

const names = FastCheck.constantFrom(
  "password",
  "authorization",
  "cookie",
  "x-api-key",
  "clientSecret",
  "access_token",
  "sid"
)
// put together here, so that it stands in no line of this file
const canary = ["c4nary", "7f3a", "b2d1"].join("-")
const places = FastCheck.constantFrom(
  "header",
  "query",
  "cookie",
  "json",
  "form",
  "field",
  "cause",
  "message",
  "log",
  "annotation",
  "span",
  "service",
  "map",
  "defect"
)

const plantings = FastCheck.array(FastCheck.tuple(places, names), { minLength: 1, maxLength: 4 })

const plant = async (plants: ReadonlyArray<readonly [place: string, name: string]>) => {
  const [headers, query, fields, more]: [
    Record<string, string>,
    URLSearchParams,
    Record<string, unknown>,
    Record<string, unknown>
  ] = [{}, new URLSearchParams(), {}, {}]
  let body: string | undefined
  let type = "text/plain"
  let message = "m"
  const logs: Array<RecordedLog> = []
  const spans: Array<RecordedSpan> = []
  const services: Array<readonly [string, unknown]> = []
  let cause: unknown
  for (const [place, name] of plants) {
    const planted = { [name]: canary }
    if (place === "header") headers[name] = canary
    if (place === "query") query.append(name, canary)
    if (place === "cookie") headers.cookie = `a=${canary}`
    if (place === "json") {
      ;[body, type] = [
        JSON.stringify({ list: [{ ...planted, b: { [name]: { deep: [canary] } } }] }),
        "application/json"
      ]
    }
    if (place === "form") [body, type] = [new URLSearchParams(planted).toString(), "application/x-www-form-urlencoded"]
    if (place === "field") Object.assign(fields, planted)
    if (place === "cause") cause = new NotFound({ id: "x", ...planted })
    if (place === "message") message = `failed with ${JSON.stringify(planted)}, ${name}=${canary}`
    if (place === "log") logs.push(log([planted, `${name}=${canary}`]))
    if (place === "annotation") logs.push(log("m", { annotations: HashMap.make([name, canary]) }))
    if (place === "span") spans.push(span("a", 1, 2, { attributes: planted }))
    if (place === "service") services.push(["app/A", { deep: [Chunk.of(planted), Redacted.make(canary)] }])
    if (place === "map") more.map = new Map([[name, canary], ["a", canary.slice(0, 0)]])
    if (place === "defect") more.list = [[name, canary], { name, value: canary }]
  }
  const web = new Request(
    `http://localhost/?${query}`,
    body === undefined
      ? { headers }
      : { method: "POST", body, headers: { ...headers, "content-type": type, "content-length": String(body.length) } }
  )
  const error = Object.assign(new NotFound({ id: "a", message, cause }), fields, more)
  return snapshot({ web, cause: Cause.parallel(Cause.fail(error), Cause.die(error)), logs, spans, services })
}

it("a secret planted under its name anywhere shows nowhere", () =>
  FastCheck.assert(
    FastCheck.asyncProperty(plantings, async (plants) => {
      assert.notInclude(JSON.stringify(await plant(plants)), canary)
    }),
    { numRuns: 200 }
  ), 60_000)
