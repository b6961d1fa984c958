"""Dashboards as Grafana reads them (schema 38, Grafana 10 and newer). Pure.

Panels are laid out row by row, left to right, 24 units wide. Every dashboard has its data source as a variable, so it
is provisioned from files and imported by hand alike.
"""

from __future__ import annotations

import json
from typing import Any

from deploy.monitoring.values import Dashboard, Kind, Panel, Query, Step

WIDTH = 24
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_VARIABLES: dict[str, dict[str, Any]] = {
    "tenant": {
        "name": "tenant",
        "label": "Tenant",
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": "label_values(reconciler_inventory_ok, tenant)", "refId": "tenant"},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",  # series that tell no tenants apart are in it too
        "current": {"text": ["All"], "value": ["$__all"]},
        "sort": 1,
    },
    "expected_full": {
        "name": "expected_full",
        "label": "Expected full (regular expression of SKUs)",
        "type": "textbox",
        "query": "none",
        "current": {"text": "none", "value": "none"},
    },
}


def dashboard(board: Dashboard) -> dict[str, Any]:
    """One dashboard as plain data."""
    panels: list[dict[str, Any]] = []
    y = 0
    for row in board.rows:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": y},
                "panels": [],
            }
        )
        y += 1
        x, deepest = 0, 0
        for panel in row.panels:
            if x + panel.width > WIDTH:
                x, y, deepest = 0, y + deepest, 0
            at = {"h": panel.height, "w": panel.width, "x": x, "y": y}
            panels.append(_panel(panel, len(panels) + 1, at))
            x, deepest = x + panel.width, max(deepest, panel.height)
        y += deepest
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.about,
        "tags": ["license-reconciler"],
        "schemaVersion": 38,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "time": {"from": board.since, "to": "now"},
        "timezone": "browser",
        "refresh": "1m",
        "links": [
            {
                "type": "dashboards",
                "title": "Licences",
                "tags": ["license-reconciler"],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
                "icon": "external link",
            }
        ],
        "annotations": {"list": []},
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Data source",
                    "type": "datasource",
                    "query": "prometheus",
                    "refresh": 1,
                    "current": {},
                },
                *(_VARIABLES[name] for name in board.variables),
            ]
        },
        "panels": panels,
    }


def as_json(board: Dashboard) -> str:
    """Its file."""
    return json.dumps(dashboard(board), indent=1, ensure_ascii=False) + "\n"


def _panel(panel: Panel, number: int, at: dict[str, int]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": number,
        "type": panel.kind.value,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": at,
        "targets": [
            _target(query, letter, panel.kind) for query, letter in zip(panel.queries, "ABCDEFGH", strict=False)
        ],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS[panel.kind],
    }
    if panel.kind is Kind.TABLE:
        found["transformations"] = _as_table(panel)
    return found


def _target(query: Query, letter: str, kind: Kind) -> dict[str, Any]:
    asked: dict[str, Any] = {"refId": letter, "expr": query.expr, "datasource": SOURCE, "editorMode": "code"}
    if kind is Kind.TREND:
        return asked | {"legendFormat": query.legend or "__auto", "range": True, "instant": False}
    if kind is Kind.TABLE:
        return asked | {"format": "table", "range": False, "instant": True}
    return asked | {"legendFormat": query.legend or "__auto", "range": False, "instant": True}


def _defaults(panel: Panel) -> dict[str, Any]:
    steps = panel.steps or (Step("text" if panel.kind is Kind.STAT else "green"),)
    found: dict[str, Any] = {
        "unit": panel.unit,
        "color": {"mode": "palette-classic" if panel.kind is Kind.TREND else "thresholds"},
        "thresholds": {"mode": "absolute", "steps": [{"color": step.colour, "value": step.at} for step in steps]},
        "min": 0,
    }
    if panel.max is not None:
        found["max"] = panel.max
    if panel.names:
        words = {
            f"{value:g}": {"text": word, "color": colour, "index": n}
            for n, (value, word, colour) in enumerate(panel.names)
        }
        found["mappings"] = [{"type": "value", "options": words}]
    if panel.kind is Kind.TREND:
        found["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 25 if panel.is_stacked else 0,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.is_stacked else "none", "group": "A"},
        }
    if panel.kind is Kind.TABLE:
        found["custom"] = {"align": "auto", "cellOptions": {"type": "color-text" if panel.names else "auto"}}
    return found


_REDUCED = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_OPTIONS: dict[Kind, dict[str, Any]] = {
    Kind.STAT: {
        "reduceOptions": _REDUCED,
        "colorMode": "value",
        "graphMode": "none",
        "textMode": "auto",
        "justifyMode": "auto",
        "orientation": "auto",
    },
    Kind.TREND: {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    Kind.BARS: {
        "reduceOptions": _REDUCED,
        "orientation": "horizontal",
        "displayMode": "basic",
        "showUnfilled": True,
        "valueMode": "color",
    },
    Kind.TABLE: {"showHeader": True, "cellHeight": "sm", "footer": {"show": False}},
}


def _as_table(panel: Panel) -> list[dict[str, Any]]:
    """One row a label value: the columns are joined by it, and named as they are asked for."""
    letters = "ABCDEFGH"[: len(panel.queries)]
    single = len(panel.queries) == 1
    names = {
        ("Value" if single else f"Value #{letter}"): query.legend
        for letter, query in zip(letters, panel.queries, strict=True)
    }
    return [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": names}},
    ]
