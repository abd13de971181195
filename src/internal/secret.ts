/**
 * Why a secret can be guessed, as the end of a sentence that begins with what it is; `undefined` for one that looks
 * random. It tells what no generator gives, and cannot tell a random secret from one that only looks so.
 */
export const weakness = (bytes: Uint8Array): string | undefined => {
  if (bytes.length < shortest) return `has ${bytes.length} bytes where at least ${shortest} are needed`
  const text = Buffer.from(bytes).toString("latin1").toLowerCase().replace(/[^a-z\d]+/g, "")
  if (placeholders.some((word) => text.includes(word))) return "has a word of a placeholder in it"
  // of 32 random hexadecimal digits 14 differ, and fewer than 8 once in thirty million times
  if (new Set(bytes).size < leastDistinct) return `has fewer than ${leastDistinct} different bytes`
  if (isRepetition(bytes)) return "repeats itself"
  const steps = new Set(bytes.subarray(1).map((byte, index) => byte - bytes[index]!))
  return steps.size < leastDistinct ? "is a sequence" : undefined
}

const shortest = 32
const leastDistinct = 8

/** At least six letters, so that a random secret has none by chance. */
const placeholders = [
  "changeit",
  "changeme",
  "changethis",
  "default",
  "development",
  "example",
  "insecure",
  "keyboardcat",
  "letmein",
  "passphrase",
  "password",
  "placeholder",
  "qwerty",
  "replaceme",
  "replacethis",
  "secret",
  "testing",
  "yourkey"
]

const isRepetition = (bytes: Uint8Array): boolean => {
  const buffer = Buffer.from(bytes)
  for (let length = 1; length <= buffer.length / 2; length++) {
    if (buffer.subarray(length).equals(buffer.subarray(0, -length))) return true
  }
  return false
}
