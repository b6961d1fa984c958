"""Letting requests in: Entra tokens for Graph, the three ways into ServiceNow."""

from reconciler.clients.auth.entra import (
    Certificate,
    ClientSecret,
    Credential,
    EntraTokens,
    Federation,
    HttpxForMsal,
    ManagedIdentity,
    roles,
)
from reconciler.clients.auth.instance import ApiKey, Basic, OAuthClientCredentials
from reconciler.clients.auth.people import PeopleSignIn, SignInRefused
from reconciler.clients.auth.source import TokenSource

__all__ = [
    "ApiKey",
    "Basic",
    "Certificate",
    "ClientSecret",
    "Credential",
    "EntraTokens",
    "Federation",
    "HttpxForMsal",
    "ManagedIdentity",
    "OAuthClientCredentials",
    "PeopleSignIn",
    "SignInRefused",
    "TokenSource",
    "roles",
]
