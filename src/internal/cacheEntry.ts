/** Stored responses as bytes: a line of JSON, and the body. */
import type { Entry } from "../ResponseCacheStore.js"

const lineFeed = 0x0a

export const encode = ({ body, ...rest }: Entry): Uint8Array =>
  Buffer.concat([Buffer.from(`${JSON.stringify(rest)}\n`), body])

/** `undefined` for what no store has written, or another version of it. */
export const decode = (bytes: Uint8Array): Entry | undefined => {
  const end = bytes.indexOf(lineFeed)
  if (end === -1) return undefined
  const rest = parse(Buffer.from(bytes.buffer, bytes.byteOffset, end).toString())
  return isRest(rest) ? { ...rest, body: bytes.subarray(end + 1) } : undefined
}

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const numbers = ["status", "storedAt", "age", "freshFor", "staleWhileRevalidate", "staleIfError"] as const
const flags = ["mustRevalidate", "forCookies", "forAuthorized"] as const

const isRest = (value: unknown): value is Omit<Entry, "body"> =>
  isRecord(value) && numbers.every((name) => typeof value[name] === "number") &&
  flags.every((name) => typeof value[name] === "boolean") &&
  isRecord(value["headers"]) && Object.values(value["headers"]).every((field) => typeof field === "string")

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
