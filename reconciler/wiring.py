"""Builds every object; nothing else does. From a configuration to something that can run cycles.

Against the embedded sandbox the only difference is the transport, the addresses, the credentials and the clock: the
clients are the ones that ship.
"""

from __future__ import annotations

import os
import random
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import cached_property
from zoneinfo import ZoneInfo

import httpx

from desired_state.catalogue import Catalogue
from desired_state.items import Item
from desired_state.model import LineKey, ProductKey, SkuId, Ticket, UserId
from reconciler.answers import Manners, Names
from reconciler.clients.auth import (
    ApiKey,
    Basic,
    Certificate,
    ClientSecret,
    Credential,
    EntraTokens,
    Federation,
    ManagedIdentity,
    OAuthClientCredentials,
    TokenSource,
)
from reconciler.clients.graph import GRAPH_DIALECT, Graph
from reconciler.clients.servicenow import SERVICENOW_DIALECT, ServiceNow, TicketFields
from reconciler.clients.wire import Budget, Counts, Wire, make_http
from reconciler.clock import Clock, SystemClock
from reconciler.config import Settings, Tenant
from reconciler.digest import digest
from reconciler.errors import UserError
from reconciler.line import Lane
from reconciler.loop.cycle import Deps, Progress
from reconciler.loop.diff import Windows
from reconciler.loop.gate import Policy
from reconciler.loop.guards import Limits
from reconciler.loop.handover import PastGrant, hand_over
from reconciler.loop.plan import Bounds
from reconciler.loop.pull import Reader
from reconciler.loop.record import Desk
from reconciler.sandbox import hosts
from reconciler.sandbox.faults import BAD_DAY
from reconciler.sandbox.state import DamagedWorld, Owned, Remote, SandboxState, WorldBusy
from reconciler.sandbox.stories import contoso, history
from reconciler.store import watermarks
from reconciler.store.database import Database, connect, open_database

LEFT_OBSERVE = "left-observe"  # since when tickets may cause anything, where the configuration does not say
_SECRETS = {"client_secret", "password", "api_key", "client_secret_file", "password_file", "api_key_file", "ca_file"}
GRAPH_UNITS, GRAPH_WINDOW_S = 3500.0, 10.0  # the smallest tenant's allowance (graph.md section 10)


def pick_tenant(settings: Settings, name: str | None) -> str:
    """The named tenant, or the only one. Raises UserError."""
    known = sorted(settings.tenants)
    if name is None:
        if len(known) == 1:
            return known[0]
        raise UserError(f"{settings.source} has {len(known)} tenants; say which one with --tenant: {', '.join(known)}")
    if name not in settings.tenants:
        raise UserError(f"{settings.source} has no tenant '{name}'; it has {', '.join(known) or 'none'}")
    return name


def open_store(settings: Settings) -> Database:
    """The store, migrated when it is the embedded one. Raises UserError."""
    url = settings.store.read_url()
    return open_database(url.get_secret_value() if url is not None else settings.state_dir / "reconciler.db")


def connect_store(settings: Settings, *, read_only: bool = False) -> Database:
    """The store whatever its version is: for migrations and checks. Raises UserError."""
    url = settings.store.read_url()
    place = url.get_secret_value() if url is not None else settings.state_dir / "reconciler.db"
    return connect(place, read_only=read_only)


def sandbox_state(settings: Settings) -> SandboxState:
    """The sandbox's state under the state directory."""
    return SandboxState(settings.state_dir / "sandbox")


@dataclass(frozen=True)
class Systems:
    """How to reach both remote systems: addresses, how to sign in, and the clock that goes with them."""

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


@contextmanager
def systems(settings: Settings, tenant: Tenant) -> Iterator[Systems]:
    """The tenant's two systems, real or embedded, for a block."""
    with ExitStack() as held:
        if tenant.sandbox:
            twin = held.enter_context(_twin(settings))
            yield _embedded(twin, settings, held)
        else:
            yield _real(tenant, held)


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


def _embedded(twin: Owned | Remote, settings: Settings, held: ExitStack) -> Systems:
    if isinstance(twin, Owned):  # a served world was set up by the process that serves it
        twin.world.switches.group_delay_s = settings.sandbox.group_processing.total_seconds()
        twin.world.faults.clear()
        for rule in BAD_DAY if settings.sandbox.faults else ():
            twin.world.faults.add(rule)

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
        )
        for grant in told
    )


def _real(tenant: Tenant, held: ExitStack) -> Systems:
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
    )


