/**
 * What the debug page shows of one failure: plain data, redacted and cut already. `snapshotOf` gathers it, `debugHtml`
 * and `debugText` draw it.
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as Cause from "effect/Cause"
import type * as Exit from "effect/Exit"
import type * as Option from "effect/Option"
import { hasContent, isJson, mediaTypeOf } from "./content.js"
import { constructorName, lookup, redacted, type Redactor, redactor } from "./redaction.js"
import { framesReader, parseFrame, type Reader, type Site } from "./stackFrames.js"

export type Pair = readonly [name: string, value: string]

export interface Snapshot {
  /** One line: `TypeError: x is not a function`. */
  readonly title: string
  readonly status: number
  /** When the request failed, as ISO 8601. */
  readonly at: string
  /** Milliseconds from the request's arrival to its failure. */
  readonly took: number
  readonly cause: CauseNode
  readonly request: RequestFacts
  /** The members of the stack, outermost first, and last of all the app. */
  readonly onion: ReadonlyArray<Layer>
  /** The spans of this request, in the order in which they began; `depth` is 0 for those without a parent among them. */
  readonly spans: ReadonlyArray<SpanRow>
  readonly logs: ReadonlyArray<LogRow>
  readonly services: ReadonlyArray<ServiceRow>
  readonly environment: ReadonlyArray<Pair>
}

export type CauseNode =
  | { readonly kind: "empty" }
  | { readonly kind: "parallel" | "sequential"; readonly causes: ReadonlyArray<CauseNode> }
  | { readonly kind: "fail" | "die"; readonly error: ErrorNode }
  | { readonly kind: "interrupt"; readonly by: string }

export interface ErrorNode {
  /** `TypeError`, or the tag of a tagged error; the type of what is no error (`string`). */
  readonly name: string
  readonly message: string
  /** The fields of a typed error, one line each. */
  readonly fields: ReadonlyArray<Pair>
  readonly frames: ReadonlyArray<Frame>
  /** The names of the spans around it, innermost first. */
  readonly spans: ReadonlyArray<string>
  /** What has caused it: `error.cause`, and the errors of an `AggregateError`. */
  readonly causes: ReadonlyArray<ErrorNode>
}

export interface Frame {
  readonly function: string | undefined
  /** Relative to the working directory where it is in it. */
  readonly file: string
  readonly line: number
  readonly column: number
  /** Whether it is neither in a package nor of the runtime. */
  readonly own: boolean
  readonly source: Source | undefined
  /** Opens it in an editor, where one is configured. */
  readonly link: string | undefined
}

export interface Source {
  /** The number of the first line. */
  readonly from: number
  readonly lines: ReadonlyArray<string>
}

export interface RequestFacts {
  readonly method: string
  /** With its query, redacted. */
  readonly target: string
  readonly route: string | undefined
  readonly remoteAddress: string | undefined
  readonly headers: ReadonlyArray<Pair>
  readonly query: ReadonlyArray<Pair>
  readonly cookies: ReadonlyArray<Pair>
  /** `note` says why there is none, or that it has been cut. */
  readonly body: { readonly text: string | undefined; readonly note: string | undefined }
}

export interface Layer {
  readonly name: string
  /** Whether it is where the failure came from. */
  readonly failed: boolean
  readonly app: boolean
}

export interface SpanRow {
  readonly name: string
  readonly depth: number
  /** Milliseconds after the request's arrival. */
  readonly start: number
  /** Milliseconds; `undefined` for one that had not ended. */
  readonly took: number | undefined
  readonly status: "ok" | "failed" | "interrupted" | "open"
  readonly attributes: ReadonlyArray<Pair>
}

export interface LogRow {
  readonly level: string
  readonly message: string
  /** Milliseconds after the request's arrival. */
  readonly at: number
  readonly annotations: ReadonlyArray<Pair>
  readonly cause: string | undefined
}

export interface ServiceRow {
  readonly key: string
  /** What is known of it without asking it: its value where that is plain data, else what it is made by. */
  readonly value: string
}

