"""The closed sets of label values. A value outside its set is shown as the set's last resort, so nothing grows. Pure.

What differs between installations (tenants, products, a tenant's SKUs) is handed over as a Vocabulary, once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from desired_state.model import Path, Tier
from reconciler.approvals.values import State
from reconciler.causes import Cause
from reconciler.health import CONDITIONS, DEFECT
from reconciler.lifecycle import Phase
from reconciler.line import Lane
from reconciler.model import ActionKind, Result, Verdict
from reconciler.promotion.values import Axis
from reconciler.promotion.values import Outcome as Compared

NONE = "none"  # nothing is wrong, or there is none
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Label:
    """One label: its name, its values, and what is shown for any other value. `values` None: see the Vocabulary."""

    name: str
    values: frozenset[str] | None
    rest: str = OTHER

    def shown(self, value: str, among: Collection[str] | None = None) -> str:
        """The value as it is exported."""
        known = self.values if self.values is not None else among
        return value if known is not None and value in known else self.rest


@dataclass(frozen=True, slots=True)
class Offered:
    """What of a configured product decides which causes can happen to it."""

    path: Path = Path.DIRECT
    tier: Tier = Tier.V2
    is_probed: bool = False


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The names that this installation has. `products` are all catalogue keys, `configured` those that it offers."""

    tenants: tuple[str, ...]
    products: frozenset[str] = frozenset()
    configured: Mapping[str, Offered] = field(default_factory=dict)

    def of(self, label: str) -> Collection[str] | None:
        """The values of an open label; None for one that is taken as it comes (bounded by whoever gives it)."""
        match label:
            case "tenant":
                return self.tenants
            case "product":
                return self.products | {NONE}
        return None


def _closed(name: str, values: Collection[str], rest: str = OTHER) -> Label:
    return Label(name, frozenset(values) | {rest}, rest)


# What a request to a system was about: at most twenty. Names of the clients' operations are told apart by `operation`.
_OPERATIONS: dict[str, tuple[str, ...]] = {
    "users": (
        "users", "users_by_upn", "users_by_employee_id", "user_groups", "transitive_groups", "scan_users",
        "users_delta", "users_hinted",
    ),
    "licenses": ("license_details", "subscribed_skus", "disabled_holders", "licensed_people"),
    "groups": (
        "group", "groups", "groups_by_name", "group_members", "group_parents", "group_app_roles", "groups_in_error",
    ),
    "audits": ("directory_audits",),
    "roles": ("role_holders", "eligible_role_holders", "role_groups"),
    "assign_license": ("assign_license",),
    "set_usage_location": ("set_usage_location",),
    "group_member": ("add_group_member", "remove_group_member"),
    "reprocess": ("reprocess_user",),
    "tickets": (
        "tickets", "touched", "task", "tasks", "changed_tasks", "variables", "multi_rows", "asked", "approvals",
        "questions",
    ),
    "people": ("people", "person_by", "people_named", "managers", "cost_center_owner", "delegates"),
    "lookup": (
        "state_of", "has_note", "find_attachment", "find_task", "approval_history", "impersonations", "probe",
    ),
    "note": ("add_note", "attach", "set_correlation"),
    "task": ("create_task",),
    "close": ("close",),
    "reopen": ("reopen", "reopen_by_script", "reopen_request"),
    "order": ("order",),
    "send": ("post a card", "send"),
    "token": ("token",),
}  # fmt: skip
_OF = {name: group for group, names in _OPERATIONS.items() for name in names}
APIS = ("graph", "servicenow", "teams", "mail", "login")
BY_API: dict[str, tuple[str, ...]] = {
    "graph": (
        "users", "licenses", "groups", "audits", "roles", "assign_license", "set_usage_location", "group_member",
        "reprocess", "people", OTHER,
    ),
    "servicenow": (
        "tickets", "groups", "people", "lookup", "note", "task", "close", "reopen", "order", OTHER,
    ),
    "teams": ("send",),
    "mail": ("send",),
    "login": ("token", OTHER),
}  # fmt: skip


