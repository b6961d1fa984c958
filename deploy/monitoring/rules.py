"""Recording rules and alerts: section 3 of the design's metrics.md, and four of the service's own health.

`max by` and `min by` leave the instance out: two services that share a store say the same once. No twin fires while
nothing is scraped, for then one alert says it all.
"""

from __future__ import annotations

from deploy.monitoring.limits import (
    BUDGET_MIN,
    CREDENTIAL_S,
    EXPIRED_FOR,
    FALSE_FULFILMENT_TARGET,
    FAST,
    FAST_BURN,
    NO_PROGRESS_S,
    QUEUED_FOR,
    SLOW,
    SLOW_BURN,
    STALLED_S,
    TIME_TO_ACCESS_S,
    TIME_TO_ACCESS_TARGET,
    UNKNOWN_MAX,
    VERDICTS_MIN,
)
from deploy.monitoring.values import Alert, Group, Recording, Severity
from reconciler.metrics.labels import TENANT
from reconciler.metrics.series import SERIES

JOB = 'up{job="reconciler"}'
_CLOSED = 'when="at_close",closed_by=~"human|flow"'
_VERDICTS = "reconciler_fulfilment_verdicts_total"
_ACCESS = "reconciler_time_to_access_seconds"


def missing(*names: str) -> str:
    """No such series at all, or none of a tenant that is served; never while nothing is scraped."""
    served = "(group by (tenant) (reconciler_mode_level) unless on (tenant) {0}) or on () absent({0})"
    each = [f"({(served if _tells_tenants(name) else 'absent({0})').format(name)})" for name in names]
    return f"({' or '.join(each)}) and on () (max({JOB}) == 1)"


def _tells_tenants(name: str) -> bool:
    """Whether a series has its tenant however many there are; counters of events lose it above twenty."""
    family = SERIES[name.removesuffix("_count")]
    return TENANT in family.named(many_tenants=True)


def _verdicts(window: str) -> tuple[Recording, ...]:
    definite = f'sum by (tenant) (increase({_VERDICTS}{{verdict=~"true|false",{_CLOSED}}}[{window}]))'
    false = f'sum by (tenant) (increase({_VERDICTS}{{verdict="false",{_CLOSED}}}[{window}]))'
    return (
        Recording(f"reconciler:definite_verdicts:increase{window}", definite),
        Recording(f"reconciler:false_verdicts:increase{window}", false),
        Recording(
            f"reconciler:false_fulfilment:ratio{window}",
            f"reconciler:false_verdicts:increase{window} / (reconciler:definite_verdicts:increase{window} > 0)",
        ),
    )


def _access(window: str) -> tuple[Recording, ...]:
    grants = f'sum by (tenant) (increase({_ACCESS}_count{{part="technical"}}[{window}]))'
    in_time = f'sum by (tenant) (increase({_ACCESS}_bucket{{part="technical",le="{TIME_TO_ACCESS_S}"}}[{window}]))'
    return (
        Recording(f"reconciler:grants:increase{window}", grants),
        Recording(
            f"reconciler:time_to_access_late:ratio{window}",
            f"1 - {in_time} / (reconciler:grants:increase{window} > 0)",
        ),
    )


