"""Everything that can be configured, as one frozen value. What each key means is told in config.toml beside it.

Parts of the program take the section that they need, never all of it. Nothing here reads a file or the environment.
"""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from desired_state.catalogue import Catalogue, load_builtin
from desired_state.items import Item
from desired_state.overlays import ProductOverlay
from desired_state.rules import Rule, Rules
from reconciler.config.secrets import read_secret
from reconciler.config.tenants import Tenant
from reconciler.config.values import (
    Address,
    CollectorUrl,
    Domain,
    File,
    HostName,
    Hours,
    HttpsUrl,
    KeyName,
    Network,
    Place,
    Port,
    Section,
    ServerName,
    Span,
    Zone,
)


class Store(Section):
    """Where our own rows are. "" is the embedded store, reconciler.db in the state folder."""

    url: str = ""  # postgresql+psycopg://host/database; a password comes from url_file
    url_file: File | None = None

    def read_url(self) -> SecretStr | None:
        """The address with its password, None for the embedded store."""
        if self.url_file is None and not self.url:
            return None
        return read_secret(SecretStr(self.url) if self.url else None, self.url_file, what="store.url")


class Schedule(Section):
    """When the service looks."""

    every: Span = timedelta(minutes=5)  # from the end of one cycle to the start of the next
    pull_every: Span = timedelta(minutes=1)  # between cycles: has a ticket moved? Then a cycle runs at once
    full_scan_every: Span = timedelta(hours=6)  # tickets and users read whole, whatever the watermarks say
    first_cycle_after: Span | None = None  # of a start, so that Prometheus has seen every counter at 0; None: at once
    wake_token: SecretStr | None = None  # whoever has it may say that tickets moved; it opens nothing else
    wake_token_file: File | None = None

    def read_wake_token(self) -> SecretStr | None:
        """The token, None when nobody may wake the service."""
        if self.wake_token is None and self.wake_token_file is None:
            return None
        return read_secret(self.wake_token, self.wake_token_file, what="schedule.wake_token")


class Web(Section):
    """The pages and metrics of `reconciler run`."""

    host: str = "127.0.0.1"
    port: Port = 8080
    public_url: HttpsUrl | None = None  # what approvers' browsers reach; links in cards and tickets start with it
    tls_certificate_file: File | None = None
    tls_key_file: File | None = None
    proxies: tuple[Network, ...] = ()  # whose X-Forwarded-For is believed; nobody else's
    open_to: tuple[Network, ...] = ()  # from where the open pages are read without sign-in
    open_pages: tuple[Literal["board", "tickets", "seats", "guards"], ...] = ("board", "seats")

    @model_validator(mode="after")
    def _has_both_halves(self) -> Web:
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_certificate_file and tls_key_file belong together; set both or neither")
        return self


class Chat(Section):
    """The flow that posts into one person's own chat."""

    webhook_file: File

    def read_webhook(self) -> SecretStr:
        return read_secret(None, self.webhook_file, what="a webhook of notify.chats")


class Reader(Section):
    """What differs from the rule for one person who is told."""

    address: Address = ""  # "": the sign-in name is the address
    timezone: Zone | None = None  # None: the tenant's


class Notify(Section):
    """Who is told. A webhook address is a secret: whoever has it can post."""

    teams_webhook: SecretStr | None = None  # the service desk's channel
    teams_webhook_file: File | None = None
    chats: dict[str, Chat] = Field(default_factory=dict)  # sign-in name -> the flow to that person's chat
    teams_hosts: tuple[HostName, ...] = ()  # that may be posted to, beside Microsoft's
    teams_ca_file: File | None = None
    quiet_hours: Hours = ""  # of the tenant's day: nobody is reminded
    smtp_host: ServerName = ""
    smtp_port: Port = 587
    smtp_tls: Literal["starttls", "none"] = "starttls"
    smtp_ca_file: File | None = None
    smtp_auth: Literal["none", "password", "xoauth2"] = "none"
    smtp_user: str = ""
    smtp_password: SecretStr | None = None
    smtp_password_file: File | None = None
    smtp_scope: Annotated[str, Field(pattern=r"^https://[!-~]+/\.default$")] = "https://outlook.office365.com/.default"
    mail_from: Address = ""
    mail_to: tuple[Address, ...] = ()  # the service desk
    mail_admins: tuple[Address, ...] = ()  # (): the service desk is told what they would be
    mail_domains: tuple[Domain, ...] = ()  # to which people are written; (): the sender's own
    mail_people: Literal["without-chat", "always", "never"] = "without-chat"
    mail_requesters: bool = False
    mail_every: Span = timedelta(minutes=10)
    people: dict[str, Reader] = Field(default_factory=dict)  # sign-in name -> what differs

    @model_validator(mode="after")
    def _can_mail(self) -> Notify:
        if not self.smtp_host:
            return self
        if not self.mail_from:
            raise ValueError("mail needs mail_from: the address that it comes from")
        if self.smtp_auth != "none" and self.smtp_tls == "none":
            raise ValueError("smtp_auth is never used without TLS; set smtp_tls to 'starttls' or smtp_auth to 'none'")
        if self.smtp_auth != "none" and not self.smtp_user:
            raise ValueError("smtp_auth needs smtp_user: the mailbox that signs in")
        if self.smtp_auth == "password" and self.smtp_password is None and self.smtp_password_file is None:
            raise ValueError("smtp_auth = 'password' needs smtp_password_file")
        return self

    def read_smtp_password(self) -> SecretStr:
        return read_secret(self.smtp_password, self.smtp_password_file, what="notify.smtp_password")

    @property
    def reaches_anybody(self) -> bool:
        return self.reaches_teams or bool(self.smtp_host)

    @property
    def reaches_teams(self) -> bool:
        return self.teams_webhook is not None or self.teams_webhook_file is not None or bool(self.chats)

    def read_teams_webhook(self) -> SecretStr | None:
        """The address, None when Teams is not told anything."""
        if self.teams_webhook is None and self.teams_webhook_file is None:
            return None
        return read_secret(self.teams_webhook, self.teams_webhook_file, what="notify.teams_webhook")


