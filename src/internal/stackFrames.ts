import type { Frame, Source } from "./snapshot.js"

export interface Options {
  /** Frames in it are shown relative to it. Default: the working directory of the process. */
  readonly cwd?: string | undefined
  /** Such as `vscode://file/{file}:{line}:{column}`. */
  readonly editor?: string | undefined
  /** What is shown of a line of a program; the line itself, unless given. */
  readonly show?: ((line: string) => string) | undefined
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

const program = /\.[cm]?[jt]sx?$/i
const generated = /\.[cm]?jsx?$/i

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
  let first = 0
  if (!certain) {
    while (lines.at(-1)?.trim() === "") lines.pop()
    first = lines.length
    while (first > 0 && isFrame(lines[first - 1]!)) first--
  }
  const sites: Array<Site> = []
  for (const line of lines.slice(first)) {
    const site = isFrame(line) ? parseFrame(line.slice(7)) : undefined
    if (site !== undefined && sites.length < mostFrames) sites.push(site)
  }
  return { sites, certain }
}

const isFrame = (line: string) => line.startsWith("    at ") && line.length < 4_096

/** What follows `at `: `f (/a.js:1:2)`, `async C.f [as g] (file:///a.js:1:2)`, `/a.js:1:2`. */
export const parseFrame = (text: string): Site | undefined => {
  const frame = text.trimEnd().replace(/^async /, "")
  if (!frame.endsWith(")")) return parseLocation(frame, undefined)
  // a path may have parentheses as well as a name: the first that begins a location
  for (let open = frame.indexOf("("); open !== -1; open = frame.indexOf("(", open + 1)) {
    const location = frame.slice(open + 1, -1)
    if (location.startsWith("eval at ")) return undefined
    const site = open === 0 || frame[open - 1] === " "
      ? parseLocation(location, nameOf(frame.slice(0, Math.max(0, open - 1))))
      : undefined
    if (site !== undefined) return site
  }
  return undefined
}

const parseLocation = (text: string, name: string | undefined): Site | undefined => {
  const found = /:(\d{1,9})(?::(\d{1,9}))?$/.exec(text)
  if (found === null) return undefined
  const whole = text.slice(0, found.index)
  const path = pathOf(whole)
  return path === undefined
    ? undefined
    : { function: name, file: path, line: Number(found[1]), column: Number(found[2] ?? 1) }
}

const nameOf = (text: string): string | undefined => {
  const name = text.replace(/^new <anonymous>$|^<anonymous>$|^Object\.<anonymous>$|^EffectPrimitive\..*$/s, "")
  return name === "" || name.includes("effect_instruction_i") ? undefined : name.slice(0, 200)
}

const isAbsolute = (path: string) => /^(?:\/|[A-Za-z]:[\\/]|\\\\)/.test(path)

/** The path of a `file:` URL; other schemes, and absolute paths, as they are; nothing for what is neither. */
const pathOf = (location: string): string | undefined => {
  if (isAbsolute(location)) return location.replace(/\?[^/\\]*$/, "")
  if (!/^[a-z][a-z\d+.-]+:/i.test(location)) return undefined
  if (!location.startsWith("file://")) return location.startsWith("wasm:") ? undefined : location
  try {
    const { hostname, pathname } = new URL(location)
    const path = decodeURIComponent(pathname)
    if (hostname !== "") return `//${hostname}${path}`
    return /^\/[A-Za-z]:\//.test(path) ? path.slice(1) : path
  } catch {
    return undefined
  }
}

// --- reading ---------------------------------------------------------------------------------------------------------

/** What a frame is shown as, and the files it takes: one for each request, so that each file is read once. */
export type Reader = (
  error: unknown,
  more?: ReadonlyArray<Site>
) => Promise<ReadonlyArray<Frame>>

export const framesOf = (error: unknown, options?: Options): Promise<ReadonlyArray<Frame>> =>
  framesReader(options)(error)

