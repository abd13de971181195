"""The application on Starlette and uvicorn.

    python3 starlette.py <variant> | versions
"""
import base64
import hashlib
import hmac
import json
import math
import os
import socket
import sys
import time
import uuid

# this file has the name of a module that it imports
sys.path.pop(0)

import httptools
import jwt
import starlette
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.requests import cookie_parser
from starlette.routing import Route

HOSTS = ["api.example.com", "www.example.com", "localhost"]
ORIGINS = ["https://app.example.com", "https://admin.example.com"]
PROBLEM = {"content-type": "application/problem+json", "cache-control": "no-store"}
SECRET = "of these benchmarks, and of nothing else"
ISSUER = "https://login.example.com"
AUDIENCE = "https://api.example.com"
ABSENT = b'{"title":"Unauthorized","status":401,"detail":"Credentials are required"}'
INVALID = b'{"title":"Unauthorized","status":401,"detail":"The credentials are not good"}'
TOO_MANY = b'{"title":"Too Many Requests","status":429,"detail":"There were too many requests"}'
NOT_FOUND = b'{"title":"Not Found","status":404}'
USER_LOCKED = b'{"type":"https://example.com/problems/user-locked","title":"User locked","status":409}'


def user(number):
    return {"id": number, "name": "Ada Lovelace", "email": "ada@example.com"}


def several(number):
    return [user(i + 1) for i in range(number)]


USERS = several(340)
FEW = several(18)
MANY = several(1700)
PIECE = "".join(f"{one['id']},{one['name']},{one['email']}\n" for one in several(1400)).ljust(65_536, "\n").encode()


class UserLocked(Exception):
    pass


class ServerTiming:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began = time.perf_counter()

        async def timed(message):
            if message["type"] == "http.response.start":
                took = (time.perf_counter() - began) * 1000
                MutableHeaders(scope=message)["server-timing"] = f"total;dur={took:.1f}"
            await send(message)

        await self.app(scope, receive, timed)


class RequestId:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        identifier = str(uuid.uuid4())
        scope.setdefault("state", {})["request_id"] = identifier

        async def identified(message):
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-request-id"] = identifier
            await send(message)

        await self.app(scope, receive, identified)


class Bearer:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def private(message):
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["cache-control"] = "private"
                headers.add_vary_header("Authorization")
            await send(message)

        authorization = Headers(scope=scope).get("authorization")
        if authorization is None:
            return await refusal(ABSENT, 'Bearer realm="app"')(scope, receive, send)
        scheme, _, token = authorization.partition(" ")
        try:
            if scheme.lower() != "bearer":
                raise jwt.InvalidTokenError()
            scope.setdefault("state", {})["user"] = jwt.decode(
                token.strip(),
                SECRET,
                algorithms=["HS256"],
                issuer=ISSUER,
                audience=AUDIENCE,
                options={"require": ["iss", "aud", "exp"]},
            )
        except jwt.InvalidTokenError:
            return await refusal(INVALID, 'Bearer realm="app", error="invalid_token"')(scope, receive, send)
        await self.app(scope, receive, private)


def refusal(body, challenge):
    return Response(body, status_code=401, headers={**PROBLEM, "www-authenticate": challenge})


SECURITY = {
    "content-security-policy": "default-src 'self'; script-src 'self'; script-src-attr 'none'; style-src 'self'; "
    "img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'",
    "content-security-policy-report-only": "default-src 'self'; report-to csp",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "origin-agent-cluster": "?1",
    "permissions-policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "same-origin",
    "reporting-endpoints": 'csp="https://reports.example.com/csp"',
    "strict-transport-security": "max-age=31536000",
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
}


class SecurityHeaders:
    fields = [(name.encode(), value.encode()) for name, value in SECURITY.items()]

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def secured(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self.fields]
            await send(message)

        await self.app(scope, receive, secured)


class RateLimit:
    """A fixed window in a dict."""

    window = 86_400

    def __init__(self, app, limit):
        self.app = app
        self.limit = limit
        self.windows = {}

    def count(self, key):
        now = time.time()
        known = self.windows.get(key)
        if known is not None and known[1] > now:
            known[0] += 1
            return known
        if len(self.windows) >= 100_000:
            self.windows.clear()
        self.windows[key] = known = [1, now + self.window]
        return known

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        count, end = self.count(scope["client"][0])
        fields = {
            "x-ratelimit-limit": str(self.limit),
            "x-ratelimit-remaining": str(max(0, self.limit - count)),
            "x-ratelimit-reset": str(math.ceil(end)),
        }
        if count > self.limit:
            wait = str(math.ceil(end - time.time()))
            headers = {**PROBLEM, **fields, "retry-after": wait}
            return await Response(TOO_MANY, status_code=429, headers=headers)(scope, receive, send)
        raw = [(name.encode(), value.encode()) for name, value in fields.items()]

        async def limited(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *raw]
            await send(message)

        await self.app(scope, receive, limited)


SESSION_KEY = b"b1Zq7mJt0xWcR4uYp9LsEaKf2HgVd6Ni"
SESSION_LIFE = 1_209_600
VISITOR = {
    "name": "Ada Lovelace",
    "visits": 0,
    "email": "ada@example.com",
    "roles": ["reader", "editor"],
    "locale": "en-GB",
    "token": "qFz0bUuXc7mV1sKp3RjTgAd8LwNe5hYo2PiBx6Q",
    "seen": ["/", "/notes", "/notes/42", "/account"],
}


