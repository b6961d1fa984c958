"""A past that was recorded elsewhere, handed to an empty ledger through the ledger's own interface.

Used once, at the very first start: a ledger that knows anything keeps what it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from desired_state import ledger
from desired_state.intake import intake
from desired_state.model import Entitlement, Given, GivenKind, LineKey, Request, SkuId, UserId
from reconciler.errors import Unavailable
from reconciler.loop.mentions import mentions
from reconciler.loop.reader import Reader
from reconciler.store import journal


@dataclass(frozen=True, slots=True)
class PastGrant:
    """One line that was granted by us before this store existed; `sku` was assigned directly, None: not recorded."""

    key: LineKey
    user: UserId
    upn: str
    granted_at: datetime
    ends_at: datetime | None = None
    sku: SkuId | None = None

    @property
    def given(self) -> tuple[Given, ...]:
        return (Given(GivenKind.LICENSE, self.granted_at, sku=self.sku),) if self.sku is not None else ()


def hand_over(reader: Reader, past: Sequence[PastGrant], *, tenant_id: str, cycle: str) -> int:
    """Record past grants of tickets that can still be read; returns the number of ledger rows added."""
    with reader.database.read() as session:
        if not past or not ledger.is_empty(session, reader.tenant):
            return 0
    found = {t.number: t for t in reader.servicenow.tickets_by_number(sorted({g.key.ticket for g in past}))}
    mentioned = mentions(reader.servicenow, [t for t in found.values() if t.item in reader.items], reader.items)
    changes: list[tuple[ledger.LedgerChange, datetime]] = []
    for grant in sorted(past, key=lambda g: (g.granted_at, g.key)):
        ticket = found.get(grant.key.ticket)
        if ticket is None:  # all or nothing: a grant that is left out now would be forgotten for good
            raise Unavailable("servicenow", f"{grant.key.ticket}, which was granted before, is not shown")
        if ticket.item not in reader.items:
            continue
        taken = intake(
            ticket,
            reader.items[ticket.item],
            mentioned[ticket.number].people,
            reader.catalogue,
            at=grant.granted_at,
            our_groups=reader.our_groups,
            our_accounts=reader.our_accounts,
            words=reader.words,
            zone=reader.zone,
            named=mentioned[ticket.number].named,
        )
        line = next((one for one in taken.lines if one.key == grant.key), None)
        if not isinstance(line, Request):
            continue
        entitlement = Entitlement(line, tenant_id, grant.user, grant.upn, grant.granted_at)
        changes += [
            (ledger.Declared(line), grant.granted_at),
            (ledger.Bound(entitlement), grant.granted_at),
            (ledger.Granted(grant.key, grant.granted_at, grant.ends_at, given=grant.given), grant.granted_at),
        ]
    with reader.database.write() as session:
        added = ledger.import_history(session, reader.tenant, changes)
        if added:
            lines = sorted({str(change.key) for change, _ in changes})
            body = {"lines": lines, "rows": added}
            journal.append(
                session,
                reader.tenant,
                kind="imported",
                subject="ledger",
                body=body,
                at=reader.clock.now(),
                cycle=cycle,
            )
    return added