/** A span as Effect's own tracer keeps it. */
export interface RecordedSpan {
  readonly _tag: "Span"
  readonly name: string
  readonly spanId: string
  readonly parent: Option.Option<object>
  readonly status:
    | { readonly _tag: "Started"; readonly startTime: bigint }
    | {
      readonly _tag: "Ended"
      readonly startTime: bigint
      readonly endTime: bigint
      readonly exit: Exit.Exit<unknown, unknown>
    }
  readonly attributes: ReadonlyMap<string, unknown>
}

/** A line of the log, as loggers get it. */
export interface RecordedLog {
  readonly date: Date
  readonly logLevel: { readonly label: string }
  readonly message: unknown
  readonly annotations: Iterable<readonly [string, unknown]>
  readonly cause: Cause.Cause<unknown>
}

/** What the failure has left behind. What plain code cannot ask of Effect it is handed as functions. */
export interface Facts {
  readonly cause: Cause.Cause<unknown>
  readonly status: number
  readonly request: HttpServerRequest.HttpServerRequest
  readonly route: string | undefined
  readonly onion: ReadonlyArray<Layer>
  /** The entries of the context. */
  readonly services: Iterable<readonly [key: string, service: unknown]>
  readonly spans: ReadonlyArray<RecordedSpan>
  readonly logs: ReadonlyArray<RecordedLog>
  /** When the request arrived, in milliseconds since 1970. */
  readonly startedAt: number
  readonly now: number
  /** Bodies of more bytes are not shown. */
  readonly bodyLimit: number
  /** Names to hide, beside those that are hidden anyway. */
  readonly redact?: ReadonlyArray<string | RegExp> | undefined
  readonly editor?: string | undefined
  readonly cwd?: string | undefined
  /** Runs `request.text`. Called only where the body is there already, and not waited for longer than a moment. */
  readonly readBody: () => Promise<string>
  /** Whether a defect is a response on its way out: it is no part of the failure. */
  readonly isResponse: (defect: unknown) => boolean
  /** Where a span was opened, as a line of a stack. */
  readonly locate?: ((span: object) => string | undefined) | undefined
  /** Shown with the environment: `["effect", "3.22.4"]`. */
  readonly versions?: ReadonlyArray<Pair> | undefined
}

/** Never rejects: in the place of what cannot be read stands that it could not. */
export const snapshotOf = async (given: Facts): Promise<Snapshot> => {
  const facts: Facts = { ...given, isResponse: (defect) => attempt(() => given.isResponse(defect), false) }
  const redact = redactor(facts.redact)
  // these go first: what is secret in them is then hidden wherever else it shows
  const request = attempt(() => requestOf(facts, redact), unknownRequest)
  const services = attempt(() => servicesOf(facts.services, redact), [])
  const spans = attempt(() => spansOf(facts, redact), [])
  const leaves = attempt(() => leavesOf(facts.cause, facts.isResponse), [])
  const errors = errorsReader(facts, redact)
  const cause = await errors.cause(facts.cause).catch((): CauseNode => ({ kind: "empty" }))
  const logs = attempt(() => logsOf(facts, redact), [])
  const body = await bodyOf(facts, redact).catch(() => ({ text: undefined, note: "It could not be read" }))
  const snapshot: Snapshot = {
    title: titleOf(leaves, redact),
    status: facts.status,
    at: attempt(() => new Date(facts.now).toISOString(), ""),
    took: Math.max(0, facts.now - facts.startedAt),
    cause,
    request: { ...request, body },
    onion: facts.onion,
    spans,
    logs,
    services,
    environment: attempt(() => environmentOf(facts, redact), [])
  }
  return everyText(snapshot, redact.scrub)
}

const attempt = <A>(f: () => A, otherwise: A): A => {
  try {
    return f()
  } catch {
    return otherwise
  }
}