def operation(name: str) -> str:
    """The group of a client's operation."""
    return _OF.get(name, OTHER)


CODES = ("2xx", "3xx", "4xx", "5xx", "lost", "unsent")


def code_class(status: int, *, is_sent: bool = True) -> str:
    """The class of a reply: `lost` when it was sent and no reply came, `unsent` when nothing left this machine."""
    if not is_sent:
        return "unsent"
    return f"{status // 100}xx" if 200 <= status < 600 else "lost"


GUARDS = (
    "kill switch", "freeze", "circuit breaker", "short source", "fighting controllers", "canary", "scope",
    "cycle budget", "day budget", "cost budget", "product budget", "ticket budget", "group budget", "configuration",
    "clock",
)  # fmt: skip


def guard(name: str) -> str:
    """A guard's name as a label value."""
    return name.replace(" ", "_")


CLOSERS = ("human", "flow", "reconciler")
PARTS = ("technical", "seat", "approval")
ANSWER_KINDS = ("note", "task", "reopened", "closed")
ANSWER_RESULTS = ("given", "failed", "stopped")
SOURCES = ("human", "ai", "api")
OUTCOMES = ("filed", "refused", "approved", "rejected", "expired", "cancelled", "void")
CYCLE_RESULTS = ("converged", "drift_left", "guarded", "partly_failed", "failed")
SUCCESSES = frozenset({"converged", "drift_left", "guarded"})
WINDOWS = {"1d": 1, "7d": 7, "30d": 30}
COSTS = ("granted", "idle", "duplicate", "avoided")
SEATS = ("enabled", "consumed", "warning", "suspended", "reserved", "queued")
NOTICES = ("queued", "dead")
MODES = ("observe", "suggest", "enforce")

TENANT = Label("tenant", None)
PRODUCT = Label("product", None)
SKU = Label("sku", None)
PHASE = _closed("phase", [p.value for p in Phase])
CAUSE = _closed("cause", [*(c.value for c in Cause), NONE], Cause.UNKNOWN.value)
VERDICT = _closed("verdict", [v.value for v in Verdict if v is not Verdict.PENDING], Verdict.UNKNOWN.value)
CLOSED_BY = _closed("closed_by", CLOSERS, "human")
WHEN = _closed("when", ("at_close", "later"), "later")
PATH = _closed("path", [p.value for p in Path], NONE)
PART = _closed("part", PARTS, "technical")
TIER = _closed("tier", [t.value for t in Tier], NONE)
ACTION = _closed("kind", [k.value for k in ActionKind])
RESULT = _closed("result", [r.value for r in Result], "failed")
MODE = _closed("mode", MODES, "observe")
BUDGET = _closed("budget", [lane.value for lane in Lane] + ["cost"])
GUARD = _closed("guard", [guard(name) for name in GUARDS])
STATE = _closed("state", [s.value for s in State if s is not State.DRAFT])
SEAT_KIND = _closed("kind", SEATS)
WINDOW = _closed("window", tuple(WINDOWS), "30d")
COST_KIND = _closed("kind", COSTS)
SOURCE = _closed("source", SOURCES, "human")
OUTCOME = _closed("outcome", OUTCOMES, "void")
AXIS = _closed("axis", [a.value for a in Axis], Axis.MODE.value)
COMPARED = _closed("outcome", [o.value for o in Compared if o is not Compared.WAITING], Compared.CANNOT_TELL.value)
CYCLE_RESULT = _closed("result", CYCLE_RESULTS, "failed")
API = _closed("api", APIS)
OPERATION = _closed("operation", _OPERATIONS)
CODE = _closed("code", CODES, "lost")
ANSWER = _closed("kind", ANSWER_KINDS, "note")
ANSWER_RESULT = _closed("result", ANSWER_RESULTS, "failed")
NOTICE = _closed("state", NOTICES, "queued")
CONDITION = _closed("condition", CONDITIONS, DEFECT)
