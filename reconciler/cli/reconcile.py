"""`reconciler reconcile`: one cycle now."""

from __future__ import annotations

import json

import click

from reconciler.cli.main import options


@click.command()
@click.option("--dry-run", is_flag=True, help="Show what would be done: no remote write, nothing kept.")
@click.option("--ticket", "tickets", multiple=True, metavar="N", help="Only this ticket; may be repeated.")
@click.option("--user", "users", multiple=True, metavar="UPN", help="Only this person; may be repeated.")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def reconcile(ctx: click.Context, dry_run: bool, tickets: tuple[str, ...], users: tuple[str, ...], output: str) -> int:
    """One cycle now: find closed tickets without access, repair what is safe, prove it, tell the tickets.

    Exit codes: 0 converged, 1 failed, 2 wrong usage or configuration, 3 drift is left that needs time or a person,
    4 a guard stopped a lane.
    """
    from reconciler.cli.progress import progress
    from reconciler.cli.table import show
    from reconciler.loop.observe import Scope
    from reconciler.once import once
    from reconciler.wiring import open_app

    given = options(ctx)
    scope = Scope(frozenset(t.strip().upper() for t in tickets), frozenset(u.strip().lower() for u in users))
    with progress() as say, open_app(given.settings, given.tenant_name, progress=say) as app:
        report = once(app, scope, is_dry=dry_run)
    if output == "json":
        click.echo(json.dumps(report.as_json(), ensure_ascii=False, indent=2))
    else:
        show(report, given.settings.source)
    for problem in (*report.problems, *report.warnings):
        click.echo(f"reconciler: {problem}", err=True)
    return report.exit_code