/** A copy of plain data with every string in it mapped, but for the words that say what kind it is of. */
const everyText = <A>(data: A, f: (text: string) => string): A => {
  const map = (value: unknown, key: string): unknown => {
    if (typeof value === "string") return key === "kind" || key === "status" ? value : f(value)
    if (Array.isArray(value)) return value.map((one) => map(one, key))
    if (typeof value !== "object" || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, map(one, key)]))
  }
  // the same shape, since nothing but strings is replaced, and those by strings
  return map(data, "") as A
}

// --- the cause -------------------------------------------------------------------------------------------------------

type Leaf = Extract<Cause.Cause<unknown>, { readonly _tag: "Fail" | "Die" | "Interrupt" }>

const mostCauses = 50
const mostErrors = 60
const deepest = 12

/** The parts of a composed cause, with those of the same composition inside it, in their order. */
const partsOf = (cause: Cause.Parallel<unknown> | Cause.Sequential<unknown>): ReadonlyArray<Cause.Cause<unknown>> => {
  const parts: Array<Cause.Cause<unknown>> = []
  // a finalizer of each of a thousand scopes nests as deep
  const waiting: Array<Cause.Cause<unknown>> = [cause]
  for (let one = waiting.pop(); one !== undefined; one = waiting.pop()) {
    if (one._tag === cause._tag) waiting.push(one.right, one.left)
    else if (one._tag !== "Empty") parts.push(one)
  }
  return parts
}

const leavesOf = (cause: Cause.Cause<unknown>, isResponse: (defect: unknown) => boolean): ReadonlyArray<Leaf> => {
  const leaves: Array<Leaf> = []
  const waiting: Array<Cause.Cause<unknown>> = [cause]
  for (let one = waiting.pop(); one !== undefined; one = waiting.pop()) {
    if (one._tag === "Parallel" || one._tag === "Sequential") waiting.push(one.right, one.left)
    else if (one._tag !== "Empty" && !(one._tag === "Die" && isResponse(one.defect))) leaves.push(one)
  }
  return leaves
}

const isInterruptedOnly = (leaves: ReadonlyArray<Leaf>) =>
  leaves.length > 0 && leaves.every(({ _tag }) => _tag === "Interrupt")

const titleOf = (leaves: ReadonlyArray<Leaf>, redact: Redactor): string => {
  const first = leaves.find(({ _tag }) => _tag === "Fail") ?? leaves.find(({ _tag }) => _tag === "Die")
  if (first === undefined) return leaves.length === 0 ? "The cause is empty" : "Interrupted"
  return summary(first, redact)
}

const errorOf = (leaf: Leaf): unknown =>
  leaf._tag === "Fail" ? leaf.error : leaf._tag === "Die" ? leaf.defect : undefined

const summary = (leaf: Leaf, redact: Redactor): string => {
  if (leaf._tag === "Interrupt") return `Interrupted by ${fiberName(leaf.fiberId)}`
  const error = errorOf(leaf)
  const [name, message] = [nameOf(error, redact), messageOf(error, redact)]
  return redact.line(message === "" ? name : `${name}: ${message.split("\n", 1)[0]}`, 300)
}

type FiberId = Cause.Interrupt["fiberId"]

