"""For the service desk: which closed tickets gave no access, and who waits for what."""

from __future__ import annotations

from deploy.monitoring.boards.parts import OPEN, TARGET, T, bars, rising, stat, trend
from deploy.monitoring.limits import FALSE_FULFILMENT_TARGET, SLOW
from deploy.monitoring.values import Dashboard, Row

BOARD = Dashboard(
    "reconciler-service-desk",
    "Licences: service desk",
    "How many closed tickets gave no access, why, and what waits for whom.",
    (
        Row(
            "False fulfilment",
            (
                stat(
                    "False fulfilment, 30 days",
                    f"max(reconciler:false_fulfilment:ratio30d{{{T}}})",
                    "Share of tickets that people and flows closed although the user had no access then. Of lines with"
                    " a definite verdict; those that nobody could tell are not in it.",
                    unit="percentunit",
                    steps=rising(FALSE_FULFILMENT_TARGET, 2 * FALSE_FULFILMENT_TARGET),
                ),
                stat(
                    "Lines that differ now",
                    f"sum(max by (tenant, product, cause) (reconciler_drift{{{T}}}))",
                    "Lines whose access is not what was asked for, whatever the cause. What is within its window is"
                    " not counted.",
                    steps=rising(1),
                ),
                stat(
                    "Oldest open approval",
                    f"max(reconciler_approval_oldest_age_seconds{{{T}}})",
                    "How long the oldest request for approval has waited. Empty while none waits.",
                    unit="s",
                ),
                stat(
                    "Approvals overdue by",
                    f"max(reconciler_approval_overdue_seconds{{{T}}})",
                    "How far the most overdue request is past the term of its stage. 0 while all are in time.",
                    unit="s",
                    steps=rising(bad=1),
                ),
                trend(
                    "False-fulfilment rate against its target",
                    f"Over the last {SLOW}, with the target as a line. A window with few verdicts jumps.",
                    (f"reconciler:false_fulfilment:ratio{SLOW}{{{T}}}", "{{tenant}}"),
                    (TARGET, "target"),
                    unit="percentunit",
                    width=8,
                ),
            ),
        ),
        Row(
            "Tickets",
            (
                trend(
                    "Tickets by phase",
                    "Lines of tickets, each in one phase. Lines that are granted or over are left out.",
                    (
                        f'sum by (phase) (max by (tenant, product, phase) (reconciler_tickets{{{T},phase=~"{OPEN}"}}))',
                        "{{phase}}",
                    ),
                    stacked=True,
                    width=10,
                ),
                bars(
                    "Oldest line by phase",
                    f'max by (phase) (reconciler_ticket_oldest_age_seconds{{{T},phase=~"{OPEN}"}})',
                    "{{phase}}",
                    "What is stuck, and for how long.",
                    steps=rising(86_400, 7 * 86_400),
                    width=6,
                ),
                trend(
                    "Waiting for a seat",
                    "Lines that nothing but a free seat is missing for.",
                    (
                        'sum by (product) (max by (tenant, product) (reconciler_tickets{phase="waiting_for_seat",'
                        f"{T}}}))",
                        "{{product}}",
                    ),
                    stacked=True,
                ),
            ),
        ),
        Row(
            "Reopened, and why",
            (
                trend(
                    "Reopened tickets a day, by cause",
                    "Tickets that were handed back by opening them again, verified. One that was opened again for two"
                    " causes is in both.",
                    (f"sum by (cause) (increase(reconciler_reopened_total{{{T}}}[1d])) > 0", "{{cause}}"),
                    stacked=True,
                ),
                trend(
                    "False closings a day, by cause",
                    "Why tickets that were closed gave no access: whether or not they could be opened again.",
                    (
                        'sum by (cause) (increase(reconciler_fulfilment_verdicts_total{verdict="false",when="at_close",'
                        f'closed_by=~"human|flow",{T}}}[1d])) > 0',
                        "{{cause}}",
                    ),
                    stacked=True,
                ),
                trend(
                    "Approval backlog",
                    "Requests that wait for an answer, and those that were approved and are being carried out.",
                    (
                        "sum by (state) (max by (tenant, state)"
                        f' (reconciler_approvals{{state=~"pending|approved|executing",{T}}}))',
                        "{{state}}",
                    ),
                    stacked=True,
                ),
            ),
        ),
        Row(
            "Time to access",
            (
                trend(
                    "Time to access by product",
                    "From the approval to proven access over 7 days, without waits for seats and people. Only what was"
                    " granted is in it: see the waits that are open beside it.",
                    (
                        f'max by (product) (reconciler:time_to_access:p50_7d{{part="technical",{T}}}) >= 0',
                        "{{product}} p50",
                    ),
                    (
                        f'max by (product) (reconciler:time_to_access:p95_7d{{part="technical",{T}}}) >= 0',
                        "{{product}} p95",
                    ),
                    unit="s",
                    width=14,
                ),
                trend(
                    "Open waits by age",
                    "The oldest line of each phase that is not an end: who was never served shows here.",
                    (f'max by (phase) (reconciler_ticket_oldest_age_seconds{{{T},phase=~"{OPEN}"}})', "{{phase}}"),
                    unit="s",
                    width=10,
                ),
            ),
        ),
    ),
)
