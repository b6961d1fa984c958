"""What was done, in words. Pure.

A recorded change (kind, before, after) becomes half a sentence; what cannot be undone says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from desired_state.text import one_line
from reconciler.answers.values import Deed
from reconciler.model import ActionKind

WORDS_MAX = 400  # of a remote system's own words


def deed(done: Deed) -> str:
    """One write as half a sentence, with its doubt where there is one."""
    what = change(done.kind, done.before, done.after)
    if done.result == "unknown":
        return f"{what} (sent {done.at:%Y-%m-%d %H:%M} UTC; its reply was lost, what is there now counts)"
    return f"{what} ({done.at:%Y-%m-%d %H:%M} UTC)"


def change(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """A recorded change, whoever planned it."""
    match kind:
        case ActionKind.SET_USAGE_LOCATION:
            return _location(after)
        case ActionKind.ADD_GROUP_MEMBER:
            return f"added to the group {_group(after)}"
        case ActionKind.REMOVE_GROUP_MEMBER:
            return f"taken out of the group {_group(before) if _group(before) != _NAMELESS else _group(after)}"
        case ActionKind.REPROCESS:
            return "Microsoft was asked to work the group's licences out again"
        case _:
            return _licence(before, after)


def _location(after: Mapping[str, Any]) -> str:
    sources = [str(s) for s in after.get("sources") or ()]
    agree = f"{' and '.join(sources)} agree; " if sources else ""
    return f"usage location set to {after.get('usage_location') or 'unset'} ({agree}this cannot be undone)"


_NAMELESS = "that carries the licence"


def _group(side: Mapping[str, Any]) -> str:
    found = side.get("group") or side.get("member_of")
    name = found.get("name") or found.get("group_id") if isinstance(found, Mapping) else found
    return one_line(str(name), 120) if name else _NAMELESS


def _licence(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    had, has = _licences(before), _licences(after)
    parts = []
    for sku, off in has.items():
        if sku not in had:
            parts.append(f"{sku} assigned")
            continue
        on, off_now = [p for p in had[sku] if p not in off], [p for p in off if p not in had[sku]]
        if on:
            parts.append(f"{', '.join(on)} switched on in {sku}")
        if off_now:
            parts.append(f"{', '.join(off_now)} switched off in {sku}")
    parts += [f"{sku} taken away" for sku in had if sku not in has]
    return " and ".join(parts) or "licences changed"


def _licences(side: Mapping[str, Any]) -> dict[str, list[str]]:
    """Licences by name with the plans that are off: one under `licence`, several under `licences`."""
    one, many = side.get("licence"), side.get("licences")
    every = [*(many if isinstance(many, list | tuple) else ()), *([one] if one else ())]
    named = [entry for entry in every if isinstance(entry, Mapping)]
    return {str(e.get("sku", "the licence")): [str(p) for p in e.get("disabled_plans") or ()] for e in named}


def warnings(deeds: Iterable[Deed]) -> tuple[str, ...]:
    """What was known to speak against a change that was made all the same, once each."""
    told = [str(warning) for deed in deeds for warning in deed.after.get("warnings") or ()]
    return tuple(dict.fromkeys(told))


def takes_back(deed: Deed) -> bool:
    """Whether a write took something away and gave nothing."""
    if deed.kind in (ActionKind.REMOVE_LICENSE, ActionKind.REMOVE_GROUP_MEMBER):
        return True
    if deed.kind != ActionKind.ASSIGN_LICENSE:
        return False
    had, has = _licences(deed.before), _licences(deed.after)
    gains = any(sku not in had or set(had[sku]) - set(off) for sku, off in has.items())
    return not gains and had != has


def stays(deeds: Iterable[Deed], now: str | None) -> str:
    """What was done and is not taken back by anybody, "" when nothing: today that is the usage location.

    `now` is the account's usage location, None when it was not read: what others have changed since does not stay.
    """
    set_to = [d.after.get("usage_location") for d in deeds if d.is_done and d.kind == ActionKind.SET_USAGE_LOCATION]
    if not set_to or now not in (None, set_to[-1]):
        return ""
    return f"the usage location {set_to[-1]}, which cannot be undone"


def tried(deeds: Iterable[Deed]) -> str:
    """Changes that were sent, each with how often and when last, for when nothing of them is there."""
    sent: dict[str, list[Deed]] = {}
    for one in deeds:
        sent.setdefault(change(one.kind, one.before, one.after), []).append(one)
    return "; ".join(
        f"{what} ({f'{len(times)} times, last ' if len(times) > 1 else ''}{times[-1].at:%Y-%m-%d %H:%M} UTC)"
        for what, times in sent.items()
    )


def refused(deeds: Iterable[Deed]) -> str:
    """The remote system's own words of the last write that it did not accept, with its request id; "" for none."""
    failed = [d for d in deeds if d.result != "accepted" and d.words]
    if not failed:
        return ""
    last = failed[-1]
    times = f", {len(failed)} times" if len(failed) > 1 else ""
    request = f" (request {last.request_id})" if last.request_id else ""
    return f"{one_line(last.words, WORDS_MAX)}{request}, at {last.at:%Y-%m-%d %H:%M} UTC{times}"
