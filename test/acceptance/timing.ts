/**
 * Whether the time that an answer takes tells a known user from an unknown one, or a secret from its length: Welch's t-test,
 * as dudect has it.
 *
 *     npm run acceptance:timing -- --samples 100000 --slow 2000 --seed 1
 *
 * The cases of a trial are measured in turns, in a random order. Of two of them, what is above the 95th percentile of both
 * together is left out, and |t| has to be below 4.5. In the same run the test is tested: two cases that are one must not
 * differ, and a mistake that is planted has to be found. It ends with code 1 if something does not hold.
 *
 * 1. In process, with a hash of constant work that is fast: known and unknown users through `PasswordHash.verifier`, and
 *    secrets that are wrong, of the right length and of others, through `Authentication.apiKey` and `Keyring`.
 * 2. Argon2 as shipped, some 30 milliseconds a sample: known and unknown users.
 *
 * A machine that does much else is noise, which makes a difference harder to find: what is planted says how hard.
 */
import type { HttpServerRequest } from "@effect/platform"
import { Effect, Layer, ManagedRuntime, Option, Redacted } from "effect"
import { Authentication, Keyring, Middleware, PasswordHash } from "effect-middleware"
import * as Argon2 from "effect-middleware/PasswordHash/Argon2"
import { createHash, randomBytes, timingSafeEqual } from "node:crypto"
import { loadavg } from "node:os"
import { performance } from "node:perf_hooks"
import { parseArgs } from "node:util"
import { send } from "../utils/TestApp.js"

const { values: options } = parseArgs({
  options: {
    /** Samples of a comparison, half of them of each case: in process, and with argon2. 0 leaves it out. */
    samples: { type: "string", default: "100000" },
    slow: { type: "string", default: "2000" },
    /** Of the order in which they are taken. */
    seed: { type: "string", default: "1" }
  }
})
const [samples, slow, seed] = [Number(options.samples), Number(options.slow), Number(options.seed)]
const threshold = 4.5

// --- statistics ------------------------------------------------------------------------------------------------------

/** mulberry32 */
const random = (() => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
})()

const shuffle = <A>(items: Array<A>): Array<A> => {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    ;[items[i], items[j]] = [items[j]!, items[i]!]
  }
  return items
}

const moments = (values: Float64Array) => {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1)
  return { mean, error: variance / values.length }
}

const welch = (left: Float64Array, right: Float64Array) => {
  const pooled = new Float64Array([...left, ...right]).sort()
  const most = pooled[Math.ceil(0.95 * pooled.length) - 1]!
  const [a, b] = [left, right].map((values) => moments(values.filter((value) => value <= most)))
  return { left: a!.mean, right: b!.mean, t: (a!.mean - b!.mean) / Math.sqrt(a!.error + b!.error) }
}

// --- measuring -------------------------------------------------------------------------------------------------------

/** Picks an input, by the number of the sample, and gives what is measured. */
type Case<A> = (sample: number) => () => A
type Cases<A, Name extends string> = Record<Name, Case<A>>
type Comparison<Name extends string> = readonly [left: Name, right: Name, expected: "same" | "differ"]
type Times = Record<string, Float64Array>

const order = (count: number, perCase: number) =>
  Array.from({ length: perCase }, () => shuffle(Array.from({ length: count }, (_, i) => i))).flat()

const timesOf = (names: ReadonlyArray<string>, perCase: number): Times =>
  Object.fromEntries(names.map((name) => [name, new Float64Array(perCase)]))

const measure = (cases: Cases<unknown, string>, perCase: number): Times => {
  const [names, run] = [Object.keys(cases), Object.values(cases)]
  const times = timesOf(names, perCase)
  const into = names.map((name) => times[name]!)
  const taken = names.map(() => 0)
  // what is compiled is measured, and not the compiler
  for (const at of order(run.length, 3_000)) run[at]!(0)()
  for (const at of order(run.length, perCase)) {
    const sample = taken[at]!++
    const measured = run[at]!(sample)
    const from = performance.now()
    measured()
    into[at]![sample] = performance.now() - from
  }
  return times
}

const measureAsync = async (cases: Cases<Promise<unknown>, string>, perCase: number): Promise<Times> => {
  const [names, run] = [Object.keys(cases), Object.values(cases)]
  const times = timesOf(names, perCase)
  const into = names.map((name) => times[name]!)
  const taken = names.map(() => 0)
  for (const at of order(run.length, 10)) await run[at]!(0)()
  for (const at of order(run.length, perCase)) {
    const sample = taken[at]!++
    const measured = run[at]!(sample)
    const from = performance.now()
    await measured()
    into[at]![sample] = performance.now() - from
  }
  return times
}

let failed = false
const rows: Array<Record<string, string>> = []

