"""For finance, software asset management and audit: what it costs, by whose word, and whether the log holds."""

from __future__ import annotations

from deploy.monitoring.boards.parts import BAD, GOOD, T, rising, stat, trend
from deploy.monitoring.values import Dashboard, Row

BOARD = Dashboard(
    "reconciler-finance",
    "Licences: finance and audit",
    "Cost at the prices that are configured, what is proposed and decided, and whether the audit log holds.",
    (
        Row(
            "Cost",
            (
                trend(
                    "Monthly cost",
                    "Granted: what is held by tickets. Idle: held and not used. Duplicate: held directly and by group."
                    " Avoided: not bought because a bundle brings it. Empty without prices.",
                    (f"sum by (kind) (max by (tenant, kind) (reconciler_cost_monthly{{{T}}}))", "{{kind}}"),
                    unit="none",
                    width=12,
                ),
                stat(
                    "Spend that waits for approval",
                    f"sum(max by (tenant) (reconciler_approval_cost_monthly{{{T}}}))",
                    "A month, of the requests whose price is known. Empty without prices.",
                    unit="none",
                ),
                stat(
                    "Licences without a ticket",
                    f'sum(max by (tenant, sku) (reconciler_seats{{kind="consumed",{T}}}))'
                    f' - sum(max by (tenant, product, phase) (reconciler_tickets{{phase=~"granted|expiring",{T}}}))',
                    "Seats in use less lines that are granted. An estimate: one suite may serve several lines, and what"
                    " was assigned before the tickets began is in it.",
                ),
                stat(
                    "Saving by duplicates and idle seats",
                    f'sum(max by (tenant, kind) (reconciler_cost_monthly{{kind=~"idle|duplicate",{T}}}))',
                    "A month, if they were given back.",
                    unit="none",
                ),
            ),
        ),
        Row(
            "By whose word",
            (
                trend(
                    "Proposals by source and outcome",
                    "Requests that people had to decide, a day; ai is an agent with a token, api an integration.",
                    (
                        "sum by (source, outcome) (increase(reconciler_proposals_total[1d])) > 0",
                        "{{source}} {{outcome}}",
                    ),
                    stacked=True,
                    width=12,
                ),
                trend(
                    "Requests for approval",
                    "By state, all of them.",
                    (f"sum by (state) (max by (tenant, state) (reconciler_approvals{{{T}}})) > 0", "{{state}}"),
                    width=12,
                ),
            ),
        ),
        Row(
            "The audit log",
            (
                stat(
                    "Chain",
                    "min(reconciler_audit_ok)",
                    "Whether every row that was checked holds. All of it is read again and again, a slice a scrape.",
                    names=((1, "holds", GOOD), (0, "broken", BAD)),
                    width=8,
                ),
                stat(
                    "Last signed checkpoint",
                    "max(reconciler_audit_head_age_seconds)",
                    "Its age. What came after it is not protected yet.",
                    unit="s",
                    steps=rising(6 * 3600, 86_400),
                    width=8,
                ),
                stat(
                    "Tickets told, 30 days",
                    f'sum by (kind) (increase(reconciler_ticket_answers_total{{result="given",{T}}}[30d]))',
                    "What was written into tickets: notes, tasks, reopenings, closings.",
                    legend="{{kind}}",
                    width=8,
                ),
            ),
        ),
    ),
    since="now-30d",
)
