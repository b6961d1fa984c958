"""Who did it: the directory's log read as evidence, with how far it carries. Pure.

The log says that a licence changed in one entry and what changed in another, or cuts it, or loses both (graph.md
section 5). A name is certain only when an entry of the time in question names what is gone; otherwise it is likely,
or nobody is named. Names are text from outside: they are shown on one line and steer nothing (I17).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from desired_state.model import GroupId, SkuId
from desired_state.text import one_line
from reconciler.line import ActorKind, Attribution, Confidence, Unread
from reconciler.model import AuditEvent, AuditTrail

LICENCE, UPDATE, LEFT = "change user license", "update user", "remove member from group"
JOINED = "add member to group"
GROUP_LICENSING = frozenset({"microsoft entra group-based licensing", "microsoft azure ad group-based licensing"})
SIBLING = timedelta(seconds=2)  # entries of one change by one actor, where no correlation id ties them together
NAME_MAX = 100
_STEERS = re.compile(r"[\[\]<>]")  # a name opens no code tag and forges no mark of ours in a ticket


@dataclass(frozen=True, slots=True)
class Sought:
    """What is gone: one of these SKUs (or something inside it), or the membership in a group. `is_gain`: what came."""

    skus: frozenset[SkuId]
    group: GroupId | None = None
    is_gain: bool = False


class _Says(StrEnum):
    NAMES = "names"
    OTHER = "other"
    NOTHING = "nothing"  # a change whose content is not told, or cut


def attribute(
    trail: AuditTrail | Unread | None, sought: Sought, *, since: datetime, until: datetime, our_app: str
) -> Attribution:
    """The actor of the change that took `sought` away, or brought it, between `since` (when it was last known to be as
    before) and `until`."""
    if trail is None or isinstance(trail, Unread):
        why = "the directory's log was not read" if trail is None else "the directory's log could not be read"
        return Attribution(ActorKind.UNKNOWN, Confidence.UNKNOWN, why=why)
    events = sorted(
        (e for e in trail.events if since <= e.at <= until and e.result.lower() in ("success", "")),
        key=lambda e: (e.at, e.id),
    )
    if sought.group is not None:
        activity = JOINED if sought.is_gain else LEFT
        moves = [(e, _moved(e, sought.group, sought.is_gain)) for e in events if e.activity.lower() == activity]
        found = _weigh(moves, trail, our_app)
        if found.confidence is not Confidence.UNKNOWN:
            return found
    return _weigh(list(_changes(events, sought.skus, sought.is_gain)), trail, our_app)


def _weigh(acts: Sequence[tuple[AuditEvent, _Says]], trail: AuditTrail, our_app: str) -> Attribution:
    named = [e for e, says in acts if says is _Says.NAMES]
    blank = [e for e, says in acts if says is _Says.NOTHING]
    chosen = named or blank
    who = {_key(e) for e in chosen}
    if not chosen:
        cut = "" if trail.is_whole else ", as far as it could be read"
        return Attribution(ActorKind.UNKNOWN, Confidence.UNKNOWN, why=f"the directory's log shows no such change{cut}")
    if len(who) > 1:
        names = " or ".join(sorted({name_of(e) for e in chosen}))
        return Attribution(
            ActorKind.UNKNOWN, Confidence.UNKNOWN, why=f"the directory's log shows several changes, by {names}"
        )
    others = {_key(e) for e in blank} - who
    is_certain = bool(named) and trail.is_whole and not others and who != {""}
    last = chosen[-1]
    return Attribution(
        _kind(last, our_app),
        Confidence.CERTAIN if is_certain else Confidence.LIKELY,
        name_of(last),
        last.at,
        last.id,
        last.correlation_id,
    )


def _changes(events: Sequence[AuditEvent], skus: frozenset[SkuId], is_gain: bool) -> Iterable[tuple[AuditEvent, _Says]]:
    """Each licence change with what its own entry and its siblings tell; an orphaned sibling counts when it names."""
    licence = [e for e in events if e.activity.lower() == LICENCE]
    told = [e for e in events if e.activity.lower() == UPDATE]
    for event in licence:
        kin = [e for e in told if is_sibling(e, event)]
        yield event, _strongest(_said(e.changes, skus, is_gain) for e in (event, *kin))
    for event in told:
        is_orphan = not any(is_sibling(event, e) for e in licence)
        if is_orphan and _said(event.changes, skus, is_gain) is _Says.NAMES:
            yield event, _Says.NAMES


def is_sibling(one: AuditEvent, other: AuditEvent) -> bool:
    """Whether two entries are of one change: by their correlation id, or by one actor within two seconds."""
    if one.correlation_id and one.correlation_id == other.correlation_id:
        return True
    return _key(one) == _key(other) and abs(one.at - other.at) <= SIBLING


def _strongest(said: Iterable[_Says]) -> _Says:
    heard = set(said)
    return next(s for s in (_Says.NAMES, _Says.OTHER, _Says.NOTHING) if s in heard)


def _said(changes: Sequence[tuple[str, str, str]], skus: frozenset[SkuId], is_gain: bool) -> _Says:
    licences = [(old, new) for name, old, new in changes if "license" in name.lower()]
    if not licences:
        return _Says.NOTHING
    for old, new in licences:
        if not is_whole(new) or not is_whole(old):
            return _Says.NOTHING
        had, other = (new, old) if is_gain else (old, new)
        if any(part(had, sku) and part(had, sku) != part(other, sku) for sku in skus):
            return _Says.NAMES
    return _Says.OTHER


def is_whole(text: str) -> bool:
    """Values are JSON; one that was cut is none, and what it lacks may have been there."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def part(text: str, sku: SkuId) -> str:
    """What a list of licences says about one of them, "" when it does not hold it."""
    parts = re.split(r"(?=SkuName\s*=)", text)
    return next((p.strip(' ,"]\\[') for p in parts if sku in p.lower()), "")


