"""One tenant with everything a cycle works with. Nothing remote is contacted before it is needed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from importlib.metadata import version
from urllib.parse import urlsplit

from desired_state.catalogue import Catalogue
from desired_state.items import Item
from desired_state.model import PlanId, ProductKey, SkuId, Ticket
from desired_state.plan_rules import PlanRules, load_plan_rules
from reconciler.answers import Manners, Names
from reconciler.clients.auth import EntraTokens, OAuthClientCredentials, TokenSource, roles
from reconciler.clients.graph import GRAPH_DIALECT, PERMISSIONS, Graph
from reconciler.clients.servicenow import LARGEST, SERVICENOW_DIALECT, ServiceNow, TicketFields
from reconciler.clients.wire import Budget, Counts, Patience, Wire
from reconciler.clock import Clock
from reconciler.config import Settings, Tenant
from reconciler.config.effective import Effective
from reconciler.errors import UserError
from reconciler.governance.standing import Standing
from reconciler.loop.approving import Asking
from reconciler.loop.deps import Deps, Hear, Progress
from reconciler.loop.desk import Desk
from reconciler.loop.execute import SLICE
from reconciler.loop.gate import Policy
from reconciler.loop.guarding import Guarding
from reconciler.loop.handover import hand_over
from reconciler.loop.look import Eyes
from reconciler.loop.notary import Notary
from reconciler.loop.notify import Notifier
from reconciler.loop.overtaking import Lookout
from reconciler.loop.pacer import Pacer
from reconciler.loop.plan import Bounds
from reconciler.loop.reader import Reader
from reconciler.loop.rereading import in_a_thread, when_asked
from reconciler.loop.seating import Seating
from reconciler.metrics import UNCOUNTED, Meter
from reconciler.probes import probes
from reconciler.store import published_names
from reconciler.store.approvals import Tell
from reconciler.store.database import Database
from reconciler.traces import UNTRACED, Tracer
from reconciler.wiring import configured, forms
from reconciler.wiring.asking import route_book
from reconciler.wiring.audit import build_notary
from reconciler.wiring.governing import acting_since, note_configuration, note_leaving
from reconciler.wiring.guards import limits, scope, windows
from reconciler.wiring.kept import Fence, Kept
from reconciler.wiring.measuring import decisions, exchanges, sign_ins
from reconciler.wiring.notify import notifier
from reconciler.wiring.spending import Spending
from reconciler.wiring.stops import outside_stop
from reconciler.wiring.systems import Systems

GRAPH_WINDOW_S = 10.0  # of resource units (graph.md section 10)
PATIENCE = Patience()
UNLIMITED = 1e9  # requests: a system whose allowance nobody states; it may still say that it wants to be left alone


@dataclass
class App:
    """One tenant, ready to run cycles and to be asked about. Nothing remote is contacted before it is needed."""

    name: str
    settings: Settings
    tenant: Tenant
    systems: Systems
    database: Database
    progress: Progress = lambda _: None
    patience: Patience = PATIENCE  # how often and how long one call to a system may try
    asked: Settings | None = None  # the configuration as it was read, where less of it may be used
    standing: Standing | None = None  # why that is so; None: it is used as it was read
    counts: dict[str, Counts] = field(default_factory=lambda: {"graph": Counts(), "servicenow": Counts()})
    fence: Fence = field(default_factory=Fence)
    kept: Kept = field(default_factory=Kept)

    port: int | None = None  # that the pages are on, where it is not the configured one
    meter: Meter = UNCOUNTED  # of the process; counts nothing unless it serves
    tracer: Tracer = UNTRACED
    hear: Hear = lambda _: None  # see `cycle.Deps`
    slice_requests: int = SLICE  # that leave before the people of the next ones are read again
    asks_every: int = SLICE  # requests, where no plan is carried out, for urgent tickets

    @property
    def clock(self) -> Clock:
        return self.systems.clock

    @cached_property
    def notifier(self) -> Notifier | None:
        """How people are told, None where nothing says how. Contacts nobody."""
        return notifier(
            self.settings,
            self.name,
            self.systems,
            self.database,
            rng=self._rng("notices"),
            port=self.port,
            on_exchange=exchanges(self.meter, tracer=self.tracer),
            watch=sign_ins(self.meter),
        )

    @property
    def tell(self) -> Tell | None:
        """Queues what people have to be told about requests for approval."""
        return decisions(self.meter, self.notifier.tell() if self.notifier is not None else None)

    @property
    def own_meter(self) -> Meter:
        """The meter, told of this tenant and of what it may do now."""
        ours = frozenset({self.tenant.servicenow.username, self.systems.servicenow_user} - {""})
        flows = frozenset(self.tenant.servicenow.agents)
        return self.meter.of(self.name, self.tenant.mode, ours=ours, flows=flows)

    @cached_property
    def tokens(self) -> EntraTokens:
        s = self.systems
        scope = f"{s.graph_base.removesuffix('/v1.0')}/.default"
        if "graph" not in self.kept.tokens:
            self.kept.tokens["graph"] = EntraTokens(
                s.authority,
                s.tenant_id,
                s.client_id,
                s.credential(),
                s.graph_http,
                scope=scope,
                watch=sign_ins(self.meter),
            )
        found: EntraTokens = self.kept.tokens["graph"]
        return found

    def _budget(self, system: str, units: float, window_s: float) -> Budget:
        if system not in self.kept.budgets:
            self.kept.budgets[system] = Budget(units, window_s, self.clock)
        return self.kept.budgets[system]

    @cached_property
    def pacer(self) -> Pacer:
        """The pace of writes to the directory."""
        if self.kept.pacer is None:
            self.kept.pacer = Pacer(self.name, self.clock)
        self.kept.pacer.begin()
        return self.kept.pacer

    @cached_property
    def graph(self) -> Graph:
        budget = self._budget("graph", float(self.tenant.graph.resource_units), GRAPH_WINDOW_S)
        wire = Wire(
            "graph",
            self.systems.graph_http,
            self.systems.graph_base,
            self.tokens.headers,
            self.tokens.fresh,
            self.clock,
            self._rng("graph"),
            budget,
            dialect=GRAPH_DIALECT,
            on_exchange=exchanges(self.meter, budget, self.tracer),
            patience=self.patience,
            counts=self.counts["graph"],
            before_write=self.fence,
            why_not_again=self.fence.why_not_again,
            heard=self.pacer.heard,
        )
        return Graph(wire, self.clock)

    def _spending(self) -> Spending | None:
        """Who counts the requests of an hour, None where nobody does. What is left of a lot outlives the cycle."""
        per_hour, host = self.tenant.servicenow.requests_per_hour, urlsplit(self.systems.servicenow_base).netloc
        if not per_hour or self.database.read_only:
            return None
        known = self.kept.spending
        if known is None or not known.is_for(self.database, host, per_hour):
            known = self.kept.spending = Spending(self.database, host, per_hour, self.clock)
        return known

    @cached_property
    def servicenow(self) -> ServiceNow:
        if "servicenow" not in self.kept.tokens:
            made = self.systems.servicenow_tokens(self.systems.servicenow_http)
            if isinstance(made, OAuthClientCredentials):
                made.watched_by(sign_ins(self.meter))
            self.kept.tokens["servicenow"] = made
        tokens: TokenSource = self.kept.tokens["servicenow"]
        spending = self._spending()
        wire = Wire(
            "servicenow",
            self.systems.servicenow_http,
            self.systems.servicenow_base,
            tokens.headers,
            tokens.fresh,
            self.clock,
            self._rng("servicenow"),
            self._budget("servicenow", UNLIMITED, 1.0),
            dialect=SERVICENOW_DIALECT,
            on_exchange=exchanges(self.meter, spending, tracer=self.tracer),
            patience=self.patience,
            counts=self.counts["servicenow"],
            before_write=self.fence,
            why_not_again=self.fence.why_not_again,
            spend=spending.wait_s if spending is not None else None,
        )
        self.kept.sizes.largest = max(LARGEST, self.tenant.servicenow.page_size)
        fields = TicketFields(country_field=self.tenant.servicenow.country_field)
        return ServiceNow(wire, self.clock, fields, self.kept.sizes)

    @cached_property
    def effective(self) -> Effective:
        """The configuration as it was read, whatever of it may be used, and its digest."""
        return Effective(self.asked if self.asked is not None else self.settings, self.name)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The products of this site, with what is retired by today, and the names that were imported."""
        with self.database.read() as session:
            imported = published_names.load(session)
        known = self.settings.catalogue().as_of(self.clock.now().date())
        return known.with_names(imported.skus, imported.plans)

    @cached_property
    def plan_rules(self) -> PlanRules:
        return load_plan_rules()

    @cached_property
    def _named(self) -> forms.Named:
        """Records by name: asked for again once they are as old as the time between two full scans."""
        self.kept.ids.forget(
            self.clock.monotonic(), older_than_s=self.settings.schedule.full_scan_every.total_seconds()
        )
        return forms.Named(lambda: self.servicenow, self.kept.ids)

    @cached_property
    def items(self) -> Mapping[str, Item]:
        """The configured catalogue items by sys_id. Raises UserError for one that the instance does not have."""
        return forms.items(self.settings, self.name, self._named)

    @cached_property
    def groups(self) -> Mapping[str, str]:
        """sys_ids of the ServiceNow groups that the configuration names, by name. Raises UserError."""
        return forms.groups(self.settings, self.tenant, self.items.values(), self._named)

    def eyes(self) -> Eyes:
        """The directory and the workload probes. Raises UserError for a product whose probe nobody brought."""
        known = probes(self.graph)
        for product in self.catalogue.products.values():
            if product.probe and product.probe not in known:
                raise UserError(
                    f"{self.settings.source}: products.{product.key}.probe: there is no probe '{product.probe}'; "
                    f"known are {', '.join(sorted(known))}"
                )
        sees_roles = self.tenant.guards.deny_role_holders
        return Eyes(self.graph, known, self.systems.client_id, self.kept.observed, sees_roles)

    @cached_property
    def reviews(self) -> Mapping[str, str]:
        """sys_ids of the catalogue items for manual review, by name. Raises UserError."""
        return forms.reviews(self.settings, self.items.values(), self._named)

    def deps(self) -> Deps:
        """Everything a cycle works with. Asks ServiceNow for the ids of items and groups that are not known yet."""
        guards = self.tenant.guards
        our_groups = frozenset(self.groups[name] for name in self.tenant.servicenow.our_groups)
        reader = Reader(
            tenant=self.name,
            servicenow=self.servicenow,
            database=self.database,
            clock=self.clock,
            catalogue=self.catalogue,
            items=self.items,
            words=self.tenant.servicenow.words(),
            zone=configured.zone(self.tenant),
            our_groups=our_groups,
            page_size=self.tenant.servicenow.page_size,
            urgency=configured.urgency(guards),
            whole_every=self.settings.schedule.full_scan_every,
            meaning=self._meaning,
            written=self.kept.written,
        )
        policy, names = self.policy(), configured.names(self.catalogue)
        manners, meter = self._manners(our_groups), self.own_meter
        desk = Desk(
            self.name, self.database, self.servicenow, self.clock, limits(guards), manners, names, meter, self._runs_by
        )
        return Deps(
            tenant=self.name,
            tenant_id=self.systems.tenant_id,
            mode=self.tenant.mode,
            level=self.tenant.answers,
            database=self.database,
            clock=self.clock,
            eyes=self.eyes(),
            reader=reader,
            desk=desk,
            rules=self.settings.rules_for(self.name),
            policy=policy,
            windows=configured.sync_windows(self.tenant),
            bounds=self.bounds(names),
            plan_names=names.plans,
            watch=self.tenant.watch,
            retry_window=self.tenant.retry_window,
            rng=self._rng("cycle"),
            progress=self._step,
            hear=self.hear,
            requests=lambda: {system: count.requests for system, count in self.counts.items()},
            asking=self.asking(),
            seating=Seating(self.name, self.database, self.graph, self.servicenow, guards.use_grace_seats),
            guarding=self.guarding(),
            notary=self.notary,
            pacer=self.pacer,
            fence=self.fence,
            lookout=Lookout(reader) if reader.urgency else None,
            slice_requests=self.slice_requests,
            asks_every=self.asks_every,
            beside=when_asked if self.tenant.sandbox else in_a_thread,  # whose clock is turned by what waits
            meter=meter,
            tracer=self.tracer,
            watching=self.tenant.promotion.watching(),
        )

    def guarding(self) -> Guarding:
        """What stops changes that a rule allows."""
        return Guarding(
            self.name,
            self.database,
            self.clock,
            self.graph,
            scope(self.tenant.guards),
            limits(self.tenant.guards),
            windows(self.tenant),
            lambda: outside_stop(self.settings.state_dir, os.environ),
            self.sku_prices(),
            stale_after=self.tenant.guards.stale_after,
            pause=self.tenant.guards.breaker_pause,
            flip_window=self.tenant.guards.flip_window,
            skews=self._skews,
            reads_purposes=self._reads_purposes,
            clock_tolerance=self.tenant.guards.clock_tolerance * self._speed(),
        )

    def asking(self) -> Asking:
        """How people are asked, and by whom no person answers."""
        policy, agents = self.policy(), frozenset(self.tenant.servicenow.agents)
        ours = {self.tenant.servicenow.username, self.systems.servicenow_user} - {""}
        return Asking(
            tenant=self.name,
            tenant_id=self.systems.tenant_id,
            database=self.database,
            clock=self.clock,
            graph=self.graph,
            servicenow=self.servicenow,
            book=route_book(self.tenant.approvals, configured.zone(self.tenant)),
            ids=lambda: self.systems.random_bytes(16),
            agents=agents,
            software=agents | ours,
            mode_of=policy.mode_for,
            tell=self.tell,
        )

    @cached_property
    def notary(self) -> Notary:
        """Who signs the audit log and brings it to its second places."""
        prices = {str(key): product.price for key, product in self.catalogue.products.items()}
        return build_notary(self.settings, self.name, self.database, self.clock, prices)

    def _step(self, what: str) -> None:
        self.own_meter.progress()
        self.progress(what)

    def modes(self) -> dict[str, str]:
        """What may be written now, by product that is configured."""
        policy, registry = self.policy(), self.meter.registry
        offered = registry.known.configured if registry is not None else {}
        return {key: policy.mode_of(ProductKey(key)) for key in offered}

    def shares(self) -> dict[str, float]:
        """How many of the people it is enforced for, by product that is configured."""
        policy, modes = self.policy(), self.modes()
        return {
            key: float(policy.share_of(ProductKey(key))) if mode == "enforce" else 0.0 for key, mode in modes.items()
        }

    def cycle_name(self) -> str:
        """A name for one cycle: when it began, and a part that no other has."""
        return f"{self.clock.now():%Y%m%dT%H%M%SZ}-{self.systems.random_bytes(4).hex()}"

    def prepare(self, cycle: str) -> None:
        """What has to be in the store before a cycle: its configuration, and the past of an empty sandbox's store."""
        note_configuration(self)
        note_leaving(self)
        if self.systems.past is not None:
            hand_over(self.deps().reader, self.systems.past(), tenant_id=self.systems.tenant_id, cycle=cycle)

    def policy(self) -> Policy:
        """What the configuration allows, for the gate."""
        return configured.policy(self.settings, self.tenant, acting_since(self), self.systems.tenant_id)

    def bounds(self, names: Names) -> Bounds:
        """What a plan may use."""
        return configured.bounds(self.tenant, self.catalogue, self.plan_rules, names, self._known_plans)

    @cached_property
    def _known_plans(self) -> frozenset[PlanId]:
        return frozenset(self.settings.catalogue().plans)

    @property
    def _runs_by(self) -> dict[str, str]:
        return {"software": version("license-reconciler"), "configuration": self.effective.read()[1]}

    @cached_property
    def _meaning(self) -> str:
        return configured.meaning(self.settings, self.name, self.tenant)

    def sku_prices(self) -> dict[SkuId, Decimal]:
        """What a SKU costs: the least price of the products that it is the first choice for."""
        return configured.sku_prices(self.catalogue)

    def _manners(self, our_groups: frozenset[str]) -> Callable[[Ticket], Manners]:
        return forms.manners(
            self.settings,
            self.tenant,
            known=self.items,
            by_name=self.groups,
            review_items=lambda: self.reviews,
            our_groups=our_groups,
        )

    def _reads_purposes(self) -> bool:
        """Whether it is wanted, and permitted, to read what a mailbox is for."""
        if self.tenant.guards.mailbox_purpose == "off":
            return False
        return bool(roles(self.tokens.token()) & set(PERMISSIONS["mailbox_purposes"]))

    def _skews(self) -> dict[str, float | None]:
        """Seconds that each system's clock is ahead of ours."""
        now, monotonic = self.clock.now(), self.clock.monotonic()
        return {system: count.skew_s(now, monotonic) for system, count in self.counts.items()}

    def _speed(self) -> float:
        """How fast time passes, at least 1: an answer of the sandbox ages so fast on its way to us."""
        return max(1.0, self.settings.sandbox.speed) if self.tenant.sandbox else 1.0

    def _rng(self, name: str) -> random.Random:
        """Chance for ids and jitter: repeatable in the sandbox, the system's own elsewhere."""
        if self.tenant.sandbox:
            return random.Random(f"{name}-{self.settings.sandbox.seed}-{self.clock.now().isoformat()}")  # noqa: S311
        return random.SystemRandom()
