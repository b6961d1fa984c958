"""A whole request has one time limit, however slowly the bytes drip.

httpx limits each read, so a server that sends one byte a minute can hold a request for ever. Every socket step
below is given what is left of the request's limit (request extension `deadline_s`, seconds) when that is less.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

from reconciler.clock import Clock

# What the kernel could not deliver for so long, it never does (tcp(7), TCP_USER_TIMEOUT; Linux). Else a write whose
# sender gave up would leave its machine when the network is back, long after the lease it was sent under.
UNDELIVERED_MAX_S = 20
_GIVES_UP = (
    ((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNDELIVERED_MAX_S * 1000),)
    if hasattr(socket, "TCP_USER_TIMEOUT")
    else ()
)


class _Left(threading.local):
    """When the request of this thread is over, on the stopwatch. A synchronous request never changes threads."""

    ends_at: float | None = None


class DeadlineTransport(httpx.HTTPTransport):
    """Sockets as httpx has them, with the limit of a whole request. HTTP/1.1, nothing from the environment."""

    def __init__(self, *, verify: ssl.SSLContext | bool, limits: httpx.Limits, stopwatch: Clock) -> None:
        super().__init__(
            verify=verify,
            limits=limits,
            trust_env=False,
            http1=True,
            http2=False,
            retries=0,
            socket_options=_GIVES_UP,
        )
        self._left, self._stopwatch = _Left(), stopwatch
        # httpx has no argument for this (0.28, pinned below 0.29); the slow-drip test fails if it moves.
        pool: Any = self._pool
        pool._network_backend = _Backend(pool._network_backend, self._left, stopwatch)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        limit = request.extensions.get("deadline_s")
        self._left.ends_at = None if limit is None else self._stopwatch.monotonic() + float(limit)
        return super().handle_request(request)


def _less(timeout: float | None, left: _Left, stopwatch: Clock, over: type[Exception]) -> float | None:
    if left.ends_at is None:
        return timeout
    remaining = left.ends_at - stopwatch.monotonic()
    if remaining <= 0:
        raise over("the time limit of the whole request is over")
    return remaining if timeout is None else min(timeout, remaining)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, inner: httpcore.NetworkBackend, left: _Left, stopwatch: Clock) -> None:
        self._inner, self._left, self._stopwatch = inner, left, stopwatch

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        timeout = _less(timeout, self._left, self._stopwatch, httpcore.ConnectTimeout)
        stream = self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(stream, self._left, self._stopwatch)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        return self._inner.connect_unix_socket(path, timeout, socket_options)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, left: _Left, stopwatch: Clock) -> None:
        self._inner, self._left, self._stopwatch = inner, left, stopwatch

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _less(timeout, self._left, self._stopwatch, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _less(timeout, self._left, self._stopwatch, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        timeout = _less(timeout, self._left, self._stopwatch, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout), self._left, self._stopwatch)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
