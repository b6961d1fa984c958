"""Builds what the audit log needs outside the store: its notary and its second places."""

from __future__ import annotations

import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from reconciler.clients.sinks import FileSink, HeadsFile, SyslogSink
from reconciler.clock import Clock
from reconciler.config import Settings
from reconciler.line import Lane
from reconciler.loop.notary import Heavy, Notary, Sink
from reconciler.store.database import Database
from reconciler.store.tables import EVERYONE
from reconciler.wiring.one_key import own_signer


def build_notary(
    settings: Settings, tenant: str, database: Database, clock: Clock, prices: Mapping[str, Decimal | None]
) -> Notary:
    """The notary of one tenant's log. `prices` are monthly, by product key."""
    audit = settings.audit

    def is_heavy(write: Heavy) -> bool:
        price = prices.get(str(write.body.get("product")))
        return write.lane is Lane.REMOVALS or (price is not None and price >= audit.head_before_price)

    heads = HeadsFile(audit.checkpoint_copy) if audit.checkpoint_copy is not None else None
    return Notary(
        database,
        (tenant, EVERYONE),
        clock,
        lambda name: own_signer(settings, name, database),
        second_places(settings),
        heads,
        audit.sink_policy == "strict",
        audit.checkpoint_every,
        audit.checkpoint_rows,
        is_heavy,
    )


def second_places(settings: Settings) -> tuple[Sink, ...]:
    """Where else the log goes: the file of heads first, then every sink."""
    audit = settings.audit
    heads: list[Sink] = [HeadsFile(audit.checkpoint_copy)] if audit.checkpoint_copy is not None else []
    return (*heads, *(_place(text, audit.sink_ca_file) for text in audit.sinks))


def _place(text: str, ca_file: Path | None) -> Sink:
    kind, _, rest = text.partition(":")
    if kind == "file":
        return FileSink(Path(rest))
    return SyslogSink(kind.removeprefix("syslog+"), rest.removeprefix("//"), ca_file, os.uname().nodename)
