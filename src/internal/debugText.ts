/** The debug page for terminals and issue reports: the snapshot as text, and as JSON. */

import type { CauseNode, ErrorNode, Frame, Pair, Snapshot, SpanRow } from "./snapshot.js"

export const toText = (snapshot: Snapshot): string => {
  const { at, cause, environment, logs, onion, request, services, status, title, took } = snapshot
  const id = requestId(snapshot)
  return visible(
    [
      ...wrap(`${status} ${flat(title)}`),
      "",
      flat(`${request.method} ${request.target}`),
      ...pairs([
        ["route", request.route ?? "none"],
        ...id === undefined ? [] : [["request id", id] as const],
        ["from", request.remoteAddress ?? "unknown"],
        ["failed", `${at}, after ${duration(took)}`]
      ]),
      ...section("What failed", causeLines(cause)),
      ...section("Middleware, outermost first", onion.map(onionLine)),
      ...section("Spans", spanLines(snapshot)),
      ...section(
        "Logs",
        logs.flatMap(({ annotations, at, cause, level, message }) => [
          ...hang(`+${duration(at)}  ${flat(level)}  `, message),
          ...pairs(annotations).map(indent),
          ...cause === undefined ? [] : lines(cause).map(indent)
        ])
      ),
      ...section("Headers", pairs(request.headers)),
      ...section("Query", pairs(request.query)),
      ...section("Cookies", pairs(request.cookies)),
      ...section("Body", [
        ...request.body.note === undefined ? [] : [`(${flat(request.body.note)})`],
        ...request.body.text === undefined ? [] : lines(request.body.text).map(indent)
      ]),
      ...section("Services", pairs(services.map(({ key, value }) => [key, value]))),
      ...section("Environment", pairs(environment)),
      ""
    ].map((line) => line.trimEnd()).join("\n")
  )
}

/** Pretty, and every name is there each time: what is not known is `null`. */
export const toJson = (snapshot: Snapshot): string =>
  visible(JSON.stringify(snapshot, (_, value: unknown) => value ?? null, 2))

// --- what both faces of the page share -------------------------------------------------------------------------------

/**
 * What would move the cursor, turn the direction of what follows, not be seen at all or not survive UTF-8, as JSON
 * escapes it. Lines and tabs stay.
 */
