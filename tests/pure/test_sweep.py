"""The full pass finds exactly whom a slow, plain comparison finds, and nobody is clean who was not shown whole."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from desired_state.model import LineKey, Path, PlanId, ProductKey, SkuId, UserId, Want
from reconciler.clients.graph import UserPage
from reconciler.clients.graph.scan import scan_page
from reconciler.errors import Unavailable
from reconciler.line import Access
from reconciler.loop.proof import prove
from reconciler.loop.sweep import Desired, Hint, SweepResult, sweep
from reconciler.model import PlanState, SkuDetail
from tests.make import ADA, BOB, E3, E5, MCOEV, MONDAY, PHONE, SWAY, TEAMS1, VISIO, VISIO_WEB, YAMMER, a_product

SKU_PLANS: Mapping[SkuId, frozenset[PlanId]] = {
    PHONE: frozenset({MCOEV}),
    VISIO: frozenset({VISIO_WEB}),
    E3: frozenset({TEAMS1, SWAY}),
    E5: frozenset({TEAMS1, SWAY, MCOEV}),
}
UNLISTED = SkuId("0f0f0f0f-0f0f-4f0f-8f0f-0f0f0f0f0f0f")
JSON = dict[str, Any]


def a_want(user: UserId = ADA, sku: SkuId = VISIO, *plans: PlanId, mode: str = "any") -> Want:
    plans = plans or (VISIO_WEB,)
    key, product = LineKey("RITM0000001", 1), ProductKey("-".join(plans))
    return Want(user, product, (key,), Path.DIRECT, (sku,), plans, mode, MONDAY, MONDAY)


def held(sku: str = VISIO, **changes: Any) -> JSON:
    return {
        "skuId": sku,
        "assignedByGroup": None,
        "disabledPlans": [],
        "state": "Active",
        "error": "None",
        "lastUpdatedDateTime": "2026-11-02T09:00:00Z",
    } | changes


def shown(user: str = ADA, *states: JSON, **changes: Any) -> JSON:
    return {
        "id": user,
        "userPrincipalName": "somebody@contoso.example",
        "accountEnabled": True,
        "usageLocation": "DE",
        "licenseAssignmentStates": list(states),
    } | changes


def without(row: JSON, name: str) -> JSON:
    return {k: v for k, v in row.items() if k != name}


def a_page(*users: JSON, is_last: bool = True, is_restart: bool = False) -> UserPage:
    page = scan_page(json.dumps({"value": users}).encode())
    return UserPage(page.value, MONDAY, is_restart=is_restart, is_last=is_last)


def swept(wants: Iterable[Want], *pages: UserPage) -> SweepResult:
    return sweep(pages, Desired.compile(wants, SKU_PLANS))


# --- one user ---------------------------------------------------------------------------------------------------


def test_someone_who_has_what_is_desired_needs_no_look():
    result = swept([a_want()], a_page(shown(ADA, held())))

    assert result.looks == {}
    assert result.is_complete


def test_an_assignment_that_is_not_there_is_missing():
    result = swept([a_want()], a_page(shown(ADA, held(E3))))

    assert result.looks == {ADA: Hint.MISSING}


def test_a_proof_plan_that_is_switched_off_is_told_from_a_missing_assignment():
    result = swept([a_want()], a_page(shown(ADA, held(disabledPlans=[VISIO_WEB.upper()]))))

    assert result.looks == {ADA: Hint.PLAN_OFF}


def test_a_plan_that_one_of_two_assignments_enables_is_on():
    direct, inherited = held(disabledPlans=[VISIO_WEB]), held(assignedByGroup="g")

    result = swept([a_want()], a_page(shown(ADA, direct, inherited)))

    assert result.looks == {}


def test_a_bundle_that_brings_the_plan_is_enough():
    result = swept([a_want(ADA, PHONE, MCOEV)], a_page(shown(ADA, held(E5))))

    assert result.looks == {}


def test_a_bundle_is_not_enough_for_a_product_that_only_its_own_sku_proves():
    result = swept([a_want(ADA, PHONE, MCOEV, mode="all+sku")], a_page(shown(ADA, held(E5))))

    assert result.looks == {ADA: Hint.MISSING}


def test_all_plans_may_come_from_different_skus_and_none_may_be_absent():
    want = a_want(ADA, E5, TEAMS1, MCOEV, mode="all")

    both = swept([want], a_page(shown(ADA, held(E3), held(PHONE))))
    one = swept([want], a_page(shown(ADA, held(E3))))

    assert both.looks == {}
    assert one.looks == {ADA: Hint.MISSING}


def test_two_wants_of_one_person_are_both_looked_for():
    result = swept([a_want(), a_want(ADA, PHONE, MCOEV)], a_page(shown(ADA, held())))

    assert result.looks == {ADA: Hint.MISSING}


def test_an_assignment_in_error_is_not_in_force():
    row = held(state="Error", error="CountViolation")

    result = swept([a_want()], a_page(shown(ADA, row)))

    assert result.looks == {ADA: Hint.MISSING | Hint.ERROR}


def test_trouble_with_what_proves_nothing_here_is_somebody_elses():
    result = swept([a_want()], a_page(shown(ADA, held(), held(E3, state="Error", error="Other"))))

    assert result.looks == {}


def test_a_disabled_account_and_an_unset_location_need_a_look_though_the_licence_is_there():
    result = swept([a_want()], a_page(shown(ADA, held(), accountEnabled=False, usageLocation=None)))

    assert result.looks == {ADA: Hint.ACCOUNT_OFF | Hint.NO_LOCATION}


def test_nobody_else_is_a_candidate_whatever_they_hold():
    result = swept([a_want()], a_page(shown(ADA, held()), shown(BOB, held(state="Error"), accountEnabled=False)))

    assert result.looks == {}
    assert result.rows == 2


def test_ids_are_the_same_in_any_case():
    result = swept([a_want()], a_page(shown("AAAA", held(VISIO.upper())), shown(ADA.upper(), held(VISIO.upper()))))

    assert result.looks == {}
    assert result.licences == {VISIO: 2}


def test_a_sku_whose_plans_are_not_known_proves_nothing():
    result = swept([a_want(ADA, UNLISTED, VISIO_WEB)], a_page(shown(ADA, held(UNLISTED))))

    assert result.looks == {ADA: Hint.MISSING}


def test_a_licence_counts_once_a_user_and_only_in_force():
    rows = [
        held(),
        held(assignedByGroup="g"),
        held(E3, state="Error"),
        held(E5, state="ActiveWithError", error="Other"),
    ]

    result = swept([], a_page(shown(ADA, *rows), shown(BOB, held())))

    assert result.licences == {VISIO: 2, E5: 1}


# --- absent is not empty ----------------------------------------------------------------------------------------


def test_a_field_that_was_not_shown_makes_the_user_unknown_and_never_clean():
    whole = shown(ADA, held())
    for name in ("accountEnabled", "usageLocation", "licenseAssignmentStates"):
        result = swept([a_want()], a_page(without(whole, name)))

        assert result.looks == {ADA: Hint.UNKNOWN}, name
        assert result.unknown == 1


def test_an_assignment_that_does_not_show_its_plans_proves_nothing():
    for row in (without(held(), "disabledPlans"), held(disabledPlans=None)):
        result = swept([a_want()], a_page(shown(ADA, row)))

        assert result.looks == {ADA: Hint.UNKNOWN | Hint.MISSING}


def test_a_word_or_a_shape_that_is_new_to_us_is_unknown():
    word = swept([a_want()], a_page(shown(ADA, held(state="Paused"))))
    shape = swept([a_want()], a_page(shown(ADA, licenseAssignmentStates={"rows": []})))
    inner = swept([a_want()], a_page(shown(ADA, held(skuId=7))))

    assert word.looks == {ADA: Hint.UNKNOWN | Hint.MISSING}
    assert shape.looks == inner.looks == {ADA: Hint.UNKNOWN}
    assert word.unknown == shape.unknown == inner.unknown == 1


# --- large tenants ----------------------------------------------------------------------------------------------


def test_a_tenant_in_which_nobody_holds_what_another_holds_is_counted_right():
    skus = [f"{n:08x}-0000-4000-8000-00000000000b" for n in range(190)]
    pairs = list(combinations(skus, 2))  # 17,955 of them: more than is remembered at a time
    rows = [
        shown(f"{n:08x}-0000-4000-8000-00000000000c", held(one, disabledPlans=[f"plan-{n}"]), held(other))
        for n, (one, other) in enumerate(pairs)
    ]

    result = swept([a_want()], *(a_page(*rows[n : n + 999], is_last=False) for n in range(0, len(rows), 999)))

    assert result.licences == dict.fromkeys(skus, 189)
    assert (result.rows, result.unknown) == (len(pairs), 0)


# --- listings that end early ------------------------------------------------------------------------------------


def test_someone_desired_whom_a_whole_listing_did_not_show_is_looked_for():
    result = swept([a_want(), a_want(BOB)], a_page(shown(ADA, held())))

    assert result.looks == {BOB: Hint.NOT_SEEN}


def test_a_listing_without_its_end_calls_nobody_not_seen():
    result = swept([a_want(), a_want(BOB)], a_page(shown(ADA), is_last=False))

    assert result.looks == {ADA: Hint.MISSING}
    assert not result.is_complete


def test_an_error_on_the_way_keeps_what_was_found_and_calls_nobody_not_seen():
    trouble = Unavailable("Microsoft Graph", "status 503")

    def pages() -> Iterator[UserPage]:
        yield a_page(shown(ADA), is_last=False)
        raise trouble

    result = sweep(pages(), Desired.compile([a_want(), a_want(BOB)], SKU_PLANS))

    assert result.looks == {ADA: Hint.MISSING}
    assert (result.is_complete, result.cut) == (False, trouble)


def test_no_page_at_all_is_not_an_empty_tenant():
    result = swept([a_want()])

    assert result.looks == {}
    assert not result.is_complete


def test_a_listing_that_began_anew_takes_the_place_of_what_was_read_before():
    before = a_page(shown(ADA), shown(BOB, held()), is_last=False)
    anew = a_page(shown(ADA, held()), is_restart=True)

    result = swept([a_want(), a_want(BOB)], before, anew)

    assert result.looks == {BOB: Hint.NOT_SEEN}  # who was only on a page of the listing before is not on this one
    assert (result.rows, result.restarts) == (1, 1)


def test_a_listing_that_began_anew_and_was_cut_again_calls_nobody_not_seen():
    result = swept([a_want(), a_want(BOB)], a_page(shown(BOB)), a_page(shown(ADA), is_restart=True, is_last=False))

    assert result.looks == {ADA: Hint.MISSING}


def test_someone_whom_paging_showed_twice_is_looked_at_for_whatever_is_wrong_in_either():
    result = swept([a_want()], a_page(shown(ADA), is_last=False), a_page(shown(ADA, held())))

    assert result.looks == {ADA: Hint.MISSING}


# --- against a slow comparison ----------------------------------------------------------------------------------

USERS = [UserId(f"{n:08x}-0000-4000-8000-00000000000a") for n in range(6)]
PLANS = [TEAMS1, SWAY, MCOEV, VISIO_WEB, YAMMER]
any_case = st.sampled_from([str.lower, str.upper])


@st.composite
def assignments(draw: st.DrawFn) -> JSON:
    row = held(
        draw(any_case)(draw(st.sampled_from([*SKU_PLANS, UNLISTED]))),
        disabledPlans=[draw(any_case)(p) for p in draw(st.lists(st.sampled_from(PLANS), max_size=3))],
        state=draw(st.sampled_from(["Active", "Active", "Active", "ActiveWithError", "Disabled", "Error", "Paused"])),
        error=draw(st.sampled_from(["None", None, "", "Other", "CountViolation"])),
        assignedByGroup=draw(st.sampled_from([None, "group"])),
    )
    return without(row, "disabledPlans") if draw(st.integers(0, 9)) == 0 else row


@st.composite
def accounts(draw: st.DrawFn) -> JSON:
    row = shown(
        draw(any_case)(draw(st.sampled_from(USERS))),
        *draw(st.lists(assignments(), max_size=4)),
        accountEnabled=draw(st.sampled_from([True, True, False, None])),
        usageLocation=draw(st.sampled_from(["DE", "DE", None, ""])),
    )
    hidden = draw(st.sampled_from([None, None, None, "accountEnabled", "usageLocation", "licenseAssignmentStates"]))
    return without(row, hidden) if hidden else row


@st.composite
def wants(draw: st.DrawFn) -> Want:
    skus = tuple(draw(st.lists(st.sampled_from([*SKU_PLANS, UNLISTED]), min_size=1, max_size=2, unique=True)))
    plans = tuple(draw(st.lists(st.sampled_from(PLANS), min_size=1, max_size=2, unique=True)))
    mode = draw(st.sampled_from(["any", "all", "all+sku"]))
    return replace(a_want(draw(st.sampled_from(USERS)), VISIO, *plans, mode=mode), skus=skus)


def is_proven(want: Want, states: Sequence[JSON]) -> bool:
    """What `diff` would say if everything that is assigned and switched on had been provisioned."""
    details = []
    for state in states:
        sku = SkuId(state["skuId"].lower())
        if state["state"] not in ("Active", "ActiveWithError") or "disabledPlans" not in state:
            continue
        off = {plan.lower() for plan in state["disabledPlans"]}
        plans = {p: PlanState.DISABLED if p in off else PlanState.SUCCESS for p in SKU_PLANS.get(sku, ())}
        details.append(SkuDetail(sku, "", plans))
    product = a_product(candidate_skus=want.skus, proof_plans=want.proof_plans, proof_mode=want.proof_mode)
    return prove(product, details).access is Access.PROVEN


def could_serve(want: Want, sku: str) -> bool:
    there = SKU_PLANS.get(SkuId(sku.lower()), frozenset())
    return bool(there & set(want.proof_plans)) and (want.proof_mode != "all+sku" or sku.lower() in want.skus)


def needs_a_look(row: JSON, asked: Sequence[Want]) -> bool:
    """Of one row of a listing, want by want and field by field."""
    if row.get("accountEnabled") is not True or not row.get("usageLocation"):
        return True
    states = row.get("licenseAssignmentStates")
    if states is None:
        return True
    relevant = [s for s in states if any(could_serve(w, s["skuId"]) for w in asked)]
    if any(s["state"] not in ("Active", "Disabled") for s in relevant):
        return True
    if any("disabledPlans" not in s and s["state"] == "Active" for s in relevant):
        return True
    return not all(is_proven(want, states) for want in asked)


@given(st.lists(st.lists(accounts(), max_size=4), max_size=4), st.lists(wants(), max_size=8), st.booleans())
def test_a_sweep_finds_exactly_whom_a_plain_comparison_finds(
    listing: list[list[JSON]], asked: list[Want], is_whole: bool
) -> None:
    pages = [a_page(*rows, is_last=is_whole and n == len(listing) - 1) for n, rows in enumerate(listing)]

    result = swept(asked, *pages)

    rows = [row for page in listing for row in page]
    by_user = {user: [w for w in asked if w.user == user] for user in {w.user for w in asked}}
    looked = {r["id"].lower() for r in rows if r["id"].lower() in by_user and needs_a_look(r, by_user[r["id"].lower()])}
    absent = by_user.keys() - {r["id"].lower() for r in rows} if is_whole and listing else set()
    assert result.candidates == looked | absent
    assert {u for u, hint in result.looks.items() if hint & Hint.NOT_SEEN} == absent
    assert result.rows == len(rows)


@given(st.lists(accounts(), max_size=4), st.lists(wants(), min_size=1, max_size=8))
def test_nothing_is_missing_exactly_when_the_loop_would_call_it_proven(rows: list[JSON], asked: list[Want]) -> None:
    row = next((r for r in rows if "licenseAssignmentStates" in r), shown(ADA))
    asked = [replace(want, user=UserId(row["id"].lower())) for want in asked]

    looks = swept(asked, a_page(row)).looks.get(asked[0].user, Hint(0))

    is_all_there = all(is_proven(want, row["licenseAssignmentStates"]) for want in asked)
    assert bool(looks & (Hint.MISSING | Hint.PLAN_OFF)) is not is_all_there
