"""`reconciler audit verify`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.main import options

if TYPE_CHECKING:
    from reconciler.audit.chain import Head
    from reconciler.audit.notes import Verifier
    from reconciler.audit.verify import Report
    from reconciler.config import Settings

SHOWN = 20  # findings of one kind that a terminal gets; JSON has them all


@click.command()
@click.option("--file", type=click.Path(path_type=Path, dir_okay=False), help="An export, instead of the store.")
@click.option("--key", "keys", multiple=True, metavar="KEY|FILE", help="Public key that signs checkpoints.")
@click.option(
    "--since",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A checkpoint, or a file of heads, that was kept elsewhere: the log has to continue it.",
)
@click.option("--head", "heads", multiple=True, metavar="'TENANT SIZE HASH'", help="A head that was kept elsewhere.")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def verify(
    ctx: click.Context,
    file: Path | None,
    keys: tuple[str, ...],
    since: tuple[Path, ...],
    heads: tuple[str, ...],
    output: str,
) -> int:
    """Check every row, its order, the tree, every signed checkpoint, and how it went. Exit code 1: something is wrong.

    With --file and --key nothing else is needed: no store, no configuration, no network. Rows behind the last head or
    checkpoint that was kept elsewhere could be cut off unnoticed; their number is printed.
    """
    from reconciler.audit.chain import Head
    from reconciler.errors import UserError

    try:
        known = [Head.parse(text) for text in heads]
    except ValueError as error:
        raise UserError(f"--head: {error}") from None
    verifiers, notes = read_keys(keys), [note for path in since for note in read_notes(path)]
    found = _file(file, verifiers, known, notes) if file else _store(options(ctx).settings, verifiers, known, notes)
    if output == "json":
        click.echo(json.dumps(as_json(found), indent=2, ensure_ascii=False))
    else:
        _show(found)
    return 0 if found.ok else 1


def read_keys(texts: Sequence[str]) -> list[Verifier]:
    """Public keys as they were printed, or from files that hold one a line, as `audit key` prints. Raises UserError."""
    from reconciler.audit.notes import BadNote, Verifier
    from reconciler.errors import UserError

    try:
        found = []
        for text in texts:
            is_file = "+" not in text or Path(text).is_file()
            said = read_text(Path(text)) if is_file else text
            found += [Verifier.parse(line.strip()) for line in said.strip().splitlines() or [""]]
        return found
    except BadNote as error:
        raise UserError(f"--key: {error}; `reconciler audit key` prints it") from None


def read_notes(path: Path) -> list[str]:
    """The checkpoints of a file. Raises UserError."""
    from reconciler.audit.checkpoints import notes_in, read
    from reconciler.audit.notes import BadNote
    from reconciler.errors import UserError

    try:
        notes = notes_in(read_text(path))
        for note in notes:
            read(note)
        return notes
    except BadNote as error:
        raise UserError(f"{path}: {error}") from None


def read_text(path: Path) -> str:
    """A file of somebody else's. Raises UserError."""
    from reconciler.errors import UserError

    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"the file {path} cannot be read: {error.strerror}") from None


def _file(file: Path, verifiers: Sequence[Verifier], heads: Sequence[Head], since: Sequence[str]) -> Report:
    from reconciler.audit.chain import read_export
    from reconciler.audit.verify import read_marks, verify
    from reconciler.errors import UserError

    try:
        with file.open(encoding="utf-8", errors="replace") as lines:
            marks = read_marks(lines)
        with file.open(encoding="utf-8", errors="replace") as lines:
            found = verify(read_export(lines), marks, verifiers=verifiers, heads=heads, since=since)
    except OSError as error:
        raise UserError(f"the export {file} cannot be read: {error.strerror}") from None
    return _with_signatures(found) if verifiers else found


def _with_signatures(found: Report) -> Report:
    """The report on an export whose key was given: a log without one signed checkpoint is a finding, not a tail.

    Every cycle ends with a checkpoint, so somebody took them out: without them the rows could be anybody's.
    """
    from reconciler.audit.conduct import Finding

    bare = [head for tenant, head in found.chain.heads.items() if head.size and tenant not in found.checkpoints]
    said = (
        Finding(head.tenant, head.size, "unsigned", f"no checkpoint that the key signed covers a row of {head.tenant}")
        for head in bare
    )
    return replace(found, findings=(*found.findings, *said))


