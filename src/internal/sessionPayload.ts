/** What is kept of a session as text, and how long it is good for. */
import type { Flash } from "../Session.js"

export interface Content {
  /** Of the schema that `data` is encoded by. */
  readonly version: number
  readonly data: unknown
  readonly flashes: ReadonlyArray<Flash>
  /** What the tokens of its forms are made of, once one has been asked for. */
  readonly secret: string | undefined
  /** Of the principal, when it was bound to the session. */
  readonly epoch: number
}

/** What a cookie holds beside, which a store has in fields of its own. */
export interface Portable extends Content {
  readonly id: string
  readonly createdAt: number
  readonly touchedAt: number
  readonly principal: string | undefined
}

interface Json {
  readonly v?: unknown
  readonly d?: unknown
  readonly f?: unknown
  readonly s?: unknown
  readonly e?: unknown
  readonly i?: unknown
  readonly c?: unknown
  readonly t?: unknown
  readonly p?: unknown
}

/** Of one content always the same text, so that texts tell whether something has changed. */
export const print = (content: Content): string => JSON.stringify(jsonOf(content))

export const printPortable = (content: Portable): string => {
  const { createdAt, id, principal, touchedAt } = content
  return JSON.stringify({ i: id, c: createdAt, t: touchedAt, p: principal, ...jsonOf(content) })
}

const jsonOf = ({ data, epoch, flashes, secret, version }: Content): Json => ({
  v: version,
  d: data,
  f: flashes.length === 0 ? undefined : flashes.map(({ kind, text }) => [kind, text]),
  s: secret,
  e: epoch === 0 ? undefined : epoch
})

/** `undefined` for what `print` did not write. */
export const parse = (text: string): Content | undefined => contentOf(parseJson(text))

export const parsePortable = (text: string): Portable | undefined => {
  const json = parseJson(text)
  const content = contentOf(json)
  if (content === undefined || json === undefined) return undefined
  const { c, i, p, t } = json
  if (typeof i !== "string" || !isTime(c) || !isTime(t) || (p !== undefined && typeof p !== "string")) return undefined
  return { id: i, createdAt: c, touchedAt: t, principal: p, ...content }
}

const parseJson = (text: string): Json | undefined => {
  try {
    const json: unknown = JSON.parse(text)
    return typeof json === "object" && json !== null ? json : undefined
  } catch {
    return undefined
  }
}

const contentOf = (json: Json | undefined): Content | undefined => {
  if (json === undefined) return undefined
  const { d, e = 0, f = none, s, v } = json
  if (!isCount(v) || !isCount(e) || !Array.isArray(f) || !f.every(isFlash)) return undefined
  if (s !== undefined && typeof s !== "string") return undefined
  const flashes = f.length === 0 ? none : f.map(([kind, text]) => ({ kind, text }))
  return { version: v, data: d, epoch: e, secret: s, flashes }
}
const none: ReadonlyArray<never> = []

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
const isTime = isCount
const isFlash = (value: unknown): value is [string, string] =>
  Array.isArray(value) && value.length === 2 && value.every((part) => typeof part === "string")

/** In milliseconds. */
export interface Lifetimes {
  readonly idle: number
  readonly absolute: number
}

/** The first moment at which a session is gone: whatever its cookie or its store may say. */
export const expiryOf = (
  { absolute, idle }: Lifetimes,
  { createdAt, touchedAt }: { readonly createdAt: number; readonly touchedAt: number }
): number => Math.min(touchedAt + idle, createdAt + absolute)
