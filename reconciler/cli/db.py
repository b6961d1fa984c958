"""`reconciler db`: the store's schema."""

from __future__ import annotations

import click

from reconciler.cli.main import options


@click.group()
def db() -> None:
    """Bring the store's tables to this version, or check them."""


@db.command()
@click.pass_context
def upgrade(ctx: click.Context) -> int:
    """Bring the store to this version, on PostgreSQL also the queue for workers. Safe to repeat."""
    from importlib.util import find_spec

    from reconciler.wiring import connect_store

    settings = options(ctx).settings
    with connect_store(settings) as database:
        database.upgrade()
        click.echo(f"{database.name} is at version {database.check().version}.")
    url = settings.store.read_url()
    if url is not None and url.get_secret_value().startswith("postgresql") and find_spec("procrastinate") is not None:
        from reconciler.fleet.schema import conninfo_of, make_queue

        if make_queue(conninfo_of(url.get_secret_value())):
            click.echo("The queue for workers was made.")
    return 0


@db.command()
@click.pass_context
def check(ctx: click.Context) -> int:
    """Compare tables and rows with what this version needs; changes nothing. Exit code 1 when something is wrong."""
    from reconciler.wiring import connect_store

    with connect_store(options(ctx).settings, read_only=True) as database:
        found = database.check()
        for fault in found.faults:
            click.echo(f"{database.name}: {fault}", err=True)
        if found.is_ok:
            click.echo(f"{database.name} is at version {found.version} and sound.")
    return 0 if found.is_ok else 1


@db.command()
@click.argument("account")
@click.option("--apply", "is_real", is_flag=True, help="Grant it; without it, only print the SQL.")
@click.pass_context
def grants(ctx: click.Context, account: str, is_real: bool) -> int:
    """What an account of PostgreSQL needs to run the service: it may add to the log and not change it.

    Repeat it as the owner of the tables after each upgrade.
    """
    from reconciler.wiring import connect_store

    with connect_store(options(ctx).settings) as database:
        said = database.grants(account, apply=is_real)
    if is_real:
        click.echo(f"{account} may use {database.name} now, and cannot change what was kept in the log.")
    else:
        click.echo("".join(f"{statement};\n" for statement in said), nl=False)
    return 0
