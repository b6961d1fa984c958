"""The pages on a port: uvicorn in a thread of its own. It installs no signal handler, so the main thread keeps them.

The port is bound before the thread starts: a taken one is a sentence here and now, never a hang.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import uvicorn
from starlette.types import ASGIApp

from reconciler.errors import UserError

START_TIMEOUT_S, STOP_TIMEOUT_S = 20.0, 3


class WebServer:
    """One listening port; a context manager that closes it."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str,
        port: int,
        tls_certificate_file: Path | None = None,
        tls_key_file: Path | None = None,
    ) -> None:
        """Bind; port 0 takes a free one. Raises UserError when it cannot be bound or the certificate be read."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise UserError(
                f"[web] cannot listen on {host} port {port}: {error.strerror or error}", exit_code=1
            ) from None
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            app,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # X-Forwarded-For is judged by `trust.client_address`
            server_header=False,
            timeout_graceful_shutdown=STOP_TIMEOUT_S,
            ssl_certfile=tls_certificate_file,
            ssl_keyfile=tls_key_file,
        )
        try:
            config.load()
        except (OSError, ValueError) as error:
            self._socket.close()
            raise UserError(f"[web] the TLS certificate or its key cannot be used: {error}") from None
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._failed: BaseException | None = None

    def start(self) -> None:
        """Return once the port answers. Raises UserError when that does not happen."""
        self._thread.start()
        waited = threading.Event()
        for _ in range(int(START_TIMEOUT_S / 0.01)):
            if self._server.started:
                return
            if not self._thread.is_alive():
                break
            waited.wait(0.01)
        self.stop()
        raise UserError(f"[web] the pages did not start ({type(self._failed).__name__})", exit_code=1)

    def stop(self) -> None:
        """Close the port, waiting at most a few seconds for what is under way; a second call does nothing."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S + 2)
        self._socket.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._server.serve(sockets=[self._socket]))
        except BaseException as failed:  # uvicorn ends a failed start with SystemExit
            self._failed = failed
