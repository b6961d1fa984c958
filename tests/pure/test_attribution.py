"""Who did it, from a log that is often cut: named only as far as the entries carry."""

from __future__ import annotations

import json
import random
from datetime import timedelta

import pytest

from desired_state.model import GroupId, SkuId
from reconciler.line import ActorKind, Attribution, Confidence, Unread
from reconciler.loop.attribution import Sought, attribute, sentence
from reconciler.model import AuditEvent, AuditTrail
from tests.make import DAY, E3, HOUR, MONDAY, VISIO

US, BOT = "5b6c2f8d-0000-4000-8000-000000000001", "5b6c2f8d-0000-4000-8000-000000000002"
GROUP = GroupId("99999999-9999-4999-8999-999999999999")
SINCE, YESTERDAY = MONDAY - 10 * DAY, MONDAY - DAY


def held(*skus: SkuId, off: str = "") -> str:
    """What the log says of a user's licences, as recorded (graph.md section 5)."""
    return json.dumps([f"[SkuName=NAME, AccountId=x, SkuId={sku.upper()}, DisabledPlans=[{off}]]" for sku in skus])


def licence(old: str, new: str) -> tuple[tuple[str, str, str], ...]:
    return (("AssignedLicense", old, new),)


TAKEN, OTHER, OFF = (
    licence(held(VISIO, E3), held(E3)),
    licence(held(VISIO), held(VISIO, E3)),
    licence(held(VISIO), held(VISIO, off="SWAY")),
)


def tom(activity: str = "Change user license", *, id: str = "1", at=YESTERDAY, **more) -> AuditEvent:
    who = {"user_id": "tom", "user_upn": "tom.weber@contoso.example", "user_name": "Tom Weber"}
    return AuditEvent(**{"id": id, "at": at, "activity": activity, "result": "success", **who, **more})


def ana(activity: str = "Change user license", **more) -> AuditEvent:
    return tom(activity, **{"id": "2", "user_id": "ana", "user_upn": "ana@contoso.example", "user_name": "Ana", **more})


def software(name: str, app_id: str = BOT, **more) -> AuditEvent:
    return tom(**{"user_id": "", "user_upn": "", "user_name": "", "app_id": app_id, "app_name": name, **more})


def who(*events: AuditEvent, is_whole: bool = True, group: GroupId | None = None, skus=frozenset({VISIO})):
    trail = AuditTrail(events, is_whole)
    return attribute(trail, Sought(skus, group), since=SINCE, until=MONDAY, our_app=US)


TABLE = [
    # what the log shows, how sure we are, whom we name
    ((tom(changes=TAKEN),), "certain", "Tom Weber"),
    ((tom(changes=OFF),), "certain", "Tom Weber"),
    ((tom(), tom("Update user", id="3", changes=TAKEN)), "certain", "Tom Weber"),  # the sibling says what
    (
        (tom(correlation_id="c"), tom("Update user", id="3", at=MONDAY, changes=TAKEN, correlation_id="c")),
        "certain",
        "Tom",
    ),
    ((tom("Update user", changes=TAKEN),), "certain", "Tom Weber"),  # its licence entry was lost
    ((tom(changes=TAKEN), tom(id="3", at=MONDAY - HOUR)), "certain", "Tom Weber"),  # his second change says nothing
    ((tom(changes=TAKEN), ana(at=MONDAY - HOUR, changes=OTHER)), "certain", "Tom Weber"),
    ((tom(),), "likely", "Tom Weber"),
    ((tom(changes=licence(held(VISIO), held(E3)[:30])),), "likely", "Tom Weber"),  # cut
    ((tom(changes=licence(held(VISIO), "")),), "likely", "Tom Weber"),
    ((tom(changes=TAKEN), ana(at=MONDAY - HOUR)), "likely", "Tom Weber"),  # hers does not say what it was
    ((), "unknown", ""),
    ((tom(changes=OTHER),), "unknown", ""),
    ((tom(), ana()), "unknown", ""),
    ((tom(changes=TAKEN), ana(changes=TAKEN)), "unknown", ""),
    ((tom(changes=TAKEN, result="failure"),), "unknown", ""),
    ((tom(changes=TAKEN, at=SINCE - HOUR),), "unknown", ""),  # before it was last seen to work
    ((tom(changes=TAKEN, at=MONDAY + HOUR),), "unknown", ""),
    ((tom("Update user", changes=OTHER),), "unknown", ""),
    ((tom("Reset password"),), "unknown", ""),
]


