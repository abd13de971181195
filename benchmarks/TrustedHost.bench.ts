import { TrustedHost } from "effect-middleware"
import { bench, describe } from "vitest"

describe("TrustedHost.policy", () => {
  const decide = TrustedHost.policy({ hosts: ["example.com", "*.example.com"] })
  bench("exact", () => void decide({ host: "example.com", target: "/" }))
  bench("wildcard, with a port", () => void decide({ host: "a.example.com:8443", target: "/" }))
  bench("authority in the target", () => void decide({ host: "example.com", target: "http://example.com/" }))
  bench("untrusted", () => void decide({ host: "evil.test", target: "/" }))
  bench("malformed", () => void decide({ host: "example.com:80:80", target: "/" }))

  const redirecting = TrustedHost.policy({ hosts: ["example.com", "www.example.com"], canonical: "apex" })
  bench("redirected", () => void redirecting({ host: "www.example.com", target: "/a?b=c" }))

  const many = TrustedHost.policy({ hosts: ["example.com", ...Array.from({ length: 99 }, (_, i) => `h${i}.test`)] })
  bench("one of 100 hosts", () => void many({ host: "h98.test", target: "/" }))
  const subdomains = TrustedHost.policy({
    hosts: ["*.example.com", ...Array.from({ length: 99 }, (_, i) => `*.h${i}.test`)]
  })
  bench("under the last of 100 wildcards", () => void subdomains({ host: "a.h98.test", target: "/" }))
})
