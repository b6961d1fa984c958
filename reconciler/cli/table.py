"""The report of a cycle for people: what was found and done, line by line, and what is left."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from desired_state.text import one_line
from reconciler.lifecycle import Phase
from reconciler.line import Ending
from reconciler.loop.lasting import lasting
from reconciler.model import Result, Verdict
from reconciler.report import CycleReport, actions_of, cause_of, user_name

STYLES = {
    Phase.GRANTED: "green",
    Phase.REVIEW: "yellow",
    Phase.HELD: "yellow",
    Phase.DRIFTED: "red",
    Phase.CONVERGING: "cyan",
    Phase.VERIFYING: "cyan",
}
PIPE_WIDTH = 160


def console() -> Console:
    """Standard output, as wide as the terminal, or a fixed width in a pipe so that nothing is cut."""
    width = shutil.get_terminal_size((PIPE_WIDTH, 24)).columns if sys.stdout.isatty() else PIPE_WIDTH
    return Console(width=int(os.environ.get("COLUMNS") or width), highlight=False)


def plain_text(text: str, style: str = "") -> Text:
    """Text of one line for a terminal: nothing in it can steer the terminal (I17)."""
    body = text.lstrip(" ")
    return Text(" " * (len(text) - len(body)) + one_line(body, 4000), style=style)


def show(report: CycleReport, source: str) -> None:
    """Print the report."""
    out = console()
    domain = _common_domain(report)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("ticket", "person", "product", "verdict", "cause", "phase", "change", "told"):
        table.add_column(name, overflow="fold", no_wrap=name in ("ticket", "person", "verdict", "phase"))
    for ending in report.endings:
        table.add_row(*_cells(report, ending, domain))
    dry = " (dry run: nothing was written)" if report.is_dry_run else ""
    people = f"; people are @{domain}" if domain else ""
    out.print(f"Tenant {report.tenant} of {source}, mode {report.mode}, answers {report.answers}{people}{dry}")
    out.print()
    out.print(table)
    out.print()
    _lasting(out, report)
    _left(out, report)
    _sums(out, report)


def _common_domain(report: CycleReport) -> str:
    """The domain that all people of the report share, "" when they do not."""
    domains = {name.rpartition("@")[2] for e in report.endings if (name := user_name(e))}
    return domains.pop() if len(domains) == 1 else ""


def _cells(report: CycleReport, ending: Ending, domain: str) -> tuple[Text, ...]:
    state, first = ending.state, ending.gated.proposal.finding
    number = state.key.ticket if state.key.line == 1 else f"{state.key.ticket}/{state.key.line}"
    product = first.line.product.name if first.line.product is not None else "?"
    phase = Text(state.phase.value, style=STYLES.get(state.phase, ""))
    verdict = Text(first.verdict.value if first.verdict else "-", style="red" if first.verdict is Verdict.FALSE else "")
    told = ", ".join(kind.value for kind in report.given.get(state.key.ticket, ()))
    return (
        Text(number),
        Text((user_name(ending) or "?").removesuffix(f"@{domain}")),
        Text(product),
        verdict,
        Text(cause_of(ending) or "-"),
        phase,
        Text(_done(ending)),
        Text(told or "-"),
    )


def _done(ending: Ending) -> str:
    parts = []
    for action in actions_of(ending):
        after = action["after"]
        if "usage_location" in after:
            what = f"location {after['usage_location']}"
        elif not after.get("licence"):
            what = action["kind"].replace("_", " ")
        else:
            before = (action["before"].get("licence") or {}).get("disabled_plans", [])
            now = after["licence"]["disabled_plans"]
            turned = [p for p in before if p not in now]
            what = f"{', '.join(turned)} on" if turned else f"{after['licence']['sku']} assigned"
        result = "not sent" if action["result"] == Result.PLANNED.value else action["result"]
        parts.append(what if result == Result.APPLIED.value else f"{what} ({result})")
    finding = ending.finding
    is_covered = finding.covered_by is not None and ending.state.phase is Phase.GRANTED and not ending.outcomes
    if is_covered and finding.line.product is not None:
        price = finding.line.product.price
        saved = f", {price:.2f} a month saved" if price is not None else ""
        parts.append(f"covered by a bundle, nothing bought{saved}")
    return "; ".join(parts) or "-"


def _lasting(out: Console, report: CycleReport) -> None:
    """What of the changes cannot be undone: in a dry run, before anything is done."""
    rows = []
    for ending in report.endings:
        product = ending.finding.line.product
        sent = [o.action for o in ending.outcomes if o.result is not Result.ROLLED_BACK]
        for action in sent or ending.gated.proposal.actions:
            rows += [(ending.state.key, said) for said in (lasting(action, product) if product is not None else ())]
    if not rows:
        return
    out.print(Text("Cannot be undone", style="bold"))
    for key, said in rows:
        out.print(Text(f"  {key}  {said}"), soft_wrap=True)
    out.print()


def _left(out: Console, report: CycleReport) -> None:
    """Why each line that is not at ease is where it is."""
    left = [e for e in report.endings if e.state.note and e.state.phase is not Phase.GRANTED]
    if not left:
        return
    out.print(Text("Not done, and why", style="bold"))
    for ending in left:
        out.print(Text(f"  {ending.state.key}  {ending.state.phase.value}: {ending.state.note}"), soft_wrap=True)
    out.print()
    for trip in report.trips:
        out.print(Text(f"  guard {trip.guard}: {trip.sentence}", style="red"), soft_wrap=True)


def _sums(out: Console, report: CycleReport) -> None:
    counts = report.counts()
    false, corrected = counts["false"], counts["corrected"]
    closed = counts["true"] + false + counts["pending"] + counts["unknown"]
    out.print(
        f"{counts['lines']} lines: {closed} say fulfilled, of which {counts['true']} true, {false} false, "
        f"{counts['pending']} pending, {counts['unknown']} unknown."
    )
    out.print(
        f"{corrected} corrected and proven, {counts['handed_back']} handed back, {counts['granted']} granted in all, "
        f"{counts['held']} held, {counts['awaiting_approval']} awaiting approval, {counts['review']} with a person."
    )
    out.print(
        f"Requests: {report.requests.get('graph', 0)} Graph, {report.requests.get('servicenow', 0)} ServiceNow; "
        f"writes: {report.writes.get('graph', 0)} Graph, {report.writes.get('servicenow', 0)} ServiceNow."
    )
    out.print(f"Audit log: {report.audit_size} rows, head {report.audit_head[:16] or '-'}.")
    out.print("Converged." if report.is_converged else "Not converged: see above.")


def usage_line(budget: Mapping[str, Any]) -> str:
    """One budget of `status` or `guards show`: what of a day it took, and what one cycle may."""
    name = f"{budget['product']} {budget['what']}" if "product" in budget else str(budget["what"])
    per_day = "no limit" if budget["per_day"] is None else f"{budget['per_day']}"
    per_cycle = "" if budget["per_cycle"] is None else f", {budget['per_cycle']} a cycle"
    return f"{name:<24} {budget['used']:>5} of {per_day}{per_cycle}"
