"""Every generated file by its name under deploy/."""

from __future__ import annotations

from deploy.monitoring.boards import BOARDS
from deploy.monitoring.grafana import as_json
from deploy.monitoring.limits import MISSING_FOR
from deploy.monitoring.prometheus import as_yaml, rules
from deploy.monitoring.proofs import proofs

RULES = "prometheus/reconciler.rules.yml"
PROOFS = "prometheus/reconciler.rules.test.yml"


def files() -> dict[str, str]:
    """Name to text."""
    return {
        RULES: as_yaml(rules(MISSING_FOR)),
        PROOFS: as_yaml(proofs()),
        **{f"grafana/dashboards/{board.uid}.json": as_json(board) for board in BOARDS},
    }
