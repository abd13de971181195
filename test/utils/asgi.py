"""Runs ASGI apps: for each of those that come in as JSON, its requests one after the other, with its cookies kept."""
import asyncio
import json
import sys
from urllib.parse import unquote, urlsplit


async def start(app, state):
    """Begins the lifespan of an app that has one."""
    started = asyncio.get_running_loop().create_future()
    events = [{"type": "lifespan.startup"}]

    async def receive():
        return events.pop() if events else await asyncio.Event().wait()

    async def send(message):
        if not started.done():
            started.set_result(message["type"])

    async def run():
        try:
            await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": state}, receive, send)
        finally:
            if not started.done():
                started.set_result("no lifespan")

    task = asyncio.ensure_future(run())
    await started
    return task


async def ask(app, request, cookies, state):
    url = urlsplit(request["url"])
    headers = {"host": url.netloc, **request["headers"]}
    if cookies:
        headers["cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    body = request["body"].encode()
    if body:
        headers["content-length"] = str(len(body))
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": request["method"], "root_path": "",
        "scheme": url.scheme, "path": unquote(url.path), "raw_path": url.path.encode(), "query_string": url.query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 50000), "server": (url.hostname, url.port or 80), "state": dict(state),
    }
    reply = {"status": 0, "headers": {}, "body": b""}
    events = [{"type": "http.request", "body": body, "more_body": False}]
    ended = asyncio.Event()

    async def receive():
        if events:
            return events.pop()
        await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if message["type"] == "http.response.start":
            reply["status"] = message["status"]
            for name, value in message["headers"]:
                name, value = name.decode(), value.decode()
                seen = reply["headers"].get(name)
                reply["headers"][name] = value if seen is None else f"{seen}, {value}"
                if name == "set-cookie":
                    key, _, rest = value.partition("=")
                    cookies[key] = rest.partition(";")[0]
        else:
            reply["body"] += message.get("body", b"")
            if not message.get("more_body", False):
                ended.set()

    try:
        await app(scope, receive, send)
    except Exception as error:
        # a server says so in its log; what the client had of it is in the reply
        reply["raised"] = repr(error)
    return {**reply, "body": reply["body"].decode("latin-1")}


async def main():
    replies = []
    for code, requests in json.load(sys.stdin):
        names = {"__name__": "app"}
        exec(compile(code, "<block>", "exec"), names)
        cookies, state = {}, {}
        task = await start(names["app"], state)
        replies.append([await ask(names["app"], request, cookies, state) for request in requests])
        task.cancel()
    sys.__stdout__.write(json.dumps(replies))


# what blocks print is theirs
sys.stdout = sys.stderr
asyncio.run(main())
