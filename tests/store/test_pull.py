"""Tickets read from an instance into the ledger: whom a form means is whom it mentions, whoever was read with it."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from desired_state import ledger
from desired_state.catalogue import load_builtin
from desired_state.model import Refusal, Request, Why
from desired_state.says import TicketWords
from reconciler.clock import ManualClock
from reconciler.loop.pull import Reader, pull
from reconciler.store.database import Database
from tests.make import MONDAY
from tests.make_tickets import an_item
from tests.wire.make_replies import Instance, Remote, a_row, a_servicenow, listed
from tests.wire.test_client_tickets import ADA, FLOW, ITEM, option

TENANT = "contoso"


def a_reader(database: Database, remote: Remote) -> Reader:
    return Reader(
        tenant=TENANT,
        servicenow=a_servicenow(remote),
        database=database,
        clock=ManualClock(MONDAY),
        catalogue=load_builtin(),
        items={ITEM: an_item()},
        words=TicketWords(),
        zone=ZoneInfo("UTC"),
    )


def an_instance(answer: str) -> Remote:
    """A ticket that Ada is on as its person, and whose form says `answer` where the person should be."""
    form = [option(5001, 1, "user", answer, "8", "sys_user"), option(5002, 1, "product", "visio-plan-2")]
    return Remote(Instance([listed(a_row(1))], sc_item_option_mtom=form, sys_user=[ADA, FLOW]))


def declared(database: Database) -> dict[str, Request | Refusal]:
    with database.read() as session:
        return {key.ticket: s.declaration for key, s in ledger.standings(session, TENANT).items()}


def test_a_user_name_means_nobody_because_its_owner_was_read_with_the_ticket(database):
    remote = an_instance("ada")

    pull(a_reader(database, remote), cycle="c1")

    found = declared(database)["RITM0000001"]
    assert isinstance(found, Refusal)
    assert found.why is Why.IDENTITY_MISMATCH


def test_who_was_read_with_the_ticket_is_not_asked_for_again(database):
    remote = an_instance(ADA["sys_id"])

    pull(a_reader(database, remote), cycle="c1")

    found = declared(database)["RITM0000001"]
    assert isinstance(found, Request)
    assert found.claim.person is not None
    assert found.claim.person.sys_id == ADA["sys_id"]
    assert len([r for r in remote.seen if r.url.path.endswith("/sys_user")]) == 1