const fiberName = (id: FiberId): string => {
  const ids: Array<string> = []
  const waiting: Array<FiberId> = [id]
  for (let one = waiting.pop(); one !== undefined && ids.length < 10; one = waiting.pop()) {
    if (one._tag === "Composite") waiting.push(one.right, one.left)
    else if (one._tag === "Runtime") ids.push(`#${one.id}`)
  }
  return ids.length === 0 ? "no fiber" : `fiber ${ids.join(", ")}`
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null

/** Asks an error for a text, which may be computed and may throw. */
const textIn = (error: unknown, key: "message" | "name" | "_tag" | "stack"): string =>
  attempt(() => {
    const text: unknown = isObject(error) && key in error ? Reflect.get(error, key) : undefined
    return typeof text === "string" ? text : ""
  }, "")

const isError = (value: unknown): value is Error => attempt(() => value instanceof Error, false)

const nameOf = (error: unknown, redact: Redactor): string => {
  if (error === null) return "null"
  if (!isObject(error)) return typeof error
  const name = textIn(error, "_tag") || (isError(error) ? textIn(error, "name") : "") ||
    (attempt(() => constructorName(error), undefined) ?? "Object")
  return redact.line(name, 200)
}

const messageOf = (error: unknown, redact: Redactor): string => {
  if (typeof error === "string") return redact.text(error, 10_000)
  if (!isObject(error)) return error === undefined || error === null ? "" : redact.value(error)
  return redact.text(textIn(error, "message"), 10_000)
}

const spanKey = Symbol.for("effect/SpanAnnotation")
const originalKey = Symbol.for("effect/OriginalAnnotation")
const causeKey = Symbol.for("effect/Cause")

/** The error without the span that Effect has put around it, and the names and places of its spans, innermost first. */
const annotated = (error: unknown, locate: Facts["locate"]) => {
  const spans: Array<string> = []
  const sites: Array<Site> = []
  const original = attempt<unknown>(
    () => isObject(error) && originalKey in error ? Reflect.get(error, originalKey) : error,
    error
  )
  attempt(() => {
    let span: unknown = isObject(error) && spanKey in error ? Reflect.get(error, spanKey) : undefined
    for (let i = 0; i < 20 && isObject(span) && lookup(span, "_tag") === "Span"; i++) {
      const name = String(lookup(span, "name"))
      const opened = span
      spans.push(name)
      const line = attempt(() => locate?.(opened), undefined)
      const site = line === undefined ? undefined : parseFrame(line.replace(/^\s*at /, ""))
      if (site !== undefined) sites.push({ ...site, function: name })
      span = lookup(lookup(span, "parent"), "value")
    }
  }, undefined)
  return { original, spans, sites }
}

/** One for each request: how much it draws is counted over all of its errors. */
const errorsReader = (facts: Facts, redact: Redactor) => {
  const frames: Reader = framesReader({ cwd: facts.cwd, editor: facts.editor, show: redact.code })
  let drawn = 0

  const one = async (thrown: unknown, above: ReadonlyArray<unknown>): Promise<ErrorNode> => {
    drawn++
    const { original: error, sites, spans } = annotated(thrown, facts.locate)
    const [name, message] = [nameOf(error, redact), messageOf(error, redact)]
    const causes: Array<ErrorNode> = []
    const inside = [...above, error]
    for (const caused of attempt(() => causesOf(error, facts.isResponse), [])) {
      if (drawn >= mostErrors || inside.length >= deepest || inside.includes(annotated(caused, undefined).original)) {
        continue
      }
      causes.push(await one(caused, inside))
    }
    return {
      name,
      message,
      fields: attempt(() => fieldsOf(error, redact), [["fields", "[unreadable]"]]),
      frames: (await frames(error, sites)).map((frame) => ({
        ...frame,
        function: frame.function === undefined ? undefined : redact.line(frame.function, 200),
        file: redact.line(frame.file, 1_000)
      })),
      spans: spans.map((span) => redact.line(span, 200)),
      causes
    }
  }

  const cause = async (whole: Cause.Cause<unknown>, depth = 0): Promise<CauseNode> => {
    switch (whole._tag) {
      case "Empty":
        return { kind: "empty" }
      case "Fail":
        return { kind: "fail", error: await one(whole.error, []) }
      case "Die":
        return facts.isResponse(whole.defect) ? { kind: "empty" } : { kind: "die", error: await one(whole.defect, []) }
      case "Interrupt":
        return { kind: "interrupt", by: fiberName(whole.fiberId) }
      case "Parallel":
      case "Sequential": {
        const causes: Array<CauseNode> = []
        const parts = partsOf(whole)
        for (const part of parts) {
          if (causes.length >= mostCauses || drawn >= mostErrors || depth >= deepest) {
            causes.push({ kind: "die", error: omitted })
            break
          }
          const node = await cause(part, depth + 1)
          // what a response leaves of a composition may be none
          if (node.kind !== "empty") causes.push(node)
        }
        if (causes.length < 2) return causes[0] ?? { kind: "empty" }
        return { kind: whole._tag === "Parallel" ? "parallel" : "sequential", causes }
      }
    }
  }
  return { cause }
}

const omitted: ErrorNode = {
  name: "…",
  message: "There is more, which is not shown",
  fields: [],
  frames: [],
  spans: [],
  causes: []
}

const causesOf = (error: unknown, isResponse: Facts["isResponse"]): ReadonlyArray<unknown> => {
  if (!isObject(error)) return []
  const caused = attempt<unknown>(() => "cause" in error ? error.cause : undefined, undefined)
  const causes = caused === undefined ? [] : isObject(caused) && attempt(() => causeKey in caused, false)
    // an Effect that has failed within another
    ? leavesOf(caused as Cause.Cause<unknown>, isResponse).filter(({ _tag }) => _tag !== "Interrupt").map(errorOf)
    : [caused]
  const errors = isError(error) ? lookup(error, "errors") : undefined
  return Array.isArray(errors) && errors.every(isObject) ? [...causes, ...errors.slice(0, 20)] : causes
}

const ownFields = new Set(["_tag", "message", "stack", "cause", "name"])

const fieldsOf = (error: unknown, redact: Redactor): ReadonlyArray<Pair> => {
  if (!isObject(error)) return []
  if (Array.isArray(error)) return [["items", redact.value(error)]]
  const caused = attempt(() => lookup(error, "cause"), undefined)
  return Object.entries(Object.getOwnPropertyDescriptors(error))
    .filter(([key, { enumerable, value }]) =>
      enumerable === true && !ownFields.has(key) && (caused === undefined || value !== caused)
    )
    .slice(0, 50)
    .map(([key, descriptor]): Pair => [
      redact.line(key, 200),
      "value" in descriptor ? redact.pair(key, descriptor.value) : redact.isSecret(key) ? redacted : "[getter]"
    ])
}

// --- the request -----------------------------------------------------------------------------------------------------

const unknownRequest: Omit<RequestFacts, "body"> = {
  method: "",
  target: "",
  route: undefined,
  remoteAddress: undefined,
  headers: [],
  query: [],
  cookies: []
}

const requestOf = ({ request, route }: Facts, redact: Redactor): Omit<RequestFacts, "body"> => {
  const { headers, method, url } = request
  const query = url.indexOf("?")
  const end = url.indexOf("#", query)
  const address = attempt(() => lookup(request.remoteAddress, "value"), undefined)
  const cookies = attempt(() => redact.cookies(headers.cookie ?? ""), [])
  return {
    method: redact.line(method, 100),
    target: redact.target(url),
    route: route === undefined ? undefined : redact.line(route),
    remoteAddress: typeof address === "string" ? redact.line(address, 100) : undefined,
    headers: Object.entries(headers).slice(0, 200).map(([name, value]) => [
      redact.line(name, 200),
      name === "cookie" ? cookies.map(([name, value]) => `${name}=${value}`).join("; ") : redact.named(name, value)
    ]),
    query: query === -1 ? [] : redact.form(url.slice(query + 1, end === -1 ? undefined : end)),
    cookies
  }
}

type Body = RequestFacts["body"]

const without = (note: string): Body => ({ text: undefined, note })

/** Milliseconds. What has arrived takes no time to read; a handler that has read it in another way never gives it. */
const patience = 250

const bodyOf = async ({ bodyLimit, readBody, request }: Facts, redact: Redactor): Promise<Body> => {
  const { headers, source } = request
  if (!hasContent(request)) return without("The request has no body")
  const type = mediaTypeOf(headers["content-type"] ?? "")
  const length = headers["content-length"]
  if (length === undefined || !/^\d{1,15}$/.test(length)) return without("Its length is not known before it is read")
  const what = `${type === "" ? "of no type" : redact.line(type, 100)}, ${length} bytes`
  if (Number(length) > bodyLimit) return without(`Too large to be shown (${what})`)
  if (type.startsWith("multipart/")) return without(`Parts are not shown (${what})`)
  const isForm = type === "application/x-www-form-urlencoded"
  if (!isJson(type) && !isForm && !isText(type)) return without(`Not a text (${what})`)
  if (hasEncoding(headers["content-encoding"])) return without(`Encoded (${what})`)
  // to read what has not come would be to wait for the client
  if (lookupLive(source, "complete") === false) return without(`It had not arrived in whole (${what})`)

  const text = await soon(readBody)
  if (text === undefined) return without(`A handler has read it, or it could not be read (${what})`)
  if (text.length > bodyLimit) return without(`Too large to be shown (${what})`)
  if (isForm) {
    return { text: redact.form(text).map(([name, value]) => `${name}=${value}`).join("\n"), note: undefined }
  }
  const json = isJson(type) ? redact.json(text) : undefined
  if (json !== undefined) return { text: json, note: undefined }
  return { text: redact.text(text, bodyLimit), note: isJson(type) ? "It is no JSON" : undefined }
}

const hasEncoding = (coding: string | undefined) => coding !== undefined && !/^(?:|identity)$/i.test(coding.trim())

const isText = (type: string) =>
  /^(?:text\/|application\/(?:[\w.+-]*\+)?(?:xml|yaml|graphql|javascript|x-ndjson)$)/.test(type)

/** A property which its class computes. */
const lookupLive = (value: unknown, key: string): unknown =>
  attempt<unknown>(() => isObject(value) && key in value ? Reflect.get(value, key) : undefined, undefined)

const soon = async (read: () => Promise<string>): Promise<string | undefined> => {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, patience, undefined)
  })
  try {
    return await Promise.race([read(), late])
  } catch {
    return undefined
  } finally {
    clearTimeout(timer)
  }
}

