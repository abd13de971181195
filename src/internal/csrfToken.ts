/** A secret in another form each time that it is shown: what compresses well with a guess says nothing of it (BREACH). */
import { timingSafeEqual } from "node:crypto"

/** The secret beside a pad: as many random bytes, and the secret under them. */
export const mask = (secret: string, random: (size: number) => Uint8Array): string => {
  const bytes = Buffer.from(secret, "base64url")
  const pad = random(bytes.length)
  return Buffer.concat([pad, xor(bytes, pad)]).toString("base64url")
}

/** Whether that is a mask of the secret, in a time that does not depend on how much of it is. */
export const isMaskOf = (token: string, secret: string): boolean => {
  const bytes = Buffer.from(secret, "base64url")
  if (!/^[\w-]+$/.test(token) || token.length > longest) return false
  const given = Buffer.from(token, "base64url")
  if (bytes.length === 0 || given.length !== 2 * bytes.length) return false
  return timingSafeEqual(xor(given.subarray(0, bytes.length), given.subarray(bytes.length)), bytes)
}

const longest = 256

const xor = (a: Uint8Array, b: Uint8Array): Uint8Array => a.map((byte, index) => byte ^ b[index]!)