const compare = <Name extends string>(trial: string, times: Times, comparisons: ReadonlyArray<Comparison<Name>>) => {
  for (const [a, b, expected] of comparisons) {
    const { left, right, t } = welch(times[a]!, times[b]!)
    const holds = (Math.abs(t) < threshold) === (expected === "same")
    failed ||= !holds
    rows.push({
      trial,
      compared: `${a} / ${b}`,
      samples: String(times[a]!.length + times[b]!.length),
      "mean, µs": `${(left * 1000).toFixed(3)} / ${(right * 1000).toFixed(3)}`,
      "|t|": Math.abs(t).toFixed(2),
      "has to": expected,
      "": holds ? "ok" : "FAILED"
    })
  }
}

const trial = <Name extends string>(
  name: string,
  cases: Cases<unknown, Name>,
  comparisons: ReadonlyArray<Comparison<Name>>
) => {
  if (samples > 0) compare(name, measure(cases, samples / 2), comparisons)
}

// --- users -----------------------------------------------------------------------------------------------------------

interface User {
  readonly name: string
}

const names = Array.from({ length: 16 }, () => `user-${randomBytes(8).toString("hex")}`)
const [known, unknown] = [names.slice(0, 8), names.slice(8)]

/** The name and the password are wrong in the same way for all; a name is looked up where all are, as in an index. */
const credentialsOf = (usernames: ReadonlyArray<string>) =>
  usernames.map((username): PasswordHash.Credentials => ({ username, password: Redacted.make("correct horse") }))
const [ofKnown, ofUnknown] = [credentialsOf(known), credentialsOf(unknown)]

const finder = (hashOf: (name: string) => string) => {
  const index = new Map<string, Option.Option<PasswordHash.Account<User>>>(names.map((name) => [
    name,
    known.includes(name) ? Option.some({ hash: hashOf(name), identity: { user: { name } } }) : Option.none()
  ]))
  return (username: string) => Effect.sync(() => index.get(username) ?? Option.none<PasswordHash.Account<User>>())
}

type Find = ReturnType<typeof finder>

/** The mistake: who is not there is told so at once. */
const planted = (find: Find) => ({ password, username }: PasswordHash.Credentials) =>
  Effect.gen(function*() {
    const passwords = yield* PasswordHash.PasswordHash
    const account = yield* find(username)
    if (Option.isNone(account)) return Option.none()
    const isGood = yield* passwords.verify(password, account.value.hash)
    return isGood ? Option.some(account.value.identity) : Option.none()
  })

const userComparisons: ReadonlyArray<Comparison<"known" | "known again" | "unknown" | "planted">> = [
  ["known", "unknown", "same"],
  ["known", "known again", "same"],
  ["known", "planted", "differ"]
]

const userCases = <A>(
  find: Find,
  run: (effect: Effect.Effect<unknown, unknown, PasswordHash.PasswordHash>) => A,
  cache: PasswordHash.Cache | false = false
) => {
  const [right, wrong] = [PasswordHash.verifier({ find, cache }), planted(find)]
  const of = (verify: typeof right, credentials: ReadonlyArray<PasswordHash.Credentials>): Case<A> => (sample) => () =>
    run(verify(credentials[sample % 8]!))
  return {
    known: of(right, ofKnown),
    "known again": of(right, ofKnown),
    unknown: of(right, ofUnknown),
    planted: of(wrong, ofUnknown)
  }
}

/** Of constant work, and without a promise. */
const digest = (text: string) => createHash("sha256").update(text).digest()
const fast: PasswordHash.Service = {
  decoy: digest("decoy").toString("hex"),
  needsRehash: () => false,
  hash: () => Effect.succeed(""),
  verify: (password, hash) =>
    Effect.sync(() => timingSafeEqual(digest(Redacted.value(password)), Buffer.from(hash, "hex")))
}

const runtime = ManagedRuntime.make(Layer.succeed(PasswordHash.PasswordHash, fast))
const findFast = finder((name) => digest(name).toString("hex"))
trial("users, a fast hash", userCases(findFast, runtime.runSync), userComparisons)
trial("the same, with a cache", userCases(findFast, runtime.runSync, {}), userComparisons)

// --- API keys --------------------------------------------------------------------------------------------------------

const secretLength = 43
/** In one piece, as what was read from a socket is. */
const flat = (text: string) => Buffer.from(text).toString()
const randomText = (length: number) => flat(randomBytes(length).toString("base64url").slice(0, length))
const eight = (text: () => string) => Array.from({ length: 8 }, text)

/**
 * What a backend is given for a request, with headers that can be exchanged: there is one for all, since of two that are
 * alike one may lie better in memory, and be faster by more than what is looked for.
 */
const exchangeOf = async () => {
  let seen: Middleware.Exchange | undefined
  const capture = Middleware.make({ name: "Capture", request: (exchange) => void (seen = exchange) })
  await Effect.runPromise(
    send(capture(Effect.die("not reached"))).pipe(Effect.ignore, Effect.catchAllDefect(() => Effect.void))
  )
  if (seen === undefined) throw new Error("no exchange was captured")
  const headers: Record<string, string> = { "x-api-key": "", authorization: "" }
  const request: HttpServerRequest.HttpServerRequest = Object.create(seen.request, { headers: { value: headers } })
  const exchange: Middleware.Exchange = Object.create(seen, { request: { value: request } })
  return { exchange, headers }
}

