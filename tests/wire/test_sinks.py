"""Second places take the log in order, once, over each way; one that is down says so in a sentence."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from reconciler.clients.sinks import Entry, FileSink, HeadsFile, SinkDown, SyslogSink
from tests.make import MONDAY


def an_entry(number: int, *, is_checkpoint: bool = False) -> Entry:
    said = {"checkpoint": {"tenant": "contoso", "size": number}} if is_checkpoint else {"seq": number}
    text = json.dumps(said, separators=(",", ":"))
    return Entry(number, MONDAY, "checkpoint" if is_checkpoint else "intent", text, is_checkpoint)


ENTRIES = [an_entry(1), an_entry(2), an_entry(2, is_checkpoint=True)]


def lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


# --- files ----------------------------------------------------------------------------------------------------


def test_a_folder_holds_one_file_a_tenant_for_this_account_only(tmp_path):
    sink = FileSink(tmp_path / "elsewhere")

    sink.deliver("contoso", ENTRIES)
    sink.deliver("contoso", [an_entry(3)])
    sink.deliver("*", [an_entry(1)])

    path = tmp_path / "elsewhere" / "contoso.jsonl"
    assert lines(path) == ['{"seq":1}', '{"seq":2}', '{"checkpoint":{"tenant":"contoso","size":2}}', '{"seq":3}']
    assert path.stat().st_mode & 0o777 == 0o600
    assert lines(tmp_path / "elsewhere" / "everyone.jsonl") == ['{"seq":1}']


def test_what_is_there_already_is_not_written_twice_after_a_crash(tmp_path):
    FileSink(tmp_path).deliver("contoso", ENTRIES)

    FileSink(tmp_path).deliver("contoso", [*ENTRIES[1:], an_entry(3)])

    assert len(lines(tmp_path / "contoso.jsonl")) == 4


def test_a_line_that_a_full_disk_cut_does_not_swallow_the_next(tmp_path):
    (tmp_path / "contoso.jsonl").write_text('{"seq":1}\n{"se', "utf-8")

    FileSink(tmp_path).deliver("contoso", [an_entry(1), an_entry(2)])

    assert lines(tmp_path / "contoso.jsonl") == ['{"seq":1}', '{"se', '{"seq":2}']


def test_heads_are_appended_once_and_the_newest_is_known(tmp_path):
    heads = HeadsFile(tmp_path / "heads.jsonl")
    assert heads.last("contoso") is None

    heads.deliver("contoso", ENTRIES)
    heads.deliver("contoso", [*ENTRIES, an_entry(5, is_checkpoint=True)])

    assert heads.last("contoso") == {"tenant": "contoso", "size": 5}
    assert len(lines(tmp_path / "heads.jsonl")) == 2


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("", "utf-8")

    for sink in (FileSink(tmp_path / "file"), HeadsFile(tmp_path / "file" / "heads")):
        with pytest.raises(SinkDown, match=r"second place .* does not take it"):
            sink.deliver("contoso", ENTRIES)


# --- syslog ---------------------------------------------------------------------------------------------------


@contextmanager
def listening(
    wrap: Callable[[socket.socket], socket.socket] = lambda plain: plain,
) -> Iterator[tuple[int, list[bytes]]]:
    """A collector on a loopback port: what each connection sent until its end."""
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            plain, _ = server.accept()
            plain.settimeout(10)
            with plain:
                try:
                    stream = wrap(plain)
                except (ssl.SSLError, OSError):
                    return
                data = b""
                while chunk := stream.recv(65_536):
                    data += chunk
                got.append(data)
                stream.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], got
        thread.join(timeout=10)


def messages(data: bytes) -> list[bytes]:
    """The messages of a stream, each behind its length (RFC 6587)."""
    found = []
    while data:
        size, _, rest = data.partition(b" ")
        found.append(rest[: int(size)])
        data = rest[int(size) :]
    return found


def test_a_collector_over_tls_gets_every_row_framed(tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with listening(lambda plain: context.wrap_socket(plain, server_side=True)) as (port, got):
        SyslogSink("tls", f"127.0.0.1:{port}", tmp_path / "ca.pem", "host").deliver("contoso", ENTRIES)

    assert [m.rpartition(b"\xef\xbb\xbf")[2].decode() for m in messages(got[0])] == [e.text for e in ENTRIES]


def test_a_collector_whose_certificate_nobody_vouches_for_gets_nothing(tmp_path):
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with (
        listening(lambda plain: context.wrap_socket(plain, server_side=True)) as (port, got),
        pytest.raises(SinkDown, match=r"(?i)certificate"),
    ):
        SyslogSink("tls", f"127.0.0.1:{port}", tmp_path / "ca.pem").deliver("contoso", ENTRIES)

    assert got == []


def test_collectors_over_tcp_udp_and_a_socket_file_get_every_row(tmp_path):
    with listening() as (port, got):
        SyslogSink("tcp", f"127.0.0.1:{port}").deliver("contoso", ENTRIES)
    assert len(messages(got[0])) == 3

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(5)
        SyslogSink("udp", f"127.0.0.1:{udp.getsockname()[1]}").deliver("contoso", ENTRIES)
        got = [udp.recv(65_536).rpartition(b"\xef\xbb\xbf")[2] for _ in ENTRIES]
        assert got[:2] == [b'{"seq":1}', b'{"seq":2}']

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local:
        local.bind(str(tmp_path / "log"))
        local.settimeout(5)
        SyslogSink("unix", str(tmp_path / "log")).deliver("contoso", ENTRIES[:1])
        assert local.recv(65_536).endswith(b'{"seq":1}')


@pytest.mark.parametrize("way", ["tls", "tcp", "unix"])
def test_a_collector_that_is_not_there_is_one_sentence(way, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    place = str(tmp_path / "none") if way == "unix" else f"127.0.0.1:{free}"

    with pytest.raises(SinkDown, match=f"syslog\\+{way}"):
        SyslogSink(way, place, timeout_s=2).deliver("contoso", ENTRIES)
