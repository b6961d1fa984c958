"""Loosening from the terminal: letting a stopped plan through, lifting a stop, saying what becomes of access.

Where the accepted configuration names `approvals.break_glass_signers`, one of them signs for exactly what is loosened
and how it stands now, so a signature is good for one thing, once. Where it names nobody, a typed name is kept as what
it is: it proves access to this terminal, and the log says so (assurance "low"). Stopping never waits for a signature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session

from desired_state.text import one_line
from reconciler.approvals.values import Assurance
from reconciler.breakglass import people_behind
from reconciler.errors import UserError
from reconciler.governance.payloads import REASON_MAX, loosening
from reconciler.loop.releasing import named
from reconciler.question import Word
from reconciler.store import directories, journal, switches
from reconciler.store.questions import Asked
from reconciler.store.switches import Switch, SwitchKind
from reconciler.wiring import App

NAME_MAX = 120


@dataclass(frozen=True, slots=True)
class Author:
    """Who loosens something. `account` is "tenant/object id", "" where only a name was typed; `told` is for the log."""

    name: str
    account: str
    told: Mapping[str, Any]

    @property
    def actor(self) -> str:
        """As audit rows name whoever did something."""
        return self.account or self.name


def takes_signature(app: App) -> bool:
    """Whether somebody is named who can sign here; then nobody loosens anything here by a typed name."""
    return bool(app.tenant.approvals.break_glass_signers)


def author(app: App, payload: bytes, signature: str | None, *, typed: str, operator: str) -> Author:
    """Who it is: the signer of these bytes, or the typed name where nobody is named who signs.

    `operator` is the account at the keyboard.

    Raises:
        UserError: the signature does not count, or there has to be one.
        RemoteError: the account of the signer cannot be read.
    """
    if signature is None:
        if takes_signature(app):
            raise UserError("one of approvals.break_glass_signers has to sign for this", exit_code=1)
        name = one_line(typed, NAME_MAX)
        return Author(name, "", {"who": {"name": name}, "assurance": Assurance.LOW.value, "source": operator})
    (one,) = people_behind(app, payload, [signature])
    human = one.human
    told = {
        "who": human.told,
        "assurance": Assurance.STRONG.value,
        "evidence": one.evidence,
        "agent": one.key,
        "source": operator,
    }
    return Author(human.upn or human.one, human.account, told)


def note(session: Session, app: App, author: Author, form: str, done: str) -> None:
    """Tell the log who it was and how sure that is, beside the row of what was done; as the pages do."""
    body = {**author.told, "done": done}
    at = app.clock.now()
    journal.append(session, app.name, kind="guard.operator", subject=form, body=body, at=at, actor=author.actor)


# --- the bytes that are signed ------------------------------------------------------------------------------------


def to_release(session: Session, app: App, digest: str, *, reason: str, lasts: timedelta) -> bytes:
    """To let one stopped plan through, or the ends of one day ahead. Raises ValueError for no such plan."""
    plan = named(session, app.name, digest, app.clock.now())
    return loosening(
        "let a stopped plan through once",
        app.name,
        reason=reason,
        plan=plan.digest,
        guard=plan.guard,
        lane=plan.lane,
        stopped=_instant(plan.at if plan.cycle else None),
        released=_instant(plan.released_at),
        seconds=str(int(lasts.total_seconds())),
    )


def to_lift(app: App, stops: Sequence[Switch], *, reason: str) -> bytes:
    """To lift the kill switch or a freeze, as it was set."""
    kind = "the kill switch" if stops[0].kind is SwitchKind.KILL else "a freeze"
    since = ", ".join(f"{s.changed_at.isoformat()} by {s.by}" for s in stops)
    return loosening(f"lift {kind}", app.name, reason=reason, stop=stops[0].name, since=since)


def to_decide(app: App, asked: Asked, word: Word, *, reason: str) -> bytes:
    """To say what becomes of access that was lost or outlived its period."""
    return loosening(
        "decide what becomes of access",
        app.name,
        reason=reason,
        line=str(asked.line),
        question=asked.question.digest,
        asked=asked.asked_at.isoformat(),
        before=_instant(asked.decided.at if asked.decided is not None else None),
        word=word.value,
    )


def stops_of(session: Session, app: App, name: str) -> list[Switch]:
    """The stops of this name that can be lifted here: those of the directory, under whichever name of it."""
    names = directories.names(session, app.name)
    return [s for s in switches.stops(session, app.name) if s.name == name and s.tenant in names]


def checked(reason: str) -> str:
    """The reason on one line. Raises UserError where there is none."""
    why = one_line(reason, REASON_MAX)
    if not why:
        raise UserError("--reason TEXT says why")
    return why


def unmoved(now: bytes, shown: bytes) -> None:
    """Raise UserError where what would be loosened is not any more what was looked at, or signed for."""
    if now != shown:
        raise UserError("it was changed by somebody else meanwhile; look at it again", exit_code=1)


def _instant(at: datetime | None) -> str:
    return at.isoformat() if at is not None else "never"
