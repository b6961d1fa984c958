"""The exact bytes that people sign from the terminal. Pure.

Plain lines, so that whoever signs can read them; no text can begin a line of its own. Each names the tenant and what
it is for, and is signed for a namespace, so that a signature is good for one thing.
"""

from __future__ import annotations

from desired_state.text import one_line

APPROVAL, CONFIGURATION = "licence-approval", "licence-configuration"
REASON_MAX, TICKET_MAX = 500, 60


def decision(tenant: str, verb: str, id: str, digest: str, *, reason: str, ticket: str = "") -> bytes:
    """What is signed to decide a request: `verb` is approve, reject or review. Sign with -n licence-approval."""
    return _lines(
        f"{verb} a licence request by break-glass" if verb == "approve" else f"{verb} a licence request",
        tenant=tenant,
        request=id,
        digest=digest,
        reason=one_line(reason, REASON_MAX),
        **({"ticket": one_line(ticket, TICKET_MAX)} if ticket else {}),
    )


def loosening(what: str, tenant: str, *, reason: str, **stands: str) -> bytes:
    """What is signed to loosen something from the terminal; `stands` says what, and how it stands now, so that the
    signature is good once. Sign with -n licence-approval."""
    return _lines(f"{what} in the licence reconciler", tenant=tenant, **stands, reason=one_line(reason, REASON_MAX))


def acceptance(tenant: str, digest: str, replaces: str) -> bytes:
    """What is signed to accept a configuration in the place of the accepted one. Sign with -n licence-configuration."""
    return _lines("accept a configuration of the licence reconciler", tenant=tenant, digest=digest, replaces=replaces)


def _lines(title: str, **said: str) -> bytes:
    return "".join([f"{title}\n", *(f"{name}: {one_line(value, 600)}\n" for name, value in said.items())]).encode()
