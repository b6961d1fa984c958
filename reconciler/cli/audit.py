"""`reconciler audit`: the log that an auditor can verify offline."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from reconciler.cli.main import options

if TYPE_CHECKING:
    from reconciler.store.journal import Verification


@click.group()
def audit() -> None:
    """Verify the audit log, or export it as JSON Lines."""


@audit.command()
@click.option("--file", type=click.Path(path_type=Path, dir_okay=False), help="An export, instead of the store.")
@click.option("--head", "heads", multiple=True, metavar="'TENANT SIZE HASH'", help="A head that was kept elsewhere.")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def verify(ctx: click.Context, file: Path | None, heads: tuple[str, ...], output: str) -> int:
    """Check every row against the one before it. Exit code 1 when the log does not hold.

    Rows behind the last head that was kept elsewhere could be cut off unnoticed; their number is printed.
    """
    from reconciler.errors import UserError
    from reconciler.store import heartbeat, journal
    from reconciler.wiring import open_store

    try:
        known = [journal.Head.parse(text) for text in heads]
    except ValueError as error:
        raise UserError(f"--head: {error}") from None
    if file is not None:
        with _opened(file) as lines:
            found = journal.verify(journal.read_export(lines), known)
    else:
        with open_store(options(ctx).settings) as database, database.read() as session:
            found = journal.verify(journal.export(session), [*known, *heartbeat.heads(session)])
    covered = {head.tenant: head.size for head in sorted(known)}  # the store's own heartbeat is not elsewhere
    unprotected = sum(head.size - covered.get(name, 0) for name, head in found.heads.items())
    if output == "json":
        click.echo(json.dumps({**_as_json(found), "unprotected": unprotected}, indent=2))
        return 0 if found.ok else 1
    if found.broken is not None:
        click.echo(f"BROKEN at row {found.broken.seq} of {found.broken.tenant}: {found.broken.sentence}")
        return 1
    for head in found.heads.values():
        click.echo(f"{head.tenant}: {head.size} rows, each follows the one before it.")
        click.echo(f"head  {head}")
    if not found.heads:
        click.echo("The log is empty.")
    if unprotected:
        click.echo(
            f"{unprotected} rows are covered by no head that was kept elsewhere: that they were cut off could not be "
            "told. Store the head above somewhere else and give it with --head."
        )
    return 0


def _opened(file: Path) -> TextIO:
    from reconciler.errors import UserError

    try:
        return file.open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"the export {file} cannot be read: {error.strerror}") from None


def _as_json(found: Verification) -> dict[str, object]:
    broken = found.broken
    return {
        "ok": found.ok,
        "size": found.size,
        "head": found.head,
        "heads": [str(head) for head in found.heads.values()],
        "broken": None
        if broken is None
        else {"tenant": broken.tenant, "seq": broken.seq, "why": broken.why, "sentence": broken.sentence},
    }


@audit.command()
@click.option("--file", type=click.Path(path_type=Path, dir_okay=False), help="Write there instead of standard output.")
@click.pass_context
def export(ctx: click.Context, file: Path | None) -> int:
    """Every row as one JSON object a line, as `audit verify --file` reads it."""
    from reconciler.wiring import open_store

    given = options(ctx)
    with open_store(given.settings) as database, database.read() as session:
        from reconciler.store import journal

        out = file.open("w", encoding="utf-8") if file is not None else sys.stdout
        try:
            for row in journal.export(session, given.tenant):
                out.write(json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":")) + "\n")
        finally:
            if file is not None:
                out.close()
    return 0