class Audit(Section):
    """The account of everything that was done (approvals.md section 6)."""

    key_file: File | None = None  # signs checkpoints; None: one is made in the state folder
    checkpoint_every: Span = timedelta(minutes=15)
    checkpoint_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    checkpoint_copy: File | None = None  # heads are also appended here; a loss of rows is provable up to the last one
    sinks: tuple[Place, ...] = ()  # second places for the whole log
    sink_ca_file: File | None = None  # who vouches for the syslog collectors; None: the system's own authorities
    sink_policy: Literal["local-only", "strict"] = "local-only"
    head_before_price: Annotated[Decimal, Field(ge=0)] = Decimal(
        50
    )  # a month; a signed head goes out before such a write
    persons: Literal["plain", "pseudonym"] = "plain"
    persons_key_file: File | None = None  # None: one is made in the state folder when persons are pseudonyms
    keep_decisions: Span = timedelta(days=2557)
    keep_views: Span = timedelta(days=400)
    legal_hold: str = ""  # why nothing may be removed or erased; "" when it may


class Logging(Section):
    """The log of the service, on standard error, and traces for whoever collects them."""

    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"
    traces: CollectorUrl | None = None  # an OTLP endpoint over HTTP; needs the extra [otel]


class Sandbox(Section):
    """The embedded twin of both remote systems."""

    seed: int = 1
    speed: Annotated[float, Field(ge=0, le=100_000)] = 1.0  # under `run`: sandbox seconds per second, 0 stands still
    group_processing: Span = timedelta(minutes=10)  # from membership to licence
    faults: bool = False


class Settings(BaseSettings):
    """The effective configuration. `source` names the file it came from, for messages."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, env_prefix="RECONCILER_")

    source: str = ""
    state_dir: Path = Path("var")
    store: Store = Store()
    schedule: Schedule = Schedule()
    web: Web = Web()
    notify: Notify = Notify()
    audit: Audit = Audit()
    log: Logging = Logging()
    sandbox: Sandbox = Sandbox()
    tenants: dict[KeyName, Tenant] = Field(default_factory=dict)
    products: dict[KeyName, ProductOverlay] = Field(default_factory=dict)
    items: tuple[Item, ...] = ()
    rules: tuple[Rule, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 (the library's signature)
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` hands over: a value made in a test or a tool never reads the machine's environment."""
        return (init_settings,)

    def catalogue(self) -> Catalogue:
        """The built-in products with this site's changes."""
        return load_builtin().overlay(self.products)

    def items_for(self, tenant: str) -> tuple[Item, ...]:
        return tuple(item for item in self.items if not item.tenants or tenant in item.tenants)

    def rules_for(self, tenant: str) -> Rules:
        return Rules(rules=self.rules).for_tenant(tenant)

    def digest(self) -> str:
        """SHA-256 over the canonical JSON of everything that decides what is done, without secrets and places."""
        plain = self.model_dump(mode="json", exclude={"state_dir", "source"})
        text = json.dumps(_without_secrets(plain, self), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def _without_secrets(plain: Any, value: Any) -> Any:
    """The dumped value with every SecretStr gone: a digest must not change when a secret is rotated."""
    if isinstance(value, BaseSettings | Section):
        kept = {name: getattr(value, name) for name in type(value).model_fields if name in plain}
        return {
            name: _without_secrets(plain[name], inner)
            for name, inner in kept.items()
            if not isinstance(inner, SecretStr)
        }
    if isinstance(value, dict):
        return {key: _without_secrets(plain[key], inner) for key, inner in value.items()}
    return plain
