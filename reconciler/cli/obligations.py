"""`reconciler obligations`: every end date and open promise, from the store alone."""

from __future__ import annotations

import json
from datetime import UTC
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.main import options

if TYPE_CHECKING:
    from rich.console import Console

    from desired_state.catalogue import Catalogue
    from reconciler.obligations import Obligation
    from reconciler.store.breakglass import BreakGlass


@click.command()
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def obligations(ctx: click.Context, output: str) -> int:
    """Every end date and open promise: what a person has to keep on the day this software is gone."""
    from zoneinfo import ZoneInfo

    from reconciler.cli.table import console, plain_text
    from reconciler.obligations import as_json
    from reconciler.obligations import obligations as owed
    from reconciler.store import breakglass
    from reconciler.wiring import open_store

    given = options(ctx)
    name = given.tenant_name
    zone = given.settings.tenants[name].timezone
    catalogue = given.settings.catalogue()
    with open_store(given.settings) as database:
        with database.read() as session:
            uses = breakglass.owed(session, name)
        ends, promises = owed(database, name, catalogue, ZoneInfo(zone) if zone != "UTC" else UTC)
    if output == "json":
        found = {
            "tenant": name,
            "ends": [as_json(o, catalogue) for o in ends],
            "promises": [as_json(o, catalogue) for o in promises],
            "reviews": [_review(use) for use in uses],
        }
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return 0
    out = console()
    out.print(plain_text(f"{len(ends)} grants end, soonest first", style="bold"))
    for obligation in ends:
        _show(out, obligation, catalogue)
    out.print(plain_text(f"{len(promises)} promises are open, oldest first", style="bold"))
    for obligation in promises:
        _show(out, obligation, catalogue)
    out.print(plain_text(f"{len(uses)} uses of break-glass wait for a look", style="bold"))
    for use in uses:
        due = f"until {use.review_by:%Y-%m-%d %H:%M} UTC"
        who = " and ".join(use.signers)
        out.print(plain_text(f"  {use.approval}  {use.line}, {use.incident}, by {who}: {due}"), soft_wrap=True)
    return 0


def _review(use: BreakGlass) -> dict[str, Any]:
    return {
        "request": use.approval,
        "line": str(use.line),
        "digest": use.digest,
        "signers": list(use.signers),
        "reason": use.reason,
        "incident": use.incident,
        "used_at": use.used_at.isoformat(),
        "review_by": use.review_by.isoformat(),
    }


def _show(out: Console, found: Obligation, catalogue: Catalogue) -> None:
    from reconciler.cli.table import plain_text
    from reconciler.obligations import given_words

    end = f"ends {found.ends_at:%Y-%m-%d %H:%M} UTC" if found.ends_at is not None else "no end yet"
    phase = found.phase.value if found.phase is not None else "not looked at yet"
    what = catalogue.product_name(found.request.product)
    out.print(plain_text(f"  {found.key}  {end}: {what} for {found.person} ({phase})"), soft_wrap=True)
    given = ", ".join(given_words(g, catalogue) for g in found.given) or "nothing that we know of"
    who = "given by us" if found.is_by_us else "given"
    approved = f"; approved by {', '.join(found.request.approvers)}" if found.request.approvers else ""
    remind = f"; reminder {found.reminds_at:%Y-%m-%d}" if found.reminds_at is not None else ""
    out.print(plain_text(f"      {who}: {given}{approved}{remind}"), soft_wrap=True)
    if found.note:
        out.print(plain_text(f"      {found.note}"), soft_wrap=True)
