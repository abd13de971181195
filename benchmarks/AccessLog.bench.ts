import { Duration } from "effect"
import { AccessLog, Forwarded } from "effect-middleware"
import { bench, describe } from "vitest"

describe("AccessLog.policy", () => {
  const client = Forwarded.policy({ trust: "none" })({
    peer: "192.0.2.1",
    host: "example.com",
    target: "/",
    header: () => undefined
  })
  const entry: AccessLog.Entry = {
    method: "GET",
    path: "/users/7",
    query: "page=2&token=secret",
    route: "/users/:id",
    client,
    protocolVersion: "1.1",
    requestHeaders: { "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0" },
    status: 200,
    responseHeaders: {},
    bytes: 512,
    duration: Duration.nanos(12_345_678n),
    aborted: false,
    failed: false,
    refusal: undefined,
    fields: { "enduser.id": "u-7" }
  }
  const never = () => 1

  const decide = AccessLog.policy()
  bench("a line", () => void decide(entry, never))
  const hostile = { ...entry, path: "/\u001b\\".repeat(100), requestHeaders: { "user-agent": "\u009b".repeat(1000) } }
  bench("a line of texts to escape", () => void decide(hostile, never))
  const sampling = AccessLog.policy({ sample: 0.1 })
  bench("sampled away", () => void sampling(entry, never))
  const skipping = AccessLog.policy({ skip: ({ path }) => path === "/users/7" })
  bench("skipped", () => void skipping(entry, never))
  const full = AccessLog.policy({
    slow: "1 second",
    query: ["page"],
    requestHeaders: ["referer", "accept"],
    fields: ({ status }) => ({ "app.class": status })
  })
  bench("every option", () => void full(entry, never))
})
