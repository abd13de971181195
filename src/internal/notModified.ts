import * as HttpBody from "@effect/platform/HttpBody"
import type { ResponseDraft } from "../ResponseDraft.js"
import { contentFields } from "./preconditions.js"

/** Makes a 304 of a response. */
export const notModified = (draft: ResponseDraft): void => {
  draft.status = 304
  draft.setBody(HttpBody.empty)
  for (const name of contentFields) draft.delete(name)
  // it would tell nothing more (RFC 9110 section 15.4.5)
  if (draft.has("etag")) draft.delete("last-modified")
}
