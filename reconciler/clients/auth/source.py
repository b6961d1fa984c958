"""What `Wire` needs of whatever lets its requests in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class TokenSource(Protocol):
    """Something that lets requests in."""

    def headers(self) -> dict[str, str]:
        """The headers of sign-in. Raises SignInFailed, Unavailable."""
        ...

    def fresh(self, refused: Mapping[str, str] | None = None) -> bool:
        """Forget what was refused, so that `headers` gives something new. False: there is nothing new to be had."""
        ...
