"""Verify a log: chain, tree, signed checkpoints, what was kept elsewhere, and conduct. Pure, and offline (I14).

What is proved:
- a row that was changed, removed, swapped or put in breaks the chain, whoever did it;
- a chain that was hashed anew is found by any signed checkpoint or any head that was kept elsewhere, up to its size;
- a checkpoint that our key did not sign is a finding, so are two that disagree;
- a tail that was cut, or an older copy of everything, is found by what was kept elsewhere: an older checkpoint, a
  head. Rows behind the last such are counted: `unprotected`. Those behind the last signature are `unsigned`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reconciler.audit import chain
from reconciler.audit.chain import Broken, Head, Verification
from reconciler.audit.checkpoints import ORIGIN, Checkpoint, checked, read
from reconciler.audit.conduct import Conduct, Finding
from reconciler.audit.merkle import Frontier, extends, leaf
from reconciler.audit.notes import BadNote, Verifier


@dataclass(frozen=True, slots=True)
class Segment:
    """What is left of rows that retention removed: `first` to `last`, and proof that they were this log's beginning.

    `proofs` show, for each checkpoint inside, that the tree at `last` continues it.
    """

    tenant: str
    first: int
    last: int
    head: str
    frontier: tuple[bytes, ...]
    note: str
    proofs: Mapping[int, tuple[bytes, ...]] = field(default_factory=dict)

    @classmethod
    def parse(cls, said: Mapping[str, Any]) -> Segment:
        """Read the JSON of an export. Raises ValueError, TypeError, KeyError, AttributeError."""
        return cls(
            str(said["tenant"]),
            int(said["first"]),
            int(said["last"]),
            str(said["head"]),
            tuple(bytes.fromhex(h) for h in said["frontier"]),
            str(said["note"]),
            {int(size): tuple(bytes.fromhex(h) for h in proof) for size, proof in said["proofs"].items()},
        )


@dataclass(frozen=True, slots=True)
class Marks:
    """What belongs to a log beside its rows: checkpoints as notes, and what is left of removed segments."""

    notes: tuple[str, ...] = ()
    segments: tuple[Segment, ...] = ()
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """All that verifying found. Sound means: the chain holds and there is no finding; notices are for people."""

    chain: Verification
    findings: tuple[Finding, ...]
    notices: tuple[Finding, ...]
    checkpoints: Mapping[str, Checkpoint]  # the last one that was checked, by tenant
    checkpoints_checked: int
    removed: Mapping[str, int]  # rows that retention removed
    unsigned: Mapping[str, int]  # rows behind the last signed checkpoint
    unprotected: Mapping[str, int]  # rows behind the last head that was kept elsewhere
    signed_by: Mapping[str, bool]  # by tenant, whether signatures were checked: a key for its log was given

    @property
    def ok(self) -> bool:
        return self.chain.ok and not self.findings


def read_marks(lines: Iterable[str]) -> Marks:
    """The marks of an export in JSON Lines."""
    notes, segments, unreadable = [], [], 0
    for name, said in chain.marks_in(lines):
        try:
            if name == "segment":
                segments.append(Segment.parse(said))
            else:
                notes.append(str(said["note"]))
        except (ValueError, TypeError, KeyError, AttributeError):
            unreadable += 1
    return Marks(tuple(notes), tuple(segments), unreadable)


def verify(
    rows: Iterable[Mapping[str, Any]],
    marks: Marks = Marks(),
    *,
    verifiers: Sequence[Verifier] = (),
    heads: Iterable[Head] = (),
    witnessed: Iterable[Head] = (),
    since: Sequence[str] = (),
) -> Report:
    """Check a log against itself, its checkpoints, and what was kept elsewhere.

    Without a verifier for its log no signature is checked, and nothing counts as signed. `heads` were kept elsewhere;
    `witnessed` ones are compared but protect nothing (they lay beside the log); `since` are notes from elsewhere.
    Never raises for what the log says: that is a finding.
    """
    return _Pass(marks, verifiers, tuple(heads), tuple(witnessed), since).over(rows)


class _Pass:
    def __init__(
        self,
        marks: Marks,
        verifiers: Sequence[Verifier],
        heads: tuple[Head, ...],
        witnessed: tuple[Head, ...],
        since: Sequence[str],
    ) -> None:
        self.verifiers, self.heads, self.witnessed = verifiers, heads, witnessed
        self.findings: list[Finding] = []
        self.notices: list[Finding] = []
        self.trees: dict[str, Frontier] = {}
        self.starts: dict[str, Head] = {}
        self.removed: dict[str, int] = {}
        self.expected: dict[tuple[str, int], list[Checkpoint]] = {}
        self.met: dict[str, Checkpoint] = {}
        self.count = 0
        if marks.unreadable:
            said = f"{marks.unreadable} lines with checkpoints or removed segments cannot be read"
            self.findings.append(Finding("", 0, "malformed", said))
        for segment in sorted(marks.segments, key=lambda s: (s.tenant, s.last)):
            self._remove(segment)
        for note in marks.notes:
            self._expect(note)
        self.elsewhere = [c for note in since if (c := self._expect(note)) is not None]
        self._compare_removed(marks.segments)

    def over(self, rows: Iterable[Mapping[str, Any]]) -> Report:
        conduct = Conduct({tenant: head.size + 1 for tenant, head in self.starts.items()})
        see: Callable[[Mapping[str, Any]], None] = conduct.see

        def each(row: Mapping[str, Any]) -> None:
            self._grow(row)
            see(row)

        outside = [*self.heads, *(c.as_head for c in self.elsewhere)]
        known = [h for h in (*outside, *self.witnessed) if h.size > self._begin(h.tenant)]
        found = chain.verify(rows, known, starts=self.starts, each=each)
        conduct.finish()
        ends = {tenant: head.size for tenant, head in found.heads.items()}
        if found.ok:
            found = Verification(found.heads, found.unprotected, self._cut(ends))
        covered = _covered(outside, ends)
        return Report(
            found,
            (*self.findings, *conduct.findings),
            (*self.notices, *conduct.notices),
            self.met,
            self.count,
            self.removed,
            {
                t: n - (self.met[t].size if t in self.met and self._has_key(t) else self._vouched(t))
                for t, n in ends.items()
            },
            {t: n - covered.get(t, 0) for t, n in ends.items()},
            {tenant: self._has_key(tenant) for tenant in ends},
        )

    def _begin(self, tenant: str) -> int:
        return self.starts[tenant].size if tenant in self.starts else 0

    def _vouched(self, tenant: str) -> int:
        return self._begin(tenant) if self._has_key(tenant) else 0

    def _has_key(self, tenant: str) -> bool:
        return any(v.name == ORIGIN + tenant for v in self.verifiers)

    def _believed(self, note: str) -> Checkpoint:
        """A checkpoint whose signature holds, or is not checked because no key for its log was given."""
        found = read(note)
        return checked(note, self.verifiers) if self._has_key(found.tenant) else found

    def _expect(self, note: str) -> Checkpoint | None:
        try:
            found = self._believed(note)
        except BadNote as error:
            self.findings.append(Finding("", 0, "forged", f"a checkpoint is not believed: {error}"))
            return None
        known = self.expected.setdefault((found.tenant, found.size), [])
        if any((c.root, c.head) != (found.root, found.head) for c in known):
            said = f"two checkpoints of {found.tenant} at row {found.size} disagree: the log has forked"
            self.findings.append(Finding(found.tenant, found.size, "forked", said))
        if all(c.note != found.note for c in known):
            known.append(found)
            self.count += 1
        return found

    def _grow(self, row: Mapping[str, Any]) -> None:
        tenant, size = row["tenant"], row["seq"]
        tree = self.trees.get(tenant)
        if tree is None:
            tree = self.trees[tenant] = Frontier()
        tree.add(leaf(bytes.fromhex(row["hash"])))
        waiting = self.expected.get((tenant, size))
        if waiting is None:
            return
        root = tree.root
        for checkpoint in waiting:
            if (checkpoint.root, checkpoint.head) != (root, row["hash"]):
                signed = f"{checkpoint.at:%Y-%m-%d %H:%M:%S}"
                said = f"{tenant} was rewritten: its checkpoint of {signed} names other rows up to {size}"
                self.findings.append(Finding(tenant, size, "rewritten", said))
            else:
                self.met[tenant] = checkpoint

    def _cut(self, ends: Mapping[str, int]) -> Broken | None:
        """A checkpoint that covers more than there is."""
        for (tenant, size), _ in sorted(self.expected.items(), reverse=True):
            if size > ends.get(tenant, 0):
                has = ends.get(tenant, 0)
                said = f"{tenant} has {has} rows; a signed checkpoint covers {size}: the end was cut off"
                return Broken(tenant, has + 1, "cut", said)
        return None

    def _remove(self, segment: Segment) -> None:
        """Believe what is left of removed rows, as far as its checkpoint vouches for it."""
        name, last = segment.tenant, segment.last
        try:
            checkpoint = self._believed(segment.note)
            tree = Frontier(last, list(segment.frontier))
        except ValueError as error:
            said = f"the rows {segment.first} to {last} of {name} are gone, and nothing vouches for it: {error}"
            self.findings.append(Finding(name, last, "removed", said))
            return
        follows = segment.first == self._begin(name) + 1
        stated = (checkpoint.tenant, checkpoint.size, checkpoint.root, checkpoint.head)
        if not follows or stated != (name, last, tree.root, segment.head):
            said = f"what is left of the removed rows {segment.first} to {last} of {name} is not what was signed"
            self.findings.append(Finding(name, last, "removed", said))
            return
        self.starts[name] = Head(name, last, segment.head)
        self.trees[name], self.removed[name] = tree, last
        said = (
            f"rows {segment.first} to {last} of {name} were removed by retention; a signed checkpoint vouches for them"
        )
        self.notices.append(Finding(name, last, "removed", said))

    def _compare_removed(self, segments: Sequence[Segment]) -> None:
        """Older checkpoints than the first row that is left: by the proofs that were kept when it was removed."""
        for segment in segments:
            for (tenant, size), known in self.expected.items():
                if tenant != segment.tenant or not segment.first - 1 < size <= segment.last:
                    continue
                end = Frontier(segment.last, list(segment.frontier)).root
                proof = segment.proofs.get(size, ())
                for checkpoint in known:
                    if extends(size, checkpoint.root, segment.last, end, proof):
                        continue
                    said = f"a checkpoint of {tenant} at row {size} is not part of the rows that were removed: a fork"
                    self.findings.append(Finding(tenant, size, "forked", said))


def _covered(heads: Iterable[Head], ends: Mapping[str, int]) -> dict[str, int]:
    covered: dict[str, int] = {}
    for head in heads:
        covered[head.tenant] = max(covered.get(head.tenant, 0), min(head.size, ends.get(head.tenant, 0)))
    return covered
