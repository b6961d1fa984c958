"""`reconciler run` as a process: signals, what systemd is told, the wake-up call, a kill -9 and the start after it."""

from __future__ import annotations

import os
import re
import selectors
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.daemon.make_service import a_small_customer

pytestmark = pytest.mark.tls
TOKEN = "a-token-that-opens-nothing-else"
TAKES_S = 60.0  # a busy machine


class Running:
    """A service, its log as it comes, and what it told systemd."""

    def __init__(self, process: subprocess.Popen[bytes], manager: socket.socket, url: str) -> None:
        self.process, self.manager, self.url = process, manager, url
        self.said: list[str] = []

    def hears(self, pattern: str) -> str:
        """Wait for a line of the log."""
        assert self.process.stderr is not None
        with selectors.DefaultSelector() as ready:
            ready.register(self.process.stderr, selectors.EVENT_READ)
            while ready.select(TAKES_S):
                line = self.process.stderr.readline().decode()  # unbuffered: nothing waits unseen behind it
                assert line, self.said
                self.said.append(line)
                if re.search(pattern, line):
                    return line
        raise AssertionError(f"nobody said {pattern}: {self.said}")

    def told(self, word: str) -> None:
        """Wait for a word to systemd."""
        self.manager.settimeout(TAKES_S)
        while word not in self.manager.recv(4096).decode():
            pass

    def ask(self, path: str, method: str = "GET", **headers: str) -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=30) as http:
            return http.request(method, self.url + path, headers=headers)


@contextmanager
def running(state: Path, *, awaits: str = "Pages", **more: str) -> Iterator[Running]:
    place = state / "notify"
    place.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(place))
        env = {
            **os.environ,
            "RECONCILER_WEB__PORT": "0",
            "RECONCILER_SANDBOX__SPEED": "0",
            "RECONCILER_STATE_DIR": str(state / "var"),
            "NOTIFY_SOCKET": str(place),
            "WATCHDOG_USEC": "900000",
            **more,
        }
        command = [sys.executable, "-m", "reconciler", "run"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "bufsize": 0}
        with subprocess.Popen(command, env=env, cwd=state, **pipes) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline().decode() if awaits else "Pages: http://localhost:0\n"
                url = re.fullmatch(r"Pages: +(http://localhost:\d+)\n", line)
                assert url is not None, process.stderr
                yield Running(process, manager, url[1])
            finally:
                process.kill()


def test_a_service_is_watched_woken_told_to_read_again_and_killed_and_goes_on(tmp_path):
    config = tmp_path / "config.toml"
    shipped = Path("config.toml").read_text("utf-8")
    token = tmp_path / "token"
    token.write_text(TOKEN, "utf-8")
    with_token = shipped.replace('# wake_token_file = "secrets/wake-token"', f'wake_token_file = "{token}"')
    config.write_text(shipped, "utf-8")
    a_small_customer(tmp_path / "var")

    with running(tmp_path) as service:
        service.told("READY=1")
        service.hears(r" cycle ended .*\blines=\d+")
        service.told("WATCHDOG=1")
        ready = service.ask("/readyz").json()
        assert (ready["ready"], ready["state"], ready["conditions"]) == (True, "waiting", [])
        assert ready["last_success_at"] is not None
        assert service.ask("/healthz").text == "ok\n"
        assert service.ask("/api/v1/wake", "POST", authorization=f"Bearer {TOKEN}").status_code == 404

        config.write_text(with_token, "utf-8")
        service.process.send_signal(signal.SIGHUP)
        service.hears("read again")
        assert service.ask("/api/v1/wake", "POST", authorization="Bearer wrong").status_code == 401
        assert service.ask("/api/v1/wake", "POST").status_code == 401
        assert service.ask("/api/v1/wake", "POST", authorization=f"Bearer {TOKEN}").status_code == 202

        config.write_text(with_token.replace("every = ", "evry = ", 1), "utf-8")
        service.process.send_signal(signal.SIGHUP)
        assert "evry" in service.hears("refused, the one before stays")
        assert [c["name"] for c in service.ask("/readyz").json()["conditions"]] == ["configuration"]
        config.write_text(with_token.replace("port = 8080", "port = 1"), "utf-8")
        service.process.send_signal(signal.SIGHUP)
        config.write_text(with_token, "utf-8")
        service.process.send_signal(signal.SIGHUP)
        service.hears("the configuration can be read again")
        service.process.kill()
        service.process.wait(TAKES_S)

    with running(tmp_path) as service:
        service.hears(r" cycle ended .*\blines=\d+")
        began = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        code = service.process.wait(TAKES_S)
        took_s = time.monotonic() - began
        assert service.process.stderr is not None
        left = service.process.stderr.read()

    assert (code, left) == (0, b"")
    assert took_s < 15


@pytest.mark.long
def test_a_store_that_is_locked_at_the_start_is_waited_for_and_said_once(tmp_path):
    with closing(sqlite3.connect(a_small_customer(tmp_path / "var"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with running(tmp_path, awaits="") as service:
            assert "locked" in service.hears("not started yet")
            other.execute("ROLLBACK")
            service.hears("the store can be used again")
            service.hears(r" cycle ended .*\blines=8\b")
            assert sum("locked" in line for line in service.said) == 1


@pytest.mark.long
def test_a_stop_in_the_middle_of_the_first_cycle_takes_seconds_and_the_next_start_takes_over_at_once(tmp_path):
    with running(tmp_path) as service:
        service.told("READY=1")
        began = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        code = service.process.wait(TAKES_S)
        assert time.monotonic() - began < 20
        assert code == 0

    with running(tmp_path) as service:
        service.hears(r" cycle ended .*\blines=\d+")
