/** When who has sent a request is none any longer: for what outlasts its response, such as a WebSocket. */

/** By the server's own request, which is the same from everywhere in a stack. */
const ends = new WeakMap<object, number>()

/** Of several the earliest counts. In milliseconds. */
export const expireAt = (source: unknown, at: number): void => {
  if (typeof source === "object" && source !== null) ends.set(source, Math.min(at, expiryOf(source)))
}

export const expiryOf = (source: unknown): number =>
  (typeof source === "object" && source !== null ? ends.get(source) : undefined) ?? Number.POSITIVE_INFINITY
