/** Snapshots for the tests of the debug page. */
import type { CauseNode, ErrorNode, Frame, Pair, Snapshot } from "../../src/internal/snapshot.js"

export const frame = (file: string, line: number, options: Partial<Frame> = {}): Frame => ({
  function: undefined,
  file,
  line,
  column: 1,
  own: !/^node:|node_modules/.test(file),
  source: undefined,
  link: undefined,
  ...options
})

const platform = "node_modules/@effect/platform/src/internal/httpRouter.ts"
const runtime = "node_modules/effect/src/internal/fiberRuntime.ts"

const handler = frame("src/notes/routes.ts", 31, {
  function: "renderNote",
  column: 24,
  link: "vscode://file/srv/notes/src/notes/routes.ts:31:24",
  source: {
    from: 26,
    lines: [
      "/** The note as its readers see it. */",
      "const renderNote = (note: Note) => {",
      "  // a draft has no title yet",
      "  const author = note.author ?? \"somebody\"",
      "",
      "  return `${note.title.trim()} by ${author}`",
      "}",
      "",
      "export const routes = HttpRouter.empty.pipe(",
      "  HttpRouter.get(\"/notes/:id\", Effect.flatMap(Notes, (notes) => notes.byId(idOf(request)).pipe(Effect.map(renderNote), Effect.withSpan(\"notes.render\"))))"
    ]
  }
})

const caller = frame("src/notes/routes.ts", 35, {
  column: 32,
  source: {
    from: 34,
    lines: ["export const routes = HttpRouter.empty.pipe(", "  HttpRouter.get(\"/notes/:id\", show),"]
  }
})

const library: ReadonlyArray<Frame> = [
  frame(runtime, 1068, { function: "FiberRuntime.runLoop", column: 40 }),
  frame(runtime, 1112, { function: "FiberRuntime.evaluateEffect", column: 17 }),
  frame(platform, 402, { function: "handle", column: 9 }),
  frame("node:internal/process/task_queues", 105, { function: "process.processTicksAndRejections", column: 5 })
]

export const error = (name: string, message: string, options: Partial<ErrorNode> = {}): ErrorNode => ({
  name,
  message,
  fields: [],
  frames: [],
  spans: [],
  causes: [],
  ...options
})

const bug = error("TypeError", "Cannot read properties of undefined (reading 'trim')", {
  spans: ["notes.render", "http.server GET"],
  frames: [handler, ...library, caller]
})

const connection = error("ConnectionError", "connect ECONNREFUSED 127.0.0.1:5432", {
  fields: [["code", "ECONNREFUSED"], ["port", "5432"]],
  frames: library.slice(3)
})

const timedOut = error(
  "NoteStoreError",
  "The notes could not be read:\nthe store did not answer\n└─ after 3 attempts",
  {
    fields: [["_tag", "NoteStoreError"], ["id", "7"], ["attempts", "3"], ["password", "<redacted>"]],
    spans: ["notes.byId"],
    frames: [
      frame("src/notes/store.ts", 58, {
        function: "byId",
        column: 21,
        source: {
          from: 56,
          lines: ["  byId: (id) =>", "    Effect.gen(function*() {", "      return yield* query(id)", "    })", "}"]
        }
      }),
      ...library
    ],
    causes: [connection]
  }
)

const base: Snapshot = {
  title: "TypeError: Cannot read properties of undefined (reading 'trim')",
  status: 500,
  at: "2026-11-21T10:00:00.000Z",
  took: 12.4,
  cause: { kind: "die", error: bug },
  request: {
    method: "GET",
    target: "/notes/7?draft=true&token=<redacted>",
    route: "/notes/:id",
    remoteAddress: "127.0.0.1",
    headers: [
      ["host", "localhost:3000"],
      ["accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"],
      ["authorization", "<redacted>"],
      ["user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0"]
    ],
    query: [["draft", "true"], ["token", "<redacted>"]],
    cookies: [["theme", "dark"], ["session", "<redacted>"]],
    body: { text: undefined, note: "The request has no body" }
  },
  onion: [
    { name: "ServerErrors", failed: false, app: false },
    { name: "RequestId", failed: false, app: false },
    { name: "Forwarded", failed: false, app: false },
    { name: "Cors", failed: false, app: false },
    { name: "ExceptionHandlers", failed: false, app: false },
    { name: "HttpRouter", failed: true, app: true }
  ],
  spans: [
    {
      name: "http.server GET",
      depth: 0,
      start: 0,
      took: undefined,
      status: "open",
      attributes: [["http.request.method", "GET"], ["url.path", "/notes/7"]]
    },
    { name: "session.read", depth: 1, start: 0.6, took: 2.1, status: "ok", attributes: [] },
    { name: "notes.byId", depth: 1, start: 2.9, took: 7.25, status: "ok", attributes: [["note.id", "7"]] },
    { name: "sql.execute", depth: 2, start: 3.3, took: 6.4, status: "ok", attributes: [["db.system", "postgresql"]] },
    { name: "notes.prefetch", depth: 2, start: 3.4, took: 5.1, status: "interrupted", attributes: [] },
    { name: "notes.render", depth: 1, start: 10.4, took: 1.7, status: "failed", attributes: [] }
  ],
  logs: [
    {
      level: "DEBUG",
      message: "session found",
      at: 2.7,
      annotations: [["request.id", "0d6ff3a2-5f3c-4b5e-9a52-3c1f2ad0b9f4"]],
      cause: undefined
    },
    {
      level: "WARN",
      message: "note 7 has no title",
      at: 10.2,
      annotations: [["request.id", "0d6ff3a2-5f3c-4b5e-9a52-3c1f2ad0b9f4"], ["note", "7"]],
      cause: "Error: empty\n    at src/notes/store.ts:60:3"
    }
  ],
  services: [
    { key: "effect-middleware/RequestId", value: "\"0d6ff3a2-5f3c-4b5e-9a52-3c1f2ad0b9f4\"" },
    { key: "app/Notes", value: "Notes { byId, list, save }" }
  ],
  environment: [["node", "v24.11.0"], ["platform", "linux x64"], ["effect", "3.22.4"], ["NODE_ENV", "development"]]
}

