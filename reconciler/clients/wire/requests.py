"""Requests, put together once. httpx copies the headers of a request five times on its way out; here they are one list.

What leaves is byte for byte what `httpx.Client.build_request` would have sent, the order of headers included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_OURS = frozenset({"host", "content-length", "transfer-encoding"})  # told here, unless a request brings its own


class Requests:
    """Builds the requests of one client. It has no cookies, parameters or base address of its own. Safe for threads."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._own = http.headers.raw
        self._taken = _OURS | frozenset(name.lower() for name in http.headers)
        self._timeout = http.timeout.as_dict()

    def build(
        self,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        *,
        content: bytes | None,
        extensions: Mapping[str, Any],
    ) -> httpx.Request:
        """A request with the client's own headers and these; a name that both have is the request's."""
        more = {**extensions, "timeout": self._timeout}
        if not self._taken.isdisjoint(map(str.lower, headers)):
            return self._http.build_request(method, url, headers=headers, content=content, extensions=more)
        listed = [
            (b"Host", url.netloc),
            *self._own,
            *((k.encode("ascii"), v.encode("ascii")) for k, v in headers.items()),
        ]
        if content:
            listed.append((b"Content-Length", b"%d" % len(content)))
        elif method in _WITH_BODY:
            listed.insert(1, (b"Content-Length", b"0"))
        request = httpx.Request(method, url, headers=listed, stream=httpx.ByteStream(content or b""), extensions=more)
        request.read()
        return request
