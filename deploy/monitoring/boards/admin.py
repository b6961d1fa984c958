"""For the licence admin: what differs from what was granted, why, and whether there are seats."""

from __future__ import annotations

from deploy.monitoring.boards.parts import T, bars, rising, stat, table, trend
from deploy.monitoring.values import Dashboard, Row

# what a system or its set-up does to us, as against what somebody ordered or took away
ERRORS = "group_error|group_not_writable|provisioning_error|permission_missing|remote_failing|plan_conflict"
ERRORS += "|dependency_missing|workload_unproven|usage_location_refused|unknown"
_NEEDED = f'{T},sku!~"$expected_full"'
_CONSUMED = f'max by (tenant, sku) (reconciler_seats{{kind="consumed",{_NEEDED}}})'
_ENABLED = f'max by (tenant, sku) (reconciler_seats{{kind="enabled",{_NEEDED}}})'


def _seats(kind: str) -> str:
    return f'sum by (sku) (max by (tenant, sku) (reconciler_seats{{kind="{kind}",{T}}}))'


BOARD = Dashboard(
    "reconciler-licence-admin",
    "Licences: administration",
    "Drift with its cause and age, licences by group, who works against whom, and seats.",
    (
        Row(
            "Drift",
            (
                trend(
                    "Drift by cause",
                    "Lines that differ now. The cause names what is in the way, and whose move it is.",
                    (
                        f'sum by (cause) (max by (tenant, product, cause) (reconciler_drift{{cause!="none",{T}}}))',
                        "{{cause}}",
                    ),
                    stacked=True,
                    width=9,
                ),
                bars(
                    "Oldest drift by cause",
                    f"max by (cause) (reconciler_drift_age_seconds_max{{{T}}})",
                    "{{cause}}",
                    "How long the oldest line of each cause has not been mended.",
                    steps=rising(86_400, 7 * 86_400),
                    width=7,
                ),
                trend(
                    "Causes of errors",
                    "Newly found a day, of those that a system or its set-up makes.",
                    (
                        f'sum by (cause) (increase(reconciler_drift_detected_total{{cause=~"{ERRORS}",{T}}}[1d])) > 0',
                        "{{cause}}",
                    ),
                    stacked=True,
                ),
            ),
        ),
        Row(
            "Ways and fights",
            (
                trend(
                    "Time to access, direct against group",
                    "95 of 100 were served within, over 7 days; technical part.",
                    (
                        "histogram_quantile(0.95, sum by (path, le)"
                        f' (reconciler:time_to_access_bucket:increase7d{{part="technical",{T}}})) >= 0',
                        "{{path}}",
                    ),
                    unit="s",
                ),
                trend(
                    "Fighting controllers",
                    "How often others turned back what was granted, a day.",
                    (f"sum by (cause) (increase(reconciler_flaps_total{{{T}}}[1d]))", "{{cause}}"),
                ),
                trend(
                    "Expired but licensed",
                    "Lines whose period is over and whose licence is still there, in whatever mode.",
                    (
                        f"sum by (product) (max by (tenant, product) (reconciler_expired_still_licensed{{{T}}}))",
                        "{{product}}",
                    ),
                    stacked=True,
                ),
            ),
        ),
        Row(
            "Seats",
            (
                table(
                    "Seats by SKU",
                    "Days to empty: free seats at the pace of the last 7 days; 3650 is no growth. A SKU that was bought"
                    " for exactly so many is full as expected: name it in the variable at the top.",
                    "sku",
                    (_seats("enabled"), "enabled"),
                    (_seats("consumed"), "consumed"),
                    (_seats("reserved"), "reserved"),
                    (_seats("queued"), "queued"),
                    (f"{_seats('enabled')} - {_seats('consumed')}", "free"),
                    (
                        f"min by (sku) (clamp_max(({_ENABLED} - {_CONSUMED})"
                        f" / clamp_min(reconciler:seats_consumed:perday{{{T}}}, 0.0001), 3650))",
                        "days to empty",
                    ),
                    width=16,
                ),
                trend(
                    "Wait for a seat",
                    "95 of 100 lines that had to wait got one within, over 7 days.",
                    (
                        "histogram_quantile(0.95, sum by (product, le)"
                        " (increase(reconciler_seat_wait_seconds_bucket[7d])))",
                        "{{product}}",
                    ),
                    unit="s",
                ),
                stat(
                    "Grants that end",
                    f"sum by (window) (max by (tenant, window) (reconciler_grants_expiring{{{T}}}))",
                    "How many grants are over within the window.",
                    legend="{{window}}",
                    width=8,
                ),
            ),
        ),
    ),
    variables=("tenant", "expected_full"),
)
