"""`sandbox serve` as a program of its own: its one line, and how it is stopped."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest


@pytest.mark.tls
@pytest.mark.parametrize("more", [[], ["--empty"], ["--users", "20"]], ids=["contoso", "empty", "generated"])
def test_serve_prints_one_line_that_works_and_stops_well(tmp_path: Path, more: list[str]):
    command = [sys.executable, "-m", "reconciler", "sandbox", "serve", *more]
    env = {**os.environ, "RECONCILER_STATE_DIR": str(tmp_path / "var")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, cwd=tmp_path, text=True) as server:
        try:
            assert server.stdout is not None
            line = json.loads(server.stdout.readline())
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
                tickets = http.get(f"{line['servicenow']}/api/now/table/sc_req_item", auth=auth)
        finally:
            server.send_signal(signal.SIGTERM)
            code = server.wait(timeout=20)

    assert set(line) == {
        "graph", "login", "servicenow", "teams", "mail", "ca_file", "tenant_id", "client_id", "client_secret",
        "servicenow_user", "servicenow_password",
    }  # fmt: skip
    assert code == 0
    assert tickets.status_code == 200
    if more == ["--users", "20"]:
        assert len(people) == 20
