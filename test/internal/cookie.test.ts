import { Cookies } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import * as Http from "node:http"
import {
  cookieLimit,
  type CookieOptions,
  cookiePolicy,
  type CookieVariant,
  readChunks,
  readCookie,
  splitChunks
} from "../../src/internal/cookie.js"
import { assertLinear } from "./hostile.js"

const token = FastCheck.stringMatching(/^[!#$%&'*+\-.^_`|~\w]{1,20}$/)
const octets = FastCheck.stringMatching(/^[!#-+\--:<-[\]-~]{0,40}$/)

describe("readCookie", () => {
  it.each<[rule: string, header: string | undefined, expected: string | undefined]>([
    ["the only one", "sid=a", "a"],
    ["the first", "sid=a; b=c", "a"],
    ["the last", "b=c; sid=a", "a"],
    ["one in the middle", "b=c; sid=a; d=e", "a"],
    ["the first of two", "sid=a; sid=b", "a"],
    ["without the space that belongs there", "b=c;sid=a;d=e", "a"],
    ["an empty value", "sid=", ""],
    ["an empty value before another", "sid=; b=c", ""],
    ["a value with =", "sid=a=b==", "a=b=="],
    ["spaces and tabs around name and value go", " \tsid \t= \ta b\t ;c=d", "a b"],
    ["a value of blanks is empty", "sid= \t ; b=c", ""],
    ["a value of blanks at the end is empty", "sid=  ", ""],
    ["DQUOTEs around a value go", "sid=\"a\"; b=c", "a"],
    ["an empty value in DQUOTEs", "sid=\"\"", ""],
    ["one DQUOTE stays", "sid=\"", "\""],
    ["one that is never closed stays", "sid=\"a; b=c", "\"a"],
    ["one at the end stays", "sid=a\"", "a\""],
    ["those within stay", "sid=\"a\"b\"", "a\"b"],
    ["a ; separates between DQUOTEs too", "b=\"x; sid=a; y\"", "a"],
    ["nothing is decoded", "sid=%41+%", "%41+%"],
    ["other white space stays in a value", "sid=\u00a0a\u00a0", "\u00a0a\u00a0"],
    ["what is no cookie is passed over", "sid; ;; =x; sid=a", "a"],
    ["its name as a value is passed over", "a=sid; b=sid=x; sid=a", "a"],
    ["its name within a value is passed over", "a=x sid=b; sid=a", "a"],

    ["no field", undefined, undefined],
    ["an empty field", "", undefined],
    ["another name", "b=c", undefined],
    ["its name without a value", "sid", undefined],
    ["its name and then another", "sid; b=c", undefined],
    ["a longer name", "sid2=a", undefined],
    ["a name with more before it", "xsid=a", undefined],
    ["a name with a prefix", "__Host-sid=a", undefined],
    ["a name in another case", "SID=a", undefined],
    ["a name in DQUOTEs", "\"sid\"=a", undefined],
    ["an encoded name", "s%69d=a", undefined],
    ["a no-break space before it (Hono 4.12.12)", "\u00a0sid=evil", undefined],
    ["a no-break space before it, further on", "b=c; \u00a0sid=evil", undefined],
    ["a no-break space after it", "sid\u00a0=evil", undefined],
    ["a line feed before it", "b=c;\nsid=evil", undefined],
    ["a vertical tab before it", "b=c;\vsid=evil", undefined],
    ["a byte order mark before it", "\ufeffsid=evil", undefined],
    ["a NUL before it", "\0sid=evil", undefined],
    ["a comma before it", "b=c, sid=evil", undefined],
    ["a name with a space in it", "s id=a", undefined]
  ])("%s: %j", (_, header, expected) => {
    assert.strictEqual(readCookie(header, "sid"), expected)
  })

  it.prop("finds each cookie of a field", [FastCheck.uniqueArray(FastCheck.tuple(token, octets), {
    selector: ([name]) => name
  })], ([cookies]) => {
    const header = cookies.map(([name, value]) => `${name}=${value}`).join("; ")
    for (const [name, value] of cookies) assert.strictEqual(readCookie(header, name), value)
  })

  it.prop("is what a parser of all of them finds", [
    FastCheck.array(FastCheck.constantFrom("a", "aa", "=", ";", " ", "\t", "\"", "\u00a0", "b"), { maxLength: 30 })
      .map((parts) => parts.join(""))
  ], ([header]) => {
    const trim = (text: string) => text.replace(/^[ \t]+|[ \t]+$/g, "")
    const pairs = header.split(";").filter((pair) => pair.includes("=")).map((pair) => {
      const equals = pair.indexOf("=")
      return [trim(pair.slice(0, equals)), trim(pair.slice(equals + 1)).replace(/^"(.*)"$/, "$1")] as const
    })
    for (const name of ["a", "aa", "ab"]) {
      assert.strictEqual(readCookie(header, name), pairs.find(([other]) => other === name)?.[1])
    }
  })

  it("a field of more than 64 KiB has none", () => {
    const cookie = "sid=a; b="
    assert.strictEqual(readCookie(cookie + "x".repeat(65_536 - cookie.length), "sid"), "a")
    assert.isUndefined(readCookie(cookie + "x".repeat(65_537 - cookie.length), "sid"))
  })

  it("is total, and linear", () => {
    assert.isUndefined(readCookie("a=b; =c", ""))
    for (const name of ["a", "_"]) assertLinear((text) => readChunks(text.slice(0, 65_536), name))
  })
})

describe("readChunks", () => {
  it.each<[rule: string, header: string, expected: string | undefined]>([
    ["a value that was not split", "s=a", "a"],
    ["one that was", "s.0=a; s.1=b; s.2=c", "abc"],
    ["in any order", "s.2=c; s.0=a; x=y; s.1=b", "abc"],
    ["in one chunk", "s.0=a", "a"],
    ["the whole one counts", "s.0=a; s.1=b; s=c", "c"],
    ["an empty whole one counts", "s.0=a; s=", ""],
    ["none", "s.x=a; s.=b; s.00=c; x.0=d", undefined],
    ["the first is missing", "s.1=b; s.2=c", undefined],
    ["one in between is missing", "s.0=a; s.2=c", undefined],
    ["a fourth is none", "s.0=a; s.1=b; s.2=c; s.3=d", "abc"],
    ["an index is written one way", "s.0=a; s.01=b", "a"]
  ])("%s: %j", (_, header, expected) => {
    assert.strictEqual(readChunks(header, "s"), expected)
  })
})

const policy = (options: Partial<CookieOptions> = {}) =>
  cookiePolicy("Session", { ...options, name: options.name ?? "session" })

/** What a browser would be sent. */
const sent = ({ name, options }: CookieVariant, value = "v") =>
  Cookies.serializeCookie(Cookies.unsafeMakeCookie(name, value, options))

describe("splitChunks", () => {
  const { strict } = policy()
  const room = cookieLimit - strict.size("")
  const roomOfChunk = room - 2
  const write = (value: string, header?: string) => splitChunks(strict, value, header)
  const summary = (value: string, header?: string) => {
    const chunks = write(value, header)
    return chunks && [...chunks.set.map(([name, chunk]) => [name, chunk.length]), ...chunks.expire]
  }

  it("a value that fits is one cookie", () => {
    assert.deepStrictEqual(write("a"), { set: [["__Host-session", "a"]], expire: [] })
    assert.deepStrictEqual(summary("x".repeat(room)), [["__Host-session", room]])
    assert.deepStrictEqual(summary("x".repeat(room + 1)), [["__Host-session.0", roomOfChunk], ["__Host-session.1", 3]])
  })

  it("three chunks are the most, and leave Node room for the other fields", () => {
    const most = roomOfChunk * 3
    assert.strictEqual(write("x".repeat(most))?.set.length, 3)
    assert.isAtMost(most, Http.maxHeaderSize - 4096)
    assert.isUndefined(write("x".repeat(most + 1)))
    assert.strictEqual(write("x".repeat(roomOfChunk * 2))?.set.length, 2)
    assert.strictEqual(write("x".repeat(roomOfChunk * 2 + 1))?.set.length, 3)
  })

  it.each<[rule: string, value: string, header: string, expire: ReadonlyArray<string>]>([
    ["chunks that one cookie replaces", "a", "__Host-session.0=a; __Host-session.1=b", [
      "__Host-session.0",
      "__Host-session.1"
    ]],
    ["the one that chunks replace", "x".repeat(5000), "__Host-session=a", ["__Host-session"]],
    ["chunks beyond those of fewer", "x".repeat(5000), "__Host-session.0=a; __Host-session.1=b; __Host-session.2=c", [
      "__Host-session.2"
    ]],
    ["all, for no value", "", "__Host-session=a; __Host-session.2=b", ["__Host-session", "__Host-session.2"]],
    ["nothing of others", "a", "session.0=a; __Host-session.3=b; __Host-session.0x=c", []]
  ])("expires %s", (_, value, header, expire) => {
    assert.deepStrictEqual(write(value, header)?.expire, expire)
  })

  it.prop("what a browser then has is read back", [
    FastCheck.nat({ max: 12_500 }),
    FastCheck.nat({ max: 12_500 }),
    FastCheck.boolean()
  ], ([before, after, long]) => {
    const { strict } = policy(
      long ? { prefix: "__Secure-", path: `/${"p".repeat(900)}`, domain: "example.com" } : {}
    )
    const jar = new Map<string, string>()
    const header = () => Array.from(jar, ([name, value]) => `${name}=${value}`).join("; ")
    for (const [size, char] of [[before, "a"], [after, "b"], [before, "c"]] as const) {
      const value = char.repeat(size)
      const chunks = splitChunks(strict, value, header())
      if (chunks === undefined) {
        assert.isAbove(size, 3 * 2800)
        continue
      }
      for (const [name, chunk] of chunks.set) {
        assert.isAtMost(sent({ ...strict, name }, chunk).length, cookieLimit)
        jar.set(name, chunk)
      }
      for (const name of chunks.expire) jar.delete(name)
      assert.strictEqual(readChunks(header(), strict.name), value === "" ? undefined : value)
    }
  })
})

describe("cookiePolicy", () => {
  it.each<[rule: string, options: Partial<CookieOptions>, expected: string]>([
    ["by default", {}, "__Host-session=v; Path=/; HttpOnly; Secure; SameSite=Lax"],
    ["a name", { name: "app.sid" }, "__Host-app.sid=v; Path=/; HttpOnly; Secure; SameSite=Lax"],
    [
      "a name with two underscores",
      { name: "__session", prefix: "none" },
      "__session=v; Path=/; HttpOnly; Secure; SameSite=Lax"
    ],
    ["strict", { sameSite: "strict" }, "__Host-session=v; Path=/; HttpOnly; Secure; SameSite=Strict"],
    ["none", { sameSite: "none" }, "__Host-session=v; Path=/; HttpOnly; Secure; SameSite=None"],
    [
      "partitioned",
      { sameSite: "none", partitioned: true },
      "__Host-session=v; Path=/; HttpOnly; Secure; Partitioned; SameSite=None"
    ],
    [
      "a path",
      { prefix: "__Secure-", path: "/app/%3B" },
      "__Secure-session=v; Path=/app/%3B; HttpOnly; Secure; SameSite=Lax"
    ],
    [
      "a domain",
      { prefix: "__Secure-", domain: "Example.COM" },
      "__Secure-session=v; Domain=example.com; Path=/; HttpOnly; Secure; SameSite=Lax"
    ],
    [
      "a domain in another script",
      { prefix: "none", domain: "bücher.example" },
      "session=v; Domain=xn--bcher-kva.example; Path=/; HttpOnly; Secure; SameSite=Lax"
    ]
  ])("%s", (_, options, expected) => {
    const { forHost, strict } = policy(options)
    assert.strictEqual(sent(strict), expected)
    for (const host of ["example.com", "localhost", undefined]) assert.strictEqual(forHost(host), strict)
  })

  it.each<[options: { readonly [option: string]: unknown }, says: string]>([
    [{ name: "" }, "name is \"\": write 1 to 128 letters"],
    [{ name: "a".repeat(129) }, "name is \"aaaa"],
    [{ name: "a=b" }, "name is \"a=b\": write 1 to 128 letters"],
    [{ name: "a b" }, "name is \"a b\""],
    [{ name: "a;b" }, "name is \"a;b\""],
    [{ name: "a,b" }, "name is \"a,b\""],
    [{ name: "a\r\nSet-Cookie: b" }, "name is \"a\\r\\nSet-Cookie: b\""],
    [{ name: "a\n" }, "name is \"a\\n\""],
    [{ name: "\u00a0sid" }, "name is \"\u00a0sid\""],
    [{ name: "sid\0" }, "name is \"sid\\u0000\""],
    [{ name: "sïd" }, "name is \"sïd\""],
    [{ name: "\"sid\"" }, "name is \"\\\"sid\\\"\""],
    [{ name: "__Host-sid" }, "name is \"__Host-sid\": leave out the prefix, the option prefix adds it"],
    [{ name: "__host-sid", prefix: "none" }, "name is \"__host-sid\": leave out the prefix"],
    [{ name: "__SECURE-sid" }, "name is \"__SECURE-sid\": leave out the prefix"],
    [{ name: "__Http-sid" }, "name is \"__Http-sid\": leave out the prefix"],
    [{ name: "sid.0" }, "name is \"sid.0\": end it in a letter"],
    [{ prefix: "__host-" }, "prefix is \"__host-\": write \"__Host-\", \"__Secure-\" or \"none\""],
    [{ prefix: "" }, "prefix is \"\": write"],
    [{ path: "/app" }, "path is \"/app\": leave it out, or write prefix: \"__Secure-\""],
    [{ domain: "example.com" }, "domain is \"example.com\": leave it out, or write prefix: \"__Secure-\""],
    [{ prefix: "none", path: "/; Domain=evil" }, "path is \"/; Domain=evil\": begin with \"/\""],
    [{ prefix: "none", path: "/;Domain=evil" }, "path is \"/;Domain=evil\": begin with \"/\""],
    [{ prefix: "none", path: "" }, "path is \"\": begin"],
    [{ prefix: "none", path: "app" }, "path is \"app\": begin"],
    [{ prefix: "none", path: "/a b" }, "path is \"/a b\": begin"],
    [{ prefix: "none", path: "/a\n" }, "path is \"/a\\n\": begin"],
    [{ prefix: "none", path: "/a\x7f" }, "path is \"/a\x7f\": begin"],
    [{ prefix: "none", path: "/é" }, "path is \"/é\": begin"],
    [{ prefix: "none", path: `/${"a".repeat(1024)}` }, "path is \"/aaa"],
    [
      { prefix: "none", domain: ".example.com" },
      "domain is \".example.com\": write \"example.com\", subdomains are in it"
    ],
    [{ prefix: "none", domain: "example.com; Path=/x" }, "domain is \"example.com; Path=/x\": write a name"],
    [{ prefix: "none", domain: "example.com." }, "domain is \"example.com.\": write a name"],
    [{ prefix: "none", domain: "example.com:" }, "domain is \"example.com:\": write a name"],
    [{ prefix: "none", domain: "example.com:80" }, "domain is \"example.com:80\": write a name"],
    [{ prefix: "none", domain: "https://example.com" }, "domain is \"https://example.com\": write a name"],
    [{ prefix: "none", domain: "*.example.com" }, "domain is \"*.example.com\": write a name"],
    [{ prefix: "none", domain: "" }, "domain is \"\": write a name"],
    [{ prefix: "none", domain: "com" }, "domain is \"com\": write a name with a dot in it"],
    [{ prefix: "none", domain: "localhost" }, "domain is \"localhost\": write a name with a dot in it"],
    [{ prefix: "none", domain: "192.0.2.1" }, "domain is \"192.0.2.1\": write a name"],
    [{ prefix: "none", domain: "127.1" }, "domain is \"127.1\": write a name"],
    [{ prefix: "none", domain: "[::1]" }, "domain is \"[::1]\": write a name"],
    [{ sameSite: "Lax" }, "sameSite is \"Lax\": write \"lax\", \"strict\" or \"none\""],
    [{ sameSite: "lax; Domain=evil" }, "sameSite is \"lax; Domain=evil\": write"],
    [{ sameSite: true }, "sameSite is true: write"],
    [{ partitioned: true }, "partitioned: write sameSite: \"none\" beside it"],
    [{ partitioned: true, sameSite: "strict" }, "partitioned: write sameSite: \"none\" beside it"]
  ])("refuses %j", (options, says) => {
    // as a caller without types may
    assert.throws(() => policy(options as Partial<CookieOptions>), TypeError, `Session: ${says}`)
  })

  it.prop("what it takes, a browser reads as it was meant", [
    FastCheck.string({ unit: "binary" }),
    FastCheck.string({ unit: "binary" }),
    FastCheck.string({ unit: "binary" })
  ], ([name, path, domain]) => {
    for (
      const options of [{ name }, { path: `/${path}`, prefix: "none" }, {
        domain: `${domain}.com`,
        prefix: "none"
      }] as const
    ) {
      let variant: CookieVariant
      try {
        variant = policy(options).strict
      } catch (error) {
        assert.instanceOf(error, TypeError)
        continue
      }
      const [pair = "", ...attributes] = sent(variant).split(";").map((part) => part.trim())
      assert.strictEqual(pair, `${variant.name}=v`)
      assert.strictEqual(attributes.length, variant.options.domain === undefined ? 4 : 5)
      assert.include(attributes, `Path=${variant.options.path}`)
    }
  })

  it("deletes by what a browser goes by", () => {
    const { strict } = policy({
      prefix: "__Secure-",
      path: "/a",
      domain: "example.com",
      sameSite: "none",
      partitioned: true
    })
    assert.strictEqual(
      sent({ ...strict, options: strict.expired }, ""),
      "__Secure-session=; Max-Age=0; Domain=example.com; Path=/a; HttpOnly; Secure; Partitioned; SameSite=None"
    )
    const { forHost } = policy({ localhost: true })
    const local = forHost("localhost")
    assert.strictEqual(
      sent({ ...local, options: local.expired }, ""),
      "session=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"
    )
  })

  it.each<Partial<CookieOptions>>([
    {},
    { name: "x", localhost: true },
    { sameSite: "none", partitioned: true, localhost: true },
    { prefix: "__Secure-", path: "/a", domain: "example.com" }
  ])("size is that of the whole field, with the longest it can live: %j", (options) => {
    const { forHost, strict } = policy(options)
    for (const variant of [strict, forHost("localhost")]) {
      const longest = { maxAge: "9999999999 seconds", expires: new Date(0) } as const
      assert.strictEqual(
        variant.size("value"),
        sent({ ...variant, options: { ...variant.options, ...longest } }, "value").length
      )
    }
  })

  describe("localhost", () => {
    const { forHost, strict } = policy({
      prefix: "__Secure-",
      path: "/a",
      domain: "example.com",
      sameSite: "none",
      partitioned: true,
      localhost: true
    })

    it.each([
      "localhost",
      "localhost:3000",
      "LOCALHOST",
      "localhost.",
      "app.localhost:80",
      "127.0.0.1",
      "127.1.2.3:8080",
      "[::1]",
      "[::1]:3000"
    ])("%s has a cookie without Secure, and so without prefix, SameSite=None and Partitioned", (host) => {
      assert.strictEqual(sent(forHost(host)), "session=v; Path=/a; HttpOnly; SameSite=Lax")
      assert.strictEqual(
        sent(policy({ sameSite: "strict", localhost: true }).forHost(host)),
        "session=v; Path=/; HttpOnly; SameSite=Strict"
      )
    })

    it.each([
      undefined,
      "",
      "example.com",
      "localhost.example.com",
      "localhost.evil.test:80",
      "notlocalhost",
      "128.0.0.1",
      "127.1",
      "2130706433",
      "0.0.0.0",
      "[::2]",
      "[::]",
      "localhost@evil.test",
      "localhost, evil.test",
      " localhost",
      "evil.test/localhost"
    ])("%s keeps the strict one", (host) => {
      assert.strictEqual(forHost(host), strict)
    })
  })
})
