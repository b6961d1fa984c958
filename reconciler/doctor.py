"""What the credentials can and cannot do, against both systems, read-only. The same against sandbox and real ones.

Every check is a value: its name, whether it is well, and one sentence that says what to do when it is not. A check that
fails never keeps the others from being made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from desired_state.model import GroupId, Path, Product, SkuId, Tier
from desired_state.rules import group_key
from reconciler.clients.auth import roles
from reconciler.clients.graph.permissions import ENFORCE, EVIDENCE, OBSERVE, PERMISSIONS, ROLES, missing
from reconciler.errors import NotFound, RemoteError, UserError
from reconciler.line import Gone, Unread
from reconciler.loop.belonging import Belonging
from reconciler.loop.evidence import named_groups
from reconciler.loop.groups import unusable
from reconciler.loop.memberships import read_groups
from reconciler.model import ObservedGroup, ObservedUser, SubscribedSku
from reconciler.overreach import overreach
from reconciler.promotion.advice import Position
from reconciler.promotion.values import Axis
from reconciler.store import directories, journal
from reconciler.wiring import App
from reconciler.wiring.governing import further, standing_of
from reconciler.wiring.promoting import ladder_of

BASIC_ENDS = ("smtp.office365.com",)  # off by default for existing tenants after December 2026, not for new ones at all


class Health(StrEnum):
    WELL = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: `area` groups it, `sentence` says what was seen and, if it is not well, what to do."""

    area: str
    name: str
    health: Health
    sentence: str


def examine(app: App) -> Iterator[Finding]:
    """All checks, in an order in which the first fault explains later ones."""
    yield from _own(app)
    yield from _graph(app)
    yield from _servicenow(app)
    yield from _products(app)
    yield from _groups(app)
    yield from _rules(app)
    yield _clock(app)


def _clock(app: App) -> Finding:
    """Our clock against those of both systems, by the answers to everything above."""
    guarding = app.guarding()
    clocks, skews = guarding.clocks(), guarding.skews()
    seen = ", ".join(
        f"{system} {'says nothing' if skew is None else f'{skew:+.0f} s'}" for system, skew in sorted(skews.items())
    )
    if clocks.wrong:
        return Finding("configuration", "clock", Health.FAULT, f"{clocks.wrong} ({seen})")
    if clocks.odd:
        return Finding("configuration", "clock", Health.WARNING, f"{clocks.odd} ({seen})")
    return Finding("configuration", "clock", Health.WELL, f"the systems' clocks against ours: {seen}")


