"""What an error of a duty is called: the condition of `health`, and a sentence."""

from __future__ import annotations

from reconciler import health as words
from reconciler.errors import ClockWrong, RemoteError, StoreUnusable, UserError
from reconciler.health import condition_of
from reconciler.once import CycleLost


def trouble(error: Exception) -> tuple[str, str]:
    """The condition that an error of a cycle is, and what there is to say about it."""
    match error:
        case RemoteError():
            return condition_of(error.system), str(error)
        case StoreUnusable():
            return words.STORE, str(error)
        case ClockWrong():
            return words.CLOCK, str(error)
        case CycleLost():
            return words.LEASE, str(error)
        case UserError():
            return words.CONFIGURATION, str(error)
        case _:
            return words.DEFECT, defect(error)


def defect(error: Exception) -> str:
    """What there is to say about an error that nobody foresaw: its text may hold a secret."""
    return f"a defect of the reconciler ({type(error).__name__})"
