/**
 * What the debug page shows of one failure: plain data, redacted and cut already. `snapshotOf` gathers it, `debugHtml`
 * and `debugText` draw it.
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as Cause from "effect/Cause"
import type * as Logger from "effect/Logger"
import type * as Tracer from "effect/Tracer"
import { hasContent, isJson, mediaTypeOf } from "./content.js"
import { className, lookup, type Redactor, redactor } from "./redaction.js"
import { framesReader, parseFrame, type Site } from "./stackFrames.js"

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

/** Of a span what Effect's own tracer keeps. */
export type RecordedSpan = Pick<Tracer.Span, "name" | "spanId" | "parent" | "status" | "attributes">

/** A line of the log, as loggers get it. */
export type RecordedLog = Pick<
  Logger.Logger.Options<unknown>,
  "date" | "logLevel" | "message" | "annotations" | "cause"
>

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
  const request = attempt(() => requestOf(facts, redact), unreadableRequest)
  const services = attempt(() => servicesOf(facts.services, redact), [])
  const spans = attempt(() => spansOf(facts, redact), [])
  const cause = await causeOf(facts, redact).catch((): CauseNode => ({ kind: "empty" }))
  const logs = attempt(() => logsOf(facts, redact), [])
  const body = await bodyOf(facts, redact).catch(() => without("It could not be read"))
  const snapshot: Snapshot = {
    title: attempt(() => titleOf(facts, redact), "[unreadable]"),
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

/** A copy of plain data with every string in it mapped. */
const everyText = <A>(data: A, f: (text: string) => string): A => {
  const map = (value: unknown): unknown => {
    if (typeof value === "string") return f(value)
    if (Array.isArray(value)) return value.map(map)
    if (typeof value !== "object" || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, map(one)]))
  }
  // the same shape: strings are replaced by strings, and those that say a kind are words, which no secret is
  return map(data) as A
}

const rows = (entries: Iterable<readonly [string, unknown]>, redact: Redactor): ReadonlyArray<Pair> =>
  [...entries].slice(0, 200).map(([name, value]) => redact.pair(name, value))

// --- the cause -------------------------------------------------------------------------------------------------------

type Leaf = Extract<Cause.Cause<unknown>, { readonly _tag: "Fail" | "Die" | "Interrupt" }>

const mostCauses = 50
const mostErrors = 60
const deepest = 12

/**
 * What a cause is composed of by compositions of these kinds, in its order. Not by recursion, since a finalizer of each of
 * a thousand scopes nests as deep.
 */
const partsOf = (cause: Cause.Cause<unknown>, ...kinds: ReadonlyArray<string>): ReadonlyArray<Cause.Cause<unknown>> => {
  const parts: Array<Cause.Cause<unknown>> = []
  const waiting = [cause]
  for (let one = waiting.pop(); one !== undefined; one = waiting.pop()) {
    if ("left" in one && kinds.includes(one._tag)) waiting.push(one.right, one.left)
    else parts.push(one)
  }
  return parts
}

const leavesOf = (cause: Cause.Cause<unknown>, isResponse: Facts["isResponse"]): ReadonlyArray<Leaf> =>
  partsOf(cause, "Parallel", "Sequential").filter((one): one is Leaf =>
    !("left" in one) && one._tag !== "Empty" && !(one._tag === "Die" && isResponse(one.defect))
  )

const titleOf = ({ cause, isResponse }: Facts, redact: Redactor): string => {
  const leaves = leavesOf(cause, isResponse)
  const first = leaves.find(({ _tag }) => _tag === "Fail") ?? leaves.find(({ _tag }) => _tag === "Die")
  return first !== undefined ? summary(first, redact) : leaves.length === 0 ? "The cause is empty" : "Interrupted"
}

const errorOf = (leaf: Leaf): unknown =>
  leaf._tag === "Fail" ? leaf.error : leaf._tag === "Die" ? leaf.defect : undefined

const summary = (leaf: Leaf, redact: Redactor): string => {
  if (leaf._tag === "Interrupt") return `Interrupted by ${fiberName(leaf.fiberId)}`
  const { message, name } = headOf(errorOf(leaf), redact)
  return message === "" ? name : redact.text(`${name}: ${message.split("\n", 1)[0]}`, 300)
}

