"""A backtest as JSON and as a table for a spreadsheet. Pure. The keys are a contract: docs/backtest.md lists them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from reconciler.audit.sheet import inert
from reconciler.backtest import sums
from reconciler.backtest.values import Judged, Replayed, Standing

VERSION = 1
COLUMNS = (
    *("number", "line", "person", "product", "assignment_group", "closed_at", "standing", "verdict", "cause", "why"),
    *("late_hours", "step", "actions", "owner", "wrong_grant", "wrong_grant_product", "monthly", "so_far"),
)


def as_json(report: Replayed) -> dict[str, Any]:
    """The whole report, plain JSON values. Amounts are texts with two decimals, shares are 0 to 1, null of nothing."""
    whole = sums.total(report)
    return {
        "version": VERSION,
        "tenant": report.tenant,
        "source": report.source,
        "since": report.since.isoformat(),
        "at": report.at.isoformat(),
        "log_from": report.log_from.isoformat(),
        "tickets": report.tickets,
        "skipped": dict(report.skipped),
        "limits": list(report.limits),
        "total": _sum(whole),
        "by_product": [_sum(s) for s in sums.by_product(report)],
        "by_cause": [_sum(s) for s in sums.by_cause(report)],
        "by_assignment_group": [_sum(s) for s in sums.by_group(report)],
        "wrong_grants": [_spent(s) for s in sums.spent(report)],
        "would": sums.steps(report),
        "lines": [_line(j) for j in report.lines],
    }


def as_csv(report: Replayed) -> Iterator[str]:
    """One row a line, header first; every cell is inert in a spreadsheet (I17)."""
    yield _row(COLUMNS)
    for judged in report.lines:
        cells = _line(judged)
        cost = cells["wrong_grant"] or {}
        late = cells["late_s"]
        yield _row(
            inert("" if value is None else str(value))
            for value in (
                *(cells[name] for name in COLUMNS[:10]),
                None if late is None else round(late / 3600, 2),
                judged.would.step.value,
                " ".join(judged.would.actions),
                judged.would.owner,
                *(cost.get(name) for name in ("kind", "product", "monthly", "so_far")),
            )
        )


def _row(cells: Iterable[str]) -> str:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow(tuple(cells))
    return out.getvalue()


def _sum(found: sums.Sum) -> dict[str, Any]:
    return {
        "name": found.name,
        "lines": found.lines,
        "judged": found.judged,
        "false_fulfilment": _range(found.at_closing),
        "without_access": _range(found.without_access),
        "late": {**_range(found.late), "median_s": found.late_median_s},
        "leavers": found.counts[Standing.LEAVER],
        "counts": {s.value: n for s, n in found.counts.items()},
    }


def _range(found: sums.Range) -> dict[str, Any]:
    """`proven` <= `likely` <= `possible` are lines; the shares are of the judged lines."""
    return {
        "proven": found.low,
        "likely": found.likely,
        "possible": found.high,
        "proven_share": found.share(found.low),
        "likely_share": found.share(found.likely),
        "possible_share": found.share(found.high),
    }


def _spent(found: sums.Spent) -> dict[str, Any]:
    return {
        "kind": found.kind.value,
        "licences": found.lines,
        "monthly": _amount(found.monthly),
        "so_far": _amount(found.so_far),
        "without_price": found.unpriced,
        "without_date": found.undated,
    }


def _line(judged: Judged) -> dict[str, Any]:
    cost = judged.cost
    return {
        "number": judged.number,
        "line": judged.line,
        "person": judged.person,
        "product": judged.product,
        "assignment_group": judged.group,
        "closed_at": _instant(judged.closed_at),
        "standing": judged.standing.value,
        "verdict": judged.verdict.value if judged.verdict is not None else None,
        "cause": judged.cause.value if judged.cause is not None else None,
        "why": judged.why,
        "late_s": judged.late_s,
        "would": {
            "step": judged.would.step.value,
            "actions": list(judged.would.actions),
            "owner": judged.would.owner or None,
            "sentence": judged.would.sentence,
        },
        "wrong_grant": None
        if cost is None
        else {
            "kind": cost.kind.value,
            "product": cost.product,
            "monthly": _amount(cost.monthly),
            "since": _instant(cost.since),
            "so_far": _amount(cost.so_far),
        },
    }


def _amount(amount: Decimal | None) -> str | None:
    return f"{amount:.2f}" if amount is not None else None


def _instant(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None
