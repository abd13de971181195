import type { SizeInput } from "@effect/platform/FileSystem"

/** A number of bytes: as a number, as platform's `FileSystem.MiB(1)`, or in words. A KiB has 1024 bytes. */
export type Size = SizeInput | `${number} ${"B" | "KiB" | "MiB" | "GiB"}`

export const parseSize = (module: string, option: string, size: Size): number => {
  const bytes = typeof size === "string" ? inWords(size) : Number(size)
  if (Number.isSafeInteger(bytes) && bytes >= 0) return bytes
  throw new TypeError(
    `${module}: ${option} is ${JSON.stringify(String(size))}: write a number of bytes, such as 65536 or "64 KiB"`
  )
}

const units: { readonly [unit: string]: number } = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 }

const inWords = (text: string): number => {
  const [, digits, unit = ""] = /^(\d+(?:\.\d+)?) (B|KiB|MiB|GiB)$/.exec(text) ?? []
  return Math.floor(Number(digits) * (units[unit] ?? Number.NaN))
}