const fiberName = (id: Cause.Interrupt["fiberId"]): string => {
  const ids: Array<string> = []
  const waiting = [id]
  for (let one = waiting.pop(); one !== undefined && ids.length < 10; one = waiting.pop()) {
    if (one._tag === "Composite") waiting.push(one.right, one.left)
    else if (one._tag === "Runtime") ids.push(`#${one.id}`)
  }
  return ids.length === 0 ? "no fiber" : `fiber ${ids.join(", ")}`
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null

/** Asks an object for what it may compute, and what may throw. */
const ask = (value: unknown, key: PropertyKey): unknown =>
  attempt<unknown>(() => isObject(value) && key in value ? Reflect.get(value, key) : undefined, undefined)

const textIn = (value: unknown, key: "message" | "name" | "_tag" | "stack"): string => {
  const text = ask(value, key)
  return typeof text === "string" ? text : ""
}

const isError = (value: unknown): value is Error => attempt(() => value instanceof Error, false)

const headOf = (error: unknown, redact: Redactor): Pick<ErrorNode, "name" | "message"> => {
  if (!isObject(error)) {
    const name = error === null ? "null" : typeof error
    const message = typeof error === "string" ? redact.text(error, 10_000) : redact.value(error)
    return { name, message: message === name ? "" : message }
  }
  const name = textIn(error, "_tag") || (isError(error) ? textIn(error, "name") : "") ||
    attempt(() => className(error), "") || "Object"
  return { name: redact.text(name, 200), message: redact.text(textIn(error, "message"), 10_000) }
}

const spanKey = Symbol.for("effect/SpanAnnotation")
const causeKey = Symbol.for("effect/Cause")
const isCause = (value: unknown): value is Cause.Cause<unknown> => isObject(value) && causeKey in value

/** The names of the spans around an error, innermost first, and where they were opened. */
const spansAround = (error: unknown, { locate }: Facts) => {
  const names: Array<string> = []
  const sites: Array<Site> = []
  for (
    let span = ask(error, spanKey);
    isObject(span) && ask(span, "_tag") === "Span" && names.length < 20;
    span = ask(ask(span, "parent"), "value")
  ) {
    const [name, opened] = [textIn(span, "name"), span]
    const line = attempt(() => locate?.(opened), undefined)
    const site = line === undefined ? undefined : parseFrame(line)
    if (site !== undefined) sites.push({ ...site, function: name })
    names.push(name)
  }
  return { names, sites }
}

const causeOf = (facts: Facts, redact: Redactor): Promise<CauseNode> => {
  const { cwd, editor, isResponse } = facts
  const framesOf = framesReader({ cwd, editor, show: redact.code })
  // of all errors of the request
  let drawn = 0

  const errorNode = async (error: unknown, above: ReadonlyArray<unknown>): Promise<ErrorNode> => {
    drawn++
    const { names, sites } = spansAround(error, facts)
    const frames = await framesOf(textIn(error, "stack"), textIn(error, "message"), sites)
    const inside = [...above, error]
    const causes: Array<ErrorNode> = []
    for (const caused of attempt(() => causesOf(error, isResponse), [])) {
      if (drawn >= mostErrors || inside.length >= deepest || inside.includes(caused)) continue
      causes.push(await errorNode(caused, inside))
    }
    return {
      ...headOf(error, redact),
      fields: attempt(() => fieldsOf(error, redact), [["fields", "[unreadable]"]]),
      frames: frames.map((frame) => ({
        ...frame,
        function: frame.function === undefined ? undefined : redact.text(frame.function, 200),
        file: redact.text(frame.file, 1_000)
      })),
      spans: names.map((name) => redact.text(name, 200)),
      causes
    }
  }

  const node = async (cause: Cause.Cause<unknown>, depth: number): Promise<CauseNode> => {
    if (depth > deepest) return { kind: "die", error: omitted }
    switch (cause._tag) {
      case "Empty":
        return { kind: "empty" }
      case "Fail":
        return { kind: "fail", error: await errorNode(cause.error, []) }
      case "Die":
        return isResponse(cause.defect) ? { kind: "empty" } : { kind: "die", error: await errorNode(cause.defect, []) }
      case "Interrupt":
        return { kind: "interrupt", by: fiberName(cause.fiberId) }
    }
    const causes: Array<CauseNode> = []
    for (const part of partsOf(cause, cause._tag)) {
      if (causes.length >= mostCauses || drawn >= mostErrors) {
        causes.push({ kind: "die", error: omitted })
        break
      }
      const one = await node(part, depth + 1)
      if (one.kind !== "empty") causes.push(one)
    }
    if (causes.length < 2) return causes[0] ?? { kind: "empty" }
    return { kind: cause._tag === "Parallel" ? "parallel" : "sequential", causes }
  }
  return node(facts.cause, 0)
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
  const cause = ask(error, "cause")
  const causes = cause === undefined ? [] : isCause(cause)
    // an Effect that has failed within another
    ? leavesOf(cause, isResponse).filter(({ _tag }) => _tag !== "Interrupt").map(errorOf)
    : [cause]
  const errors = isError(error) ? lookup(error, "errors") : undefined
  return Array.isArray(errors) && errors.every(isObject) ? [...causes, ...errors.slice(0, 20)] : causes
}

const ownFields = new Set(["_tag", "message", "stack", "cause", "name"])

const fieldsOf = (error: unknown, redact: Redactor): ReadonlyArray<Pair> => {
  if (!isObject(error)) return []
  if (Array.isArray(error)) return [["items", redact.value(error)]]
  const cause = lookup(error, "cause")
  return Object.entries(Object.getOwnPropertyDescriptors(error))
    .filter(([key, { enumerable, value }]) =>
      enumerable === true && !ownFields.has(key) && (cause === undefined || value !== cause)
    )
    .slice(0, 50)
    .map(([key, field]) => [
      redact.text(key, 200),
      "value" in field ? redact.value(field.value, key) : "[getter]"
    ])
}

// --- the request -----------------------------------------------------------------------------------------------------

const unreadableRequest: Omit<RequestFacts, "body"> = {
  method: "",
  target: "",
  route: undefined,
  remoteAddress: undefined,
  headers: [],
  query: [],
  cookies: []
}

const requestOf = ({ request, route }: Facts, redact: Redactor): Omit<RequestFacts, "body"> => {
  const { cookies, headers, method, url } = request
  const [, query = ""] = /\?([^#]*)/.exec(url) ?? []
  const address = lookup(request.remoteAddress, "value")
  return {
    method: redact.text(method, 100),
    target: redact.text(url),
    route: route === undefined ? undefined : redact.text(route),
    remoteAddress: typeof address === "string" ? redact.text(address, 100) : undefined,
    headers: rows(Object.entries(headers), redact),
    query: rows(new URLSearchParams(query), redact),
    cookies: Object.entries(cookies).map(([name, value]) => [redact.text(name, 200), redact.hide(value)])
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
  const length = headers["content-length"] ?? ""
  if (!/^\d{1,15}$/.test(length)) return without("Its length is not known before it is read")
  const what = `${type === "" ? "of no type" : redact.text(type, 100)}, ${length} bytes`
  if (Number(length) > bodyLimit) return without(`Too large to be shown (${what})`)
  if (type.startsWith("multipart/")) return without(`Parts are not shown (${what})`)
  const isForm = type === "application/x-www-form-urlencoded"
  if (!isJson(type) && !isForm && !isText.test(type)) return without(`Not a text (${what})`)
  if (!/^(?:identity)?$/i.test(headers["content-encoding"] ?? "")) return without(`Encoded (${what})`)
  // to read what has not come would be to wait for the client
  if (ask(source, "complete") === false) return without(`It had not arrived in whole (${what})`)

  const text = await soon(readBody)
  if (text === undefined) return without(`A handler has read it, or it could not be read (${what})`)
  if (text.length > bodyLimit) return without(`Too large to be shown (${what})`)
  if (isForm) {
    return { text: rows(new URLSearchParams(text), redact).map((pair) => pair.join("=")).join("\n"), note: undefined }
  }
  const json = isJson(type) ? redact.json(text) : undefined
  return json === undefined
    ? { text: redact.text(text, bodyLimit), note: isJson(type) ? "It is no JSON" : undefined }
    : { text: json, note: undefined }
}

const isText = /^(?:text\/|application\/(?:[\w.+-]*\+)?(?:xml|yaml|graphql|javascript|x-ndjson)$)/

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
    key: redact.text(key, 200),
    value: attempt(() => {
      // what a service can do is no news to whoever provides it
      const name = isObject(service) && !Array.isArray(service) ? className(service) : ""
      return redact.text(name || redact.value(service, key), 300)
    }, "[unreadable]")
  })).sort((a, b) => a.key < b.key ? -1 : a.key > b.key ? 1 : 0)

const toMillis = (nanos: bigint) => Math.round(Number(nanos) / 1_000) / 1_000

const spansOf = ({ isResponse, spans, startedAt }: Facts, redact: Redactor): ReadonlyArray<SpanRow> => {
  const known = new Map(spans.map((span) => [span.spanId, span]))
  const depthOf = (span: RecordedSpan): number => {
    let depth = 0
    for (let one: RecordedSpan | undefined = span; one !== undefined && depth < known.size; depth++) {
      const id = lookup(lookup(one.parent, "value"), "spanId")
      one = typeof id === "string" ? known.get(id) : undefined
    }
    return depth - 1
  }
  const statusOf = ({ status }: RecordedSpan): SpanRow["status"] => {
    if (status._tag === "Started") return "open"
    if (status.exit._tag === "Success") return "ok"
    const leaves = leavesOf(status.exit.cause, isResponse)
    return leaves.length > 0 && leaves.every(({ _tag }) => _tag === "Interrupt") ? "interrupted" : "failed"
  }
  const start = BigInt(Math.round(startedAt)) * 1_000_000n
  return [...spans]
    .sort((a, b) => Number(a.status.startTime - b.status.startTime))
    .slice(0, 500)
    .map((span) => ({
      name: redact.text(span.name, 200),
      depth: Math.max(0, depthOf(span)),
      start: toMillis(span.status.startTime - start),
      took: span.status._tag === "Ended" ? toMillis(span.status.endTime - span.status.startTime) : undefined,
      status: attempt(() => statusOf(span), "failed"),
      attributes: attempt(() => rows(span.attributes, redact), [])
    }))
}

const logsOf = ({ isResponse, logs, startedAt }: Facts, redact: Redactor): ReadonlyArray<LogRow> =>
  logs.slice(-500).map(({ annotations, cause, date, logLevel, message }) => ({
    level: logLevel.label,
    message: (Array.isArray(message) ? message as ReadonlyArray<unknown> : [message])
      .map((one) => typeof one === "string" ? redact.text(one) : redact.value(one))
      .join(" "),
    at: Math.max(0, date.getTime() - startedAt),
    annotations: attempt(() => rows(annotations, redact), []),
    cause: attempt(() => loggedCause(leavesOf(cause, isResponse), redact), "[unreadable]")
  }))

const loggedCause = (leaves: ReadonlyArray<Leaf>, redact: Redactor): string | undefined =>
  leaves.length === 0 ? undefined : leaves.slice(0, 10).map((leaf) => {
    const stack = textIn(errorOf(leaf), "stack")
    return stack === "" ? summary(leaf, redact) : redact.text(stack)
  }).join("\n")

/** Of the variables of the environment `NODE_ENV` alone: in the others are the secrets. */
const environmentOf = ({ versions = [] }: Facts, redact: Redactor): ReadonlyArray<Pair> => {
  const node = attempt((): ReadonlyArray<readonly [string, unknown]> => [
    ["Node.js", process.version],
    ["NODE_ENV", process.env.NODE_ENV],
    ["platform", `${process.platform} ${process.arch}`],
    ["working directory", process.cwd()],
    ["process", process.pid],
    ["up for", `${Math.round(process.uptime())} s`],
    ["memory", `${Math.round(process.memoryUsage().rss / 1024 / 1024)} MiB`]
  ], [])
  return rows([...node.slice(0, 1), ...versions, ...node.slice(1)].filter(([, value]) => value !== undefined), redact)
}
