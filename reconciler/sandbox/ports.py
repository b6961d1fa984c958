"""Any set of services on loopback ports over TLS, one port each; it knows nothing of what they answer.

Ports are bound before a thread starts: a taken port is an OSError here and now, and the addresses are known at once.
uvicorn runs in one thread of its own, never the main one, so it installs no signal handler. `stop` closes the ports
and waits, a few seconds at most, for the requests in flight.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import uvicorn

from reconciler.sandbox.asgi import Adapter, Connections, Service

LOOPBACK = "127.0.0.1"
THREADS_MAX = 16  # requests at work at a time, over all ports
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5


class Ports:
    """Services by name, each on its own port; `urls` holds `https://127.0.0.1:PORT` by the same names."""

    def __init__(self, services: Mapping[str, Service], *, tls: ssl.SSLContext, port: int = 0) -> None:
        """Bind. With `port` the services take it and the ones after it, in the mapping's order; 0 takes free ports.

        Raises OSError when a port is taken or not allowed; none stays bound then.
        """
        self._sockets: list[socket.socket] = []
        try:
            for n in range(len(services)):
                self._sockets.append(_bind(port + n if port else 0))
        except OSError:
            self._close_sockets()
            raise
        numbers = [bound.getsockname()[1] for bound in self._sockets]
        self.urls = {name: f"https://{LOOPBACK}:{number}" for name, number in zip(services, numbers, strict=True)}
        self._pool = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="sandbox")
        self._servers = [_server(service, self._pool, tls) for service in services.values()]
        self._thread = threading.Thread(target=self._run, name="sandbox-ports", daemon=True)
        self._failed: BaseException | None = None

    def start(self) -> None:
        """Return once every port answers. Raises RuntimeError when that does not happen."""
        self._thread.start()
        waited = threading.Event()
        for _ in range(int(START_TIMEOUT_S / 0.01)):
            if all(server.started for server in self._servers):
                return
            if not self._thread.is_alive():
                break
            waited.wait(0.01)
        self.stop()
        raise RuntimeError("the sandbox did not start to serve") from self._failed

    def stop(self) -> None:
        """Close the ports; a second call does nothing."""
        for server in self._servers:
            server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(2 * STOP_TIMEOUT_S)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._close_sockets()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        async def serve_all() -> None:
            pairs = zip(self._servers, self._sockets, strict=True)
            await asyncio.gather(*(server.serve(sockets=[bound]) for server, bound in pairs))

        try:
            asyncio.run(serve_all())
        except BaseException as failed:  # uvicorn ends a failed start with SystemExit
            self._failed = failed

    def _close_sockets(self) -> None:
        for bound in self._sockets:
            bound.close()


def _bind(port: int) -> socket.socket:
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it on, each answer waits 40 ms.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((LOOPBACK, port))
    except (OSError, OverflowError) as taken:
        bound.close()
        number = getattr(taken, "errno", None) or errno.EINVAL
        raise OSError(number, f"{os.strerror(number)} ({LOOPBACK}:{port})") from taken
    return bound


def _server(service: Service, pool: ThreadPoolExecutor, tls: ssl.SSLContext) -> uvicorn.Server:
    connections = Connections()
    config = uvicorn.Config(
        Adapter(service, threads=pool, connections=connections),
        http=connections.protocol(),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,  # the date is the world's, not the machine's
        ssl_context_factory=lambda _config, _default: tls,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=STOP_TIMEOUT_S,
    )
    return uvicorn.Server(config)
