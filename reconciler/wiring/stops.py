"""The kill switch outside of the store: a file in the state directory, and a variable of the environment.

Both work while the store is locked or damaged, and both are looked at before every write. What cannot be read is on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from desired_state.text import one_line

FILE = "KILL"
VARIABLE = "RECONCILER_KILL_SWITCH"
_OFF = frozenset({"", "0", "off", "false", "no"})


def outside_stop(state_dir: Path, env: Mapping[str, str]) -> str:
    """Why everything is stopped from outside the store, "" when nothing does."""
    value = env.get(VARIABLE, "").strip()
    if value.lower() not in _OFF:
        return f"{VARIABLE} is set to {one_line(value, 80)!r}"
    path = state_dir / FILE
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            said = file.read(200)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        return f"{path} cannot be read ({error.strerror or error}), so it counts as thrown"
    return f"{path} is there{f': {one_line(said, 120)}' if said.strip() else ''}"


def throw_outside(state_dir: Path, why: str) -> Path:
    """Stop everything by the file, for when the store cannot be written.

    Raises:
        OSError: neither can the file.
    """
    path = state_dir / FILE
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(one_line(why, 120) + "\n", encoding="utf-8")
    return path
