import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import {
  counted,
  duration,
  folded,
  libraries,
  pointed,
  requestId,
  timeline,
  toJson,
  toText,
  visible
} from "../../src/internal/debugText.js"
import type { Snapshot } from "../../src/internal/snapshot.js"
import { bare, deep, error, everywhere, frame, rich, simple } from "./snapshots.js"

const unseen = /[^\P{Cc}\n\t]|[\p{Cs}\p{Bidi_Control}\u2028\u2029\ufeff]/u

const hostile = FastCheck.oneof(
  FastCheck.string({ unit: "binary" }),
  FastCheck.array(
    FastCheck.constantFrom(
      "\u001b[2J",
      "\r",
      "\n",
      "\t",
      "\0",
      "\u202e",
      "\u2066",
      "\u009b",
      "\ud800",
      "\u2028",
      "a",
      " "
    ),
    { maxLength: 12 }
  ).map((parts) => parts.join(""))
)

describe("toText", () => {
  it("draws the cause as a tree, and every section", () => {
    assert.strictEqual(toText(rich), drawn)
  })

  it("leaves out what there is nothing of", () => {
    assert.strictEqual(
      toText(bare),
      [
        "500 TypeError: Cannot read properties of undefined (reading 'trim')",
        "",
        "GET /notes/7?draft=true&token=<redacted>",
        "route: none",
        "from: unknown",
        "failed: 2026-11-21T10:00:00.000Z, after 12.4 ms",
        "",
        "",
        "What failed",
        "-----------",
        "nothing: the cause is empty",
        ""
      ].join("\n")
    )
  })

  it("says what it has of a request and its body", () => {
    const text = toText(simple)
    assert.include(text, "\nGET /notes/7?draft=true&token=<redacted>\nroute: /notes/:id\nrequest id: 0d6ff3a2")
    assert.include(text, "\n\n\nBody\n----\n(The request has no body)\n")
  })

  it("wraps at spaces and cuts nothing", () => {
    const word = "x".repeat(300)
    const message = `${"word ".repeat(60)}${word} ${"a\u{1F600} ".repeat(80)}end`
    const lines = toText({ ...bare, cause: { kind: "die", error: error("E", message) } }).split("\n")
    assert.isTrue(lines.every((line) => [...line].length < 140 || line.includes(word)))
    assert.include(lines.map((line) => line.trim()).join(" "), `defect E: ${message}`)
  })

  it("lets nothing begin a line of its own", () => {
    const text = toText(everywhere("a\nLogs\n----\n\nb"))
    assert.strictEqual(text.split("\n").filter((line) => line === "Logs").length, 1)
  })

  it("no line ends with blanks", () => {
    assert.isFalse(/[ \t]$/m.test(toText(everywhere("a\n\nb"))))
  })

  it("control characters do not survive", () => {
    FastCheck.assert(FastCheck.property(hostile, (text) => !unseen.test(toText(everywhere(text)))))
  })

  it("draws 500 frames", () => {
    assert.isAbove(toText(deep).split("\n").length, 500)
  })
})

describe("toJson", () => {
  it("is the snapshot, with null for what is not known", () => {
    const json = JSON.parse(toJson(bare))
    assert.deepStrictEqual(Object.keys(json), Object.keys(bare))
    assert.deepStrictEqual(json.request.route, null)
    assert.deepStrictEqual(json.request.body, { text: null, note: null })
    assert.deepStrictEqual(JSON.parse(toJson(rich)).cause.causes[0].causes[0].error.fields[1], ["id", "7"])
    assert.strictEqual(toJson(bare).split("\n")[1], `  "title": ${JSON.stringify(bare.title)},`)
  })

  it("shows what control characters there are, and still is JSON", () => {
    FastCheck.assert(FastCheck.property(hostile, (text) => {
      const json = toJson(everywhere(text))
      assert.isFalse(unseen.test(json))
      assert.strictEqual(JSON.parse(json).title, text)
    }))
  })
})

