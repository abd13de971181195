import { timingSafeEqual } from "node:crypto"

/** Whether two texts are one, in a time that does not depend on where they differ, nor on how long the given one is. */
export const isSame = (given: string, expected: string): boolean => {
  const [bytes, wanted] = [Buffer.from(given), Buffer.from(expected)]
  const isAsLong = bytes.length === wanted.length
  return timingSafeEqual(isAsLong ? bytes : wanted, wanted) && isAsLong
}
