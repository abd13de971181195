/** A number of bytes, as options have it. */
import type { SizeInput } from "@effect/platform/FileSystem"

export type Size = SizeInput | `${number} ${"B" | "KiB" | "MiB" | "GiB"}`

/** Throws, by the name of the option, on what is no size. */
export const bytesOf = (option: string, size: Size): number => {
  const bytes = typeof size === "string" ? parseSize(size) : Number(size)
  if (Number.isSafeInteger(bytes) && bytes >= 0) return bytes
  throw new TypeError(
    `${option} is ${JSON.stringify(String(size))}: write a number of bytes, such as 65536 or "64 KiB"`
  )
}

const units: { readonly [unit: string]: number } = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 }

const parseSize = (text: string): number => {
  const [, digits, unit = ""] = /^(\d+(?:\.\d+)?) (B|KiB|MiB|GiB)$/.exec(text) ?? []
  return Math.floor(Number(digits) * (units[unit] ?? Number.NaN))
}