@dataclass
class App:
    """One tenant, ready to run cycles and to be asked about. Nothing remote is contacted before it is needed."""

    name: str
    settings: Settings
    tenant: Tenant
    systems: Systems
    database: Database
    progress: Progress = lambda _: None
    counts: dict[str, Counts] = field(default_factory=lambda: {"graph": Counts(), "servicenow": Counts()})

    @property
    def clock(self) -> Clock:
        return self.systems.clock

    @cached_property
    def tokens(self) -> EntraTokens:
        s = self.systems
        scope = f"{s.graph_base.removesuffix('/v1.0')}/.default"
        return EntraTokens(s.authority, s.tenant_id, s.client_id, s.credential(), s.graph_http, scope=scope)

    @cached_property
    def graph(self) -> Graph:
        wire = Wire(
            "graph",
            self.systems.graph_http,
            self.systems.graph_base,
            self.tokens.headers,
            self.tokens.fresh,
            self.clock,
            self._rng("graph"),
            Budget(GRAPH_UNITS, GRAPH_WINDOW_S, self.clock),
            dialect=GRAPH_DIALECT,
            counts=self.counts["graph"],
        )
        return Graph(wire, self.clock)

    @cached_property
    def servicenow(self) -> ServiceNow:
        tokens = self.systems.servicenow_tokens(self.systems.servicenow_http)
        wire = Wire(
            "servicenow",
            self.systems.servicenow_http,
            self.systems.servicenow_base,
            tokens.headers,
            tokens.fresh,
            self.clock,
            self._rng("servicenow"),
            dialect=SERVICENOW_DIALECT,
            counts=self.counts["servicenow"],
        )
        return ServiceNow(wire, self.clock, TicketFields(country_field=self.tenant.servicenow.country_field))

    @cached_property
    def catalogue(self) -> Catalogue:
        return self.settings.catalogue()

    @cached_property
    def items(self) -> Mapping[str, Item]:
        """The configured catalogue items by sys_id. Raises UserError for one that the instance does not have."""
        configured = self.settings.items_for(self.name)
        named = [item.name for item in configured if item.sys_id is None]
        found = self.servicenow.items(named) if named else {}
        known: dict[str, Item] = {}
        for item in configured:
            sys_id = item.sys_id or found.get(item.name)
            if not isinstance(sys_id, str):
                raise UserError(
                    f"{self.settings.source}: ServiceNow has no single catalogue item named '{item.name}'; "
                    "correct the name in [[items]], or give the item's sys_id"
                )
            known[sys_id] = item
        return known

    @cached_property
    def groups(self) -> Mapping[str, str]:
        """sys_ids of the ServiceNow groups that the configuration names, by name. Raises UserError."""
        names = {*self.tenant.servicenow.our_groups, *(i.follow_up_group for i in self.items.values())} - {""}
        found = {name: self.servicenow.group(name) for name in sorted(names)}
        for name, sys_id in found.items():
            if not isinstance(sys_id, str):
                raise UserError(f"{self.settings.source}: ServiceNow has no single group named '{name}'")
        return {name: sys_id for name, sys_id in found.items() if isinstance(sys_id, str)}

    def deps(self) -> Deps:
        """Everything a cycle works with. Asks ServiceNow for the ids of items and groups once."""
        zone = ZoneInfo(self.tenant.timezone) if self.tenant.timezone != "UTC" else UTC
        our_groups = frozenset(self.groups[name] for name in self.tenant.servicenow.our_groups)
        reader = Reader(
            tenant=self.name,
            servicenow=self.servicenow,
            database=self.database,
            clock=self.clock,
            catalogue=self.catalogue,
            items=self.items,
            words=self.tenant.servicenow.words(),
            zone=zone,
            our_groups=our_groups,
            page_size=self.tenant.servicenow.page_size,
            meaning=self._meaning(),
        )
        policy = self.policy()
        names = Names(
            {sku: name for sku, (_, name) in self.catalogue.skus.items()},
            {plan: name for plan, (name, _) in self.catalogue.plans.items()},
        )
        desk = Desk(
            self.name, self.database, self.servicenow, self.clock, policy.limits, self._manners(our_groups), names
        )
        return Deps(
            tenant=self.name,
            tenant_id=self.systems.tenant_id,
            mode=self.tenant.mode,
            level=self.tenant.answers,
            database=self.database,
            clock=self.clock,
            graph=self.graph,
            reader=reader,
            desk=desk,
            rules=self.settings.rules_for(self.name),
            policy=policy,
            windows=Windows(user_sync=self.tenant.user_sync_window),
            bounds=Bounds(frozenset(self.tenant.guards.countries), names.skus, names.plans, self._sku_prices()),
            plan_names=names.plans,
            watch=self.tenant.watch,
            retry_window=self.tenant.retry_window,
            rng=self._rng("cycle"),
            progress=self.progress,
            requests=lambda: {system: count.requests for system, count in self.counts.items()},
        )

    def cycle_name(self) -> str:
        """A name for one cycle: when it began, and a part that no other has."""
        return f"{self.clock.now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"

    def prepare(self, cycle: str) -> None:
        """What has to be in the store before a cycle: the past that the sandbox hands to an empty one."""
        if self.tenant.mode != "observe" and self.tenant.act_on_tickets_since is None:
            with self.database.write() as session:
                if watermarks.load(session, self.name, LEFT_OBSERVE) is None:
                    watermarks.save(session, self.name, LEFT_OBSERVE, watermarks.Watermark(self.clock.now(), ""))
        if self.systems.past is not None:
            hand_over(self.deps().reader, self.systems.past(), tenant_id=self.systems.tenant_id, cycle=cycle)

    def policy(self) -> Policy:
        """What the configuration allows, for the gate."""
        guards, tenant = self.tenant.guards, self.tenant
        if guards.allow_groups or guards.deny_groups:
            raise UserError(
                f"{self.settings.source}: tenants.{self.name}.guards: allow_groups and deny_groups are not supported "
                "yet; use allow_users, allow_domains, deny_users and deny_domains"
            )
        overlays = self.settings.products
        return Policy(
            mode=tenant.mode,
            modes={ProductKey(key): o.mode for key, o in overlays.items() if o.mode is not None},
            act_on_tickets_since=self._since(),
            act_max_age=tenant.act_max_age,
            held_tickets=guards.held_tickets,
            held_products={ProductKey(key): o.held for key, o in overlays.items() if o.held},
            agents=frozenset(tenant.servicenow.agents),
            allow_domains=frozenset(guards.allow_domains),
            allow_users=frozenset(guards.allow_users),
            deny_users=frozenset(guards.deny_users),
            deny_domains=frozenset(guards.deny_domains),
            limits=Limits(
                per_cycle={
                    Lane.GRANTS: guards.grants_per_cycle,
                    Lane.REMOVALS: guards.removals_per_cycle,
                    Lane.USAGE_LOCATIONS: guards.usage_locations_per_cycle,
                    Lane.ANSWERS: guards.answers_per_cycle,
                },
                per_day={
                    Lane.GRANTS: guards.grants_per_day,
                    Lane.REMOVALS: guards.removals_per_day,
                    Lane.USAGE_LOCATIONS: guards.usage_locations_per_day,
                    Lane.ANSWERS: guards.answers_per_day,
                },
                answers_per_group=guards.answers_per_group,
            ),
        )

    def _meaning(self) -> str:
        """A digest of what decides how a ticket is read: change it, and every ticket is read anew."""
        return digest(
            {
                "items": [item.model_dump(mode="json") for item in self.settings.items_for(self.name)],
                "products": {key: o.model_dump(mode="json") for key, o in self.settings.products.items()},
                "words": self.tenant.servicenow.model_dump(mode="json", exclude=_SECRETS),
                "timezone": self.tenant.timezone,
            }
        )

    def _sku_prices(self) -> dict[SkuId, Decimal]:
        """What a SKU costs: the least price of the products that it is the first choice for."""
        prices: dict[SkuId, Decimal] = {}
        for product in self.catalogue.products.values():
            if product.price is not None and product.candidate_skus:
                first = product.candidate_skus[0]
                prices[first] = min(product.price, prices.get(first, product.price))
        return prices

    def _since(self) -> datetime | None:
        """The first instant whose tickets may cause anything. A tenant that never left observe has none yet."""
        since = self.tenant.act_on_tickets_since
        if since == "all":
            return None
        if since is None:
            with self.database.read() as session:
                left = watermarks.load(session, self.name, LEFT_OBSERVE)
            return left.at if left is not None else self.clock.now()
        return datetime.combine(since, time(), tzinfo=UTC)

    def _manners(self, our_groups: frozenset[str]) -> Callable[[Ticket], Manners]:
        levels = {ProductKey(k): o.answers for k, o in self.settings.products.items() if o.answers is not None}

        def manners(ticket: Ticket) -> Manners:
            item = self.items.get(ticket.item)
            if item is None:
                return Manners()
            return Manners(
                level=self.tenant.answers,
                levels=levels,
                may_reopen=item.reopen,
                follow_up_group=self.groups.get(item.follow_up_group, ""),
                closes=item.close,
                our_groups=our_groups,
            )

        return manners

    def _rng(self, name: str) -> random.Random:
        """Chance for ids and jitter: repeatable in the sandbox, the system's own elsewhere."""
        if self.tenant.sandbox:
            return random.Random(f"{name}-{self.settings.sandbox.seed}-{self.clock.now().isoformat()}")  # noqa: S311
        return random.SystemRandom()


@contextmanager
def open_app(settings: Settings, name: str, *, progress: Progress | None = None) -> Iterator[App]:
    """One tenant with its store and its systems, for a block."""
    tenant = settings.tenants[name]
    database = open_store(settings)
    try:
        with systems(settings, tenant) as reached:
            yield App(name, settings, tenant, reached, database, progress or (lambda _: None))
    finally:
        database.close()


def owner_name() -> str:
    """Who holds a lease: process and thread of this machine, and a part that no restart repeats."""
    return f"{os.uname().nodename}:{os.getpid()}:{threading.get_ident() % 10000}:{secrets.token_hex(3)}"
