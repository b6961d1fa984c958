"""How to reach both remote systems of a tenant: the real ones, or the embedded sandbox behind the same clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from secrets import token_bytes

import httpx

from desired_state.model import LineKey, SkuId, UserId
from reconciler.clients.auth import (
    ApiKey,
    Basic,
    Certificate,
    ClientSecret,
    Credential,
    Federation,
    ManagedIdentity,
    OAuthClientCredentials,
    TokenSource,
)
from reconciler.clients.wire import make_http
from reconciler.clock import Clock, SystemClock
from reconciler.config import Settings, Tenant
from reconciler.errors import UserError
from reconciler.loop.handover import PastGrant
from reconciler.sandbox import hosts
from reconciler.sandbox.faults import BAD_DAY
from reconciler.sandbox.state import DamagedWorld, Owned, Remote, SandboxState, WorldBusy
from reconciler.sandbox.stories import contoso, history


def sandbox_state(settings: Settings) -> SandboxState:
    """The sandbox's state under the state directory."""
    return SandboxState(settings.state_dir / "sandbox")


@dataclass(frozen=True)
class Systems:
    """How to reach both remote systems: addresses, how to sign in, and the clock and the chance that go with them."""

    clock: Clock
    graph_base: str
    authority: str
    servicenow_base: str
    tenant_id: str
    client_id: str
    credential: Callable[[], Credential]
    servicenow_tokens: Callable[[httpx.Client], TokenSource]
    graph_http: httpx.Client
    servicenow_http: httpx.Client
    servicenow_user: str = ""
    past: Callable[[], tuple[PastGrant, ...]] | None = None  # what an empty ledger is handed
    teams_http: Callable[[], httpx.Client] | None = None  # made when something is first posted
    teams_base: str = ""  # the sandbox's own Teams, "" elsewhere: a flow has an address of its own
    random_bytes: Callable[[int], bytes] = token_bytes  # that many, for names nobody may guess or use twice


@contextmanager
def systems(settings: Settings, tenant: Tenant) -> Iterator[Systems]:
    """The tenant's two systems, real or embedded, for a block."""
    with ExitStack() as held:
        if tenant.sandbox:
            twin = held.enter_context(_twin(settings))
            yield _embedded(twin, settings, held)
        else:
            yield _real(tenant, held, settings.notify.teams_ca_file)


@contextmanager
def _twin(settings: Settings) -> Iterator[Owned | Remote]:
    with _plainly(settings), sandbox_state(settings).connect() as twin:
        yield twin


@contextmanager
def _plainly(settings: Settings) -> Iterator[None]:
    """What can be wrong with the sandbox's files, as one sentence."""
    try:
        yield
    except (DamagedWorld, WorldBusy) as error:
        raise UserError(str(error), exit_code=1) from None
    except PermissionError as error:
        raise UserError(f"the state directory {settings.state_dir} cannot be written: {error}", exit_code=1) from None


sandbox_twin = _twin


@contextmanager
def sandbox_world(settings: Settings, *, story: str | None) -> Iterator[Owned]:
    """The sandbox's world, owned by this process for a block. Raises UserError when it is in use or damaged."""
    with _plainly(settings), sandbox_state(settings).open(story=story, patience_s=2.0) as owned:
        yield owned


def reset_sandbox(settings: Settings) -> str:
    """Start the sandbox over, and with it the embedded store, whose rows are about the old world."""
    try:
        with sandbox_state(settings).connect() as twin:
            twin.reset()
    except DamagedWorld:
        (settings.state_dir / "sandbox" / "world.json").unlink(missing_ok=True)
    except WorldBusy as error:
        raise UserError(str(error), exit_code=1) from None
    removed = []
    if not settings.store.url and not settings.store.url_file:
        for path in sorted(settings.state_dir.glob("reconciler.db*")):
            path.unlink()
            removed.append(path.name)
    return f"The sandbox starts over{' and ' + removed[0] + ' was emptied' if removed else ''}."


