/** Tokens as those verify them who take `jsonwebtoken`. */
import Jsonwebtoken from "jsonwebtoken"
import { createSecretKey } from "node:crypto"
import { audience, issuer, secret } from "../work.js"

// from a string it would make a key for each request
const key = createSecretKey(Buffer.from(secret))

/** `undefined` for a token that is not good. */
export const verify = (token: string): unknown => {
  try {
    return Jsonwebtoken.verify(token, key, { algorithms: ["HS256"], issuer, audience })
  } catch {
    return undefined
  }
}
