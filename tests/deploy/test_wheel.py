"""The wheel, for somebody who has nothing of the project but the file: by pipx, in an empty folder, not as root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.deploy.make_deploy import NOBODY, ROOT, as_nobody, plain_environment, python, tool

CONVERGED_OR_LEFT = (0, 3)
# prctl(PR_SET_MDWE): no memory that is both writable and executable, as the unit's MemoryDenyWriteExecute
_AS_THE_UNIT = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(65, 1, 0, 0, 0) != 0:
    sys.exit(77)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=110)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that everybody can enter; pytest's own are shut to all but who runs it."""
    with TemporaryDirectory(prefix="reconciler-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def command(wheel: Path, place: Path) -> str:
    """`reconciler`, installed by pipx; skips where the package index cannot be reached."""
    home = place / "pipx"
    env = {
        **os.environ,
        "PIPX_HOME": str(home / "home"),
        "PIPX_BIN_DIR": str(home / "bin"),
        "PIPX_MAN_DIR": str(home / "man"),
        "PIPX_DEFAULT_PYTHON": python(),
    }
    told = subprocess.run(
        [tool("pipx"), "install", "--quiet", str(wheel)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if told.returncode != 0 and "No matching distribution" in told.stderr:
        pytest.skip("the package index cannot be reached")
    assert told.returncode == 0, told.stdout + told.stderr
    return str(home / "bin/reconciler")


def _run(command: Sequence[str], folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    return subprocess.run(
        [*as_nobody(), *command],
        cwd=folder,
        env=plain_environment(HOME="/nonexistent", **env),
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


@pytest.fixture
def empty(place: Path) -> Iterator[Path]:
    folder = place / "empty"
    folder.mkdir(mode=0o755)
    yield folder
    shutil.rmtree(folder)


def test_the_wheel_has_both_packages_with_their_data_and_nothing_else(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()

    assert {name.split("/")[0].split("-")[0] for name in names} == {"desired_state", "reconciler", "license_reconciler"}
    for wanted in (
        "desired_state/products.toml",
        "reconciler/config/default.toml",
        "reconciler/sandbox/skus.json",
        "reconciler/store/migrations/env.py",
    ):
        assert wanted in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.timeout(420)
def test_what_pipx_installed_plays_the_sandbox_from_an_empty_folder(command: str, empty: Path):
    told = _run([command, "reconcile", "--output", "json"], empty)

    assert told.returncode in CONVERGED_OR_LEFT, told.stderr
    report = json.loads(told.stdout)
    assert (report["tenant"], report["counts"]["lines"]) == ("contoso", 36)
    assert {path.name for path in empty.iterdir()} == {"var"}
    assert oct((empty / "var/reconciler.db").stat().st_mode & 0o777) == "0o600"

    again = _run([command, "audit", "verify", "--output", "json"], empty)
    assert json.loads(again.stdout)["ok"] is True


@pytest.mark.timeout(420)
def test_it_needs_no_memory_that_is_writable_and_executable(command: str, empty: Path):
    interpreter = str(Path(command).resolve().parent / "python")

    told = _run([interpreter, "-c", _AS_THE_UNIT, command, "reconcile", "--output", "json"], empty)

    if told.returncode == 77:
        pytest.skip("this kernel cannot refuse it (Linux 6.3 and newer can)")
    assert told.returncode in CONVERGED_OR_LEFT, told.stderr
