"""The address of a request, parsed once. Pure.

httpx parses an address that it is handed as text three times, and one with a list of ids is 4 kB long. The same lists
are asked for cycle after cycle, so the last ones are kept parsed. Only what is read: an address that is written to may
carry a secret in its path (a Teams workflow), and parameters are never secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlencode

import httpx

KEPT = 256


def address(url: str, params: Mapping[str, str] | None = None, *, is_kept: bool = False) -> httpx.URL:
    """`url` with these parameters as its query, in their order. Raises httpx.InvalidURL."""
    if params:
        return _asked(url, tuple(params.items()))
    return _asked(url, ()) if is_kept else httpx.URL(url)


@lru_cache(maxsize=KEPT)
def _asked(url: str, params: tuple[tuple[str, str], ...]) -> httpx.URL:
    return httpx.URL(f"{url}?{urlencode(params)}" if params else url)
