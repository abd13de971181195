import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigError, ConfigProvider, Context, Effect, Exit, FastCheck, Layer, Redacted } from "effect"
import { Entropy, Keyring } from "effect-middleware"
import * as Crypto from "node:crypto"
import { hostile } from "./internal/hostile.js"

// from `openssl rand -base64 32`
const newest = "mF0m1tuMMPNX3QVvuJLuUKlEBUZnUo7ufN7pN43xGsk="
const older = "Xg4oH0mSBw8kGOMKtKHyEXdWoXAi4tkSyBskBkL9Q0w="
const oldest = "9PUz0oYBzfDOxHkHcIPQCrCOHZy8lmz3e4kmQAEs8vA="

const entropy = Context.get(Context.empty(), Entropy.Entropy)
const ring = (first: string | Uint8Array, ...rest: ReadonlyArray<string | Uint8Array>) =>
  Keyring.make({ keys: [Redacted.make(first), ...rest.map((key) => Redacted.make(key))] })
const purpose = ring(newest).purpose("session")
const name = "__Host-session"

/** The two uses, each as a writer and its reader. */
const uses = [
  {
    use: "sign",
    write: ({ sign }: Keyring.Purpose, value: string, context = name) => sign(value, context),
    read: ({ verify }: Keyring.Purpose, text: string, context = name) => verify(text, context)
  },
  {
    use: "seal",
    write: ({ seal }: Keyring.Purpose, value: string, context = name) => seal(value, context, entropy),
    read: ({ open }: Keyring.Purpose, text: string, context = name) => open(text, context)
  }
] as const

const sizes = [0, 1, 2, 3, 4, 15, 16, 17, 200, 1000]

