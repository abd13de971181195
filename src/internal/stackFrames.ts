import type { Frame, Source } from "./snapshot.js"

export interface Options {
  /** Frames in it are shown relative to it. Default: the working directory of the process. */
  readonly cwd?: string | undefined
  /** Such as `vscode://file/{file}:{line}:{column}`. */
  readonly editor?: string | undefined
  /** What is shown of a line of a program. */
  readonly show: (line: string) => string
}

/** What a frame says of itself, before any file has been read. */
export interface Site {
  readonly function: string | undefined
  /** A path, or what stands in its place: `node:fs`, `webpack://app/x.ts`. */
  readonly file: string
  readonly line: number
  readonly column: number
}

const mostFrames = 50
/** Files that one request may cause to be read, source maps included. */
const mostFiles = 40
const mostBytes = 2 * 1024 * 1024
const mostMapBytes = 16 * 1024 * 1024
const around = 5
const widest = 300

// --- parsing ---------------------------------------------------------------------------------------------------------

/**
 * The frames in a stack of V8. Its text begins with the error's message, in which a client may have written lines that
 * look like frames: they are none. `certain` is false where the message is not what the stack begins with, as when it
 * has been set later: then the last lines that look like frames are taken, of which the first may be the client's.
 */
export const parseStack = (
  stack: string,
  message: string
): { readonly sites: ReadonlyArray<Site>; readonly certain: boolean } => {
  // `name: message`, or the message alone where the name is empty
  const colon = stack.indexOf(`: ${message}`)
  const start = colon !== -1 && !stack.slice(0, colon).includes("\n") ? colon + 2 : stack.startsWith(message) ? 0 : -1
  const end = start + message.length
  const certain = message === "" ? !/^.*: /.test(stack) : start !== -1 && (end === stack.length || stack[end] === "\n")
  const after = certain ? end : 0
  const lines = stack.slice(after, after + 200_000).split("\n").slice(1)
  while (lines.at(-1)?.trim() === "") lines.pop()
  let first = lines.length
  while (first > 0 && isFrame(lines[first - 1]!)) first--
  const sites = lines.slice(certain ? 0 : first).flatMap((line) => isFrame(line) ? parseFrame(line) ?? [] : [])
  return { sites: sites.slice(0, mostFrames), certain }
}

const isFrame = (line: string) => line.startsWith("    at ") && line.length < 4_096

/** `at f (/a.js:1:2)`, `at async C.f [as g] (file:///a.js:1:2)`, `at /a.js:1:2`. */
export const parseFrame = (line: string): Site | undefined => {
  const frame = line.trim().replace(/^at /, "").replace(/^async /, "")
  const place = /:(\d{1,9})(?::(\d{1,9}))?\)?$/.exec(frame)
  if (place === null || frame.includes("eval at ")) return undefined
  // a path may have parentheses as well as a name: the first after which something absolute follows
  const [, name = "", location = ""] = /^(?:(.*?) \()?((?:[/\\]|[a-z][a-z\d+.-]*:).*)$/i.exec(
    frame.slice(0, place.index)
  ) ?? []
  const file = pathOf(location)
  if (file === undefined) return undefined
  const isNamed = !/^(?:new |Object\.)?<anonymous>$|^EffectPrimitive\.|effect_instruction_i/.test(name)
  return {
    function: name !== "" && isNamed ? name.slice(0, 200) : undefined,
    file,
    line: Number(place[1]),
    column: Number(place[2] ?? 1)
  }
}

const isAbsolute = (path: string) => /^(?:[A-Za-z]:)?[/\\]/.test(path)

/** The path of a `file:` URL; other schemes, and absolute paths, as they are; nothing for what is neither. */
const pathOf = (location: string): string | undefined => {
  if (isAbsolute(location)) return location.split("?", 1)[0]
  if (!/^(?!wasm:)[a-z][a-z\d+.-]+:/i.test(location)) return undefined
  if (!location.startsWith("file://")) return location
  try {
    const { hostname, pathname } = new URL(location)
    const path = decodeURIComponent(pathname)
    return hostname !== "" ? `//${hostname}${path}` : path.replace(/^\/(?=[A-Za-z]:\/)/, "")
  } catch {
    return undefined
  }
}

// --- drawing ---------------------------------------------------------------------------------------------------------

/** One for each request, so that each file is read once. Never rejects. `more` are sites that come after the stack's. */
export type Reader = (stack: string, message: string, more?: ReadonlyArray<Site>) => Promise<ReadonlyArray<Frame>>

export const framesReader = ({ cwd = workingDirectory(), editor, show }: Options): Reader => {
  const root = slashed(cwd).replace(/\/?$/, "/")
  const files = filesReader()

  const draw = async (site: Site, trusted: boolean): Promise<Frame> => {
    const { content, ...mapped } = await files.original(site)
    const { column, line } = mapped
    const file = slashed(mapped.file)
    const inside = root !== "/" && file.startsWith(root) && !file.includes("/../")
    // a frame that a client may have written shows no file but the program's
    const shown = inside || (trusted && !isEffect(file))
    const text = shown ? content ?? await files.source(mapped.file) : undefined
    return {
      ...mapped,
      file: inside ? file.slice(root.length) : file,
      own: !/^node:|\/node_modules\//.test(file),
      source: text === undefined ? undefined : excerpt(text, line, column, show),
      link: editor === undefined || !isAbsolute(file) ? undefined : linkTo(editor, file, mapped)
    }
  }

  return async (stack, message, more = []) => {
    try {
      const { certain, sites } = parseStack(stack, message)
      const frames: Array<Frame> = []
      for (const [index, site] of [...sites, ...more].slice(0, mostFrames).entries()) {
        frames.push(await draw(site, certain || index >= sites.length))
      }
      return frames
    } catch {
      return []
    }
  }
}

