"""Workload probes: whether a service really works for a person, beyond what its service plan says (tier V3).

A probe is a small plug-in: a name, and a function that looks at people and says for each whether the service works. It
reads only. A product names its probe (`probe = "teams-voice"`); other packages bring theirs through the entry point
group `reconciler.probes`, as a function from the Graph client to a `Look`. A probe that cannot tell says so
(`works=None`): nothing is granted, and nothing is handed back, on a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from reconciler.clients.graph import Graph
from reconciler.line import Look
from reconciler.probes.teams_voice import teams_voice

GROUP = "reconciler.probes"
BUILT_IN: Mapping[str, Callable[[Graph], Look]] = {"teams-voice": teams_voice}


@cache
def _brought() -> tuple[EntryPoint, ...]:
    """What other packages bring; looked up once, because it reads every installed package's own words."""
    return tuple(entry_points(group=GROUP))


def names() -> tuple[str, ...]:
    """The probes that a product may name: built in, and brought by other packages."""
    return tuple(sorted({*BUILT_IN, *(point.name for point in _brought())}))


def probes(graph: Graph) -> Mapping[str, Look]:
    """Every probe, ready to look. A built-in name cannot be taken by another package."""
    brought = {point.name: point.load()(graph) for point in _brought()}
    return brought | {name: make(graph) for name, make in BUILT_IN.items()}
