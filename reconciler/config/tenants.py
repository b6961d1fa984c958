"""`[tenants.NAME]`: one directory and one ServiceNow instance, and what may be done to them."""

from __future__ import annotations

import re
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from desired_state.rules import StageName
from desired_state.says import TicketWords
from reconciler.allowance import Allowance
from reconciler.causes import Owner
from reconciler.config.promotion import Promotion
from reconciler.config.secrets import read_secret
from reconciler.config.values import (
    WEEKDAYS,
    Allowed,
    Count,
    Country,
    File,
    Guid,
    HttpsUrl,
    KeyName,
    Lowered,
    Money,
    Section,
    Share,
    Since,
    Span,
    WallTime,
    Weekdays,
    Zone,
)

ChannelName = Literal["page", "servicenow"]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Mode = Literal["observe", "suggest", "enforce"]
Answers = Literal["silent", "note", "task", "full"]
_WORDS = TicketWords()
_OWNERS = tuple(owner.value for owner in Owner if owner is not Owner.RECONCILER)

# graph.md section 12
_CLOUDS = {
    "global": ("https://graph.microsoft.com", "https://login.microsoftonline.com"),
    "usgov_l4": ("https://graph.microsoft.us", "https://login.microsoftonline.us"),
    "usgov_l5": ("https://dod-graph.microsoft.us", "https://login.microsoftonline.us"),
    "china": ("https://microsoftgraph.chinacloudapi.cn", "https://login.partner.microsoftonline.cn"),
}


def _owner(name: str) -> str:
    if name not in _OWNERS:
        raise ValueError(f"is no owner; the owners are {', '.join(_OWNERS)}")
    return name


def _api_path(path: str) -> str:
    if path and not re.fullmatch(r"/api/[A-Za-z0-9_./-]+", path):
        raise ValueError('is a path on the instance, such as "/api/x_acme/licences/reopen"')
    return path


OwnerName = Annotated[str, AfterValidator(_owner)]
ApiPath = Annotated[str, AfterValidator(_api_path)]


def _ordered(words: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted(words))


class ServiceNow(Section):
    """Where tickets come from, how we sign in there, and the words that this instance uses."""

    instance: HttpsUrl | None = None
    auth: Literal["oauth", "basic", "api_key"] = "oauth"
    client_id: str = ""
    client_secret: SecretStr | None = None
    client_secret_file: File | None = None
    username: str = ""
    password: SecretStr | None = None
    password_file: File | None = None
    api_key: SecretStr | None = None
    api_key_file: File | None = None
    credential_expires: date | None = None  # of whatever is used to sign in there
    our_groups: tuple[str, ...] = ()  # names of the groups whose tasks are ours
    agents: tuple[str, ...] = ()  # user names of integration and agent accounts: what they order is a proposal
    queues: dict[OwnerName, str] = Field(default_factory=dict)  # owner -> name of the group that gets its tasks
    reopen_path: ApiPath = ""  # the instance's own endpoint for reopening a ticket
    reopened_stage: str = ""  # stage of a ticket that is opened again; "" leaves it as it is
    reopened_request_state: str = ""  # request_state of the request above it; "" leaves it as it is
    country_field: str = "country"  # of sys_user
    page_size: Annotated[int, Field(ge=1, le=10_000)] = 1000  # tickets at once, at most
    requests_per_hour: Annotated[int, Field(ge=0, le=10_000_000)] = 0  # that the instance may get of us; 0: any number
    ca_file: File | None = None
    open_states: Lowered = _ordered(_WORDS.open_states)
    complete_states: Lowered = _ordered(_WORDS.complete_states)
    ended_states: Lowered = _ordered(_WORDS.ended_states)
    cancelled_stages: Lowered = _ordered(_WORDS.cancelled_stages)
    completed_stages: Lowered = _ordered(_WORDS.completed_stages)

    @model_validator(mode="after")
    def _a_state_means_one_thing(self) -> ServiceNow:
        states = [*self.open_states, *self.complete_states, *self.ended_states]
        twice = sorted({state for state in states if states.count(state) > 1})
        if twice:
            raise ValueError(f"state '{twice[0]}' is in two of open_states, complete_states and ended_states")
        return self

    def words(self) -> TicketWords:
        return TicketWords(
            open_states=frozenset(self.open_states),
            complete_states=frozenset(self.complete_states),
            ended_states=frozenset(self.ended_states),
            cancelled_stages=frozenset(self.cancelled_stages),
            completed_stages=frozenset(self.completed_stages),
        )

    def read_client_secret(self) -> SecretStr:
        return read_secret(self.client_secret, self.client_secret_file, what="servicenow.client_secret")

    def read_password(self) -> SecretStr:
        return read_secret(self.password, self.password_file, what="servicenow.password")

    def read_api_key(self) -> SecretStr:
        return read_secret(self.api_key, self.api_key_file, what="servicenow.api_key")

    def lacks(self) -> str:
        """What is missing to sign in, in words; "" when nothing is."""
        if self.instance is None:
            return 'instance = "https://NAME.service-now.com"'
        if self.auth == "api_key":
            return "" if self.api_key or self.api_key_file else "api_key_file"
        if self.auth == "basic":
            has_password = self.password or self.password_file
            return "" if self.username and has_password else "username and password_file"
        return (
            ""
            if self.client_id and (self.client_secret or self.client_secret_file)
            else ("client_id and client_secret_file")
        )


