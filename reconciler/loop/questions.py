"""Which questions the forms of catalogue items ask, so that a row that is hidden is not taken for a question not asked.

Whether an instance counts rows before access rules take some away is inferred (servicenow.md sections 4 and 19), and
so is that a question nobody answered has a row. Where the count tells nothing, a question of ours without a row is
hidden all the same when its ticket showed it before, when the form lets nobody leave it out, or when the form writes
rows for questions without an answer, as a ticket that was opened earlier shows. Otherwise, and where the form does not
ask it, it was not asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session

from desired_state.hiding import lacking
from desired_state.items import Item
from desired_state.model import Ticket
from reconciler.clients.servicenow import ServiceNow
from reconciler.errors import RemoteError
from reconciler.store import guards

FORMS = "forms"  # the guards' fact
KEPT = timedelta(hours=24)  # what a form asks is asked for again after this


@dataclass(slots=True)
class Form:
    """What is known of an item's form. `blank`: when the earliest ticket was opened that shows a question unanswered.

    `asks` are its questions, and whether one has to be answered; None: the instance does not show that, or was not
    asked.
    """

    blank: dict[str, datetime] = field(default_factory=dict)
    asks: Mapping[str, bool] | None = None
    asked_at: datetime | None = None


@dataclass(slots=True)
class Forms:
    """The forms of one tenant's items, by sys_id."""

    by_item: dict[str, Form]
    is_new: bool = False  # there is something to keep

    def learn(self, ticket: Ticket, item: Item) -> None:
        """Questions that the ticket shows without an answer have rows on this form."""
        said = ticket.variables or {}
        for name in item.questions():
            if name in said and not said[name]:
                known = self.by_item.setdefault(ticket.item, Form()).blank
                if name not in known or ticket.opened_at < known[name]:
                    known[name] = ticket.opened_at
                    self.is_new = True

    def complete(self, ticket: Ticket, item: Item, copy: Ticket | None, servicenow: ServiceNow, at: datetime) -> Ticket:
        """The ticket, with the questions that are there and not shown. `copy` is how it was read before."""
        missing = lacking(ticket, item)
        if not missing:
            return ticket
        before = {*((copy.variables or ()) if copy is not None else ()), *(copy.unshown if copy is not None else ())}
        form = self._asked(ticket.item, servicenow, at) if before.isdisjoint(missing) else self.by_item.get(ticket.item)
        unshown = tuple(name for name in missing if name in before or _has_row(form, name, ticket.opened_at))
        return replace(ticket, unshown=unshown) if unshown else ticket

    def _asked(self, item: str, servicenow: ServiceNow, at: datetime) -> Form:
        form = self.by_item.setdefault(item, Form())
        if form.asked_at is None or not timedelta(0) <= at - form.asked_at < KEPT:
            try:
                form.asks = servicenow.questions(item)
            except RemoteError:
                form.asks = None
                return form  # asked for again with the next ticket
            form.asked_at, self.is_new = at, True
        return form

    def keep(self, session: Session, tenant: str, at: datetime) -> None:
        """Remember what is new."""
        if self.is_new:
            guards.remember(session, tenant, FORMS, {item: _plain(form) for item, form in self.by_item.items()}, at)
            self.is_new = False


def load(session: Session, tenant: str) -> Forms:
    """What is remembered of the forms."""
    kept = guards.fact(session, tenant, FORMS)
    return Forms({item: _form(body) for item, body in kept[0].items()} if kept is not None else {})


def _has_row(form: Form | None, name: str, opened_at: datetime) -> bool:
    if form is None:
        return False
    if form.asks is not None and name not in form.asks:
        return False
    since = form.blank.get(name)
    is_written = since is not None and since <= opened_at
    return is_written or (form.asks is not None and form.asks[name])


def _plain(form: Form) -> dict[str, Any]:
    return {
        "blank": {name: at.isoformat() for name, at in form.blank.items()},
        "asks": dict(form.asks) if form.asks is not None else None,
        "asked_at": form.asked_at.isoformat() if form.asked_at is not None else None,
    }


def _form(body: Mapping[str, Any]) -> Form:
    blank = {name: datetime.fromisoformat(at) for name, at in body["blank"].items()}
    asked_at = body["asked_at"]
    return Form(blank, body["asks"], datetime.fromisoformat(asked_at) if asked_at else None)
