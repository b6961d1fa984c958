"""A store of many lines, written straight into its tables: what years of a large tenant look like to the board."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import insert

from desired_state import ledger
from desired_state.catalogue import load_builtin
from desired_state.ledger import LedgerRow
from desired_state.model import Claim, Entitlement, LineKey, ProductKey, Request, Says, UserId
from reconciler.causes import Cause
from reconciler.store import journal, tickets
from reconciler.store.database import Database, open_database
from reconciler.store.rows.tickets import LineRow
from tests.make_tickets import a_ticket

SETTLED = [("granted", "true", None)] * 6 + [("granted", None, None)] * 2 + [("revoked", "true", None)]
PHASES = [
    (("review", "false"), ("review", None)),
    (("waiting_for_seat", "false"), ("waiting_for_seat", None)),
    (("verifying", "pending"), ("verifying", "false")),
    (("held", "unknown"), ("awaiting_approval", "false")),
    (("drifted", "false"), ("converging", "false")),
]  # a cause leaves a line in few phases
CHUNK = 5_000


def many_lines(path: Path, count: int, tenant: str, at: datetime, *, seed: int = 1, drifting: float = 0.1) -> Database:
    """A store with `count` lines of a year; `drifting` of them have a cause."""
    rng = random.Random(seed)
    database = open_database(path)
    products, causes = sorted(load_builtin().products), list(Cause)
    rows, entries = [], []
    for n in range(count):
        number = f"RITM{n:07d}"
        since = at - timedelta(minutes=rng.randrange(60 * 24 * 365))
        product, person = rng.choice(products), f"person.{n % 40_000:05d}@contoso.example"
        if rng.random() < drifting:
            cause = causes[int(len(causes) * rng.random() ** 2)].value  # some are frequent, all occur
            phase, verdict = PHASES[causes.index(Cause(cause)) % len(PHASES)][n % 2]
        else:
            phase, verdict, cause = rng.choice(SETTLED)
        rows.append(
            {
                "tenant": tenant,
                "ticket": number,
                "line": 1,
                "phase": phase,
                "verdict": verdict,
                "first_verdict": verdict,
                "cause": cause,
                "tier": "V2" if phase == "granted" else None,
                "user": f"00000000-0000-4000-8000-{n % 40_000:012d}",
                "attempts": 1,
                "next_at": None,
                "since": since,
                "granted_at": since if phase == "granted" else None,
                "ends_at": since + timedelta(days=365) if n % 7 == 0 else None,
                "episode": 1,
                "note": "No licence of it is free. All of them are in use." if cause else "",
                "given": "[]",
                "reversals": 0,
                "told": "1/granted/-",
                "first_seen_at": since,
                "changed_at": since,
                "product": product,
                "person": person,
            }
        )
        claim = Claim(upn=person, person=None)
        key = LineKey(number, 1)
        wish = Request(key, claim, ProductKey(product), Says.FULFILLED, since, since)
        bound = Entitlement(wish, "tenant-id", UserId(rows[-1]["user"]), person, since)
        kind, body = ledger.encode(ledger.Bound(bound))
        entries.append({"tenant": tenant, "ticket": number, "line": 1, "kind": kind, "body": body, "at": since})
    for start in range(0, count, CHUNK):
        with database.write() as session:
            connection = session.connection()
            connection.execute(insert(LineRow), rows[start : start + CHUNK])
            connection.execute(insert(LedgerRow), entries[start : start + CHUNK])
    with database.write() as session:
        for n in range(0, count, max(1, count // 200)):
            number = f"RITM{n:07d}"
            tickets.save(session, tenant, replace(a_ticket(), number=number, sys_id=f"sys-{n}"), at)
            body = {"from": None, "to": rows[n]["phase"], "verdict": rows[n]["verdict"], "cause": rows[n]["cause"]}
            journal.append(session, tenant, kind="line_moved", subject=f"{number}/1", body=body, at=at)
    return database
