"""Dashboards and rules speak of series that are exported, say what they mean, and are what their source writes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest

from deploy.monitoring.boards import BOARDS
from deploy.monitoring.files import files
from deploy.monitoring.grafana import WIDTH, dashboard
from deploy.monitoring.prometheus import anchor, twins
from deploy.monitoring.proofs import PROOFS, WATCHED
from deploy.monitoring.rules import ALERTS, RECORDINGS
from deploy.monitoring.values import Kind as PanelKind
from reconciler.metrics.series import SERIES, Kind, Series

DEPLOY = Path(__file__).parents[2] / "deploy"
RUNBOOK = DEPLOY.parent / "docs/runbook.md"
RECORDED = {rule.record for group in RECORDINGS for rule in group.rules}
PANELS = [
    (f"{board.uid}: {panel.title}", query.expr) for board in BOARDS for panel in board.panels for query in panel.queries
]
RULES = [
    *((rule.record, rule.expr) for group in RECORDINGS for rule in group.rules),
    *((alert.name, alert.expr) for alert in ALERTS),
    *((alert.twin_name, alert.missing) for alert in ALERTS),
]


def test_the_committed_files_are_what_the_source_writes():
    stale = [name for name, text in files().items() if (DEPLOY / name).read_text("utf-8") != text]

    assert stale == [], "run python -m deploy.monitoring"
    kept = {p.relative_to(DEPLOY).as_posix() for p in (DEPLOY / "grafana/dashboards").iterdir()}
    assert kept <= files().keys()


@pytest.mark.parametrize(("name", "expr"), [*PANELS, *RULES], ids=lambda text: text if len(text) < 70 else "")
def test_an_expression_is_about_series_that_are_exported(name: str, expr: str):
    filled = expr.replace("$__rate_interval", "1m")
    selectors = list(_selectors(promql.parse(filled)))

    assert selectors or re.fullmatch(r"vector\([\d.]+\)", expr), name  # a target, to draw a line at
    for selector in selectors:
        matchers = [(m.op, m.name, m.value) for m in selector.matchers.matchers]
        if selector.name == "up":
            assert [(n, v) for _, n, v in matchers] == [("job", "reconciler")]
        elif selector.name in RECORDED:
            assert {n for _, n, _ in matchers} <= {"tenant", "part"}
        else:
            _check(_family(selector.name), matchers)


def _family(name: str) -> Series:
    if name in SERIES:
        assert SERIES[name].kind is not Kind.HISTOGRAM, f"{name} is exported as _bucket, _sum and _count"
        return SERIES[name]
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    assert base in SERIES, f"{name} is not exported"
    assert SERIES[base].kind is Kind.HISTOGRAM
    return SERIES[base]


def _check(family: Series, matchers: list[tuple[Any, str, str]]) -> None:
    labels = {label.name: label for label in family.labels}
    for _, name, value in matchers:
        if name == "le":
            assert float(value) in family.buckets
            continue
        assert name in labels, f"{family.name} has no label {name}"
        known = labels[name].values
        if known is not None:
            assert set(value.split("|")) <= known, f"{family.name} never has {name}={value}"


def _selectors(node: Any) -> Iterator[Any]:
    if isinstance(node, promql.VectorSelector):
        yield node
    elif isinstance(node, promql.MatrixSelector):
        yield node.vector_selector
    else:
        for name in ("expr", "lhs", "rhs", "param"):
            if getattr(node, name, None) is not None:
                yield from _selectors(getattr(node, name))
        for argument in getattr(node, "args", None) or ():
            yield from _selectors(argument)


def test_a_name_that_nobody_exports_is_found():
    (selector,) = _selectors(promql.parse("rate(reconciler_gone_total[5m])"))

    with pytest.raises(AssertionError, match="reconciler_gone_total is not exported"):
        _family(selector.name)


def test_every_series_is_looked_at_somewhere():
    seen = {
        s.name
        for _, expr in (*PANELS, *RULES)
        for s in _selectors(promql.parse(expr.replace("$__rate_interval", "1m")))
    }
    used = {re.sub(r"_(bucket|sum|count)$", "", name) for name in seen} | seen

    assert set(SERIES) - used == {
        "reconciler_approval_seconds",  # beside the backlog and its oldest age it adds little
        "reconciler_verification_seconds",  # for whoever asks where the time to access goes
    }


def test_every_alert_is_proven_has_a_twin_and_a_section_in_the_runbook():
    names = [alert.name for alert in ALERTS]
    sections = {
        re.sub(r"\W", "", line[3:]).lower() for line in RUNBOOK.read_text("utf-8").splitlines() if line[:3] == "## "
    }

    assert sorted(proof.alert for proof in PROOFS) == sorted(names)
    assert all("absent(" in alert.missing for alert in ALERTS)
    assert set(WATCHED) | {"ReconcilerTargetMissing"} == set(twins())
    assert {anchor(alert) for alert in ALERTS} <= sections


def test_what_an_alert_watches_is_what_its_twin_watches():
    def names(expr: str) -> set[str]:
        found = {s.name for s in _selectors(promql.parse(expr))}
        under = {s.name for name in found & RECORDED for s in _selectors(promql.parse(_recorded(name)))}
        return {
            re.sub(r"_(bucket|count)$", "", name) for name in (found - RECORDED) | (under - RECORDED) | _deep(under)
        }

    def _deep(found: set[str]) -> set[str]:
        return {s.name for name in found & RECORDED for s in _selectors(promql.parse(_recorded(name)))} - RECORDED

    for alert in ALERTS:
        watched = names(alert.missing) - ({"up"} if alert.name != "ReconcilerDown" else set())
        assert names(alert.expr) <= watched | {"reconciler_mode_level"}, alert.name


def _recorded(name: str) -> str:
    return next(rule.expr for group in RECORDINGS for rule in group.rules if rule.record == name)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_a_dashboard_can_be_laid_out(board: Any):
    found = json.loads(json.dumps(dashboard(board)))
    panels = found["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= WIDTH
        assert not cells & taken, panel["title"]
        taken |= cells

    assert len({panel["id"] for panel in panels}) == len(panels)
    shown = [panel for panel in panels if panel["type"] != "row"]
    assert {panel["type"] for panel in shown} <= {kind.value for kind in PanelKind}
    assert all(panel["description"].endswith(".") for panel in shown)
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in shown)
    assert len({panel["title"] for panel in shown}) == len(shown)
    named = {variable["name"] for variable in found["templating"]["list"]}
    asked = set(re.findall(r"\$\{?(\w+)", json.dumps(shown)))
    assert asked <= named | {"__rate_interval"}
    assert named - {"datasource"} <= asked | {"tenant"}


def test_the_panels_of_the_design_are_there():
    titles = {board.uid: [panel.title.lower() for panel in board.panels] for board in BOARDS}
    wanted = {
        "reconciler-service-desk": ("its target", "by phase", "oldest", "seat", "reopened", "approval", "access"),
        "reconciler-licence-admin": ("drift by cause", "oldest drift", "against group", "fighting", "expired", "sku",
                                     "errors"),
        "reconciler-finance": ("monthly cost", "approval", "without a ticket", "chain", "checkpoint", "proposals"),
        "reconciler-sre": ("good cycle", "step", "by result", "duration", "budget", "guards", "requests", "p95",
                           "throttled", "quota", "idle writes", "retries", "notices", "mode", "credential"),
    }  # fmt: skip

    lacking = [
        (uid, word) for uid, words in wanted.items() for word in words if not any(word in t for t in titles[uid])
    ]
    assert lacking == []
