import type { IncomingMessage } from "node:http"

/** The proxy that is trusted. */
export const proxy = "127.0.0.1"

/** The address that the proxy has seen. */
export const forwardedBy = (peer: string | undefined, header: string | undefined): string | undefined =>
  peer !== proxy || header === undefined ? peer : header.slice(header.lastIndexOf(",") + 1).trim()

export const clientOf = ({ headers, socket }: IncomingMessage): string | undefined =>
  // Node joins what is sent twice
  forwardedBy(socket.remoteAddress, headers["x-forwarded-for"] as string | undefined)
