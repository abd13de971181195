/**
 * Whether to ask a store that has failed. After some failures in a row nobody asks it for a while; then one does, and the others
 * wait for what becomes of that. Each time it fails again the while is twice as long.
 */
export interface Circuit {
  /** `"alone"` is for one at a time: nobody else asks until it is known what has become of it, or for another while. */
  readonly mayAsk: (now: number) => boolean | "alone"
  readonly succeeded: () => void
  readonly failed: (now: number, alone: boolean) => void
  /** Nobody will know what has become of the one that asked alone. */
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
  let until = 0
  // a clock that was set back keeps nobody waiting for longer
  const isLeftAlone = (now: number) => now < until && now >= until - pause
  return {
    mayAsk: (now) => {
      if (failed < failures) return true
      if (isLeftAlone(now)) return false
      until = now + pause
      return "alone"
    },
    succeeded: () => {
      failed = pause = until = 0
    },
    failed: (now, alone) => {
      failed++
      // those that were asked before it was left alone say nothing new
      if (failed < failures || (!alone && isLeftAlone(now))) return
      pause = Math.min(most, pause === 0 ? first : pause * 2)
      until = now + pause
    },
    abandoned: () => {
      until = 0
    }
  }
}
