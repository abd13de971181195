/** Digests as names. */
import { createHash } from "node:crypto"

/** Fits every engine's keys. Of any text, well-formed or not, and of a length that a file may have. */
export const digest = (text: string): string => createHash("sha256").update(text, "utf16le").digest("base64url")

/**
 * A strong entity-tag: 128 bits of SHA-256, for which a processor has instructions. Of the type too, since the same bytes may be
 * sent as another thing.
 */
export const digestTag = (contentType: string, content: Uint8Array | string): string =>
  `"${createHash("sha256").update(`${contentType}\n`).update(content).digest("base64url").slice(0, 22)}"`
