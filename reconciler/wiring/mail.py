"""How mail goes out, from the configuration. Contacts nobody."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from desired_state.text import is_address
from reconciler.cards.telling import Mails, Ways
from reconciler.clients.auth import EntraTokens
from reconciler.clients.auth.watch import Watch, unwatched
from reconciler.clients.mail import Account, Mailer, PasswordAccount, Server, TokenAccount
from reconciler.clients.wire import Exchange
from reconciler.config.model import Notify
from reconciler.loop.mailing import Mailing
from reconciler.store.database import Database
from reconciler.wiring.systems import Systems


def mails(own: Notify) -> Mails:
    """Who is reached by mail."""
    people = {upn.lower(): reader.address for upn, reader in own.people.items() if reader.address}
    domains = own.mail_domains or (own.mail_from.rpartition("@")[2],)

    def address_of(upn: str) -> str:
        """A listed address; else the sign-in name, where it is an address of a domain that is written to."""
        name = upn.strip().lower()
        if name in people:
            return people[name]
        return name if is_address(name) and name.rpartition("@")[2] in domains else ""

    return Mails(
        address_of,
        own.mail_to,
        own.mail_admins,
        people=own.mail_people != "never",
        beside_chats=own.mail_people == "always",
        requesters=own.mail_requesters,
    )


def mailing(
    own: Notify,
    name: str,
    systems: Systems,
    database: Database,
    ways: Ways,
    *,
    rng: random.Random,
    on_exchange: Callable[[Exchange], None] | None = None,
    watch: Watch = unwatched,
) -> Mailing:
    """The tenant's way out."""
    server = Server(own.smtp_host, own.smtp_port, own.smtp_ca_file, is_plain=own.smtp_tls == "none")
    mailer = Mailer(server, systems.clock, _account(own, systems, watch), on_exchange)
    return Mailing(name, database, systems.clock, rng, ways, mailer, own.mail_from, own.mail_every)


def _account(own: Notify, systems: Systems, watch: Watch) -> Account | None:
    match own.smtp_auth:
        case "password":
            return PasswordAccount(own.smtp_user, own.read_smtp_password)
        case "xoauth2":
            return TokenAccount(own.smtp_user, _Tokens(systems, own.smtp_scope, watch))
    return None


@dataclass(slots=True)
class _Tokens:
    """The application's tokens for the mail service; its credential is read when the first one is asked for."""

    systems: Systems
    scope: str
    watch: Watch
    made: EntraTokens | None = field(default=None, init=False)

    def token(self) -> str:
        if self.made is None:
            s = self.systems
            self.made = EntraTokens(
                s.authority,
                s.tenant_id,
                s.client_id,
                s.credential(),
                s.graph_http,
                scope=self.scope,
                watch=self.watch,
            )
        return self.made.token()

    def fresh(self) -> bool:
        return self.made is not None and self.made.fresh()
