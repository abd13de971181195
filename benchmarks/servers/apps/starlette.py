"""The application on Starlette and uvicorn.

    python3 starlette.py <variant> | versions
"""
import json
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
from starlette.routing import Route

HOSTS = ["api.example.com", "www.example.com", "localhost"]
ORIGINS = ["https://app.example.com", "https://admin.example.com"]
PROBLEM = {"content-type": "application/problem+json", "cache-control": "no-store"}
SECRET = "of these benchmarks, and of nothing else"
ISSUER = "https://login.example.com"
AUDIENCE = "https://api.example.com"
ABSENT = b'{"title":"Unauthorized","status":401,"detail":"Credentials are required"}'
INVALID = b'{"title":"Unauthorized","status":401,"detail":"The credentials are not good"}'
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
    return Starlette(
        routes=routes,
        exception_handlers={404: not_found, UserLocked: user_locked},
        middleware=([Middleware(AccessLog)] if variant == "logged" else [])
        + [
            Middleware(ServerTiming),
            Middleware(RequestId),
            Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS),
            Middleware(
                CORSMiddleware,
                allow_origins=ORIGINS,
                allow_credentials=True,
                expose_headers=["x-request-id", "server-timing"],
                allow_methods=["GET", "HEAD", "POST", "DELETE"],
                allow_headers=["authorization", "x-requested-with"],
                max_age=600,
            ),
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
    # proxy headers are off: no proxy is trusted
    config = uvicorn.Config(
        application(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
    )
    uvicorn.Server(config).run(sockets=[listener])
