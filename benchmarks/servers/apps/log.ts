import type { ServerResponse } from "node:http"

export interface Line {
  readonly id: string
  readonly client: string | undefined
  readonly method: string | undefined
  readonly path: string | undefined
  readonly status: number
  /** Milliseconds. */
  readonly duration: number
}

/** A line of JSON on standard output, for frameworks that bring no such log. */
export const write = (line: Line): void => {
  process.stdout.write(JSON.stringify({ time: Date.now(), level: "info", ...line }) + "\n")
}

/** Writes the line when the response is sent. */
export const whenSent = (response: ServerResponse, id: string): void => {
  const began = performance.now()
  response.once("finish", () => {
    const { req: { method, socket: { remoteAddress: client }, url }, statusCode: status } = response
    write({ id, client, method, path: url, status, duration: performance.now() - began })
  })
}
