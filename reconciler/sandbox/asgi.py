"""From a service of the sandbox (`httpx.Request -> httpx.Response`) to an ASGI application for uvicorn.

Services are synchronous and lock what they share themselves, so each request runs on a thread of a bounded pool:
requests that arrive together are judged together, which is how two licence writes come to meet the tenant's lock.
A service that raises `httpx.TransportError` wants the caller to see a broken connection (a reply that was lost): the
socket is then closed without an answer, as it is for a body past any documented size. Any other exception is a defect
of the sandbox and answers 500 with its name.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import Executor
from typing import Any

import httpx
from uvicorn.protocols.http.h11_impl import H11Protocol

Service = Callable[[httpx.Request], httpx.Response]
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_BYTES_MAX = 20 * 1024 * 1024  # servicenow.md section 11: the largest documented body is 10 MB
# What belongs to one connection and is set by the server itself.
HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"upgrade"})

log = logging.getLogger(__name__)


class Connections:
    """The open sockets of one server, so that a fault can cut the one a request came by."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], asyncio.Transport] = {}

    def protocol(self) -> type[asyncio.Protocol]:
        """uvicorn's own HTTP/1.1 protocol, which also keeps this register."""
        register = self._open

        class RegisteredProtocol(H11Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                super().connection_made(transport)
                if self.client is not None:
                    register[self.client] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                if self.client is not None:
                    register.pop(self.client, None)
                super().connection_lost(exc)

            def shutdown(self) -> None:
                # A polite TLS goodbye waits for the other side, and an idle client does not listen.
                if self.cycle is None or self.cycle.response_complete:
                    self.transport.abort()
                else:
                    super().shutdown()

        return RegisteredProtocol

    async def cut(self, client: tuple[str, int]) -> None:
        """Close the socket of `client` at once, answer or no answer."""
        transport = self._open.get(client)
        if transport is None:
            return
        transport.abort()
        while client in self._open:  # connection_lost runs some turns of the loop later
            await asyncio.sleep(0)


class Adapter:
    """One service as an ASGI application."""

    def __init__(self, service: Service, *, threads: Executor, connections: Connections) -> None:
        self._service = service
        self._threads = threads
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = await _body(receive)
        if body is None:
            await self._connections.cut(tuple(scope["client"]))
            return
        request = _request(scope, body)
        try:
            response = await asyncio.get_running_loop().run_in_executor(self._threads, self._service, request)
        except httpx.TransportError:
            await self._connections.cut(tuple(scope["client"]))
            return
        except Exception as defect:
            log.exception("the sandbox failed to answer %s %s", request.method, request.url.path)
            response = httpx.Response(500, text=f"sandbox defect: {type(defect).__name__}")
        await _answer(send, response)


async def _body(receive: Receive) -> bytes | None:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        part = message.get("body", b"")
        size += len(part)
        if size > BODY_BYTES_MAX:
            return None
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


def _request(scope: Scope, body: bytes) -> httpx.Request:
    headers = [(name, value) for name, value in scope["headers"] if name != b"transfer-encoding"]
    host = next((value for name, value in headers if name == b"host"), b"127.0.0.1").decode("latin-1")
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    url = httpx.URL(f"{scope['scheme']}://{host}").copy_with(raw_path=target)
    return httpx.Request(scope["method"], url, headers=headers, content=body)


async def _answer(send: Send, response: httpx.Response) -> None:
    content = response.read()
    headers = [(name.lower(), value) for name, value in response.headers.raw if name.lower() not in HOP_BY_HOP]
    if response.status_code not in {204, 304}:
        headers.append((b"content-length", str(len(content)).encode()))
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if response.status_code in {204, 304} else content})
