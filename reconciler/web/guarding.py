"""What holds for every answer: the headers, a limit on what is sent to us, and that no error shows its insides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_MAX = 64 * 1024  # bytes; a decision with the longest reason has a third of it


class Guarding:
    """Wraps the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        headers: Mapping[str, str],
        too_large: Callable[[str], Response],
    ) -> None:
        self._app, self._headers, self._too_large = app, dict(headers), too_large

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def guarded(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        body = await _body(receive)
        if body is None:
            await self._too_large(scope["path"])(scope, receive, guarded)
            return
        try:
            await self._app(scope, _once(body, receive), guarded)
        except Exception:
            if not has_begun:
                raise
            # The application has answered with its page of what is broken, and raises so that a server may log it.


async def _body(receive: Receive) -> bytes | None:
    """The whole body, None when it is more than BODY_MAX."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        part = message.get("body", b"")
        size += len(part)
        if size > BODY_MAX:
            return None
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _once(body: bytes, receive: Receive) -> Receive:
    is_given = False

    async def replay() -> dict[str, Any]:
        nonlocal is_given
        if is_given:
            return dict(await receive())
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
