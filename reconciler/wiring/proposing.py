"""Where software proposes, for one tenant."""

from __future__ import annotations

from reconciler.proposing import Counter
from reconciler.wiring.app import App

OUT = "The account is on none of the allow lists of this tenant, so nothing is proposed for it."
DENIED = "The account is on a list of those that are never changed, so nothing is proposed for it."


def counter(app: App) -> Counter:
    """Takes proposals in for the tenant of `app`. Contacts nobody."""
    return Counter(app.name, app.database, lambda: app.catalogue, lambda upn: outside(app, upn))


def outside(app: App, upn: str) -> str:
    """Why nothing is proposed for an account, as far as its sign-in name tells; the gate judges the account itself."""
    policy, name = app.policy(), upn.strip().lower()
    domain = name.rpartition("@")[2]
    if name in policy.deny_users or domain in policy.deny_domains:
        return DENIED
    if not policy.allow_users and not policy.allow_domains:
        return ""
    return "" if name in policy.allow_users or domain in policy.allow_domains else OUT
