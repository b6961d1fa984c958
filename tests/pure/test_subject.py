"""A request's digest: the same while nothing that matters moves, another one as soon as something does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desired_state.model import Given, GivenKind, LineKey, Path, Period, Person, Says, Task
from reconciler.digest import digest
from reconciler.lifecycle import Phase
from reconciler.line import Line, LineState, Observed, Plan, Proposal
from reconciler.loop.diff import Windows, diff
from reconciler.loop.plan import Bounds, plan
from reconciler.loop.subject import Naming
from reconciler.model import Assignment, Grant, ObservedGroup, ObservedUser
from tests.make import ADA, BOB, DAY, E3, MONDAY, SWAY, VISIO, VISIO_WEB, a_line, a_product, a_sku, a_user, seen

NAMING = Naming("contoso", "72f988bf-86f1-41af-91ab-2d7cd011db47", "a" * 64)
GROUP = "99999999-9999-4999-8999-999999999999"
BOUNDS = Bounds(countries=frozenset({"DE", "NL"}), sku_prices={VISIO: Decimal("4.70")})


def planned(lines: list[Line], observed: Observed, *, naming: Naming = NAMING, **more) -> Plan:
    findings = diff(lines, observed, at=MONDAY, windows=Windows())
    fresh = replace(naming, known={})
    wished = plan(findings, observed, BOUNDS, as_if_seats=True, naming=fresh)
    return plan(findings, observed, BOUNDS, naming=fresh, wished=wished, **more)


def request(line: Line, observed: Observed, *, naming: Naming = NAMING) -> Proposal:
    (proposal,) = planned([line], observed, naming=naming).proposals
    return proposal


def with_ticket(line: Line, **changes) -> Line:
    return replace(line, ticket=replace(line.ticket, **changes))


LINE = with_ticket(a_line(says=Says.APPROVED), variables={"product": "visio", "justification": "floor plans"})
HERE = seen(a_user(department="Engineering"))


def changed_user(**changes) -> Observed:
    return seen(replace(a_user(department="Engineering"), **changes))


@settings(max_examples=30)
@given(
    answers=st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=4),
    price=st.none() | st.decimals(0, 90, places=2),
    days=st.none() | st.integers(1, 90),
)
def test_the_same_request_has_the_same_digest_and_is_one_json_document(answers, price, days):
    line = a_line(says=Says.APPROVED, product=a_product(price=price), period=Period(duration_days=days))
    line = with_ticket(line, variables=answers)
    turned = with_ticket(line, variables=dict(reversed(answers.items())))

    first, second = request(line, HERE), request(turned, HERE)

    assert first.digest == second.digest == digest(first.subject)
    assert first.subject == second.subject


@pytest.mark.parametrize(
    "moved",
    [
        {"updated_at": MONDAY, "updated_by": "svc.reconciler", "mod_count": 9},  # our own note
        {"tasks": (Task("t", "SCTASK1", "1", True, correlation_id="m365r:1"),)},  # our own follow-up task
        {"state": "2", "approval": "approved", "request_approval": "approved"},  # it was approved meanwhile
        {"short_description": "Licence for Ada", "close_notes": "x", "assigned_to": "somebody"},
    ],
)
def test_what_we_or_the_desk_write_into_the_ticket_makes_no_other_request_of_it(moved):
    line = with_ticket(LINE, state="1", approval="requested", is_active=True)

    assert request(with_ticket(line, **moved), HERE).digest == request(line, HERE).digest


def test_a_request_that_waits_for_approval_is_the_same_once_the_ticket_is_approved():
    """The plan of a waiting line is another matter: what the ticket says of itself is not what differs."""
    waiting = replace(LINE, declared=replace(LINE.declared, says=Says.WAITING))

    a, b = request(waiting, HERE).subject, request(LINE, HERE).subject

    assert a["ticket"] == b["ticket"]


@pytest.mark.parametrize(
    ("line", "observed"),
    [
        (with_ticket(LINE, variables={"product": "visio", "justification": "other plans"}), HERE),
        (with_ticket(LINE, variables=None), HERE),
        (with_ticket(LINE, rows=({"user": "x"},)), HERE),
        (with_ticket(LINE, price=Decimal(9)), HERE),
        (with_ticket(LINE, sys_id="another"), HERE),
        (replace(LINE, declared=replace(LINE.declared, says=Says.FULFILLED)), HERE),
        (replace(LINE, declared=replace(LINE.declared, period=Period(duration_days=30))), HERE),
        (replace(LINE, declared=replace(LINE.declared, price_cap=Decimal(50))), HERE),
        (replace(LINE, product=a_product(price=Decimal("6.00"))), HERE),
        (replace(LINE, product=a_product(proof_plans=(VISIO_WEB, SWAY))), HERE),
        (LINE, changed_user(usage_location="NL")),
        (LINE, changed_user(department="Sales")),
        (LINE, changed_user(employee_type="Contractor")),
        (LINE, changed_user(user_type="Guest")),
        (
            LINE,
            changed_user(
                skus=frozenset({VISIO}), assignments=(Assignment(VISIO, GROUP, frozenset({VISIO_WEB}), "Active"),)
            ),
        ),
    ],
)
def test_whatever_an_approver_was_shown_makes_another_request_when_it_moves(line, observed):
    assert request(line, observed).digest != request(LINE, HERE).digest


@pytest.mark.parametrize("naming", [replace(NAMING, rules="b" * 64), replace(NAMING, tenant="fabrikam"), Naming()])
def test_other_rules_and_another_tenant_make_another_request(naming):
    assert request(LINE, HERE, naming=naming).digest != request(LINE, HERE).digest


def test_a_licence_that_has_nothing_to_do_with_it_makes_no_other_request():
    more = changed_user(skus=frozenset({E3}), assignments=(Assignment(E3, None, frozenset(), "Active"),))

    assert request(LINE, more).digest == request(LINE, HERE).digest


def test_the_document_names_what_will_be_sent_what_is_there_before_and_what_it_costs():
    told = request(LINE, HERE).subject

    assert told["operations"] == [{"kind": "assign_license", "add": [{"sku_id": VISIO, "disabled_plans": []}]}]
    assert told["before"]["licences"] == []
    assert told["before_digest"] == digest(told["before"])
    assert told["after"]["licences"] == [{"sku_id": VISIO, "disabled_plans": []}]
    assert (told["user"], told["cost_delta"], told["rules"]) == (ADA, "4.70", NAMING.rules)
    assert {"tenant", "tenant_id", "line", "product", "period", "ticket", "catalogue"} <= told.keys()


def test_a_wait_for_a_seat_makes_no_other_request():
    full = replace(HERE, skus={VISIO: a_sku(free=0)})

    waiting = request(LINE, full)

    assert waiting.short_of == (VISIO,)
    assert waiting.actions == ()
    assert waiting.digest == request(LINE, HERE).digest


def test_a_failed_attempt_makes_no_other_request():
    state = LineState(LINE.key, Phase.CONVERGING, attempts=3, next_at=MONDAY - DAY, since=MONDAY - DAY, note="500")

    assert request(replace(LINE, state=state), HERE).digest == request(LINE, HERE).digest


def test_the_first_of_two_steps_makes_no_other_request():
    person = replace(a_user(department="Engineering"), usage_location="")
    line = replace(LINE, person=Person("p1", country="DE"))
    before = request(line, seen(person))
    done = (Given(GivenKind.LOCATION, MONDAY, country="DE"),)
    state = LineState(LINE.key, Phase.CONVERGING, attempts=1, next_at=MONDAY - DAY, since=MONDAY - DAY, given=done)

    after = request(replace(line, state=state), seen(replace(person, usage_location="DE")))

    assert [a.kind.value for a in before.actions] == ["set_usage_location", "assign_license"]
    assert [a.kind.value for a in after.actions] == ["assign_license"]
    assert after.digest == before.digest


def test_a_licence_that_waits_until_a_location_has_lasted_is_part_of_the_request_from_the_start():
    person = replace(a_user(department="Engineering"), usage_location="", is_synced=True)
    line = replace(LINE, person=Person("p1", country="DE"))
    before = request(line, seen(person))
    done = (Given(GivenKind.LOCATION, MONDAY - DAY, country="DE"),)
    state = LineState(LINE.key, Phase.VERIFYING, attempts=1, since=MONDAY - DAY, given=done)

    after = request(replace(line, state=state), seen(replace(person, usage_location="DE")))

    assert [a.kind.value for a in before.actions] == ["set_usage_location"]
    assert [o["kind"] for o in before.subject["operations"]] == ["set_usage_location", "assign_license"]
    assert after.digest == before.digest


def a_group(**changes) -> ObservedGroup:
    base = ObservedGroup(
        GROUP, "M365-Visio", False, True, False, False, False, False, (Grant(VISIO),), "ProcessingComplete", 0, ()
    )
    return replace(base, **changes)


def by_group(user: ObservedUser, *, member: bool) -> Observed:
    return replace(seen(user), groups={GROUP: a_group()}, members={(GROUP, user.id): member})


def test_a_group_that_is_asked_again_after_we_joined_it_makes_no_other_request():
    product = a_product(path=Path.GROUP, group=GROUP)
    line = replace(LINE, product=product)
    before = request(line, by_group(a_user(), member=False))
    error = (Assignment(VISIO, GROUP, frozenset(), "Error", "CountViolation", MONDAY - DAY),)
    done = (Given(GivenKind.MEMBER, MONDAY - DAY, group=GROUP),)
    state = LineState(LINE.key, Phase.CONVERGING, attempts=1, since=MONDAY - DAY, given=done)

    after = request(
        replace(line, state=state, given=done), by_group(a_user(assignments=error, skus=frozenset()), member=True)
    )

    assert [a.kind.value for a in before.actions] == ["add_group_member"]
    assert [a.kind.value for a in after.actions] == ["reprocess"]
    assert after.digest == before.digest


def test_lines_that_share_a_change_are_requests_of_their_own_and_its_action_names_both():
    first = LINE
    second = replace(a_line("RITM0000002", says=Says.APPROVED, requested_at=MONDAY - DAY), product=LINE.product)

    made = planned([first, second], HERE)

    carrier, sharer = made.proposals
    assert sharer.with_ == carrier.finding.key
    assert carrier.serves == (carrier.digest, sharer.digest)
    assert sharer.subject["operations"] == carrier.subject["operations"]
    assert sharer.digest == request(second, HERE).digest


def test_a_plans_digest_moves_with_the_requests_that_its_actions_serve():
    other = replace(a_line("RITM0000002", says=Says.APPROVED, requested_at=MONDAY - DAY), product=LINE.product)

    alone, both = planned([LINE], HERE), planned([LINE, other], HERE)

    assert [p.actions for p in alone.proposals] == [p.actions for p in both.proposals if p.actions]
    assert alone.digest != both.digest


def test_the_usage_location_is_part_of_each_request_whoever_sets_it():
    person = replace(a_user(), usage_location="")
    visio = replace(LINE, person=Person("p1", country="DE"))
    sway = a_product("sway", candidate_skus=(E3,), proof_plans=(SWAY,))
    other = a_line("RITM0000002", says=Says.APPROVED, product=sway, person=Person("p1", country="DE"))
    skus = [a_sku(), a_sku(E3, plans=(SWAY,))]

    made = planned([visio, other], seen(person, skus=skus))

    kinds = [[o["kind"] for o in p.subject["operations"]] for p in made.proposals]
    assert kinds == [["set_usage_location", "assign_license"]] * 2
    assert [len(p.actions) for p in made.proposals] == [2, 1]


def test_another_person_is_another_request():
    assert request(a_line(user=BOB), seen(a_user(BOB))).digest != request(a_line(), seen(a_user())).digest


def test_a_line_at_rest_has_a_digest_without_operations():
    state = LineState(LineKey("RITM0000001", 1), Phase.HELD)
    resting = request(replace(LINE, state=state, skipped="not started yet: 2027-01-01"), HERE)

    assert resting.subject["operations"] == []
    assert resting.digest == digest(resting.subject)
    assert resting.serves == ()


def test_instants_of_the_world_are_not_part_of_a_request():
    later = replace(HERE, at=MONDAY + timedelta(hours=5))

    assert request(LINE, later).digest == request(LINE, HERE).digest