const slashed = (path: string) => isAbsolute(path) ? path.replace(/\\/g, "/") : path

const isEffect = (file: string) => /\/node_modules\/(?:effect|@effect\/[^/]+)\//.test(file)

const linkTo = (template: string, file: string, { column, line }: Site): string => {
  const path = file.split("/").map(encodeURIComponent).join("/").replace(/^([A-Za-z])%3A\//, "$1:/")
  const values: Readonly<Record<string, string>> = { file: path, line: String(line), column: String(column) }
  return template.replace(/\{(file|line|column)\}/g, (_, name: string) => values[name]!)
}

const excerpt = (text: string, line: number, column: number, show: Options["show"]): Source | undefined => {
  const lines = text.split(/\r\n|\n|\r/)
  if (line < 1 || line > lines.length) return undefined
  const from = Math.max(1, line - around)
  return {
    from,
    lines: lines.slice(from - 1, line + around).map((text, index) =>
      show(narrow(text, from + index === line ? column : 1))
    )
  }
}

/** A minified program is one line. */
const narrow = (text: string, column: number): string => {
  if (text.length <= widest) return text
  const start = Math.max(0, Math.min(column - 1 - widest / 2, text.length - widest))
  const end = start + widest
  return `${start === 0 ? "" : "…"}${text.slice(start, end)}${end < text.length ? "…" : ""}`
}

/** Nothing where there is no Node. */
const workingDirectory = (): string => {
  try {
    return process.cwd()
  } catch {
    return ""
  }
}

// --- reading ---------------------------------------------------------------------------------------------------------

type Reading<A> = (path: string) => Promise<A | undefined>

/** What fails is nothing, and so is what comes after too many. */
const once = <A>(read: Reading<A>): Reading<A> => {
  const known = new Map<string, Promise<A | undefined>>()
  return async (path) => {
    if (known.size < mostFiles && !known.has(path)) known.set(path, read(path).catch(() => undefined))
    return known.get(path)
  }
}

interface Original extends Site {
  /** The text of the file, where a source map brings it. */
  readonly content?: string | undefined
}

/** Programs and source maps, and none of another machine: `\\host\x.ts`. */
const readable = /^(?:[A-Za-z]:)?[/\\](?![/\\]).*\.(?:[cm]?[jt]sx?|map)$/i

const filesReader = () => {
  const known = once(readText)
  const source: Reading<string> = async (path) => readable.test(path) ? known(path) : undefined
  const mapping = once(async (path) => mapOf(path, await source(path) ?? "", source))

  /** Where the compiler had it from; the same for what no compiler has written. */
  const original = async (site: Site): Promise<Original> => {
    const map = /\.[cm]?jsx?$/i.test(site.file) ? await mapping(site.file) : undefined
    try {
      return map?.(site) ?? site
    } catch {
      return site
    }
  }
  return { source, original }
}

const readText: Reading<string> = async (path) => {
  const fs = await import("node:fs/promises")
  // `x.ts` may be a link to what is no program
  const real = await fs.realpath(path)
  // a pipe could be waited for without end: it is looked at before it is opened
  const stat = await fs.stat(real)
  const limit = real.endsWith(".map") ? mostMapBytes : mostBytes
  return readable.test(real) && stat.isFile() && stat.size <= limit ? fs.readFile(real, "utf8") : undefined
}

type SourceMapping = (site: Site) => Original | undefined

const mapOf = async (path: string, text: string, read: Reading<string>): Promise<SourceMapping | undefined> => {
  const comment = text.lastIndexOf("//# sourceMappingURL=")
  const url = text.slice(comment + 21).trim()
  if (comment === -1) return undefined
  const { SourceMap } = await import("node:module")
  const { pathToFileURL } = await import("node:url")
  const inline = /^data:application\/json[^,]*?(;base64)?,(.*)$/.exec(url)
  const file = inline === null ? pathOf(new URL(url, pathToFileURL(path)).href) ?? "" : path
  const json = inline === null
    ? await read(file)
    : inline[1] === undefined
    ? decodeURIComponent(inline[2]!)
    : Buffer.from(inline[2]!, "base64").toString()
  const payload: unknown = JSON.parse(json ?? "null")
  if (typeof payload !== "object" || payload === null) return undefined
  const map = new SourceMap(payload as ConstructorParameters<typeof SourceMap>[0])
  const { sourceRoot, sources, sourcesContent }: Readonly<Record<string, unknown>> = { ...payload }
  const root = typeof sourceRoot === "string" && sourceRoot !== "" ? sourceRoot.replace(/\/?$/, "/") : ""

  return (site) => {
    const entry = map.findEntry(site.line - 1, site.column - 1)
    // there is none of what the compiler has added
    if (!("originalSource" in entry) || entry.originalSource === undefined) return undefined
    const { originalColumn, originalLine, originalSource: source } = entry
    const original = isAbsolute(source) ? source : pathOf(new URL(root + source, pathToFileURL(file)).href)
    if (original === undefined) return undefined
    const content: unknown = Array.isArray(sources) && Array.isArray(sourcesContent)
      ? sourcesContent[sources.indexOf(source)]
      : undefined
    return {
      function: site.function,
      file: original,
      line: originalLine + 1,
      column: originalColumn + 1,
      content: typeof content === "string" ? content : undefined
    }
  }
}
