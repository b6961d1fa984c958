"""What a tenant may do by its configuration: all of it once it was accepted, less until then. Pure.

What allows no more than the last accepted configuration is used as it is. What allows more runs as `suggest`, tells
tickets no more than was accepted, and asks the people who were accepted: whoever wrote themselves into it decides
nothing by that. What names another directory or another ServiceNow only observes, because there the people are others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.digest import digest
from reconciler.governance.compare import Change, Document, differences
from reconciler.governance.judges import WIDER
from reconciler.governance.table import ANSWERS, MODES

_ELSEWHERE = (
    ("tenant", "sandbox"),
    *(("tenant", "graph", key) for key in ("tenant_id", "cloud", "base_url", "authority", "ca_file")),
    ("tenant", "servicenow", "instance"),
    ("tenant", "servicenow", "ca_file"),
)


@dataclass(frozen=True, slots=True)
class Basis:
    """What a configuration is compared with. `how` is "first", "sandbox" or "signed"; `is_new` ones have to be kept."""

    digest: str
    document: Document
    how: str
    is_new: bool = False


def basis(last: Basis | None, document: Document, elsewhere: Iterable[Basis] = (), *, named: str = "") -> Basis:
    """What this document is compared with, `last` being the last accepted configuration (None on an empty store).

    `named` is the document's digest, where it is known. `elsewhere` are those of other tenant names in the store, the
    newest first: where a directory was governed under another name, those who were accepted there decide, so nobody
    gets rid of them by a new name; and as its switches and budgets are kept by name, the new one begins with mode
    observe as any other.
    A tenant of the sandbox has nothing to lose: its first configuration counts as accepted, and later ones do until
    the accepted one names signers. A real tenant's first one counts as accepted with mode observe and silent answers.
    """
    tenant = document["tenant"]
    if tenant["sandbox"]:
        if last is None or (last.document["tenant"]["sandbox"] and not last.document["signers"]):
            found = named or digest(document)
            return Basis(found, document, "sandbox", is_new=last is None or last.digest != found)
        return last
    if last is None or last.document["tenant"]["sandbox"]:
        before = next((kept for kept in elsewhere if _is_same_directory(kept.document, document)), None)
        how, kept = (before.how, before.document) if before is not None else ("first", document)
        harmless = {**kept, "tenant": {**kept["tenant"], "mode": "observe", "answers": "silent"}}
        return Basis(digest(harmless), harmless, how, is_new=before is None)
    return last


def _is_same_directory(one: Document, other: Document) -> bool:
    ids = [str((d["tenant"].get("graph") or {}).get("tenant_id") or "").lower() for d in (one, other)]
    return not one["tenant"]["sandbox"] and bool(ids[0]) and ids[0] == ids[1]


def acceptors(basis: Basis, document: Document) -> Document:
    """Whose document says who may accept: the last accepted one, or, where nobody ever signed for the tenant and
    that one has no signers, the new one."""
    return basis.document if basis.document["signers"] or basis.how == "signed" else document


@dataclass(frozen=True, slots=True)
class Standing:
    """A configuration against the last accepted one. `accepted` is "" before the first start."""

    digest: str
    accepted: str
    changes: tuple[Change, ...] = ()
    mode: str = "observe"  # that it may run in
    answers: str = "silent"

    @property
    def wider(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.is_wider)

    @property
    def is_accepted(self) -> bool:
        """Nothing of it allows more than what was accepted."""
        return not self.wider

    def why(self) -> str:
        """Why it runs with less than it says, in one sentence; "" when it does not."""
        if self.is_accepted:
            return ""
        first, more = self.wider[0].sentence.removesuffix(", which may allow more"), len(self.wider) - 1
        others = f" (and {more} more)" if more else ""
        return (
            f"the configuration {self.digest[:16]} allows more than the accepted one {self.accepted[:16]}: {first}"
            f"{others}; until it is accepted (`reconciler config accept`) the mode is {self.mode} and answers are "
            f"{self.answers}"
        )


def standing(named: str, document: Document, accepted: str, before: Document, defaults: Document) -> Standing:
    """How a document, named by its digest, stands to the accepted one. `defaults`: see `compare.differences`."""
    tenant, old = document["tenant"], before["tenant"]
    mode, answers = str(tenant["mode"]), str(tenant["answers"])
    if named == accepted:
        return Standing(named, accepted, (), mode, answers)
    changes = differences(before, document, defaults)
    if all(change.way != WIDER for change in changes):
        return Standing(named, accepted, changes, mode, answers)
    if any(change.path[: len(path)] == path for change in changes for path in _ELSEWHERE):
        return Standing(named, accepted, changes, "observe", "silent")
    return Standing(named, accepted, changes, lower(MODES, mode, "suggest"), lower(ANSWERS, answers, old["answers"]))


def lower(order: tuple[str, ...], *values: object) -> str:
    """The least of some values; one that is not known is the least there is."""
    return order[min(order.index(v) if v in order else 0 for v in values)]
