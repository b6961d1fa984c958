"""`reconciler sandbox`: the embedded twin of both remote systems."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from datetime import timedelta

import click

from reconciler.cli.main import Interrupted, options

STORIES = click.Choice(["table", "json"])


@click.group()
def sandbox() -> None:
    """The embedded twin of Entra ID and ServiceNow: serve it, look at it, let its time pass, start over."""


@sandbox.command()
@click.option("--port", type=click.IntRange(0, 65530), default=0, help="First port; 0 takes free ones.")
@click.option("--empty", is_flag=True, help="Start without the Contoso tenant.")
@click.option("--users", type=click.IntRange(1, 1_000_000), help="Start with a generated tenant of N people.")
@click.pass_context
def serve(ctx: click.Context, port: int, empty: bool, users: int | None) -> int:
    """Serve it on loopback ports over TLS until stopped; the first line is JSON with addresses and credentials."""
    from reconciler.errors import UserError
    from reconciler.wiring import sandbox_world

    if empty and users:
        raise click.UsageError("--empty and --users exclude each other")
    story = "empty" if empty else (f"users:{users}" if users else None)
    with sandbox_world(options(ctx).settings, story=story) as world:
        try:
            with world.serving(port=port) as ports:
                click.echo(json.dumps(ports.line()))
                with suppress(KeyboardInterrupt, Interrupted):  # the normal way to stop it; the world is kept
                    threading.Event().wait()
        except OSError as error:
            raise UserError(f"port {port} cannot be used: {error.strerror}", exit_code=1) from None
    return 0


@sandbox.command()
@click.argument("duration")
@click.pass_context
def advance(ctx: click.Context, duration: str) -> int:
    """Turn the sandbox's clock by DURATION (30m, 2d, 40d) and let what is due happen."""
    from desired_state.durations import duration as read_duration
    from reconciler.errors import UserError
    from reconciler.wiring import sandbox_twin

    try:
        by = read_duration(duration)
    except ValueError as error:
        raise UserError(f"sandbox advance: {error}") from None
    if by <= timedelta(0):
        raise UserError("sandbox advance: time only goes forward; give a duration such as 2d")
    with sandbox_twin(options(ctx).settings) as twin:
        now = twin.advance(by)
    click.echo(f"The sandbox's clock now says {now:%Y-%m-%d %H:%M:%S} UTC.")
    return 0


@sandbox.command()
@click.pass_context
def reset(ctx: click.Context) -> int:
    """Start over: the world as at first, and the embedded store that knew the old one empty again."""
    from reconciler.wiring import reset_sandbox

    click.echo(reset_sandbox(options(ctx).settings))
    return 0


@sandbox.command()
@click.option("--output", type=STORIES, default="table", show_default=True)
@click.pass_context
def status(ctx: click.Context, output: str) -> int:
    """The sandbox's clock, people, tickets, and what is going to happen in it."""
    from reconciler.wiring import sandbox_twin

    with sandbox_twin(options(ctx).settings) as twin:
        found = twin.status()
    if output == "json":
        click.echo(json.dumps(found, ensure_ascii=False, indent=2, default=str))
        return 0
    for name, value in found.items():
        click.echo(f"{name:>16}  {json.dumps(value, default=str) if isinstance(value, dict | list) else value}")
    return 0


@sandbox.command()
@click.argument("ticket")
@click.argument("verdict", type=click.Choice(["approved", "rejected"]))
@click.option("--approver", required=True, help="Whose approval: a name, user name or e-mail address.")
@click.option("--by", default="", help="Who does it instead: a delegate, an administrator, or system for a due date.")
@click.option("--impersonator", default="", help="Who really does it, under the other's name.")
@click.option("--comments", default="", help="What they write.")
@click.pass_context
def decide(ctx: click.Context, /, ticket: str, verdict: str, **how: str) -> int:
    """Let a person of the sandbox decide an approval of TICKET in ServiceNow."""
    from reconciler.errors import UserError
    from reconciler.wiring import sandbox_twin

    with sandbox_twin(options(ctx).settings) as twin:
        try:
            click.echo(twin.decide(ticket, verdict, **how))
        except ValueError as error:
            raise UserError(f"sandbox decide: {error}") from None
    return 0


@sandbox.command()
@click.argument("name")
@click.argument("value")
@click.pass_context
def switch(ctx: click.Context, name: str, value: str) -> int:
    """Set switch NAME of the sandbox to VALUE (JSON, or a bare word); `servicenow.NAME` for ServiceNow's."""
    from reconciler.errors import UserError
    from reconciler.wiring import sandbox_twin

    try:
        wanted = json.loads(value)
    except ValueError:
        wanted = value
    with sandbox_twin(options(ctx).settings) as twin:
        try:
            twin.switch(name, wanted)
        except ValueError as error:
            raise UserError(f"sandbox switch: {error}") from None
    click.echo(f"{name} is {json.dumps(wanted)} from now on.")
    return 0


@sandbox.command("add-plan")
@click.argument("sku")
@click.argument("plan")
@click.pass_context
def add_plan(ctx: click.Context, sku: str, plan: str) -> int:
    """Let Microsoft put PLAN (its name or id) into SKU (a part number): it comes switched on for whoever has it."""
    from reconciler.errors import UserError
    from reconciler.wiring import sandbox_twin

    with sandbox_twin(options(ctx).settings) as twin:
        try:
            click.echo(twin.add_plan(sku, plan))
        except ValueError as error:
            raise UserError(f"sandbox add-plan: {error}") from None
    return 0
