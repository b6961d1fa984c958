"""What must hold in the sandbox's directory whatever is asked of it: seats, plans, rules (graph.md section 7)."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.sandbox.directory.entitlement import effective_licences, enabled_plans, violations
from tests.make_graph import MINUTE, Tenant

SKUS = ("SPE_E3", "ENTERPRISEPACK", "MCOEV", "MCOPSTN1", "MCOPSTN2", "VISIOCLIENT")
PEOPLE = 4
GROUPS = 3

people = st.integers(0, PEOPLE - 1)
groups = st.integers(0, GROUPS - 1)
skus = st.sampled_from(SKUS)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("assign"), people, st.lists(skus, max_size=2, unique=True), st.lists(skus, max_size=2)),
        st.tuples(st.just("disable"), people, skus, st.integers(0, 60)),
        st.tuples(st.just("join"), people, groups),
        st.tuples(st.just("leave"), people, groups),
        st.tuples(st.just("reprocess"), people),
        st.tuples(st.just("wait"), st.integers(5, 30)),
        st.tuples(st.just("delete"), people),
        st.tuples(st.just("restore"), people),
    ),
    min_size=4,
    max_size=30,
)


def a_tight_tenant() -> tuple[Tenant, list[str], list[str]]:
    t = Tenant(throttling=False)
    for part_number in SKUS:
        t.own(part_number, seats=1)
    crowd = [t.person(f"p{n}") for n in range(PEOPLE)]
    made = [
        t.directory.add_group("Suite", licenses={"SPE_E3": ["TEAMS1", "SWAY"]}),
        t.directory.add_group("Bundle", licenses={"ENTERPRISEPACK": ["SWAY"], "VISIOCLIENT": ()}),
        t.directory.add_group("Calling", licenses={"MCOPSTN2": ()}),
    ]
    return t, crowd, made


def do(t: Tenant, crowd: list[str], made: list[str], step: tuple[object, ...]) -> None:
    match step:
        case ("assign", int(who), list(add), list(remove)):
            t.assign(crowd[who], {s: [] for s in add}, remove)
        case ("disable", int(who), str(sku), int(n)):
            plans = t.directory.catalogue.product(sku).plans
            t.assign(crowd[who], {sku: [plans[n % len(plans)]]})
        case ("join", int(who), int(group)):
            t.join(made[group], crowd[who])
        case ("leave", int(who), int(group)):
            t.leave(made[group], crowd[who])
        case ("reprocess", int(who)):
            t.graph.post(f"/users/{crowd[who]}/reprocessLicenseAssignment")
        case ("wait", int(minutes)):
            t.wait(minutes * MINUTE)
        case ("delete", int(who)):
            if t.directory.user(crowd[who]).deleted_at is None:
                t.directory.changes.delete_user(crowd[who])
        case ("restore", int(who)):
            user = t.directory.user(crowd[who])
            free = all(t.directory.store.seats_free(s) > 0 for s in effective_licences(user.assignments))
            if user.deleted_at is not None and "purged" not in user.changed and free:
                t.directory.changes.restore_user(crowd[who])


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(steps)
def test_no_order_of_requests_overspends_a_seat_or_breaks_a_rule(sequence: list[tuple[object, ...]]):
    t, crowd, made = a_tight_tenant()
    store = t.directory.store

    for step in sequence:
        do(t, crowd, made, step)

        for part_number in SKUS:
            sku_id = t.directory.sku(part_number)
            holders = [
                u
                for u in store.users.values()
                if u.deleted_at is None and any(a.sku_id == sku_id and a.is_in_force for a in u.assignments)
            ]
            assert store.seats_used(sku_id) == len(holders)
            assert len(holders) <= 1, f"{part_number} after {step}"
        for user_id in crowd:
            enabled = enabled_plans(t.assignments(user_id), store.skus)
            assert violations(enabled, t.directory.catalogue, advisory=False) == set()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.lists(st.sets(st.integers(0, 50), max_size=12), min_size=1, max_size=4), st.booleans())
def test_what_is_off_for_a_user_is_what_every_path_switches_off(paths: list[set[int]], has_direct: bool):
    t = Tenant(throttling=False)
    t.own("SPE_E3")
    ada = t.person()
    # The base plans of voice and meetings stay out of it: nothing here depends on them.
    plans = t.directory.catalogue.product("SPE_E3").plans
    off = [{plans[i % len(plans)] for i in path} for path in paths]
    for n, disabled in enumerate(off[has_direct:]):
        group = t.directory.add_group(f"G{n}", licenses={"SPE_E3": disabled})
        t.directory.add_member(group, ada)
    if has_direct:
        body = {
            "addLicenses": [{"skuId": t.directory.sku("SPE_E3"), "disabledPlans": sorted(off[0])}],
            "removeLicenses": [],
        }
        t.graph.post(f"/users/{ada}/assignLicense", json=body).raise_for_status()

    t.wait(MINUTE)

    (licence,) = t.read(ada, "assignedLicenses")
    assert set(licence["disabledPlans"]) == set.intersection(*off)
    on = {p["servicePlanId"] for p in t.read(ada, "assignedPlans") if p["capabilityStatus"] == "Enabled"}
    assert on == set(plans) - set.intersection(*off)
    assert t.consumed("SPE_E3") == 1
