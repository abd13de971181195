/** A real nginx, as a proxy that caches. */
import { describe } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import { execFileSync, spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import { freePorts } from "./redis.js"

const isMissing = (() => {
  try {
    execFileSync("nginx", ["-v"], { stdio: "ignore" })
    return false
  } catch {
    return true
  }
})()

/** A suite with nginx. Without it, it is skipped by a name that says what to install; in CI it fails. */
export const describeNginx = (name: string, tests: () => void) =>
  describe.skipIf(isMissing && process.env["CI"] !== "true")(
    isMissing ? `${name} (apt-get install -y nginx)` : name,
    { timeout: 60_000 },
    tests
  )

/** In front of a server; gives its own port. `X-Cache` says what nginx has made of a request. */
export const makeNginx = (upstream: number) =>
  Effect.gen(function*() {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "nginx-"))),
      (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true, force: true }))
    )
    const [port = 0] = yield* freePorts(1)
    Fs.writeFileSync(Path.join(folder, "nginx.conf"), configOf(folder, port, upstream))
    yield* Effect.acquireRelease(
      Effect.sync(() => spawn("nginx", ["-p", folder, "-c", "nginx.conf", "-e", "stderr"], { stdio: "ignore" })),
      (child) =>
        Effect.async<void>((resume) => {
          if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
          child.once("exit", () => resume(Effect.void))
          child.kill("SIGTERM")
        })
    )
    yield* Effect.retry(connect(port), { schedule: Schedule.spaced("20 millis"), times: 500 })
    return port
  })

const connect = (port: number) =>
  Effect.async<void, Error>((resume) => {
    const socket = Net.connect(port, "127.0.0.1", () => {
      socket.destroy()
      resume(Effect.void)
    })
    socket.on("error", (error) => resume(Effect.fail(error)))
  })

const configOf = (folder: string, port: number, upstream: number) => `
daemon off;
master_process off;
worker_processes 1;
pid ${folder}/nginx.pid;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  proxy_cache_path ${folder}/cache keys_zone=cache:1m;
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://127.0.0.1:${upstream};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Connection "";
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_cache cache;
      proxy_cache_revalidate on;
      add_header X-Cache $upstream_cache_status always;
    }
  }
}
`