/** One defect, as most pages show. */
export const simple = base

/** All that there can be in a cause. */
export const rich: Snapshot = {
  ...base,
  title: "NoteStoreError: The notes could not be read: the store did not answer",
  cause: {
    kind: "sequential",
    causes: [
      {
        kind: "parallel",
        causes: [
          { kind: "fail", error: timedOut },
          { kind: "die", error: bug },
          { kind: "interrupt", by: "fiber #12" }
        ]
      },
      { kind: "die", error: error("string", "the pool could not be closed") },
      { kind: "empty" }
    ]
  },
  request: {
    ...base.request,
    method: "POST",
    body: { text: "{\n  \"title\": \"Milk\",\n  \"password\": \"<redacted>\"\n}", note: "cut after 1 kB" }
  }
}

/** Where nothing is known. */
export const bare: Snapshot = {
  ...base,
  cause: { kind: "empty" },
  request: {
    ...base.request,
    route: undefined,
    remoteAddress: undefined,
    headers: [],
    query: [],
    cookies: [],
    body: { text: undefined, note: undefined }
  },
  onion: [],
  spans: [],
  logs: [],
  services: [],
  environment: []
}

/** The text in each place that takes one. */
export const everywhere = (text: string): Snapshot => {
  const pair: Pair = [text, text]
  const node: ErrorNode = {
    name: text,
    message: text,
    fields: [pair],
    spans: [text, text],
    frames: [
      frame(text, 2, { function: text, own: true, link: text, source: { from: 1, lines: [text, text, text] } }),
      frame(text, 2, { function: text, own: true, link: `x:${text}` }),
      frame(text, 3, { function: text, own: false }),
      frame(`node_modules/${text}`, 3, { own: false })
    ],
    causes: []
  }
  const cause: CauseNode = {
    kind: "sequential",
    causes: [
      {
        kind: "parallel",
        causes: [{ kind: "fail", error: { ...node, causes: [node] } }, { kind: "interrupt", by: text }]
      },
      { kind: "die", error: node }
    ]
  }
  return {
    title: text,
    status: 500,
    at: text,
    took: 1,
    cause,
    request: {
      method: text,
      target: text,
      route: text,
      remoteAddress: text,
      headers: [pair],
      query: [pair],
      cookies: [pair],
      body: { text, note: text }
    },
    onion: [{ name: text, failed: false, app: false }, { name: text, failed: true, app: true }],
    spans: [
      { name: text, depth: 0, start: 0, took: 1, status: "failed", attributes: [pair] },
      { name: text, depth: 1, start: 0, took: undefined, status: "open", attributes: [] }
    ],
    logs: [{ level: text, message: text, at: 0, annotations: [pair, ["request.id", text]], cause: text }],
    services: [{ key: text, value: text }],
    environment: [pair]
  }
}

/** A stack that overflowed. */
export const deep: Snapshot = {
  ...base,
  cause: {
    kind: "die",
    error: error("RangeError", "Maximum call stack size exceeded", {
      frames: Array.from({ length: 500 }, (_, i) => i % 3 === 0 ? handler : library[i % 4]!)
    })
  },
  onion: Array.from({ length: 40 }, (_, i) => ({ name: `Layer${i}`, failed: i === 39, app: i === 39 })),
  spans: Array.from({ length: 40 }, (_, i) => ({
    name: `span ${i}`,
    depth: i,
    start: i,
    took: 80 - 2 * i,
    status: "ok" as const,
    attributes: []
  }))
}
