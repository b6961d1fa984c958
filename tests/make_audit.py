"""Builders for the audit log: rows in a chain, signed checkpoints over them, and keys that are the same every day."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from reconciler.audit import checkpoints
from reconciler.audit.chain import GENESIS, Head, row_hash
from reconciler.audit.merkle import Frontier, leaf
from reconciler.audit.notes import Signer
from reconciler.audit.verify import Marks
from tests.make import MONDAY

Rows = list[dict[str, Any]]
TENANT = "contoso"
KEY = Signer("license-reconciler/contoso", Ed25519PrivateKey.from_private_bytes(b"k" * 32))
THIEF = Signer("license-reconciler/contoso", Ed25519PrivateKey.from_private_bytes(b"t" * 32))


def a_log(*bodies: dict[str, Any], **changes: Any) -> Rows:
    """Rows in a chain. A body may bring `kind`, `subject`, `at` and `cycle` of its row."""
    return rehashed(
        [{"body": {k: v for k, v in b.items() if k not in _OF_ROW}, **_of_row(b), **changes} for b in bodies]
    )


def rehashed(rows: Sequence[dict[str, Any]]) -> Rows:
    """The rows as somebody without the key would write them anew: each with its place and its hash."""
    found: Rows = []
    for seq, row in enumerate(rows, start=1):
        prev = found[-1]["hash"] if found else GENESIS
        fresh = {
            "tenant": TENANT,
            "seq": seq,
            "at": MONDAY.isoformat(timespec="microseconds"),
            "kind": "config",
            "subject": "s",
            "actor": "reconciler",
            "cycle": "c1",
            **{k: v for k, v in row.items() if k not in ("seq", "prev", "hash")},
        }
        found.append(fresh | {"prev": prev, "hash": row_hash(fresh, prev)})
    return found


def signed(rows: Rows, size: int, key: Signer = KEY) -> str:
    """The note of a checkpoint over the first `size` rows."""
    tree = Frontier()
    for row in rows[:size]:
        tree.add(leaf(bytes.fromhex(row["hash"])))
    return checkpoints.sign(key, Head(TENANT, size, rows[size - 1]["hash"]), tree.root, MONDAY).note


def marks(rows: Rows, *sizes: int) -> Marks:
    return Marks(tuple(signed(rows, size) for size in sizes))


def copied(rows: Rows) -> Rows:
    return json.loads(json.dumps(rows))


_OF_ROW = ("kind", "subject", "at", "cycle")


def _of_row(body: dict[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in _OF_ROW if name in body}