def _moved(event: AuditEvent, group: GroupId, is_gain: bool = False) -> _Says:
    ids = [new if is_gain else old for name, old, new in event.changes if name.lower() == "group.objectid"]
    if not ids:
        return _Says.NOTHING
    return _Says.NAMES if any(group in id.lower() for id in ids) else _Says.OTHER


def has_left(event: AuditEvent, group: GroupId) -> bool | None:
    """Whether an entry about leaving a group is about this one; None: it does not say."""
    said = _moved(event, group)
    return None if said is _Says.NOTHING else said is _Says.NAMES


def _key(event: AuditEvent) -> str:
    return event.user_id or event.app_id or event.user_upn.lower() or event.app_name.lower()


def _kind(event: AuditEvent, our_app: str) -> ActorKind:
    if our_app and event.app_id.lower() == our_app.lower():
        return ActorKind.US
    if " ".join(event.app_name.lower().split()) in GROUP_LICENSING:
        return ActorKind.GROUP_LICENSING
    if event.user_id or event.user_upn:
        return ActorKind.PERSON
    return ActorKind.APP if event.app_id or event.app_name else ActorKind.UNKNOWN


def name_of(event: AuditEvent) -> str:
    """The actor as people are shown it: a name, with the sign-in name beside it where there is one."""
    name, upn = shown(event.user_name), shown(event.user_upn)
    if name and upn:
        return f"{name} ({upn})"
    return name or upn or shown(event.app_name) or shown(event.app_id) or "somebody who is not named"


def shown(text: str) -> str:
    """Text from outside on one line, without the brackets that would steer a ticket or a page."""
    return one_line(_STEERS.sub(" ", text), NAME_MAX)


def sentence(by: Attribution) -> str:
    """The finding in words, with its confidence."""
    if by.confidence is Confidence.UNKNOWN or by.at is None:
        return f"Who did it is unknown: {by.why}."
    who = {
        ActorKind.US: f"the reconciler itself ({by.name})",
        ActorKind.GROUP_LICENSING: f"group licensing ({by.name})",
    }
    told = f"by {who.get(by.kind, by.name)} on {by.at:%Y-%m-%d at %H:%M} UTC"
    if by.confidence is Confidence.CERTAIN:
        return f"It was done {told} (certain: the directory's log names it)."
    return f"It was probably done {told} (likely: the directory's log shows a change and not all of it)."