describe.each(uses)("$use", ({ read, write }) => {
  it.prop("what is written is read, by a keyring made anew", [
    FastCheck.string({ unit: "grapheme", maxLength: 200 }),
    FastCheck.string({ unit: "binary" })
  ], ([value, context]) => {
    const text = write(purpose, value, context)
    assert.match(text, /^[\w.-]+$/)
    assert.deepStrictEqual(read(ring(newest).purpose("session"), text, context), { value, stale: false })
  })

  it("a byte order mark and a NUL are kept; a lone surrogate is U+FFFD", () => {
    assert.strictEqual(read(purpose, write(purpose, "\ufeffa\0"))?.value, "\ufeffa\0")
    assert.strictEqual(read(purpose, write(purpose, "a\ud800"))?.value, "a\ufffd")
  })

  it.each<[rule: string, writer: Keyring.Service, reader: Keyring.Service, expected: "fresh" | "stale" | undefined]>([
    ["the first key", ring(newest, older), ring(newest, older), "fresh"],
    ["a key that is now the second", ring(older), ring(newest, older), "stale"],
    ["a key that is now the last", ring(oldest), ring(newest, older, oldest), "stale"],
    ["a key that is gone", ring(oldest, newest), ring(newest, older), undefined],
    ["a key that is not there yet", ring(newest, older), ring(older), undefined],
    ["a key whose place alone has changed", ring(older, newest), ring(newest, older), "stale"]
  ])("by %s", (_, writer, reader, expected) => {
    const opened = read(reader.purpose("p"), write(writer.purpose("p"), "v"))
    assert.deepStrictEqual(opened, expected === undefined ? undefined : { value: "v", stale: expected === "stale" })
  })

  it.each<[rule: string, purpose: string, context: string]>([
    ["another purpose", "b", "c"],
    ["another context", "a", "d"],
    ["no context", "a", ""],
    ["a character that moved from one to the other", "ac", ""],
    ["a context in another case", "a", "C"],
    ["a context with a NUL", "a", "c\0"],
    ["a context that goes on as the text does", "a", "c\"s1."]
  ])("of %s it is nothing", (_, other, context) => {
    const keys = ring(newest)
    const text = write(keys.purpose("a"), "v", "c")
    assert.strictEqual(read(keys.purpose("a"), text, "c")?.value, "v")
    assert.isUndefined(read(keys.purpose(other), text, context))
  })

  it.prop("purpose and context are bound as a pair", [
    FastCheck.string({ minLength: 1, maxLength: 20 }),
    FastCheck.string({ minLength: 1, maxLength: 20 }),
    FastCheck.string()
  ], ([a, b, c]) => {
    const keys = ring(newest)
    assert.isUndefined(read(keys.purpose(a + b), write(keys.purpose(a), "v", b + c), c))
    assert.isUndefined(read(keys.purpose(a), write(keys.purpose(a + b), "v", c), b + c))
  })

  it.each(sizes)("any single flipped bit is rejected, of a value of %i bytes", (size) => {
    const text = write(purpose, "x".repeat(size))
    for (let index = 0; index < text.length; index++) {
      // a character of a string has sixteen bits, and what is beyond the eighth may be lost on the way to bytes
      for (let bit = 0; bit < 16; bit++) {
        const flipped = text.slice(0, index) + String.fromCharCode(text.charCodeAt(index) ^ (1 << bit)) +
          text.slice(index + 1)
        if (read(purpose, flipped) !== undefined) assert.fail(`bit ${bit} of character ${index} of ${text}`)
      }
    }
  })

  it.prop("any other text is rejected", [
    FastCheck.nat(),
    FastCheck.nat(),
    FastCheck.string({ unit: "binary", maxLength: 8 })
  ], ([a, b, other]) => {
    const text = write(purpose, "{\"user\":\"ada\"}")
    const [start, end] = [a % (text.length + 1), b % (text.length + 1)].sort((x, y) => x - y)
    const changed = text.slice(0, start) + other + text.slice(end)
    FastCheck.pre(changed !== text)
    assert.isUndefined(read(purpose, changed))
  })

  it.each(sizes)("any other spelling is rejected, of a value of %i bytes", (size) => {
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for (let round = 0; round < 10; round++) {
      const text = write(purpose, "\u00ff".repeat(size))
      const spellings = [
        `${text}=`,
        `${text}==`,
        `${text}A`,
        `${text}.`,
        `${text} `,
        `${text}\n`,
        `${text}\0`,
        ` ${text}`,
        `"${text}"`,
        text.slice(0, -1),
        text.toUpperCase(),
        text.replace(/\./g, "%2E"),
        text.replace(".", ".."),
        text.replace(/-/g, "+").replace(/_/g, "/"),
        text.replace(/.$/, "\n$&"),
        // the last character may have bits that mean nothing
        ...Array.from(alphabet, (char) => text.slice(0, -1) + char)
      ]
      for (const spelling of spellings) {
        if (spelling !== text && read(purpose, spelling) !== undefined) assert.fail(`${spelling} for ${text}`)
      }
    }
  })

  it("a zero, a short and an empty tag are rejected (CVE-2026-40372)", () => {
    const text = write(purpose, "value")
    const head = text.slice(0, 12)
    const bytes = Buffer.from(text.slice(12), "base64url")
    for (let kept = 0; kept < bytes.length; kept++) {
      assert.isUndefined(read(purpose, head + bytes.toString("base64url", 0, kept)))
      assert.isUndefined(read(purpose, head + bytes.toString("base64url", kept + 1)))
      const zeros = Buffer.concat([bytes.subarray(0, kept), Buffer.alloc(bytes.length - kept)])
      assert.isUndefined(read(purpose, head + zeros.toString("base64url")))
    }
    const value = Buffer.from("value").toString("base64url")
    for (const tag of ["", ".", ".A", `.${"A".repeat(22)}`, `.${"A".repeat(43)}`, `.${"A".repeat(44)}`]) {
      assert.isUndefined(read(purpose, head + value + tag))
      assert.isUndefined(read(purpose, head + tag))
    }
  })

  it("there is nothing else to fall back to (CVE-2026-39324)", () => {
    const json = "{\"user\":\"admin\"}"
    const base64 = Buffer.from(json).toString("base64url")
    for (const { write: other } of uses) {
      const text = other(purpose, json)
      const [version, id, ...rest] = text.split(".")
      for (
        const forged of [
          json,
          base64,
          encodeURIComponent(json),
          `s1..${base64}.`,
          `e1..${base64}`,
          `none.${id}.${base64}`,
          `s2.${id}.${rest.join(".")}`,
          `${version === "s1" ? "e1" : "s1"}.${id}.${rest.join(".")}`,
          `${version}.${id}.${base64}`,
          `${version}.AAAAAAAA.${rest.join(".")}`,
          rest.join(".")
        ]
      ) {
        assert.isUndefined(read(purpose, forged), forged)
      }
    }
  })

  it("the other use has other keys", () => {
    for (const { read: other } of uses) {
      if (other !== read) assert.isUndefined(other(purpose, write(purpose, "v")))
    }
  })

  it("nothing that a client sends makes it throw", () => {
    const [version, id] = write(purpose, "v").split(".")
    const texts = [
      ...hostile.map(([, text]) => text),
      "",
      ".",
      "..",
      "...",
      "\0",
      "\ud800",
      "\u00a0",
      "\ufffd".repeat(43),
      "\ud800".repeat(60),
      "x".repeat(5_000_000)
    ]
    for (const text of texts) {
      for (const tail of [text, text.slice(0, 60_000), `${text.slice(0, 60_000)}.${"A".repeat(43)}`]) {
        assert.isUndefined(read(purpose, tail))
        assert.isUndefined(read(purpose, `${version}.${id}.${tail}`))
        assert.isUndefined(read(purpose, `${version}.${id}${tail}`))
      }
    }
  })

  it.prop("nor does any text at all", [FastCheck.string({ unit: "binary" }), FastCheck.string()], ([text, context]) => {
    const [version, id] = write(purpose, "v").split(".")
    assert.isUndefined(read(purpose, text, context))
    assert.isUndefined(read(purpose, `${version}.${id}.${text}`, context))
  })

  it("a text has at most 65 536 characters", () => {
    // twelve before the value, and a MAC of 43 with its dot; or nonce and tag of 28 bytes
    const most = write === uses[0].write ? Math.floor((65_536 - 12 - 44) * 3 / 4) : (65_536 - 12) * 3 / 4 - 28
    const value = "x".repeat(most)
    assert.strictEqual(read(purpose, write(purpose, value))?.value, value)
    assert.throws(() => write(purpose, `${value}x`), RangeError, "Keyring: a text of ")
  })
})

