/** Requests that wait for a 100 before they send their content (RFC 9110 section 10.1.1). */
import { IncomingMessage, type ServerResponse } from "node:http"

/**
 * Sends the 100 when the content is first read, and so never where the answer does not want it. What is answered before
 * that closes the connection: nobody knows whether the client goes on with the content or with another request.
 */
export const continueWhenRead = (source: IncomingMessage, response: ServerResponse): void => {
  const { shouldKeepAlive } = response
  response.shouldKeepAlive = false
  source._read = (size) => {
    source._read = IncomingMessage.prototype._read
    if (!response.headersSent && !response.destroyed) {
      response.shouldKeepAlive = shouldKeepAlive
      response.writeContinue()
    }
    source._read(size)
  }
}
