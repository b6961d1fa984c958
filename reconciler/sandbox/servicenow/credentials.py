"""What opens the instance: passwords, OAuth clients and their tokens, API keys, roles. JSON-plain values.

Everything here is pretend; nothing is hashed because nothing is secret.
"""

from __future__ import annotations

import msgspec


class OAuthClient(msgspec.Struct):
    """An OAuth application; `user` is the sys_id of its application user, for client credentials."""

    secret: str
    user: str = ""
    public_keys: list[str] = msgspec.field(default_factory=list)
    """PEM public keys that may sign assertions for the JWT bearer grant."""


class Token(msgspec.Struct):
    """An access token; times are UNIX seconds of the sandbox clock."""

    user: str
    client: str
    expires_at: float


class Credentials(msgspec.Struct):
    """Who may sign in and how. Keys: user sys_id, client id, key text, token text."""

    passwords: dict[str, str] = msgspec.field(default_factory=dict)
    roles: dict[str, list[str]] = msgspec.field(default_factory=dict)
    clients: dict[str, OAuthClient] = msgspec.field(default_factory=dict)
    api_keys: dict[str, str] = msgspec.field(default_factory=dict)
    access: dict[str, Token] = msgspec.field(default_factory=dict)
    refresh: dict[str, Token] = msgspec.field(default_factory=dict)