// --- around it -------------------------------------------------------------------------------------------------------

/** Effect's own, and the request, which is shown whole. */
const isPlumbing = (key: string) => /^effect\/|^@effect\/platform\/HttpServerRequest(?:$|\/)/.test(key)

const servicesOf = (services: Facts["services"], redact: Redactor): ReadonlyArray<ServiceRow> =>
  [...services].filter(([key]) => !isPlumbing(key)).slice(0, 200).map(([key, service]) => ({
    key: redact.line(key, 200),
    value: attempt(() => serviceOf(key, service, redact), "[unreadable]")
  })).sort((a, b) => a.key < b.key ? -1 : a.key > b.key ? 1 : 0)

const data = ["Redacted", "Secret", "Option", "Either", "Chunk", "HashMap", "HashSet", "List", "Duration", "DateTime"]

const serviceOf = (key: string, service: unknown, redact: Redactor): string => {
  if (redact.isSecret(key) || !isObject(service)) return redact.pair(key, service)
  const name = constructorName(service)
  const plain = name === undefined || name === "Object" || Array.isArray(service) || service instanceof Date ||
    data.some((one) => Symbol.for(`effect/${one}`) in service) || "_tag" in service
  // what a service can do is no news to whoever provides it
  return redact.line(plain ? redact.value(service) : name, 300)
}

