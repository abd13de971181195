import type { Snapshot } from "./snapshot.js"
export const toText = (s: Snapshot): string => s.title
export const toJson = (s: Snapshot): string => JSON.stringify(s)
