"""A checkpoint: the audit log of one tenant at one size, as a C2SP tlog-checkpoint that is signed as a note. Pure.

    license-reconciler/contoso
    200
    base64 of the Merkle root
    head 64 hex digits           the hash of the last row, so that a chain without its tree can be compared too
    at 2026-11-02T09:02:08Z      when it was signed

Source: C2SP tlog-checkpoint (c2sp.org/tlog-checkpoint); the last two lines are extension lines there.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from reconciler.audit.chain import Head
from reconciler.audit.notes import BadNote, Signer, Verifier, opened, text_of

ORIGIN = "license-reconciler/"
_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)
_COUNT = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was signed, and the note that says so."""

    tenant: str
    size: int
    root: bytes
    head: str
    at: datetime
    note: str

    @property
    def as_head(self) -> Head:
        return Head(self.tenant, self.size, self.head)


def sign(signer: Signer, head: Head, root: bytes, at: datetime) -> Checkpoint:
    """Sign the log as it ends at `head`. Whoever calls has made sure that it continues what was signed before."""
    at = at.astimezone(UTC).replace(microsecond=0)
    written = at.isoformat().replace("+00:00", "Z")
    lines = [
        ORIGIN + head.tenant,
        str(head.size),
        base64.b64encode(root).decode(),
        f"head {head.hash}",
        f"at {written}",
    ]
    note = signer.sign("\n".join(lines) + "\n")
    return Checkpoint(head.tenant, head.size, root, head.hash, at, note)


def read(note: str) -> Checkpoint:
    """What a note says, whoever signed it. Raises BadNote."""
    lines = text_of(note).split("\n")[:-1]
    if len(lines) < 5 or not lines[0].startswith(ORIGIN) or not _COUNT.fullmatch(lines[1]):
        raise BadNote("this is no checkpoint of an audit log of ours")
    try:
        root = base64.b64decode(lines[2], validate=True)
        at = datetime.fromisoformat(lines[4].removeprefix("at "))
    except (binascii.Error, ValueError):
        raise BadNote("root or time of the checkpoint cannot be read") from None
    head = lines[3].removeprefix("head ")
    if len(root) != 32 or not _HEX.fullmatch(head) or at.tzinfo is None:
        raise BadNote("root, head or time of the checkpoint cannot be read")
    return Checkpoint(lines[0].removeprefix(ORIGIN), int(lines[1]), root, head, at, note)


def checked(note: str, verifiers: Iterable[Verifier]) -> Checkpoint:
    """A checkpoint that one of the keys has signed, under the log's own name.

    Raises:
        BadNote: it cannot be read, its signature does not hold, or none of the keys has signed it.
    """
    found = read(note)
    _, signers = opened(note, verifiers)
    if not any(v.name == ORIGIN + found.tenant for v in signers):
        raise BadNote(f"the checkpoint of {found.tenant} at {found.size} is signed by none of the given keys")
    return found


def notes_in(text: str) -> list[str]:
    """The notes of a file: one note as it stands, or JSON Lines with the notes in them (a file of heads, an export).

    Raises:
        BadNote: it is neither.
    """
    if not text.lstrip().startswith("{"):
        return [text.replace("\r\n", "\n")]
    notes = []
    for line in text.splitlines():
        if not line.strip():
            continue
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            raise BadNote("a line of the file is no JSON") from None
        said = said.get("checkpoint", said) if isinstance(said, dict) else said
        if isinstance(said, dict) and isinstance(said.get("note"), str):
            notes.append(said["note"])
    return notes