def prepare_twin(twin: Owned, settings: Settings) -> None:
    """Let a world that this process owns behave as configured."""
    twin.world.switches.group_delay_s = settings.sandbox.group_processing.total_seconds()
    twin.world.faults.clear()
    for rule in BAD_DAY if settings.sandbox.faults else ():
        twin.world.faults.add(rule)


def _embedded(twin: Owned | Remote, settings: Settings, held: ExitStack) -> Systems:
    if isinstance(twin, Owned):  # a served world was set up by the process that serves it
        prepare_twin(twin, settings)

    def http() -> httpx.Client:
        return held.enter_context(make_http(twin.transport()))

    return Systems(
        clock=twin.clock,
        graph_base=twin.addresses.graph,
        authority=twin.addresses.login,
        servicenow_base=twin.addresses.servicenow,
        tenant_id=hosts.TENANT_ID,
        client_id=hosts.CLIENT_ID,
        credential=lambda: ClientSecret(hosts.CLIENT_SECRET),
        servicenow_tokens=lambda _: Basic(hosts.SERVICENOW_USER, hosts.SERVICENOW_PASSWORD),
        graph_http=http(),
        servicenow_http=http(),
        servicenow_user=hosts.SERVICENOW_USER,
        past=lambda: _past(twin),
        teams_http=cache(http),
        teams_base=twin.addresses.teams,
    )


def _past(twin: Owned | Remote) -> tuple[PastGrant, ...]:
    """Contoso's tickets that "we" granted before the sandbox's first day. A seeded world has the same ids each time."""
    if twin.status()["story"] != "contoso":
        return ()
    told = history(twin.world if isinstance(twin, Owned) else contoso())
    return tuple(
        PastGrant(
            key=LineKey(grant["ticket"], grant["line"]),
            user=UserId(grant["object_id"].lower()),
            upn=grant["upn"],
            granted_at=datetime.fromisoformat(grant["granted_at"]),
            ends_at=datetime.fromisoformat(grant["ends_at"]) if grant["ends_at"] else None,
            sku=SkuId(grant["sku_id"].lower()),
        )
        for grant in told
    )


def _real(tenant: Tenant, held: ExitStack, teams_ca_file: Path | None) -> Systems:
    graph, desk, clock = tenant.graph, tenant.servicenow, SystemClock()
    base, authority = graph.endpoints()
    assert graph.tenant_id is not None and desk.instance is not None  # the configuration has checked it

    def credential() -> Credential:
        if graph.managed_identity:
            return ManagedIdentity(graph.client_id)
        if graph.federated_token_file is not None:
            return Federation(graph.federated_token_file)
        if graph.certificate_file is not None:
            return Certificate(graph.read_certificate().get_secret_value())
        return ClientSecret(graph.read_client_secret().get_secret_value())

    def tokens(http: httpx.Client) -> TokenSource:
        if desk.auth == "basic":
            return Basic(desk.username, desk.read_password().get_secret_value())
        if desk.auth == "api_key":
            return ApiKey(desk.read_api_key().get_secret_value())
        secret = desk.read_client_secret().get_secret_value()
        return OAuthClientCredentials(desk.instance or "", desk.client_id, secret, http, clock)

    return Systems(
        clock=clock,
        graph_base=f"{base}/v1.0",
        authority=authority,
        servicenow_base=desk.instance,
        tenant_id=graph.tenant_id,
        client_id=graph.client_id or "",
        credential=credential,
        servicenow_tokens=tokens,
        graph_http=held.enter_context(make_http(ca_file=graph.ca_file)),
        servicenow_http=held.enter_context(make_http(ca_file=desk.ca_file, max_connections=4)),
        servicenow_user=desk.username,
        teams_http=cache(lambda: held.enter_context(make_http(ca_file=teams_ca_file, max_connections=2))),
    )
