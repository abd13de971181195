/**
 * Who the client is: its address, the scheme and the host it used, seen through the proxies you name.
 *
 * Anyone can send `X-Forwarded-For`. It means something only where a proxy of yours wrote it, so it is read from the
 * right, from the socket outward, and no further than the proxies you trust reach. Rules, in this order:
 *
 * 1. The peer of the socket is not trusted, or `trust` is `"none"`: no header is read, the connection says it all.
 * 2. Peel off the right end of `X-Forwarded-For` (or `Forwarded`) while the address in hand is a trusted proxy. The
 *    first that is not, or the last there is, is the client.
 * 3. A malformed entry, and the 101st from the right, ends the walk: the client is the last good address to its right.
 * 4. An entry that names nobody (`unknown`, `_hidden`) ends it too, with `address: undefined`: not to know is safer than
 *    to believe what stands further left.
 * 5. `X-Forwarded-Proto`, `-Host`, `-Port` and `-Prefix` count when they hold one value, which the proxy has overwritten,
 *    or as many as `X-Forwarded-For`: then the value at the client's position. Any other length, and a value that is
 *    malformed, is as if it were not sent. In `Forwarded`, `proto` and `host` stand in the client's own element.
 *
 * @since 0.1.0
 */
import type * as Headers from "@effect/platform/Headers"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import { type Address, parseAddress } from "./internal/address.js"
import { type Authority, defaultPorts, formatAuthority, parseAuthority, targetAuthority } from "./internal/authority.js"
import { compileRanges, contains } from "./internal/cidr.js"
import {
  type Field,
  type Header,
  maxElements,
  parsePort,
  parsePrefix,
  readForwarded,
  type Reading,
  readXForwarded
} from "./internal/forwarded.js"
import * as Middleware from "./Middleware.js"

/**
 * Which proxies stand before this server.
 *
 * - `"none"`: clients connect to it directly.
 * - `{ proxies }`: those at these addresses: `"10.0.0.0/8"`, `"2001:db8::1"`, or `"loopback"`, `"linklocal"`, `"private"`
 *   (also `"uniquelocal"`). A peer without an address, which is one on a unix socket, is trusted with `unixSocket: true`.
 * - `{ hops }`: as many, whatever their addresses. A request with fewer entries has passed fewer proxies, and its
 *   left-most entry is the client, as in Express. Nothing shows that it has not been padded: **mind** that the server must
 *   not be reachable on a shorter way. Prefer `proxies` where the addresses are known.
 *
 * @since 0.1.0
 * @category models
 */
export type Trust =
  | "none"
  | { readonly hops: number }
  | { readonly proxies: ReadonlyArray<string>; readonly unixSocket?: boolean | undefined }

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<Name extends string = string> {
  readonly trust: Trust
  /** The one family of headers your proxy writes; the other is never read. Default: `"x-forwarded"`. */
  readonly header?: "x-forwarded" | "forwarded" | undefined
  /**
   * What your proxy sends beside `X-Forwarded-For`. Default: `["proto", "host"]`.
   *
   * **Mind this**: name only what the proxy *sets* on every request. Most let a client's own header of any other name
   * pass, and a single value cannot be told from one they set: behind an AWS load balancer, which sets no
   * `X-Forwarded-Host`, write `["proto"]`.
   */
  readonly fields?: ReadonlyArray<"proto" | "host" | "port" | "prefix"> | undefined
  readonly name?: Name | undefined
}

/**
 * The client of the current request. Whatever depends on who the client is requires it, so that it cannot stand outside
 * `Forwarded`.
 *
 * @since 0.1.0
 * @category services
 */
export class Client extends Middleware.Service("effect-middleware/Forwarded/Client")<Client, ClientInfo>() {}

/**
 * What is known of a request before any header is believed.
 *
 * @since 0.1.0
 * @category policy
 */
