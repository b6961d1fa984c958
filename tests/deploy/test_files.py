"""What cannot be run on a developer's machine is read by a linter, or against its schema, and by us."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.make_deploy import DEPLOY, ROOT, TOOLS, documents, plain_environment, tool

COMPOSE = DEPLOY / "compose/compose.yaml"
UNIT, WORKER = DEPLOY / "systemd/reconciler.service", DEPLOY / "systemd/reconciler-worker@.service"
UNITS = (UNIT, WORKER)
MANIFESTS = DEPLOY / "kubernetes"
KUBERNETES = "1.33"
EXPOSURE_MAX = 20  # of 100, as systemd-analyze rates it


def test_the_dockerfile_has_nothing_that_hadolint_minds():
    told = subprocess.run(
        [tool("hadolint"), str(DEPLOY / "container/Dockerfile")], capture_output=True, text=True, check=False
    )

    assert (told.returncode, told.stdout + told.stderr) == (0, "")


def test_the_image_is_no_roots_and_says_how_it_is():
    text = (DEPLOY / "container/Dockerfile").read_text("utf-8")
    last = text[text.rindex("\nFROM ") :]

    assert re.search(r"^USER 10001:10001$", last, re.M)
    assert re.search(r"^HEALTHCHECK ", last, re.M)
    assert "--require-hashes -r requirements-run.lock" in text
    assert not re.search(r"^ADD |curl|wget|apt-get|:latest", text, re.M)


def test_what_the_image_copies_is_let_through_by_dockerignore():
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "container/Dockerfile").read_text("utf-8"), re.M)
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").split() if line.startswith("!")}

    names = {name.removeprefix("./") for line in copied for name in line.split()}
    assert names == let_through
    assert all((ROOT / name).exists() for name in names)


def test_the_health_check_of_the_image_is_python():
    text = (DEPLOY / "container/Dockerfile").read_text("utf-8")
    (command,) = re.findall(r"HEALTHCHECK .*?\\\n  CMD (\[.*\])", text)
    program, flag, source = json.loads(command)

    assert (program, flag) == ("python", "-c")
    told = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False, timeout=30)
    assert told.returncode == 1  # nothing listens there now
    assert "URLError" in told.stderr


# --- compose


def services() -> dict[str, dict[str, Any]]:
    (found,) = documents(COMPOSE)
    named: dict[str, dict[str, Any]] = found["services"]
    return named


def test_compose_reads_as_the_compose_specification_wants_it():
    python = TOOLS / "python"
    if not python.exists():
        pytest.skip("compose-spec is not here; make check-deploy installs it")
    flat = json.dumps({k: v for k, v in documents(COMPOSE)[0].items() if not k.startswith("x-")})
    source = (
        "import sys, compose_spec as c; f = c.PyCompose.from_json(sys.stdin.read()); f.validate(); print(f.to_json())"
    )

    def read(text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(python), "-c", source], input=text, capture_output=True, text=True, check=False)

    told, wrong = read(flat), read(flat.replace('"read_only"', '"read_onyl"'))

    assert (told.returncode, told.stderr) == (0, "")
    assert json.loads(told.stdout)["services"].keys() == services().keys()
    assert wrong.returncode != 0 and "read_onyl" in wrong.stderr  # it does read what it is given


def test_everything_that_compose_mounts_is_there():
    mounted = [volume.split(":") for service in services().values() for volume in service.get("volumes", ())]
    files = [source for source, *_ in mounted if source.startswith(".")]

    assert len(files) >= 4
    assert [source for source in files if not (COMPOSE.parent / source).exists()] == []
    assert all(parts[2:] == ["ro"] for parts in mounted if parts[0].startswith("."))


def test_grafana_finds_the_shipped_dashboards_and_prometheus_the_shipped_rules():
    grafana, prometheus = services()["grafana"], services()["prometheus"]
    at = dict(v.split(":")[:2] for s in (grafana, prometheus) for v in s["volumes"] if v.startswith("."))
    (provider,) = documents(DEPLOY / "grafana/provisioning/dashboards/reconciler.yaml")
    (source,) = documents(DEPLOY / "grafana/provisioning/datasources/prometheus.yaml")
    (scraped,) = documents(DEPLOY / "compose/prometheus.yml")

    assert provider["providers"][0]["options"]["path"] == at["../grafana/dashboards"]
    assert at["../grafana/provisioning"] == "/etc/grafana/provisioning"
    assert source["datasources"][0]["url"] == "http://prometheus:9090"
    assert Path(at["../prometheus/reconciler.rules.yml"]).match(f"/etc/prometheus/{scraped['rule_files'][0]}")
    assert scraped["scrape_configs"][0]["job_name"] == "reconciler"
    assert scraped["scrape_configs"][0]["static_configs"][0]["targets"] == ["reconciler:8080"]


def test_nothing_is_published_beyond_this_machine_and_nothing_runs_unhardened():
    for name, service in services().items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert name == "postgres" or (service["read_only"] and service["cap_drop"] == ["ALL"]), name
        assert not any("PASSWORD" in key and "FILE" not in key for key in service.get("environment", ())), name


# --- systemd


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_no_mistake_in_the_unit(tmp_path: Path, unit: Path):
    analyze = tool("systemd-analyze")
    text = unit.read_text("utf-8")
    there = re.sub(r"^ExecStart=\S+", f"ExecStart={shutil.which('true')}", text, flags=re.M)
    name = unit.name.replace("@", "@1")
    (tmp_path / name).write_text(there, "utf-8")

    told = subprocess.run(
        [analyze, "verify", "--man=no", str(tmp_path / name)],
        capture_output=True,
        text=True,
        check=False,
        env=plain_environment(SYSTEMD_UNIT_PATH=f"{tmp_path}:"),
    )

    ours = [line for line in told.stderr.splitlines() if name in line]
    assert (told.returncode, ours) == (0, [])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_rates_the_unit_as_hardly_exposed(unit: Path):
    told = subprocess.run(
        [tool("systemd-analyze"), "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert told.returncode == 0, told.stdout + told.stderr


def test_the_unit_says_what_the_service_does():
    lines = dict(line.split("=", 1) for line in UNIT.read_text("utf-8").splitlines() if re.match(r"[A-Z]\w+=", line))

    assert lines["Type"] == "notify"
    assert lines["ExecStart"].endswith(" run")
    assert "-HUP" in lines["ExecReload"]
    assert int(lines["TimeoutStopSec"]) >= 15  # a stop takes up to six seconds, and a write that is under way
    assert lines["RestartPreventExitStatus"] == "2"


# --- Kubernetes


def manifests() -> list[dict[str, Any]]:
    (kustomization,) = documents(MANIFESTS / "kustomization.yaml")
    return [doc for name in kustomization["resources"] for doc in documents(MANIFESTS / name)]


def test_every_manifest_is_in_the_kustomization():
    (kustomization,) = documents(MANIFESTS / "kustomization.yaml")

    assert {*kustomization["resources"], "kustomization.yaml"} == {p.name for p in MANIFESTS.iterdir()}


@pytest.mark.parametrize("doc", manifests(), ids=lambda doc: str(doc["kind"]))
def test_a_manifest_is_what_the_api_server_knows(doc: dict[str, Any], tmp_path: Path):
    (tmp_path / "doc.yaml").write_text(yaml.safe_dump(doc), "utf-8")

    told = subprocess.run(
        [tool("kubernetes-validate"), "--strict", "-k", KUBERNETES, str(tmp_path / "doc.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert told.returncode == 0, told.stdout + told.stderr


def test_kustomize_puts_everything_into_one_namespace():
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not here")

    told = subprocess.run(
        ["kubectl", "kustomize", str(MANIFESTS)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "KUBECONFIG": os.devnull},
    )

    built = list(yaml.safe_load_all(told.stdout))
    assert len(built) == len(manifests())
    assert {d["metadata"].get("namespace") for d in built if d["kind"] != "Namespace"} == {"license-reconciler"}


def test_the_pod_is_restricted_and_its_probes_are_routes_of_ours():
    (pod,) = (d["spec"]["template"]["spec"] for d in manifests() if d["kind"] == "StatefulSet")
    (container,) = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    probes = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert probes == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    assert pod["terminationGracePeriodSeconds"] >= 15


def test_no_file_names_a_secret_or_a_registry():
    for path in (p for p in DEPLOY.rglob("*") if p.is_file() and p.suffix != ".pyc"):
        text = path.read_text("utf-8")
        assert not re.search(r"(?i)password\s*[:=]\s*[\"']?[a-z0-9]{6,}[\"']?\s*$", text, re.M), path
        hosts = set(re.findall(r"https?://([\w.-]+)", text))
        assert hosts <= {"prometheus", "127.0.0.1", "localhost"}, (path, hosts)
