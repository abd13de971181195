/** What becomes of an entry: the rules of the port, for stores that decide in this process. */
import type { Entry, Stored, Touch } from "../SessionStore.js"

export const created = ({ createdAt, endsAt, expiresAt, owner, payload, touchedAt }: Entry): Stored => ({
  payload,
  owner,
  createdAt,
  touchedAt,
  expiresAt,
  endsAt,
  version: 1,
  superseded: false
})

/** The same object, if its use is not to be noted. */
export const used = <A extends Stored>(entry: A, now: number, touch: Touch | undefined): A =>
  touch !== undefined && !entry.superseded && now - entry.touchedAt >= touch.every
    ? { ...entry, touchedAt: now, expiresAt: Math.min(now + touch.idle, entry.endsAt) }
    : entry

/** Whether somebody who has seen that version may write. */
export const isOpen = (entry: Stored, version: number): boolean => !entry.superseded && entry.version === version

export const saved = <A extends Stored>(
  entry: A,
  { expiresAt, payload, touchedAt }: Pick<Entry, "payload" | "touchedAt" | "expiresAt">
): A => ({ ...entry, payload, touchedAt, expiresAt, version: entry.version + 1 })

export const superseded = <A extends Stored>(entry: A, until: number): A => ({
  ...entry,
  expiresAt: Math.min(until, entry.expiresAt),
  superseded: true
})

export interface Epoch {
  readonly number: number
  readonly expiresAt: number
}

export const advanced = (epoch: Epoch | undefined, expiresAt: number): Epoch => ({
  number: (epoch?.number ?? 0) + 1,
  expiresAt: Math.max(expiresAt, epoch?.expiresAt ?? 0)
})