/** Never rejects. `more` are sites that are not in the error's stack, and come after it. */
export const framesReader = (options: Options = {}): Reader => {
  const cwd = slashed(options.cwd ?? workingDirectory() ?? "").replace(/\/$/, "")
  const show = options.show ?? ((line) => line)
  const files = filesReader()

  const draw = async (site: Site, wanted: (own: boolean, file: string) => boolean): Promise<Frame> => {
    const mapped = await files.original(site).catch(() => undefined) ?? { ...site, content: undefined }
    const file = slashed(mapped.file)
    const own = isOwn(file)
    const content = wanted(own, file) ? mapped.content ?? await files.source(mapped.file) : undefined
    return {
      function: mapped.function,
      file: cwd !== "" && file.startsWith(`${cwd}/`) ? file.slice(cwd.length + 1) : file,
      line: mapped.line,
      column: mapped.column,
      own,
      source: content === undefined ? undefined : excerpt(content, mapped.line, mapped.column, show),
      link: options.editor === undefined || !isAbsolute(mapped.file) ? undefined : linkTo(options.editor, file, mapped)
    }
  }

  return async (error, more = []) => {
    try {
      const { certain, sites } = parseStack(textOf(error, "stack"), textOf(error, "message"))
      const frames: Array<Frame> = []
      let library = false
      for (const [index, site] of [...sites, ...more].slice(0, mostFrames).entries()) {
        // a frame that a client may have written shows no file that is not the program's
        const trusted = certain || index >= sites.length
        frames.push(
          await draw(site, (own, file) => {
            if (own) return trusted || (cwd !== "" && file.startsWith(`${cwd}/`) && !file.includes("/../"))
            if (!trusted || library || isEffect(file) || !isAbsolute(file)) return false
            return library = true
          })
        )
      }
      return frames
    } catch {
      return []
    }
  }
}

const textOf = (value: unknown, key: "stack" | "message"): string => {
  try {
    const text: unknown = typeof value === "object" && value !== null && key in value
      ? (value as { readonly [_ in typeof key]?: unknown })[key]
      : ""
    return typeof text === "string" ? text : ""
  } catch {
    return ""
  }
}

const slashed = (path: string) => /^(?:[A-Za-z]:)?[\\/]/.test(path) ? path.replace(/\\/g, "/") : path

const isOwn = (file: string) => !file.startsWith("node:") && !file.includes("/node_modules/")
const isEffect = (file: string) => /\/node_modules\/(?:effect|@effect\/[^/]+)\//.test(file)

