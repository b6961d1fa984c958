"""What was sent to the directory for the lines of a ticket, from the audit log: what its note is written from.

The log, not the memory of a cycle, is asked: what a former cycle sent before it died, or before another line of the
ticket came to rest, belongs into the note all the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from desired_state.model import LineKey
from reconciler.answers import Deed
from reconciler.lifecycle import Phase
from reconciler.loop.declare import RENEWED
from reconciler.store.journal import AuditRow


def deeds_of(rows: Iterable[AuditRow]) -> dict[LineKey, tuple[Deed, ...]]:
    """Writes by line, oldest first, since the ticket was last a new decision. `rows` are all of one ticket."""
    every = list(rows)
    results = {row.body.get("intent"): row for row in every if row.kind == "result"}
    renewed = {row.subject: row.seq for row in every if row.kind == "line_moved" and row.body.get("why") == RENEWED}
    found: dict[LineKey, list[Deed]] = {}
    began: dict[str, str] = {}
    for row in every:
        if row.kind == "line_moved":
            _note(row, began)
        if row.kind != "intent" or row.body.get("system") != "graph":
            continue
        for line in row.body.get("lines") or ():
            if row.seq > renewed.get(line, 0):
                found.setdefault(_key(line), []).append(_deed(row, results.get(row.seq), began.get(line, "")))
    return {key: tuple(deeds) for key, deeds in found.items()}


def _note(move: AuditRow, began: dict[str, str]) -> None:
    """Keep for which cause a line began to be changed, as long as it is on its way and no longer."""
    to = move.body.get("to")
    if to == Phase.CONVERGING and move.body.get("cause"):
        began.setdefault(move.subject, str(move.body["cause"]))
    elif to not in (Phase.CONVERGING, Phase.VERIFYING):
        began.pop(move.subject, None)


def _deed(intent: AuditRow, said: AuditRow | None, found: str) -> Deed:
    what = intent.body.get("what") or {}
    reply = said.body if said is not None else {}
    is_unknown = said is None or reply.get("error") == "OutcomeUnknown"
    result = "accepted" if reply.get("result") == "accepted" else "unknown" if is_unknown else "failed"
    return Deed(
        kind=str(intent.body.get("action")),
        before=what.get("before") or {},
        after=what.get("after") or {},
        result=result,
        at=intent.at,
        seq=intent.seq,
        words=str(reply.get("words") or ""),
        request_id=str(reply.get("request_id") or ""),
        client_request_id=str(reply.get("client_request_id") or ""),
        digest=str(intent.body.get("digest") or ""),
        found=found,
    )


def _key(text: str) -> LineKey:
    ticket, _, line = text.rpartition("/")
    return LineKey(ticket, int(line))
