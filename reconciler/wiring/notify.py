"""How a tenant's people are told, from its configuration; in the sandbox, by the flows that it has."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import time
from zoneinfo import ZoneInfo

import httpx
from pydantic import SecretStr

from reconciler.cards.links import Links
from reconciler.cards.telling import DESK, PERSON, Ways
from reconciler.clients.auth.watch import Watch, unwatched
from reconciler.clients.teams import Teams
from reconciler.clients.wire import Exchange
from reconciler.config import Settings
from reconciler.config.model import Notify
from reconciler.errors import UserError
from reconciler.loop.notify import Notifier, Quiet
from reconciler.sandbox.teams import flow_address
from reconciler.store.database import Database
from reconciler.web.trust import public_base
from reconciler.wiring.configured import zone_named
from reconciler.wiring.mail import mailing, mails
from reconciler.wiring.systems import Systems

AddressOf = Callable[[str], SecretStr | None]


def notifier(
    settings: Settings,
    name: str,
    systems: Systems,
    database: Database,
    *,
    rng: random.Random,
    port: int | None,
    on_exchange: Callable[[Exchange], None] | None = None,
    watch: Watch = unwatched,
) -> Notifier | None:
    """How people of this tenant are told, None where nothing is configured. Contacts nobody."""
    web, tenant, own = settings.web, settings.tenants[name], settings.notify
    if systems.teams_http is None or not (own.reaches_anybody or systems.teams_base):
        return None
    public = public_base(web.public_url, web.host, port or web.port, is_tls=web.tls_certificate_file is not None)
    hosts = own.teams_hosts
    if own.reaches_teams or not systems.teams_base:
        address_of, has_chat, has_desk = _configured(own)
    else:
        address_of, has_chat, has_desk = _sandbox(systems.teams_base, systems.teams_http, settings.sandbox.seed)
        hosts = (systems.teams_base.removeprefix("https://"), *hosts)
    try:
        links = Links(public, systems.servicenow_base)
    except ValueError as error:
        raise UserError(f"{settings.source}: cards cannot link to {public}: {error}; set web.public_url") from None
    ways = Ways(links, has_desk, has_chat, mails(own) if own.smtp_host else None)
    teams = Teams(systems.teams_http(), systems.clock, rng, hosts=hosts, on_exchange=on_exchange)
    quiet = _quiet(own.quiet_hours, tenant.timezone)
    post = None
    if own.smtp_host:
        post = mailing(own, name, systems, database, ways, rng=rng, on_exchange=on_exchange, watch=watch)
    zones = {f"{PERSON}{upn.lower()}": ZoneInfo(r.timezone) for upn, r in own.people.items() if r.timezone}
    return Notifier(name, database, systems.clock, rng, ways, teams, address_of, quiet, post, zones)


def _configured(own: Notify) -> tuple[AddressOf, Callable[[str], bool], bool]:
    chats = {upn.lower(): chat for upn, chat in own.chats.items()}
    has_desk = own.teams_webhook is not None or own.teams_webhook_file is not None

    def address_of(recipient: str) -> SecretStr | None:
        if recipient == DESK:
            return own.read_teams_webhook()
        chat = chats.get(recipient.removeprefix(PERSON))
        return chat.read_webhook() if chat is not None else None

    return address_of, lambda upn: upn.lower() in chats, has_desk


def _sandbox(base: str, http: Callable[[], httpx.Client], seed: int) -> tuple[AddressOf, Callable[[str], bool], bool]:
    """Every person whom the sandbox's Teams has a chat flow for, and the service desk's channel."""

    known: dict[str, SecretStr] = {}

    def chats() -> dict[str, SecretStr]:
        if not known:
            known.update(asked())
        return known

    def asked() -> dict[str, SecretStr]:
        try:
            flows = http().get(f"{base}/flows").raise_for_status().json()["value"]
        except httpx.HTTPError:  # nobody is reached for now; no decision waits for that
            return {}
        return {f["flow_id"].removeprefix("chat-"): SecretStr(f["url"]) for f in flows if f["kind"] == "chat"}

    def user_name(upn: str) -> str:  # the sandbox names such a flow after it
        return upn.lower().partition("@")[0]

    def address_of(recipient: str) -> SecretStr | None:
        if recipient == DESK:
            return SecretStr(flow_address(base, "desk", seed=seed))
        return chats().get(user_name(recipient.removeprefix(PERSON)))

    return address_of, lambda upn: user_name(upn) in chats(), True


def _quiet(hours: str, zone: str) -> Quiet | None:
    if not hours:
        return None
    begins, ends = (time.fromisoformat(part) for part in hours.split("-"))
    return Quiet(begins, ends, zone_named(zone))
