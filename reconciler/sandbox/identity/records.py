"""What sign-in remembers: who is signed in, which codes are out, which key is current. JSON-plain through msgspec."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec


class Session(msgspec.Struct):
    """A browser in which a person has signed in."""

    user_id: str
    signed_in_at: datetime


class Grant(msgspec.Struct):
    """An authorization code that was handed out, with what it is good for."""

    user_id: str
    client_id: str
    redirect_uri: str
    challenge: str
    nonce: str
    scope: str
    session_id: str
    issued_at: datetime
    signed_in_at: datetime
    wants_auth_time: bool = False
    contexts: list[str] = msgspec.field(default_factory=list)
    """Authentication contexts that were asked for, for `acrs`."""
    is_redeemed: bool = False


class SignIns(msgspec.Struct):
    """The state of sign-in. `changes` grows with each change, so that a keeper knows when to keep."""

    first_key: int = 0
    issued: int = 0
    changes: int = 0
    sessions: dict[str, Session] = msgspec.field(default_factory=dict)
    grants: dict[str, Grant] = msgspec.field(default_factory=dict)

    def rotate(self) -> None:
        """Make the next key the current one; the current one is published no more."""
        self.first_key += 1
        self.changes += 1

    def forget_before(self, instant: datetime) -> None:
        """Drop codes that were issued before this."""
        self.grants = {code: grant for code, grant in self.grants.items() if grant.issued_at >= instant}

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SignIns:
        """What `to_json` wrote."""
        return msgspec.convert(data, cls)
