"""Rules as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from deploy.monitoring.rules import ALERTS, RECORDINGS
from deploy.monitoring.values import Alert, Severity

RUNBOOK = "docs/runbook.md"
HEAD = "# Written by `python -m deploy.monitoring`; edit deploy/monitoring/ instead.\n"


def anchor(alert: Alert) -> str:
    """The heading of the runbook, as a link names it."""
    return alert.name.lower()


def noted(alert: Alert, summary: str) -> dict[str, str]:
    """`runbook_url` is a path in this repository: put the address where your site keeps it before it."""
    return {"summary": summary, "runbook_url": f"{RUNBOOK}#{anchor(alert)}"}


def twin_summary(alert: Alert) -> str:
    of_whom = "{{ with $labels.tenant }} of {{ . }}{{ end }}"
    return f"{alert.name} cannot be judged: its series are missing{of_whom}"


def twins() -> Mapping[str, Alert]:
    """The alerts that tell of missing series, each by the first alert that it stands beside."""
    found: dict[str, Alert] = {}
    for alert in ALERTS:
        found.setdefault(alert.twin_name, alert)
    return found


def rules(missing_for: str) -> dict[str, Any]:
    """The whole rules file as plain data."""
    groups: list[dict[str, Any]] = [
        {
            "name": group.name,
            "interval": group.interval,
            "rules": [{"record": rule.record, "expr": rule.expr} for rule in group.rules],
        }
        for group in RECORDINGS
    ]
    groups.append({"name": "reconciler-alerts", "interval": "1m", "rules": [_alert(alert) for alert in ALERTS]})
    groups.append(
        {
            "name": "reconciler-missing",
            "interval": "5m",
            "rules": [
                {
                    "alert": name,
                    "expr": alert.missing,
                    "for": missing_for,
                    "labels": {"severity": Severity.TICKET.value},
                    "annotations": noted(alert, twin_summary(alert)),
                }
                for name, alert in twins().items()
            ],
        }
    )
    return {"groups": groups}


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        **({"for": alert.for_} if alert.for_ != "0s" else {}),
        "labels": {"severity": alert.severity.value},
        "annotations": noted(alert, alert.summary),
    }


def as_yaml(data: object) -> str:
    return HEAD + yaml.safe_dump(data, sort_keys=False, width=116, allow_unicode=True)