export const visible = (text: string): string =>
  text.replace(/\r\n/g, "\n").replace(
    /[^\P{Cc}\n\t]|[\p{Cs}\p{Bidi_Control}\u200b\u2028\u2029\u2060-\u2064\ufeff]/gu,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`
  )

export const duration = (millis: number): string =>
  millis < 1000 ? `${Number(millis.toPrecision(3))} ms` : `${Number((millis / 1000).toPrecision(3))} s`

export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`

/** Frames with what runs of libraries there are among them. */
export const folded = (frames: ReadonlyArray<Frame>): ReadonlyArray<Frame | ReadonlyArray<Frame>> => {
  const result: Array<Frame | Array<Frame>> = []
  for (const frame of frames) {
    const last = result.at(-1)
    if (frame.own) result.push(frame)
    else if (Array.isArray(last)) last.push(frame)
    else result.push([frame])
  }
  return result
}

/** `12 frames of effect, @effect/platform`. */
export const libraries = (frames: ReadonlyArray<Frame>): string => {
  const names = new Set(frames.map(({ file }) =>
    file.startsWith("node:")
      ? "Node"
      : /^[^]*node_modules[\\/]((?:@[^\\/\s]+[\\/])?[^\\/\s]+)/.exec(file)?.[1]?.replace("\\", "/") ?? "libraries"
  ))
  return `${counted(frames.length, "frame")} of ${[...names].slice(0, 4).join(", ")}${names.size > 4 ? ", …" : ""}`
}

export const position = ({ column, file, line }: Frame): string => `${file}:${line}:${column}`

/** Up to `column` of a line: what stands before, the word there, and the rest. */
export const pointed = (line: string, column: number): readonly [before: string, word: string, after: string] => {
  const word = /^[\w$]+|^[^\s\ud800-\udfff]/.exec(line.slice(column - 1))?.[0] ?? ""
  return [line.slice(0, column - 1), word, line.slice(column - 1 + word.length)]
}

/** As the logs, the services or the request tell it. */
export const requestId = ({ logs, request, services }: Snapshot): string | undefined =>
  [
    ...logs.flatMap(({ annotations }) => annotations),
    ...services.map(({ key, value }): Pair => [key, value]),
    ...request.headers
  ].find(([name]) => /(?:^|[./-])request[._-]?id$/i.test(name))?.[1].replace(/^"|"$/g, "")

// --- lines -----------------------------------------------------------------------------------------------------------

const width = 110

const lines = (text: string): ReadonlyArray<string> => text.split(/\r?\n/)

const flat = (text: string): string => lines(text).join(" ")

const indent = (line: string): string => `  ${line}`

/** At spaces: what has none stays whole, to be copied. */
const wrap = (text: string): ReadonlyArray<string> =>
  lines(text).flatMap((line) =>
    line.length <= width
      ? [line]
      : (line.match(new RegExp(`.{1,${width}}(?:\\s|$)|\\S+\\s?`, "gu")) ?? [])
  )

const hang = (label: string, text: string): ReadonlyArray<string> =>
  wrap(text).map((line, i) => i === 0 ? label + line : indent(line))

const pairs = (all: ReadonlyArray<Pair>): ReadonlyArray<string> =>
  all.flatMap(([name, value]) => hang(`${flat(name)}: `, value))

const section = (title: string, body: ReadonlyArray<string>): ReadonlyArray<string> =>
  body.length === 0 ? [] : ["", "", title, "-".repeat(title.length), ...body]

const tree = (branches: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> =>
  branches.flatMap((branch, i) => {
    const [first, rest] = i === branches.length - 1 ? ["└─ ", "   "] : ["├─ ", "│  "]
    return branch.map((line, j) => (j === 0 ? first : rest) + line)
  })

// --- parts -----------------------------------------------------------------------------------------------------------

const causeLines = (node: CauseNode): ReadonlyArray<string> => {
  switch (node.kind) {
    case "empty":
      return ["nothing: the cause is empty"]
    case "interrupt":
      return hang("interrupted by ", node.by)
    case "fail":
      return errorLines("failure", node.error)
    case "die":
      return errorLines("defect", node.error)
    case "parallel":
      return ["in parallel", ...tree(node.causes.map(causeLines))]
    case "sequential":
      return [
        "in sequence",
        ...tree(node.causes.map(causeLines).map((all, i) => i === 0 ? all : [`then ${all[0]}`, ...all.slice(1)]))
      ]
  }
}

const errorLines = (label: string, error: ErrorNode): ReadonlyArray<string> => [
  ...hang(`${label} `, error.message === "" ? error.name : `${flat(error.name)}: ${error.message}`),
  ...pairs(error.fields).map(indent),
  ...error.spans.length === 0 ? [] : [indent(`inside ${error.spans.map(flat).join(", in ")}`)],
  ...folded(error.frames).flatMap(frameLines).map(indent),
  ...tree(error.causes.map((cause) => errorLines("caused by", cause)))
]

const frameLines = (frame: Frame | ReadonlyArray<Frame>): ReadonlyArray<string> =>
  "own" in frame ? [frameLine(frame), ...sourceLines(frame)] : frame.length === 1
    ? frame.map(frameLine)
    : [...frame.slice(0, 1).map(frameLine), `   … and ${libraries(frame.slice(1))}`]

const frameLine = (frame: Frame): string =>
  flat(frame.function === undefined ? `at ${position(frame)}` : `at ${frame.function} (${position(frame)})`)

/** Two lines before, the line, and two after. */
const sourceLines = ({ column, line, source }: Frame): ReadonlyArray<string> => {
  if (source === undefined) return []
  const digits = `${line + 2}`.length
  return source.lines.flatMap((text, i) => {
    const number = source.from + i
    if (Math.abs(number - line) > 2) return []
    const code = `${number === line ? ">" : " "} ${`${number}`.padStart(digits)} | ${flat(text)}`
    const [before, word] = pointed(text, column)
    return number !== line || word === ""
      ? [code]
      : [code, `  ${" ".repeat(digits)} | ${before.replace(/[^\t]/g, " ")}${"^".repeat(word.length)}`]
  }).map((line) => indent(indent(line)))
}

const onionLine = ({ app, failed, name }: Snapshot["onion"][number], depth: number): string =>
  `${"  ".repeat(depth)}${flat(name)}${app ? " (the app)" : ""}${failed ? "  <- failed here" : ""}`

/** Where a span is in all of the time there is to draw, from 0 to 1. */
export const timeline = ({ spans, took }: Snapshot) => {
  const all = Math.max(took, ...spans.map(({ start, took = 0 }) => start + took), Number.MIN_VALUE)
  const place = (millis: number) => Math.min(Math.max(millis / all, 0), 1)
  return {
    all,
    place: (span: SpanRow) => [place(span.start), place(span.start + (span.took ?? all - span.start))] as const
  }
}

const spanLines = (snapshot: Snapshot): ReadonlyArray<string> => {
  const { place } = timeline(snapshot)
  const scale = 24
  return snapshot.spans.flatMap((span) => {
    const [from, to] = place(span)
    const start = Math.min(Math.round(from * scale), scale - 1)
    const bar = " ".repeat(start) + "=".repeat(Math.max(Math.round(to * scale) - start, 1))
    const took = span.took === undefined ? "" : `${duration(span.took)}, `
    return [
      `|${bar.padEnd(scale)}|  ${"  ".repeat(span.depth)}${flat(span.name)} (${took}${
        span.status === "open" ? "still open" : span.status
      })`,
      ...pairs(span.attributes).map((line) => `${" ".repeat(scale + 4)}${"  ".repeat(span.depth)}  ${line}`)
    ]
  })
}
