/**
 * What is unwise in a stack, and why: rules over the traits of its members, which know no middleware by name. What cannot
 * work does not compile, and needs no rule.
 */
import type { Any, Trait } from "../Middleware.js"
import { type By, madeOf, phasesOf } from "./kernel.js"

export interface Diagnostic {
  readonly code: Code
  readonly severity: "warning" | "note"
  readonly members: ReadonlyArray<string>
  readonly reason: string
  readonly remedy: string
}

/** A member in its place, with what stands around it. */
interface Place {
  readonly name: string
  readonly traits: ReadonlySet<Trait>
  readonly conditions: ReadonlyArray<By>
  /** The choices that it is part of, and which alternative of each. */
  readonly choices: ReadonlyMap<Any, number>
}

interface Rule {
  readonly code: string
  /** Wrong where a member with one of these stands outside one with `inner`. */
  readonly outer: ReadonlyArray<Trait>
  readonly inner: ReadonlyArray<Trait>
  /** Right where such a one stands outside both. */
  readonly unless?: Trait
  readonly reason: string
  readonly remedy: string
}

/** Whatever may answer a request itself. */
const answering: ReadonlyArray<Trait> = ["guard", "cors"]

const rules = [
  {
    code: "guard-outside-cors",
    outer: ["guard"],
    inner: ["cors"],
    reason:
      "What is refused out there has no CORS fields, so a page of another origin sees a network error and not the " +
      "error page; and a preflight, which has neither cookies nor credentials, may be refused.",
    remedy: "Put {inner} outside {outer}."
  },
  {
    code: "answer-outside-identifier",
    outer: answering,
    inner: ["identifier"],
    reason: "What is answered out there carries no identifier, and neither do its log lines.",
    remedy: "Put {inner} outside {outer}."
  },
  {
    code: "answer-outside-log",
    outer: answering,
    inner: ["log"],
    reason: "What is answered out there has no line in the log: an attack that is refused is not seen.",
    remedy: "Put {inner} outside {outer}."
  },
  {
    code: "answer-outside-metrics",
    outer: answering,
    inner: ["metrics"],
    reason: "What is answered out there is not measured.",
    remedy: "Put {inner} outside {outer}."
  },
  {
    code: "guard-outside-problem-details",
    outer: ["guard"],
    inner: ["problem"],
    reason: "What is refused out there does not have the form that the client asks for.",
    remedy: "Put {inner} outside {outer}."
  },
  {
    code: "guard-outside-security-headers",
    outer: ["guard"],
    inner: ["headers"],
    reason: "What is refused or redirected out there has none of the security headers.",
    remedy: "Put {inner} outside {outer}."
  },
  {
    code: "rate-limit-outside-client",
    outer: ["rate-limit"],
    inner: ["client"],
    reason:
      "It does not know who the client is: its key can only be made of headers that anybody can send, so that who " +
      "changes them is never limited.",
    remedy: "Put {inner} outside {outer}, and take RateLimit.client() for the key."
  },
  {
    code: "authentication-outside-rate-limit",
    outer: ["authentication"],
    inner: ["by-client"],
    unless: "by-client",
    reason: "Who is refused out there is not counted: passwords and keys can be guessed without a limit.",
    remedy: "Put {inner} outside {outer}; a limit by principal stays inside."
  },
  {
    code: "authentication-outside-https",
    outer: ["authentication"],
    inner: ["https"],
    reason: "A client is asked for its credentials over a connection that everybody can read, before it is redirected.",
    remedy: "Put {inner} outside {outer}."
  },
  {
    code: "csrf-outside-method",
    outer: ["csrf"],
    inner: ["method"],
    reason: "A method that nothing is asked of becomes one that changes something, after the check.",
    remedy: "Put {inner} outside {outer}."
  },
  {
    code: "cache-outside-authentication",
    outer: ["cache"],
    inner: ["access"],
    reason: "A hit is answered before anybody asks who it is: what one was allowed to see, everybody sees.",
    remedy: "Put {outer} inside {inner}."
  },
  {
    code: "cookies-hidden-from-session",
    outer: ["hides-cookies"],
    inner: ["session", "authentication"],
    reason: "It hides the cookies from what is inside: nobody has a session there.",
    remedy: "Leave out `cookies: \"hide\"`, or put {outer} around the routes alone that need no cookie."
  },
  {
    code: "nonce-under-cache",
    outer: ["cache"],
    inner: ["nonce"],
    reason: "A nonce is for one response: one that is stored is everybody's, and who has read it may use it. Where " +
      "SecurityHeaders has made it the page is not stored, and the cache does nothing.",
    remedy: "Put {inner} outside {outer}, and {outer} around the routes whose pages have no nonce."
  },
  {
    code: "cache-outside-identifier",
    outer: ["cache"],
    inner: ["identifier"],
    reason: "The identifier of the first request is stored, and everybody after it gets the same.",
    remedy: "Put {inner} outside {outer}."
  },
  {
    code: "cache-outside-log",
    outer: ["cache"],
    inner: ["log", "metrics"],
    reason: "A hit is neither logged nor measured.",
    remedy: "Put {inner} outside {outer}."
  },
  {
    code: "cache-outside-compression",
    outer: ["cache"],
    inner: ["compression"],
    reason: "Each coding is stored by itself, and the app runs once for each.",
    remedy: "Put {inner} outside {outer}."
  },
  {
    code: "compression-inside-etag",
    outer: ["etag"],
    inner: ["compression"],
    reason:
      "The tag is of what the compressor makes: what is compressed as a stream has none, and is sent again each time.",
    remedy: "Put {inner} outside {outer}."
  },
  {
    code: "decompression-outside-body-limit",
    outer: ["decompression"],
    inner: ["body-limit"],
    unless: "body-limit",
    reason:
      "The size that a client states is gone by then: a body that is too large is received, and not refused at once.",
    remedy: "Put {inner} outside {outer}."
  },
  {
    code: "permits-outside-timeout",
    outer: ["permits"],
    inner: ["timeout"],
    reason: "The time that a request waits for its permit is not counted.",
    remedy: "Put {inner} outside {outer}."
  }
] as const satisfies ReadonlyArray<Rule>

