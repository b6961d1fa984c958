"""Debian's Prometheus as a process, and what it answers."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import yaml

ROOT = Path(__file__).parents[2]
UNPACKED = ROOT / "var/prometheus/usr/bin"
RULES = ROOT / "deploy/prometheus/reconciler.rules.yml"
SCRAPE = "1s"
T = TypeVar("T")


def binary(name: str) -> str:
    """Where it is; skips the test where it is nowhere."""
    if (UNPACKED / name).exists():
        return str(UNPACKED / name)
    found = shutil.which(name)
    if found is None:
        pytest.skip(
            f"{name} is not installed, and Debian's package prometheus could not be fetched (make check-service)"
        )
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(seen: Callable[[], T], seconds: float, every: float = 0.25) -> T:
    """What `seen` gives as soon as it is true, or at the end of the time."""
    end = time.monotonic() + seconds
    while not (found := seen()) and time.monotonic() < end:
        time.sleep(every)
    return found


@dataclass(frozen=True)
class Series:
    labels: dict[str, str]
    value: float


class Prometheus:
    """Scrapes one address each second, with the shipped rules evaluated each second too; `for` stays as shipped."""

    def __init__(self, folder: Path, target_port: int) -> None:
        program = binary("prometheus")
        folder.mkdir(parents=True)
        rules = yaml.safe_load(RULES.read_text("utf-8"))
        for group in rules["groups"]:
            group["interval"] = SCRAPE
        (folder / "rules.yml").write_text(yaml.safe_dump(rules), "utf-8")
        config = {
            "global": {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE, "evaluation_interval": SCRAPE},
            "rule_files": ["rules.yml"],
            "scrape_configs": [
                {"job_name": "reconciler", "static_configs": [{"targets": [f"127.0.0.1:{target_port}"]}]}
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config), "utf-8")
        port = free_port()
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30)
        assert until(self._is_ready, 30), (folder / "log").read_text("utf-8")

    def _is_ready(self) -> bool:
        try:
            return self._http.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def series(self, expr: str) -> list[Series]:
        """What an expression gives now. A scalar is one series without labels."""
        answer = self._http.post("/api/v1/query", data={"query": expr}).json()
        assert answer["status"] == "success", (expr, answer)
        data = answer["data"]
        if data["resultType"] == "scalar":
            return [Series({}, float(data["result"][1]))]
        return [Series(one["metric"], float(one["value"][1])) for one in data["result"]]

    def firing(self) -> dict[str, dict[str, Any]]:
        """Alerts that fire, by name; the first of each."""
        alerts = self._http.get("/api/v1/alerts").json()["data"]["alerts"]
        return {a["labels"]["alertname"]: a for a in reversed(alerts) if a["state"] == "firing"}

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its health."""
        groups = self._http.get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def close(self) -> None:
        self._http.close()
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)
        self._log.close()


def as_grafana_asks(expr: str) -> str:
    """An expression with Grafana's variables filled in as for all tenants."""
    filled = expr.replace("$__rate_interval", "30s").replace("$tenant", ".*").replace("$expected_full", "none")
    assert "$" not in filled, expr
    assert not re.search(r"\[\d+ms\]", filled)
    return filled