describe("parts", () => {
  it("visible", () => {
    assert.strictEqual(visible("a\r\nb\tc\rd\0\u001b[1m"), "a\nb\tc\\u000dd\\u0000\\u001b[1m")
    assert.strictEqual(
      visible("\u202egnp\u2069\u200f\u061c\ufeff\u2028\ud800"),
      "\\u202egnp\\u2069\\u200f\\u061c\\ufeff\\u2028\\ud800"
    )
    assert.strictEqual(
      visible("\u05e9\u05dc\u05d5\u05dd \u{1F468}\u200d\u{1F469} \u00e9"),
      "\u05e9\u05dc\u05d5\u05dd \u{1F468}\u200d\u{1F469} \u00e9"
    )
  })

  for (
    const [millis, text] of [
      [0, "0 ms"],
      [0.04123, "0.0412 ms"],
      [12.44, "12.4 ms"],
      [999, "999 ms"],
      [1000, "1 s"],
      [75_250, "75.3 s"]
    ] as const
  ) it(`${millis} is ${text}`, () => assert.strictEqual(duration(millis), text))

  it("counted", () => {
    assert.deepStrictEqual([0, 1, 2].map((n) => counted(n, "frame")), ["0 frames", "1 frame", "2 frames"])
  })

  it("folds what runs of libraries there are", () => {
    const [a, b, c, d] = [frame("a.ts", 1), frame("node_modules/b", 1), frame("node:c", 1), frame("d.ts", 1)] as const
    assert.deepStrictEqual(folded([]), [])
    assert.deepStrictEqual(folded([b, a, b, c, d, a, c]), [[b], a, [b, c], d, a, [c]])
  })

  for (
    const [files, text] of [
      [["node:fs", "node:internal/x"], "2 frames of Node"],
      [["node_modules/effect/src/a.ts"], "1 frame of effect"],
      [["/x/node_modules/.pnpm/a@1/node_modules/@scope/a/b.js", "node_modules\\b\\c.js"], "2 frames of @scope/a, b"],
      [["/elsewhere/x.js"], "1 frame of libraries"],
      [["a", "b", "c", "d"].map((name) => `node_modules/${name}/x`), "4 frames of a, b, c, d"],
      [["a", "b", "c", "d", "e"].map((name) => `node_modules/${name}/x`), "5 frames of a, b, c, d, …"]
    ] as const
  ) it(text, () => assert.strictEqual(libraries(files.map((file) => frame(file, 1))), text))

  for (
    const [line, column, parts] of [
      ["  note.title", 8, ["  note.", "title", ""]],
      ["a(b)", 2, ["a", "(", "b)"]],
      ["a b", 2, ["a", "", " b"]],
      ["ab", 9, ["ab", "", ""]],
      ["\u{1F600}", 1, ["", "", "\u{1F600}"]]
    ] as const
  ) it(`points at ${column} of ${line}`, () => assert.deepStrictEqual(pointed(line, column), parts))

  for (
    const [name, known, id] of [
      ["an annotation", { logs: [{ ...simple.logs[0]!, annotations: [["request_id", "1"]] }] }, "1"],
      ["a service", { logs: [], services: [{ key: "app/RequestId", value: "2" }] }, "2"],
      ["a header", { logs: [], services: [], request: { ...bare.request, headers: [["x-request-id", "3"]] } }, "3"],
      ["another name", { logs: [], services: [{ key: "NoRequestIdAtAll", value: "4" }] }, undefined]
    ] as ReadonlyArray<[string, Partial<Snapshot>, string | undefined]>
  ) it(`the request id in ${name}`, () => assert.strictEqual(requestId({ ...bare, ...known }), id))

  it("places spans in the time there is", () => {
    const span = { name: "", depth: 0, status: "ok", attributes: [] } as const
    const late = { ...span, start: 15, took: 5 }
    const { all, place } = timeline({ ...bare, took: 10, spans: [late] })
    assert.strictEqual(all, 20)
    assert.deepStrictEqual(place(late), [0.75, 1])
    assert.deepStrictEqual(place({ ...span, start: 5, took: undefined }), [0.25, 1])
    assert.deepStrictEqual(place({ ...span, start: -5, took: 10 }), [0, 0.25])
    assert.deepStrictEqual(place({ ...span, start: 50, took: 10 }), [1, 1])
    assert.deepStrictEqual(timeline({ ...bare, took: 0, spans: [] }).place({ ...span, start: 0, took: 0 }), [0, 0])
  })
})

