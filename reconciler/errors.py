"""What can go wrong with a remote system, named by what the loop does next.

A sad answer that the loop plans for (no seat, unknown person, unmapped item) is a value, not an exception.
Messages never carry secrets, tokens or whole bodies: `detail` is the server's own short sentence, cut.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Next(StrEnum):
    """What the loop does about an error."""

    REQUEUE = "requeue"  # look again later, with backoff or when the server said
    LOOK = "look"  # the write may have landed: observe before anything is sent again
    BLOCK = "block"  # no retry can help: a person must change something
    STOP = "stop"  # nothing more can be read or written in this cycle


class RemoteError(Exception):
    """A remote system did not do as asked; `then` is what the loop does about it."""

    then: ClassVar[Next] = Next.REQUEUE

    def __init__(self, message: str, *, system: str, request_id: str = "") -> None:
        super().__init__(message)
        self.system = system
        self.request_id = request_id
        self.client_request_id = ""  # our own name for the last attempt, once one was made


class Throttled(RemoteError):
    """Told to wait; `retry_after_s` is the server's wish in seconds, None when it named none."""

    then = Next.REQUEUE

    def __init__(self, system: str, *, retry_after_s: float | None, request_id: str = "") -> None:
        wish = "without saying how long" if retry_after_s is None else f"{retry_after_s:g} s"
        super().__init__(f"{system} asked us to wait {wish}", system=system, request_id=request_id)
        self.retry_after_s = retry_after_s


class Spent(Throttled):
    """Our own hourly budget of requests is spent. Nothing was sent."""

    def __init__(self, system: str, *, retry_after_s: float) -> None:
        super().__init__(system, retry_after_s=retry_after_s)
        minutes = -(-retry_after_s // 60)
        self.args = (
            f"the requests that {system} may get within this hour (requests_per_hour) are spent: the next ones leave "
            f"in {minutes:g} minutes",
        )


class Conflicted(RemoteError):
    """Another write of the same tenant is running (Graph 409 Directory_ConcurrencyViolation). Nothing was done."""

    then = Next.REQUEUE

    def __init__(self, system: str, *, retry_after_s: float | None = None, request_id: str = "") -> None:
        super().__init__(f"{system} is busy with another write of this tenant", system=system, request_id=request_id)
        self.retry_after_s = retry_after_s


class Unavailable(RemoteError):
    """A read could not be served: no route, time limit, 5xx, maintenance or hibernation page, dropped with 202."""

    then = Next.REQUEUE

    def __init__(self, system: str, why: str, *, status: int | None = None, request_id: str = "") -> None:
        super().__init__(f"{system} could not be read: {why}", system=system, request_id=request_id)
        self.why, self.status = why, status


class TooMuch(Unavailable):
    """A list was not served in time or is too large to be sent; fewer rows at once may get through."""


class OutcomeUnknown(RemoteError):
    """A write was sent and no trustworthy reply came; it may have landed. Never resent before looking."""

    then = Next.LOOK

    def __init__(self, system: str, why: str, *, status: int | None = None, request_id: str = "") -> None:
        super().__init__(f"{system} may or may not have done it: {why}", system=system, request_id=request_id)
        self.why, self.status = why, status


class NotFound(RemoteError):
    """No such object, or not one that we may see. The two cannot be told apart on ServiceNow."""

    then = Next.BLOCK

    def __init__(self, system: str, what: str, *, request_id: str = "") -> None:
        super().__init__(f"{system} shows no {what}", system=system, request_id=request_id)
        self.what = what


class Rejected(RemoteError):
    """Refused for good; `code` and `detail` are the server's own words for why."""

    then = Next.BLOCK

    def __init__(self, system: str, *, status: int, code: str, detail: str, request_id: str = "") -> None:
        super().__init__(f"{system} refused ({status} {code}): {detail}", system=system, request_id=request_id)
        self.status, self.code, self.detail = status, code, detail


class Forbidden(RemoteError):
    """The credentials lack a permission (403). Configuration, not the person's fault."""

    then = Next.BLOCK

    def __init__(self, system: str, *, operation: str, detail: str, request_id: str = "") -> None:
        super().__init__(f"{system} forbids {operation}: {detail}", system=system, request_id=request_id)
        self.operation, self.detail = operation, detail


class SignInFailed(RemoteError):
    """No token, or the system does not accept ours even when fresh. `hint` says what to check."""

    then = Next.STOP

    def __init__(self, system: str, why: str, *, hint: str = "", request_id: str = "") -> None:
        super().__init__(
            f"{system} does not let us in: {why}" + (f". {hint}" if hint else ""),
            system=system,
            request_id=request_id,
        )
        self.why, self.hint = why, hint


class Withheld(RemoteError):
    """A write had to wait, and may not leave any more. Nothing was done: no try before it was served."""

    then = Next.STOP

    def __init__(self, system: str, why: str) -> None:
        super().__init__(f"it had to wait, and was not sent to {system} any more: {why}", system=system)
        self.why = why


class Malformed(RemoteError):
    """A reply that breaks the contract. It is an error, never 'zero rows'."""

    then = Next.REQUEUE

    def __init__(self, system: str, why: str, *, request_id: str = "") -> None:
        super().__init__(
            f"{system} answered with something we cannot trust: {why}", system=system, request_id=request_id
        )
        self.why = why


class UserError(Exception):
    """Something the person at the keyboard can mend, said in one sentence. `exit_code` is 1 or 2."""

    def __init__(self, sentence: str, *, exit_code: int = 2) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


class ClockWrong(UserError):
    """Both systems agree that our clock is wrong: nothing was judged or written."""


class StoreUnusable(UserError):
    """The store is locked, full, damaged, gone or cannot be reached. It may be usable again without us."""
