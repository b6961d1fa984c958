"""Who sees each request to a sign-in service: its kind and what came of it, never what was in it."""

from __future__ import annotations

from collections.abc import Callable

import httpx

Call = Callable[[], httpx.Response]
Watch = Callable[[str, Call], httpx.Response]
"""Makes the call and looks at how it went; the kind is token or discovery. Raises what the call raises."""


def unwatched(_kind: str, call: Call) -> httpx.Response:
    """Nobody looks."""
    return call()
