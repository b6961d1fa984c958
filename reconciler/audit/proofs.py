"""An auditor's evidence file: one row, the proof that it is in the log, and the signed checkpoint; or one log's growth.

`check` needs the file and the public key, nothing else. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.audit.chain import Head, verify
from reconciler.audit.checkpoints import Checkpoint, checked
from reconciler.audit.merkle import Tree, extends, includes, leaf
from reconciler.audit.notes import BadNote, Verifier

ROW, GROWTH = "license-reconciler/row-proof/1", "license-reconciler/consistency-proof/1"


@dataclass(frozen=True, slots=True)
class Proved:
    """What an evidence file came to. `sentence` says it to a person, whether it holds or not."""

    ok: bool
    sentence: str


def of_row(row: Mapping[str, Any], tree: Tree, checkpoint: Checkpoint) -> dict[str, Any]:
    """The evidence file of one row. Raises Pruned, and ValueError when the checkpoint does not cover the row."""
    proof = tree.inclusion(row["seq"] - 1, checkpoint.size)
    return {"format": ROW, "row": dict(row), "proof": [h.hex() for h in proof], "checkpoint": checkpoint.note}


def of_growth(old: Checkpoint, new: Checkpoint, tree: Tree) -> dict[str, Any]:
    """The evidence that the log at `new` continues the log at `old`. Raises Pruned and ValueError."""
    proof = tree.consistency(old.size, new.size)
    return {"format": GROWTH, "old": old.note, "new": new.note, "proof": [h.hex() for h in proof]}


def check(said: Mapping[str, Any], verifiers: Sequence[Verifier]) -> Proved:
    """Check an evidence file with public keys alone. Never raises for what it says."""
    try:
        match said.get("format"):
            case "license-reconciler/row-proof/1":
                return _row(said, verifiers)
            case "license-reconciler/consistency-proof/1":
                return _growth(said, verifiers)
    except BadNote as error:
        return Proved(False, f"{error}")
    except (KeyError, TypeError, ValueError, AttributeError):
        return Proved(False, "the evidence file is damaged: it cannot be read")
    return Proved(False, "this is no evidence file of ours")


def _row(said: Mapping[str, Any], verifiers: Sequence[Verifier]) -> Proved:
    row, checkpoint = said["row"], checked(said["checkpoint"], verifiers)
    tenant, seq = row["tenant"], row["seq"]
    before = Head(tenant, seq - 1, row["prev"])
    if not verify([row], starts={tenant: before}).ok:
        return Proved(False, f"row {seq} of {tenant} is not what was written: its hash does not fit")
    proof = [bytes.fromhex(h) for h in said["proof"]]
    hashed = leaf(bytes.fromhex(row["hash"]))
    if tenant != checkpoint.tenant or not includes(hashed, seq - 1, checkpoint.size, proof, checkpoint.root):
        return Proved(False, f"row {seq} of {tenant} is not in the log that the checkpoint covers")
    return Proved(
        True,
        f"row {seq} of {tenant} is in the log of {checkpoint.size} rows that was signed at "
        f"{checkpoint.at:%Y-%m-%d %H:%M:%S} UTC",
    )


def _growth(said: Mapping[str, Any], verifiers: Sequence[Verifier]) -> Proved:
    old, new = checked(said["old"], verifiers), checked(said["new"], verifiers)
    proof = [bytes.fromhex(h) for h in said["proof"]]
    if old.tenant != new.tenant or not extends(old.size, old.root, new.size, new.root, proof):
        return Proved(
            False, f"the log of {new.tenant} at {new.size} rows does not continue the one at {old.size}: a fork"
        )
    return Proved(True, f"the log of {new.tenant} at {new.size} rows continues the one at {old.size}")
