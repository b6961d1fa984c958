"""Where the tools are that `make check-deploy` has put beside the project."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TOOLS = ROOT / "var/lint/bin"
NOBODY = 65534


def tool(name: str) -> str:
    """A tool of requirements-deploy.lock, or of the machine; skips the test where it is nowhere."""
    if (TOOLS / name).exists():
        return str(TOOLS / name)
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not here; make check-deploy installs it where the package index can be reached")
    return found


def documents(path: Path) -> list[dict[str, Any]]:
    """Every YAML document of a file."""
    return [doc for doc in yaml.safe_load_all(path.read_text("utf-8")) if doc]


def plain_environment(**more: str) -> Mapping[str, str]:
    """What a user's shell has, and nothing of ours."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, **more}


def python() -> str:
    """An interpreter that everybody may run: this one, or the machine's where this one is in somebody's home."""
    own = Path(sys.executable).resolve()
    if all(folder.stat().st_mode & 0o001 for folder in own.parents):
        return str(own)
    return shutil.which("python3", path="/usr/bin:/usr/local/bin") or str(own)


def as_nobody() -> list[str]:
    """The beginning of a command that is not to be root's, and keeps no privilege."""
    if os.geteuid() != 0:
        return []
    who = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return [tool("setpriv"), *who, "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
