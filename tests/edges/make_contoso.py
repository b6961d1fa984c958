"""The first cycle of Contoso by the command line: run once in a test process, and copied by each test that begins after
it. A command finds the sandbox and the store in the state folder and nothing anywhere else.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.main import run
from tests.make_folder import Folder, folder_of, put


@cache
def _first() -> tuple[Folder, int, str]:
    with (
        tempfile.TemporaryDirectory() as name,
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(StringIO()) as out,
    ):
        patch.setenv("RECONCILER_STATE_DIR", name)
        patch.delenv("RECONCILER_CONFIG", raising=False)
        patch.chdir(Path(__file__).parents[2])
        code = run(["reconcile", "--output", "json"])
        return folder_of(Path(name)), code, out.getvalue()


def after_a_first_cycle(state: Path) -> tuple[int, dict[str, Any]]:
    """Make the state folder as a first `reconcile` with the shipped configuration leaves it: its code and report.

    Raises:
        AssertionError: something is there already, so the cycle would not be the first.
    """
    assert not state.exists()
    folder, code, told = _first()
    put(folder, state)
    return code, json.loads(told)
