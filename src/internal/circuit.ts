/**
 * Whether to ask a store that has failed. After some failures in a row nobody asks it for a while; then one does, and the others
 * wait for what becomes of that. Each time it fails again the while is twice as long.
 */
export interface Circuit {
  /** `"alone"` is for one at a time, who says what has become of it: `succeeded`, `failed` or `abandoned`. */
  readonly mayAsk: (now: number) => boolean | "alone"
  readonly succeeded: () => void
  readonly failed: (now: number) => void
  /** Nobody knows what has become of the question. */
  readonly abandoned: () => void
}

export interface Options {
  /** How many failures in a row. */
  readonly failures: number
  /** How long it is left alone first, and at most, in milliseconds. */
  readonly first: number
  readonly most: number
}

export const make = ({ failures, first, most }: Options): Circuit => {
  let failed = 0
  let pause = 0
  let closedUntil = 0
  let isAsking = false
  return {
    mayAsk: (now) => {
      if (failed < failures) return true
      if (isAsking || now < closedUntil) return false
      isAsking = true
      return "alone"
    },
    succeeded: () => {
      failed = pause = 0
      isAsking = false
    },
    failed: (now) => {
      failed++
      isAsking = false
      // those that were asked before it was left alone say nothing new
      if (failed < failures || now < closedUntil) return
      pause = Math.min(most, pause === 0 ? first : pause * 2)
      closedUntil = now + pause
    },
    abandoned: () => {
      isAsking = false
    }
  }
}
