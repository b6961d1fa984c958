"""A backtest as one page that can be mailed: everything is in it, nothing runs in it, nothing is loaded by it. Pure.

All text is escaped by the template engine; what came from tickets was cut to one line before (I17).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from jinja2 import Environment, PackageLoader, StrictUndefined

from desired_state.text import one_line
from reconciler.backtest import charts, sums
from reconciler.backtest.values import Replayed, Standing

WORDS = {
    Standing.FALSE_PROVEN: "false, proven",
    Standing.FALSE_LIKELY: "false, likely",
    Standing.LATE_PROVEN: "late, proven",
    Standing.LATE_LIKELY: "late, likely",
    Standing.UNKNOWN: "cannot be told",
    Standing.UNDATED: "there, since when is not known",
    Standing.REMOVED: "true, taken away since",
    Standing.ENDED: "period over",
    Standing.LEAVER: "has left",
    Standing.TRUE: "true",
}
LINES_MAX = 2000  # what is true comes last: a page of ten thousand rows could not be mailed
SPENT = {
    "wrong_product": "A product that was not asked for",
    "period_over": "The period is over, the licence still there",
    "leaver": "The person has left, the licence still there",
}


def page(report: Replayed) -> str:
    """The page as HTML."""
    whole = sums.total(report)
    lines = charts.worst_first(report.lines, [s.value for s in WORDS])
    env = Environment(
        loader=PackageLoader("reconciler.backtest"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {"day": _day, "percent": _percent, "shown": _shown, "words": _words}
    return env.get_template("report.html").render(
        report=report,
        whole=whole,
        ranges=(
            ("No access at the closing", "the false-fulfilment rate", whole.at_closing),
            ("Still without access", "closed, and never given", whole.without_access),
            ("Access came later", "late truths", whole.late),
        ),
        rate=charts.ranged("No access at the closing", whole.at_closing, max(whole.judged, 1)),
        kinds=(
            ("By cause", "cause", sums.by_cause(report), charts.groups(sums.by_cause(report))),
            ("By product", "product", sums.by_product(report), charts.groups(sums.by_product(report))),
            ("By assignment group", "assignment group", sums.by_group(report), charts.groups(sums.by_group(report))),
        ),
        lateness=charts.lateness(report),
        median=_span(whole.late_median_s),
        spent=sums.spent(report),
        spent_words=SPENT,
        steps=charts.counted({_words(name): n for name, n in sums.steps(report).items()}),
        lines=lines[:LINES_MAX],
        more=max(0, len(lines) - LINES_MAX),
        standing_words=WORDS,
        S=Standing,
        width=charts.WIDTH,
    )


def _day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d}" if at is not None else "not known"


def _percent(count: int, of: int) -> str:
    return f"{100 * count / of:.0f}\u00a0%" if of else "\u2013"


def _shown(text: str) -> str:
    return one_line(text, 400)


def _words(name: str) -> str:
    return one_line(name.replace("_", " "), 120)


def _span(seconds: float | None) -> str:
    if seconds is None:
        return ""
    span = timedelta(seconds=round(seconds))
    if span >= timedelta(days=2):
        return f"{span / timedelta(days=1):.0f} days"
    return f"{span / timedelta(hours=1):.1f} hours"