const drawn = [
  "500 NoteStoreError: The notes could not be read: the store did not answer",
  "",
  "POST /notes/7?draft=true&token=<redacted>",
  "route: /notes/:id",
  "request id: 0d6ff3a2-5f3c-4b5e-9a52-3c1f2ad0b9f4",
  "from: 127.0.0.1",
  "failed: 2026-11-21T10:00:00.000Z, after 12.4 ms",
  "",
  "",
  "What failed",
  "-----------",
  "in sequence",
  "├─ in parallel",
  "│  ├─ failure NoteStoreError: The notes could not be read:",
  "│  │    the store did not answer",
  "│  │    └─ after 3 attempts",
  "│  │    _tag: NoteStoreError",
  "│  │    id: 7",
  "│  │    attempts: 3",
  "│  │    password: <redacted>",
  "│  │    inside notes.byId",
  "│  │    at byId (src/notes/store.ts:58:21)",
  "│  │          56 |   byId: (id) =>",
  "│  │          57 |     Effect.gen(function*() {",
  "│  │        > 58 |       return yield* query(id)",
  "│  │             |                     ^^^^^",
  "│  │          59 |     })",
  "│  │          60 | }",
  "│  │    at FiberRuntime.runLoop (node_modules/effect/src/internal/fiberRuntime.ts:1068:40)",
  "│  │       … and 3 frames of effect, @effect/platform, Node",
  "│  │  └─ caused by ConnectionError: connect ECONNREFUSED 127.0.0.1:5432",
  "│  │       code: ECONNREFUSED",
  "│  │       port: 5432",
  "│  │       at process.processTicksAndRejections (node:internal/process/task_queues:105:5)",
  "│  ├─ defect TypeError: Cannot read properties of undefined (reading 'trim')",
  "│  │    inside notes.render, in http.server GET",
  "│  │    at renderNote (src/notes/routes.ts:31:24)",
  "│  │          29 |   const author = note.author ?? \"somebody\"",
  "│  │          30 |",
  "│  │        > 31 |   return `${note.title.trim()} by ${author}`",
  "│  │             |                        ^^^^",
  "│  │          32 | }",
  "│  │          33 |",
  "│  │    at FiberRuntime.runLoop (node_modules/effect/src/internal/fiberRuntime.ts:1068:40)",
  "│  │       … and 3 frames of effect, @effect/platform, Node",
  "│  │    at src/notes/routes.ts:35:32",
  "│  │          34 | export const routes = HttpRouter.empty.pipe(",
  "│  │        > 35 |   HttpRouter.get(\"/notes/:id\", show),",
  "│  │             |                                ^^^^",
  "│  └─ interrupted by fiber #12",
  "├─ then defect string: the pool could not be closed",
  "└─ then nothing: the cause is empty",
  "",
  "",
  "Middleware, outermost first",
  "---------------------------",
  "ServerErrors",
  "  RequestId",
  "    Forwarded",
  "      Cors",
  "        ExceptionHandlers",
  "          HttpRouter (the app)  <- failed here",
  "",
  "",
  "Spans",
  "-----",
  "|========================|  http.server GET (still open)",
  "                              http.request.method: GET",
  "                              url.path: /notes/7",
  "| ====                   |    session.read (2.1 ms, ok)",
  "|      ==============    |    notes.byId (7.25 ms, ok)",
  "                                note.id: 7",
  "|      =============     |      sql.execute (6.4 ms, ok)",
  "                                  db.system: postgresql",
  "|       =========        |      notes.prefetch (5.1 ms, interrupted)",
  "|                    === |    notes.render (1.7 ms, failed)",
  "",
  "",
  "Logs",
  "----",
  "+2.7 ms  DEBUG  session found",
  "  request.id: 0d6ff3a2-5f3c-4b5e-9a52-3c1f2ad0b9f4",
  "+10.2 ms  WARN  note 7 has no title",
  "  request.id: 0d6ff3a2-5f3c-4b5e-9a52-3c1f2ad0b9f4",
  "  note: 7",
  "  Error: empty",
  "      at src/notes/store.ts:60:3",
  "",
  "",
  "Headers",
  "-------",
  "host: localhost:3000",
  "accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
  "authorization: <redacted>",
  "user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0",
  "",
  "",
  "Query",
  "-----",
  "draft: true",
  "token: <redacted>",
  "",
  "",
  "Cookies",
  "-------",
  "theme: dark",
  "session: <redacted>",
  "",
  "",
  "Body",
  "----",
  "(cut after 1 kB)",
  "  {",
  "    \"title\": \"Milk\",",
  "    \"password\": \"<redacted>\"",
  "  }",
  "",
  "",
  "Services",
  "--------",
  "effect-middleware/RequestId: \"0d6ff3a2-5f3c-4b5e-9a52-3c1f2ad0b9f4\"",
  "app/Notes: Notes { byId, list, save }",
  "",
  "",
  "Environment",
  "-----------",
  "node: v24.11.0",
  "platform: linux x64",
  "effect: 3.22.4",
  "NODE_ENV: development",
  ""
].join("\n")
