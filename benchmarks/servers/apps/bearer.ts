/** Tokens for servers that bring nothing of their own. */
import { createHmac, createSecretKey, timingSafeEqual } from "node:crypto"
import { audience, issuer, secret } from "../work.js"

const key = createSecretKey(Buffer.from(secret))

export interface Claims {
  readonly sub: string
  /** Seconds. */
  readonly exp: number
}

/** The token of `Authorization: Bearer`. */
export const tokenOf = (authorization: string): string | undefined =>
  /^bearer +([\w.~+/-]+=*)$/i.exec(authorization)?.[1]

/** By hand; `undefined` for a token that is not good. */
export const verify = (token: string): Claims | undefined => {
  const [header, payload, signature, ...more] = token.split(".")
  if (header === undefined || payload === undefined || signature === undefined || more.length > 0) return undefined
  try {
    if (parse(header)["alg"] !== "HS256") return undefined
    const [made, sent] = [
      createHmac("sha256", key).update(`${header}.${payload}`).digest(),
      Buffer.from(signature, "base64url")
    ]
    if (made.length !== sent.length || !timingSafeEqual(made, sent)) return undefined
    const { aud, exp, iss, sub } = parse(payload)
    if (iss !== issuer || aud !== audience || typeof sub !== "string") return undefined
    return typeof exp === "number" && exp * 1000 > Date.now() ? { sub, exp } : undefined
  } catch {
    return undefined
  }
}

const parse = (part: string) =>
  JSON.parse(Buffer.from(part, "base64url").toString()) as { readonly [name: string]: unknown }

const recent = new Map<string, Claims>()

/** The same, which remembers those that were good, until they are over. */
export const authenticate = (token: string | undefined): Claims | undefined => {
  if (token === undefined) return undefined
  const known = recent.get(token)
  if (known !== undefined && known.exp * 1000 > Date.now()) return known
  const claims = verify(token)
  if (claims === undefined) return undefined
  if (recent.size >= 1000) recent.clear()
  recent.set(token, claims)
  return claims
}
