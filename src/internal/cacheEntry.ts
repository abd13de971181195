/** Stored responses and answers as bytes: a line of JSON, and the body. */
import type { Answer } from "../IdempotencyStore.js"
import type { Entry } from "../ResponseCacheStore.js"
import { isToken } from "./fields.js"

const lineFeed = 0x0a

interface Stored {
  readonly body: Uint8Array
}

const seal = ({ body, ...rest }: Stored): Uint8Array =>
  Buffer.concat([Buffer.from(`${JSON.stringify({ ...rest, size: body.byteLength })}\n`), body])

/** `undefined` for what no store has written, or another version of it, and for what has lost its end. */
const open = <Line extends { readonly size: number }>(
  bytes: Uint8Array,
  isLine: (value: unknown) => value is Line
): (Omit<Line, "size"> & Stored) | undefined => {
  const end = bytes.indexOf(lineFeed)
  if (end === -1) return undefined
  const line = parse(Buffer.from(bytes.buffer, bytes.byteOffset, end).toString())
  if (!isLine(line)) return undefined
  const { size, ...rest } = line
  const body = bytes.subarray(end + 1)
  return body.byteLength === size ? { ...rest, body } : undefined
}

export const encode = (entry: Entry): Uint8Array => seal(entry)
export const decode = (bytes: Uint8Array): Entry | undefined => open(bytes, isEntry)

export const encodeAnswer = (answer: Answer): Uint8Array => seal(answer)
export const decodeAnswer = (bytes: Uint8Array): Answer | undefined => open(bytes, isAnswer)

/** The names of the fields by which something varies; none of what no store has written. */
export const toVary = (text: string): ReadonlyArray<string> => {
  const value = parse(text)
  return Array.isArray(value) && value.every((item) => typeof item === "string") ? value : []
}

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const numbers = ["storedAt", "age", "freshFor", "staleWhileRevalidate", "staleIfError"] as const
const flags = ["mustRevalidate", "forCookies", "forAuthorized"] as const

type Line<A> = Omit<A, "body"> & { readonly size: number }

const isEntry = (value: unknown): value is Line<Entry> =>
  isHead(value) && numbers.every((name) => Number.isFinite(value[name])) &&
  flags.every((name) => typeof value[name] === "boolean")

const isAnswer = (value: unknown): value is Line<Answer> =>
  isHead(value) && typeof value["whole"] === "boolean" && Array.isArray(value["cookies"]) &&
  value["cookies"].every(isFieldValue)

const isHead = (value: unknown): value is Record<string, unknown> =>
  isRecord(value) && isStatus(value["status"]) && isRecord(value["headers"]) && isFields(value["headers"])

const isStatus = (value: unknown) => typeof value === "number" && Number.isInteger(value) && value >= 200 && value < 600

/** What a server would refuse to send is no field. */
const isFields = (fields: Record<string, unknown>) =>
  Object.entries(fields).every(([name, value]) => isToken(name) && isFieldValue(value))

const isFieldValue = (value: unknown) => typeof value === "string" && /^[\t\x20-\x7e\x80-\xff]*$/.test(value)

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** For who keeps texts alone: as it is where it is UTF-8, or else as Base64. */
export const toText = (bytes: Uint8Array): string => {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()
  return Buffer.byteLength(text) === bytes.byteLength && !text.includes("\ufffd")
    ? `t${text}`
    : `b${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64")}`
}

export const fromText = (text: string): Uint8Array =>
  Buffer.from(text.slice(1), text.startsWith("t") ? "utf8" : "base64")
