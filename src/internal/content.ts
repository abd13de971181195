import type * as HttpBody from "@effect/platform/HttpBody"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import { trim } from "./fields.js"

/** Whether a request has content, as far as its framing tells (RFC 9112 section 6.3); a web `Request` tells by its body. */
export const hasContent = ({ headers, source }: HttpServerRequest.HttpServerRequest): boolean => {
  const length = headers["content-length"]
  if (headers["transfer-encoding"] !== undefined) return true
  if (length !== undefined) return !/^0+$/.test(length)
  return isWeb(source) && source.body !== null
}

/** Whether there is no body, as a web `Request` tells, whatever its header says. */
export const isEmpty = ({ source }: HttpServerRequest.HttpServerRequest): boolean =>
  isWeb(source) && source.body === null

const isWeb = (source: unknown): source is Request => typeof Request === "function" && source instanceof Request

/** The media type of a field value, without its parameters, in lower case. */
export const mediaTypeOf = (value: string): string => {
  const end = value.indexOf(";")
  return trim(end === -1 ? value : value.slice(0, end)).toLowerCase()
}

export const isJson = (type: string): boolean => /^application\/(?:[!#$&^_.+\w-]+\+)?json$/.test(type)

/** What is in memory of a body; `undefined` for one that is not. */
export const contentOf = (body: HttpBody.HttpBody): Uint8Array | string | undefined => {
  if (body._tag === "Empty") return ""
  const content = body._tag === "Uint8Array" || body._tag === "Raw" ? body.body : undefined
  return content instanceof Uint8Array || typeof content === "string" ? content : undefined
}
