"""Who is signed in to the pages, and sign-ins that are under way.

A browser holds one random secret; here is only its SHA-256, so a copy of the store lets nobody in. A sign-in that was
begun is used once: `take` deletes it in the same step. Tokens are never kept, only the claims that are evidence.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, update
from sqlmodel import Session, col, select

from reconciler.store.rows.sessions import SignInRow, WebSessionRow

SIGN_IN_MAX = timedelta(minutes=10)
IDLE_MAX = timedelta(minutes=30)
SESSION_MAX = timedelta(hours=8)
TOUCH_EVERY = timedelta(minutes=1)
UNDER_WAY_MAX = 2000  # sign-ins at a time: whoever asks for pages without signing in cannot fill the store


@dataclass(frozen=True, slots=True)
class SignIn:
    """A sign-in that was begun: what msal needs to end it, and where its person wants to go.

    `replaces` is the SHA-256 of the session that ends when this one begins; "" for none. `max_age_s` is set when
    credentials have to be given anew.
    """

    flow: Mapping[str, Any]
    place: str
    max_age_s: int | None
    replaces: str


@dataclass(frozen=True, slots=True)
class WebSession:
    """Somebody who is signed in. `evidence` are claims of the ID token with the digest of the token itself."""

    id: str
    tenant: str
    tid: str
    oid: str
    name: str
    upn: str
    roles: frozenset[str]
    evidence: Mapping[str, Any]
    credentials_at: datetime | None
    signed_in_at: datetime
    seen_at: datetime

    @property
    def ends_at(self) -> datetime:
        """When it ends if nothing more is asked for."""
        return min(self.signed_in_at + SESSION_MAX, self.seen_at + IDLE_MAX)


def name_of(secret: str) -> str:
    """Under what a browser's secret is kept."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def begin(
    session: Session,
    tenant: str,
    *,
    state: str,
    browser: str,
    flow: Mapping[str, Any],
    place: str,
    max_age_s: int | None,
    replaces: str,
    at: datetime,
) -> bool:
    """Keep a sign-in until its answer comes. False, and nothing kept, while too many are under way."""
    session.execute(delete(SignInRow).where(col(SignInRow.begun_at) <= at - SIGN_IN_MAX))
    if session.exec(select(func.count()).select_from(SignInRow)).one() >= UNDER_WAY_MAX:
        return False
    row = SignInRow(
        state=name_of(state),
        tenant=tenant,
        browser=name_of(browser),
        flow=json.dumps({"flow": dict(flow), "max_age_s": max_age_s}),
        place=place,
        replaces=replaces,
        begun_at=at,
    )
    session.add(row)
    session.flush()
    return True


def take(session: Session, tenant: str, *, state: str, browser: str, at: datetime) -> SignIn | None:
    """The sign-in with this state that this browser began less than ten minutes ago, once; None otherwise."""
    known = select(SignInRow).where(
        SignInRow.state == name_of(state), SignInRow.tenant == tenant, SignInRow.browser == name_of(browser)
    )
    row = session.exec(known).first()
    if row is None:
        return None
    gone = session.execute(delete(SignInRow).where(col(SignInRow.state) == row.state))
    if gone.rowcount != 1 or not at - SIGN_IN_MAX < row.begun_at <= at:  # type: ignore[attr-defined]
        return None
    kept = json.loads(row.flow)
    return SignIn(kept["flow"], row.place, kept["max_age_s"], row.replaces)


def open_(
    session: Session,
    tenant: str,
    *,
    secret: str,
    tid: str,
    oid: str,
    name: str,
    upn: str,
    roles: frozenset[str],
    evidence: Mapping[str, Any],
    credentials_at: datetime | None,
    replaces: str,
    at: datetime,
) -> WebSession:
    """Let somebody in under a new secret. Ends the session that it replaces, and forgets those that are over."""
    session.execute(delete(WebSessionRow).where(col(WebSessionRow.id) == replaces))
    over = (col(WebSessionRow.signed_in_at) <= at - SESSION_MAX) | (col(WebSessionRow.seen_at) <= at - IDLE_MAX)
    session.execute(delete(WebSessionRow).where(over))
    row = WebSessionRow(
        id=name_of(secret),
        tenant=tenant,
        tid=tid,
        oid=oid,
        name=name,
        upn=upn,
        roles=json.dumps(sorted(roles)),
        evidence=json.dumps(dict(evidence), sort_keys=True),
        credentials_at=credentials_at,
        signed_in_at=at,
        seen_at=at,
    )
    session.add(row)
    session.flush()
    return _frozen(row)


def find(session: Session, tenant: str, secret: str, at: datetime) -> WebSession | None:
    """Who holds this secret, unless the session is over: 30 minutes unused, or 8 hours old."""
    row = session.get(WebSessionRow, name_of(secret))
    if row is None or row.tenant != tenant:
        return None
    found = _frozen(row)
    return found if found.signed_in_at <= at + TOUCH_EVERY and at < found.ends_at else None


def touch(session: Session, found: WebSession, at: datetime) -> None:
    """It was used now."""
    later = update(WebSessionRow).where(col(WebSessionRow.id) == found.id, col(WebSessionRow.seen_at) < at)
    session.execute(later.values(seen_at=at))


def close(session: Session, found: WebSession) -> None:
    """Sign somebody out: the secret opens nothing any more."""
    session.execute(delete(WebSessionRow).where(col(WebSessionRow.id) == found.id))


def _frozen(row: WebSessionRow) -> WebSession:
    return WebSession(
        id=row.id,
        tenant=row.tenant,
        tid=row.tid,
        oid=row.oid,
        name=row.name,
        upn=row.upn,
        roles=frozenset(json.loads(row.roles)),
        evidence=json.loads(row.evidence),
        credentials_at=row.credentials_at,
        signed_in_at=row.signed_in_at,
        seen_at=row.seen_at,
    )
