"""What actions come to, as effects that a later look can find or miss. Pure.

An effect is a JSON object: {"do": "location", "country"}, {"do": "licence", "sku", "off", "name"}, {"do": "without",
"sku", "name"}, {"do": "member" | "left" | "reprocess", "group", "name"}; for tickets {"do": "task" | "reopened" |
"closed", "target", "group", "state"}.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from desired_state.model import SkuId
from desired_state.text import one_line
from reconciler.answers.values import ITEM, REQUEST, Answer
from reconciler.model import Action, ActionKind, AnswerKind, Assignment

Effect = Mapping[str, Any]
LOSSES = frozenset({"without", "left"})
_HANDLING = (AnswerKind.TASK, AnswerKind.REOPENED, AnswerKind.CLOSED)


def effects(actions: Iterable[Action], name: Callable[[SkuId], str]) -> tuple[Effect, ...]:
    """What the directory would show after these actions; `name` gives a SKU's part number."""
    return tuple(effect for action in actions for effect in _of(action, name))


def _of(action: Action, name: Callable[[SkuId], str]) -> Iterable[Effect]:
    if action.country is not None:
        yield {"do": "location", "country": action.country}
    added = {g.sku for g in action.add}
    for grant in action.add:
        yield {"do": "licence", "sku": grant.sku, "off": sorted(grant.disabled_plans), "name": name(grant.sku)}
    for sku in action.remove:
        if sku not in added:
            yield {"do": "without", "sku": sku, "name": name(sku)}
    match action.kind:
        case ActionKind.ADD_GROUP_MEMBER:
            yield _group("member", action)
        case ActionKind.REMOVE_GROUP_MEMBER:
            yield _group("left", action)
        case ActionKind.REPROCESS:
            yield _group("reprocess", action)


def _group(do: str, action: Action) -> Effect:
    """With the name that the directory has for it now: what people are shown."""
    named = action.after.get("group") or action.before.get("group")
    named = named.get("name") if isinstance(named, Mapping) else named
    return {"do": do, "group": action.group, "name": one_line(str(named or action.group), 200)}


def base(would: Iterable[Effect], rows: Iterable[Assignment] | None) -> dict[str, Any]:
    """What a later look is compared with, as JSON values: which services of the licences that would be changed are off
    already, by SKU. `rows` None: what the person has was not shown."""
    touched = {e["sku"] for e in would if e["do"] == "licence"}
    off = {a.sku: sorted(a.disabled_plans) for a in rows or () if a.group is None and a.sku in touched}
    return {"off": off} if off else {}


def is_removal(would: Collection[Effect]) -> bool:
    """Whether somebody only loses by it: an exchange gives something as well."""
    return bool(would) and all(e["do"] in LOSSES for e in would)


def handling(answers: Iterable[Answer]) -> tuple[Effect, ...]:
    """What of some answers people would do too: what is merely said, nobody repeats."""
    return tuple(
        {
            "do": a.kind.value,
            "target": a.target,
            "group": a.group,
            "state": a.state if a.kind is AnswerKind.CLOSED else "",
            "whole": a.title == ITEM,
        }
        for a in answers
        if a.kind in _HANDLING and a.title != REQUEST
    )


def sentence(would: Iterable[Effect]) -> str:
    """The effects in words, as "assign VISIOCLIENT directly"."""
    return " and ".join(map(_words, would)) or "nothing"


def _words(effect: Effect) -> str:
    named = str(effect.get("name") or effect.get("group") or "")
    match effect["do"]:
        case "location":
            return f"set the usage location to {effect['country']}"
        case "licence":
            off = len(effect.get("off") or ())
            return f"assign {effect['name']} directly" + (f" with {off} service plans off" if off else "")
        case "without":
            return f"remove the direct {effect['name']}"
        case "member":
            return f"add to group {named}"
        case "left":
            return f"remove from group {named}"
        case "reprocess":
            return f"let group {named} be worked out again"
        case "task":
            return "open a follow-up task"
        case "reopened":
            return "reopen the ticket"
        case "closed":
            return "close the ticket" if effect.get("whole") else "close our task"
    return str(effect["do"])