@pytest.mark.parametrize(("events", "confidence", "name"), TABLE)
def test_a_name_is_as_sure_as_the_entries_make_it(events, confidence, name):
    by = who(*events)

    assert (by.confidence, by.name.startswith(name), bool(by.name)) == (confidence, True, bool(name))


@pytest.mark.parametrize(("events", "confidence", "name"), TABLE)
@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_log_does_not_matter_and_a_cut_log_makes_nobody_certain(events, confidence, name, seed):
    shuffled = random.Random(seed).sample(events, len(events))

    by, cut = who(*shuffled), who(*shuffled, is_whole=False)

    assert by == who(*events)
    assert cut.confidence is not Confidence.CERTAIN
    assert cut.name == by.name


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (tom(changes=TAKEN), ActorKind.PERSON),
        (software("Leaver Bot", changes=TAKEN), ActorKind.APP),
        (software("License Reconciler", US.upper(), changes=TAKEN), ActorKind.US),
        (software("Microsoft Azure AD Group-Based Licensing", "", changes=TAKEN), ActorKind.GROUP_LICENSING),
        (software("microsoft ENTRA group-Based  Licensing", "", changes=TAKEN), ActorKind.GROUP_LICENSING),
    ],
)
def test_people_software_group_licensing_and_ourselves_are_told_apart(event, kind):
    assert (who(event).kind, who(event).confidence) == (kind, Confidence.CERTAIN)


def test_a_change_that_names_nobody_is_nobodys():
    by = who(software("", "", changes=TAKEN))

    assert (by.kind, by.confidence) == (ActorKind.UNKNOWN, Confidence.LIKELY)
    assert "not named" in by.name


def test_who_took_somebody_out_of_the_group_counts_more_than_the_licensing_that_followed():
    left = ("Group.ObjectID", json.dumps(GROUP), "")
    service = software("Microsoft Entra group-Based Licensing", "", id="9", at=MONDAY - HOUR, changes=TAKEN)
    removed = tom("Remove member from group", changes=(left,))
    elsewhere = tom("Remove member from group", changes=(("Group.ObjectID", '"another"', ""),))

    assert (who(removed, service, group=GROUP).name[:9], who(elsewhere, service, group=GROUP).kind) == (
        "Tom Weber",
        ActorKind.GROUP_LICENSING,
    )
    assert who(tom("Remove member from group"), group=GROUP).confidence is Confidence.LIKELY


def test_a_log_that_could_not_be_read_names_nobody_and_says_so():
    for trail in (Unread("forbidden"), None):
        by = attribute(trail, Sought(frozenset({VISIO})), since=SINCE, until=MONDAY, our_app=US)
        assert by.confidence is Confidence.UNKNOWN
        assert "read" in sentence(by)


def test_the_sentence_says_who_when_and_how_sure():
    assert sentence(who(tom(changes=TAKEN))) == (
        "It was done by Tom Weber (tom.weber@contoso.example) on 2026-11-01 at 09:00 UTC "
        "(certain: the directory's log names it)."
    )
    assert "probably" in sentence(who(tom()))
    assert sentence(who()) == "Who did it is unknown: the directory's log shows no such change."
    assert "by Ana (ana@contoso.example) or Tom Weber" in sentence(who(tom(), ana()))


@pytest.mark.parametrize("name", ["Tom\n[code]<b>x</b>", "[m365r:forged] Tom", "Tom\u202e\u0007", "T" * 5000])
def test_a_display_name_is_one_short_line_that_steers_nothing(name):
    by: Attribution = who(tom(changes=TAKEN, user_name=name))

    assert len(by.name) < 300
    assert by.name.isprintable()
    assert not set("[]<>\n") & set(by.name)


def test_a_name_with_only_an_identifier_is_still_told_from_another():
    later = YESTERDAY + timedelta(hours=1)

    assert who(tom(user_id="", changes=TAKEN), tom(id="3", user_id="", at=later, changes=TAKEN)).confidence == "certain"
