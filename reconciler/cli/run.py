"""`reconciler run`: the service."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import click

from reconciler.cli.main import Interrupted, Options, options

if TYPE_CHECKING:
    from reconciler.daemon import Wishes
    from reconciler.daemon.sdnotify import Systemd
    from reconciler.health import Health
    from reconciler.logs import Log
    from reconciler.traces import Tracer
    from reconciler.wiring import App
    from reconciler.wiring.serving import Served


@click.command()
@click.pass_context
def run(ctx: click.Context) -> int:
    """Run as a service: a cycle at once, then on the timetable, and the pages where people approve.

    Stops within seconds on SIGTERM and Ctrl-C, reads its configuration again on SIGHUP. Standard error is the log.
    """
    from importlib.metadata import version

    from reconciler.clock import SystemClock
    from reconciler.config import load
    from reconciler.daemon import Service, Wishes, signals
    from reconciler.daemon.sdnotify import Systemd
    from reconciler.health import Health
    from reconciler.logs import configure
    from reconciler.traces import collecting

    wall, manager = SystemClock(), Systemd(os.environ)
    given = options(ctx)
    own = given.settings.log
    log = configure(sys.stderr, wall, format=own.format, level=own.level)
    traced = collecting(own.traces, service="license-reconciler", version=version("license-reconciler"))
    wishes, health = Wishes(), Health(log, wall.monotonic)
    with (
        suppress(KeyboardInterrupt, Interrupted),
        traced as tracer,
        signals(wishes, Interrupted),
        _served(given, wishes, health, manager, log, tracer) as up,
    ):
        click.echo(f"Pages:   {up.url}")
        if up.sandbox:
            click.echo(f"Sandbox: Graph {up.sandbox['graph']}, ServiceNow {up.sandbox['servicenow']}")
            click.echo(f"         Teams {up.sandbox['teams']}, with every card and what became of it")
            click.echo(f"         sign-in {up.sandbox['login']}, whose certificate comes from {up.sandbox['ca_file']}")

        def reload() -> App:
            manager.tell("RELOADING=1", f"MONOTONIC_USEC={int(wall.monotonic() * 1_000_000)}")
            try:
                return up.swap(load(given.config, os.environ))
            finally:
                manager.tell("READY=1")

        manager.tell("READY=1", f"STATUS=tenant {given.tenant_name}, pages on {up.url}")
        with manager.watched(lambda: health.pulse().is_alive):
            Service(up.app, log, wishes=wishes, health=health, reload=reload, wall=wall).run()
        manager.tell("STOPPING=1")
    return 0


@contextmanager
def _served(
    given: Options, wishes: Wishes, health: Health, manager: Systemd, log: Log, tracer: Tracer
) -> Iterator[Served]:
    """The pages, as soon as the store can be used. What cannot mend itself is raised."""
    from reconciler.clock import SystemClock
    from reconciler.daemon import Stopping
    from reconciler.daemon.waits import once_usable
    from reconciler.wiring.pages import Loop
    from reconciler.wiring.serving import serving

    loop = Loop(health.pulse, wishes.look)
    with ExitStack() as held:

        def opened() -> Served:
            return held.enter_context(serving(given.settings, given.tenant_name, log=log, tracer=tracer, loop=loop))

        def meanwhile() -> None:
            manager.tell("EXTEND_TIMEOUT_USEC=60000000", "STATUS=waits for the store")

        try:
            up = once_usable(opened, health, wishes, SystemClock(), meanwhile=meanwhile)
        except Stopping:
            raise Interrupted from None
        yield up
