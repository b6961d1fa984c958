"""`reconciler config`: the configuration that is in effect, and the acceptance of one that allows more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.main import options

if TYPE_CHECKING:
    from reconciler.wiring import App


@click.group()
def config() -> None:
    """Show the configuration in effect; accept one that allows more than the accepted one."""


@config.command()
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def show(ctx: click.Context, output: str) -> int:
    """The tenant's effective configuration without secrets, its digest, and what differs from the accepted one."""
    from reconciler.wiring import open_app

    given = options(ctx)
    with open_app(given.settings, given.tenant_name) as app:
        found = _shown(app)
    if output == "json":
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return 0
    _show(found)
    return 0


def _shown(app: App) -> dict[str, Any]:
    from reconciler.config.effective import document
    from reconciler.wiring.governing import basis_of, further, standing_of

    settings = app.asked if app.asked is not None else app.settings
    found, kept = standing_of(app), basis_of(app)
    return {
        "tenant": app.name,
        "source": settings.source,
        "digest": found.digest,
        "accepted": {"digest": kept.digest, "how": kept.how},
        "is_accepted": found.is_accepted,
        "runs_as": {"mode": found.mode, "answers": found.answers},
        "why": found.why() or None,
        "changes": [
            {"key": ".".join(change.path), "way": change.way or "neither", "sentence": change.sentence}
            for change in found.changes
        ],
        "promotion": [
            {"product": m.product, "axis": m.axis.value, "is_carried": m.is_carried, "sentence": m.sentence}
            for m in further(app)
        ],
        "configuration": document(settings, app.name),
    }


def _show(found: dict[str, Any]) -> None:
    from reconciler.cli.table import console, plain_text

    out = console()
    for line in _lines("", found["configuration"]):
        out.print(plain_text(line), soft_wrap=True)
    out.print()
    accepted, runs = found["accepted"], found["runs_as"]
    out.print(plain_text(f"Tenant {found['tenant']} of {found['source']}, digest {found['digest']}"), soft_wrap=True)
    how = {"first": "the first one, observing only", "sandbox": "a sandbox's", "signed": "signed for"}[accepted["how"]]
    out.print(plain_text(f"Accepted: {accepted['digest']} ({how})"), soft_wrap=True)
    for change in found["changes"]:
        style = "yellow" if change["way"] == "wider" else ""
        out.print(plain_text(f"  {change['sentence']}", style=style), soft_wrap=True)
    for move in found["promotion"]:
        out.print(plain_text(f"  {move['sentence']}", style="" if move["is_carried"] else "yellow"), soft_wrap=True)
    out.print(plain_text(f"It runs in mode {runs['mode']} with answers {runs['answers']}."))
    if found["why"]:
        out.print(plain_text(found["why"][0].upper() + found["why"][1:] + ".", style="bold yellow"), soft_wrap=True)


def _lines(name: str, value: Any) -> list[str]:
    if isinstance(value, dict) and value:
        return [line for key, inner in value.items() for line in _lines(f"{name}.{key}" if name else key, inner)]
    return [f"{name} = {json.dumps(value, ensure_ascii=False)}"]


@config.command()
@click.option(
    "--signature",
    "signatures",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file that ssh-keygen -Y sign wrote; once for each who signed.",
)
@click.pass_context
def accept(ctx: click.Context, signatures: tuple[Path, ...]) -> int:
    """Accept the configuration as it is now, by the people who may. Without a signature: print what they sign."""
    from desired_state.text import one_line
    from reconciler.cli.signing import how_to_sign, read_signature
    from reconciler.errors import UserError
    from reconciler.governance.payloads import CONFIGURATION
    from reconciler.wiring import open_app
    from reconciler.wiring.governing import accept, further, standing_of, to_accept

    given = options(ctx)
    with open_app(given.settings, given.tenant_name) as app:
        found = standing_of(app)
        if found.digest == found.accepted:
            raise UserError("this configuration is accepted already; there is nothing to sign")
        if not signatures:
            for change in found.changes:
                click.echo(f"reconciler: {one_line(change.sentence, 400)}", err=True)
            for move in further(app):
                click.echo(f"reconciler: {one_line(move.sentence, 600)}", err=True)
            how_to_sign(to_accept(app), CONFIGURATION)
            return 0
        who = accept(app, [read_signature(path) for path in signatures])
    click.echo(f"Configuration {found.digest} is accepted by {' and '.join(who)}.")
    return 0
