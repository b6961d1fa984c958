"""What only a person may decide, and what they said: one row a line, its newest question.

An answer is taken for the digest that was asked, by one conditional UPDATE, and becomes an audit row in the same
transaction. What becomes of it is one as well: carried out, or void because the world moved.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import update
from sqlmodel import Session, col, func, select

from desired_state.model import LineKey
from reconciler.question import Decided, Question, Word
from reconciler.store import journal
from reconciler.store.rows.questions import QuestionRow

REASON_MAX, NAME_MAX = 500, 100


class State(StrEnum):
    ASKED = "asked"
    DECIDED = "decided"
    DONE = "done"
    VOID = "void"
    GONE = "gone"  # nobody has to answer it any more


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it is kept. `decided` is a person's answer, `why` what became of it."""

    line: LineKey
    question: Question
    state: State
    asked_at: datetime
    decided: Decided | None = None
    reason: str = ""
    why: str = ""


def load(session: Session, tenant: str, *states: State, tickets: Iterable[str] | None = None) -> dict[LineKey, Asked]:
    """The newest question of each line that has one, in these states (none named: in any)."""
    query = select(QuestionRow).where(QuestionRow.tenant == tenant)
    if states:
        query = query.where(col(QuestionRow.state).in_([s.value for s in states]))
    if tickets is not None:
        query = query.where(col(QuestionRow.ticket).in_(sorted(tickets)))
    found = map(_asked, session.exec(query.order_by(col(QuestionRow.ticket), col(QuestionRow.line))))
    return {asked.line: asked for asked in found}


def ask(session: Session, tenant: str, key: LineKey, asked: Question, at: datetime) -> None:
    """Keep a question, in place of the one before."""
    row = session.get(QuestionRow, (tenant, key.ticket, key.line))
    if row is None:
        row = QuestionRow(
            tenant=tenant, ticket=key.ticket, line=key.line, digest="", about="", choices="", state="", asked_at=at
        )
        session.add(row)
    row.digest, row.state, row.asked_at = asked.digest, State.ASKED.value, at
    row.about = json.dumps(asked.about, sort_keys=True)
    row.choices = json.dumps({word.value: leads_to for word, leads_to in asked.choices.items()}, sort_keys=True)
    row.word = row.by = row.reason = row.why = ""
    row.decided_at = row.ended_at = None
    session.flush()


def decide(
    session: Session, tenant: str, asked: Asked, word: Word, *, by: str, reason: str, operator: str, at: datetime
) -> bool:
    """Take a person's answer to exactly this question; another answer that was not carried out yet is replaced.

    `by` is who decided, `operator` the account that said so. False, and nothing is written, when the question is not
    asked any more.
    """
    key, told = asked.line, asked.question
    done = session.execute(
        update(QuestionRow)
        .where(
            col(QuestionRow.tenant) == tenant,
            col(QuestionRow.ticket) == key.ticket,
            col(QuestionRow.line) == key.line,
            col(QuestionRow.digest) == told.digest,
            col(QuestionRow.state).in_([State.ASKED.value, State.DECIDED.value]),
        )
        .values(word=word.value, by=by, reason=reason, decided_at=at, state=State.DECIDED.value, why="", ended_at=None)
    )
    if done.rowcount != 1:  # type: ignore[attr-defined]
        return False
    body = {
        "word": word.value,
        "by": by,
        "operator": operator,
        "reason": reason,
        "digest": told.digest,
        "about": told.about,
        "leads_to": told.choices[word],
    }
    user = told.about.get("user")
    about = (user,) if isinstance(user, str) else ()
    journal.append(session, tenant, kind="question.decided", subject=str(key), body=body, at=at, actor=by, about=about)
    return True


def settle(session: Session, tenant: str, asked: Asked, to: State, *, why: str, at: datetime, cycle: str) -> None:
    """What became of an answer, or that nobody has to answer any more. One that came meanwhile is left alone."""
    key = asked.line
    done = session.execute(
        update(QuestionRow)
        .where(
            col(QuestionRow.tenant) == tenant,
            col(QuestionRow.ticket) == key.ticket,
            col(QuestionRow.line) == key.line,
            col(QuestionRow.digest) == asked.question.digest,
            col(QuestionRow.state) == asked.state.value,
            col(QuestionRow.decided_at) == (asked.decided.at if asked.decided is not None else None),
        )
        .values(state=to.value, why=why, ended_at=at)
    )
    if done.rowcount != 1 or asked.decided is None:  # type: ignore[attr-defined]
        return
    said = asked.decided
    body = {"word": said.word.value, "by": said.by, "digest": said.digest, "why": why}
    journal.append(session, tenant, kind=f"question.{to.value}", subject=str(key), body=body, at=at, cycle=cycle)


def answers(session: Session, tenant: str) -> datetime | None:
    """When a person last answered: another instant is news."""
    query = select(func.max(col(QuestionRow.decided_at))).where(QuestionRow.tenant == tenant)
    return session.exec(query).one()


def _asked(row: QuestionRow) -> Asked:
    about = json.loads(row.about)
    choices = {Word(word): leads_to for word, leads_to in json.loads(row.choices).items()}
    decided = None
    if row.word and row.decided_at is not None:
        decided = Decided(Word(row.word), row.by, row.decided_at, row.digest, about)
    line = LineKey(row.ticket, row.line)
    return Asked(
        line, Question(about, choices, row.digest), State(row.state), row.asked_at, decided, row.reason, row.why
    )
