"""Whether a configuration allows more than the accepted one: key by key, and what follows for the tenant."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.config import load
from reconciler.config.effective import approvals_of, defaults, digest_of, document
from reconciler.governance.compare import differences, wider
from reconciler.governance.payloads import acceptance, decision
from reconciler.governance.standing import Basis, acceptors, basis, standing
from reconciler.overreach import overreach

ROOT = Path(__file__).parents[2]
SETTINGS = load(ROOT / "config.toml", {})
CONTOSO = document(SETTINGS, "contoso")
GUARDS = CONTOSO["tenant"]["guards"]
COUNTS = sorted(key for key in GUARDS if key.startswith(("grants_", "removals_", "usage_", "answers_", "cost_")))
DENIED, ALLOWED = ("deny_users", "deny_domains", "deny_groups"), ("allow_users", "allow_domains", "allow_groups")
KEEP = object()


def changed(*path: str, to: Any, of: dict[str, Any] = CONTOSO) -> dict[str, Any]:
    """The document with one key set to something, or taken away with `to=KEEP`."""
    found = copy.deepcopy(of)
    node = found
    for step in path[:-1]:
        node = node[step]
    if to is KEEP:
        del node[path[-1]]
    else:
        node[path[-1]] = to
    return found


def ways(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [change.way for change in differences(before, after)]


RULE: dict[str, Any] = {"kind": "deny", "users": ["x@contoso.example"], "products": [], "sentence": ""}
AUTO: dict[str, Any] = {"kind": "auto_approve", "products": ["teams"], "price_max": "5", "per_day": 50}
FRIDAY = {"name": "weekend", "kind": "deny", "days": ["fri"]}
ALLOW = {**FRIDAY, "kind": "allow"}


@pytest.mark.parametrize(
    ("path", "narrow", "wide"),
    [
        ("tenant.mode", "observe", "suggest"),
        ("tenant.mode", "suggest", "enforce"),
        ("tenant.answers", "note", "task"),
        ("tenant.enforce_share", "0.1", "0.2"),
        ("tenant.promotion.decided_min", 30, 20),
        ("tenant.promotion.agreement_min", "0.9", "0.85"),
        ("tenant.enforce_share", "0.5", "1"),
        ("products.teams.enforce_share", "0.1", "0.25"),
        ("products.teams.enforce_share", "0.1", None),
        ("tenant.act_on_tickets_since", "2026-11-02", "2026-11-01"),
        ("tenant.act_on_tickets_since", "2026-11-02", "all"),
        ("tenant.act_max_age", "86400s", "172800s"),
        ("tenant.servicenow.agents", ["a", "b"], ["a"]),
        ("tenant.servicenow.our_groups", ["Desk"], ["Desk", "Telecom"]),
        ("tenant.guards.allow_users", ["a"], ["a", "b"]),
        ("tenant.guards.deny_groups", ["Board"], []),
        ("tenant.guards.countries", ["DE"], ["DE", "NL"]),
        ("tenant.guards.countries", ["DE"], []),
        ("tenant.guards.removals_per_day", 5, 6),
        ("tenant.guards.removals_per_day", "2%, 5 to 50", "2%, 5 to 60"),
        ("tenant.guards.removals_per_day", "2%, 5 to 50", "3%, 5 to 50"),
        ("tenant.guards.cost_per_day", "5000", "5000.5"),
        ("tenant.guards.products", {"visio": {"grants_per_day": "5", "cost_per_day": None}}, {}),
        ("tenant.guards.products", *({"visio": {"grants_per_day": n, "cost_per_day": None}} for n in ("5", "6"))),
        ("tenant.guards.mailbox_purpose", "required", "where_readable"),
        ("tenant.guards.mailbox_purpose", "where_readable", "off"),
        ("tenant.approvals.delegate_at_most", "604800s", "2592000s"),
        ("tenant.guards.clock_tolerance", "300s", "600s"),
        ("tenant.guards.use_grace_seats", False, True),
        ("tenant.guards.deny_role_holders", True, False),
        ("tenant.guards.freezes", [FRIDAY], []),
        ("tenant.guards.held_tickets", {"RITM1": "looked into"}, {}),
        ("tenant.approvals.opener_may_approve", False, True),
        ("tenant.approvals.comment_min", 10, 1),
        ("tenant.approvals.recent_config_change", "604800s", None),
        ("tenant.approvals.void_on_lost_role", True, False),
        ("tenant.approvals.valid_for", "3600s", "86400s"),
        ("tenant.approvals.channels", ["page"], ["page", "servicenow"]),
        ("tenant.sign_in.fresh_within", "900s", None),
        ("tenant.sign_in.guests", False, True),
        ("products.teams.price", "4.9", "4.8"),
        ("products.teams.held", "not now", ""),
        ("products.teams.mode", "suggest", None),
        ("products.teams.replaces", [], ["teams-phone"]),
        ("items.Microsoft Project.approval", "required", "none"),
        ("items.Microsoft Project.reopen", False, True),
        ("items.Microsoft Project.close", "none", "task"),
        ("rules", {"no": RULE}, {}),
        ("rules", {"no": RULE}, {"no": {**RULE, "users": []}}),
        ("rules", {"no": RULE}, {"no": {**RULE, "products": ["teams"]}}),
        ("rules", {}, {"yes": AUTO}),
        ("rules", {"yes": AUTO}, {"yes": {**AUTO, "price_max": "6"}}),
        ("rules", {"yes": AUTO}, {"yes": {**AUTO, "products": []}}),
        ("rules", {"yes": AUTO}, {"yes": {**AUTO, "per_day": 60}}),
    ],
)
def test_one_way_is_wider_and_the_other_is_not(path, narrow, wide):
    steps = [*path.split(".")]
    before, after = (changed(*steps, to=value) for value in (narrow, wide))

    (there,) = differences(before, after)
    assert there.is_wider
    assert there.sentence.endswith(", which may allow more")
    assert all(way == "narrower" for way in ways(after, before))


@pytest.mark.parametrize(
    ("path", "one", "other"),
    [
        ("tenant.approvals.approvers.telecom", ["a"], ["b"]),
        ("tenant.approvals.fallback", ["a", "b"], ["a"]),
        ("tenant.approvals.accept_configuration", ["a", "b"], ["a"]),
        ("tenant.approvals.break_glass_signers", [], ["a"]),
        ("tenant.approvals.proposals", ["manager"], ["license_admin"]),
        ("signers", ["a ssh-ed25519 AAAA"], ["b ssh-ed25519 AAAA"]),
        ("tenant.graph.tenant_id", "1", "2"),
        ("tenant.servicenow.instance", "https://a", "https://b"),
        ("tenant.servicenow.complete_states", ["3"], ["3", "1"]),
        ("tenant.guards.freezes", [ALLOW], [ALLOW, FRIDAY, {**ALLOW, "name": "b"}]),
        ("products.teams.group", "A", "B"),
        ("rules", {"no": RULE}, {"no": {**RULE, "kind": "eligibility"}}),
        ("rules", {"no": RULE}, {"no": {**RULE, "kind": "new_kind"}}),
        ("tenant.guards.a_key_of_tomorrow", 1, 2),
        ("tenant.guards.a_key_of_tomorrow", {"x": 1}, {"x": 2}),
        ("a_section_of_tomorrow", {}, {"x": 2}),
        ("web.public_url", "https://a", "https://b"),
    ],
)  # fmt: skip
def test_who_decides_where_and_whatever_is_not_understood_counts_as_wider_both_ways(path, one, other):
    steps = [*path.split(".")]
    before, after = (changed(*steps, to=value) for value in (one, other))

    assert "wider" in ways(before, after)
    assert "wider" in ways(after, before)


@pytest.mark.parametrize(
    ("path", "to"),
    [
        ("tenant.servicenow.page_size", 100),
        ("tenant.guards.priorities", {"RITM1": "the board, Friday"}),
        ("tenant.guards.urgent_priorities", ["1"]),
        ("schedule.every", "60s"),
        ("web.port", 9090),
        ("sandbox.seed", 2),
        ("tenant.approvals.holidays", ["2026-12-25"]),
        ("products.teams.remind", "60s"),
        ("tenant.graph.client_secret_file", "/elsewhere/secret"),
    ],
)
def test_what_only_changes_when_and_where_things_are_done_is_neither(path, to):
    assert ways(CONTOSO, changed(*path.split("."), to=to)) == [""]


@given(st.sampled_from(COUNTS), st.integers(0, 1000), st.integers(1, 1000))
def test_raising_any_one_budget_is_wider_and_lowering_it_is_not(key, low, by):
    less, more = (changed("tenant", "guards", key, to=value) for value in (low, low + by))

    assert [c.path[-1] for c in wider(less, more)] == [key]
    assert wider(more, less) == ()


@given(st.data())
def test_widening_any_one_list_is_wider_and_narrowing_it_is_not(data):
    names = st.sets(st.text("abc", min_size=1, max_size=3), max_size=4)
    key = data.draw(st.sampled_from((*DENIED, *ALLOWED)))
    some, more = data.draw(names), data.draw(names.filter(bool))
    small, large = (changed("tenant", "guards", key, to=sorted(v)) for v in (some, some | more))
    narrow, wide = (small, large) if key in ALLOWED else (large, small)

    assert bool(wider(narrow, wide)) is bool(more - some)
    assert wider(wide, narrow) == ()


@given(st.data())
def test_any_changed_key_of_the_shipped_configuration_is_a_difference_with_a_way(data):
    path: tuple[str, ...] = ()
    node: Any = CONTOSO
    while isinstance(node, dict) and node:
        step = data.draw(st.sampled_from(sorted(node)))
        path, node = (*path, step), node[step]

    (change,) = differences(CONTOSO, changed(*path, to="something else altogether"))

    assert change.path == path
    assert change.way in ("wider", "narrower", "")
    assert (change.sentence, len(change.sentence) < 400) == (change.sentence, True)


def test_a_document_that_was_kept_before_a_key_existed_is_read_with_its_default():
    old = changed("tenant", "guards", "use_grace_seats", to=KEEP)
    old = changed("items", "Microsoft Project", "review_item", to=KEEP, of=old)
    now_true = changed("tenant", "guards", "use_grace_seats", to=True)

    assert differences(old, CONTOSO, defaults()) == ()
    assert [c.path[-1] for c in wider(old, now_true, defaults())] == ["use_grace_seats"]


def test_a_document_has_no_secret_and_can_be_read_back():
    text = str(CONTOSO)

    assert "client_secret'" not in text
    assert "teams_webhook'" not in text
    assert approvals_of(CONTOSO["tenant"]) == SETTINGS.tenants["contoso"].approvals
    assert digest_of(CONTOSO) == digest_of(document(load(ROOT / "config.toml", {}), "contoso"))


# --- what follows ---------------------------------------------------------------------------------------------------

REAL = changed("tenant", "sandbox", to=False)
SIGNED = Basis("a" * 64, {**REAL, "signers": ["ada@contoso.example ssh-ed25519 AAAA"]}, "signed")


def stands(document: dict[str, Any], accepted: Basis) -> tuple[bool, str, str]:
    found = standing(digest_of(document), document, accepted.digest, accepted.document, defaults())
    assert bool(found.why()) is not found.is_accepted
    return found.is_accepted, found.mode, found.answers


def test_what_allows_more_runs_as_suggest_and_says_no_more_than_was_accepted():
    careful = Basis("a" * 64, changed("tenant", "answers", to="note", of=REAL), "signed")

    assert stands(changed("tenant", "guards", "removals_per_day", to=99, of=REAL), careful) == (
        False,
        "suggest",
        "note",
    )
    quieter = changed("tenant", "mode", to="observe", of=changed("tenant", "answers", to="note", of=REAL))
    assert stands(quieter, careful) == (True, "observe", "note")
    other = changed("tenant", "graph", "tenant_id", to="another", of=REAL)
    assert stands(other, careful) == (False, "observe", "silent")  # there the people are others


def test_a_first_start_observes_where_it_is_real_and_acts_in_the_sandbox():
    found = basis(None, REAL)

    assert (found.how, found.is_new) == ("first", True)
    assert stands(REAL, found) == (False, "suggest", "silent")
    quiet = changed("tenant", "answers", to="silent", of=changed("tenant", "mode", to="observe", of=REAL))
    assert stands(quiet, basis(None, quiet)) == (True, "observe", "silent")
    assert stands(CONTOSO, basis(None, CONTOSO)) == (True, "enforce", "full")


def test_a_sandbox_accepts_by_itself_until_it_names_signers_and_is_no_way_around_a_signature():
    plain = basis(None, CONTOSO)
    more = changed("tenant", "guards", "removals_per_day", to=99)
    signing = {**CONTOSO, "signers": ["ada@contoso.example ssh-ed25519 AAAA"]}

    assert basis(plain, more).document == more
    assert stands(more, basis(basis(None, signing), more))[0] is False
    assert basis(SIGNED, CONTOSO) == SIGNED  # sandbox = true does not make a real tenant's change accepted
    assert stands(CONTOSO, SIGNED) == (False, "observe", "silent")
    assert basis(plain, REAL).how == "first"  # nor does the sandbox's past count for a real tenant


def test_a_directory_that_is_governed_under_one_name_is_governed_under_every_name():
    eves = {**REAL, "signers": ["eve@contoso.example ssh-ed25519 BBBB"]}
    here = changed("tenant", "graph", "tenant_id", to="72f988bf-0000", of=eves)
    there = Basis("a" * 64, changed("tenant", "graph", "tenant_id", to="72f988bf-0000", of=SIGNED.document), "signed")
    other = changed("tenant", "graph", "tenant_id", to="another", of=eves)

    found = basis(None, here, (there,))

    assert (found.how, found.is_new, acceptors(found, here)["signers"]) == ("signed", False, SIGNED.document["signers"])
    assert stands(here, found) == (False, "suggest", "silent")
    assert stands(there.document, found) == (False, "suggest", "silent")  # also when nothing but the name is new
    assert basis(None, other, (there,)).how == "first"
    assert basis(None, CONTOSO, (there,)).how == "sandbox"
    assert basis(SIGNED, here, (there,)) == SIGNED  # what was accepted under its own name counts


def test_who_may_accept_is_said_by_what_was_accepted_once_anybody_is():
    usurped = {**REAL, "signers": ["eve@contoso.example ssh-ed25519 AAAA"]}

    assert acceptors(SIGNED, usurped) == SIGNED.document
    nobody = Basis("b" * 64, {**REAL, "signers": []}, "signed")
    assert acceptors(nobody, usurped) == nobody.document
    assert acceptors(basis(None, REAL), usurped) == usurped  # nobody ever could sign


def test_what_people_sign_cannot_be_given_another_line_by_its_text():
    hostile = decision(
        "contoso", "approve", "LR-A", "d" * 64, reason="x\nrequest: LR-B\r\n\u2028digest: 1", ticket="INC1\n"
    )

    assert hostile.decode().splitlines() == [
        "approve a licence request by break-glass",
        "tenant: contoso",
        "request: LR-A",
        "digest: " + "d" * 64,
        "reason: x request: LR-B digest: 1",
        "ticket: INC1",
    ]
    assert acceptance("contoso", "a" * 64, "b" * 64).decode().splitlines()[1:] == [
        "tenant: contoso",
        "digest: " + "a" * 64,
        "replaces: " + "b" * 64,
    ]


def test_permissions_that_write_are_told_with_what_they_reach_and_others_are_not():
    found = overreach(
        ["User.Read.All", "User.ReadWrite.All", "Mail.Send", "Directory.ReadWrite.All", "Sites.ReadWrite.All"]
    )

    assert sorted(found) == ["Directory.ReadWrite.All", "Mail.Send", "Sites.ReadWrite.All", "User.ReadWrite.All"]
    assert "every mailbox" in found["Mail.Send"]
    assert "take it away" in found["Directory.ReadWrite.All"]
    assert "nothing here needs it" in found["Sites.ReadWrite.All"]
