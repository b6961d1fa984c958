"""The chain that makes the audit log verifiable offline (I14): hashes, heads, and the check itself. Needs no database.

    hash = sha256(TAG ‖ hash of the row before ‖ seq, 8 bytes ‖ sha256(RFC 8785 JSON of the row))

Each tenant has a chain of its own, counted from 1; the first row follows 64 zeros. A change, a loss or a swap inside
the chain breaks it. A chain without a key cannot notice that its end was cut, or rewritten from some row on: heads
that were also stored elsewhere (a log line, a ticket, a file) do. Rows behind the last such head are counted and said.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from reconciler.digest import canonical

TAG = b"license-reconciler/audit/1\n"
GENESIS = "0" * 64
COVERED = ("tenant", "seq", "at", "kind", "subject", "actor", "cycle", "body")
FIELDS = frozenset((*COVERED, "prev", "hash"))
MARKS = ('{"checkpoint":', '{"segment":')  # how the lines of an export begin that are no rows
_FORM = msgspec.json.Encoder(order="deterministic")  # whole numbers and text as RFC 8785 has them, see `canonical`
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Head:
    """The end of a tenant's chain when it had `size` rows. Its text is `TENANT SIZE HASH`, to be stored elsewhere."""

    tenant: str
    size: int
    hash: str

    def __str__(self) -> str:
        return f"{self.tenant} {self.size} {self.hash}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Read what `str` wrote. Raises ValueError."""
        tenant, _, rest = text.strip().rpartition(" ")
        tenant, _, size = tenant.rpartition(" ")
        if not tenant or not size.isascii() or not size.isdigit() or not _HASH.fullmatch(rest):
            raise ValueError(f"expected TENANT SIZE HASH, not {text.strip()[:80]!r}")
        return cls(tenant, int(size), rest)


@dataclass(frozen=True, slots=True)
class Broken:
    """The first place where a log does not hold. `why` is one of malformed, changed, missing, reordered, repeated,
    unlinked, rewritten, cut; `seq` the row concerned."""

    tenant: str
    seq: int
    why: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What verifying found. `heads` are the ends of the chains as read, up to the break when there is one.

    `unprotected` is the number of rows behind the last known head of their chain: their loss would not be noticed.
    """

    heads: Mapping[str, Head] = field(default_factory=dict)
    unprotected: int = 0
    broken: Broken | None = None

    @property
    def ok(self) -> bool:
        return self.broken is None

    @property
    def size(self) -> int:
        """Rows that hold, of all tenants."""
        return sum(head.size for head in self.heads.values())

    @property
    def head(self) -> str:
        """The hash of the only chain; "" when there is none or several."""
        return next(iter(self.heads.values())).hash if len(self.heads) == 1 else ""


def row_hash(row: Mapping[str, Any], prev: str, body: str | None = None) -> str:
    """The hash of a row that follows `prev`, as 64 hex digits.

    `body` is the canonical text of the row's body, for who has it: an object's form holds those of its values.

    Raises:
        ValueError, TypeError: the row has no canonical form.
    """
    if body is None:
        form = canonical({name: row[name] for name in COVERED})
    else:
        form = _FORM.encode({name: row[name] for name in COVERED} | {"body": msgspec.Raw(body.encode())})
    content = hashlib.sha256(form).digest()
    return hashlib.sha256(TAG + bytes.fromhex(prev) + row["seq"].to_bytes(8, "big") + content).hexdigest()


def verify(
    rows: Iterable[Mapping[str, Any]],
    heads: Iterable[Head] = (),
    *,
    starts: Mapping[str, Head] | None = None,
    each: Callable[[Mapping[str, Any]], None] | None = None,
) -> Verification:
    """Check every row in the order it comes, against the row before and against heads stored elsewhere.

    `starts` are where chains begin whose first rows retention removed; `each` is handed every row that holds. Reads a
    stream and keeps one head a tenant. Never raises for what the rows say: that is the finding.
    """
    known: dict[str, dict[int, set[str]]] = {}
    for head in heads:
        known.setdefault(head.tenant, {}).setdefault(head.size, set()).add(head.hash)
    ends: dict[str, Head] = dict(starts or {})
    stream = iter(rows)
    for row in stream:
        broken = _fault(row, ends, known)
        if broken is not None:
            return Verification(ends, broken=_settle(broken, stream))
        ends[row["tenant"]] = Head(row["tenant"], row["seq"], row["hash"])
        if each is not None:
            each(row)
    for tenant, sizes in sorted(known.items()):
        size = ends[tenant].size if tenant in ends else 0
        if max(sizes) > size:
            said = f"{tenant} has {size} rows; a head stored elsewhere covers {max(sizes)}: the end was cut off"
            return Verification(ends, broken=Broken(tenant, size + 1, "cut", said))
    unprotected = sum(head.size - max(known.get(tenant, {0: set()})) for tenant, head in ends.items())
    return Verification(ends, unprotected)


def read_export(lines: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    """The rows of an export in JSON Lines. A line that is not one JSON object becomes a row that cannot hold.

    Lines that hold a checkpoint or the remains of a removed segment are no rows: `marks_in` reads them.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith(MARKS):
            continue
        row = _object(line)
        yield row if row is not None else {"unreadable line": number}


