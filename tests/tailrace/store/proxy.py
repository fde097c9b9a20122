"""A proxy on loopback in front of a real store, which counts requests and misbehaves as told."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

# Answers in the store's stead; None lets the request through.
Misbehaviour = Callable[[web.Request, str, Any], Awaitable[web.StreamResponse | None]]


class Proxy:
    """Forwards to `upstream`; `asked` has every request as (operation, body)."""

    def __init__(self, upstream: str, misbehave: Misbehaviour | None = None) -> None:
        self.upstream = upstream
        self.misbehave = misbehave
        self.asked: list[tuple[str, Any]] = []

    @property
    def counts(self) -> Counter[str]:
        return Counter(operation for operation, _ in self.asked)

    async def __aenter__(self) -> "Proxy":
        app = web.Application(client_max_size=1 << 24)
        app.router.add_post("/", self._handle)
        self._session = aiohttp.ClientSession()
        self._server = TestServer(app)
        await self._server.start_server()
        self.url = f"http://127.0.0.1:{self._server.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()
        await self._session.close()

    async def forward(self, operation: str, request: Any) -> Any:
        """The real store's answer as JSON."""
        headers = {"X-Amz-Target": f"DynamoDB_20120810.{operation}", "Content-Type": "application/x-amz-json-1.0"}
        headers |= {"Authorization": "AWS4-HMAC-SHA256 Credential=tailrace/20260101/us-east-1/dynamodb/aws4_request"}
        headers["Authorization"] += ", SignedHeaders=host, Signature=0"
        headers["X-Amz-Date"] = "20260101T000000Z"
        async with self._session.post(self.upstream, data=json.dumps(request), headers=headers) as answer:
            return await answer.json(content_type=None)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        operation = request.headers["X-Amz-Target"].partition(".")[2]
        raw = await request.read()
        body = json.loads(raw)
        self.asked.append((operation, body))
        if self.misbehave is not None:
            answer = await self.misbehave(request, operation, body)
            if answer is not None:
                return answer
        kept = {name: request.headers[name] for name in ("X-Amz-Target", "X-Amz-Date", "Authorization", "Content-Type")}
        async with self._session.post(self.upstream, data=raw, headers=kept) as upstream:
            return web.Response(
                status=upstream.status, body=await upstream.read(), content_type="application/x-amz-json-1.0"
            )
