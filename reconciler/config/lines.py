"""Which line of a TOML file a key is on, for messages. Pure; a best effort that says None rather than a wrong line."""

from __future__ import annotations

import re
from collections.abc import Sequence

_TABLE = re.compile(r"\s*\[(?P<array>\[)?\s*(?P<name>[^\[\]]+?)\s*\]")
_KEY = re.compile(r"\s*(?P<key>(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|\"[^\"]*\"))*)\s*=")
_PART = re.compile(r"\"([^\"]*)\"|'([^']*)'|([A-Za-z0-9_-]+)")

Step = str | int


def line_of(text: str, path: Sequence[Step]) -> int | None:
    """The line, from 1, of the key at `path`, or of the nearest table or key around it."""
    best, depth = None, 0
    table: list[Step] = []
    counts: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        here: list[Step] | None = None
        if match := _TABLE.match(line):
            name = _parts(match["name"])
            if match["array"]:
                counts[name] = counts.get(name, -1) + 1
            table = _indexed(name, counts)
            here = table
        elif match := _KEY.match(line):
            here = [*table, *_parts(match["key"])]
        if here and len(here) > depth and list(path[: len(here)]) == here:
            best, depth = number, len(here)
    return best


def _parts(name: str) -> tuple[str, ...]:
    return tuple(a or b or c for a, b, c in _PART.findall(name))


def _indexed(name: tuple[str, ...], counts: dict[tuple[str, ...], int]) -> list[Step]:
    """The name with the index of each array of tables put in, as in items.2.variables."""
    steps: list[Step] = []
    for end, part in enumerate(name, 1):
        steps.append(part)
        if name[:end] in counts:
            steps.append(counts[name[:end]])
    return steps