def _try(area: str, name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(area, name, Health.WELL, check())
    except (RemoteError, UserError) as error:
        return Finding(area, name, Health.FAULT, str(error))


def _own(app: App) -> Iterator[Finding]:
    yield _try("configuration", "file", lambda: f"{app.settings.source}, digest {standing_of(app).digest[:16]}")
    mode = Position(app.tenant.mode, app.tenant.enforce_share).on(Axis.MODE)
    yield Finding("configuration", "mode", Health.WELL, f"mode {mode}, answers {app.tenant.answers}")
    if app.standing is not None:
        yield Finding("configuration", "acceptance", Health.WARNING, app.standing.why())
    yield from _promotion(app)
    yield _scope(app)
    with app.database.read() as session:
        shared = directories.shared(session, app.name)
    if shared:
        yield Finding("configuration", "directory", Health.WARNING, shared)

    def store() -> str:
        with app.database.read() as session:
            size = journal.head(session, app.name).size
        return f"{app.database.name} can be read; its audit log has {size} rows"

    yield _try("store", "database", store)
    yield from _mail(app)


def _promotion(app: App) -> Iterator[Finding]:
    """What goes further than the evidence carries, and what should go back: told, never refused."""
    for move in further(app):
        health = Health.WELL if move.is_carried else Health.WARNING
        yield Finding("configuration", "promotion", health, move.sentence)
    for advice in ladder_of(app).advice:
        if advice.back:
            sentence = f"{advice.product}: {advice.back}; `reconciler promotion show {advice.product}` says which"
            yield Finding("configuration", "promotion", Health.WARNING, sentence)


def _mail(app: App) -> Iterator[Finding]:
    """How notices go out by mail (approvals.md section 5). No mail is sent: `notify test` does that."""
    own = app.settings.notify
    if not own.smtp_host:
        return
    where = f"mail goes to {own.smtp_host}:{own.smtp_port}"
    if own.smtp_auth == "password":
        checked = _try("configuration", "mail", lambda: where if own.read_smtp_password() else "")
        if checked.health is Health.WELL and own.smtp_host.lower() in BASIC_ENDS:
            sentence = f"{where} with a password, which Exchange Online switches off by default: use smtp_auth xoauth2"
            checked = Finding("configuration", "mail", Health.WARNING, sentence)
        yield checked
    elif own.smtp_tls == "none":
        sentence = f"{where} in the clear: only for a relay on an internal host"
        yield Finding("configuration", "mail", Health.WARNING, sentence)
    else:
        yield Finding("configuration", "mail", Health.WELL, where)


def _scope(app: App) -> Finding:
    guards = app.tenant.guards
    allowed = {
        "domains": len(guards.allow_domains),
        "users": len(guards.allow_users),
        "groups": len(guards.allow_groups),
    }
    if not any(allowed.values()):
        sentence = (
            "nobody is in scope: every allow list is empty. Name people, domains or groups in "
            f'[tenants.{app.name}.guards], or everybody: allow_domains = ["*"]'
        )
        return Finding("configuration", "scope", Health.WARNING, sentence)
    listed = ", ".join(f"{count} {what}" for what, count in allowed.items() if count)
    return Finding("configuration", "scope", Health.WELL, f"in scope are {listed}; deny lists win")


def _graph(app: App) -> Iterator[Finding]:
    granted: frozenset[str] = frozenset()

    def token() -> str:
        nonlocal granted
        granted = roles(app.tokens.token())
        return f"signed in as application {app.systems.client_id}; it holds {', '.join(sorted(granted)) or 'no role'}"

    signed_in = _try("graph", "sign-in", token)
    yield signed_in
    if signed_in.health is Health.FAULT:
        return

    def tenant() -> str:
        found = app.graph.organization()
        if found.tenant_id.lower() != app.systems.tenant_id.lower():
            raise UserError(f"the directory is {found.tenant_id}, not the configured {app.systems.tenant_id}")
        return f"{found.display_name or 'the directory'} ({found.tenant_id}), default country {found.country or '-'}"

    yield _try("graph", "organization", tenant)
    yield _try("graph", "licences", lambda: f"{len(app.graph.subscribed_skus())} SKUs are owned")
    yield _try("graph", "people", lambda: _people(app))
    probed = (p for p in app.catalogue.products.values() if p.tier >= Tier.V3)
    probing = ("voice",) if any(p.probe == "teams-voice" for p in probed) else ()
    needed = (*(ENFORCE if app.tenant.mode == "enforce" else OBSERVE), *probing)
    for operation, permission in missing(granted, needed).items():
        yield Finding(
            "graph", operation, Health.FAULT, f"{operation} needs {permission}; grant it to the application, as admin"
        )
    if app.tenant.guards.deny_role_holders:
        for operation, permission in missing(granted, ROLES).items():
            sentence = (
                f"{operation} needs {permission}; until then everybody may be an administrator, and nobody is served"
            )
            yield Finding("graph", operation, Health.FAULT, sentence)
    for operation, permission in missing(granted, EVIDENCE).items():
        sentence = f"{operation} needs {permission}; without it nobody can be named who changes a licence later"
        yield Finding("graph", operation, Health.WARNING, sentence)
    for sentence in overreach(granted).values():
        yield Finding("graph", "outside the scope", Health.WARNING, sentence)
    writes = sorted(set(ENFORCE) - set(OBSERVE))
    could = [operation for operation in writes if granted & set(PERMISSIONS[operation])]
    if could and app.tenant.mode != "enforce":
        sentence = f"mode {app.tenant.mode} writes nothing, but the credentials could {', '.join(could)}"
        yield Finding("graph", "more than needed", Health.WARNING, f"{sentence}; a reading application would be safer")


def _people(app: App) -> str:
    """Whether the properties that decisions rest on are shown: read one person by id."""
    for page in app.graph.scan_users():
        found = app.graph.users([page.id])[page.id]
        if isinstance(found, NotFound):
            continue
        if isinstance(found, RemoteError):
            raise found
        return _shown(found)
    return "the directory shows no people"


def _shown(user: ObservedUser) -> str:
    hidden = [
        name
        for name, value in (
            ("accountEnabled", user.is_enabled),
            ("usageLocation", user.usage_location),
            ("assignedLicenses", user.skus),
            ("licenseAssignmentStates", user.assignments),
        )
        if value is None
    ]
    if hidden:
        raise UserError(f"the directory does not show {', '.join(hidden)} of people; grant User.Read.All")
    return "people, their licences and how these were assigned are shown"


def _servicenow(app: App) -> Iterator[Finding]:
    yield _try("servicenow", "catalogue items", lambda: f"{len(app.items)} configured items found")
    yield _try("servicenow", "groups", lambda: f"found {', '.join(sorted(app.groups)) or 'none configured'}")
    try:
        group = next(iter(app.groups), "")
        account = app.systems.servicenow_user
        for probe in app.servicenow.probe(items=tuple(app.items), group=group, account=account):
            health = Health.WELL if probe.ok else (Health.WARNING if probe.ok is None else Health.FAULT)
            yield Finding("servicenow", probe.name, health, probe.sentence)
    except (RemoteError, UserError) as error:
        yield Finding("servicenow", "self test", Health.FAULT, str(error))


def _products(app: App) -> Iterator[Finding]:
    """Whether the tenant owns what the configured items can ask for, and whether that proves it."""
    try:
        owned = {sku.sku: sku for sku in app.graph.subscribed_skus()}
    except RemoteError as error:
        yield Finding("products", "seats", Health.FAULT, str(error))
        return
    configured = sorted(app.settings.products)
    for key in configured:
        product = app.catalogue.product(key)
        if product is None:
            continue
        usable = [owned[s] for s in product.candidate_skus if s in owned]
        if not usable:
            wanted = " or ".join(app.catalogue.sku_part_number(s) for s in product.candidate_skus)
            yield Finding("products", key, Health.WARNING, f"the tenant owns none of {wanted}")
            continue
        proving = [s for s in usable if set(product.proof_plans) & set(s.plans)]
        if not proving:
            names = ", ".join(app.catalogue.plan_name(p) for p in product.proof_plans)
            yield Finding("products", key, Health.FAULT, f"{usable[0].part_number} does not contain {names} here")
            continue
        free = sum(s.seats_free for s in proving)
        yield Finding("products", key, Health.WELL, f"{proving[0].part_number}, {free} seats free")


def _grouped(app: App) -> list[tuple[Product, GroupId]]:
    """The configured products that may reach people through a group, with that group as configured."""
    found = []
    for key in sorted(app.settings.products):
        product = app.catalogue.product(key)
        if product is not None:
            names = (product.group if product.path is Path.GROUP else None, product.enabling_group)
            found += [(product, name) for name in names if name is not None]
    return found


def _rules(app: App) -> Iterator[Finding]:
    """Groups that rules name: one that is none, or several, makes every decision that needs it a person's."""
    names = app.settings.rules_for(app.name).group_names()
    if not names:
        return
    try:
        found = named_groups(Belonging(app.graph), names)
    except RemoteError as error:
        yield Finding("rules", "groups", Health.FAULT, str(error))
        return
    for name in names:
        if found[group_key(name)] is not None:
            yield Finding("rules", name, Health.WELL, "a group that rules look into")
        else:
            sentence = f"rules name the group '{name}', and there is no single group of this name that can be read"
            yield Finding("rules", name, Health.FAULT, f"{sentence}; until then a person is asked")


def _groups(app: App) -> Iterator[Finding]:
    """Whether each licence group may be joined: it must grant the licence and nothing else."""
    grouped = _grouped(app)
    if not grouped:
        return
    try:
        read = read_groups(app.graph, {name for _, name in grouped})
        skus = {sku.sku: sku for sku in app.graph.subscribed_skus()}
    except RemoteError as error:
        yield Finding("groups", "licence groups", Health.FAULT, str(error))
        return
    for product, name in grouped:
        yield Finding("groups", product.key, *_licensing(read[name], name, product, skus))
    names = {group.id: group.name for group in read.values() if isinstance(group, ObservedGroup)}
    try:
        broken = sorted(names[group] for group in app.graph.groups_in_error() if group in names)
    except RemoteError as error:
        sentence = f"the directory does not say which groups have members in error: {error}"
        yield Finding("groups", "members", Health.WARNING, sentence)
        return
    if broken:
        yield Finding("groups", "members", Health.WARNING, f"members in licence error: {', '.join(broken)}")


def _licensing(
    found: ObservedGroup | Gone | Unread, name: GroupId, product: Product, skus: Mapping[SkuId, SubscribedSku]
) -> tuple[Health, str]:
    match found:
        case Gone():
            return Health.FAULT, f"the directory has no group {name}; correct it in [products.{product.key}]"
        case Unread(why):
            return Health.FAULT, f"{name} cannot be read: {why}"
        case ObservedGroup() as group:
            why = unusable(group, product, skus)
            if why:
                return Health.WARNING, f"{group.name} is not joined: {why}"
            gives = [skus[g.sku].part_number if g.sku in skus else g.sku for g in group.licenses or ()]
            together = ", all of them or none" if len(gives) > 1 else ""
            return Health.WELL, f"{group.name} grants {' and '.join(gives)}{together}, and nothing else"
