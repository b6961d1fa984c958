"""The pages on a port: uvicorn in a thread of its own. It installs no signal handler, so the main thread keeps them.

The port is bound before the thread starts: a taken one is a sentence here and now, never a hang.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import uvicorn
from starlette.types import ASGIApp

from reconciler.errors import UserError

START_TIMEOUT_S, STOP_TIMEOUT_S = 20.0, 3


class WebServer:
    """One bound port, which answers for the block of `serving`."""

    def __init__(
        self, *, host: str, port: int, tls_certificate_file: Path | None = None, tls_key_file: Path | None = None
    ) -> None:
        """Bind; port 0 takes a free one. Raises UserError when it cannot be bound."""
        self._certificate, self._key = tls_certificate_file, tls_key_file
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
            self._socket.listen(128)  # only a port that is listened on is taken for the next who wants it
        except OSError as error:
            self._socket.close()
            why = error.strerror or error
            raise UserError(f"[web] cannot listen on {host} port {port}: {why}", exit_code=1) from None
        self.port: int = self._socket.getsockname()[1]
        self._failed: BaseException | None = None

    @contextmanager
    def serving(self, app: ASGIApp) -> Iterator[None]:
        """Answer with this application. Raises UserError when the certificate cannot be used or nothing starts."""
        config = uvicorn.Config(
            app,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # X-Forwarded-For is judged by `trust.client_address`
            server_header=False,
            timeout_graceful_shutdown=STOP_TIMEOUT_S,
            ssl_certfile=self._certificate,
            ssl_keyfile=self._key,
        )
        try:
            config.load()
        except (OSError, ValueError) as error:
            raise UserError(f"[web] the TLS certificate or its key cannot be used: {error}") from None
        server = uvicorn.Server(config)
        thread = threading.Thread(target=self._run, args=(server,), name="web", daemon=True)
        thread.start()
        try:
            self._await(server, thread)
            yield
        finally:
            server.should_exit = True
            thread.join(STOP_TIMEOUT_S + 2)

    def close(self) -> None:
        """Give the port back; a second call does nothing."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _await(self, server: uvicorn.Server, thread: threading.Thread) -> None:
        waited = threading.Event()
        for _ in range(int(START_TIMEOUT_S / 0.01)):
            if server.started:
                return
            if not thread.is_alive():
                break
            waited.wait(0.01)
        raise UserError(f"[web] the pages did not start ({type(self._failed).__name__})", exit_code=1)

    def _run(self, server: uvicorn.Server) -> None:
        try:
            asyncio.run(server.serve(sockets=[self._socket]))
        except BaseException as failed:  # uvicorn ends a failed start with SystemExit
            self._failed = failed
