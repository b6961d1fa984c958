"""Persons in the log as signs, so that a person can be forgotten and the chain stays whole. Pure.

    p_…   hmac-sha256(installation's key, tenant ‖ who): the same person has the same sign in every row
    t_…   sha256(salt ‖ text) of free text, with a salt of its own that is kept with the text

What a sign stands for is encrypted with the key of the person whose row it is (AES-256-GCM, bound to the sign). That
key is wrapped by the installation's key file and destroyed to erase the person: nothing can then be read, and nothing
in the log has changed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SIGN = re.compile(r"[pt]_[0-9a-f]{32}", re.ASCII)
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_ADDRESS = re.compile(r"[^\s@]+@[^\s@]+")
# Names in bodies that say who somebody is. `user` is an object id.
_WHO = frozenset(
    {"user", "oid", "object_id", "upn", "email", "user_name", "employee_id", "person", "actor", "by", "approver"}
    | {"approvers", "requester", "beneficiary", "opener", "acting_for", "owner", "recipient", "operator"}
)
_NAMES = frozenset({"name", "display_name"})  # of a person only beside what identifies one
_IDS = frozenset({"oid", "upn", "email", "user"})
_TEXTS = frozenset(
    {"comment", "justification", "reason", "sentence", "words", "title", "note", "text", "said", "agent", "source"}
)
_FACTS = frozenset({"facts", "inputs"})  # what rules looked at of a person: every text in them
_OURS = frozenset({"reconciler", "", "ledger"})


@dataclass(frozen=True, slots=True)
class Veil:
    """The installation's key, 32 bytes, and where random bytes come from. Nothing of it is ever shown."""

    key: bytes
    random: Callable[[int], bytes]

    def __repr__(self) -> str:
        return "Veil(…)"

    def pseudonym(self, tenant: str, who: str) -> str:
        """The sign of a person: an object id, an account name or any other name of theirs."""
        said = f"{tenant}|{who.strip().casefold()}".encode()
        return "p_" + hmac.new(self._derived(b"pseudonym"), said, hashlib.sha256).hexdigest()[:32]

    def new_key(self, pseudonym: str) -> bytes:
        """A key for one person, wrapped for the store."""
        return self._sealed(self._derived(b"wrap"), pseudonym, self.random(32))

    def seal(self, wrapped: bytes, pseudonym: str, sign: str, said: bytes) -> bytes:
        """What `sign` stands for, encrypted with the person's key."""
        return self._sealed(self._opened(self._derived(b"wrap"), pseudonym, wrapped), sign, said)

    def unseal(self, wrapped: bytes, pseudonym: str, sign: str, cipher: bytes) -> str | None:
        """What `sign` stands for; None when that cannot be read."""
        try:
            said = self._opened(self._opened(self._derived(b"wrap"), pseudonym, wrapped), sign, cipher)
        except InvalidTag:
            return None
        return str(json.loads(said)["said"])

    def opens(self, wrapped: bytes, pseudonym: str) -> bool:
        """Whether a person's key was wrapped with this one."""
        try:
            self._opened(self._derived(b"wrap"), pseudonym, wrapped)
        except InvalidTag:
            return False
        return True

    def text(self, said: str) -> tuple[str, bytes]:
        """A sign for free text, and what is to be sealed under it."""
        salt = self.random(16)
        sign = "t_" + hashlib.sha256(salt + said.encode()).hexdigest()[:32]
        return sign, json.dumps({"salt": salt.hex(), "said": said}, ensure_ascii=False).encode()

    @staticmethod
    def name(said: str) -> bytes:
        """What is to be sealed under the sign of a person."""
        return json.dumps({"said": said}, ensure_ascii=False).encode()

    def _derived(self, purpose: bytes) -> bytes:
        return hmac.new(self.key, b"license-reconciler/" + purpose, hashlib.sha256).digest()

    def _sealed(self, key: bytes, bound: str, said: bytes) -> bytes:
        nonce = self.random(12)
        return nonce + AESGCM(key).encrypt(nonce, said, bound.encode())

    @staticmethod
    def _opened(key: bytes, bound: str, sealed: bytes) -> bytes:
        return AESGCM(key).decrypt(sealed[:12], sealed[12:], bound.encode())


def is_person(said: str) -> bool:
    """Whether a subject, an actor or an entry of `about` names a person: an object id or an account name."""
    return bool(_GUID.fullmatch(said) or _ADDRESS.fullmatch(said))


def is_somebody(actor: str) -> bool:
    """Whether an actor is somebody else than the reconciler itself."""
    return actor not in _OURS and not SIGN.fullmatch(actor)


def owner_of(subject: str, body: Mapping[str, Any]) -> str:
    """Whom the free text of a row belongs to: the person that it is about, else the line or ticket."""
    if is_person(subject):
        return subject
    user = body.get("user")
    return user if isinstance(user, str) and user else subject


def replaced(value: Any, put: Callable[[str, str, str], str], owner: str) -> Any:
    """A body with every name and every free text put behind a sign by `put(kind, said, owner)`, kind "p" or "t".

    A mapping that names an object id owns the names beside it.
    """
    if isinstance(value, Mapping):
        mine = value.get("oid") or value.get("user")
        whose = mine if isinstance(mine, str) and mine else owner
        is_person_s = not _IDS.isdisjoint(value)
        return {
            name: _field("person" if is_person_s and name in _NAMES else name, inner, put, whose)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [replaced(inner, put, owner) for inner in value]
    if isinstance(value, str) and _ADDRESS.search(value):
        return put("p", value, owner) if _ADDRESS.fullmatch(value) else put("t", value, owner)
    return value


def _field(name: str, value: Any, put: Callable[[str, str, str], str], owner: str) -> Any:
    if name in _FACTS:
        return _whole(value, put, owner)
    if name == "target" and isinstance(value, str) and is_person(value):
        return put("p", value, value)
    if isinstance(value, str) and value not in _OURS:
        if name in _WHO:
            return put("p", value, owner if name not in ("oid", "user", "object_id") else value)
        if name in _TEXTS:
            return put("t", value, owner)
    if isinstance(value, list) and name in _WHO | _TEXTS and all(isinstance(v, str) for v in value):
        return [_field(name, v, put, owner if name in _TEXTS else v) for v in value]
    return replaced(value, put, owner)


def _whole(value: Any, put: Callable[[str, str, str], str], owner: str) -> Any:
    """A value with every text in it behind a sign."""
    if isinstance(value, Mapping):
        return {name: _whole(inner, put, owner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner, put, owner) for inner in value]
    return put("t", value, owner) if isinstance(value, str) and value else value


def signs_in(value: Any) -> Iterator[str]:
    """Every sign in a value."""
    if isinstance(value, str):
        if SIGN.fullmatch(value):
            yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from signs_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from signs_in(inner)


def revealed(value: Any, known: Mapping[str, str]) -> Any:
    """The value with each sign that is known replaced by what it stands for."""
    if isinstance(value, str):
        return known.get(value, value)
    if isinstance(value, Mapping):
        return {name: revealed(inner, known) for name, inner in value.items()}
    if isinstance(value, list):
        return [revealed(inner, known) for inner in value]
    return value
