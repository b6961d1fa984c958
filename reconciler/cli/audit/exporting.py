"""`reconciler audit export`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.audit.noting import note_export
from reconciler.cli.main import options

if TYPE_CHECKING:
    from sqlmodel import Session


@click.command()
@click.option("--file", type=click.Path(path_type=Path, dir_okay=False), help="Write there instead of standard output.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "ocsf", "csv"]),
    default="jsonl",
    show_default=True,
    help="jsonl is the whole log and verifies; ocsf is for a SIEM, csv for a spreadsheet.",
)
@click.option("--since", metavar="INSTANT", help="Rows from then on, for example 2026-11-02 or 2026-11-02T09:00:00Z.")
@click.option("--until", metavar="INSTANT", help="Rows before then.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    help="Rows of this kind, or event, only; may be given again.",
)
@click.pass_context
def export(
    ctx: click.Context,
    file: Path | None,
    form: str,
    since: str | None,
    until: str | None,
    kinds: tuple[str, ...],
) -> int:
    """Copy the log out. The export is noted in the log, with your account's name, before anything is written.

    Without filters, JSON Lines hold every row, each signed checkpoint behind the row that it covers, and what is left
    of removed segments: all that `audit verify --file` needs beside the public key.
    """
    from reconciler.store import journal
    from reconciler.wiring import open_store

    given = options(ctx)
    bounds = (_instant(since, "--since"), _instant(until, "--until"))
    with open_store(given.settings) as database:
        with database.read() as session:
            every = [t for t in journal.tenants(session) if given.tenant in (None, t)]
        chosen = [f"{form}", *(f"{n} {v.isoformat()}" for n, v in zip(("since", "until"), bounds, strict=True) if v)]
        note_export(given.settings, every, ", ".join([*chosen, *(f"kind {k}" for k in sorted(kinds))]))
        with database.read() as session:
            _write(_lines(session, given.tenant, form, bounds, kinds), file)
    return 0


def _lines(
    session: Session,
    tenant: str | None,
    form: str,
    bounds: tuple[datetime | None, datetime | None],
    kinds: tuple[str, ...],
) -> Iterator[str]:
    from importlib.metadata import version

    from reconciler.audit import ocsf, sheet
    from reconciler.audit.kinds import only, rows_of
    from reconciler.store import checkpoints, journal

    if form == "jsonl" and not kinds and bounds == (None, None):
        yield from map(_json, checkpoints.export(session, tenant))
        return
    named = frozenset(kinds)
    wanted = rows_of(named)
    if form == "ocsf" and "result" in wanted:  # an event is made of both
        named, wanted = named | {"intent"}, wanted | {"intent"}
    rows = only(journal.export(session, tenant, since=bounds[0], until=bounds[1], kinds=wanted), named)
    if form == "csv":
        yield from sheet.lines(rows)
    elif form == "ocsf":
        yield from map(_json, ocsf.events(rows, version=version("license-reconciler")))
    else:
        yield from map(_json, rows)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")) + "\n"


def _write(lines: Iterable[str], file: Path | None) -> None:
    out = file.open("w", encoding="utf-8", newline="") if file is not None else sys.stdout
    try:
        out.writelines(lines)
    finally:
        if file is not None:
            out.close()


def _instant(text: str | None, what: str) -> datetime | None:
    from reconciler.errors import UserError

    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"{what}: a date or an instant is expected, for example 2026-11-02T09:00:00Z") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
