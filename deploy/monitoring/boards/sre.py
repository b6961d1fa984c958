"""For who keeps the service running: does it move, does it fail, may it write, and who throttles whom."""

from __future__ import annotations

from deploy.monitoring.boards.parts import BAD, GOOD, WARN, T, bars, falling, rising, stat, table, trend
from deploy.monitoring.limits import BUDGET_MIN, CREDENTIAL_S, NO_PROGRESS_S, STALLED_S
from deploy.monitoring.rules import JOB
from deploy.monitoring.values import Dashboard, Row

_RATE = "$__rate_interval"
BOARD = Dashboard(
    "reconciler-sre",
    "Licences: operation",
    "Heartbeat, cycles, guards, and the systems that the service depends on.",
    (
        Row(
            "Is it alive",
            (
                stat(
                    "Scraped",
                    f"min({JOB})",
                    "Whether every service can be scraped.",
                    names=((1, "up", GOOD), (0, "down", BAD)),
                ),
                stat(
                    "Since the last good cycle",
                    f"time() - max by (tenant) (reconciler_last_success_timestamp_seconds{{{T}}})",
                    "The heartbeat: when a cycle last ended with every part of it done.",
                    unit="s",
                    steps=rising(STALLED_S / 2, STALLED_S),
                    legend="{{tenant}}",
                ),
                stat(
                    "Since the last step",
                    f"time() - max by (tenant) (reconciler_progress_timestamp_seconds{{{T}}})",
                    "Progress, within a cycle or between two. Old progress with a fresh heartbeat does not happen.",
                    unit="s",
                    steps=rising(NO_PROGRESS_S / 2, NO_PROGRESS_S),
                    legend="{{tenant}}",
                ),
                stat(
                    "Store",
                    f"min by (tenant) (reconciler_inventory_ok{{{T}}})",
                    "Whether the store could be read at the last scrape.",
                    names=((1, "read", GOOD), (0, "unreadable", BAD)),
                    legend="{{tenant}}",
                ),
                stat(
                    "First credential ends in",
                    "min(reconciler_credential_expiry_seconds)",
                    "Of certificates, and of secrets whose end is configured (credential_expires).",
                    unit="s",
                    steps=falling(CREDENTIAL_S, 2 * CREDENTIAL_S),
                ),
                stat("Version", "max by (version) (reconciler_build_info)", "What runs.", legend="{{version}}"),
            ),
        ),
        Row(
            "Cycles",
            (
                trend(
                    "Cycles by result, an hour",
                    "converged and drift_left are good; guarded: a guard stopped a lane.",
                    (f"sum by (result) (increase(reconciler_cycles_total{{{T}}}[1h]))", "{{result}}"),
                    stacked=True,
                ),
                trend(
                    "Duration of a cycle",
                    "Waiting in the queue is not in it.",
                    (
                        f"histogram_quantile(0.5, sum by (le) (rate(reconciler_cycle_seconds_bucket{{{T}}}[1h])))",
                        "p50",
                    ),
                    (
                        f"histogram_quantile(0.95, sum by (le) (rate(reconciler_cycle_seconds_bucket{{{T}}}[1h])))",
                        "p95",
                    ),
                    unit="s",
                ),
                trend(
                    "Wait in the queue",
                    "From when a cycle was due to its beginning, mean of an hour.",
                    (
                        f"sum by (tenant) (rate(reconciler_queue_wait_seconds_sum{{{T}}}[1h]))"
                        f" / sum by (tenant) (rate(reconciler_queue_wait_seconds_count{{{T}}}[1h]))",
                        "{{tenant}}",
                    ),
                    unit="s",
                ),
                table(
                    "Conditions",
                    "What is wrong with the service, as /readyz names it. The log says why, once.",
                    "condition",
                    (f"max by (condition) (reconciler_condition{{{T}}})", "now"),
                    names=((0, "good", GOOD), (1, "wrong", BAD)),
                    width=8,
                ),
                trend(
                    "Conditions over time",
                    "1 while something was wrong.",
                    (f"max by (condition) (reconciler_condition{{{T}}})", "{{condition}}"),
                    stacked=True,
                    width=16,
                ),
            ),
        ),
        Row(
            "What it may do, and did",
            (
                bars(
                    "Budget left today",
                    f"reconciler:write_budget_left:ratio{{{T}}}",
                    "{{tenant}} {{budget}}",
                    "Share of what may be changed within 24 hours.",
                    unit="percentunit",
                    steps=falling(BUDGET_MIN, 0.3),
                    width=6,
                ),
                trend(
                    "Guards that tripped, an hour",
                    "Cycles in which a guard stopped a lane.",
                    (f"sum by (guard) (increase(reconciler_guard_trips_total{{{T}}}[1h]))", "{{guard}}"),
                    stacked=True,
                    width=6,
                ),
                trend(
                    "Changes of the directory, an hour",
                    "By result; planned: what was not sent, in observe and suggest or while something is missing.",
                    (f"sum by (result) (increase(reconciler_actions_total{{{T}}}[1h]))", "{{result}}"),
                    stacked=True,
                    width=6,
                ),
                trend(
                    "Answers to tickets, an hour",
                    "By kind and result.",
                    (
                        f"sum by (kind, result) (increase(reconciler_ticket_answers_total{{{T}}}[1h]))",
                        "{{kind}} {{result}}",
                    ),
                    stacked=True,
                    width=6,
                ),
                table(
                    "Mode by product",
                    "What may be written.",
                    "product",
                    (f"min by (product) (reconciler_mode_level{{{T}}})", "mode"),
                    names=((0, "observe", "blue"), (1, "suggest", WARN), (2, "enforce", GOOD)),
                    width=8,
                ),
                table(
                    "Enforced for",
                    "Share of the people that a product is enforced for; 0 below mode enforce.",
                    "product",
                    (f"min by (product) (reconciler_enforce_share{{{T}}})", "share"),
                    width=6,
                ),
                trend(
                    "What would have been done, against what people did, a day",
                    "By axis (mode: the directory, answers: the tickets) and outcome. Only agreed and differed count.",
                    (
                        f"sum by (axis, outcome) (increase(reconciler_promotion_decisions_total{{{T}}}[1d]))",
                        "{{axis}} {{outcome}}",
                    ),
                    stacked=True,
                    width=10,
                ),
                stat(
                    "Idle writes",
                    f"sum(increase(reconciler_idle_writes_total{{{T}}}[1d]))",
                    "Writes of a cycle that had nothing to do, a day. Anything but 0 is a defect.",
                    steps=rising(bad=1),
                ),
                stat(
                    "Notices",
                    f"sum by (state) (max by (tenant, state) (reconciler_notices{{{T}}}))",
                    "Those that wait to be told, and dead letters.",
                    legend="{{state}}",
                ),
                stat(
                    "Oldest gauge",
                    f"max(reconciler_observation_age_seconds{{{T}}})",
                    "How old the oldest observation behind a gauge is.",
                    unit="s",
                ),
            ),
        ),
        Row(
            "The systems",
            (
                trend(
                    "Requests",
                    "Each try of them, a second.",
                    (f"sum by (api) (rate(reconciler_api_requests_total[{_RATE}]))", "{{api}}"),
                    unit="reqps",
                    width=6,
                ),
                trend(
                    "Share that failed",
                    "5xx, 4xx, lost replies and requests that never left.",
                    (
                        'sum by (api) (rate(reconciler_api_requests_total{code!~"2xx|3xx"}[5m]))'
                        " / (sum by (api) (rate(reconciler_api_requests_total[5m])) > 0)",
                        "{{api}}",
                    ),
                    unit="percentunit",
                    width=6,
                ),
                trend(
                    "Time of a request, p95",
                    "From a request to the end of its reply.",
                    ("reconciler:api_request_seconds:p95_5m >= 0", "{{api}}"),
                    unit="s",
                    width=6,
                ),
                trend(
                    "Throttled",
                    "Requests that a system told to wait, a second.",
                    (f"sum by (api) (rate(reconciler_api_throttled_total[{_RATE}]))", "{{api}}"),
                    unit="reqps",
                    width=6,
                ),
                trend(
                    "Retries",
                    "Tries after the first one, a second.",
                    (f"sum by (api) (rate(reconciler_api_retries_total[{_RATE}]))", "{{api}}"),
                    unit="reqps",
                ),
                trend(
                    "Quota left",
                    "Of our own share of the quota.",
                    ("min by (api) (reconciler_api_quota_remaining_ratio)", "{{api}}"),
                    unit="percentunit",
                    max=1,
                ),
                bars(
                    "Replies by class",
                    "sum by (api, code) (increase(reconciler_api_requests_total[1h])) > 0",
                    "{{api}} {{code}}",
                    "Of the last hour.",
                    unit="short",
                ),
            ),
        ),
    ),
    since="now-6h",
)