def marks_in(lines: Iterable[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What an export holds beside its rows: ("checkpoint" or "segment", what it says); {} for what cannot be read."""
    for line in lines:
        if line.startswith(MARKS):
            row = _object(line)
            name, said = next(iter(row.items())) if row is not None and len(row) == 1 else (line[2:12], None)
            yield name.strip('"'), said if isinstance(said, dict) else {}


def _object(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line, object_pairs_hook=_pairs, parse_constant=_refused)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are unique: which of two equal names counts is up to each reader, so neither does."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _refused(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _fault(
    row: Mapping[str, Any], ends: Mapping[str, Head], known: Mapping[str, Mapping[int, set[str]]]
) -> Broken | None:
    tenant, seq = row.get("tenant"), row.get("seq")
    if not isinstance(tenant, str) or type(seq) is not int or not 0 < seq < 2**63 or not _is_whole(row):
        last = ends.get(tenant) if isinstance(tenant, str) else None
        where = f"behind row {last.size} of {last.tenant}" if last is not None else "before any row that holds"
        at = last.size + 1 if last is not None else 1
        return Broken(str(tenant), at, "malformed", f"there is a row {where} that is not one of the audit log's")
    before = ends.get(tenant, Head(tenant, 0, GENESIS))
    if not _holds(row):
        return Broken(tenant, seq, "changed", f"row {seq} of {tenant} is not what was written")
    if seq <= before.size:
        return Broken(tenant, seq, "repeated", f"row {seq} of {tenant} comes again behind row {before.size}")
    if seq > before.size + 1:
        return Broken(tenant, before.size + 1, "missing", f"row {before.size + 1} of {tenant} is missing")
    if row["prev"] != before.hash:
        return Broken(tenant, seq, "unlinked", f"row {seq} of {tenant} does not follow the row before it")
    heads = known.get(tenant, {}).get(seq)
    if heads is not None and heads != {row["hash"]}:
        said = f"{tenant} was rewritten: a head stored elsewhere names another row {seq}"
        return Broken(tenant, seq, "rewritten", said)
    return None


def _settle(broken: Broken, rest: Iterable[Mapping[str, Any]]) -> Broken:
    """A row that seems missing may only be in the wrong place."""
    if broken.why != "missing":
        return broken
    if any(row.get("tenant") == broken.tenant and row.get("seq") == broken.seq for row in rest):
        said = f"row {broken.seq} of {broken.tenant} is not in its place"
        return Broken(broken.tenant, broken.seq, "reordered", said)
    return broken


def _is_whole(row: Mapping[str, Any]) -> bool:
    texts = ("at", "kind", "subject", "actor", "cycle", "prev", "hash")
    return (
        set(row) == FIELDS
        and all(isinstance(row[name], str) for name in texts)
        and all(_HASH.fullmatch(row[name]) for name in ("prev", "hash"))
        and isinstance(row["body"], dict)
    )


def _holds(row: Mapping[str, Any]) -> bool:
    if _has_float(row["body"]):  # 1.0 and 1 share one canonical form, and floats are never written
        return False
    try:
        return row_hash(row, row["prev"]) == str(row["hash"])
    except (ValueError, TypeError, RecursionError):
        return False


def _has_float(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_float(v) for v in value.values())
    if isinstance(value, list):
        return any(_has_float(v) for v in value)
    return isinstance(value, float)