const linkTo = (template: string, file: string, { column, line }: Site): string => {
  const values: Readonly<Record<string, string>> = {
    file: file.split("/").map(encodeURIComponent).join("/").replace(/^([A-Za-z])%3A\//, "$1:/"),
    line: String(line),
    column: String(column)
  }
  return template.replace(/\{(file|line|column)\}/g, (_, name: string) => values[name]!)
}

const excerpt = (
  content: string,
  line: number,
  column: number,
  show: (line: string) => string
): Source | undefined => {
  const lines = content.split(/\r\n|\n|\r/)
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

/** Node's own, and nothing where there is no Node. */
const workingDirectory = (): string | undefined => {
  try {
    return typeof process === "object" ? process.cwd() : undefined
  } catch {
    return undefined
  }
}

interface Original extends Site {
  /** The text of the file, where the map brings it. */
  readonly content: string | undefined
}

interface MapEntry {
  readonly originalSource?: string
  readonly originalLine?: number
  readonly originalColumn?: number
}

interface Mapping {
  readonly findEntry: (line: number, column: number) => MapEntry
  readonly contentOf: (source: string) => string | undefined
  readonly sourceRoot: string
  /** What its sources are relative to. */
  readonly base: string
}

const filesReader = () => {
  const texts = new Map<string, Promise<string | undefined>>()
  const maps = new Map<string, Promise<Mapping | undefined>>()

  const read = (path: string, limit: number): Promise<string | undefined> => {
    const before = texts.get(path)
    if (before !== undefined) return before
    if (texts.size >= mostFiles) return Promise.resolve(undefined)
    const text = readRegular(path, limit).catch(() => undefined)
    texts.set(path, text)
    return text
  }
  const source = (path: string): Promise<string | undefined> =>
    isAbsolute(path) && program.test(path) ? read(path, mostBytes) : Promise.resolve(undefined)

  const mapping = (path: string): Promise<Mapping | undefined> => {
    const before = maps.get(path)
    if (before !== undefined) return before
    const map = source(path)
      .then((text) => text === undefined ? undefined : mapOf(path, text, (map) => read(map, mostMapBytes)))
      .catch(() => undefined)
    maps.set(path, map)
    return map
  }

  /** Where the compiler had it from; `undefined` for what no compiler has written. */
  const original = async (site: Site): Promise<Original | undefined> => {
    if (!generated.test(site.file) || site.file.startsWith("node:")) return undefined
    const map = await mapping(site.file)
    const entry = map?.findEntry(site.line - 1, site.column - 1)
    if (map === undefined || entry?.originalSource === undefined || entry.originalLine === undefined) return undefined
    return {
      function: site.function,
      file: resolve(map.base, map.sourceRoot, entry.originalSource),
      line: entry.originalLine + 1,
      column: (entry.originalColumn ?? 0) + 1,
      content: map.contentOf(entry.originalSource)
    }
  }
  return { source, original }
}

const readRegular = async (path: string, limit: number): Promise<string | undefined> => {
  const fs = await import("node:fs/promises")
  // a device or a pipe could be waited for without end: it is looked at before it is opened
  const { size } = await fs.stat(path).then((stat) => stat.isFile() ? stat : { size: Number.POSITIVE_INFINITY })
  return size > limit ? undefined : await fs.readFile(path, "utf8")
}

const mapOf = async (
  path: string,
  text: string,
  read: (path: string) => Promise<string | undefined>
): Promise<Mapping | undefined> => {
  const comment = Math.max(text.lastIndexOf("//# sourceMappingURL="), text.lastIndexOf("//@ sourceMappingURL="))
  const url = comment === -1 ? "" : text.slice(comment + 21).trim()
  if (url === "" || /\s/.test(url)) return undefined
  const base = slashed(path).replace(/\/[^/]*$/, "")
  const inline = url.startsWith("data:")
  const file = inline ? path : resolve(base, "", url)
  const json = inline ? decodeData(url) : isAbsolute(file) && /\.map$/i.test(file) ? await read(file) : undefined
  if (json === undefined) return undefined
  const payload: unknown = JSON.parse(json.replace(/^\)\]\}'[^\n]*\n/, ""))
  if (typeof payload !== "object" || payload === null) return undefined
  const { SourceMap } = await import("node:module")
  const map = new SourceMap(payload as ConstructorParameters<typeof SourceMap>[0])
  const contents = contentsOf(payload)
  const root: unknown = "sourceRoot" in payload ? payload.sourceRoot : ""
  return {
    findEntry: (line, column) => map.findEntry(line, column) as MapEntry,
    contentOf: (source) => contents.get(source),
    sourceRoot: typeof root === "string" ? root : "",
    base: inline ? base : slashed(file).replace(/\/[^/]*$/, "")
  }
}

const contentsOf = (payload: object, contents = new Map<string, string>()): ReadonlyMap<string, string> => {
  const sections: unknown = "sections" in payload ? payload.sections : []
  for (const section of Array.isArray(sections) ? sections as ReadonlyArray<unknown> : []) {
    const map: unknown = typeof section === "object" && section !== null && "map" in section ? section.map : undefined
    if (typeof map === "object" && map !== null && !("sections" in map)) contentsOf(map, contents)
  }
  const sources: unknown = "sources" in payload ? payload.sources : []
  const texts: unknown = "sourcesContent" in payload ? payload.sourcesContent : []
  if (!Array.isArray(sources) || !Array.isArray(texts)) return contents
  sources.forEach((source: unknown, index) => {
    const text: unknown = texts[index]
    if (typeof source === "string" && typeof text === "string") contents.set(source, text)
  })
  return contents
}

const decodeData = (url: string): string | undefined => {
  const comma = url.indexOf(",")
  const head = url.slice(0, comma).toLowerCase()
  const data = url.slice(comma + 1)
  if (comma === -1 || !head.startsWith("data:application/json")) return undefined
  if (!head.endsWith(";base64")) return decodeURIComponent(data)
  return new TextDecoder().decode(Uint8Array.from(atob(data), (char) => char.charCodeAt(0)))
}

/** A source as a map names it, from the folder of the map. */
const resolve = (base: string, root: string, source: string): string => {
  const named = root === "" ? source : `${root.replace(/\/$/, "")}/${source}`
  if (isAbsolute(source)) return source
  if (isAbsolute(named) || /^[a-z][a-z\d+.-]+:/i.test(named)) return pathOf(named) ?? named
  const parts: Array<string> = []
  for (const part of `${base}/${decodeURI(named)}`.split("/")) {
    if (part === "..") parts.pop()
    else if (part !== ".") parts.push(part)
  }
  return parts.join("/")
}
