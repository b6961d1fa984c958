"""Which tenant names of this store are one and the same directory.

Switches, freezes, budgets of a day and breakers protect a directory, and are kept by the name that it has in the
configuration. Whoever gives it a new name must not start without them: what holds under one name holds under all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select
from sqlmodel import Session

from desired_state.rows import table_of
from reconciler.store import configs, guards
from reconciler.store.rows.guards import GuardFactRow

FACT = "directory"
_FACTS = table_of(GuardFactRow)
_OWN = _FACTS.alias("own")
_IS_OWN = (_OWN.c.tenant == bindparam("tenant")) & (_OWN.c.name == bindparam("name"))
_NAMES = select(_FACTS.c.tenant).join(_OWN, _OWN.c.body == _FACTS.c.body).where(_IS_OWN, _FACTS.c.name == _OWN.c.name)


def note(session: Session, tenant: str, directory: str, at: datetime) -> bool:
    """Remember the directory (its tenant id) that a name stands for; False, and nothing written, when it is known.

    With it, what the store knows of older names from their configurations is remembered as well.
    """
    known = guards.fact(session, tenant, FACT)
    if known is not None and known[0].get("id") == directory.lower():
        return False
    names = configs.others(session, tenant)
    told = guards.facts(session, names, (FACT,))
    for name in (n for n in names if (n, FACT) not in told):  # configurations are long, and most are of this version
        kept = configs.accepted(session, name)
        id = _id_of(kept.document) if kept is not None else ""
        if id:
            guards.remember(session, name, FACT, {"id": id}, at)
    guards.remember(session, tenant, FACT, {"id": directory.lower()}, at)
    return True


def names(session: Session, tenant: str) -> tuple[str, ...]:
    """Every name of the directory that this name stands for, this one first."""
    found = session.connection().execute(_NAMES, {"tenant": tenant, "name": FACT}).scalars()
    return (tenant, *sorted(set(found) - {tenant}))


def shared(session: Session, tenant: str) -> str:
    """That the directory has other names here as well, for people; "" where it has not."""
    others = names(session, tenant)[1:]
    if not others:
        return ""
    listed = ", ".join(json.dumps(name) for name in others)
    return (
        f"the directory of tenant {tenant} is known here as {listed} too: switches, freezes and budgets of a day hold "
        "for all of these names, whatever else was kept under another one does not"
    )


def _id_of(document: Mapping[str, Any]) -> str:
    tenant = document.get("tenant") or {}
    return "" if tenant.get("sandbox") else str((tenant.get("graph") or {}).get("tenant_id") or "").lower()
