"""The pages of a tenant: its sign-in and its store as one `Site`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from sqlmodel import Session
from starlette.types import ASGIApp

from desired_state.model import UserId
from reconciler.approvals.routes import Candidate
from reconciler.clients.auth import Certificate, ClientSecret, ManagedIdentity, PeopleSignIn
from reconciler.clients.graph import Graph
from reconciler.clients.wire import Counts, Patience
from reconciler.errors import NotFound, RemoteError, UserError
from reconciler.health import Pulse
from reconciler.logs import Log
from reconciler.loop.approvers import candidate_of
from reconciler.loop.guards.judge import FREEZE
from reconciler.loop.guards.usage import Usage
from reconciler.model import ObservedUser
from reconciler.web import api, metrics
from reconciler.web.app import create_app
from reconciler.web.site import Site, StepUp
from reconciler.web.trust import public_base
from reconciler.wiring.app import App
from reconciler.wiring.governing import lifting_takes_two
from reconciler.wiring.measuring import sign_ins
from reconciler.wiring.promoting import ladder_of
from reconciler.wiring.proposing import counter
from reconciler.wiring.stops import outside_stop, throw_outside


@dataclass(frozen=True)
class Loop:
    """What the pages know of the service behind them: how it is, and how to let it look at tickets at once."""

    pulse: Callable[[], Pulse]
    wake: Callable[[], None]


def web_app(app: App, *, port: int, log: Log, loop: Loop | None = None) -> ASGIApp:
    """The pages of a tenant that listen on this port. Contacts nobody. Raises UserError when nobody could sign in."""
    own = site(app, port=port, log=log)
    if loop is not None:
        own = replace(own, pulse=loop.pulse, wake=loop.wake)
    further = [api.routes(own, counter(app))]
    if app.meter.registry is not None:
        further.append(metrics.routes(app.meter.registry.exposition))
    return create_app(own, further=further)


def public_url(app: App, port: int) -> str:
    """The address that browsers use."""
    web = app.settings.web
    return public_base(web.public_url, web.host, port, is_tls=web.tls_certificate_file is not None)


def site(app: App, *, port: int, log: Log) -> Site:
    """What the pages work with. Raises UserError when nobody could sign in."""
    web, sign_in = app.settings.web, app.tenant.sign_in
    fresh = sign_in.fresh_within
    return Site(
        tenant=app.name,
        database=app.database,
        clock=app.clock,
        people=_people(app),
        public_url=public_url(app, port),
        catalogue=lambda: app.catalogue,
        colleagues=Directory(lambda: _graph(app), app.systems.tenant_id),
        delegate_at_most=app.tenant.approvals.delegate_at_most,
        proxies=web.proxies,
        admits_guests=sign_in.guests,
        step_up=StepUp(fresh, sign_in.fresh_above) if fresh is not None else None,
        tell=app.tell,
        log=log,
        mode=app.tenant.mode,
        wake_token=app.settings.schedule.read_wake_token,
        open_to=web.open_to,
        open_pages=web.open_pages,
        controls=_Controls(app),
        ladder=lambda: ladder_of(app),
    )


@dataclass(frozen=True)
class _Controls:
    """What stops writes outside of the store's switches."""

    app: App

    def takes_two(self) -> bool:
        return lifting_takes_two(self.app)

    def outside(self) -> str:
        return outside_stop(self.app.settings.state_dir, os.environ)

    def windows(self, at: datetime) -> Sequence[tuple[str, tuple[str, ...], str]]:
        found = self.app.guarding().stops(None, at)
        return [(s.name, tuple(sorted(s.lanes)), s.why) for s in found if s.guard == FREEZE]

    def budgets(self, session: Session, at: datetime) -> Sequence[Usage]:
        return self.app.guarding().usage(session, at)

    def throw_outside(self, why: str) -> None:
        throw_outside(self.app.settings.state_dir, why)


class Directory:
    """Accounts for a page. `graph` is made when somebody is first looked up; `tenant_id` is the directory's."""

    def __init__(self, graph: Callable[[], Graph], tenant_id: str) -> None:
        self._make, self._tenant_id = graph, tenant_id

    @cached_property
    def _graph(self) -> Graph:
        return self._make()

    def named(self, upn: str) -> Candidate | None:
        """The account of a sign-in name. Raises RemoteError."""
        name = upn.strip().lower()
        return self._candidate(self._graph.users_by_upn([name]).get(name))

    def account(self, oid: str) -> Candidate | None:
        """The account of an object id. Raises RemoteError."""
        user = UserId(oid)
        return self._candidate(self._graph.users([user]).get(user))

    def _candidate(self, found: ObservedUser | RemoteError | None) -> Candidate | None:
        if isinstance(found, RemoteError) and not isinstance(found, NotFound):
            raise found
        return candidate_of(found, self._tenant_id) if isinstance(found, ObservedUser) else None


def _graph(app: App) -> Graph:
    """For a page that somebody waits for: few tries, and requests that are no cycle's."""
    counts = {"graph": Counts(), "servicenow": Counts()}
    return replace(app, patience=Patience(attempts=2, wait_s=5.0), counts=counts).graph


def _people(app: App) -> PeopleSignIn:
    systems, own = app.systems, app.tenant.sign_in
    if own.client_id is None:
        client_id, credential = systems.client_id, systems.credential()
        if isinstance(credential, ManagedIdentity):
            raise UserError(
                f"{app.settings.source}: tenants.{app.name}.sign_in: a managed identity cannot sign people in; give "
                "client_id and client_secret_file or certificate_file of a registration that can"
            )
    else:
        client_id = own.client_id
        credential = (
            Certificate(own.read_certificate().get_secret_value())
            if own.certificate_file is not None
            else ClientSecret(own.read_client_secret().get_secret_value())
        )
    return PeopleSignIn(
        systems.authority,
        systems.tenant_id,
        client_id,
        credential,
        systems.graph_http,
        systems.clock,
        watch=sign_ins(app.meter),
    )
