/** The adapter for `ioredis` with its version 6. */
import { assert, it } from "@effect/vitest"
import * as Used from "ioredis"
import * as Six from "ioredis-6"
import { vi } from "vitest"
import { ioredis, redisSuite } from "./contracts/RedisContract.js"

vi.mock("ioredis", () => import("ioredis-6"))

it("has version 6", () => assert.strictEqual<unknown>(Used.Redis, Six.Redis))

redisSuite([{ ...ioredis, name: "ioredis 6" }])
