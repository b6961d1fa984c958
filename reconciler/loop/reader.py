"""How the tickets of one tenant are read, and the marks up to which they have been."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta, tzinfo

from desired_state.catalogue import Catalogue
from desired_state.items import Item
from desired_state.says import TicketWords
from reconciler.clients.servicenow import ServiceNow
from reconciler.clock import Clock
from reconciler.seats.urgency import Urgency
from reconciler.store.database import Database

KNOWN_MARK = "m365r-op:"  # of what we only told something: it changes nothing about what the ticket asks
SOURCE = "servicenow"
LOOKED = "looked"  # the mark of when the last cycle began that looked at every ticket taken in by then


@dataclass(frozen=True, slots=True)
class Reader:
    """How tickets of one tenant are read. `items` maps the sys_id of a catalogue item to what it means."""

    tenant: str
    servicenow: ServiceNow
    database: Database
    clock: Clock
    catalogue: Catalogue
    items: Mapping[str, Item]
    words: TicketWords
    zone: tzinfo
    our_groups: frozenset[str] = frozenset()  # sys_ids
    our_accounts: frozenset[str] = frozenset()  # sys_ids
    page_size: int = field(default=200)
    urgency: Urgency = field(default_factory=Urgency)  # which tickets are served first, and why
    whole_every: timedelta = timedelta.max  # a row that was hidden while it changed is found this late
    meaning: str = ""  # digest of everything that decides what a ticket means; when it changes, all are read again
    written: dict[str, int] = field(default_factory=dict)  # how often what our last answers changed was written to
