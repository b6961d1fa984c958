"""`reconciler audit prove` and `audit check`: evidence files, and their check with the public key alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.audit.noting import note
from reconciler.cli.audit.verifying import read_keys, read_notes, read_text
from reconciler.cli.main import options

if TYPE_CHECKING:
    from reconciler.wiring import App


@click.command()
@click.argument("seq", type=click.IntRange(min=1), required=False)
@click.option(
    "--since",
    type=click.Path(path_type=Path, dir_okay=False),
    help="An old checkpoint instead of a row: proves that the log still continues it.",
)
@click.option("--file", type=click.Path(path_type=Path, dir_okay=False), help="Write there instead of standard output.")
@click.pass_context
def prove(ctx: click.Context, seq: int | None, since: Path | None, file: Path | None) -> int:
    """One row of the log as evidence: the row, the proof that it is in the log, and the signed checkpoint.

    The file is checked with `audit check` and the public key alone. That it was made is noted in the log.
    """
    from reconciler.errors import UserError
    from reconciler.wiring import open_app

    given = options(ctx)
    if (seq is None) == (since is None):
        raise UserError("say which row: `reconciler audit prove 42`, or which old checkpoint: --since FILE")
    with open_app(given.settings, given.tenant_name) as app:
        made = _row(app, seq) if seq is not None else _growth(app, read_notes(since) if since is not None else [])
    text = json.dumps(made, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    if file is None:
        click.echo(text, nl=False)
    else:
        file.write_text(text, encoding="utf-8")
    return 0


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--key", "keys", multiple=True, required=True, metavar="KEY|FILE", help="The public key of the log.")
@click.pass_context
def check(_ctx: click.Context, file: Path, keys: tuple[str, ...]) -> int:
    """Check an evidence file that `audit prove` made. Needs the file and the key, nothing else."""
    from reconciler.audit import proofs

    try:
        said = json.loads(read_text(file))
    except (ValueError, RecursionError):
        said = None
    found = proofs.check(said if isinstance(said, dict) else {}, read_keys(keys))
    click.echo(f"{'HOLDS' if found.ok else 'DOES NOT HOLD'}: {found.sentence}.")
    return 0 if found.ok else 1


def _row(app: App, seq: int) -> dict[str, Any]:
    from reconciler.audit import proofs
    from reconciler.errors import UserError
    from reconciler.store import checkpoints, journal

    with app.database.read() as session:
        if journal.row(session, app.name, seq) is None:
            size, gone = journal.head(session, app.name).size, checkpoints.segments(session, app.name)
            why = "was removed by retention" if gone and seq <= gone[-1].last else f"is not there; there are {size}"
            raise UserError(f"row {seq} of {app.name} {why}", exit_code=1)
    _signed(app, f"the proof of row {seq}")
    with app.database.read() as session:
        row, checkpoint = journal.row(session, app.name, seq), checkpoints.last(session, app.name)
        assert row is not None
        assert checkpoint is not None
        return proofs.of_row(row, checkpoints.tree(session, app.name), checkpoint)


def _growth(app: App, notes: list[str]) -> dict[str, Any]:
    from reconciler.audit import proofs
    from reconciler.audit.checkpoints import read
    from reconciler.audit.merkle import Pruned
    from reconciler.errors import UserError
    from reconciler.store import checkpoints

    mine = [c for c in map(read, notes) if c.tenant == app.name]
    if not mine:
        raise UserError(f"--since: the file has no checkpoint of {app.name}")
    old = max(mine, key=lambda c: c.size)
    _signed(app, f"the proof that the log continues its checkpoint at row {old.size}")
    with app.database.read() as session:
        new = checkpoints.last(session, app.name)
        assert new is not None
        try:
            return proofs.of_growth(old, new, checkpoints.tree(session, app.name))
        except (Pruned, ValueError) as error:
            raise UserError(
                f"this cannot be proved: {error}; see `reconciler audit verify --since`", exit_code=1
            ) from None


def _signed(app: App, what: str) -> None:
    """Note who asks, and sign the log as it is then."""
    from reconciler.errors import UserError

    note(app, app.name, what)
    app.notary.seal()
    if app.notary.broken:
        raise UserError(app.notary.broken[0], exit_code=1)
