"""What the pages work with: one tenant's store, clock and sign-in. Built by `wiring`, read by every route."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

from pydantic import SecretStr
from sqlmodel import Session

from desired_state.catalogue import Catalogue
from reconciler.approvals.routes import Candidate
from reconciler.clock import Clock
from reconciler.health import Pulse
from reconciler.ladder import Ladder
from reconciler.logs import Log
from reconciler.loop.guards.usage import Usage
from reconciler.store.approvals import Tell
from reconciler.store.database import Database
from reconciler.web.identity import Expected

CALLBACK = "/auth/callback"


class People(Protocol):
    """The sign-in service, as `clients.auth.PeopleSignIn` speaks to it."""

    login_url: str
    issuer: str
    tenant_id: str
    client_id: str

    def begin(self, *, redirect_uri: str, prompt: str = "", max_age: timedelta | None = None) -> dict[str, Any]: ...
    def redeem(self, flow: Mapping[str, Any], form: Mapping[str, str]) -> str: ...
    def key(self, kid: str) -> Mapping[str, Any] | None: ...


class Colleagues(Protocol):
    """Accounts of the directory, None for one that is not there. Both raise RemoteError for what could not be read."""

    def named(self, upn: str) -> Candidate | None: ...
    def account(self, oid: str) -> Candidate | None: ...


@dataclass(frozen=True, slots=True)
class StepUp:
    """For a decision that costs at least `above` a month, credentials must have been given within `max_age`."""

    max_age: timedelta
    above: Decimal = Decimal(0)


def nobody_told(_message: str, /, **_fields: object) -> None:
    """Where no log is kept."""


def fresh_secret() -> str:
    """256 random bits for a cookie."""
    return secrets.token_urlsafe(32)


class Controls(Protocol):
    """What stops writes beside the store's own switches, as `wiring` knows it."""

    def takes_two(self) -> bool:
        """Whether lifting the kill switch takes a second person."""
        ...

    def outside(self) -> str:
        """Why everything is stopped from outside the store, "" when nothing does."""
        ...

    def windows(self, at: datetime) -> Sequence[tuple[str, tuple[str, ...], str]]:
        """Freezes of the configuration that hold now: name, lanes, why."""
        ...

    def budgets(self, session: Session, at: datetime) -> Sequence[Usage]:
        """What of each limit of a day is used."""
        ...

    def throw_outside(self, why: str) -> None:
        """Stop everything by a file, for when the store cannot be written. Raises OSError."""
        ...


@dataclass(frozen=True)
class Site:
    """One tenant's pages. `public_url` is the address that browsers use; `proxies` are addresses whose
    `X-Forwarded-For` counts; `log` takes what went wrong; `wake` is called once an answer is kept, so that what
    follows from it need not wait for the timetable."""

    tenant: str
    database: Database
    clock: Clock
    people: People
    public_url: str
    catalogue: Callable[[], Catalogue]
    colleagues: Colleagues
    proxies: Collection[str] = ()
    admits_guests: bool = False
    step_up: StepUp | None = None
    delegate_at_most: timedelta = timedelta(days=30)
    tell: Tell | None = None
    wake: Callable[[], None] | None = None  # lets the service look at once, where one runs
    log: Log = nobody_told
    mode: str = ""  # of the tenant, for people
    open_to: Collection[str] = ()  # networks that read the open pages without sign-in
    open_pages: Collection[str] = ()
    controls: Controls | None = None  # what stops writes outside of the store
    secret: Callable[[], str] = field(default=fresh_secret, repr=False)
    ladder: Callable[[], Ladder] | None = None  # how far each product goes, and on what evidence
    pulse: Callable[[], Pulse] | None = None  # how the service is, where one runs
    wake_token: Callable[[], SecretStr | None] = lambda: None  # whoever has it may do so

    @property
    def callback_url(self) -> str:
        return self.public_url + CALLBACK

    def expected(self, nonce: str, max_age: timedelta | None) -> Expected:
        """What the ID token of a flow has to say."""
        people = self.people
        return Expected(
            people.issuer, people.client_id, people.tenant_id, nonce, admits_guests=self.admits_guests, max_age=max_age
        )

    def ring(self) -> None:
        """Let the service look at once, where one runs."""
        if self.wake is not None:
            self.wake()

    def now(self) -> datetime:
        return self.clock.now()
