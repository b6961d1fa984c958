"""`reconciler worker`: one of many workers of a fleet over PostgreSQL."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib.util import find_spec

import click

from reconciler.cli.main import Interrupted, options


@click.command()
@click.option("--concurrency", type=click.IntRange(1, 64), default=4, show_default=True, help="Tenants at a time.")
@click.option("--metrics-port", type=click.IntRange(0, 65535), help="Serve /metrics on this port of [web] host.")
@click.pass_context
def worker(ctx: click.Context, concurrency: int, metrics_port: int | None) -> int:
    """Run as one of any number of workers that share a store on PostgreSQL: all tenants, or the one of --tenant.

    Stops within seconds on SIGTERM and Ctrl-C, reads its configuration again on SIGHUP. Standard error is the log.
    """
    from reconciler.clock import SystemClock
    from reconciler.config import load
    from reconciler.daemon import Stopping, Wishes, signals
    from reconciler.daemon.sdnotify import Systemd
    from reconciler.errors import UserError
    from reconciler.logs import configure
    from reconciler.wiring import pick_tenant

    if find_spec("procrastinate") is None:
        raise UserError("workers need the extra [fleet]; install license-reconciler[fleet]")
    from reconciler.fleet.opening import working

    given = options(ctx)
    settings, wall, wishes = given.settings, SystemClock(), Wishes()
    only = pick_tenant(settings, given.tenant) if given.tenant is not None else None
    log = configure(sys.stderr, wall, format=settings.log.format, level=settings.log.level)
    manager = Systemd(os.environ)
    with (
        suppress(KeyboardInterrupt, Interrupted, Stopping),
        signals(wishes, Interrupted),
        working(
            settings,
            log,
            wishes,
            only=only,
            concurrency=concurrency,
            metrics_port=metrics_port,
            wall=wall,
            again=lambda: load(given.config, os.environ),
        ) as fleet,
    ):
        click.echo(f"Works for {', '.join(sorted(fleet.tenants()))}.")
        manager.tell("READY=1", f"STATUS=works for {len(fleet.tenants())} tenants")
        with manager.watched(lambda: fleet.is_alive):
            fleet.run()
        manager.tell("STOPPING=1")
    return 0
