"""What is wrong with a configuration, as one sentence: file, line, key, what was expected, the closest right word.

Values that may be secret are never repeated (invariant I15).
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from desired_state.rules import KINDS
from reconciler.config.lines import Step, line_of
from reconciler.config.model import Settings
from reconciler.config.sources import is_secret

_SHOWN_MAX = 60
_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "decimal_type": "a number",
    "decimal_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": 'text in quotes, like "text"',
    "tuple_type": 'a list, like ["one", "two"]',
    "list_type": 'a list, like ["one", "two"]',
    "dict_type": "a table of keys and values",
    "mapping_type": "a table of keys and values",
    "model_type": "a table of keys and values",
    "model_attributes_type": "a table of keys and values",
    "path_type": "the path of a file, in quotes",
    "date_from_datetime_parsing": "a date like 2026-12-31",
    "date_type": "a date like 2026-12-31",
    "date_parsing": "a date like 2026-12-31",
}


def sentence(
    error: ValidationError,
    *,
    file: str,
    text: str,
    data: Mapping[str, Any],
    origins: Mapping[Any, str],
    root: type[BaseModel] = Settings,
) -> str:
    """The first thing that is wrong, in the order of the file, and how many more there are. `root` is what it is."""
    found = error.errors(include_url=False)
    placed = []
    for fault in found:
        path = _path(fault["loc"], data)
        if fault["type"] == "union_tag_invalid":
            path = [*path, "kind"]
        origin = origins.get(tuple(step for step in path if isinstance(step, str)))
        placed.append((origin, None if origin else line_of(text, path), path, fault))
    # A list with a wrong value in it is reported as too short as well.
    deep = [tuple(path) for _, _, path, _ in placed]
    placed = [
        p
        for p in placed
        if p[3]["type"] != "too_short" or not any(d != tuple(p[2]) and d[: len(p[2])] == tuple(p[2]) for d in deep)
    ]
    # A mistyped key is one mistake and reads as two: the word that is not known says more than the one that is missing.
    mistyped = {tuple(path[:-1]) for _, _, path, fault in placed if fault["type"] == "extra_forbidden"}
    placed = [p for p in placed if p[3]["type"] != "missing" or tuple(p[2][:-1]) not in mistyped] or placed
    # A value that fits none of several shapes is reported once a shape; the one that names choices says most.
    placed.sort(key=lambda p: (p[0] is None, p[1] or 0, str(p[2]), p[3]["type"] != "literal_error"))
    origin, line, path, fault = placed[0]
    more = len({str(path) for _, _, path, _ in placed}) - 1
    where = origin or place(file, line)
    tail = f" ({more} more to mend after this)" if more else ""
    return f"{where}: {_what(fault, path, data, root)}{tail}"


def place(file: str, line: int | None) -> str:
    return f"{file}, line {line}" if line else file


def _what(fault: Mapping[str, Any], path: Sequence[Step], data: Mapping[str, Any], root: type[BaseModel]) -> str:
    key, kind, context = _dotted(path, data), fault["type"], fault.get("ctx", {})
    if kind == "extra_forbidden":
        around = _dotted(path[:-1], data)
        near = _near(str(path[-1]), _keys_at(fault["loc"][:-1], root))
        return f"there is no key '{path[-1]}'{f' in {around}' if around else ''}{near}"
    if kind == "missing":
        return f"{_dotted(path[:-1], data) or 'the file'} needs the key '{path[-1]}'"
    if kind == "union_tag_not_found":
        return f'{key} needs kind = "…", one of {_tags(context)}'
    if kind == "union_tag_invalid":
        near = _near(str(context.get("tag")), _listed(context))
        return (
            f"{_dotted(path[:-1], data)} has the kind '{context.get('tag')}'; expected is one of {_tags(context)}{near}"
        )
    given = "" if is_secret(tuple(path)) else _shown(fault.get("input"))
    if kind in ("literal_error", "enum"):
        expected = str(context.get("expected", ""))
        near = _near(str(fault.get("input")), [word.strip(" '\"") for word in expected.replace(" or ", ",").split(",")])
        return f"{key} is {given or 'not right'}; expected is {expected}{near}"
    if kind == "value_error":
        return f"{key + ': ' if key else ''}{str(context.get('error', fault['msg'])).removeprefix('Value error, ')}"
    expected = _EXPECTED.get(kind) or _bound(kind, context) or _bare(str(fault["msg"]))
    return f"{key} is {given or 'not right'}; expected is {expected}"


def _bound(kind: str, context: Mapping[str, Any]) -> str:
    if kind == "too_short":
        return f"a list of {context.get('min_length')} or more"
    if kind == "too_long":
        return f"a list of at most {context.get('max_length')}" if context.get("max_length") else "nothing here"
    if kind == "decimal_max_places":
        return f"a number with at most {context.get('decimal_places')} decimal places"
    words = {"less_than_equal": ("at most", "le"), "greater_than_equal": ("at least", "ge")}
    return f"{words[kind][0]} {context.get(words[kind][1])}" if kind in words else ""


def _bare(message: str) -> str:
    return message.removeprefix("Input should be ").removeprefix("a valid ") or message


def _path(loc: Sequence[Step], data: Any) -> list[Step]:
    """A location without the steps that pydantic adds for unions: what is left are keys and indices of the data."""
    path: list[Step] = []
    node = data
    for position, step in enumerate(loc):
        is_last = position == len(loc) - 1
        if isinstance(node, Mapping) and isinstance(step, str):
            if step in node:
                node = node[step]
            elif not is_last or node.get("kind") == step:
                continue
        elif isinstance(node, list | tuple) and isinstance(step, int) and step < len(node):
            node = node[step]
        elif not isinstance(node, Mapping | list | tuple):
            continue
        path.append(step)
    return [step for step in path if step != "[key]"]


def _dotted(path: Sequence[Step], data: Mapping[str, Any]) -> str:
    """Tables read as they are written; entries of [[items]] and [[rules]] by their own name where they have one."""
    if len(path) < 2 or not isinstance(path[1], int):
        return ".".join(str(step) for step in path)
    entry = data[str(path[0])][path[1]]
    name = next((entry[k] for k in ("id", "name") if isinstance(entry, Mapping) and isinstance(entry.get(k), str)), "")
    which = f"{str(path[0]).removesuffix('s')} '{name[:_SHOWN_MAX]}'" if name else f"[[{path[0]}]] number {path[1] + 1}"
    rest = ".".join(str(step) for step in path[2:] if isinstance(step, str))
    return f"{which}, {rest}" if rest else which


def _keys_at(loc: Sequence[Step], root: type[BaseModel]) -> list[str]:
    """The keys that a section has, found by walking the types along a location."""
    nodes: list[Any] = [root]
    for step in loc:
        nodes = [inner for node in nodes for inner in _inside(node, step)]
    return [key for node in nodes for model in _sections(node) for key in model.model_fields]


def _inside(node: Any, step: Step) -> list[Any]:
    """What one step of a location leads to: a field of a section, a member of a table or list, a kind of rule."""
    found: list[Any] = []
    for part in _parts(node):
        if typing.get_origin(part) in (dict, tuple):
            found.append([a for a in typing.get_args(part) if a is not Ellipsis][-1])
        elif isinstance(part, type) and issubclass(part, BaseModel):
            field = part.model_fields.get(str(step))
            kind = part.model_fields.get("kind")
            if field is not None:
                found.append(field.annotation)
            elif kind is not None and step in typing.get_args(kind.annotation):
                found.append(part)
    return found


def _sections(node: Any) -> list[type[BaseModel]]:
    return [part for part in _parts(node) if isinstance(part, type) and issubclass(part, BaseModel)]


def _parts(node: Any) -> list[Any]:
    """The alternatives of an annotation: X | None and Annotated[X | Y, …] taken apart."""
    origin = typing.get_origin(node)
    if origin is typing.Annotated:
        return _parts(typing.get_args(node)[0])
    if origin in (typing.Union, types.UnionType):
        return [part for inner in typing.get_args(node) for part in _parts(inner)]
    return [node]


def _near(word: str, choices: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def _listed(context: Mapping[str, Any]) -> list[str]:
    return [tag.strip(" '\"") for tag in str(context.get("expected_tags", "")).split(",")]


def _tags(context: Mapping[str, Any]) -> str:
    return ", ".join(tag for tag in _listed(context) if tag) or ", ".join(KINDS)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value[:_SHOWN_MAX]}'"
    if isinstance(value, int | float):
        return str(value)
    return "a list" if isinstance(value, list | tuple) else "a table" if isinstance(value, Mapping) else ""
