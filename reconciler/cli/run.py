"""`reconciler run`: the service."""

from __future__ import annotations

import threading
from contextlib import suppress

import click

from desired_state.text import one_line
from reconciler.cli.main import Interrupted, options


@click.command()
@click.pass_context
def run(ctx: click.Context) -> int:
    """Run as a service: a cycle at once, then on the schedule, and the pages where people approve.

    Stops within seconds on SIGTERM and Ctrl-C. Standard error is the log.
    """
    from reconciler.clock import SystemClock
    from reconciler.daemon import Service
    from reconciler.wiring.serving import serving

    wall = SystemClock()

    def log(sentence: str) -> None:
        click.echo(f"{wall.now():%Y-%m-%dT%H:%M:%SZ} {one_line(sentence, 2000)}", err=True)

    given = options(ctx)
    with suppress(KeyboardInterrupt, Interrupted), serving(given.settings, given.tenant_name, log=log) as up:
        click.echo(f"Pages:   {up.url}")
        if up.sandbox:
            click.echo(f"Sandbox: Graph {up.sandbox['graph']}, ServiceNow {up.sandbox['servicenow']}")
            click.echo(f"         Teams {up.sandbox['teams']}, with every card and what became of it")
            click.echo(f"         sign-in {up.sandbox['login']}, whose certificate comes from {up.sandbox['ca_file']}")
        Service(up.app, log).run(threading.Event())
    return 0