RECORDINGS = (
    Group(
        "reconciler-recent",
        "1m",
        (
            Recording("reconciler:false_fulfilment:target", f"vector({FALSE_FULFILMENT_TARGET})"),
            *_verdicts(FAST),
            *_access(FAST),
            Recording("reconciler:verdicts:increase1d", f"sum by (tenant) (increase({_VERDICTS}[1d]))"),
            Recording(
                "reconciler:unknown_verdicts:ratio1d",
                f'sum by (tenant) (increase({_VERDICTS}{{verdict="unknown"}}[1d]))'
                " / (reconciler:verdicts:increase1d > 0)",
            ),
            Recording(
                "reconciler:write_budget_left:ratio",
                "min by (tenant, budget) (reconciler_write_budget_remaining)"
                " / (max by (tenant, budget) (reconciler_write_budget_limit) > 0)",
            ),
            Recording(
                "reconciler:api_request_seconds:p95_5m",
                "histogram_quantile(0.95, sum by (api, le) (rate(reconciler_api_request_seconds_bucket[5m])))",
            ),
        ),
    ),
    Group(
        "reconciler-long",
        "5m",
        (
            *_verdicts(SLOW),
            *_access(SLOW),
            # a month of raw samples would be a hundred times as many: sums of the sums above, their ends tapered
            Recording(
                "reconciler:false_fulfilment:ratio30d",
                f"sum_over_time(reconciler:false_verdicts:increase{SLOW}[30d])"
                f" / (sum_over_time(reconciler:definite_verdicts:increase{SLOW}[30d]) > 0)",
            ),
            Recording(
                "reconciler:time_to_access_bucket:increase7d",
                f"sum by (tenant, product, path, part, le) (increase({_ACCESS}_bucket[7d]))",
            ),
            *(
                Recording(
                    f"reconciler:time_to_access:p{share}_7d",
                    f"histogram_quantile(0.{share}, reconciler:time_to_access_bucket:increase7d)",
                )
                for share in (50, 95)
            ),
            Recording(
                "reconciler:seats_consumed:perday",
                'max by (tenant, sku) (deriv(reconciler_seats{kind="consumed"}[7d])) * 86400',
            ),
        ),
    ),
)


def _burn(name: str, speed: str, ratio: str, counted: str, limit: float, summary: str, watched: str) -> Alert:
    window = FAST if speed == "Fast" else SLOW
    return Alert(
        f"Reconciler{name}{speed}",
        f"reconciler:{ratio}:ratio{window}",
        f"> {limit:g}",
        f"{summary}, over {window}",
        missing(watched),
        severity=Severity.TICKET,
        twin=f"Reconciler{name}Missing",
        only_where=f"and on (tenant) reconciler:{counted}:increase{window} > {VERDICTS_MIN}",
    )


_FALSE = "{{ $value | humanizePercentage }} of the closed tickets of {{ $labels.tenant }} gave no access"
_LATE = "{{ $value | humanizePercentage }} of the grants of {{ $labels.tenant }} took longer than the objective"