class Graph(Section):
    """Which directory, in which cloud, and as which application. Exactly one proof of identity."""

    tenant_id: Guid | None = None
    client_id: Guid | None = None
    client_secret: SecretStr | None = None
    client_secret_file: File | None = None
    certificate_file: File | None = None  # PEM with private key and certificate
    credential_expires: date | None = None  # of a client secret, which does not tell; a certificate does
    federated_token_file: File | None = None  # workload identity; read anew each time, it rotates
    managed_identity: bool = False  # system-assigned, or user-assigned when client_id is set
    cloud: Literal["global", "usgov_l4", "usgov_l5", "china"] = "global"
    base_url: HttpsUrl | None = None
    authority: HttpsUrl | None = None
    ca_file: File | None = None
    resource_units: Annotated[int, Field(ge=100, le=8000)] = 3500  # per 10 s, of our application in this directory

    @model_validator(mode="after")
    def _has_one_proof(self) -> Graph:
        proofs = {
            "client_secret_file": self.client_secret_file,
            "client_secret": self.client_secret,
            "certificate_file": self.certificate_file,
            "federated_token_file": self.federated_token_file,
            "managed_identity": self.managed_identity or None,
        }
        given = [name for name, value in proofs.items() if value is not None]
        if len(given) > 1:
            raise ValueError(f"only one of {' and '.join(given)} can be used")
        if (self.base_url is None) != (self.authority is None):
            raise ValueError("base_url and authority belong together; set both or neither")
        return self

    def endpoints(self) -> tuple[str, str]:
        """Base address of Graph and of the authority."""
        if self.base_url and self.authority:
            return self.base_url, self.authority
        return _CLOUDS[self.cloud]

    def read_client_secret(self) -> SecretStr:
        return read_secret(self.client_secret, self.client_secret_file, what="graph.client_secret")

    def read_certificate(self) -> SecretStr:
        return read_secret(None, self.certificate_file, what="graph.certificate_file")

    def lacks(self) -> str:
        """What is missing to sign in, in words; "" when nothing is."""
        if self.tenant_id is None:
            return "tenant_id"
        if self.managed_identity:
            return ""
        proofs = (self.client_secret, self.client_secret_file, self.certificate_file, self.federated_token_file)
        if self.client_id is None or not any(proofs):
            return "client_id and one of certificate_file, client_secret_file, federated_token_file, managed_identity"
        return ""


class Keys(Section):
    """Keys of this tenant alone, where it does not use the installation's (`[audit]`)."""

    audit_file: File | None = None  # signs its checkpoints: Ed25519, PEM
    persons_file: File | None = None  # 32 random bytes: puts its persons behind signs


