"""Application registrations, where their answers may go, and refusals in the words of sign-in."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import urlsplit

from reconciler.sandbox import hosts

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class App(NamedTuple):
    """An application registration."""

    name: str
    secret: str | None
    roles: tuple[str, ...]


class SignInRefused(Exception):
    """An OAuth error on its way to the caller."""

    def __init__(self, status: int, error: str, number: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.number = number
        self.message = message

    def sentence(self) -> str:
        """As Entra words it, without the trace."""
        return f"AADSTS{self.number}: {self.message}"


def known_apps() -> dict[str, App]:
    """The registrations that every sandbox tenant has."""
    return {
        hosts.CLIENT_ID: App("License Reconciler", hosts.CLIENT_SECRET, hosts.ENFORCE_ROLES),
        hosts.READER_CLIENT_ID: App("License Reconciler (observe)", hosts.READER_CLIENT_SECRET, hosts.OBSERVE_ROLES),
        hosts.MANAGED_IDENTITY_CLIENT_ID: App("License Reconciler (managed identity)", None, hosts.ENFORCE_ROLES),
    }


def is_registered(redirect_uri: str, registered: Collection[str]) -> bool:
    """Whether answers may go to this address: exactly a registered one, or any path on this machine.

    Real registrations of http://localhost match any port; that every path on loopback counts is the sandbox's own
    rule, so that a daemon on any port needs no registration. User names, fragments and blanks are never allowed.
    """
    if redirect_uri in registered:
        return True
    if any(c.isspace() or not c.isprintable() or c in "@#\\" for c in redirect_uri):
        return False
    try:
        parts = urlsplit(redirect_uri)
        is_numbered = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and parts.hostname in LOOPBACK and is_numbered
