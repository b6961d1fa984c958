"""The pages of a tenant: its sign-in and its store as one `Site`."""

from __future__ import annotations

from starlette.types import ASGIApp

from reconciler.clients.auth import Certificate, ClientSecret, ManagedIdentity, PeopleSignIn
from reconciler.errors import UserError
from reconciler.logs import Log
from reconciler.web import api, metrics
from reconciler.web.app import create_app
from reconciler.web.site import Site, StepUp
from reconciler.web.trust import public_base
from reconciler.wiring.app import App
from reconciler.wiring.measuring import sign_ins
from reconciler.wiring.proposing import counter


def web_app(app: App, *, port: int, log: Log) -> ASGIApp:
    """The pages of a tenant that listen on this port. Contacts nobody. Raises UserError when nobody could sign in."""
    own = site(app, port=port, log=log)
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
        proxies=web.proxies,
        admits_guests=sign_in.guests,
        step_up=StepUp(fresh, sign_in.fresh_above) if fresh is not None else None,
        tell=app.tell,
        log=log,
        mode=app.tenant.mode,
    )


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