def signature(text):
    return base64.urlsafe_b64encode(hmac.digest(SESSION_KEY, text, hashlib.sha256)).rstrip(b"=")


class Session:
    """Signed by HMAC with SHA-256: Starlette's own is by `itsdangerous`, with SHA-1, and sets its cookie each time."""

    def __init__(self, cookie):
        self.cookie = cookie
        self.changed = None

    def read(self):
        if self.cookie is None:
            return None
        text, _, signed = self.cookie.encode().rpartition(b".")
        if not hmac.compare_digest(signature(text), signed):
            return None
        kept = json.loads(base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4)))
        return kept["visitor"] if kept["expires"] > time.time() else None

    def write(self, visitor):
        self.changed = visitor

    def cookies(self):
        kept = {"visitor": self.changed, "expires": time.time() + SESSION_LIFE}
        text = base64.urlsafe_b64encode(json.dumps(kept, separators=(",", ":")).encode()).rstrip(b"=")
        value = (text + b"." + signature(text)).decode()
        return f"session={value}; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age={SESSION_LIFE}"


class Sessions:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        cookie = Headers(scope=scope).get("cookie")
        session = Session(None if cookie is None else cookie_parser(cookie).get("session"))
        scope.setdefault("state", {})["session"] = session

        async def kept(message):
            if message["type"] == "http.response.start" and session.changed is not None:
                MutableHeaders(scope=message).append("set-cookie", session.cookies())
            await send(message)

        await self.app(scope, receive, kept)


def visits_of(request):
    visitor = request.state.session.read()
    return 0 if visitor is None else visitor["visits"]


def me(request, visits):
    subject = int(request.state.user["sub"])
    return JSONResponse({**user(subject), "visits": visits}, headers={"vary": "Cookie"})


async def read_me(request):
    return me(request, visits_of(request))


async def read_team(request):
    return JSONResponse({"visits": visits_of(request), "users": USERS}, headers={"vary": "Cookie"})


async def visit(request):
    session = request.state.session
    visitor = session.read() or VISITOR
    changed = {**visitor, "visits": visitor["visits"] + 1}
    session.write(changed)
    return me(request, changed["visits"])


class AccessLog:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began = time.perf_counter()
        status = 500

        async def watched(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        await self.app(scope, receive, watched)
        line = {
            "time": time.time(),
            "level": "info",
            "id": scope["state"]["request_id"],
            "client": scope["client"][0],
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "duration": time.perf_counter() - began,
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


async def read_users(request):
    return JSONResponse(USERS)


async def read_few(request):
    return JSONResponse(FEW)


async def read_many(request):
    return JSONResponse(MANY)


async def export(request):
    async def pieces():
        for _ in range(160):
            yield PIECE

    return StreamingResponse(pieces(), media_type="text/csv")


async def read_user(request):
    number = request.path_params["id"]
    if number == 13:
        raise UserLocked()
    return JSONResponse(user(number))


async def not_found(request, error):
    return Response(NOT_FOUND, status_code=404, headers=PROBLEM)


async def user_locked(request, error):
    return Response(USER_LOCKED, status_code=409, headers=PROBLEM)


CORS = Middleware(
    CORSMiddleware,
    allow_origins=ORIGINS,
    allow_credentials=True,
    expose_headers=["x-request-id", "server-timing"],
    allow_methods=["GET", "HEAD", "POST", "DELETE"],
    allow_headers=["authorization", "x-requested-with"],
    max_age=600,
)


def whole(limit):
    return Starlette(
        routes=[
            Route("/me", read_me),
            Route("/me/team", read_team),
            Route("/me/visits", visit, methods=["POST"]),
        ],
        exception_handlers={404: not_found},
        middleware=[
            Middleware(ServerTiming),
            Middleware(RequestId),
            Middleware(SecurityHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS),
            CORS,
            Middleware(GZipMiddleware, minimum_size=1024, compresslevel=6),
            Middleware(RateLimit, limit=limit),
            Middleware(Sessions),
            Middleware(Bearer),
        ],
    )


def application(variant):
    routes = [
        Route("/users", read_users),
        Route("/users/{id:int}", read_user),
        Route("/few", read_few),
        Route("/many", read_many),
        Route("/export", export),
    ]
    if variant == "bare":
        return Starlette(routes=routes)
    if variant.startswith("whole"):
        return whole(5 if variant == "whole-refused" else 1_000_000_000)
    return Starlette(
        routes=routes,
        exception_handlers={404: not_found, UserLocked: user_locked},
        middleware=([Middleware(AccessLog)] if variant == "logged" else [])
        + [
            Middleware(ServerTiming),
            Middleware(RequestId),
            Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS),
            CORS,
        ]
        + ([Middleware(Bearer)] if variant == "auth" else [])
        + ([Middleware(GZipMiddleware, minimum_size=1024, compresslevel=6)] if variant == "compressed" else []),
    )


if sys.argv[1] == "versions":
    import importlib.metadata as metadata

    print(f"Python {sys.version.split()[0]}")
    for name in ["starlette", "uvicorn", "uvloop", "httptools", "PyJWT"]:
        print(f"{name} {metadata.version(name)}")
else:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    os.write(3, b"%d\n" % listener.getsockname()[1])
    # the proxy of the whole stack is trusted; else there is none
    config = uvicorn.Config(
        application(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=sys.argv[1].startswith("whole"),
        forwarded_allow_ips="127.0.0.1",
    )
    uvicorn.Server(config).run(sockets=[listener])
