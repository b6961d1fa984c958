"""Every end date and every open promise, from the store alone: what somebody has to keep when this software is gone.

An obligation to take back is a grant that ends; a promise is a line that was asked for and is not settled. Who
approved it, what exactly was given and where it stands are said with each, so that a person can go on by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Any

from desired_state import ledger
from desired_state.catalogue import Catalogue
from desired_state.model import Given, LineKey, Request
from desired_state.periods import ends_at, reminds_at, zone_of
from reconciler.lifecycle import FINAL, Phase
from reconciler.line import LineState
from reconciler.loop.shared import handed_on
from reconciler.store import lines
from reconciler.store.database import Database

SETTLED = (Phase.GRANTED, Phase.EXPIRING, Phase.REVOKING)


@dataclass(frozen=True, slots=True)
class Obligation:
    """One line that somebody still has something to do for. `ends_at` and `reminds_at` are None while open."""

    key: LineKey
    person: str
    object_id: str
    request: Request
    given: tuple[Given, ...]
    is_by_us: bool
    granted_at: datetime | None
    ends_at: datetime | None
    reminds_at: datetime | None
    phase: Phase | None
    note: str

    @property
    def is_promise(self) -> bool:
        """It was asked for and is not settled."""
        return self.phase not in SETTLED


def obligations(
    database: Database, tenant: str, catalogue: Catalogue, zone: tzinfo = UTC
) -> tuple[tuple[Obligation, ...], tuple[Obligation, ...]]:
    """What ends, soonest first, and what is promised without an end yet, oldest first. An open grant is neither."""
    with database.read() as session:
        standings = ledger.standings(session, tenant)
        states = lines.load(session, tenant)
    left = handed_on(standings.values())
    every = [
        _with_more(_obligation(standing, request, states.get(key), catalogue, zone), left)
        for key, standing in standings.items()
        if (request := standing.request) is not None and _is_open(standing, states.get(key))
    ]
    ends = [o for o in every if o.ends_at is not None]
    promises = [o for o in every if o.ends_at is None and o.is_promise]
    return (
        tuple(sorted(ends, key=lambda o: (o.ends_at or datetime.max.replace(tzinfo=UTC), o.key))),
        tuple(sorted(promises, key=lambda o: (o.request.requested_at, o.key))),
    )


def _is_open(standing: ledger.Standing, state: LineState | None) -> bool:
    return standing.is_current and (state is None or state.phase not in FINAL)


def _with_more(found: Obligation, left: Mapping[LineKey, tuple[Given, ...]]) -> Obligation:
    """What an earlier line left to this one is taken back with this one."""
    more = left.get(found.key, ())
    return replace(found, given=(*more, *found.given), is_by_us=found.is_by_us or bool(more))


def _obligation(
    standing: ledger.Standing, request: Request, state: LineState | None, catalogue: Catalogue, zone: tzinfo
) -> Obligation:
    entitlement, claim = standing.entitlement, request.claim
    own = zone_of(claim.person.time_zone if claim.person is not None else None, zone)
    end = ends_at(request.period, standing.granted_at, own)
    product = catalogue.product(request.product)
    remind_s = product.remind_s if product is not None else 0.0
    named = claim.upn or (claim.person.email or claim.person.name if claim.person is not None else None)
    return Obligation(
        standing.key,
        entitlement.upn if entitlement is not None else named or "?",
        entitlement.user if entitlement is not None else "",
        request,
        standing.given or (state.given if state is not None else ()),
        standing.is_by_us,
        standing.granted_at,
        end,
        reminds_at(end, standing.granted_at, remind_s) if end is not None else None,
        state.phase if state is not None else (Phase.GRANTED if standing.granted_at is not None else None),
        state.note if state is not None else "",
    )


def as_json(found: Obligation, catalogue: Catalogue) -> dict[str, Any]:
    """The stable JSON of one row of `obligations --output json`."""
    return {
        "ticket": found.key.ticket,
        "line": found.key.line,
        "person": found.person,
        "object_id": found.object_id or None,
        "product": found.request.product,
        "product_name": catalogue.product_name(found.request.product),
        "given": [_given(g, catalogue) for g in found.given],
        "by_us": found.is_by_us,
        "granted_at": _text(found.granted_at),
        "ends_at": _text(found.ends_at),
        "reminds_at": _text(found.reminds_at),
        "approvers": list(found.request.approvers),
        "phase": found.phase.value if found.phase is not None else None,
        "stands": found.note,
    }


def given_words(given: Given, catalogue: Catalogue) -> str:
    """What was given, for people."""
    sku = catalogue.skus.get(given.sku, ("", given.sku))[1] if given.sku is not None else ""
    plans = ", ".join(catalogue.plans.get(p, (p, ""))[0] for p in given.plans)
    said = {"location": f"usage location {given.country}", "license": sku, "plans": f"{plans} switched on in {sku}"}
    return said.get(given.kind.value, f"membership in group {given.group}")


def _given(given: Given, catalogue: Catalogue) -> dict[str, Any]:
    return {
        "kind": given.kind.value,
        "at": _text(given.at),
        "sku_id": given.sku,
        "group_id": given.group,
        "plan_ids": list(given.plans),
        "country": given.country or None,
        "words": given_words(given, catalogue),
    }


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None
