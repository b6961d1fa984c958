"""`reconciler guards`: plans that guards stopped, what ends in the next week, and letting one through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from reconciler.cli.main import options
from reconciler.cli.signing import author_of, signature_option


@click.group()
def guards() -> None:
    """What guards stopped, and letting a stopped plan through, once."""


@guards.command()
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def show(ctx: click.Context, output: str) -> int:
    """Plans that were stopped, with their changes; what of each budget is used; ends of the next week; breakers."""
    from reconciler.loop.releasing import overview, overview_json
    from reconciler.wiring import open_app

    given = options(ctx)
    with open_app(given.settings, given.tenant_name) as app:
        at = app.clock.now()
        with app.database.read() as session:
            found = overview_json(overview(session, app.name, at), at)
            found["budgets"] = [row.as_json() for row in app.guarding().usage(session, at)]
    if output == "json":
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        _show(found)
    return 0


def _show(found: dict[str, Any]) -> None:
    from reconciler.cli.table import console, plain_text, usage_line

    out = console()

    def say(text: str) -> None:
        out.print(plain_text(text), soft_wrap=True)

    people = found["people"]
    say(f"People in scope: {people if people is not None else 'not counted, so only the floors hold'}")
    say("Used in the last 24 hours, of what one day may change")
    for budget in found["budgets"]:
        say(f"  {usage_line(budget)}")
    for system, breaker in found["breakers"].items():
        say(f"Nothing is sent to {system} until {breaker['until']}: {breaker['why']}")
    if not found["plans"]:
        say("No guard has stopped a plan.")
    for plan in found["plans"]:
        say(f"{plan['digest'][:16]}  {plan['guard']}, lane {plan['lane']}, {plan['at']}")
        say(f"    {plan['sentence']}")
        for change in plan["changes"]:
            say(f"    {change['line']}: {change['kind']}")
        release = plan["release"]
        if release is not None:
            used = f", used {release['used_at']}" if release["used_at"] else ""
            say(f"    let through by {release['by']} until {release['until']}{used}: {release['reason']}")
    for day in found["ahead"]:
        who = f", released by {day['released_by']}" if day["released_by"] else ""
        say(f"{day['digest'][:16]}  ends on {day['day']}: {len(day['ends'])}, of {day['users']} people{who}")


@guards.command()
@click.argument("digest")
@click.option("--reason", required=True, help="Why it may go out.")
@click.option("--by", metavar="NAME", help="Who; the account at this terminal where it is left out.")
@click.option("--for", "lasts", default="1h", show_default=True, help="How long it holds; 24h at most.")
@signature_option
@click.pass_context
def release(ctx: click.Context, digest: str, reason: str, by: str | None, lasts: str, signature: Path | None) -> int:
    """Let the plan with this DIGEST (or its beginning) through in the next cycle, once.

    It is for exactly that plan: when anything in it changes, it has another digest. Known ends of a day can be released
    before they come; that holds until the day after. Where approvals.break_glass_signers names people, it prints the
    bytes that one of them signs.
    """
    from desired_state.durations import duration
    from reconciler.errors import UserError
    from reconciler.loop.releasing import release as let_through
    from reconciler.loosening import checked, note, to_release, unmoved
    from reconciler.wiring import open_app

    given, why, named = options(ctx), checked(reason), digest.strip()
    try:
        with open_app(given.settings, given.tenant_name) as app:
            span = duration(lasts)
            with app.database.read() as session:
                payload = to_release(session, app, named, reason=why, lasts=span)
            who = author_of(app, payload, signature, by)
            if who is None:
                return 0
            with app.database.write() as session:
                unmoved(to_release(session, app, named, reason=why, lasts=span), payload)
                at = app.clock.now()
                done = let_through(session, app.name, named, by=who.name, reason=why, at=at, lasts=span)
                note(session, app, who, "release", "released")
    except ValueError as error:
        raise UserError(str(error), exit_code=1) from None
    until = f"{done.expires_at:%Y-%m-%d %H:%M} UTC" if done.expires_at is not None else "it is used"
    click.echo(
        f"{done.digest[:16]} ({done.guard}, lane {done.lane}) is let through by {done.released_by} until {until}."
    )
    return 0
