/**
 * What every contestant does, however it writes it: a handler that makes a text
 * response, and layers of which each reads one request header, could refuse by
 * it, and sets one response header on what comes from further in.
 */
export interface Reply {
  readonly status: number
  readonly headers: Record<string, string>
  readonly body: string
}

/** A layer refuses the client that has its name. */
export const clientHeader = "x-client"

export interface Layer {
  readonly refuses: string
  readonly header: string
  readonly value: string
}

/** Outermost first. */
export const layersOf = (count: number): ReadonlyArray<Layer> =>
  Array.from({ length: count }, (_, i) => ({ refuses: `client-${i}`, header: `x-layer-${i}`, value: `${i}` }))

export const body = "hello"
export const contentType = "text/plain"

/** What has to come of it. */
export const expected = (count: number, client: string): Reply => {
  const layers = layersOf(count)
  const refuser = layers.findIndex(({ refuses }) => refuses === client)
  const passed = refuser < 0 ? layers : layers.slice(0, refuser)
  const set = Object.fromEntries(passed.map(({ header, value }) => [header, value]))
  return refuser < 0
    ? { status: 200, headers: { "content-type": contentType, "content-length": `${body.length}`, ...set }, body }
    : { status: 403, headers: set, body: "" }
}

/** A contestant with its layers in place, for the requests of one client. */
export type Server = (client: string) => {
  /** One request. Whatever has to be awaited is a promise. */
  readonly send: () => unknown
  /** Sends one and reads all that came of it. */
  readonly reply: () => Reply | Promise<Reply>
}
