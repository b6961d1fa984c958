"""`reconciler backtest`: closed tickets replayed, read-only."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.main import options

if TYPE_CHECKING:
    from rich.console import Console

    from reconciler.backtest.sums import Range, Sum
    from reconciler.backtest.values import Replayed

ROWS_MAX = 12  # groups of a kind that the terminal shows; the other forms have all


@click.command()
@click.option("--since", "since_text", default="90d", show_default=True, metavar="DURATION", help="How far back.")
@click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="EXPORT",
    help="Tickets from a CSV or JSON export; ServiceNow is not contacted. docs/backtest.md lists the columns.",
)
@click.option("--output", type=click.Choice(["table", "json", "csv", "html"]), default="table", show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write there, not to standard output.")
@click.option(
    "--log-kept",
    "kept_text",
    default="30d",
    show_default=True,
    metavar="DURATION",
    help="How long the directory keeps its log: 30 days, 7 in small plans.",
)
@click.pass_context
def backtest(
    ctx: click.Context, since_text: str, file: Path | None, output: str, out: Path | None, kept_text: str
) -> int:
    """How many closed tickets say "granted" without access: a range, by product, cause and assignment group.

    Read-only: it asks both systems and changes neither, and keeps no row. Exit codes: 0 done, 1 a system could not be
    read, 2 wrong usage, configuration or file.
    """
    from reconciler.backtest.page import page
    from reconciler.backtest.shapes import as_csv, as_json
    from reconciler.cli.progress import progress
    from reconciler.wiring import open_app
    from reconciler.wiring.replaying import backtest as replayed

    given = options(ctx)
    since, kept = _span(since_text, "--since"), _span(kept_text, "--log-kept")
    with progress() as say, open_app(given.settings, given.tenant_name, progress=say) as app:
        report = replayed(app, since=since, file=file, log_kept=kept)
    match output:
        case "json":
            _write([json.dumps(as_json(report), ensure_ascii=False, indent=2), "\n"], out)
        case "csv":
            _write(as_csv(report), out)
        case "html":
            _write([page(report)], out)
        case _:
            _table(report, out)
    for sentence in report.limits:
        click.echo(f"reconciler: {sentence}", err=True)
    if out is not None:
        click.echo(f"reconciler: the report is in {out}", err=True)
    return 0


def _span(text: str, option: str) -> timedelta:
    from desired_state.durations import duration
    from reconciler.errors import UserError

    try:
        span = duration(text)
    except (ValueError, OverflowError) as error:
        raise UserError(f"{option}: {error}") from None
    if not timedelta() < span <= timedelta(days=3660):
        raise UserError(f"{option}: between one second and ten years is expected")
    return span


def _write(parts: Iterable[str], out: Path | None) -> None:
    """Whole or not at all, and readable by its owner only: it names people."""
    if out is None:
        sys.stdout.writelines(parts)
        return
    handle, name = tempfile.mkstemp(dir=out.absolute().parent, prefix=f".{out.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.writelines(parts)
        Path(name).replace(out)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _table(report: Replayed, out: Path | None) -> None:
    from io import StringIO

    from rich.console import Console

    from reconciler.cli.table import PIPE_WIDTH, console

    if out is None:
        _show(console(), report)
        return
    text = StringIO()
    _show(Console(file=text, width=PIPE_WIDTH, highlight=False, color_system=None), report)
    _write([text.getvalue()], out)


def _show(to: Console, report: Replayed) -> None:
    from reconciler.backtest import sums
    from reconciler.backtest.values import Standing
    from reconciler.cli.table import plain_text

    whole = sums.total(report)
    to.print(
        plain_text(
            f"{report.tickets} tickets closed {report.since:%Y-%m-%d} to {report.at:%Y-%m-%d} (from {report.source}), "
            f"{whole.lines} lines, {whole.judged} judged; the log of the directory reaches {report.log_from:%Y-%m-%d}"
        )
    )
    to.print()
    for name, found in (
        ("No access at the closing (false fulfilment)", whole.at_closing),
        ("  of these still without access", whole.without_access),
        ("  of these with access that came later", whole.late),
    ):
        to.print(plain_text(f"{name:<46}{_told(found)}", style="bold" if not name.startswith(" ") else ""))
    counts = whole.counts
    to.print(
        plain_text(
            f"Apart: {counts[Standing.LEAVER]} have left, {counts[Standing.ENDED]} periods are over. "
            f"True and taken away since: {counts[Standing.REMOVED]}."
        )
    )
    for why, n in report.skipped.items():
        to.print(plain_text(f"Left aside: {n} {why}"))
    for title, found_sums in (
        ("product", sums.by_product(report)),
        ("cause", sums.by_cause(report)),
        ("assignment group", sums.by_group(report)),
    ):
        to.print()
        _groups(to, title, found_sums)
    to.print()
    for spent in sums.spent(report):
        unpriced = f", {spent.unpriced} without a price" if spent.unpriced else ""
        name = f"Wrong grants, {spent.kind.value.replace('_', ' ')}"
        to.print(
            plain_text(f"{name:<46}{spent.lines}, {spent.monthly:.2f} a month, {spent.so_far:.2f} so far{unpriced}")
        )
    told = ", ".join(f"{step.replace('_', ' ')} {n}" for step, n in sums.steps(report).items())
    to.print(plain_text(f"{'Would have been done':<46}{told}"))


def _groups(to: Console, title: str, found: tuple[Sum, ...]) -> None:
    from rich.table import Table

    from reconciler.backtest.values import Standing
    from reconciler.cli.table import plain_text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in (title, "lines", "judged", "proven", "likely", "possible", "of these late", "left"):
        table.add_column(name, justify="left" if name == title else "right", overflow="fold")
    for one in found[:ROWS_MAX]:
        whole, late = one.at_closing, one.late
        cells = (one.lines, one.judged, whole.low, whole.likely, whole.high, late.likely, one.counts[Standing.LEAVER])
        table.add_row(plain_text(one.name), *(str(n) for n in cells))
    to.print(table)
    if len(found) > ROWS_MAX:
        to.print(plain_text(f"and {len(found) - ROWS_MAX} more; --output json, csv and html have all"))


def _told(found: Range) -> str:
    """The range as people read it."""
    if not found.of:
        return "no line to judge"
    low, likely, high = (f"{100 * n / found.of:.0f} %" for n in (found.low, found.likely, found.high))
    return (
        f"{low} proven, {likely} likely, at most {high}   ({found.low} / {found.likely} / {found.high} of {found.of})"
    )