{
  const { exchange, headers } = await exchangeOf()
  const of = (backend: Authentication.Backend<User>, header: string, texts: ReadonlyArray<string>): Case<unknown> =>
  (
    sample
  ) => {
    headers[header] = texts[sample % 8]!
    return () => {
      const result = backend.authenticate(exchange)
      return Effect.isEffect(result) ? Effect.runSync(result) : result
    }
  }
  const found: Authentication.Verified<User> = Effect.succeed(Option.some({ user: { name: "machine" } }))
  const missing: Authentication.Verified<User> = Effect.succeed(Option.none())
  const stored = Buffer.from(Authentication.hashApiKey(`acme_${randomText(secretLength)}`))
  const apiKey = Authentication.apiKey({
    prefix: "acme_",
    find: (hash) => timingSafeEqual(Buffer.from(hash), stored) ? found : missing
  })
  const ofLength = (length: number) => of(apiKey, "x-api-key", eight(() => flat(`acme_${randomText(length)}`)))
  // the mistake: a token is compared as it is, character by character
  const long = randomText(256)
  const naive = Authentication.bearer({
    verify: (token) => {
      const given = Redacted.value(token)
      if (given.length !== long.length) return missing
      for (let i = 0; i < long.length; i++) if (given[i] !== long[i]) return missing
      return found
    }
  })
  const bearing = (token: string) => of(naive, "authorization", eight(() => flat(`Bearer ${token}`)))
  trial("apiKey", {
    "right length": ofLength(secretLength),
    "right length again": ofLength(secretLength),
    "a character less": ofLength(secretLength - 1),
    "a character more": ofLength(secretLength + 1),
    "planted, all but the last": bearing(long.slice(0, -1) + (long.endsWith("A") ? "B" : "A")),
    "planted, too short": bearing(long.slice(0, -1))
  }, [
    ["right length", "a character less", "same"],
    ["right length", "a character more", "same"],
    ["right length", "right length again", "same"],
    ["planted, all but the last", "planted, too short", "differ"]
  ])
}

// --- Keyring ---------------------------------------------------------------------------------------------------------

{
  const purpose = Keyring.make({ keys: [Redacted.make(randomBytes(32))] }).purpose("acceptance")
  const signed = eight(() => purpose.sign(randomText(32), "timing"))
  const macLength = 43
  const headOf = (text: string) => text.slice(0, -macLength)
  const other = (character: string) => character === "A" ? "B" : "A"
  const verify = (texts: ReadonlyArray<string>) => (sample: number) => () =>
    purpose.verify(texts[sample % 8]!, "timing")
  const first = signed.map((text) => flat(headOf(text) + other(text.at(-macLength)!) + text.slice(1 - macLength)))
  const last = signed.map((text) => flat(text.slice(0, -3) + other(text.at(-3)!) + text.slice(-2)))
  // the mistake: the MAC is compared character by character
  const macs = new Map(first.concat(last).map((text) => [text, signed.find((good) => good.startsWith(headOf(text)))!]))
  const naive = (texts: ReadonlyArray<string>) => (sample: number) => () => {
    const text = texts[sample % 8]!
    const good = macs.get(text)!
    for (let i = text.length - macLength; i < text.length; i++) if (text[i] !== good[i]) return undefined
    return { value: text }
  }
  trial("Keyring.verify", {
    "the first of the MAC": verify(first),
    "the first again": verify(first.map(flat)),
    "the last of the MAC": verify(last),
    "a character less": verify(signed.map((text) => flat(text.slice(0, -1)))),
    "a character more": verify(signed.map((text) => flat(`${text}A`))),
    "planted, the first": naive(first),
    "planted, the last": naive(last)
  }, [
    ["the first of the MAC", "the last of the MAC", "same"],
    ["the first of the MAC", "a character less", "same"],
    ["the first of the MAC", "a character more", "same"],
    ["the first of the MAC", "the first again", "same"],
    ["planted, the first", "planted, the last", "differ"]
  ])
}

// --- argon2 ----------------------------------------------------------------------------------------------------------

if (slow > 0) {
  const argon2 = ManagedRuntime.make(Argon2.layer())
  const { hash } = await argon2.runPromise(PasswordHash.PasswordHash)
  const hashes = new Map<string, string>()
  for (const name of known) hashes.set(name, await Effect.runPromise(hash(Redacted.make(randomText(16)))))
  const cases = userCases(finder((name) => hashes.get(name)!), argon2.runPromise)
  compare("users, argon2", await measureAsync(cases, slow / 2), userComparisons)
}

// --- what came of it -------------------------------------------------------------------------------------------------

console.log(`Node ${process.version}, seed ${seed}, load ${loadavg().map((load) => load.toFixed(1)).join(" ")}`)
console.table(rows)
console.log(failed ? "FAILED" : "passed")
process.exitCode = failed ? 1 : 0
