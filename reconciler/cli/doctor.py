"""`reconciler doctor`: what the credentials can and cannot do."""

from __future__ import annotations

import json

import click

from reconciler.cli.main import options


@click.command()
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def doctor(ctx: click.Context, output: str) -> int:
    """Check configuration, store, sign-in, permissions, queries, items and products. Reads only.

    Exit code 1 when something is at fault.
    """
    from rich.text import Text

    from reconciler.cli.progress import progress
    from reconciler.cli.table import console
    from reconciler.clients.wire import Patience
    from reconciler.doctor import Health, examine
    from reconciler.wiring import open_app

    given = options(ctx)  # a person waits, and each check asks for itself: no call tries again
    with progress() as say, open_app(given.settings, given.tenant_name, patience=Patience(attempts=1)) as app:
        found = []
        for finding in examine(app):
            say(f"{finding.area}: {finding.name}")
            found.append(finding)
    is_faulty = any(f.health is Health.FAULT for f in found)
    if output == "json":
        rows = [{"area": f.area, "name": f.name, "health": f.health.value, "sentence": f.sentence} for f in found]
        click.echo(json.dumps({"ok": not is_faulty, "checks": rows}, ensure_ascii=False, indent=2))
        return 1 if is_faulty else 0
    out = console()
    styles = {Health.WELL: "green", Health.WARNING: "yellow", Health.FAULT: "red"}
    for f in found:
        out.print(
            Text.assemble((f"{f.health.value:<8}", styles[f.health]), f"{f.area:<14}{f.name:<30}", f.sentence),
            soft_wrap=True,
        )
    return 1 if is_faulty else 0
