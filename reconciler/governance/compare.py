"""What differs between two effective configurations, and which of it allows more. Pure.

A document is what one tenant does by, as JSON: "tenant", "products", "items" and "rules" by name, "signers", and the
sections of the program that matter. Whatever changed and is not understood counts as wider.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.governance.judges import ABSENT, NARROWER, WIDER
from reconciler.governance.rules import PERMITTING, RESTRICTING, judge_of_rule
from reconciler.governance.table import judge_of

Document = Mapping[str, Any]
_ENTRIES = ("products", "items", "rules")  # tables of entries whose keys may be newer than a kept document
_SHOWN_MAX = 300
_NOTHING: tuple[Any, ...] = (None, "", [], {}, False)


@dataclass(frozen=True, slots=True)
class Change:
    """One key that differs. `way` is "wider", "narrower" or "" where it allows neither more nor less."""

    path: tuple[str, ...]
    way: str
    sentence: str

    @property
    def is_wider(self) -> bool:
        return self.way == WIDER


def differences(before: Document, after: Document, defaults: Document | None = None) -> tuple[Change, ...]:
    """Everything that differs, in the order of the paths.

    `defaults` are the values of keys that nobody sets: a document that was kept before a key existed is read as if it
    had been there with its default.
    """
    known = _filled(before, defaults) if defaults is not None else before
    return tuple(_change(path, old, new, known, after) for path, old, new in _walk((), known, after))


def wider(before: Document, after: Document, defaults: Document | None = None) -> tuple[Change, ...]:
    """The differences by which `after` allows more than `before`; none: it may simply be used."""
    return tuple(change for change in differences(before, after, defaults) if change.is_wider)


def _walk(path: tuple[str, ...], before: Any, after: Any) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            old, new = before.get(key, ABSENT), after.get(key, ABSENT)
            is_newer = len(path) >= 2 and path[0] in _ENTRIES and old is ABSENT and new in _NOTHING
            if not is_newer:
                yield from _walk((*path, key), old, new)
    elif type(before) is not type(after) or before != after:
        yield path, before, after


def _change(path: tuple[str, ...], old: Any, new: Any, before: Document, after: Document) -> Change:
    way = _rule_way(path, old, new, before, after) if path[0] == "rules" else _way(path, old, new)
    return Change(path, way, _sentence(path, old, new, way))


def _way(path: tuple[str, ...], old: Any, new: Any) -> str:
    judge = judge_of(path)
    if judge is not None:
        return judge(old, new)
    tables = (old, new) if isinstance(old, Mapping) or isinstance(new, Mapping) else ()
    inner = [_way((*path, key), *(t.get(key, ABSENT) if isinstance(t, Mapping) else ABSENT for t in tables))
             for key in sorted({key for t in tables if isinstance(t, Mapping) for key in t})]  # fmt: skip
    is_known = bool(inner) and path[0] == "tenant" and all(way != WIDER for way in inner)
    return (NARROWER if NARROWER in inner else "") if is_known else WIDER


def _rule_way(path: tuple[str, ...], old: Any, new: Any, before: Document, after: Document) -> str:
    if len(path) == 2:  # a whole rule came or went
        kind = _kind(old if new is ABSENT else new)
        permits, restricts = kind in PERMITTING, kind in RESTRICTING
        return NARROWER if (permits and new is ABSENT) or (restricts and old is ABSENT) else WIDER
    kinds = {_kind(document.get("rules", {}).get(path[1])) for document in (before, after)}
    judge = judge_of_rule(next(iter(kinds)), path[2]) if len(kinds) == 1 and len(path) == 3 else None
    return judge(old, new) if judge is not None else WIDER


def _kind(rule: Any) -> str:
    return str(rule.get("kind", "")) if isinstance(rule, Mapping) else ""


def _filled(document: Any, defaults: Any) -> Any:
    if not (isinstance(document, Mapping) and isinstance(defaults, Mapping)):
        return document
    filled = {key: _filled(document[key], defaults[key]) if key in defaults else document[key] for key in document}
    return {**{key: value for key, value in defaults.items() if key not in document}, **filled}


def _sentence(path: tuple[str, ...], old: Any, new: Any, way: str) -> str:
    name = f"{path[0].rstrip('s')} '{path[1]}'" if len(path) == 2 and path[0] in _ENTRIES else ".".join(path)
    if old is ABSENT:
        said = f"{name} is new" if isinstance(new, Mapping) else f"{name} is new: {_shown(new)}"
    elif new is ABSENT:
        said = f"{name} is gone"
    elif isinstance(old, list) and isinstance(new, list):
        more = [_shown(v) for v in new if v not in old]
        less = [_shown(v) for v in old if v not in new]
        parts = [f"has {', '.join(more)} more"] * bool(more) + [f"has {', '.join(less)} no more"] * bool(less)
        said = f"{name} {' and '.join(parts) or 'has another order'}"
    else:
        said = f"{name} was {_shown(old)} and is {_shown(new)}"
    said = said if len(said) <= _SHOWN_MAX else f"{said[: _SHOWN_MAX - 1]}…"
    return said + {WIDER: ", which may allow more", NARROWER: ", which allows less"}.get(way, "")


def _shown(value: Any) -> str:
    match value:
        case None | "" | [] | {}:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            return f"'{value}'"
        case list():
            return ", ".join(_shown(v) for v in value)
        case Mapping():
            return "{" + ", ".join(f"{k}: {_shown(v)}" for k, v in sorted(value.items())) + "}"
    return str(value)
