"""A certificate authority of the sandbox's own, kept in its state directory.

Clients that ship with Microsoft and ServiceNow refuse plain HTTP, so the loopback ports speak TLS. The authority is
made once and kept, so a client that was told `ca_file` stays configured over restarts; the server certificate is made
anew at each start and never touches the disk for longer than it takes to load it. The authority signs for loopback
names only in this program, yet whoever holds its key could sign anything: the key file is 0600, in a 0700 directory.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

HOSTS = ("127.0.0.1", "localhost", "::1")


class Authority:
    """The authority in `directory`: read when it is there, made when it is not."""

    def __init__(self, directory: Path) -> None:
        """Raises ValueError when the files are there and are no certificate and key."""
        import trustme  # clients of the ports need this module too, and not what makes certificates

        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.ca_file = directory / "sandbox-ca.pem"
        key_file = directory / "sandbox-ca.key"
        if self.ca_file.exists() and key_file.exists():
            try:
                self._ca = trustme.CA.from_pem(self.ca_file.read_bytes(), key_file.read_bytes())
            except ValueError as wrong:
                raise ValueError(
                    f"{self.ca_file} or {key_file.name} is damaged: delete both to have new ones"
                ) from wrong
            return
        self._ca = trustme.CA(organization_name="License reconciler sandbox")
        _write_private(key_file, self._ca.private_key_pem.bytes())
        self.ca_file.write_bytes(self._ca.cert_pem.bytes())

    def server_context(self) -> ssl.SSLContext:
        """A context that presents a fresh certificate for the loopback names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*HOSTS).configure_cert(context)
        return context


def client_context(ca_file: Path) -> ssl.SSLContext:
    """A client's context that trusts this authority and no other, whatever the environment says."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=str(ca_file))
    return context


def _write_private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