describe("sign", () => {
  it("the value can be read without a key", () => {
    const [, , value = ""] = purpose.sign("{\"user\":\"ada\"}", name).split(".")
    assert.strictEqual(Buffer.from(value, "base64url").toString(), "{\"user\":\"ada\"}")
  })

  it("is HMAC-SHA-256 by a key from HKDF-SHA-256", () => {
    const info = "effect-middleware/Keyring sign \"session\""
    const okm = Buffer.from(Crypto.hkdfSync("sha256", newest, "", info, 38))
    const head = `s1.${okm.toString("base64url", 32)}.${Buffer.from("v").toString("base64url")}`
    const mac = Crypto.createHmac("sha256", okm.subarray(0, 32)).update(`"__Host-session"${head}`).digest("base64url")
    assert.strictEqual(purpose.sign("v", name), `${head}.${mac}`)
  })

  it("a longer text is not looked at, though its MAC is right", () => {
    const okm = Buffer.from(Crypto.hkdfSync("sha256", newest, "", "effect-middleware/Keyring sign \"session\"", 38))
    const text = (characters: number) => {
      const head = `s1.${okm.toString("base64url", 32)}.${"A".repeat(characters - 12 - 44)}`
      const mac = Crypto.createHmac("sha256", okm.subarray(0, 32)).update(`"__Host-session"${head}`)
      return `${head}.${mac.digest("base64url")}`
    }
    assert.isDefined(purpose.verify(text(65_536), name))
    assert.isUndefined(purpose.verify(text(65_537), name))
  })

  it("the form is for good", () => {
    assert.strictEqual(purpose.sign("v", name), "s1.viuJGknG.dg.AOEuk1WEw8Yrd81tuBY2hyzymd9oUm40BJPS8D3nlSc")
  })
})

