import { assert } from "@effect/vitest"

const size = 100_000

/** 100 KB texts that make a parser which backtracks, or which looks for the end again and again, take seconds. */
export const hostile: ReadonlyArray<readonly [what: string, text: string]> = [
  ..." \t,;:\"\\=[]./a0_-%@*\u00a0\u00e9".split("").map((char) => [JSON.stringify(char), char.repeat(size)] as const),
  ...[
    "a,",
    "a, ",
    ", ",
    "\" ",
    "\"\\",
    "\\\"",
    "a=\"",
    "a=b;",
    "a=b,",
    "for=",
    "[:",
    "1.",
    "a.",
    ";;",
    "; ",
    " x",
    "1:",
    "::"
  ]
    .map((part) => [JSON.stringify(part), part.repeat(size / part.length)] as const),
  ["one long quoted-string", `for="${"a".repeat(size)}"`],
  ["one long escape", `for="${"\\a".repeat(size / 2)}`],
  ["blanks before a wrong end", `a${" ".repeat(size)}x`],
  ["parameters of one element", Array.from({ length: size / 8 }, (_, index) => `p${index}=1`).join(";")]
]

/** A quadratic parser takes seconds for each; the best of three rounds, so that a pause of the machine is none. */
export const assertLinear = (parse: (text: string) => unknown): void => {
  for (const [what, text] of hostile) {
    const rounds = [0, 1, 2].map(() => {
      const start = performance.now()
      parse(text)
      return performance.now() - start
    })
    assert.isBelow(Math.min(...rounds), 500, `100 KB of ${what}`)
  }
}
