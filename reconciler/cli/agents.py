"""`reconciler agents`: software that may propose, and the tokens that it does so with."""

from __future__ import annotations

import json
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.main import options

if TYPE_CHECKING:
    from reconciler.store.agents import Agent

_OUTPUT = click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)


@click.group()
def agents() -> None:
    """Let software propose licences by a token of its own; it never decides and never writes."""


@agents.command()
@click.argument("name")
@click.option("--owner", required=True, metavar="UPN", help="Who answers for it; they cannot approve what it proposes.")
@click.option("--product", "products", multiple=True, metavar="KEY", help="What it may propose; may be repeated.")
@click.option("--every-product", is_flag=True, help="It may propose all products.")
@click.option("--reads", type=click.Choice(["own", "all"]), default="own", show_default=True, help="Which tickets.")
@click.option("--days", type=click.IntRange(1, 366), default=90, show_default=True, help="How long the token holds.")
@click.option("--per-minute", type=click.IntRange(1, 600), default=30, show_default=True)
@click.option(
    "--open-max", type=click.IntRange(1, 1000), default=20, show_default=True, help="Proposals that may wait."
)
@_OUTPUT
@click.pass_context
def add(
    ctx: click.Context,
    name: str,
    owner: str,
    products: tuple[str, ...],
    every_product: bool,
    reads: str,
    days: int,
    per_minute: int,
    open_max: int,
    output: str,
) -> int:
    """Register agent NAME and print its token, once: only its SHA-256 is kept."""
    from desired_state.proposals import AGENT_NAME
    from reconciler.cli.operator import operator
    from reconciler.errors import UserError
    from reconciler.store.agents import EVERY, PREFIX, Agent
    from reconciler.store.agents import add as register
    from reconciler.wiring import open_app

    given = options(ctx)
    if AGENT_NAME.fullmatch(name) is None:
        raise UserError(f"'{name[:60]}' is no name for an agent: 2 to 40 lower-case letters, digits and -")
    if "@" not in owner or len(owner) > 113 or not owner.isprintable() or " " in owner:
        raise UserError("--owner: give the sign-in name of a person, as in ada@contoso.example")
    catalogue = given.settings.catalogue()
    unknown = [key for key in products if key not in catalogue.products]
    if unknown:
        raise UserError(f"--product: there is no product '{unknown[0][:60]}'; `reconciler catalogue list` names them")
    if bool(products) == every_product:
        raise UserError("say what it may propose: --product KEY, repeated, or --every-product")
    token = PREFIX + secrets.token_urlsafe(32)
    with open_app(given.settings, given.tenant_name) as app:
        at = app.clock.now()
        agent = Agent(
            tenant=app.name,
            name=name,
            owner=owner.lower(),
            products=frozenset({EVERY} if every_product else products),
            reads=reads,
            per_minute=per_minute,
            open_max=open_max,
            created_at=at,
            created_by=operator(),
            expires_at=at + timedelta(days=days),
        )
        with app.database.write() as session:
            is_new = register(session, agent, token, at)
    if not is_new:
        raise UserError(
            f"tenant {given.tenant_name} has an agent {name} already, and a name is given once; choose another one",
            exit_code=1,
        )
    if output == "json":
        click.echo(json.dumps({**_told(agent, "active"), "token": token}, ensure_ascii=False, indent=2))
        return 0
    click.echo(f"Agent {name} of tenant {agent.tenant} may propose until {agent.expires_at:%Y-%m-%d}.")
    click.echo("Its token, which is shown this once:")
    click.echo(token)
    return 0


@agents.command("list")
@_OUTPUT
@click.pass_context
def list_(ctx: click.Context, output: str) -> int:
    """All agents with what they may do; tokens are not kept and not shown."""
    from reconciler.cli.table import console, plain_text
    from reconciler.store.agents import listed
    from reconciler.wiring import open_app

    given = options(ctx)
    with open_app(given.settings, given.tenant_name) as app:
        at = app.clock.now()
        with app.database.read() as session:
            found = listed(session, app.name)
    if output == "json":
        click.echo(json.dumps([_told(a, a.standing(at)) for a in found], ensure_ascii=False, indent=2))
        return 0
    out = console()
    if not found:
        out.print("No agent is registered: `reconciler agents add`.")
    for agent in found:
        used = f"used {agent.used_at:%Y-%m-%d %H:%M} UTC" if agent.used_at is not None else "never used"
        products = ", ".join(sorted(agent.products)).replace("*", "every product")
        out.print(plain_text(f"{agent.name}  {agent.standing(at)} until {agent.expires_at:%Y-%m-%d}, {used}"))
        out.print(plain_text(f"  proposes {products}; reads {agent.reads}; {agent.owner} answers for it"))
        if agent.revoked_at is not None:
            out.print(plain_text(f"  revoked {agent.revoked_at:%Y-%m-%d} by {agent.revoked_by}: {agent.revoked_why}"))
    return 0


@agents.command()
@click.argument("name")
@click.option("--reason", required=True, metavar="TEXT")
@click.pass_context
def revoke(ctx: click.Context, name: str, reason: str) -> int:
    """Let agent NAME in no more, at once. What it proposed stays and waits for people."""
    from desired_state.text import one_line
    from reconciler.cli.operator import operator
    from reconciler.errors import UserError
    from reconciler.store.agents import revoke as let_out
    from reconciler.wiring import open_app

    given = options(ctx)
    with open_app(given.settings, given.tenant_name) as app, app.database.write() as session:
        found = let_out(session, app.name, name, by=operator(), why=one_line(reason, 500), at=app.clock.now())
    if found is None:
        raise UserError(f"tenant {given.tenant_name} has no agent '{one_line(name, 60)}'", exit_code=1)
    click.echo(f"Agent {name} is let in no more.")
    return 0


def _told(agent: Agent, standing: str) -> dict[str, Any]:
    return {
        "name": agent.name,
        "tenant": agent.tenant,
        "standing": standing,
        "owner": agent.owner,
        "products": sorted(agent.products),
        "reads": agent.reads,
        "per_minute": agent.per_minute,
        "open_max": agent.open_max,
        "created_at": agent.created_at.isoformat(),
        "created_by": agent.created_by,
        "expires_at": agent.expires_at.isoformat(),
        "used_at": agent.used_at.isoformat() if agent.used_at is not None else None,
        "revoked_at": agent.revoked_at.isoformat() if agent.revoked_at is not None else None,
    }