describe("seal", () => {
  const fixed: Entropy.Service = { ...entropy, bytes: (size) => new Uint8Array(size).fill(7) }

  it("is AES-256-GCM by a key from HKDF-SHA-256, with a nonce from entropy", () => {
    const info = "effect-middleware/Keyring seal \"session\""
    const okm = Buffer.from(Crypto.hkdfSync("sha256", newest, "", info, 38))
    const head = `e1.${okm.toString("base64url", 32)}.`
    const nonce = Buffer.alloc(12, 7)
    const cipher = Crypto.createCipheriv("aes-256-gcm", okm.subarray(0, 32), nonce)
    cipher.setAAD(Buffer.from(`"__Host-session"${head}`))
    const sealed = Buffer.concat([nonce, cipher.update("v"), cipher.final(), cipher.getAuthTag()])
    assert.strictEqual(purpose.seal("v", name, fixed), head + sealed.toString("base64url"))
  })

  it("the form is for good", () => {
    const text = "e1.LVHI9i9y.BwcHBwcHBwcHBwcH3Sl2uroTDiIHKFfRlaXMhdg"
    assert.strictEqual(purpose.seal("v", name, fixed), text)
    assert.strictEqual(purpose.open(text, name)?.value, "v")
  })

  it("two seals differ, and neither shows the value", () => {
    const texts = Array.from({ length: 100 }, () => purpose.seal("value", name, entropy))
    assert.strictEqual(new Set(texts).size, 100)
    for (const text of texts) {
      assert.notInclude(Buffer.from(text.slice(12), "base64url").toString("latin1"), "value")
    }
  })

  it("a tag of a shorter kind is none", () => {
    // a tag of 4 bytes is right in 1 of 4 billion, so one is made with the key itself
    const info = "effect-middleware/Keyring seal \"session\""
    const okm = Buffer.from(Crypto.hkdfSync("sha256", newest, "", info, 38))
    const head = `e1.${okm.toString("base64url", 32)}.`
    const nonce = Buffer.alloc(12, 7)
    for (const authTagLength of [4, 8, 12, 13, 14, 15]) {
      const cipher = Crypto.createCipheriv("aes-256-gcm", okm.subarray(0, 32), nonce, { authTagLength })
      cipher.setAAD(Buffer.from(`"__Host-session"${head}`))
      const sealed = Buffer.concat([nonce, cipher.update("a value"), cipher.final(), cipher.getAuthTag()])
      assert.isUndefined(purpose.open(head + sealed.toString("base64url"), name))
    }
  })

  it("entropy that gives too little is a mistake of the program", () => {
    for (const bytes of [() => new Uint8Array(0), () => new Uint8Array([1]), () => new Uint8Array(13)]) {
      assert.throws(() => purpose.seal("v", name, { ...entropy, bytes }), RangeError, "Keyring: entropy gave ")
    }
  })
})

describe("purpose", () => {
  it("is derived once", () => {
    const keys = ring(newest)
    assert.strictEqual(keys.purpose("a"), keys.purpose("a"))
    assert.notStrictEqual(keys.purpose("a"), keys.purpose("b"))
  })

  it("keys have another name in each", () => {
    const keys = ring(newest)
    const ids = ["a", "b"].flatMap((name) => uses.map(({ write }) => write(keys.purpose(name), "v").split(".")[1]))
    assert.strictEqual(new Set(ids).size, 4)
  })

  it("has 1 to 128 characters", () => {
    const keys = ring(newest)
    for (const text of ["\0".repeat(128), "\uffff".repeat(128), "__proto__"]) {
      assert.strictEqual(keys.purpose(text).verify(keys.purpose(text).sign("v", ""), "")?.value, "v")
    }
    assert.throws(() => keys.purpose(""), TypeError, "Keyring: a purpose of 0 characters: name it in 1 to 128")
    assert.throws(() => keys.purpose("x".repeat(129)), TypeError, "Keyring: a purpose of 129 characters")
  })
})

