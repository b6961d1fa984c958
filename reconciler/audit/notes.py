"""Signed notes as C2SP defines them: a text, an empty line, and signature lines; Ed25519. Pure.

    verifier key    NAME+KEYID+base64(0x01 ‖ public key)          key id = first 4 bytes of sha256(NAME LF 0x01 key)
    signature line  — NAME base64(key id ‖ signature)

Source: C2SP signed-note (c2sp.org/signed-note), signature type 0x01.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ED25519 = b"\x01"
_NAME = re.compile(r"[^\s+]+")
_SIZE_MAX = 1_000_000  # characters of a note; ours have some four hundred


class BadNote(ValueError):
    """Text that is no signed note, a signature that does not hold, or a key that cannot be read."""


@dataclass(frozen=True)
class Verifier:
    """The public half of a key: enough to check, not to sign. Its text is the C2SP verifier key."""

    name: str
    public: bytes

    @cached_property
    def key_id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(ED25519 + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """Read a verifier key. Raises BadNote."""
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        key = _decoded(encoded)
        if not _NAME.fullmatch(name) or len(key) != 33 or key[:1] != ED25519:
            raise BadNote("a verifier key is NAME+KEYID+BASE64 with an Ed25519 key")
        found = cls(name, key[1:])
        if found.key_id.hex() != key_id:
            raise BadNote(f"the verifier key of {name} is damaged: its key id does not fit")
        return found

    def holds(self, text: str, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True)
class Signer:
    """A key that signs under a name. Raises BadNote for a name with a space or a plus."""

    name: str
    private: Ed25519PrivateKey

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise BadNote(f"{self.name!r} is no name of a key: it may hold neither spaces nor +")

    @cached_property
    def verifier(self) -> Verifier:
        return Verifier(self.name, self.private.public_key().public_bytes_raw())

    def sign(self, text: str) -> str:
        """The note: `text`, which ends with a line break, and our signature. Raises BadNote."""
        if not _is_fit(text):
            raise BadNote("a note is lines of text, each with its line break")
        signed = base64.b64encode(self.verifier.key_id + self.private.sign(text.encode())).decode()
        return f"{text}\n— {self.name} {signed}\n"


def opened(note: str, verifiers: Iterable[Verifier]) -> tuple[str, tuple[Verifier, ...]]:
    """The text of a note, and which of the keys have signed it. Signatures by other keys say nothing.

    Raises:
        BadNote: it is no note, or a signature under one of the keys does not hold.
    """
    text, lines = _parts(note)
    known = {(v.name, v.key_id): v for v in verifiers}
    found: list[Verifier] = []
    for line in lines:
        name, _, encoded = line.removeprefix("— ").partition(" ")
        signed = _decoded(encoded)
        if not line.startswith("— ") or not _NAME.fullmatch(name) or len(signed) < 5:
            raise BadNote("a signature line of the note cannot be read")
        verifier = known.get((name, signed[:4]))
        if verifier is None:
            continue
        if not verifier.holds(text, signed[4:]):
            raise BadNote(f"the signature of {name} does not hold")
        if verifier not in found:
            found.append(verifier)
    return text, tuple(found)


def text_of(note: str) -> str:
    """The text of a note, whoever signed it. Raises BadNote."""
    return _parts(note)[0]


def _parts(note: str) -> tuple[str, list[str]]:
    text, gap, signatures = note.rpartition("\n\n")
    if len(note) > _SIZE_MAX or not gap or not signatures.endswith("\n") or not _is_fit(f"{text}\n"):
        raise BadNote("this is no signed note")
    return f"{text}\n", signatures[:-1].split("\n")


def _is_fit(text: str) -> bool:
    return text.endswith("\n") and all(char == "\n" or char >= " " for char in text)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