const nanos = (millis: number) => BigInt(Math.round(millis)) * 1_000_000n
const toMillis = (nanos: bigint) => Math.round(Number(nanos) / 1_000) / 1_000

const spansOf = ({ isResponse, spans, startedAt }: Facts, redact: Redactor): ReadonlyArray<SpanRow> => {
  const known = new Map(spans.map((span) => [span.spanId, span]))
  const depthOf = (span: RecordedSpan): number => {
    let depth = 0
    for (let one: RecordedSpan | undefined = span; one !== undefined && depth < known.size; depth++) {
      const id: unknown = lookup(lookup(one.parent, "value"), "spanId")
      one = typeof id === "string" ? known.get(id) : undefined
    }
    return depth - 1
  }
  const statusOf = ({ status }: RecordedSpan): SpanRow["status"] => {
    if (status._tag === "Started") return "open"
    if (status.exit._tag === "Success") return "ok"
    return isInterruptedOnly(leavesOf(status.exit.cause, isResponse)) ? "interrupted" : "failed"
  }
  return [...spans]
    .sort((a, b) => Number(a.status.startTime - b.status.startTime))
    .slice(0, 500)
    .map((span) => ({
      name: redact.line(span.name, 200),
      depth: Math.max(0, depthOf(span)),
      start: toMillis(span.status.startTime - nanos(startedAt)),
      took: span.status._tag === "Ended" ? toMillis(span.status.endTime - span.status.startTime) : undefined,
      status: attempt(() => statusOf(span), "failed"),
      attributes: attempt(() => namedPairs(span.attributes, redact), [])
    }))
}

