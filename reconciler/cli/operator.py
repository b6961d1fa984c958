"""Who sits at the keyboard, for the audit log."""

from __future__ import annotations

import getpass
import os


def operator() -> str:
    """The account's name and machine; behind sudo the person who called it. A name for the record, not a proof."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        name = f"uid {os.getuid()}"
    return f"{name}@{os.uname().nodename}"


def me() -> str:
    """The account at this terminal, for who did it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
