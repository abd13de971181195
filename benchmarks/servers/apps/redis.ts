import { randomUUID } from "node:crypto"

export const url = process.env["REDIS_URL"] ?? ""

/** Of the keys of this process, which finds nothing that another has counted. */
export const prefix = `${randomUUID()}:`
