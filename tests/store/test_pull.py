"""Tickets read from an instance into the ledger: whom a form means is whom it names, whoever was read with it."""

from __future__ import annotations

from dataclasses import replace
from zoneinfo import ZoneInfo

import httpx
import pytest

from desired_state import ledger
from desired_state.catalogue import load_builtin
from desired_state.intake import USER_NAMES_MAX
from desired_state.model import Refusal, Request, Why
from desired_state.says import TicketWords
from reconciler.clock import ManualClock
from reconciler.loop.pull import pull
from reconciler.loop.reader import Reader
from reconciler.store import journal, tickets
from reconciler.store.database import Database
from tests.make import MONDAY
from tests.make_database import an_empty_database
from tests.make_tickets import an_item
from tests.wire.make_replies import Instance, Remote, Reply, Rows, a_row, a_servicenow, listed, query, reply, sys_id
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


class People(Instance):
    """An instance that shows of its other tables the rows that a query asks for, and of its people not the hidden."""

    def __init__(self, pages: list[httpx.Response], *, hidden: frozenset[str] = frozenset(), **tables: Rows) -> None:
        super().__init__(pages, **tables)
        self.hidden = hidden

    def __call__(self, request: httpx.Request) -> Reply:
        if "/servicecatalog/" in request.url.path:
            return reply(404)  # this account sees no form
        table, asked = request.url.path.rpartition("/")[2], query(request)["sysparm_query"]
        if table == "sc_req_item":
            return super().__call__(request)
        if "user_name=" in asked:
            wanted, key = {part.removeprefix("user_name=") for part in asked.split("^OR")}, "user_name"
        else:
            link = asked.split("^", maxsplit=1)[0].partition("IN")
            wanted, key = set(link[2].split(",")), link[0]
        rows = [row for row in self._tables.get(table, []) if row[key] in wanted]
        shown = [r for r in rows if r["sys_id"] not in self.hidden]
        return listed(*shown, total=len(rows))


BOB = {"sys_id": sys_id(703), "user_name": "bob", "email": "bob@contoso.com", "name": "Bob", "active": "true"}


def form(n: int, person: str, **more: str) -> Rows:
    """What the form of the n-th ticket says."""
    answers = {"product": ("visio-plan-2", "6", ""), "user": (person, "8", "sys_user")}
    answers |= {name: (value, "8", "sys_user") for name, value in more.items()}
    return [option(5000 + 10 * n + i, n, name, *answer) for i, (name, answer) in enumerate(answers.items())]


def an_instance(
    *forms: Rows,
    size: int = 200,
    people: Rows | None = None,
    hidden: frozenset[str] = frozenset(),
    updated: str = "2026-11-20 08:00:00",
) -> Remote:
    """Tickets of Ada's that say `forms`, in pages of this size."""
    rows = [a_row(n, updated) for n in range(1, len(forms) + 1)]
    pages = [listed(*rows[at : at + size], total=len(rows) - at) for at in range(0, len(rows), size)]
    known = [ADA, FLOW, BOB] if people is None else people
    options = [option for form in forms for option in form]
    return Remote(People(pages, hidden=hidden, sc_item_option_mtom=options, sys_user=known))


def declared(database: Database) -> dict[str, Request | Refusal]:
    with database.read() as session:
        return {key.ticket: s.declaration for key, s in ledger.standings(session, TENANT).items()}


def whom(database: Database, ticket: str = "RITM0000001") -> tuple[str | None, str | None]:
    found = declared(database)[ticket]
    assert isinstance(found, Request), found
    return found.claim.upn, found.claim.person.user_name if found.claim.person is not None else None


def asked_for_people(remote: Remote) -> list[str]:
    return [query(r)["sysparm_query"] for r in remote.seen if r.url.path.endswith("/sys_user")]


def test_a_user_name_means_whoever_has_it(database):
    remote = an_instance(form(1, "bob"))

    pull(a_reader(database, remote), cycle="c1", at=MONDAY)

    assert whom(database) == (None, "bob")


def test_a_user_name_of_nobody_is_a_question(database):
    pull(a_reader(database, an_instance(form(1, "zoe"))), cycle="c1", at=MONDAY)

    found = declared(database)["RITM0000001"]
    assert isinstance(found, Refusal)
    assert found.why is Why.IDENTITY_MISMATCH


def test_a_user_name_of_two_people_is_a_question(database):
    remote = an_instance(form(1, "bob"), people=[ADA, FLOW, BOB, {**BOB, "sys_id": sys_id(704)}])

    pull(a_reader(database, remote), cycle="c1", at=MONDAY)

    found = declared(database)["RITM0000001"]
    assert isinstance(found, Refusal)
    assert found.why is Why.IDENTITY_MISMATCH


def test_a_user_name_whose_owner_is_not_shown_is_unknown_and_never_nobody(database):
    remote = an_instance(form(1, "bob"), hidden=frozenset({BOB["sys_id"]}))

    pull(a_reader(database, remote), cycle="c1", at=MONDAY)

    found = declared(database)["RITM0000001"]
    assert isinstance(found, Refusal)
    assert found.why is Why.UNKNOWN