describe("keys", () => {
  const remedy = ": take a secret such as `openssl rand -base64 32` makes one"

  it.each<[rule: string, key: string | Uint8Array, message: string]>([
    ["an empty one", "", "has 0 bytes where at least 32 are needed"],
    ["31 bytes", newest.slice(0, 31), "has 31 bytes where at least 32 are needed"],
    [
      "31 bytes as bytes",
      Crypto.createHash("sha256").digest().subarray(1),
      "has 31 bytes where at least 32 are needed"
    ],
    ["one character", "a".repeat(64), "has fewer than 8 different bytes"],
    ["zeros", new Uint8Array(32), "has fewer than 8 different bytes"],
    ["seven characters", "gabcdefgfedcbagacegbdfabgcfdeagbc", "has fewer than 8 different bytes"],
    ["a short unit again and again", "f3A9-k2Z".repeat(4), "repeats itself"],
    ["a unit of half its length", "q7Fz0LmX2c9RtB4e".repeat(2), "repeats itself"],
    ["a unit that is cut off", "q7Fz0LmX2c9RtB4".repeat(3).slice(0, 40), "repeats itself"],
    ["bytes in order", Uint8Array.from({ length: 32 }, (_, index) => index), "is a sequence"],
    ["bytes in steps, around the end", Uint8Array.from({ length: 64 }, (_, index) => index * 7), "is a sequence"],
    ["the alphabet", "abcdefghijklmnopqrstuvwxyz0123456789", "is a sequence"],
    ["the alphabet backwards", "zyxwvutsrqponmlkjihgfedcba9876543210", "is a sequence"],
    ["digits in order", "0123456789abcdefghij0123456789ABCDEFGHIJ", "is a sequence"],
    ["pairs in order", "112233445566778899aabbccddeeffgghh", "is a sequence"],
    ["change-me", "change-me-in-production-0123456789", "has a word of a placeholder in it"],
    ["CHANGE_ME", "CHANGE_ME_before_this_is_live_2024", "has a word of a placeholder in it"],
    ["keyboard cat", "keyboard cat keyboard dog keyboard", "has a word of a placeholder in it"],
    ["your-secret-here", "<your-secret-here-it-must-be-32-bytes>", "has a word of a placeholder in it"],
    ["your key", "insert your key of 32 bytes or more here", "has a word of a placeholder in it"],
    ["development", "Development-only-0f8a6b1c2d3e4f5061", "has a word of a placeholder in it"],
    ["a password", "my pass-word for the sessions of 2026!", "has a word of a placeholder in it"],
    ["one as bytes", Buffer.from("This is an example of a key, 32 bytes"), "has a word of a placeholder in it"]
  ])("%s is refused", (_, key, message) => {
    assert.throws(() => ring(key), TypeError, `Keyring: keys[0] ${message}${remedy}`)
    assert.throws(() => ring(newest, key), TypeError, `Keyring: keys[1] ${message}${remedy}`)
  })

  it("no message has the key in it", () => {
    for (const key of ["aX9-bY8", "change-me-f8a6b1c2d3e4f5061aX9-bY8", "q7Fz0LmX2c9RtB4e".repeat(2)]) {
      try {
        ring(key)
        assert.fail("it is refused")
      } catch (error) {
        assert.notInclude(String(error), key.slice(-6))
      }
    }
  })

  it("one that is there twice is refused, also as bytes", () => {
    assert.throws(
      () => ring(newest, older, newest),
      TypeError,
      "Keyring: keys[2] is keys[0] again: leave one out, or put a new one first"
    )
    assert.throws(() => ring(newest, older, Buffer.from(older)), TypeError, "Keyring: keys[2] is keys[1] again")
  })

  it("an empty list is refused", () => {
    const keys: ReadonlyArray<Redacted.Redacted> = []
    assert.throws(
      // @ts-expect-error at least one
      () => Keyring.make({ keys }),
      TypeError,
      "Keyring: keys is empty: list a secret, such as `openssl rand -base64 32` makes one"
    )
  })

  it("one that is not redacted is refused", () => {
    assert.throws(
      // @ts-expect-error a plain string could be printed
      () => Keyring.make({ keys: [newest] }),
      TypeError,
      "Keyring: keys[0] is not redacted: write Redacted.make(secret)"
    )
  })

  it("what a generator gives is taken", () => {
    for (let round = 0; round < 500; round++) {
      const bytes = Crypto.randomBytes(32)
      const encoded = (["hex", "base64", "base64url"] as const).map((encoding) => bytes.toString(encoding))
      for (const key of [bytes, new Uint8Array(bytes), ...encoded, Crypto.randomBytes(16).toString("hex")]) ring(key)
    }
  })

  it("a string is its bytes in UTF-8, whatever it looks like", () => {
    const hex = Crypto.createHash("sha256").update("x").digest("hex")
    const text = ring(hex).purpose("p").sign("v", name)
    assert.isDefined(ring(Buffer.from(hex)).purpose("p").verify(text, name))
    assert.isUndefined(ring(Buffer.from(hex, "hex")).purpose("p").verify(text, name))
    assert.isUndefined(ring(hex.toUpperCase()).purpose("p").verify(text, name))
  })

  it("bytes that are overwritten afterwards make no difference", () => {
    const bytes = Crypto.randomBytes(32)
    const keys = ring(bytes)
    const copy = ring(Buffer.from(bytes))
    bytes.fill(0)
    assert.isDefined(keys.purpose("p").verify(copy.purpose("p").sign("v", name), name))
  })
})

