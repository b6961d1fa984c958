"""That each alert fires and resolves: what `promtool test rules` plays, minute by minute. Pure.

Written by hand and not worked out from the rules: series in promtool's notation, when the alert has to be firing, what
it then says, and when it has to be over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from deploy.monitoring.limits import MISSING_FOR
from deploy.monitoring.prometheus import noted, rules, twin_summary, twins
from deploy.monitoring.rules import ALERTS
from deploy.monitoring.values import Severity

UP = {'up{job="reconciler",instance="a"}': "1+0x10000"}
_V = 'reconciler_fulfilment_verdicts_total{tenant="t",product="visio-plan-2",closed_by="human",'
_A = 'reconciler_time_to_access_seconds_%s{tenant="t",product="visio-plan-2",path="direct",part="technical"%s}'


@dataclass(frozen=True, slots=True)
class Proof:
    """One alert over one story. `fires_at` and `over_at` in minutes; `labels` beside its severity."""

    alert: str
    series: dict[str, str]
    fires_at: int
    says: str
    over_at: int
    labels: dict[str, str]
    quiet_at: int = 1  # before anything is wrong, or long enough


def _verdicts(true: str, false: str, unknown: str = "0+0x700") -> dict[str, str]:
    return {
        _V + 'verdict="true",cause="none",when="at_close"}': true,
        _V + 'verdict="false",cause="never_assigned",when="at_close"}': false,
        _V + 'verdict="unknown",cause="ticket_inconsistent",when="at_close"}': unknown,
        # what must not count: nobody but us closed it, or it came after the closing
        'reconciler_fulfilment_verdicts_total{tenant="t",product="visio-plan-2",closed_by="reconciler",verdict="false",'
        'cause="never_assigned",when="at_close"}': "0+0x700",
        _V + 'verdict="false",cause="removed_later",when="later"}': "0+0x200",
    }


def _access(in_time: str, all_: str) -> dict[str, str]:
    return {_A % ("bucket", ',le="14400.0"'): in_time, _A % ("bucket", ',le="+Inf"'): all_, _A % ("count", ""): all_}


_T = {"tenant": "t"}
PROOFS = (
    Proof(
        "ReconcilerLoopStalled",
        # a good cycle each minute for an hour, none for another hour, then again
        {'reconciler_last_success_timestamp_seconds{tenant="t"}': "0+60x60 3600+0x60 7200+60x60"},
        100,
        "no cycle of t has succeeded for 40m 0s",
        125,
        _T,
        quiet_at=90,
    ),
    Proof(
        "ReconcilerNoProgress",
        {'reconciler_progress_timestamp_seconds{tenant="t"}': "0+60x60 3600+0x20 4860+60x60"},
        75,
        "the loop of t has not moved for 15m 0s",
        85,
        _T,
        quiet_at=70,
    ),
    Proof(
        "ReconcilerFalseFulfilmentFast",
        _verdicts("0+1x60 160+100x60", "0+0x29 0+1x30 30+0x60"),  # 30 of 90, then many good ones
        60,
        "33.33% of the closed tickets of t gave no access, over 6h",
        90,
        _T,
        quiet_at=30,
    ),
    Proof(
        "ReconcilerFalseFulfilmentSlow",
        _verdicts("0+1x600 700+100x60", "0+0x539 0+1x60 60+0x60"),
        600,
        "9.091% of the closed tickets of t gave no access, over 3d",
        650,
        _T,
        quiet_at=530,
    ),
    Proof(
        "ReconcilerTimeToAccessFast",
        _access("0+1x30 30+0x59 130+100x60", "0+1x90 190+100x60"),
        90,
        "66.67% of the grants of t took longer than the objective, over 6h",
        120,
        _T,
        quiet_at=30,
    ),
    Proof(
        "ReconcilerTimeToAccessSlow",
        _access("0+1x80 80+0x19 180+100x60", "0+1x100 200+100x60"),
        100,
        "20% of the grants of t took longer than the objective, over 3d",
        130,
        _T,
        quiet_at=80,
    ),
    Proof(
        "ReconcilerGuardTripped",
        {
            'reconciler_guard_trips_total{tenant="t",guard="day_budget"}': "0+0x10 1+0x60",
            'reconciler_guard_trips_total{tenant="t",guard="freeze"}': "0+1x60",  # planned: nobody is told
        },
        15,
        "day_budget has stopped a lane of t",
        40,
        {**_T, "guard": "day_budget"},
        quiet_at=10,
    ),
    Proof(
        "ReconcilerBudgetLow",
        {
            'reconciler_write_budget_remaining{tenant="t",budget="removals"}': "5-1x5 0+0x20 5+0x30",
            'reconciler_write_budget_limit{tenant="t",budget="removals"}': "5+0x60",
            'reconciler_write_budget_remaining{tenant="t",budget="cost"}': "0+0x60",
            'reconciler_write_budget_limit{tenant="t",budget="cost"}': "0+0x60",  # no cap is no alarm
        },
        10,
        "0% of today's budget for removals of t is left",
        30,
        {**_T, "budget": "removals"},
    ),
    Proof(
        "ReconcilerSeatsQueued",
        {
            'reconciler_seats{tenant="t",sku="VISIOCLIENT",kind="queued"}': "0+0x10 2+0x90 0+0x60",
            'reconciler_seats{tenant="t",sku="VISIOCLIENT",kind="enabled"}': "10+0x200",
            'reconciler_seats{tenant="t",sku="VISIOCLIENT",kind="consumed"}': "10+0x200",  # full alone is no alarm
        },
        75,
        "2 lines of t wait for a seat of VISIOCLIENT",
        105,
        {**_T, "sku": "VISIOCLIENT"},
        quiet_at=65,
    ),
    Proof(
        "ReconcilerExpiredStillLicensed",
        {
            'reconciler_expired_still_licensed{tenant="t",product="visio-plan-2"}': "0+0x10 1+0x1600 0+0x60",
            'reconciler_mode_level{tenant="t",product="visio-plan-2"}': "2+0x2000",
            'reconciler_expired_still_licensed{tenant="t",product="teams"}': "1+0x2000",  # nothing is taken back there
            'reconciler_mode_level{tenant="t",product="teams"}': "1+0x2000",
        },
        1515,
        "1 grants of visio-plan-2 in t are over and still licensed",
        1620,
        {**_T, "product": "visio-plan-2"},
        quiet_at=1500,
    ),
    Proof(
        "ReconcilerFlapping",
        {
            'reconciler_flaps_total{tenant="t",cause="removed_later"}': "0+0x10 1+0x10 2+0x3000",
            'reconciler_flaps_total{tenant="t",cause="plan_disabled"}': "0+0x10 1+0x3000",  # once is somebody's mistake
        },
        30,
        "others turn back what is granted in t: removed_later",
        1500,
        {**_T, "cause": "removed_later"},
        quiet_at=15,
    ),
    Proof(
        "ReconcilerApprovalOverdue",
        {
            'reconciler_approval_overdue_seconds{tenant="t"}': "0+0x5 60+60x15 0+0x60",  # answered in the end
        },
        20,
        "a request of t has waited for an answer 15m 0s longer than it may",
        30,
        _T,
    ),
    Proof(
        "ReconcilerThrottled",
        {'reconciler_api_throttled_total{api="graph"}': "0+0x5 0+1x20 20+0x30"},
        15,
        "graph has told us to wait again and again for more than 5 minutes",
        40,
        {"api": "graph"},
        quiet_at=8,
    ),
    Proof(
        "ReconcilerAuditBroken",
        {"reconciler_audit_ok": "1+0x5 0+0x20 1+0x20"},
        6,
        "the audit log does not verify: rows were changed, or are gone",
        30,
        {},
    ),
    Proof(
        "ReconcilerCredentialExpiring",
        {"reconciler_credential_expiry_seconds": "1210000-60x20 31536000-60x20"},
        20,
        "a credential runs out in 13d 23h 46m 40s",
        25,
        {},
    ),
    Proof(
        "ReconcilerUnknownVerdicts",
        _verdicts("0+1x60 160+100x60", "0+0x120", "0+0x39 0+1x20 20+0x60"),
        60,
        "whether 25% of the closed tickets of t are true could not be told",
        90,
        _T,
        quiet_at=40,
    ),
    Proof(
        "ReconcilerDown",
        {'up{job="reconciler",instance="a"}': "1+0x5 0+0x10 1+0x10"},
        10,
        "a cannot be scraped",
        20,
        {"job": "reconciler", "instance": "a"},
        quiet_at=7,
    ),
    Proof(
        "ReconcilerInventoryUnreadable",
        {'reconciler_inventory_ok{tenant="t"}': "1+0x5 0+0x10 1+0x10"},
        12,
        "the store of t cannot be read: its gauges are absent",
        20,
        _T,
        quiet_at=8,
    ),
    Proof(
        "ReconcilerIdleWrites",
        {'reconciler_idle_writes_total{tenant="t"}': "0+0x10 1+0x100"},
        15,
        "a cycle of t wrote although there was nothing to do: a defect",
        80,
        _T,
        quiet_at=10,
    ),
    Proof(
        "ReconcilerDeadLetters",
        {'reconciler_notices{tenant="t",state="dead"}': "0+0x5 3+0x10 0+0x10"},
        10,
        "3 notices of t could not be told to anybody",
        20,
        _T,
    ),
)

# The series whose absence a twin tells of, one after the other, with a value that is nothing to worry about.
WATCHED = {
    "ReconcilerLoopStalledMissing": ("reconciler_last_success_timestamp_seconds", True),
    "ReconcilerNoProgressMissing": ("reconciler_progress_timestamp_seconds", True),
    "ReconcilerFalseFulfilmentMissing": ("reconciler_fulfilment_verdicts_total", False),
    "ReconcilerTimeToAccessMissing": ("reconciler_time_to_access_seconds_count", False),
    "ReconcilerGuardTrippedMissing": ("reconciler_guard_trips_total", False),
    "ReconcilerBudgetLowMissing": ("reconciler_write_budget_remaining", True),
    "ReconcilerSeatsQueuedMissing": ("reconciler_seats", True),
    "ReconcilerExpiredStillLicensedMissing": ("reconciler_expired_still_licensed", True),
    "ReconcilerFlappingMissing": ("reconciler_flaps_total", False),
    "ReconcilerApprovalOverdueMissing": ("reconciler_approval_overdue_seconds", True),
    "ReconcilerThrottledMissing": ("reconciler_api_throttled_total", False),
    "ReconcilerAuditBrokenMissing": ("reconciler_audit_ok", False),
    "ReconcilerCredentialExpiringMissing": ("reconciler_credential_expiry_seconds", False),
    "ReconcilerUnknownVerdictsMissing": ("reconciler_fulfilment_verdicts_total", False),
    "ReconcilerInventoryUnreadableMissing": ("reconciler_inventory_ok", True),
    "ReconcilerIdleWritesMissing": ("reconciler_idle_writes_total", True),
    "ReconcilerDeadLettersMissing": ("reconciler_notices", True),
}
_OTHERS = ("reconciler_write_budget_limit", "reconciler_mode_level")
ABSENT_FROM, ABSENT_SEEN, BACK_SEEN = 10, 20, 40  # minutes: too early, told, over; series come at minute 30


def proofs() -> dict[str, Any]:
    """The file for `promtool test rules`."""
    return {
        "rule_files": ["reconciler.rules.yml"],
        "evaluation_interval": "1m",
        "group_eval_order": [group["name"] for group in rules(MISSING_FOR)["groups"]],
        "tests": [*map(_story, PROOFS), _missing_story(), _missing_of_one_tenant(), _nothing_scraped()],
    }


def _story(proof: Proof) -> dict[str, Any]:
    alert = next(a for a in ALERTS if a.name == proof.alert)
    told = {
        "exp_labels": {"severity": alert.severity.value, **proof.labels},
        "exp_annotations": noted(alert, proof.says),
    }
    return {
        "name": f"{proof.alert} fires and resolves",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in proof.series.items()],
        "alert_rule_test": [
            _asked(proof.alert, proof.quiet_at, []),
            _asked(proof.alert, proof.fires_at, [told]),
            _asked(proof.alert, proof.over_at, []),
        ],
    }


def _asked(alert: str, minute: int, told: list[dict[str, Any]]) -> dict[str, Any]:
    return {"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": told}


def _told(twin: str, labels: dict[str, str]) -> dict[str, Any]:
    alert = twins()[twin]
    of = f" of {labels['tenant']}" if "tenant" in labels else ""
    says = re.sub(r"\{\{ with .*\{\{ end \}\}", of, twin_summary(alert))
    return {
        "exp_labels": {"severity": Severity.TICKET.value, **labels},
        "exp_annotations": noted(alert, says),
    }


def _absent_labels(series: str) -> dict[str, str]:
    return dict(re.findall(r'(\w+)="([^"]*)"', series))


def _with(series: str, labels: str) -> str:
    name, _, rest = series.partition("{")
    return f"{name}{{{','.join(part for part in (rest.rstrip('}'), labels) if part)}}}"


def _late(labels: str) -> list[dict[str, str]]:
    """Everything that is watched, from minute 30 on."""
    names = dict.fromkeys([name for name, _ in WATCHED.values()] + list(_OTHERS))
    return [{"series": _with(name, labels), "values": "_x30 1+0x60"} for name in names]


def _missing_story() -> dict[str, Any]:
    """Nothing but the scrape itself is there, then all of it."""
    up = [{"series": name, "values": values} for name, values in UP.items()]
    asked = []
    for twin, (series, _) in WATCHED.items():
        asked += [
            _asked(twin, ABSENT_FROM, []),
            _asked(twin, ABSENT_SEEN, [_told(twin, _absent_labels(series))]),
            _asked(twin, BACK_SEEN, []),
        ]
    return {
        "name": "each twin tells of series that are missing, and is quiet once they are there",
        "interval": "1m",
        "input_series": [*up, *_late('tenant="t"')],
        "alert_rule_test": asked,
    }


def _missing_of_one_tenant() -> dict[str, Any]:
    """Two tenants are served, and one of them lacks everything until minute 30."""
    modes = [{"series": f'reconciler_mode_level{{tenant="{t}",product="teams"}}', "values": "2+0x90"} for t in "tu"]
    names = dict.fromkeys([name for name, _ in WATCHED.values()] + ["reconciler_write_budget_limit"])
    whole = [{"series": _with(name, 'tenant="u"'), "values": "1+0x90"} for name in names]
    late = [{"series": _with(name, 'tenant="t"'), "values": "_x30 1+0x60"} for name in names]
    asked = []
    for twin, (_, tells_tenants) in WATCHED.items():
        if tells_tenants:
            asked += [_asked(twin, ABSENT_SEEN, [_told(twin, {"tenant": "t"})]), _asked(twin, BACK_SEEN, [])]
    return {
        "name": "a twin names the tenant whose series are missing",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in UP.items()] + modes + whole + late,
        "alert_rule_test": asked,
    }


def _nothing_scraped() -> dict[str, Any]:
    """Where nothing is scraped, the one alert about that is enough."""
    target = "ReconcilerTargetMissing"
    return {
        "name": "no twin fires while nothing is scraped, but the one about that",
        "interval": "1m",
        "input_series": [{"series": 'up{job="reconciler",instance="a"}', "values": "_x40 1+0x60"}],
        "alert_rule_test": [
            _asked(target, ABSENT_FROM, []),
            _asked(target, ABSENT_SEEN, [_told(target, {"job": "reconciler"})]),
            *(_asked(twin, 35, []) for twin in WATCHED),
            _asked(target, 50, []),
        ],
    }