ANYBODY = ("bob", "ada", "zoe", BOB["sys_id"], BOB["sys_id"].upper(), "bob@contoso.com", "Bob")


@pytest.mark.parametrize("typed", ANYBODY)
@pytest.mark.parametrize("size", [1, 2])
def test_a_ticket_reads_the_same_whatever_is_on_its_page(typed, size, engine):
    """The others mention Ada and Bob by sys_id, Bob also as a manager: nobody of them is the first one's to see."""
    forms = (form(1, typed), form(2, ADA["sys_id"], manager=BOB["sys_id"]), form(3, BOB["sys_id"]))
    read = []
    for page_size in (3, size):
        with an_empty_database(engine) as database:
            reader = a_reader(database, an_instance(*forms, size=page_size))
            pull(replace(reader, page_size=page_size), cycle="c1", at=MONDAY)
            read.append(declared(database))

    assert read[0].keys() == {"RITM0000001", "RITM0000002", "RITM0000003"}
    assert read[0] == read[1]


def test_a_sign_in_name_stands_for_itself_and_asks_for_nobody(database):
    bob = {**BOB, "user_name": "bob@contoso.com"}
    remote = an_instance(form(1, "bob@contoso.com"), form(2, bob["sys_id"]), people=[ADA, FLOW, bob])

    pull(a_reader(database, remote), cycle="c1", at=MONDAY)

    assert whom(database) == ("bob@contoso.com", None)
    assert len(asked_for_people(remote)) == 1


def test_the_user_names_of_a_page_are_looked_up_together(database):
    people = [{**BOB, "sys_id": sys_id(1000 + n), "user_name": f"user{n}"} for n in range(1, 46)]
    remote = an_instance(*(form(n, f"user{n}") for n in range(1, 46)), people=[ADA, FLOW, *people])

    pull(a_reader(database, remote), cycle="c1", at=MONDAY)

    assert whom(database, "RITM0000045") == (None, "user45")
    assert len([q for q in asked_for_people(remote) if "user_name=" in q]) == 3


def test_one_ticket_asks_for_so_many_user_names_and_no_more(database):
    remote = an_instance(form(1, ",".join(f"user{n}" for n in range(USER_NAMES_MAX + 50))))

    pull(a_reader(database, remote), cycle="c1", at=MONDAY)

    assert len([q for q in asked_for_people(remote) if "user_name=" in q]) == 3


OTHER = {**BOB, "sys_id": sys_id(704), "name": "Bob the Second", "email": "bob2@contoso.com"}


@pytest.mark.parametrize("people", [[{**BOB, "user_name": "bob.byron"}], [{**BOB, "user_name": "bob.byron"}, OTHER]])
def test_a_user_name_that_was_given_away_does_not_make_an_old_ticket_mean_somebody_else(database, people):
    pull(a_reader(database, an_instance(form(1, "bob"))), cycle="c1", at=MONDAY)
    later = an_instance(form(1, "bob"), people=[ADA, FLOW, *people], updated="2026-11-20 09:00:00")

    for cycle in ("c2", "c3"):
        pull(replace(a_reader(database, later), meaning=cycle), cycle=cycle, at=MONDAY)

    found = declared(database)["RITM0000001"]
    assert isinstance(found, Request)
    assert found.claim.person is not None
    assert (found.claim.person.sys_id, found.claim.person.user_name) == (BOB["sys_id"], "bob.byron")


def test_another_user_name_on_the_form_is_looked_up(database):
    pull(a_reader(database, an_instance(form(1, "bob"))), cycle="c1", at=MONDAY)
    later = an_instance(form(1, "ada"), updated="2026-11-20 09:00:00")

    pull(a_reader(database, later), cycle="c2", at=MONDAY)

    assert whom(database) == (None, "ada")


def test_who_was_read_with_the_ticket_is_not_asked_for_again(database):
    remote = an_instance(form(1, ADA["sys_id"]))

    pull(a_reader(database, remote), cycle="c1", at=MONDAY)

    assert whom(database) == (None, "ada")
    assert len(asked_for_people(remote)) == 1


def rows_kept(database: Database) -> int:
    with database.read() as session:
        return journal.head(session, TENANT).size


@pytest.mark.parametrize("field", ["user", "product", "short_description"])
def test_a_ticket_with_u_0000_is_read_once_and_shows_where_it_stood(database, field: str):
    """ServiceNow keeps it, and PostgreSQL in no text."""
    said = "b\x00b"
    answers = form(1, said if field == "user" else "bob")
    if field == "product":
        answers[0]["sc_item_option.value"] = said
    row = a_row(1, "2026-11-20 08:00:00", **({field: said} if field == "short_description" else {}))
    instance = People([listed(row)], sc_item_option_mtom=answers, sys_user=[ADA, FLOW, BOB])

    pull(a_reader(database, Remote(instance)), cycle="c1", at=MONDAY)
    once = rows_kept(database)
    pull(a_reader(database, Remote(instance)), cycle="c2", at=MONDAY)

    assert rows_kept(database) == once
    assert list(declared(database)) == ["RITM0000001"]
    with database.read() as session:
        copy = tickets.load(session, TENANT)["RITM0000001"]
    assert "b\ufffdb" in (copy.short_description, *(copy.variables or {}).values())