ALERTS = (
    Alert(
        "ReconcilerLoopStalled",
        "time() - max by (tenant) (reconciler_last_success_timestamp_seconds)",
        f"> {STALLED_S}",
        "no cycle of {{ $labels.tenant }} has succeeded for {{ $value | humanizeDuration }}",
        missing("reconciler_last_success_timestamp_seconds"),
        for_="5m",
        severity=Severity.PAGE,
    ),
    Alert(
        "ReconcilerNoProgress",
        "time() - max by (tenant) (reconciler_progress_timestamp_seconds)",
        f"> {NO_PROGRESS_S}",
        "the loop of {{ $labels.tenant }} has not moved for {{ $value | humanizeDuration }}",
        missing("reconciler_progress_timestamp_seconds"),
        severity=Severity.PAGE,
    ),
    *(
        _burn(
            "FalseFulfilment",
            speed,
            "false_fulfilment",
            "definite_verdicts",
            FALSE_FULFILMENT_TARGET * burn,
            _FALSE,
            _VERDICTS,
        )
        for speed, burn in (("Fast", FAST_BURN), ("Slow", SLOW_BURN))
    ),
    *(
        _burn(
            "TimeToAccess",
            speed,
            "time_to_access_late",
            "grants",
            TIME_TO_ACCESS_TARGET * burn,
            _LATE,
            f"{_ACCESS}_count",
        )
        for speed, burn in (("Fast", FAST_BURN), ("Slow", SLOW_BURN))
    ),
    Alert(
        "ReconcilerGuardTripped",
        'sum by (tenant, guard) (increase(reconciler_guard_trips_total{guard!="freeze"}[15m]))',
        "> 0",
        "{{ $labels.guard }} has stopped a lane of {{ $labels.tenant }}",
        missing("reconciler_guard_trips_total"),
    ),
    Alert(
        "ReconcilerBudgetLow",
        "reconciler:write_budget_left:ratio",
        f"< {BUDGET_MIN}",
        "{{ $value | humanizePercentage }} of today's budget for {{ $labels.budget }} of {{ $labels.tenant }} is left",
        missing("reconciler_write_budget_remaining", "reconciler_write_budget_limit"),
    ),
    Alert(
        "ReconcilerSeatsQueued",
        'max by (tenant, sku) (reconciler_seats{kind="queued"})',
        "> 0",
        "{{ $value }} lines of {{ $labels.tenant }} wait for a seat of {{ $labels.sku }}",
        missing("reconciler_seats"),
        for_=QUEUED_FOR,
    ),
    Alert(
        "ReconcilerExpiredStillLicensed",
        "max by (tenant, product) (reconciler_expired_still_licensed)"
        " and on (tenant, product) (max by (tenant, product) (reconciler_mode_level) == 2)",
        "> 0",
        "{{ $value }} grants of {{ $labels.product }} in {{ $labels.tenant }} are over and still licensed",
        missing("reconciler_expired_still_licensed", "reconciler_mode_level"),
        for_=EXPIRED_FOR,
    ),
    Alert(
        "ReconcilerFlapping",
        "sum by (tenant, cause) (increase(reconciler_flaps_total[1d]))",
        "> 1.5",
        "others turn back what is granted in {{ $labels.tenant }}: {{ $labels.cause }}",
        missing("reconciler_flaps_total"),
    ),
    Alert(
        "ReconcilerApprovalOverdue",
        "max by (tenant) (reconciler_approval_overdue_seconds)",
        "> 0",
        "a request of {{ $labels.tenant }} has waited for an answer {{ $value | humanizeDuration }} longer than it may",
        missing("reconciler_approval_overdue_seconds"),
    ),
    Alert(
        "ReconcilerThrottled",
        "sum by (api) (increase(reconciler_api_throttled_total[5m]))",
        "> 0",
        "{{ $labels.api }} has told us to wait again and again for more than 5 minutes",
        missing("reconciler_api_throttled_total"),
        for_="5m",
    ),
    Alert(
        "ReconcilerAuditBroken",
        "min(reconciler_audit_ok)",
        "== 0",
        "the audit log does not verify: rows were changed, or are gone",
        missing("reconciler_audit_ok"),
        severity=Severity.PAGE,
    ),
    Alert(
        "ReconcilerCredentialExpiring",
        "min(reconciler_credential_expiry_seconds)",
        f"< {CREDENTIAL_S}",
        "a credential runs out in {{ $value | humanizeDuration }}",
        missing("reconciler_credential_expiry_seconds"),
    ),
    Alert(
        "ReconcilerUnknownVerdicts",
        "reconciler:unknown_verdicts:ratio1d",
        f"> {UNKNOWN_MAX}",
        "whether {{ $value | humanizePercentage }} of the closed tickets of {{ $labels.tenant }} are true could not be"
        " told",
        missing(_VERDICTS),
        only_where=f"and on (tenant) reconciler:verdicts:increase1d > {VERDICTS_MIN}",
    ),
    Alert(
        "ReconcilerDown",
        JOB,
        "== 0",
        "{{ $labels.instance }} cannot be scraped",
        f"absent({JOB})",
        for_="2m",
        severity=Severity.PAGE,
        twin="ReconcilerTargetMissing",
    ),
    Alert(
        "ReconcilerInventoryUnreadable",
        "min by (tenant) (reconciler_inventory_ok)",
        "== 0",
        "the store of {{ $labels.tenant }} cannot be read: its gauges are absent",
        missing("reconciler_inventory_ok"),
        for_="5m",
    ),
    Alert(
        "ReconcilerIdleWrites",
        "sum by (tenant) (increase(reconciler_idle_writes_total[1h]))",
        "> 0",
        "a cycle of {{ $labels.tenant }} wrote although there was nothing to do: a defect",
        missing("reconciler_idle_writes_total"),
    ),
    Alert(
        "ReconcilerDeadLetters",
        'max by (tenant) (reconciler_notices{state="dead"})',
        "> 0",
        "{{ $value }} notices of {{ $labels.tenant }} could not be told to anybody",
        missing("reconciler_notices"),
    ),
)
