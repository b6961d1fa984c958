"""What people made of what would have been done: every outcome, and how sure their sum is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from desired_state.model import GroupId, LineKey, ProductKey, Says, Task
from reconciler.approvals.values import Approval, Decision, Human, State, Verdict
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.line import (
    Access,
    ActorKind,
    Aftermath,
    Attribution,
    Closing,
    Confidence,
    Finding,
    LineState,
    Loss,
    Proof,
    Rest,
)
from reconciler.model import Action, ActionKind, Assignment, Undo
from reconciler.promotion import desk
from reconciler.promotion.agreement import agreements, lower_bound
from reconciler.promotion.effects import effects, sentence
from reconciler.promotion.judge import Now, judge
from reconciler.promotion.values import Axis, Outcome, Shadow
from reconciler.promotion.words import told
from tests.make import ADA, E3, E5, HOUR, MONDAY, SWAY, VISIO, YAMMER, a_line, a_ticket, a_user

WEEK = timedelta(days=7)
GROUP = GroupId("99999999-9999-4999-8999-999999999999")
DIGEST = "d" * 64
LICENCE = {"do": "licence", "sku": VISIO, "off": [], "name": "VISIOCLIENT"}
TOM = Attribution(ActorKind.PERSON, Confidence.CERTAIN, "Tom Weber", MONDAY + 2 * HOUR)


def shadow(*would: dict[str, Any], **changes: Any) -> Shadow:
    made = Shadow(LineKey("RITM0000001", 1), Axis.MODE, DIGEST, "visio", "observe", would or (LICENCE,), MONDAY, ADA)
    return replace(made, **changes)


def now(finding: Finding | None = None, *, hours: float = 3, **changes: Any) -> Now:
    return replace(Now(MONDAY + hours * HOUR, WEEK, finding=finding), **changes)


def finding(rest: Rest = Rest.ACT, *, holds: Any = None, says: Says = Says.APPROVED, **changes: Any) -> Finding:
    user = changes.pop("user", a_user(holds=holds))
    return replace(Finding(a_line(says=says), rest, user=user), **changes)


def by_group(sku=VISIO, group=GROUP) -> Any:
    return a_user(assignments=(Assignment(sku, group, frozenset(), "Active"),))


def approval(state: State, verdict: Verdict | None = None, reason: str = "", digest: str = DIGEST) -> Approval:
    tom = Human("t", "o", "Tom Weber", "tom@contoso.example")
    decisions = (Decision("license_admin", verdict, tom, digest, MONDAY + HOUR),) if verdict else ()
    return Approval(
        "LR-1", "contoso", LineKey("RITM0000001", 1), digest, {}, {}, (), MONDAY,
        state=state, reason=reason, decisions=decisions,
    )  # fmt: skip


REMOVAL = shadow({"do": "without", "sku": E3, "name": "SPE_E3"}, is_removal=True)
PROVEN_BY_E5 = Proof(Access.PROVEN, sku=E5)
LATE = 7 * 24
CASES: list[tuple[str, Shadow, Now, Outcome, str]] = [
    ("the same licence", shadow(), now(finding(Rest.PROVEN, holds={VISIO: ()}), by=TOM), Outcome.AGREED, "by Tom"),
    ("the same, not proven yet", shadow(), now(finding(Rest.WAIT, holds={VISIO: ()})), Outcome.AGREED, "not known"),
    ("other plans off", shadow(), now(finding(holds={VISIO: (SWAY,)})), Outcome.DIFFERED, "other service plans"),
    ("by a group instead", shadow(), now(finding(Rest.PROVEN, user=by_group(), proof=Proof(Access.PROVEN, sku=VISIO))),
     Outcome.DIFFERED, "by a group"),
    ("another SKU of the family", shadow(), now(finding(Rest.PROVEN, holds={E5: ()}, proof=PROVEN_BY_E5)),
     Outcome.DIFFERED, "by another way"),
    ("nothing yet", shadow(), now(finding()), Outcome.WAITING, ""),
    ("nothing in time", shadow(), now(finding(), hours=LATE), Outcome.NOBODY_ACTED, "Nobody"),
    ("the location only", shadow({"do": "location", "country": "DE"}, LICENCE),
     now(finding(user=a_user(usage_location="DE")), hours=LATE), Outcome.CANNOT_TELL, "part"),
    ("another location", shadow({"do": "location", "country": "DE"}, LICENCE),
     now(finding(user=a_user(usage_location="FR"))), Outcome.DIFFERED, "FR, not DE"),
    ("into the group", shadow({"do": "member", "group": GROUP}), now(finding(), members={(GROUP, ADA): True}),
     Outcome.AGREED, "same state"),
    ("directly instead of the group", shadow({"do": "member", "group": GROUP}),
     now(finding(Rest.PROVEN, holds={VISIO: ()}, proof=Proof(Access.PROVEN, sku=VISIO)), members={(GROUP, ADA): False}),
     Outcome.DIFFERED, "directly"),
    ("whether a member is not known", shadow({"do": "member", "group": GROUP}), now(finding()), Outcome.WAITING, ""),
    ("withdrawn", shadow(), now(finding(says=Says.CANCELLED)), Outcome.CANNOT_TELL, "withdrawn"),
    ("the person left", shadow(), now(finding(Rest.CANCEL, cause=Cause.SUBJECT_LEFT)), Outcome.CANNOT_TELL, "left"),
    ("the account unread", shadow(), now(finding(user=None)), Outcome.WAITING, ""),
    ("the account unread for long", shadow(), now(finding(user=None), hours=LATE), Outcome.CANNOT_TELL, "read"),
    ("licences not shown", shadow(), now(finding(user=a_user(assignments=None)), hours=LATE), Outcome.CANNOT_TELL, ""),
    ("whether it works untold", shadow(), now(finding(cause=Cause.UNKNOWN), hours=LATE), Outcome.CANNOT_TELL, ""),
    ("not looked at any more", shadow(), now(hours=LATE), Outcome.CANNOT_TELL, "not looked at"),
    ("we did it", shadow(), now(finding(Rest.PROVEN, holds={VISIO: ()}), is_ours=True), Outcome.OVERTAKEN, "by us"),
    ("the log says that it was us", shadow(), now(finding(holds={VISIO: ()}), by=replace(TOM, kind=ActorKind.US)),
     Outcome.OVERTAKEN, "by us"),
    ("removed", shadow({"do": "without", "sku": E3, "name": "SPE_E3"}, is_removal=True), now(finding(), by=TOM),
     Outcome.AGREED, "Tom Weber"),
    ("not removed yet", shadow({"do": "without", "sku": E3, "name": "SPE_E3"}, is_removal=True),
     now(finding(holds={E3: ()}, closing=Closing.DUE)), Outcome.WAITING, ""),
    ("kept", shadow({"do": "without", "sku": E3, "name": "SPE_E3"}, is_removal=True),
     now(finding(Rest.PROVEN, holds={E3: ()})), Outcome.DIFFERED, "kept"),
    ("approved", shadow(step="suggest"), now(finding(), approval=approval(State.APPROVED, Verdict.APPROVE)),
     Outcome.AGREED, "Tom Weber approved"),
    ("approved and failed", shadow(), now(finding(), approval=approval(State.FAILED, Verdict.APPROVE), is_ours=True),
     Outcome.AGREED, "approved"),
    ("rejected", shadow(), now(finding(), approval=approval(State.REJECTED, Verdict.REJECT, "No budget.")),
     Outcome.DIFFERED, "No budget"),
    ("not answered", shadow(), now(finding(), approval=approval(State.EXPIRED)), Outcome.NOBODY_ACTED, "in time"),
    ("asked and not answered yet", shadow(), now(finding(), approval=approval(State.PENDING)), Outcome.WAITING, ""),
    ("another request was approved", shadow(),
     now(finding(), approval=approval(State.DONE, Verdict.APPROVE, "", "e" * 64)), Outcome.WAITING, ""),
    ("as it was before anybody acted", shadow(base={"off": {VISIO: [SWAY]}}), now(finding(holds={VISIO: (SWAY,)})),
     Outcome.WAITING, ""),
    ("as it was, for long", shadow(base={"off": {VISIO: [SWAY]}}), now(finding(holds={VISIO: (SWAY,)}), hours=LATE),
     Outcome.NOBODY_ACTED, ""),
    ("other services than before, and than ours", shadow(base={"off": {VISIO: [SWAY]}}),
     now(finding(holds={VISIO: (YAMMER,)})), Outcome.DIFFERED, "other service plans"),
    ("switched on as we would", shadow(base={"off": {VISIO: [SWAY]}}), now(finding(Rest.PROVEN, holds={VISIO: ()})),
     Outcome.AGREED, "same state"),
    ("worked out again", shadow({"do": "reprocess", "group": GROUP}), now(finding(Rest.PROVEN, user=by_group())),
     Outcome.AGREED, "same state"),
    ("given directly instead of worked out again", shadow({"do": "reprocess", "group": GROUP}),
     now(finding(Rest.PROVEN, holds={VISIO: ()}, proof=Proof(Access.PROVEN, sku=VISIO))),
     Outcome.DIFFERED, "directly"),
    ("whether it is kept could not be read", REMOVAL,
     now(finding(Rest.HOLD, holds={E3: ()}, cause=Cause.REMOTE_FAILING)), Outcome.WAITING, ""),
    ("whether it is kept could not be read for long", REMOVAL,
     now(finding(Rest.HOLD, holds={E3: ()}, cause=Cause.REMOTE_FAILING), hours=LATE), Outcome.CANNOT_TELL, ""),
    ("all licences of a leaver went", REMOVAL, now(finding(user=a_user(is_enabled=False))), Outcome.CANNOT_TELL,
     "disabled"),
    ("a request that is still open after that time", shadow(step="suggest"),
     now(finding(), approval=approval(State.PENDING), hours=2 * LATE), Outcome.WAITING, ""),
    ("asked, and done by hand", shadow(), now(finding(holds={VISIO: ()}), approval=approval(State.CANCELLED), by=TOM),
     Outcome.AGREED, "Tom Weber"),
]  # fmt: skip


@pytest.mark.parametrize(("recorded", "at", "outcome", "why"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_what_people_made_of_it(recorded, at, outcome, why):
    found = judge(recorded, at)

    assert found.outcome is outcome, found.why
    assert why in found.why


STANDS = LineState(LineKey("RITM0000001", 1), Phase.GRANTED)
LOST = replace(STANDS, phase=Phase.DRIFTED, cause="removed_later")
STOOD, US = finding(Rest.PROVEN, holds={VISIO: ()}), replace(TOM, kind=ActorKind.US)


@pytest.mark.parametrize(
    ("at", "outcome"),
    [
        (now(STOOD, hours=5, state=STANDS), Outcome.WAITING),
        (now(STOOD, hours=LATE, state=STANDS), Outcome.AGREED),
        (now(finding(aftermath=Aftermath(Loss.REMOVED, TOM))), Outcome.DIFFERED),
        (now(finding(aftermath=Aftermath(Loss.REMOVED, US))), Outcome.WAITING),
        (now(finding(aftermath=Aftermath(Loss.REMOVED, US)), hours=2 * LATE, state=LOST), Outcome.CANNOT_TELL),
        (now(finding(aftermath=Aftermath(Loss.ERROR, None))), Outcome.WAITING),
        (now(finding(), hours=LATE, state=replace(STANDS, phase=Phase.REVIEW)), Outcome.WAITING),
        (now(finding(), hours=2 * LATE, state=replace(STANDS, phase=Phase.REVIEW)), Outcome.CANNOT_TELL),
        (now(STOOD, hours=LATE, state=replace(STANDS, cause="remote_failing")), Outcome.WAITING),
        (now(hours=LATE, state=STANDS), Outcome.WAITING),  # remembered, and not looked at
        (now(hours=2 * LATE, state=STANDS), Outcome.CANNOT_TELL),
        (now(hours=LATE), Outcome.WAITING),
        (now(hours=2 * LATE), Outcome.CANNOT_TELL),
    ],
)
def test_what_we_did_agrees_while_nobody_turns_it_back(at, outcome):
    assert judge(shadow(step="enforce"), at).outcome is outcome


# --- tickets ------------------------------------------------------------------------------------------------------

TASK = {"do": "task", "target": "t", "group": "desk", "state": "", "whole": False}
REOPEN = {"do": "reopened", "target": "t", "group": "", "state": "", "whole": False}
CLOSE = {"do": "closed", "target": "k1", "group": "", "state": "3", "whole": False}
OURS = Task("k1", "SCTASK1", "1", True, "ours")
CLOSED, OPEN = a_ticket(is_active=False), a_ticket(is_active=True, tasks=(OURS,))


def new_task(**changes: Any) -> Task:
    return replace(Task("k9", "SCTASK9", "1", True, "desk"), **changes)


TICKETS: list[tuple[str, Any, Any, Any, Says, str, Outcome]] = [
    ("reopened as we would", (REOPEN, TASK), CLOSED, {"is_active": True}, Says.APPROVED, "silent", Outcome.AGREED),
    ("a task instead", (REOPEN, TASK), CLOSED, {"tasks": (new_task(),)}, Says.FULFILLED, "silent", Outcome.DIFFERED),
    ("a task as we would", (TASK,), CLOSED, {"tasks": (new_task(),)}, Says.FULFILLED, "silent", Outcome.AGREED),
    ("a task elsewhere", (TASK,), CLOSED, {"tasks": (new_task(assignment_group="x"),)}, Says.FULFILLED, "note",
     Outcome.DIFFERED),
    ("reopened instead", (TASK,), CLOSED, {"is_active": True}, Says.APPROVED, "silent", Outcome.DIFFERED),
    ("handed to the group", (TASK,), OPEN, {"tasks": (replace(OURS, assignment_group="desk"),)}, Says.APPROVED,
     "silent", Outcome.AGREED),
    ("closed as fulfilled", (TASK,), OPEN, {"is_active": False}, Says.FULFILLED, "silent", Outcome.DIFFERED),
    ("withdrawn", (TASK,), OPEN, {"is_active": False}, Says.CANCELLED, "silent", Outcome.CANNOT_TELL),
    ("nothing yet", (TASK,), OPEN, {}, Says.APPROVED, "silent", Outcome.WAITING),
    ("our task closed", (CLOSE,), OPEN, {"tasks": (replace(OURS, state="3", is_active=False),)}, Says.FULFILLED, "note",
     Outcome.AGREED),
    ("our task closed incomplete", (CLOSE,), OPEN, {"tasks": (replace(OURS, state="4", is_active=False),)},
     Says.REJECTED, "note", Outcome.DIFFERED),
    ("the ticket closed", (CLOSE,), OPEN, {"is_active": False}, Says.FULFILLED, "note", Outcome.AGREED),
    ("the ticket cancelled", (CLOSE,), OPEN, {"is_active": False}, Says.CANCELLED, "note", Outcome.DIFFERED),
    ("given away", (CLOSE,), OPEN, {"tasks": (replace(OURS, assignment_group="x"),)}, Says.APPROVED, "note",
     Outcome.DIFFERED),
    ("the task that we opened, done", (TASK,), CLOSED,
     {"tasks": (new_task(state="3", is_active=False, correlation_id="m365r:x"),)}, Says.FULFILLED, "task",
     Outcome.AGREED),
    ("the task that we opened, refused", (TASK,), CLOSED,
     {"tasks": (new_task(state="7", is_active=False, correlation_id="m365r:x"),)}, Says.FULFILLED, "task",
     Outcome.DIFFERED),
    ("the task that we opened, open", (TASK,), CLOSED, {"tasks": (new_task(correlation_id="m365r:x"),)},
     Says.FULFILLED, "task", Outcome.WAITING),
    ("our own task is no deed of theirs", (TASK,), CLOSED, {"tasks": (new_task(correlation_id="m365r:x"),)},
     Says.FULFILLED, "silent", Outcome.WAITING),
]  # fmt: skip


@pytest.mark.parametrize(
    ("would", "before", "after", "says", "level", "outcome"), [c[1:] for c in TICKETS], ids=[c[0] for c in TICKETS]
)
def test_what_people_made_of_the_ticket(would, before, after, says, level, outcome):
    recorded = shadow(*would, axis=Axis.ANSWERS, step=level, base=desk.base(before))
    found = replace(finding(says=says), line=replace(a_line(says=says), ticket=replace(before, **after)))

    assert desk.judge(recorded, now(found)).outcome is outcome


@pytest.mark.parametrize(
    ("after", "by", "at"),
    [
        ({"tasks": (replace(OURS, state="3", is_active=False),)}, "", None),
        ({"is_active": False, "closed_by": "tom.weber", "closed_at": MONDAY + HOUR}, "tom.weber", MONDAY + HOUR),
        ({"is_active": False}, "", None),
    ],
)
def test_who_closed_a_task_is_not_read_and_whoever_wrote_the_ticket_last_is_not_taken_for_them(after, by, at):
    before = replace(OPEN, updated_by="ada", updated_at=MONDAY)
    recorded = shadow(CLOSE, axis=Axis.ANSWERS, step="silent", base=desk.base(before))
    found = replace(finding(), line=replace(a_line(says=Says.FULFILLED), ticket=replace(before, **after)))

    seen = desk.judge(recorded, now(found))

    assert (seen.outcome, seen.by, seen.acted_at) == (Outcome.AGREED, by, at)


def test_an_access_that_came_without_the_ticket_says_nothing_about_the_answer():
    recorded = shadow(REOPEN, TASK, axis=Axis.ANSWERS, step="silent", base=desk.base(CLOSED))
    found = finding(Rest.PROVEN, line=replace(a_line(says=Says.FULFILLED), ticket=CLOSED))

    assert desk.judge(recorded, now(found)).outcome is Outcome.CANNOT_TELL


@pytest.mark.parametrize(("hours", "outcome"), [(3, Outcome.WAITING), (LATE, Outcome.NOBODY_ACTED)])
def test_a_ticket_that_nobody_touched(hours, outcome):
    recorded = shadow(TASK, axis=Axis.ANSWERS, step="silent", base=desk.base(OPEN))
    found = finding(line=replace(a_line(), ticket=OPEN))

    assert desk.judge(recorded, now(found, hours=hours)).outcome is outcome


# --- words --------------------------------------------------------------------------------------------------------


def test_a_group_is_told_by_its_name_whichever_way_the_action_has_it():
    into = Action(
        ActionKind.ADD_GROUP_MEMBER, ADA, ProductKey("visio"), (), {}, {"group": "Visio\u202e people"},
        Undo.REVERSIBLE, None, group=GROUP,
    )  # fmt: skip
    out = replace(into, kind=ActionKind.REMOVE_GROUP_MEMBER, before={"group": {"name": "Visio", "id": GROUP}}, after={})

    assert sentence(effects([into], str)) == "add to group Visio people"
    assert sentence(effects([out], str)) == "remove from group Visio"
    assert sentence([{"do": "left", "group": GROUP}]) == f"remove from group {GROUP}"


@pytest.mark.parametrize(
    ("step", "outcome", "why", "said"),
    [
        ("enforce", Outcome.WAITING, "", "we did: assign VISIOCLIENT directly. Nobody has turned it back yet."),
        ("suggest", Outcome.WAITING, "", "we would have done: assign VISIOCLIENT directly. Nobody has acted yet."),
        ("enforce", Outcome.AGREED, "It has stood.", "we did: assign VISIOCLIENT directly. It has stood."),
    ],
)
def test_what_was_done_is_told_apart_from_what_would_have_been(step, outcome, why, said):
    assert told(shadow(step=step, outcome=outcome, why=why)) == said


# --- sums ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agreed", "decided", "bound"), [(0, 10, 0.0), (30, 30, 0.917), (29, 30, 0.864), (10, 10, 0.787), (50, 100, 0.419)]
)
def test_the_lower_bound_is_wilsons(agreed, decided, bound):
    assert lower_bound(agreed, decided) == pytest.approx(bound, abs=0.001)


def test_of_nothing_there_is_no_bound():
    assert lower_bound(0, 0) is None
    with pytest.raises(ValueError, match="no share"):
        lower_bound(2, 1)


@example(0, 11)
@given(st.integers(0, 200), st.integers(0, 200))
def test_the_bound_is_below_the_ratio_and_grows_with_each_agreement(agreed, differed):
    decided = agreed + differed
    if decided:
        bound, more = lower_bound(agreed, decided), lower_bound(agreed + 1, decided + 1)
        assert bound is not None and more is not None
        assert 0 <= bound <= agreed / decided
        assert more >= bound


@given(st.lists(st.tuples(st.sampled_from(Outcome), st.sampled_from(["a", "b"]), st.booleans())))
def test_unknown_is_never_an_agreement_and_every_shadow_is_counted_once(made):
    every = [shadow(product=p, outcome=o, is_removal=r, user=f"u{n}") for n, (o, p, r) in enumerate(made)]

    found = agreements(every, axis=Axis.MODE)

    assert sum(sum(a.counts.values()) for a in found.values()) == len(every)
    for product, agreement in found.items():
        mine = [s for s in every if s.product == product]
        assert agreement.decided == sum(s.outcome in (Outcome.AGREED, Outcome.DIFFERED) for s in mine)
        assert agreement.count(Outcome.AGREED) == sum(s.outcome is Outcome.AGREED for s in mine)
        assert str(agreement.decided) in agreement.sentence() or agreement.ratio is None