describe("layers", () => {
  const signed = Effect.map(Keyring.Keyring, (keyring) => keyring.purpose("p").sign("v", name))
  const stale = (layer: Layer.Layer<Keyring.Keyring, ConfigError.ConfigError>, text: string) =>
    Keyring.Keyring.pipe(
      Effect.map((keyring) => keyring.purpose("p").verify(text, name)?.stale),
      Effect.provide(layer)
    )
  const config = (entries: ReadonlyArray<readonly [string, string]>) =>
    Keyring.layerConfig(Config.nested(Config.redacted("KEYS"), "APP")).pipe(
      Layer.provide(Layer.setConfigProvider(ConfigProvider.fromMap(new Map(entries), { pathDelim: "_" })))
    )

  it.effect("layer", () =>
    Effect.gen(function*() {
      const text = yield* Effect.provide(signed, Keyring.layer({ keys: [Redacted.make(older)] }))
      const layer = Keyring.layer({ keys: [Redacted.make(newest), Redacted.make(older)] })
      assert.strictEqual(yield* stale(layer, text), true)
      assert.throws(() => Keyring.layer({ keys: [Redacted.make("short")] }), TypeError, "Keyring: keys[0] has 5 bytes")
    }))

  it.effect.each([`${newest},${older}`, `${newest} ${older}`, ` ${newest} ,\n\t${older}\n`, `${newest},,${older},`])(
    "layerConfig: %j",
    (keys) =>
      Effect.gen(function*() {
        const byOld = ring(older).purpose("p").sign("v", name)
        const byNew = ring(newest).purpose("p").sign("v", name)
        assert.strictEqual(yield* stale(config([["APP_KEYS", keys]]), byOld), true)
        assert.strictEqual(yield* stale(config([["APP_KEYS", keys]]), byNew), false)
      })
  )

  it.effect.each<[keys: string, message: string]>([
    ["", "Keyring: keys[0] has 0 bytes where at least 32 are needed"],
    [" , ", "Keyring: keys[0] has 0 bytes where at least 32 are needed"],
    [`${newest},sh0rt-k3y`, "Keyring: keys[1] has 9 bytes where at least 32 are needed"],
    [`${newest} ${newest}`, "Keyring: keys[1] is keys[0] again"],
    ["change-me-sh0rt-k3y-0123456789-abcdef", "Keyring: keys[0] has a word of a placeholder in it"]
  ])("layerConfig fails on %j and names the remedy, not the secret", ([keys, message]) =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Layer.build(config([["APP_KEYS", keys]])).pipe(Effect.scoped))
      const failure = Exit.isFailure(exit) && exit.cause._tag === "Fail" ? exit.cause.error : undefined
      assert.isTrue(ConfigError.isConfigError(failure))
      assert.include(String(failure), message)
      assert.match(String(failure), /openssl rand -base64 32|leave one out/)
      assert.notInclude(String(failure), "sh0rt-k3y")
      assert.notInclude(String(failure), newest)
    }))

  it.effect("layerConfig fails as a configuration does where there is nothing", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Layer.build(config([])).pipe(Effect.scoped))
      assert.isTrue(Exit.isFailure(exit) && exit.cause._tag === "Fail" && ConfigError.isMissingData(exit.cause.error))
    }))

  it("nothing of a key is seen when it is printed", () => {
    const keys = ring(newest)
    for (const value of [keys, keys.purpose("p")]) {
      assert.notInclude(JSON.stringify(value), newest)
    }
  })
})