/** Of these a second one is a mistake. */
const single = {
  client:
    "The second one finds no headers of a proxy, since the first has hidden them, and takes the proxy for the client.",
  identifier: "What is inside sees another identifier than the client.",
  log: "Each request has two lines.",
  metrics: "Each request is counted once, by one of the two."
} satisfies Partial<Record<Trait, string>>

export type Code =
  | typeof rules[number]["code"]
  | "guard-by-function"
  | "guard-with-routes"
  | "host-unchecked"
  | "twice"

export const lint = (stack: Any): ReadonlyArray<Diagnostic> => {
  const places = placesOf(stack)
  return [...misplaced(places), ...unchecked(places), ...repeated(places), ...conditional(places)]
}

const placesOf = (
  middleware: Any,
  around: Pick<Place, "choices" | "conditions" | "traits"> = { traits: new Set(), conditions: [], choices: new Map() }
): ReadonlyArray<Place> => {
  const made = madeOf(middleware)
  if (made !== undefined) {
    const traits = new Set([...around.traits, ...made.traits ?? []])
    const conditions = made.by === undefined ? around.conditions : [...around.conditions, made.by]
    return made.of.flatMap((one, index) =>
      placesOf(one, { traits, conditions, choices: new Map([...around.choices, [middleware, index]]) })
    )
  }
  if (Array.isArray(middleware.members)) return middleware.members.flatMap((member) => placesOf(member, around))
  const own = phasesOf(middleware).flatMap(({ traits = [] }) => traits)
  return [{ ...around, name: middleware.name, traits: new Set([...around.traits, ...own]) }]
}

/** Whether there is a request that passes both. */
const meet = (a: Place, b: Place): boolean =>
  [...a.choices].every(([choice, index]) => (b.choices.get(choice) ?? index) === index)
const isOne = (place: Place, traits: ReadonlyArray<Trait>): boolean => traits.some((trait) => place.traits.has(trait))

const misplaced = (places: ReadonlyArray<Place>): ReadonlyArray<Diagnostic> =>
  (rules as ReadonlyArray<Rule & { readonly code: Code }>).flatMap(
    ({ code, inner, outer, reason, remedy, unless }) =>
      places.flatMap((place, at) => {
        if (!isOne(place, inner)) return []
        const isWrong = (other: Place, index: number) =>
          isOne(other, outer) && meet(other, place) &&
          !(unless !== undefined && places.slice(0, index).some((one) => isOne(one, [unless])))
        const others = places.slice(0, at).filter(isWrong).map(({ name }) => name)
        if (others.length === 0) return []
        const say = (text: string) => text.replaceAll("{inner}", place.name).replaceAll("{outer}", others.join(", "))
        return [warning(code, [...others, place.name], reason, say(remedy))]
      })
  )

const warning = (code: Code, members: ReadonlyArray<string>, reason: string, remedy: string): Diagnostic => ({
  code,
  severity: "warning",
  members,
  reason,
  remedy
})

const unchecked = (places: ReadonlyArray<Place>): ReadonlyArray<Diagnostic> => {
  const trusting = places.filter((place, at) =>
    isOne(place, ["trusts-host"]) && !places.slice(0, at).some((one) => isOne(one, ["host"]))
  ).map(({ name }) => name)
  if (trusting.length === 0) return []
  return [warning(
    "host-unchecked",
    trusting,
    "It relies on the host of the request, which nobody has looked at: a name of an attacker's that leads to this server " +
      "counts as its own, and is redirected to.",
    `Put TrustedHost outside ${trusting.join(", ")}.`
  )]
}

const repeated = (places: ReadonlyArray<Place>): ReadonlyArray<Diagnostic> =>
  (Object.keys(single) as Array<keyof typeof single>).flatMap((trait) =>
    places.flatMap((place, at) => {
      if (!isOne(place, [trait])) return []
      const first = places.slice(0, at).find((one) => isOne(one, [trait]) && meet(one, place))
      return first === undefined
        ? []
        : [warning("twice", [first.name, place.name], single[trait], `Leave ${place.name} out.`)]
    })
  )

/** A guard that does not always run. */
const conditional = (places: ReadonlyArray<Place>): ReadonlyArray<Diagnostic> =>
  places.filter((place) => isOne(place, ["guard"])).flatMap(({ conditions, name }) =>
    conditions.flatMap(({ known, label, routes }): ReadonlyArray<Diagnostic> => {
      if (!known) {
        return [warning(
          "guard-by-function",
          [name],
          `A function decides by the request whether it runs (${label}). Should that read a header, whoever sends the ` +
            "header passes (CVE-2025-29927).",
          "Use forRoutes or exceptRoutes, or a condition of Middleware.reading, which is not shown the headers."
        )]
      }
      return routes === undefined ? [] : [{
        code: "guard-with-routes",
        severity: "note",
        members: [name],
        reason: `It does not run for all requests: ${label} ${routes.join(", ")}.`,
        remedy: "See that this is what you mean."
      }]
    })
  )
