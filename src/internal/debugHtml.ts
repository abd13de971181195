import type { Snapshot } from "./snapshot.js"
export const toHtml = (s: Snapshot, nonce: string): string => `<!doctype html><title>${s.title}${nonce}</title>`
export const contentSecurityPolicy = (nonce: string): string => `default-src 'none'; style-src 'nonce-${nonce}'`
