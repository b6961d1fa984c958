"""What one reply means to whoever sent the request, whichever system answered. Pure.

A dialect turns an answer into a Judgement; `Wire` alone decides whether to wait, renew a token, ask again or raise.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import httpx

from reconciler.errors import RemoteError


@dataclass(frozen=True, slots=True)
class Answer:
    """One complete reply. `request_id` is the system's own id ("" when it named none), for its support."""

    status: int
    headers: httpx.Headers
    body: bytes
    request_id: str
    client_request_id: str
    method: str = "GET"


class Sign(StrEnum):
    """What to do about a reply."""

    FINE = "fine"
    STALE = "stale"  # the token was not accepted; nothing was done
    WAIT = "wait"  # throttled; nothing was done
    BUSY = "busy"  # another write of the tenant is running; nothing was done
    FAILING = "failing"  # a read may be asked again; a write may have landed
    FINAL = "final"  # asking again cannot help


@dataclass(frozen=True, slots=True)
class Judgement:
    """A sign, the error to raise when asking again is over, and the wait the server asked for, in seconds."""

    sign: Sign
    error: RemoteError | None = None
    retry_after_s: float | None = None


FINE = Judgement(Sign.FINE)


class Dialect(Protocol):
    """How one system spells success and failure. `system` is its name for people."""

    @property
    def system(self) -> str: ...

    def request_id(self, headers: httpx.Headers) -> str:
        """The id this system gave the exchange, "" when it names none."""
        ...

    def judge(self, answer: Answer, *, operation: str, is_write: bool, retry_after_s: float | None) -> Judgement:
        """Say what `answer` means. Never raises: whatever is not understood is an error inside the judgement."""
        ...
