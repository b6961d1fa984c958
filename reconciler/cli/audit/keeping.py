"""`reconciler audit key`, `checkpoint`, `remove`, `erase`: the public key, and keeping the log within its terms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from reconciler.cli.main import options
from reconciler.cli.operator import operator

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.config import Settings
    from reconciler.wiring import App


@click.command()
@click.pass_context
def key(ctx: click.Context) -> int:
    """Print the public key of each tenant's log (C2SP verifier key). Give it to your auditors, by a way of its own."""
    from reconciler.store.tables import EVERYONE
    from reconciler.wiring.keys import signer

    given = options(ctx)
    names = [given.tenant_name] if given.tenant else [*sorted(given.settings.tenants), EVERYONE]
    for name in names:
        click.echo(str(signer(given.settings, name).verifier))
    return 0


@click.command()
@click.pass_context
def checkpoint(ctx: click.Context) -> int:
    """Sign the log as it is now, bring the second places up to date, and print the checkpoint."""
    from reconciler.errors import UserError
    from reconciler.store import checkpoints
    from reconciler.wiring import open_app

    given = options(ctx)
    with open_app(given.settings, given.tenant_name) as app:
        app.notary.seal()
        with app.database.read() as session:
            last = checkpoints.last(session, app.name)
        alarms = list(app.notary.alarms.values())
    if last is not None:
        click.echo(last.note, nl=False)
    if alarms:
        raise UserError("; ".join(alarms), exit_code=1)
    return 0


@click.command()
@click.option("--apply", "is_real", is_flag=True, help="Remove them; without it, only say what would go.")
@click.pass_context
def remove(ctx: click.Context, is_real: bool) -> int:
    """Remove the oldest rows that need not be kept any longer: whole sealed segments, which verify as before.

    [audit] keep_decisions and keep_views say how long; a row that must stay keeps everything behind it.
    """
    from reconciler.store import retention
    from reconciler.wiring import open_app

    given = options(ctx)
    audit = given.settings.audit
    _not_held(given.settings)
    keep = retention.Keep(audit.keep_decisions, audit.keep_views)
    with open_app(given.settings, given.tenant_name) as app:
        with app.database.read() as session:
            last = retention.due(session, app.name, keep, app.clock.now())
        if not last:
            click.echo("No sealed segment has outlived its term.")
            return 0
        if not is_real:
            click.echo(f"Rows up to {last} of {app.name} have outlived their terms. Remove them with --apply.")
            return 0
        app.notary.seal()
        with app.database.write() as session:
            segment = retention.remove(session, app.name, last, by=operator(), at=app.clock.now())
        app.notary.seal()
    click.echo(f"Rows {segment.first} to {segment.last} of {app.name} were removed; their checkpoint stays.")
    return 0


@click.command()
@click.argument("person")
@click.option("--reason", required=True, help="Why, for the log; without the person's name.")
@click.pass_context
def erase(ctx: click.Context, person: str, reason: str) -> int:
    """Forget a person (account name or object id): destroy the key to what the log holds about them.

    Needs [audit] persons = "pseudonym". The chain stays whole; nobody can read the name or the texts any more.
    """
    from reconciler.errors import UserError
    from reconciler.store import journal, persons
    from reconciler.wiring import open_app

    given = options(ctx)
    _not_held(given.settings)
    if given.settings.audit.persons != "pseudonym":
        raise UserError(
            f"{given.settings.source}: persons stand in this log as they are, and a row cannot be taken out of it; "
            'set [audit] persons = "pseudonym" for what is written from now on'
        )
    with open_app(given.settings, given.tenant_name) as app, app.database.write() as session:
        veil = persons.veil_of(session, app.name)
        unread = persons.hidden_otherwise(session, app.name, veil) if veil is not None else 0
        count = persons.erase(session, app.name, _names(app, person), app.clock.now())
        body = {"reason": reason, "keys": count, **({"hidden_otherwise": unread} if unread else {})}
        at = app.clock.now()
        journal.append(session, app.name, kind="audit.erased", subject="audit", body=body, at=at, actor=operator())
    if unread:
        raise UserError(
            f"{count} keys were destroyed, and it is not known whether that was all: {unread} persons in the log of "
            f"{app.name} are hidden by another key than this machine's; erase again with that one as "
            "audit.persons_key_file",
            exit_code=1,
        )
    if not count:
        click.echo(f"The log of {app.name} knows nobody by that name, or they were erased before.")
        return 1
    click.echo(
        f"{count} keys were destroyed. The log's rows stand as they were, and say nothing about the person any more."
    )
    return 0


def _names(app: App, person: str) -> Iterable[str]:
    """Everything that the ledger knows the person by: object id, account name, and the lines that are about them."""
    from desired_state import ledger

    wanted = {person.strip().casefold()}
    with app.database.read() as session:
        standings = ledger.standings(session, app.name)
    bound = [(key, s.entitlement) for key, s in standings.items() if s.entitlement is not None]
    for _, entitlement in bound:
        both = {str(entitlement.user).casefold(), entitlement.upn.casefold()}
        if wanted & both:
            wanted |= both
    lines = {str(key) for key, e in bound if str(e.user).casefold() in wanted}
    return sorted(wanted | lines | {line.rpartition("/")[0] for line in lines})


def _not_held(settings: Settings) -> None:
    from reconciler.errors import UserError

    if settings.audit.legal_hold:
        raise UserError(f"{settings.source}: [audit] legal_hold stands: {settings.audit.legal_hold}", exit_code=1)
