/** What computing a password hash takes, and how much of it a stored one may ask for. */

export interface Cost {
  /** In bytes. */
  readonly memory: number
  /** How often it is gone over. */
  readonly passes: number
}

const MiB = 1024 * 1024

/** Whether a hash asks for more than 128 MiB or than to go over 512 MiB, and for more than the parameters of its layer. */
export const isExcessive = (asked: Cost, own: Cost): boolean =>
  asked.memory > Math.max(own.memory, 128 * MiB) ||
  asked.memory * asked.passes > Math.max(own.memory * own.passes, 512 * MiB)

/** Throws unless it is a whole number within bounds, naming it. */
export const whole = (place: string, option: string, value: number, min: number, max: number): number => {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return value
  throw new RangeError(`${place}: ${option} is ${value}: write a whole number from ${min} to ${max}`)
}
