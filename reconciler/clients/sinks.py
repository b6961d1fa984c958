"""Second places for the audit log: files in a folder, a file of heads, and syslog over TLS, TCP, UDP or a socket.

A sink is given entries in order and either has them all when `deliver` returns, or raises SinkDown; whoever calls
gives them again later. Files recognise what they have, so nothing is there twice.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from reconciler.audit.syslog import framed, message

TAIL_MAX = 4_000_000  # bytes of a file that are looked at for what is there already
TIMEOUT_S = 5.0


class SinkDown(Exception):
    """The second place did not take what it was given; the sentence says which and why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row, or one checkpoint when `is_checkpoint`, as its line of JSON. `number` is its seq or size."""

    number: int
    at: datetime
    kind: str
    text: str
    is_checkpoint: bool = False


@dataclass(slots=True)
class FileSink:
    """Rows and checkpoints of each tenant in a file of its own, TENANT.jsonl, as `audit verify --file` reads it."""

    folder: Path
    wants_rows: bool = True
    _begun: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        return f"file:{self.folder}"

    def deliver(self, tenant: str, entries: Sequence[Entry]) -> None:
        """Append and flush to the disk. Raises SinkDown."""
        path = self.folder / f"{'everyone' if tenant == '*' else tenant}.jsonl"
        with _told(self.name):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = list(entries)
            if tenant not in self._begun:  # it may have more than we remember: a process died in between
                known = {_key(line) for line in _tail(path)}
                fresh = [e for e in entries if (e.is_checkpoint, e.number) not in known]
            self._begun.discard(tenant)
            _append(path, [e.text for e in fresh])
        if tenant != "*":  # what concerns all tenants may be brought by several processes
            self._begun.add(tenant)


@dataclass(slots=True)
class HeadsFile:
    """Checkpoints of all tenants in one file, one JSON object a line: what proves the loss of rows."""

    path: Path
    wants_rows: bool = False

    @property
    def name(self) -> str:
        return f"heads:{self.path}"

    def deliver(self, tenant: str, entries: Sequence[Entry]) -> None:
        """Append what is newer than the last head there, and flush to the disk. Raises SinkDown."""
        last = self.last(tenant)
        size = last["size"] if last is not None else 0
        with _told(self.name):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lines = [json.loads(e.text)["checkpoint"] for e in entries if e.is_checkpoint and e.number > size]
            _append(self.path, [json.dumps(line, sort_keys=True, ensure_ascii=False) for line in lines])

    def last(self, tenant: str) -> Mapping[str, Any] | None:
        """The newest head of a tenant in the file, None when there is none. Raises SinkDown."""
        with _told(self.name):
            found = None
            for line in _tail(self.path):
                said = _read(line)
                if said.get("tenant") == tenant and isinstance(said.get("size"), int):
                    found = said
            return found


@dataclass(slots=True)
class SyslogSink:
    """A syslog collector. `way` is tls, tcp, udp or unix; `place` host and port, or a path. Each delivery connects."""

    way: str
    place: str
    ca_file: Path | None = None
    host: str = "-"
    wants_rows: bool = True
    timeout_s: float = TIMEOUT_S

    @property
    def name(self) -> str:
        return f"syslog+{self.way}://{self.place}"

    def deliver(self, tenant: str, entries: Sequence[Entry]) -> None:  # noqa: ARG002 (the message names it)
        """Send every entry. Raises SinkDown."""
        with _told(self.name):
            messages = [message(e.at, self.host, e.kind, e.text) for e in entries]
            if self.way == "unix":
                self._to_socket_file(messages)
            elif self.way == "udp":
                with socket.socket(self._family(), socket.SOCK_DGRAM) as udp:
                    udp.connect(self._address())
                    for said in messages:
                        udp.send(said)
            else:
                self._over_stream(messages)

    def _over_stream(self, messages: Sequence[bytes]) -> None:
        with socket.create_connection(self._address(), timeout=self.timeout_s) as plain:
            if self.way == "tcp":
                plain.sendall(b"".join(map(framed, messages)))
                plain.shutdown(socket.SHUT_WR)
                _until_closed(plain)
                return
            context = ssl.create_default_context(cafile=self.ca_file)
            with context.wrap_socket(plain, server_hostname=self._address()[0]) as tls:
                tls.sendall(b"".join(map(framed, messages)))
                with suppress(ssl.SSLError, OSError):  # what was sent is sent; some collectors just hang up
                    tls.unwrap()

    def _to_socket_file(self, messages: Sequence[bytes]) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local:
            local.settimeout(self.timeout_s)
            local.connect(self.place)
            for said in messages:
                local.send(said)

    def _address(self) -> tuple[str, int]:
        host, _, port = self.place.rpartition(":")
        return host.strip("[]"), int(port)

    def _family(self) -> socket.AddressFamily:
        return socket.AF_INET6 if ":" in self._address()[0] else socket.AF_INET


@contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        raise SinkDown(f"the audit log's second place {name} does not take it: {why}") from error


def _append(path: Path, lines: Sequence[str]) -> None:
    if not lines:
        return
    descriptor = os.open(path, os.O_APPEND | os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        end = os.lseek(descriptor, 0, os.SEEK_END)
        torn = end > 0 and os.pread(descriptor, 1, end - 1) != b"\n"  # a crash or a full disk cut the last line
        data = ("\n" if torn else "") + "".join(f"{line}\n" for line in lines)
        view = memoryview(data.encode())
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _tail(path: Path) -> list[str]:
    """The last lines of a file, none when there is no file."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - TAIL_MAX))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return lines if end <= TAIL_MAX else lines[1:]


def _key(line: str) -> tuple[bool, int]:
    said = _read(line)
    inner = said.get("checkpoint")
    if isinstance(inner, dict):
        return True, _number(inner.get("size"))
    return False, _number(said.get("seq"))


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _read(line: str) -> Mapping[str, Any]:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _until_closed(stream: socket.socket) -> None:
    """Wait until the other side has read to our end and closed too; a reset on the way raises."""
    with suppress(TimeoutError):
        while stream.recv(4096):
            pass
