"""Every series that is exported: the only place where their names, labels, help and buckets exist. Pure.

`metrics.md` of the design is the contract. A counter or histogram counts events of this process; a gauge is a state.
What is `stored` is read from the store at each scrape, by `reconciler.inventory`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from reconciler.metrics import labels as lab


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Series:
    """One family. `is_health`: keeps its tenant label however many tenants there are; gauges always do."""

    name: str
    kind: Kind
    labels: tuple[lab.Label, ...]
    help: str
    buckets: tuple[float, ...] = ()
    is_health: bool = False
    is_stored: bool = False

    def named(self, *, many_tenants: bool) -> tuple[lab.Label, ...]:
        """The labels that are exported: above twenty tenants only gauges and health tell tenants apart."""
        if self.kind is Kind.GAUGE or self.is_health or not many_tenants:
            return self.labels
        return tuple(label for label in self.labels if label is not lab.TENANT)


TENANTS_MAX = 20  # more than that, and counters and histograms are of all tenants together
_M, _H, _D = 60.0, 3600.0, 86_400.0
WAITS = (_M, 5 * _M, 15 * _M, _H, 4 * _H, 8 * _H, _D, 2 * _D, 5 * _D, 14 * _D, 30 * _D)  # of people
REQUESTS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
CYCLES = (0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)


def _counter(name: str, *labels: lab.Label, help: str, is_health: bool = False) -> Series:
    return Series(name, Kind.COUNTER, labels, help, is_health=is_health)


def _gauge(name: str, *labels: lab.Label, help: str) -> Series:
    return Series(name, Kind.GAUGE, labels, help)


def _stored(name: str, *labels: lab.Label, help: str) -> Series:
    return Series(name, Kind.GAUGE, labels, help, is_stored=True)


def _histogram(
    name: str, *labels: lab.Label, help: str, buckets: tuple[float, ...] = WAITS, is_health: bool = False
) -> Series:
    return Series(name, Kind.HISTOGRAM, labels, help, buckets, is_health)


# --- work -----------------------------------------------------------------------------------------------------------

TICKETS = _stored(
    "reconciler_tickets", lab.TENANT, lab.PRODUCT, lab.PHASE, help="Lines of tickets by the phase they are in."
)
TICKET_OLDEST_AGE = _stored(
    "reconciler_ticket_oldest_age_seconds",
    lab.TENANT,
    lab.PHASE,
    help="How long the oldest line has been in a phase that is not an end.",
)
VERDICTS = _counter(
    "reconciler_fulfilment_verdicts_total",
    lab.TENANT,
    lab.PRODUCT,
    lab.VERDICT,
    lab.CAUSE,
    lab.CLOSED_BY,
    lab.WHEN,
    help="Lines whose ticket says fulfilled, at their first definite verdict, and once where it could not be told.",
)
TIME_TO_ACCESS = _histogram(
    "reconciler_time_to_access_seconds",
    lab.TENANT,
    lab.PRODUCT,
    lab.PATH,
    lab.PART,
    help="From the approval to proven access, without the waits for a seat and for people, which are parts of their "
    "own.",
)
VERIFICATION = _histogram(
    "reconciler_verification_seconds",
    lab.PRODUCT,
    lab.TIER,
    help="From the first write for a line to the proof that it works.",
)
DRIFT = _stored(
    "reconciler_drift",
    lab.TENANT,
    lab.PRODUCT,
    lab.CAUSE,
    help="Lines that differ now from what was asked for, by cause.",
)
DRIFT_DETECTED = _counter(
    "reconciler_drift_detected_total",
    lab.TENANT,
    lab.PRODUCT,
    lab.CAUSE,
    help="Lines that were found to differ, by cause.",
)
DRIFT_AGE_MAX = _stored(
    "reconciler_drift_age_seconds_max", lab.TENANT, lab.CAUSE, help="Age of the oldest difference that is not repaired."
)
FLAPS = _counter(
    "reconciler_flaps_total", lab.TENANT, lab.CAUSE, help="Times that others turned back what had been granted."
)

# --- what it does -----------------------------------------------------------------------------------------------------

ACTIONS = _counter(
    "reconciler_actions_total",
    lab.TENANT,
    lab.ACTION,
    lab.RESULT,
    lab.MODE,
    help="Changes of the directory: planned (once per line and decision), accepted, skipped, failed, taken back.",
)
BUDGET_REMAINING = _stored(
    "reconciler_write_budget_remaining",
    lab.TENANT,
    lab.BUDGET,
    help="What may still be changed today: accounts of a lane, tickets, or cost a month.",
)
BUDGET_LIMIT = _stored(
    "reconciler_write_budget_limit", lab.TENANT, lab.BUDGET, help="What may be changed within 24 hours, all of it."
)
GUARD_TRIPS = _counter(
    "reconciler_guard_trips_total", lab.TENANT, lab.GUARD, help="Cycles in which a guard stopped a lane, by guard."
)
APPROVALS = _stored("reconciler_approvals", lab.TENANT, lab.STATE, help="Requests for approval by state.")
APPROVAL_OLDEST_AGE = _stored(
    "reconciler_approval_oldest_age_seconds", lab.TENANT, help="Age of the oldest request that waits for an answer."
)
APPROVAL_OVERDUE = _stored(
    "reconciler_approval_overdue_seconds",
    lab.TENANT,
    help="How far the most overdue request is past the term of its stage (escalate_after); 0 while none is.",
)
APPROVAL_COST = _stored(
    "reconciler_approval_cost_monthly",
    lab.TENANT,
    help="Cost a month of what waits for approval, where its price is known; absent where no price is configured.",
)
APPROVAL_SECONDS = _histogram(
    "reconciler_approval_seconds", lab.PRODUCT, help="From the request for approval to its last answer."
)
SEATS = _stored(
    "reconciler_seats",
    lab.TENANT,
    lab.SKU,
    lab.SEAT_KIND,
    help="Seats of a SKU as the last cycle saw them; reserved and queued are lines that want one.",
)
SEAT_WAIT = _histogram("reconciler_seat_wait_seconds", lab.PRODUCT, help="How long a line waited for a free seat.")
GRANTS_EXPIRING = _stored(
    "reconciler_grants_expiring", lab.TENANT, lab.WINDOW, help="Grants whose end is due within the window."
)
EXPIRED_LICENSED = _stored(
    "reconciler_expired_still_licensed",
    lab.TENANT,
    lab.PRODUCT,
    help="Lines whose period, and the product's grace after it, are over and whose licence is still there.",
)
COST = _stored(
    "reconciler_cost_monthly",
    lab.TENANT,
    lab.COST_KIND,
    help="Cost a month at configured prices; absent where no price is configured.",
)
PROPOSALS = _counter(
    "reconciler_proposals_total",
    lab.SOURCE,
    lab.OUTCOME,
    help="Requests that people had to decide, by who made them: a person, an agent with a token, an integration.",
)
PROMOTION = _counter(
    "reconciler_promotion_decisions_total",
    lab.TENANT,
    lab.PRODUCT,
    lab.AXIS,
    lab.COMPARED,
    help="What would have been done for a line (axis mode) or a ticket (axis answers), by what people made of it.",
)
ANSWERS = _counter(
    "reconciler_ticket_answers_total",
    lab.TENANT,
    lab.ANSWER,
    lab.ANSWER_RESULT,
    help="Answers to tickets.",
)
REOPENED = _counter(
    "reconciler_reopened_total",
    lab.TENANT,
    lab.PRODUCT,
    lab.CAUSE,
    help="Tickets that we opened again, once for each product and cause that a ticket was opened again for.",
)
IDLE_WRITES = _counter(
    "reconciler_idle_writes_total",
    lab.TENANT,
    help="Writes in a cycle that had nothing to do. Anything but 0 is a defect.",
    is_health=True,
)

# --- the loop ---------------------------------------------------------------------------------------------------------

CYCLES_TOTAL = _counter(
    "reconciler_cycles_total", lab.TENANT, lab.CYCLE_RESULT, help="Cycles by how they ended.", is_health=True
)
CYCLE_SECONDS = _histogram(
    "reconciler_cycle_seconds",
    lab.TENANT,
    lab.CYCLE_RESULT,
    help="How long a cycle took, waiting in the queue not included.",
    buckets=CYCLES,
    is_health=True,
)
QUEUE_WAIT = _histogram(
    "reconciler_queue_wait_seconds",
    lab.TENANT,
    help="How long a due cycle waited for its turn.",
    buckets=CYCLES,
    is_health=True,
)
LAST_SUCCESS = _gauge(
    "reconciler_last_success_timestamp_seconds", lab.TENANT, help="When a cycle last ended with every part of it done."
)
PROGRESS = _gauge(
    "reconciler_progress_timestamp_seconds", lab.TENANT, help="When the loop last made a step, within a cycle or not."
)
MODE_LEVEL = _gauge(
    "reconciler_mode_level",
    lab.TENANT,
    lab.PRODUCT,
    help="What may be written for a product: 0 observe, 1 suggest, 2 enforce.",
)
CONDITION = _gauge(
    "reconciler_condition",
    lab.TENANT,
    lab.CONDITION,
    help="1 while this is wrong with the service, as /readyz names it, else 0.",
)
ENFORCE_SHARE = _gauge(
    "reconciler_enforce_share",
    lab.TENANT,
    lab.PRODUCT,
    help="Share of the people that a product is enforced for, 0 to 1; 0 below mode enforce.",
)

# --- the systems ------------------------------------------------------------------------------------------------------

API_REQUESTS = _counter(
    "reconciler_api_requests_total",
    lab.API,
    lab.OPERATION,
    lab.CODE,
    help="Requests to a system, each try of them, by class of reply; lost: no reply came, unsent: nothing left.",
)
API_SECONDS = _histogram(
    "reconciler_api_request_seconds",
    lab.API,
    lab.OPERATION,
    help="From a request to the end of its reply.",
    buckets=REQUESTS,
)
API_THROTTLED = _counter("reconciler_api_throttled_total", lab.API, help="Requests that a system told to wait.")
API_RETRIES = _counter("reconciler_api_retries_total", lab.API, help="Tries after the first one.")
API_QUOTA = _gauge(
    "reconciler_api_quota_remaining_ratio", lab.API, help="Share of our own share of the quota that is left, 0 to 1."
)
NOTICES = _stored("reconciler_notices", lab.TENANT, lab.NOTICE, help="Notices that wait to be told, and dead letters.")

# --- trust, hygiene ---------------------------------------------------------------------------------------------------

AUDIT_OK = _stored("reconciler_audit_ok", help="1 while every row of the audit log that was checked holds, else 0.")
AUDIT_HEAD_AGE = _stored("reconciler_audit_head_age_seconds", help="Age of the oldest last signed checkpoint.")
CREDENTIAL_EXPIRY = _stored(
    "reconciler_credential_expiry_seconds", help="Until the first of the credentials whose end is known runs out."
)
BUILD_INFO = _stored("reconciler_build_info", lab.Label("version", None), help="1, and the version that runs.")
INVENTORY_OK = _stored(
    "reconciler_inventory_ok",
    lab.TENANT,
    help="1 when the store could be read for this scrape, else 0: all gauges from the store are then absent.",
)
GAUGE_AGE = _stored(
    "reconciler_observation_age_seconds",
    lab.TENANT,
    lab.Label("gauge", None),
    help="How old the observation behind a gauge is.",
)

SERIES: dict[str, Series] = {s.name: s for s in list(globals().values()) if isinstance(s, Series)}
