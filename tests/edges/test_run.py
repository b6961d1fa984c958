"""`reconciler run` as a program of its own: a cycle at once, pages beside it, and a stop within seconds."""

from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import trustme

from desired_state.model import LineKey
from reconciler.approvals.values import Approval, Decision, Verdict
from reconciler.config import load
from reconciler.daemon.service import Service
from reconciler.daemon.wishes import Wishes
from reconciler.errors import UserError
from reconciler.store import approvals
from reconciler.web.server import WebServer
from reconciler.wiring.pages import site
from reconciler.wiring.serving import serving
from tests.daemon.make_service import a_small_customer
from tests.make_logs import into

QUIET = {"RECONCILER_WEB__PORT": "0", "RECONCILER_SANDBOX__SPEED": "0"}


@pytest.mark.tls
def test_the_service_runs_a_cycle_serves_its_pages_and_stops_well(tmp_path: Path):
    env = {**os.environ, **QUIET, "RECONCILER_STATE_DIR": str(tmp_path / "var")}
    command = [sys.executable, "-m", "reconciler", "run"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=env, cwd=tmp_path, **pipes) as service:
        try:
            assert service.stdout is not None and service.stderr is not None
            url = re.fullmatch(r"Pages: +(http://localhost:\d+)\n", service.stdout.readline())
            assert url is not None
            with httpx.Client(trust_env=False, timeout=30) as http:
                health = http.get(f"{url[1]}/healthz")
                inbox = http.get(f"{url[1]}/inbox")
            line = next(said for said in service.stderr if " cycle " in said)
            with httpx.Client(trust_env=False, timeout=30) as http:
                metrics = http.get(f"{url[1]}/metrics")
        finally:
            began = time.monotonic()
            service.send_signal(signal.SIGTERM)
            code = service.wait(timeout=30)
            took_s = time.monotonic() - began
        said = service.stderr.read()

    assert health.text == "ok\n"
    assert inbox.status_code == 302
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'reconciler_inventory_ok{tenant="contoso"} 1.0\n' in metrics.text
    assert re.fullmatch(r"\S+Z cycle ended .*\blines=36\b.*\n", line)
    assert (code, said) == (0, "")
    assert took_s < 15


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path):
    with WebServer(host="127.0.0.1", port=0) as taken, pytest.raises(UserError, match=r"cannot listen on 127\.0\.0\.1"):
        WebServer(host="127.0.0.1", port=taken.port)


def test_a_certificate_that_is_none_is_one_sentence(tmp_path: Path):
    wrong = tmp_path / "cert.pem"
    wrong.write_text("no certificate", encoding="utf-8")

    with (
        WebServer(host="127.0.0.1", port=0, tls_certificate_file=wrong, tls_key_file=wrong) as server,
        pytest.raises(UserError, match="TLS certificate"),
        server.serving(lambda *_: None),
    ):
        pass


def test_pages_over_tls_are_served_with_the_configured_certificate(tmp_path: Path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "page.pem")
    given = {
        **QUIET,
        "RECONCILER_STATE_DIR": str(tmp_path),
        "RECONCILER_WEB__TLS_CERTIFICATE_FILE": str(tmp_path / "page.pem"),
        "RECONCILER_WEB__TLS_KEY_FILE": str(tmp_path / "page.pem"),
    }

    with serving(load(None, given), "contoso", log=print) as up:
        tls = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        with httpx.Client(verify=tls, trust_env=False, timeout=30) as http:
            answer = http.get(f"{up.url}/healthz")

    assert up.url.startswith("https://localhost:")
    assert answer.headers["strict-transport-security"]


def test_an_answer_on_the_pages_opens_the_next_stage_at_once(tmp_path: Path):
    settings = load(None, {**QUIET, "RECONCILER_STATE_DIR": str(tmp_path), "RECONCILER_SCHEDULE__EVERY": "1h"})
    a_small_customer(tmp_path, "RITM0010012")
    wishes, said = Wishes(), []
    late = threading.Timer(60.0, wishes.stop)

    with closing(wishes), serving(settings, "contoso", log=into(said)) as up:
        own = replace(site(up.app, port=1, log=into(said)), wake=wishes.look)

        def newest() -> Approval:
            with up.app.database.read() as session:
                return approvals.of_line(session, "contoso", LineKey("RITM0010012", 1))[0]

        def log(sentence: str, /, **_fields: object) -> None:
            said.append(sentence)
            if len(said) > 1:
                wishes.stop()
                return
            first, at = newest().stages[0], up.app.clock.now()
            yes = Decision(first.name, Verdict.APPROVE, first.approvers[0], newest().digest, at, key="click")
            with up.app.database.write() as session:
                assert isinstance(approvals.decide(session, "contoso", newest().id, yes, at), Approval)
            own.ring()

        late.start()
        Service(up.app, log, wishes, tell_every_s=3600.0).run()
        late.cancel()

        assert len(said) == 2
        stage = newest().stage
        assert stage is not None
        assert (stage.name, [h.name for h in stage.approvers]) == ("cost_center_owner", ["Thomas Brandt"])
        assert stage.opened_at is not None
