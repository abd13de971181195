/** Names that fit every engine's keys. */
import { createHash } from "node:crypto"

/** Of any text, well-formed or not, and of a length that a file may have. */
export const digest = (text: string): string => createHash("sha256").update(text, "utf16le").digest("base64url")
