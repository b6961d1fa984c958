"""The SMTP server: sockets, lines and TLS around `conversation`. One thread a connection, loopback only.

Bounded on purpose: the length of a line, the size of a message, the silence of a client, the number of connections.
What a client sent ahead of TLS is thrown away (RFC 3207 section 6).
"""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from reconciler.sandbox.mail.conversation import Conversation, Next
from reconciler.sandbox.ports import LOOPBACK
from reconciler.sandbox.world import World

LINE_BYTES_MAX = 16_384  # RFC 4954 wants 12 288 for AUTH
SILENCE_S = 60.0
CONNECTIONS_MAX = 16


class SmtpServer:
    """A server on a loopback port; `port` is known once it is made. A context manager that closes it."""

    def __init__(
        self, world: Callable[[], World], *, tls: ssl.SSLContext, port: int = 0, on_write: Callable[[], None]
    ) -> None:
        """Bind. `world` is asked once a connection. Raises OSError when the port is taken."""
        places = threading.BoundedSemaphore(CONNECTIONS_MAX)

        class Handler(_Handler):
            def handle(self) -> None:
                with places:
                    self.converse(Conversation(world()), tls, on_write)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that goes away is no news."""

        self._server = Server((LOOPBACK, port), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="sandbox-smtp", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Close the port; a second call does nothing."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Handler(socketserver.BaseRequestHandler):
    def converse(self, conversation: Conversation, tls: ssl.SSLContext, on_write: Callable[[], None]) -> None:
        """Read and answer until either side has had enough."""
        connection: socket.socket = self.request
        connection.settimeout(SILENCE_S)
        reader = connection.makefile("rb")
        reply, then = conversation.greeting()
        with suppress(OSError):
            while True:
                connection.sendall(reply.encode() + b"\r\n")
                if then is Next.END:
                    break
                if then is Next.TLS:
                    reader.close()
                    connection = tls.wrap_socket(connection, server_side=True)
                    reader = connection.makefile("rb")
                    conversation.secured()
                    then = Next.LINE
                if then is Next.DATA:
                    reply, then = conversation.message(_message(reader, conversation.size_max))
                    on_write()
                    continue
                line = reader.readline(LINE_BYTES_MAX + 1)
                if not line:
                    break
                if len(line) > LINE_BYTES_MAX:
                    reply, then = "500 5.5.2 Line too long", Next.END
                    continue
                reply, then = conversation.line(line.decode("utf-8", "replace").rstrip("\r\n"))
        reader.close()
        with suppress(OSError):
            connection.close()


def _message(reader: Any, size_max: int) -> bytes | None:
    """A message up to its lone dot, doubled dots undone; None when it was too large, and was read and dropped.

    Raises:
        ConnectionError: the client went away in the middle.
    """
    lines: list[bytes] = []
    size = 0
    begins = True
    while True:
        line: bytes = reader.readline(LINE_BYTES_MAX)
        if not line:
            raise ConnectionError("the client went away within a message")
        if begins and line.rstrip(b"\r\n") == b".":
            return b"".join(lines) if size <= size_max else None
        kept = line[1:] if begins and line.startswith(b".") else line
        begins = line.endswith(b"\n")
        size += len(kept)
        if size <= size_max:
            lines.append(kept)
