"""`sandbox serve` as a program of its own: its one line, and how it is stopped. Other worlds are served in this
process: a start costs more than all that is asked of it.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.cli.main import run

pytestmark = pytest.mark.tls


def asked(line: dict[str, str]) -> tuple[int, int]:
    """How many people it has, and the status of a list of its tickets, as a client who knows the line only."""
    tls = ssl.create_default_context(cafile=line["ca_file"])
    with httpx.Client(verify=tls, trust_env=False) as http:
        form = {
            "grant_type": "client_credentials",
            "client_id": line["client_id"],
            "client_secret": line["client_secret"],
            "scope": "https://graph.microsoft.com/.default",
        }
        token = http.post(f"{line['login']}/{line['tenant_id']}/oauth2/v2.0/token", data=form).json()
        bearer = {"Authorization": f"Bearer {token['access_token']}"}
        people = http.get(f"{line['graph']}/users?$top=999", headers=bearer).json()["value"]
        auth = (line["servicenow_user"], line["servicenow_password"])
        return len(people), http.get(f"{line['servicenow']}/api/now/table/sc_req_item", auth=auth).status_code


def test_serve_prints_one_line_that_works_and_stops_well(tmp_path: Path):
    command = [sys.executable, "-m", "reconciler", "sandbox", "serve"]
    env = {**os.environ, "RECONCILER_STATE_DIR": str(tmp_path / "var")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, cwd=tmp_path, text=True) as server:
        try:
            assert server.stdout is not None
            line = json.loads(server.stdout.readline())
            people, tickets = asked(line)
        finally:
            server.send_signal(signal.SIGTERM)
            code = server.wait(timeout=20)

    assert set(line) == {
        "graph", "login", "servicenow", "teams", "mail", "ca_file", "tenant_id", "client_id", "client_secret",
        "servicenow_user", "servicenow_password",
    }  # fmt: skip
    assert (code, tickets) == (0, 200)
    assert people > 20


@pytest.fixture
def keyboard() -> Iterator[None]:
    """Ctrl-C reaches this process, also where it was started in the background by a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("keyboard")
@pytest.mark.parametrize(("more", "count"), [(["--empty"], 0), (["--users", "20"], 20)], ids=["empty", "generated"])
def test_another_world_is_served_and_stopped_from_the_keyboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str], count: int
):
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path / "var"))
    monkeypatch.chdir(tmp_path)
    reads, writes = os.pipe()
    found: list[Any] = []

    def client() -> None:
        with os.fdopen(reads, encoding="utf-8") as told:
            line = told.readline()
        if line:  # it is served until somebody presses Ctrl-C
            try:
                found.append(asked(json.loads(line)))
            finally:
                os.kill(os.getpid(), signal.SIGINT)

    somebody = threading.Thread(target=client)
    somebody.start()
    with os.fdopen(writes, "w", encoding="utf-8") as out, redirect_stdout(out):
        code = run(["sandbox", "serve", *more])
    somebody.join()

    assert (code, found) == (0, [(count, 200)])
