/**
 * What others want to know of who has sent a request: by the server's own request, which is the same from everywhere in a
 * stack.
 */
import type { Option } from "effect/Option"
import type { Principal } from "../Authentication.js"

/** Who somebody is, or nobody. */
export type Somebody = Principal<unknown> | Option<Principal<unknown>>

export const subjectOf = (found: Somebody): string | undefined => {
  if ("subject" in found) return found.subject
  return found._tag === "Some" ? found.value.subject : undefined
}

const ends = new WeakMap<object, number>()

/** When a principal is none any longer, for what outlasts its response. Of several the earliest counts. In milliseconds. */
export const expireAt = (source: unknown, at: number): void => {
  if (isObject(source)) ends.set(source, Math.min(at, expiryOf(source)))
}

export const expiryOf = (source: unknown): number =>
  (isObject(source) ? ends.get(source) : undefined) ?? Number.POSITIVE_INFINITY

/** Who measures a request. */
export interface Asking {
  authenticatedBy?: string
}
const asking = new WeakMap<object, Asking>()

export const ask = (source: object, who: Asking): void => void asking.set(source, who)

export const tell = (source: unknown, method: string): void => {
  const who = isObject(source) ? asking.get(source) : undefined
  if (who !== undefined) who.authenticatedBy = method
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null