class FreezeWindow(Section):
    """A weekly window in which nothing is written ("deny"), or outside of which nothing is ("allow")."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    days: Weekdays = WEEKDAYS
    at: WallTime = time(0, 0)  # on the wall of its time zone
    lasts: Span  # real hours, over a change of the clocks too
    timezone: Zone | None = None  # None: the tenant's
    lanes: tuple[Literal["grants", "removals", "usage_locations", "answers"], ...] = ()  # empty: all
    kind: Literal["deny", "allow"] = "deny"
    reason: str = ""

    @model_validator(mode="after")
    def _is_no_more_than_a_week(self) -> FreezeWindow:
        if not timedelta(0) < self.lasts <= timedelta(days=7):
            raise ValueError("lasts is more than nothing and at most a week")
        return self


class ProductBudget(Section):
    """How much may change because of one product, beside what its lanes may. What is left out is not limited."""

    grants_per_cycle: Allowed | None = None
    grants_per_day: Allowed | None = None
    removals_per_cycle: Allowed | None = None
    removals_per_day: Allowed | None = None
    cost_per_cycle: Money | None = None
    cost_per_day: Money | None = None


TicketPriority = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,40}$")]  # as the instance stores it, not as it shows it


class Guards(Section):
    """Who is in scope, and how much may change. A deny list wins over an allow list; empty allow lists allow nobody."""

    allow_groups: tuple[str, ...] = ()  # object ids or names; everyone in them, through groups in groups as well
    allow_domains: Lowered = ()  # of sign-in names; "*" is everybody in the directory
    allow_users: Lowered = ()  # sign-in names or object ids
    deny_groups: tuple[str, ...] = ()
    deny_domains: Lowered = ()
    deny_users: Lowered = ()  # as allow_users; * stands for any text
    break_glass: Lowered = ()  # emergency accounts
    shared_accounts: Lowered = ()  # of mailboxes, rooms and machines; * stands for any text
    mailbox_purpose: Literal["off", "where_readable", "required"] = "where_readable"  # of whoever would be written to
    deny_role_holders: bool = True  # who holds an administrator role is never changed
    countries: tuple[Country, ...] = ()  # usage locations that may be set; empty: any
    grants_per_cycle: Allowed = Allowance(50, Decimal(10), 250)
    grants_per_day: Allowed = Allowance(50, Decimal(10), 250)
    removals_per_cycle: Allowed = Allowance(5, Decimal(2), 50)
    removals_per_day: Allowed = Allowance(5, Decimal(2), 50)
    usage_locations_per_cycle: Allowed = Allowance(50, Decimal(10), 250)
    usage_locations_per_day: Allowed = Allowance(50, Decimal(10), 250)
    cost_per_cycle: Money = Decimal(2500)  # what one cycle may add a month, in the currency of the prices
    cost_per_day: Money = Decimal(5000)
    products: dict[KeyName, ProductBudget] = Field(default_factory=dict)  # budgets of single products, by key
    stale_after: Span = timedelta(minutes=30)  # what was read longer ago carries no removal
    breaker_pause: Span = timedelta(minutes=15)  # how long an open circuit breaker keeps everything back
    flip_window: Span = timedelta(days=7)  # within it, what others turn back twice is not set a third time
    clock_tolerance: Annotated[Span, Field(ge=timedelta(minutes=1))] = timedelta(minutes=5)  # of ours, against theirs
    second_person: bool = False  # in mode enforce, lifting the kill switch takes two people
    freezes: tuple[FreezeWindow, ...] = ()
    answers_per_cycle: Count = 20
    answers_per_day: Count = 20
    answers_per_group: Count = 5
    answers_per_ticket_per_day: Count = 4
    held_tickets: dict[str, str] = Field(default_factory=dict)  # number -> reason
    use_grace_seats: bool = False  # whether units of an expired subscription in its grace period may be assigned
    priorities: dict[str, str] = Field(default_factory=dict)  # number -> reason
    urgent_priorities: tuple[TicketPriority, ...] = ()  # values of `priority` in ServiceNow that make a ticket urgent

    @model_validator(mode="after")
    def _a_priority_has_a_reason(self) -> Guards:
        for number in (number for number, reason in self.priorities.items() if not reason.strip()):
            raise ValueError(f'priorities: {number} needs a reason, as {number} = "who decided it, and why"')
        return self


class StageSettings(Section):
    """One stage of approvals, where it differs from what `[tenants.NAME.approvals]` says for all of them."""

    resolver: Literal["", "manager", "cost_center_owner", "group", "named"] = ""  # "": by the stage's name
    group: str = ""  # of the directory, object id or name: its members are asked
    quorum: Annotated[int, Field(ge=1, le=9)] = 1
    fallback: Lowered = ()
    escalate_to: Lowered = ()
    channels: tuple[ChannelName, ...] | None = None
    assurance: Literal["low", "medium", "strong"] = "low"
    accepts_ticket_approval: bool = True
    needs_comment: bool = False
    escalate_after: Span | None = None
    expire_after: Span | None = None

    @model_validator(mode="after")
    def _a_group_has_a_name(self) -> StageSettings:
        if self.resolver == "group" and not self.group:
            raise ValueError('resolver = "group" needs group = "its name or object id"')
        return self


class Approvals(Section):
    """Who may approve what, and for how long an approval holds (approvals.md section 4)."""

    approvers: dict[StageName, Lowered] = Field(default_factory=dict)  # stage -> sign-in names
    stages: dict[StageName, StageSettings] = Field(default_factory=dict)
    fallback: Lowered = ()  # asked when a stage has nobody
    service_desk: Lowered = ()  # asked when the fallback has nobody either
    escalate_to: Lowered = ()  # come in when nobody answers; the first ones may still act
    accept_configuration: Lowered = ()  # who may accept a configuration that allows more
    break_glass_signers: Lowered = ()  # who may decide from the terminal, two of them together; empty: nobody
    allowed_signers_file: File | None = None  # the SSH keys of those people, as ssh-keygen has it
    proposals: Annotated[tuple[StageName, ...], Field(min_length=1)] = ("manager",)  # who decides what software orders
    questions: Annotated[tuple[StageName, ...], Field(min_length=1)] = ("license_admin",)  # and all else without a rule
    channels: tuple[ChannelName, ...] = ("page", "servicenow")
    opener_may_approve: bool = False
    delegate_at_most: Annotated[Span, Field(gt=timedelta(0))] = timedelta(
        days=30
    )  # how long who is away is stood in for
    recent_config_change: Span | None = timedelta(days=7)  # whoever changed the configuration waits this long
    void_on_lost_role: bool = True
    comment_min: Annotated[int, Field(ge=1, le=500)] = 10
    remind_percent: tuple[Annotated[int, Field(ge=1, le=99)], ...] = (25, 75)
    escalate_after: Span = timedelta(days=2)
    expire_after: Span = timedelta(days=5)
    valid_for: Span = timedelta(hours=24)
    working_days: tuple[Weekday, ...] = ()  # (): every day counts
    holidays: tuple[date, ...] = ()

    @model_validator(mode="after")
    def _clocks_are_in_order(self) -> Approvals:
        pairs = [(self.escalate_after, self.expire_after)]
        pairs += [
            (s.escalate_after or self.escalate_after, s.expire_after or self.expire_after) for s in self.stages.values()
        ]
        if any(escalate > expire for escalate, expire in pairs):
            raise ValueError("escalate_after and expire_after have to grow in this order")
        return self

    @model_validator(mode="after")
    def _holidays_need_working_days(self) -> Approvals:
        if self.holidays and not self.working_days:
            raise ValueError('holidays count only beside working_days, as ["mon", "tue", "wed", "thu", "fri"]')
        return self


class SignIn(Section):
    """How people sign in to the pages. Without a client_id of its own, the registration of [graph] is used."""

    client_id: Guid | None = None
    client_secret: SecretStr | None = None
    client_secret_file: File | None = None
    certificate_file: File | None = None  # PEM with private key and certificate
    credential_expires: date | None = None  # of a client secret, which does not tell
    guests: bool = False  # whether guest accounts of the directory are let in
    fresh_within: Span | None = None  # a dear decision needs credentials given this recently; None: never asked for
    fresh_above: Annotated[Decimal, Field(ge=0)] = Decimal(0)  # from which monthly cost a decision is dear

    @model_validator(mode="after")
    def _has_one_proof(self) -> SignIn:
        proofs = (self.client_secret, self.client_secret_file, self.certificate_file)
        count = sum(1 for proof in proofs if proof is not None)
        if count != (1 if self.client_id else 0):
            raise ValueError(
                "client_id and one of client_secret_file and certificate_file belong together; set both or neither"
            )
        return self

    def read_client_secret(self) -> SecretStr:
        return read_secret(self.client_secret, self.client_secret_file, what="sign_in.client_secret")

    def read_certificate(self) -> SecretStr:
        return read_secret(None, self.certificate_file, what="sign_in.certificate_file")


class Tenant(Section):
    """One tenant. A new one observes and says nothing."""

    mode: Mode = "observe"
    answers: Answers = "silent"
    enforce_share: Share = Decimal(1)  # in mode enforce: of the people, the same ones for every product
    sandbox: bool = False  # both remote systems are the embedded ones
    act_on_tickets_since: Since | None = None  # None: since this tenant left observe
    act_max_age: Span = timedelta(days=30)
    user_sync_window: Span = timedelta(days=3)
    directory_sync: Span = timedelta(minutes=45)  # one cycle of the on-premises sync
    retry_window: Span = timedelta(hours=24)
    watch: Span = timedelta(minutes=2)  # how long one cycle watches a direct assignment arrive
    timezone: Zone = "UTC"
    servicenow: ServiceNow = ServiceNow()
    graph: Graph = Graph()
    guards: Guards = Guards()
    approvals: Approvals = Approvals()
    sign_in: SignIn = SignIn()
    promotion: Promotion = Promotion()
    keys: Keys = Keys()

    @model_validator(mode="after")
    def _can_sign_in(self) -> Tenant:
        if self.sandbox:
            given = {"servicenow.instance": self.servicenow.instance, "graph.tenant_id": self.graph.tenant_id}
            for name in (name for name, value in given.items() if value):
                raise ValueError(f"sandbox = true brings its own systems; remove {name}, or set sandbox = false")
            return self
        for name, lacks in (("servicenow", self.servicenow.lacks()), ("graph", self.graph.lacks())):
            if lacks:
                raise ValueError(f'mode "{self.mode}" needs credentials, and the section {name} lacks {lacks}')
        return self