def _store(settings: Settings, verifiers: list[Verifier], heads: Sequence[Head], since: list[str]) -> Report:
    from reconciler.audit.verify import verify
    from reconciler.store import checkpoints, heartbeat, journal
    from reconciler.wiring import open_store
    from reconciler.wiring.keys import known_verifier

    with open_store(settings) as database, database.read() as session:
        ours = [known_verifier(settings, tenant) for tenant in journal.tenants(session)]
        verifiers += [key for key in ours if key is not None and key not in verifiers]
        copy = settings.audit.checkpoint_copy
        if copy is not None and copy.exists():
            since += read_notes(copy)
        return verify(
            journal.export(session),
            checkpoints.marks(session),
            verifiers=verifiers,
            heads=heads,
            witnessed=heartbeat.heads(session),
            since=since,
        )


def as_json(found: Report) -> dict[str, Any]:
    """The stable JSON of `audit verify --output json`."""
    broken = found.chain.broken
    return {
        "ok": found.ok,
        "size": found.chain.size,
        "head": found.chain.head,
        "heads": [str(head) for head in found.chain.heads.values()],
        "broken": None
        if broken is None
        else {"tenant": broken.tenant, "seq": broken.seq, "why": broken.why, "sentence": broken.sentence},
        "findings": [_finding(f) for f in found.findings],
        "notices": [_finding(f) for f in found.notices],
        "checkpoints": {
            tenant: {"size": c.size, "root": c.root.hex(), "at": c.at.isoformat()}
            for tenant, c in sorted(found.checkpoints.items())
        },
        "checkpoints_checked": found.checkpoints_checked,
        "signatures_checked": all(found.signed_by.values()),
        "removed": dict(found.removed),
        "unsigned": sum(found.unsigned.values()),
        "unprotected": sum(found.unprotected.values()),
    }


def _finding(found: Any) -> dict[str, Any]:
    return {"tenant": found.tenant, "seq": found.seq, "why": found.why, "sentence": found.sentence}


def _show(found: Report) -> None:
    broken = found.chain.broken
    if broken is not None:
        click.echo(f"BROKEN at row {broken.seq} of {broken.tenant}: {broken.sentence}")
    for finding in found.findings[:SHOWN]:
        click.echo(f"FOUND {finding.why}: {finding.sentence}")
    if len(found.findings) > SHOWN:
        click.echo(f"and {len(found.findings) - SHOWN} more findings; --output json has them all")
    for notice in found.notices[:SHOWN]:
        click.echo(f"note  {notice.sentence}")
    if broken is None:
        for tenant, head in found.chain.heads.items():
            gone = f", the first {found.removed[tenant]} removed by retention" if found.removed.get(tenant) else ""
            click.echo(f"{tenant}: {head.size} rows{gone}, each follows the one before it.")
            click.echo(f"head  {head}")
            checkpoint = found.checkpoints.get(tenant)
            if checkpoint is not None:
                how = "signed" if found.signed_by[tenant] else "whose signature was not checked (give --key)"
                click.echo(
                    f"{checkpoint.at:%Y-%m-%d %H:%M:%S} UTC: a checkpoint over {checkpoint.size} rows, {how}, holds."
                )
        if not found.chain.heads:
            click.echo("The log is empty.")
        _show_tail(found)


def _show_tail(found: Report) -> None:
    unsigned, unprotected = sum(found.unsigned.values()), sum(found.unprotected.values())
    if unsigned:
        click.echo(
            f"{unsigned} rows are behind the last signed checkpoint: they could have been written anew by anybody."
        )
    if unprotected:
        click.echo(
            f"{unprotected} rows are covered by no head that was kept elsewhere: that they were cut off could not be "
            "told. Store the head above somewhere else and give it with --head, or a checkpoint with --since."
        )