const namedPairs = (entries: Iterable<readonly [string, unknown]>, redact: Redactor): ReadonlyArray<Pair> =>
  [...entries].slice(0, 100).map(([name, value]) => [redact.line(name, 200), redact.named(name, value)])

const logsOf = ({ isResponse, logs, startedAt }: Facts, redact: Redactor): ReadonlyArray<LogRow> =>
  logs.slice(-500).map(({ annotations, cause, date, logLevel, message }) => ({
    level: logLevel.label,
    message: attempt(() =>
      (Array.isArray(message) ? message as ReadonlyArray<unknown> : [message])
        .map((one) => typeof one === "string" ? redact.text(one) : redact.value(one))
        .join(" "), "[unreadable]"),
    at: Math.max(0, attempt(() => date.getTime() - startedAt, 0)),
    annotations: attempt(() => namedPairs(annotations, redact), []),
    cause: attempt(() => loggedCause(leavesOf(cause, isResponse), redact), "[unreadable]")
  }))

const loggedCause = (leaves: ReadonlyArray<Leaf>, redact: Redactor): string | undefined =>
  leaves.length === 0 ? undefined : leaves.slice(0, 10).map((leaf) => {
    const stack = textIn(errorOf(leaf), "stack")
    return stack === "" ? summary(leaf, redact) : redact.text(stack)
  }).join("\n")

interface NodeProcess {
  readonly version?: string
  readonly platform?: string
  readonly arch?: string
  readonly pid?: number
  readonly env?: { readonly NODE_ENV?: string | undefined }
  readonly uptime?: () => number
  readonly cwd?: () => string
  readonly memoryUsage?: () => { readonly rss: number }
}

/** Of the variables of the environment `NODE_ENV` alone: in the others are the secrets. */
const environmentOf = ({ versions = [] }: Facts, redact: Redactor): ReadonlyArray<Pair> => {
  const { process }: { readonly process?: NodeProcess } = globalThis
  const facts: ReadonlyArray<readonly [string, () => string | number | undefined]> = [
    ["Node.js", () => process?.version],
    ...versions.map(([name, version]) => [name, () => version] as const),
    ["NODE_ENV", () => process?.env?.NODE_ENV],
    [
      "platform",
      () => process?.platform === undefined ? undefined : `${process.platform} ${process.arch ?? ""}`.trim()
    ],
    ["working directory", () => process?.cwd?.()],
    ["process", () => process?.pid],
    ["up for", () => process?.uptime === undefined ? undefined : `${Math.round(process.uptime())} s`],
    [
      "memory",
      () =>
        process?.memoryUsage === undefined ? undefined : `${Math.round(process.memoryUsage().rss / 1024 / 1024)} MiB`
    ]
  ]
  return facts.flatMap(([name, read]): ReadonlyArray<Pair> => {
    const value = attempt(read, undefined)
    return value === undefined ? [] : [[name, redact.line(String(value), 500)]]
  })
}