export interface Facts {
  /** Address of the socket's other end; `undefined` where there is none, as on a unix socket. */
  readonly peer: string | undefined
  /** Whether the connection itself has TLS. Default: `false`. */
  readonly encrypted?: boolean | undefined
  /** By lower-case name; fields of one name joined with commas. */
  readonly header: (name: string) => string | undefined
  /** The request target as received. An absolute one has an authority that takes the place of `Host` (RFC 9112 3.3). */
  readonly target: string
  /** The `Host` header, or `:authority`. */
  readonly host: string | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface ClientInfo {
  /** One spelling per address (RFC 5952), IPv4 also for `::ffff:a.b.c.d`; `undefined` when nobody vouches for one. */
  readonly address: string | undefined
  readonly scheme: "http" | "https"
  /**
   * Whether `scheme` is the client's: that of its own connection, or what a trusted proxy has stated. `false` behind a
   * proxy that states none, or a malformed one: then `scheme` is that of the proxy's connection to this server.
   */
  readonly schemeKnown: boolean
  /**
   * The authority the client asked for: valid, lower-case, without the scheme's default port. It is the sender's choice
   * until `TrustedHost` has looked at it. `undefined` when it is missing or malformed.
   */
  readonly host: string | undefined
  /** `host` without its port; an IPv6 literal keeps its brackets. */
  readonly hostname: string | undefined
  /** The port in `host`; `undefined` for the scheme's default. */
  readonly port: number | undefined
  /** The path under which the proxy mounts this server: `"/app"`. */
  readonly prefix: string | undefined
  /** Whether the peer is a trusted proxy, so that its headers were read. */
  readonly proxied: boolean
  /** The trusted proxies between the client and this server, the nearest last; `"unknown"` for one without an address. */
  readonly chain: ReadonlyArray<string>
}

/**
 * Headers to hide from what is inside. Each tells of the client or of the original request, each can be sent by anyone,
 * and some library reads each: once `Client` is known, whatever still looks at one of them would look past its rules.
 *
 * @since 0.1.0
 * @category policy
 */
export const hiddenHeaders: ReadonlyArray<string> = [
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-forwarded-port",
  "x-forwarded-prefix",
  "x-forwarded-server",
  "x-forwarded-by",
  "x-forwarded-scheme",
  "x-forwarded-ssl",
  "x-real-ip",
  "x-client-ip",
  "x-cluster-client-ip",
  "true-client-ip",
  "cf-connecting-ip",
  "fastly-client-ip",
  "x-original-host",
  "x-original-url",
  "x-rewrite-url",
  "x-url-scheme",
  "front-end-https"
]

/**
 * Compiles the rules, once, to a pure function. Throws on options that trust nobody, everybody, or what was not meant.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { Forwarded } from "effect-middleware"
 *
 * const identify = Forwarded.policy({ trust: { proxies: ["10.0.0.0/8"] } })
 * const headers = new Headers({ "x-forwarded-for": "127.0.0.1, 203.0.113.9, 10.0.0.7", "x-forwarded-proto": "https" })
 *
 * const client = identify({
 *   peer: "10.0.0.1",
 *   host: "example.com",
 *   target: "/",
 *   header: (name) => headers.get(name) ?? undefined
 * })
 *
 * assert.equal(client.address, "203.0.113.9") // and not 127.0.0.1, which the client itself has sent
 * assert.equal(client.scheme, "https")
 * ```
 *
 * @since 0.1.0
 * @category policy
 */
export const policy = (options: Options): (facts: Facts) => ClientInfo => {
  const isTrusted = compileTrust(options.trust)
  const read = compileReader(options)
  return (facts) => {
    const peer = facts.peer === undefined ? undefined : parsePeer(facts.peer)
    const scheme = facts.encrypted === true ? "https" : "http"
    const target = targetAuthority(facts.target) ?? parseHost(facts.host)
    const authority = target === "malformed" ? undefined : target
    if (!isTrusted(peer, 0)) return makeClient(peer, scheme, true, authority, undefined, undefined, false, [])

    const { field, nodes } = read(facts.header)
    const chain: Array<string> = []
    let address = peer
    let index = nodes.length
    while (index > 0 && isTrusted(address, chain.length)) {
      const node = nodes[index - 1]
      if (node === undefined) break
      chain.push(address === undefined ? "unknown" : String(address))
      index--
      address = node._tag === "Address" ? node.address : undefined
      if (address === undefined) break
    }
    const stated = schemes.get(field("proto", index)?.toLowerCase() ?? "")
    return makeClient(
      address,
      stated ?? scheme,
      stated !== undefined,
      parseHost(field("host", index)) ?? authority,
      field("port", index),
      parsePrefix(field("prefix", index)),
      true,
      chain.reverse()
    )
  }
}

/**
 * Provides `Client`, and hides from what is inside every raw header that tells of it.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Forwarded } from "effect-middleware"
 * import { Effect } from "effect"
 *
 * const app = HttpRouter.empty.pipe(
 *   HttpRouter.get("/", Effect.map(Forwarded.Client, ({ address }) => HttpServerResponse.text(address ?? "somebody"))),
 *   Forwarded.middleware({ trust: { proxies: ["10.0.0.0/8"] } })
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <const Name extends string = "Forwarded">(
  options: Options<Name>
): Middleware.Middleware<Client, never, never, never, Name, Middleware.Phases> => {
  const identify = policy(options)
  return Middleware.make({
    name: options.name ?? "Forwarded" as Name,
    traits: ["client"],
    provides: Client,
    request: (exchange) => {
      const client = identify(factsOf(exchange.request))
      const headers = withoutHidden(exchange.request.headers)
      if (headers !== exchange.request.headers) exchange.deriveRequest({ headers })
      return Middleware.Provide(client)
    }
  })
}

const factsOf = (request: HttpServerRequest.HttpServerRequest): Facts => {
  const { headers, remoteAddress, source, url } = request
  return {
    peer: remoteAddress._tag === "Some" ? remoteAddress.value : undefined,
    // Node's request has its socket, and a socket with TLS says so; a Fetch `Request` has its URL
    encrypted: source instanceof Request
      ? source.url.startsWith("https:")
      : (source as { readonly socket?: { readonly encrypted?: unknown } }).socket?.encrypted === true,
    header: (name) => headers[name],
    target: url,
    host: headers.host ?? headers[":authority"]
  }
}

const hidden: ReadonlySet<string> = new Set(hiddenHeaders)

/** The same object where there is nothing to hide, which is each request that passed no proxy. */
const withoutHidden = (headers: Headers.Headers): Headers.Headers => {
  if (!hiddenHeaders.some((name) => headers[name] !== undefined)) return headers
  const kept: Record<string, string> = Object.create(Object.getPrototypeOf(headers))
  for (const name in headers) if (!hidden.has(name)) kept[name] = headers[name]!
  return kept as Headers.Headers
}

const compileTrust = (trust: Trust): (address: Address | undefined, depth: number) => boolean => {
  if (trust === "none") return () => false
  if (typeof trust === "object" && "hops" in trust && !("proxies" in trust)) {
    const { hops } = trust
    if (!Number.isInteger(hops) || hops < 1 || hops > maxElements) {
      throw new TypeError(
        `Forwarded: trust.hops is ${hops}: write how many proxies there are, 1 to ${maxElements}, or trust: "none"`
      )
    }
    return (_, depth) => depth < hops
  }
  if (typeof trust === "object" && "proxies" in trust && !("hops" in trust)) {
    const { proxies, unixSocket = false } = trust
    if (proxies.length === 0 && !unixSocket) {
      throw new TypeError(`Forwarded: trust.proxies is empty: list your proxies, or write trust: "none"`)
    }
    const ranges = compileRanges("Forwarded: trust.proxies", proxies)
    if (ranges.some(({ prefix }) => prefix === 0)) {
      throw new TypeError("Forwarded: trust.proxies has a range of every address: list those of your proxies")
    }
    const isProxy = contains(ranges)
    return (address) => (address === undefined ? unixSocket : isProxy(address))
  }
  throw new TypeError(
    `Forwarded: trust is neither "none", { hops } nor { proxies }: write trust: "none" for a server without a proxy`
  )
}

const compileReader = ({ fields, header = "x-forwarded" }: Options): (header: Header) => Reading => {
  if (header === "x-forwarded") return readXForwarded(new Set<Field>(fields ?? ["proto", "host"]))
  if (header !== "forwarded") {
    throw new TypeError(`Forwarded: header is "${String(header)}": write "x-forwarded" or "forwarded"`)
  }
  if (fields !== undefined) {
    throw new TypeError(`Forwarded: fields is for header: "x-forwarded" alone: leave it out`)
  }
  return readForwarded
}

const schemes: ReadonlyMap<string, ClientInfo["scheme"]> = new Map([
  ["http", "http"],
  ["https", "https"],
  ["ws", "http"],
  ["wss", "https"]
])

const makeClient = (
  address: Address | undefined,
  scheme: ClientInfo["scheme"],
  schemeKnown: boolean,
  authority: Authority | undefined,
  forwardedPort: string | undefined,
  prefix: string | undefined,
  proxied: boolean,
  chain: ReadonlyArray<string>
): ClientInfo => {
  const explicit = authority && (authority.port ?? parsePort(forwardedPort, scheme))
  const port = explicit === defaultPorts[scheme] ? undefined : explicit
  return {
    address: address && String(address),
    scheme,
    schemeKnown,
    host: authority && formatAuthority(authority.host, port),
    hostname: authority?.host,
    port,
    prefix,
    proxied,
    chain
  }
}

// a link-local peer has a zone, which is the socket's own and none of the address
const parsePeer = (text: string): Address | undefined => {
  const zone = text.indexOf("%")
  return parseAddress(zone < 0 ? text : text.slice(0, zone))
}

const parseHost = (text: string | undefined): Authority | undefined =>
  text === undefined ? undefined : parseAuthority(text)
