/** An https server with a certificate of its own, by which nobody vouches: for clients that are told not to mind. */
import * as Crypto from "node:crypto"
import * as Https from "node:https"

export const createSecureServer = (): Https.Server => Https.createServer(selfSigned())

/** X.509 (RFC 5280 section 4.1), version 1: no extensions, and so no names of hosts. */
export const selfSigned = (): { readonly key: string; readonly cert: string } => {
  const { privateKey, publicKey } = Crypto.generateKeyPairSync("ec", { namedCurve: "prime256v1" })
  const signed = sequence(
    der(0x02, Buffer.from([1])),
    ecdsaWithSha256,
    test,
    sequence(utcTime("200101000000Z"), utcTime("491231235959Z")),
    test,
    publicKey.export({ type: "spki", format: "der" })
  )
  const signature = der(0x03, Buffer.from([0]), Crypto.sign("sha256", signed, privateKey))
  const certificate = sequence(signed, ecdsaWithSha256, signature).toString("base64")
  return {
    key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    cert: `-----BEGIN CERTIFICATE-----\n${certificate.replace(/.{64}/g, "$&\n")}\n-----END CERTIFICATE-----\n`
  }
}

const der = (tag: number, ...content: ReadonlyArray<Uint8Array>): Buffer => {
  const { length } = Buffer.concat(content)
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), ...content])
}
const sequence = (...content: ReadonlyArray<Uint8Array>) => der(0x30, ...content)
const utcTime = (text: string) => der(0x17, Buffer.from(text))

const ecdsaWithSha256 = sequence(der(0x06, Buffer.from("2a8648ce3d040302", "hex")))
/** CN=test */
const test = sequence(der(0x31, sequence(der(0x06, Buffer.from("550403", "hex")), der(0x0c, Buffer.from("test")))))
