"""What decisions rest on, kept: the text of rules by its hash, and what rules approved without a person.

A text is the same for every tenant and never changes: its hash is its name. What a rule approved counts against its
daily limits, and the share of it that a person looks at afterwards waits here until somebody has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import bindparam
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from desired_state.model import LineKey
from desired_state.rows import is_row, table_of, unless_there
from desired_state.rules import Ruling, replay
from reconciler.store import journal
from reconciler.store.rows.approvals import AutoApprovalRow, RuleTextRow

RULED_KINDS = ("line_moved",)  # audit rows that carry a ruling
_TEXTS = table_of(RuleTextRow)
_TEXT = select_columns(_TEXTS.c.body).where(is_row(_TEXTS))
_KEEP = unless_there(_TEXTS)
_C = table_of(AutoApprovalRow).c
_SINCE = select_columns(_C.rule, _C.ticket, _C.line, _C.cost).where(
    _C.tenant == bindparam("tenant"), _C.at > bindparam("since")
)


@dataclass(frozen=True, slots=True)
class AutoApproval:
    """One line that a rule approved. `cost` is more a month; `reviewed_by` is "" until a person has looked."""

    rule: str
    line: LineKey
    digest: str
    cost: Decimal
    at: datetime
    is_sampled: bool
    reviewed_by: str = ""
    note: str = ""


def keep_text(session: Session, named: str, text: str, at: datetime) -> None:
    """Keep the text of rules under its hash; nothing is written when it is there."""
    if text_of(session, named) is None:
        session.connection().execute(_KEEP, {"hash": named, "body": text, "kept_at": at})


def text_of(session: Session, named: str) -> str | None:
    """The text that has this hash, None when it was never kept."""
    text: str | None = session.connection().execute(_TEXT, {"of_hash": named}).scalar()
    return text


def replayed(session: Session, row: journal.AuditRow) -> Ruling:
    """The decision that an audit row tells of, judged again by the rules of then.

    Raises:
        ValueError: the row tells of none, the text of its rules is not kept, or the person was erased from the log.
    """
    kept: Mapping[str, Any] = row.body.get("ruling") or {}
    if not kept:
        raise ValueError(f"audit row {row.seq} tells of no decision by rules")
    text = text_of(session, str(kept["rules_hash"]))
    if text is None:
        raise ValueError(f"the text of the rules {kept['rules_hash']} is not in the store")
    try:
        return replay(text, kept)
    except (ArithmeticError, KeyError, TypeError) as error:  # signs stand where the facts were
        raise ValueError(f"what audit row {row.seq} was judged by cannot be read any more") from error


def approve(session: Session, tenant: str, approval: AutoApproval) -> bool:
    """Keep that a rule approved a line; False, and nothing written, when this digest was approved by it already."""
    key = (tenant, approval.rule, approval.line.ticket, approval.line.line, approval.digest)
    if session.get(AutoApprovalRow, key) is not None:
        return False
    session.add(
        AutoApprovalRow(
            tenant=tenant,
            rule=approval.rule,
            ticket=approval.line.ticket,
            line=approval.line.line,
            digest=approval.digest,
            cost=str(approval.cost),
            at=approval.at,
            is_sampled=approval.is_sampled,
        )
    )
    session.flush()
    return True


def approved_since(session: Session, tenant: str, since: datetime) -> dict[str, dict[LineKey, Decimal]]:
    """What each rule approved since then: by line, what it costs more a month."""
    found: dict[str, dict[LineKey, Decimal]] = {}
    for row in session.connection().execute(_SINCE, {"tenant": tenant, "since": since}):
        found.setdefault(row.rule, {})[LineKey(row.ticket, row.line)] = Decimal(row.cost)
    return found


def sample(session: Session, tenant: str) -> tuple[AutoApproval, ...]:
    """What waits for a person's look, oldest first."""
    query = select(AutoApprovalRow).where(
        AutoApprovalRow.tenant == tenant, col(AutoApprovalRow.is_sampled), AutoApprovalRow.reviewed_by == ""
    )
    return tuple(sorted((_approval(row) for row in session.exec(query)), key=lambda a: (a.at, a.line, a.rule)))


def review(session: Session, tenant: str, line: LineKey, *, by: str, note: str, at: datetime) -> int:
    """Somebody looked at what rules approved for a line: how many entries that settles."""
    query = select(AutoApprovalRow).where(
        AutoApprovalRow.tenant == tenant,
        AutoApprovalRow.ticket == line.ticket,
        AutoApprovalRow.line == line.line,
        AutoApprovalRow.reviewed_by == "",
    )
    rows = list(session.exec(query))
    for row in rows:
        row.reviewed_by, row.note, row.reviewed_at = by, note, at
    session.flush()
    return len(rows)


def _approval(row: AutoApprovalRow) -> AutoApproval:
    line = LineKey(row.ticket, row.line)
    return AutoApproval(
        row.rule, line, row.digest, Decimal(row.cost), row.at, row.is_sampled, row.reviewed_by, row.note
    )


def newest_of(session: Session, rows: Sequence[journal.AuditRow], key: LineKey) -> tuple[Ruling, str] | None:
    """The last decision by rules that these rows tell of a line, judged again, with the text of its rules.

    None where they tell of none, or where what was kept of it cannot be read any more.
    """
    told = [row for row in rows if row.subject == str(key) and row.kind == "line_moved" and row.body.get("ruling")]
    if not told:
        return None
    try:
        ruling = replayed(session, told[-1])
    except ValueError:
        return None
    text = text_of(session, ruling.rules_hash)
    return (ruling, text) if text is not None else None
