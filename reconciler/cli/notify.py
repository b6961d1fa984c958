"""`reconciler notify`: does what people are told arrive, and what did not."""

from __future__ import annotations

import json

import click

from desired_state.text import one_line
from reconciler.cli.main import options


@click.group()
def notify() -> None:
    """Cards in Teams and mail: try the way to somebody, and see what was told to whom."""


@notify.command()
@click.option("--to", metavar="UPN|desk", default="desk", show_default=True, help="A person, or the service desk.")
@click.option("--by", type=click.Choice(["teams", "mail"]), default="teams", show_default=True)
@click.pass_context
def test(ctx: click.Context, to: str, by: str) -> int:
    """Send a test card or mail now, and say what became of it.

    By mail, --to may also be an address of mail_to or mail_admins. A flow without a "Response" action only says that
    it took the card, and a mail server that it took the mail: look there, or in the flow's run history.
    """
    from reconciler.errors import UserError
    from reconciler.wiring import open_app

    given = options(ctx)
    with open_app(given.settings, given.tenant_name) as app:
        if app.notifier is None:
            raise UserError(
                f"{given.settings.source}: no webhook and no mail server is configured in [notify]", exit_code=1
            )
        if by == "mail":
            taken = app.notifier.try_mail(to.strip().lower())
            click.echo(
                f"The mail server took the mail for {taken}. That is no proof that it was delivered: look there."
            )
            return 0
        posted = app.notifier.try_out(to.strip().lower())
        at = app.clock.now()
    if posted.is_proven:
        click.echo(f"The card was posted for {to} ({at:%H:%M:%S} UTC), message {posted.message_id or 'without an id'}.")
    else:
        click.echo(
            f"The flow for {to} took the card ({at:%H:%M:%S} UTC). That is no proof that it was posted: look there."
        )
    return 0


@notify.command("list")
@click.option("--request", metavar="LR-…", help="Everything about one request for approval.")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def show(ctx: click.Context, request: str | None, output: str) -> int:
    """What is still to be told and what could not be; with --request, everything about it."""
    from reconciler.store import notices
    from reconciler.store.notices import State
    from reconciler.wiring import open_store

    given = options(ctx)
    database = open_store(given.settings)
    try:
        with database.read() as session:
            tenant = given.tenant_name
            rows = (
                notices.of_request(session, tenant, request)
                if request
                else (
                    *notices.settled(session, tenant, State.QUEUED),
                    *notices.settled(session, tenant, State.DEAD),
                )
            )
            counts = notices.counts(session, tenant)
    finally:
        database.close()
    if output == "json":
        click.echo(json.dumps({"counts": counts, "notices": [_row(owed) for owed in rows]}, indent=2))
        return 0
    for owed in rows:
        proof = " (proven)" if owed.is_proven else ""
        why = f": {one_line(owed.problem, 200)}" if owed.problem else ""
        n = owed.notice
        click.echo(f"  {owed.state.value}{proof}  {n.event}  {n.request}  {n.recipient}  {owed.tries} tries{why}")
    click.echo(", ".join(f"{count} {state}" for state, count in counts.items()))
    return 0


def _row(owed: object) -> dict[str, object]:
    from reconciler.store.notices import Owed

    assert isinstance(owed, Owed)
    n = owed.notice
    return {
        "event": n.event,
        "request": n.request,
        "ticket": n.ticket,
        "recipient": n.recipient,
        "channel": n.channel.value,
        "state": owed.state.value,
        "proven": owed.is_proven,
        "tries": owed.tries,
        "queued_at": owed.queued_at.isoformat(),
        "next_at": owed.next_at.isoformat() if owed.state.value == "queued" else None,
        "sent_at": owed.sent_at.isoformat() if owed.sent_at is not None else None,
        "problem": owed.problem or None,
    }
