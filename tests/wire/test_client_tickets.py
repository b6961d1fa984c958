"""Reading tickets: nothing is skipped, nothing is guessed, and no broken reply counts as "no tickets"."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import httpx
import pytest

from reconciler.clients.servicenow import TicketFields, Watermark
from reconciler.clients.servicenow.queries import among, read_instant, text
from reconciler.clients.wire import Patience
from reconciler.clock import ManualClock
from reconciler.errors import (
    Forbidden,
    Malformed,
    NotFound,
    Rejected,
    SignInFailed,
    Throttled,
    Unavailable,
)
from tests.wire.make_replies import (
    INSTANCE,
    MONDAY,
    Instance,
    Keys,
    Remote,
    a_row,
    a_servicenow,
    cells,
    failure,
    listed,
    query,
    reply,
    sys_id,
)

ITEM = sys_id(900)
ADA = {"sys_id": sys_id(701), "user_name": "ada", "email": "ada@contoso.com", "name": "Ada", "active": "true"}
FLOW = {"sys_id": sys_id(702), "user_name": "fulfil.flow", "active": "true"}


def option(n: int, item: int, name: str, value: str, kind: str = "6", table: str = "") -> dict[str, str]:
    walk = "sc_item_option.item_option_new"
    return {
        "sys_id": sys_id(n),
        "request_item": sys_id(item),
        "sc_item_option.value": value,
        f"{walk}.name": name,
        f"{walk}.type": kind,
        f"{walk}.reference": table,
    }


def read(remote: Remote, watermark: Watermark | None = None, numbers: Collection[str] = (), **more: object):
    pages = list(a_servicenow(remote, **more).tickets(items=[ITEM], watermark=watermark, page_size=2, numbers=numbers))
    return [ticket for page in pages for ticket in page.tickets], pages


def item_queries(remote: Remote) -> list[str]:
    return [query(r)["sysparm_query"] for r in remote.seen if r.url.path.endswith("/sc_req_item")]


# --- pages -------------------------------------------------------------------------------------------------


def test_pages_continue_from_the_last_row_not_from_an_offset():
    first = listed(a_row(1, "2026-11-20 08:00:00"), a_row(2, "2026-11-20 08:00:05"), total=3)
    last = listed(a_row(3, "2026-11-20 08:00:05"), total=1)
    remote = Remote(Instance([first, last]))

    tickets, _ = read(remote)

    assert [ticket.number for ticket in tickets] == ["RITM0000001", "RITM0000002", "RITM0000003"]
    assert item_queries(remote) == [
        f"cat_itemIN{ITEM}^ORDERBYsys_updated_on^ORDERBYsys_id",
        f"cat_itemIN{ITEM}^sys_updated_on>=2026-11-20 08:00:05^sys_updated_on>2026-11-20 08:00:05^ORsys_id>{sys_id(2)}"
        "^ORDERBYsys_updated_on^ORDERBYsys_id",
    ]
    assert all("sysparm_offset" not in query(request) for request in remote.seen)


def test_a_run_starts_a_little_before_its_watermark():
    remote = Remote(Instance([listed()]))

    read(remote, Watermark(datetime(2026, 11, 20, 8, 2, tzinfo=UTC), sys_id(1)))

    assert item_queries(remote) == [
        f"cat_itemIN{ITEM}^sys_updated_on>=2026-11-20 08:00:00^ORDERBYsys_updated_on^ORDERBYsys_id"
    ]


def test_the_watermark_is_the_last_row():
    _, pages = read(Remote(Instance([listed(a_row(1), a_row(2))])))

    assert pages[-1].watermark == Watermark(datetime(2026, 11, 20, 8, 0, tzinfo=UTC), sys_id(2))


def test_the_watermark_stays_behind_the_servers_clock():
    _, pages = read(Remote(Instance([listed(a_row(1, "2026-11-23 08:59:58"))])))

    assert pages[-1].watermark == Watermark(MONDAY - timedelta(seconds=5))


def test_the_watermark_never_goes_back():
    mark = Watermark(datetime(2026, 11, 20, 8, 1, tzinfo=UTC), sys_id(9))

    _, pages = read(Remote(Instance([listed(a_row(1, "2026-11-20 08:00:30"))])), mark)
    _, empty = read(Remote(Instance([listed()])), mark)

    assert pages[-1].watermark == mark
    assert empty[-1].watermark == mark


def test_without_tickets_there_is_no_watermark():
    _, pages = read(Remote(Instance([listed()])))

    assert [(page.tickets, page.watermark) for page in pages] == [((), None)]


def test_a_page_whose_rows_are_all_hidden_is_not_the_end():
    link = f"{INSTANCE}/api/now/table/sc_req_item?sysparm_offset=2"
    remote = Remote(Instance([listed(total=3, link=link), listed(a_row(3), total=3), listed()]))

    tickets, _ = read(remote)

    assert [ticket.number for ticket in tickets] == ["RITM0000003"]
    assert str(remote.seen[1].url) == link


def test_hidden_rows_without_a_link_to_the_next_are_an_error():
    with pytest.raises(Malformed, match="hidden"):
        read(Remote(Instance([listed(total=3)])))


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/api/now/table/sc_req_item?sysparm_offset=2",
        f"{INSTANCE}/api/now/table/sys_user?sysparm_offset=2",
        f"{INSTANCE}/login.do",
    ],
)
def test_a_link_to_another_place_is_not_followed(link):
    remote = Remote(Instance([listed(total=3, link=link)]))

    with pytest.raises(Malformed):
        read(remote)

    assert len(remote.seen) == 1


def test_a_short_page_with_more_behind_it_is_not_the_end():
    link = f"{INSTANCE}/api/now/table/sc_req_item?sysparm_offset=2"
    first, last = listed(a_row(1), total=3, link=link), listed(a_row(2), total=1)

    tickets, _ = read(Remote(Instance([first, last])))

    assert len(tickets) == 2


def test_a_busy_table_does_not_keep_a_run_from_ending():
    later = "2026-11-23 09:00:01"
    remote = Remote(Instance([listed(a_row(1, later), a_row(2, later), total=99)]))

    tickets, _ = read(remote)

    assert len(tickets) == 2


def test_a_cut_reply_is_asked_for_again_in_halves():
    cut = reply(
        200, {"result": [cells(a_row(1)), ""], **failure("Transaction cancelled: maximum execution time exceeded")}
    )
    remote = Remote(Instance([cut, cut, listed(a_row(1))]))

    pages = list(a_servicenow(remote).tickets(items=[ITEM], page_size=200))

    limits = [query(r)["sysparm_limit"] for r in remote.seen if r.url.path.endswith("/sc_req_item")]
    assert limits == ["200", "100", "50"]
    assert len(pages[0].tickets) == 1


@pytest.mark.parametrize(
    "answer",
    [
        reply(200, {"result": [cells(a_row(1)), ""]}),
        reply(200, {"result": "x"}),
        reply(200, {"result": None}),
        reply(200, {}),
        reply(200, []),
        reply(200, ""),
        reply(200, "{cut"),
        reply(200, {"result": [{"sys_id": 7}]}),
        reply(200, {"result": [], **failure("Transaction cancelled: maximum execution time exceeded")}),
        reply(200, {"result": [cells({k: v for k, v in a_row(1).items() if k != "state"})]}),
        reply(200, {"result": [cells(a_row(1, "yesterday"))]}),
        listed(a_row(1, cat_item=sys_id(901))),
        listed(a_row(2), a_row(1)),
        listed(a_row(1), a_row(1)),
    ],
    ids=[
        "string among rows",
        "result is text",
        "result is null",
        "no result",
        "a list",
        "empty body",
        "cut JSON",
        "a number",
        "error inside 200",
        "hidden state",
        "no time stamp",
        "another item",
        "wrong order",
        "a row twice",
    ],
)
def test_a_reply_that_breaks_the_contract_is_an_error_never_no_tickets(answer):
    with pytest.raises(Malformed):
        read(Remote(Instance([answer])), patience=Patience(attempts=2))


def test_a_row_older_than_asked_for_shows_that_the_filter_was_ignored():
    with pytest.raises(Malformed, match="ignored"):
        read(Remote(Instance([listed(a_row(1, "2025-01-01 00:00:00"))])), Watermark(MONDAY))


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (reply(202), Unavailable, "202"),
        (reply(200, "<html><title>Instance Hibernating page</title></html>"), Unavailable, "Hibernating"),
        (reply(503, "<html><title>Maintenance</title></html>"), Unavailable, "Maintenance"),
        (reply(500, failure("x")), Unavailable, "500"),
        (reply(302, headers={"Location": "https://sso.example"}), Unavailable, "302"),
        (reply(403, failure("User Not Authorized", "Failed API level ACL Validation")), Forbidden, "API level"),
        (reply(403, failure("Operation Failed", "ACL")), Forbidden, "Operation Failed: ACL"),
        (reply(404, failure("No Record found", "Record doesn't exist or ACL restricts")), NotFound, "not visible"),
        (reply(400, failure("Invalid table sc_req_item")), Rejected, "Invalid table"),
        (reply(401, failure("User Not Authenticated", "Required to provide Auth information")), SignInFailed, "401"),
        (reply(401, headers={"X-MFA_TOKEN": "invalid"}), SignInFailed, "second factor"),
    ],
)
def test_each_failure_is_named_by_what_to_do_next(answer, error, said):
    with pytest.raises(error, match=said):
        read(Remote(Instance([answer])), patience=Patience(attempts=2), keys=Keys(renewable=False))


@pytest.mark.parametrize("answer", [reply(202), reply(503), reply(200, "<html>")])
def test_a_dropped_read_is_asked_again(answer):
    tickets, _ = read(Remote(Instance([answer, listed(a_row(1))])))

    assert len(tickets) == 1


def test_an_hourly_limit_is_handed_to_the_loop_instead_of_slept():
    clock = ManualClock(MONDAY)
    limit = reply(429, failure("Rate limit exceeded"), {"Retry-After": "3400", "X-RateLimit-Limit": "100"})

    with pytest.raises(Throttled) as caught:
        read(Remote(Instance([limit])), clock=clock)

    assert (caught.value.retry_after_s, clock.now()) == (3400.0, MONDAY)


def test_a_reset_time_stands_in_for_a_missing_retry_after():
    limit = reply(429, failure("Rate limit exceeded"), {"X-RateLimit-Reset": str(int(MONDAY.timestamp()) + 1800)})

    with pytest.raises(Throttled) as caught:
        read(Remote(Instance([limit])))

    assert caught.value.retry_after_s == 1800.0


def test_a_full_queue_without_headers_is_waited_out():
    tickets, _ = read(Remote(Instance([reply(429), listed(a_row(1))])))

    assert len(tickets) == 1


# --- what hangs on a ticket --------------------------------------------------------------------------------


def test_a_ticket_comes_with_everything_in_a_handful_of_requests():
    rows = [a_row(n) for n in range(1, 41)]
    remote = Remote(
        Instance(
            [listed(*rows)],
            sc_item_option_mtom=[option(5000 + n, n, "licence_sku", "SPE_E3") for n in range(1, 41)],
            sys_user=[ADA, FLOW],
        )
    )

    pages = list(a_servicenow(remote).tickets(items=[ITEM], page_size=200))

    assert len(pages[0].tickets) == 40
    assert len(remote.seen) == 6
    assert {request.url.path.rsplit("/", 1)[1] for request in remote.seen} == {
        "sc_req_item",
        "sc_item_option_mtom",
        "sc_multi_row_question_answer",
        "sysapproval_approver",
        "sc_task",
        "sys_user",
    }
    assert max(len(str(request.url)) for request in remote.seen) < 8000


def test_a_ticket_reads_as_it_stands():
    user = {
        **ADA,
        "employee_number": "100231",
        "country": "DE",
        "department.name": "IT",
        "cost_center.name": "",
        "manager": sys_id(703),
    }
    remote = Remote(
        Instance(
            [listed(a_row(1, close_notes="done"))],
            sc_item_option_mtom=[
                option(51, 1, "licence_sku", "SPE_E3", "5"),
                option(52, 1, "user", sys_id(701), "8", "sys_user"),
                option(53, 1, "", "", "19"),
                option(54, 1, "people", "", "0"),
            ],
            sc_multi_row_question_answer=[
                {"sys_id": sys_id(n), "parent_id": sys_id(1), "variable_set": sys_id(60), **cell}
                for n, cell in enumerate(
                    (
                        {"row_index": "10", "item_option_new.name": "who", "value": "third"},
                        {"row_index": "2", "item_option_new.name": "who", "value": "second"},
                        {"row_index": "2", "item_option_new.name": "sku", "value": "PRO"},
                        {"row_index": "1", "item_option_new.name": "who", "value": "first"},
                    ),
                    start=61,
                )
            ],
            sysapproval_approver=[
                {
                    "sys_id": sys_id(71),
                    "state": "approved",
                    "approver": f"{sys_id(704)}|Bea Boss",
                    "sysapproval": sys_id(1),
                    "document_id": sys_id(1),
                    "sys_updated_on": "2026-11-02 09:30:12",
                },
                {
                    "sys_id": sys_id(72),
                    "state": "requested",
                    "approver": f"{sys_id(705)}|Cy Chief",
                    "sysapproval": "",
                    "document_id": sys_id(801),
                    "sys_updated_on": "2026-11-02 09:30:12",
                },
            ],
            sc_task=[
                {"sys_id": sys_id(81), "request_item": sys_id(1), "number": "SCTASK1", "state": "1", "active": "true"}
            ],
            sys_user=[user, FLOW],
        )
    )

    (ticket,), (page,) = read(remote)

    assert ticket.item_name == "Microsoft 365 licence"
    assert (ticket.state, ticket.stage, ticket.approval, ticket.request_approval) == (
        "3",
        "complete",
        "approved",
        "approved",
    )
    assert (ticket.is_active, ticket.mod_count, ticket.closed_by) == (False, 6, "fulfil.flow")
    assert ticket.updated_at == datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
    assert ticket.price == Decimal("30.00")
    assert ticket.variables == {"licence_sku": "SPE_E3", "user": sys_id(701), "people": ""}
    assert ticket.rows == ({"who": "first"}, {"who": "second", "sku": "PRO"}, {"who": "third"})
    assert [(a.approver_name, a.state, a.decided_at) for a in ticket.approvals] == [
        ("Bea Boss", "approved", datetime(2026, 11, 2, 9, 30, 12, tzinfo=UTC)),
        ("Cy Chief", "requested", None),
    ]
    assert [task.number for task in ticket.tasks] == ["SCTASK1"]
    person = ticket.requested_for
    assert person is not None
    assert (person.email, person.country, person.department) == ("ada@contoso.com", "DE", "IT")
    assert (person.cost_center, person.title, person.manager) == ("", None, sys_id(703))
    assert page.people[sys_id(701)] == person


@pytest.mark.parametrize(
    "options",
    [
        [],
        [option(51, 1, "", "", "19")],
        [
            option(51, 1, "sku", "E3"),
            {k: v for k, v in option(52, 1, "user", "x").items() if k != "sc_item_option.value"},
        ],
        [{"sys_id": sys_id(51), "request_item": sys_id(1)}],
    ],
    ids=["no row", "layout only", "a hidden value", "all hidden"],
)
def test_a_form_that_cannot_be_read_in_full_is_unread_never_a_wish_for_nothing(options):
    (ticket,), _ = read(Remote(Instance([listed(a_row(1))], sc_item_option_mtom=options)))

    assert ticket.variables is None


def test_a_hidden_cell_makes_the_form_of_that_ticket_unread_and_no_other():
    hidden = {"sys_id": sys_id(61), "parent_id": sys_id(1), "row_index": "1", "item_option_new.name": "who"}
    remote = Remote(
        Instance(
            [listed(a_row(1), a_row(2))],
            sc_item_option_mtom=[option(51, 1, "sku", "E3"), option(52, 2, "sku", "E3")],
            sc_multi_row_question_answer=[hidden],
        )
    )

    first, second = read(remote)[0]

    assert (first.variables, first.rows) == (None, ())
    assert second.variables == {"sku": "E3"}


def test_variables_that_cannot_be_asked_for_are_an_error():
    class Closed(Instance):
        def __call__(self, request: httpx.Request):
            if "mtom" in request.url.path:
                return reply(403, failure("Operation Failed", "ACL"))
            return super().__call__(request)

    with pytest.raises(Forbidden):
        read(Remote(Closed([listed(a_row(1))])))


def test_an_older_record_names_its_person_on_the_request():
    row = {k: v for k, v in a_row(1).items() if k != "requested_for"} | {"request.requested_for": sys_id(701)}

    (ticket,), _ = read(Remote(Instance([listed(row)], sys_user=[ADA])))

    assert ticket.requested_for is not None
    assert ticket.requested_for.user_name == "ada"


def test_a_person_who_is_not_visible_is_nobody():
    (ticket,), _ = read(Remote(Instance([listed(a_row(1, requested_for="glide.maint"))])))

    assert ticket.requested_for is None


@pytest.mark.parametrize(
    ("recurring", "single", "price"),
    [
        ("25.00", "99.00", "25.00"),
        ("0", "30", "30"),
        ("0", "0", "0"),
        ("", "12", "12"),
        ("", "", None),
        ("x", "", None),
    ],
)
def test_the_recurring_price_is_the_price_where_there_is_one(recurring, single, price):
    row = a_row(1, recurring_price=recurring, price=single)

    (ticket,), _ = read(Remote(Instance([listed(row)])))

    assert ticket.price == (None if price is None else Decimal(price))


def test_rows_of_a_child_table_are_read_to_their_end():
    many = [option(5000 + n, 1, f"v{n}", "x") for n in range(600)]

    def instance(request: httpx.Request) -> httpx.Response:
        table, asked = request.url.path.rsplit("/", 1)[1], query(request)
        if table == "sc_req_item":
            return listed(a_row(1))
        if table != "sc_item_option_mtom":
            return listed()
        last = asked["sysparm_query"].partition("sys_id>")[2].partition("^")[0]
        left = [row for row in many if row["sys_id"] > last]
        return listed(*left[: int(asked["sysparm_limit"])], total=len(left))

    (ticket,), _ = read(Remote(instance))

    assert ticket.variables is not None
    assert len(ticket.variables) == 600


def test_only_values_without_links_and_named_fields_are_asked_for():
    remote = Remote(Instance([listed()]))

    read(remote)

    asked = query(remote.seen[0])
    assert asked["sysparm_display_value"] == "all"
    assert asked["sysparm_exclude_reference_link"] == "true"
    assert asked["sysparm_fields"].startswith("sys_id,number,cat_item")


def test_columns_can_be_named_as_a_customer_named_them():
    fields = TicketFields(country_field="u_country_code")

    assert "u_country_code" in fields.of_users()
    assert "country" not in fields.of_users()


# --- names -------------------------------------------------------------------------------------------------


def test_tickets_can_be_asked_for_by_number():
    remote = Remote(Instance([listed(a_row(1), a_row(2))]))

    found = a_servicenow(remote).tickets_by_number(["RITM0000002", "RITM0000001", "RITM0000003"])

    assert [ticket.number for ticket in found] == ["RITM0000001", "RITM0000002"]


def test_thousands_of_numbers_are_asked_for_in_addresses_that_an_instance_takes():
    remote = Remote(Instance([listed() for _ in range(30)]))

    a_servicenow(remote).tickets_by_number([f"RITM{n:07d}" for n in range(3000)])

    asked = [str(request.url) for request in remote.seen if "sc_req_item" in request.url.path]
    assert len(asked) == 15
    assert max(map(len, asked)) < 8000


def test_tickets_that_are_named_come_with_the_first_page_at_the_price_of_one_request():
    named, page = listed(a_row(1), a_row(3)), listed(a_row(2), a_row(3))
    remote = Remote(Instance([named, page], sys_user=[ADA, FLOW]))

    pages = list(
        a_servicenow(remote).tickets(items=[ITEM], page_size=200, numbers=["RITM0000003", "RITM0000001", "x^NQ"])
    )

    assert [[t.number for t in p.named] for p in pages] == [["RITM0000001", "RITM0000003"]]
    assert [[t.number for t in p.tickets] for p in pages] == [["RITM0000002", "RITM0000003"]]
    assert len(remote.seen) == 7
    assert item_queries(remote)[0].startswith("numberINRITM0000001,RITM0000003")


def test_a_ticket_that_is_named_and_has_changed_is_as_it_was_read_last():
    named = listed(a_row(1, "2026-11-20 08:00:00", short_description="as it was"))
    page = listed(a_row(1, "2026-11-20 08:00:05", short_description="as it is"))

    pages = list(
        a_servicenow(Remote(Instance([named, page]))).tickets(items=[ITEM], page_size=200, numbers=["RITM0000001"])
    )

    assert [t.short_description for t in (*pages[0].named, *pages[0].tickets)] == ["as it is", "as it is"]


def test_tickets_that_are_named_come_once_though_the_pages_are_many():
    pages = [
        listed(a_row(9)),
        listed(a_row(1, "2026-11-20 08:00:00"), a_row(2, "2026-11-20 08:00:05"), total=3),
        listed(a_row(3, "2026-11-20 08:00:05"), total=1),
    ]

    _, read_pages = read(Remote(Instance(pages)), numbers=["RITM0000009"])

    assert [[t.number for t in page.named] for page in read_pages] == [["RITM0000009"], []]


@pytest.mark.parametrize("number", ["RITM1^ORactive=true", "1", "ritm0000001", "RITM0000001,RITM0000002", ""])
def test_a_number_that_is_none_is_never_sent(number):
    remote = Remote(listed())

    found = a_servicenow(remote).tickets_by_number([number])

    assert (found, remote.seen) == ((), [])


def test_items_are_found_by_their_exact_name_and_a_name_of_two_is_a_question():
    rows = [
        {"sys_id": sys_id(1), "name": "Licence", "active": "true"},
        {"sys_id": sys_id(2), "name": "LICENCE", "active": "true"},
        {"sys_id": sys_id(3), "name": "Visio", "active": "true"},
        {"sys_id": sys_id(4), "name": "Visio", "active": "true"},
        {"sys_id": sys_id(5), "name": "Project", "active": "false"},
    ]

    found = a_servicenow(Remote(listed(*rows))).items(["Licence", "Visio", "Project"])

    assert found["Licence"] == sys_id(1)
    assert isinstance(found["Visio"], Rejected)
    assert "Project" not in found


def test_a_group_that_is_called_like_another_is_an_error_and_a_missing_one_is_none():
    rows = [{"sys_id": sys_id(n), "name": "Desk", "active": "true"} for n in (1, 2)]

    with pytest.raises(Rejected, match="2 records are called 'Desk'"):
        a_servicenow(Remote(listed(*rows))).group("Desk")

    assert a_servicenow(Remote(listed())).group("Desk") is None


def test_names_of_groups_are_read_by_id_and_what_is_no_id_is_not_asked_for():
    remote = Remote(listed({"sys_id": sys_id(1), "name": "Desk"}))

    found = a_servicenow(remote).group_names([sys_id(1), sys_id(2), "x^ORactive=true"])

    assert found == {sys_id(1): "Desk"}
    assert remote.queries()[0]["sysparm_query"] == f"sys_idIN{sys_id(1)},{sys_id(2)}^ORDERBYsys_id"


def test_names_of_groups_that_were_not_asked_for_mean_that_the_query_was_ignored():
    with pytest.raises(Malformed):
        a_servicenow(Remote(listed({"sys_id": sys_id(3), "name": "Other"}))).group_names([sys_id(1)])


def test_a_name_with_a_separator_stays_one_value():
    remote = Remote(listed())

    a_servicenow(remote).group("R^ORactive=true")

    assert remote.queries()[0]["sysparm_query"] == "name=R^^ORactive=true^ORDERBYsys_id"


@pytest.mark.parametrize("value", ["javascript:gs.sleep(1)", "JavaScript:x", " x", "", "a\nb"])
def test_a_value_that_the_server_could_run_is_refused(value):
    with pytest.raises(ValueError, match="look up"):
        text(value)


@pytest.mark.parametrize("values", [[], ["a,b"]])
def test_a_list_holds_values_without_commas(values):
    with pytest.raises(ValueError, match="IN list"):
        among("name", values)


def test_the_one_active_person_of_an_address_is_meant():
    rows = [ADA, {**ADA, "sys_id": sys_id(711), "active": "false"}]

    found = a_servicenow(Remote(listed(*rows))).person_by(email="ADA@contoso.com")

    assert found is not None
    assert found.sys_id == sys_id(701)


def test_an_address_of_two_active_people_is_a_question():
    rows = [ADA, {**ADA, "sys_id": sys_id(711)}]

    with pytest.raises(Rejected, match="2 people"):
        a_servicenow(Remote(listed(*rows))).person_by(email="ada@contoso.com")


def test_user_names_are_looked_up_together_and_count_exactly_as_written():
    ada2 = {**ADA, "sys_id": sys_id(712), "user_name": "Ada"}
    accented = {**ADA, "sys_id": sys_id(713), "user_name": "bób"}  # equal to "bob" for some databases
    remote = Remote(listed(ADA, FLOW, ada2, accented))

    found = a_servicenow(remote).people_named(["ada", "bob", "fulfil.flow", "ada"])

    assert {name: getattr(one, "sys_id", one) for name, one in found.items()} == {
        "ada": ADA["sys_id"],
        "fulfil.flow": FLOW["sys_id"],
    }
    (asked,) = remote.queries()
    assert asked["sysparm_query"] == "user_name=ada^ORuser_name=bob^ORuser_name=fulfil.flow"


def test_a_user_name_of_two_active_people_is_a_question_and_of_one_active_is_theirs():
    twin = {**ADA, "sys_id": sys_id(711)}

    two = a_servicenow(Remote(listed(ADA, twin))).people_named(["ada"])
    one = a_servicenow(Remote(listed({**ADA, "active": "false"}, twin))).people_named(["ada"])

    assert isinstance(two["ada"], Rejected)
    assert getattr(one["ada"], "sys_id", None) == sys_id(711)


def test_a_user_name_is_nobody_s_only_where_nobody_is_hidden():
    def asked(request: httpx.Request) -> httpx.Response:
        wanted = query(request)["sysparm_query"].split("^OR")
        shown = [ADA] if "user_name=ada" in wanted else []
        return listed(*shown, total=len(shown) + ("user_name=bob" in wanted))

    found = a_servicenow(Remote(asked)).people_named(["ada", "bob", "zoe"])

    assert getattr(found["ada"], "sys_id", None) == ADA["sys_id"]
    assert isinstance(found["bob"], Unavailable)
    assert "zoe" not in found


def test_people_whose_user_name_is_not_shown_may_be_the_one():
    nameless = {name: value for name, value in ADA.items() if name != "user_name"}

    found = a_servicenow(Remote(listed(nameless))).people_named(["ada"])

    assert isinstance(found["ada"], Unavailable)


def test_a_row_of_another_name_shows_that_the_filter_was_ignored():
    with pytest.raises(Malformed, match="ignored"):
        a_servicenow(Remote(listed(ADA))).person_by(user_name="bob")


@pytest.mark.parametrize("stamp", ["2026-11-20", "11/20/26 8:00:00", "2026-13-01 00:00:00", "2026-11-20T08:00:00Z"])
def test_a_time_in_a_users_own_format_is_no_time(stamp):
    with pytest.raises(ValueError, match=r"time stamp|does not match|month must|unconverted"):
        read_instant(stamp)
