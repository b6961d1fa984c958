"""`reconciler run`: the service."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress

import click

from reconciler.cli.main import Interrupted, options


@click.command()
@click.pass_context
def run(ctx: click.Context) -> int:
    """Run as a service: a cycle at once, then on the schedule, and the pages where people approve.

    Stops within seconds on SIGTERM and Ctrl-C. Standard error is the log.
    """
    from importlib.metadata import version

    from reconciler.clock import SystemClock
    from reconciler.daemon import Service
    from reconciler.logs import configure
    from reconciler.traces import collecting
    from reconciler.wiring.serving import serving

    given = options(ctx)
    own = given.settings.log
    log = configure(sys.stderr, SystemClock(), format=own.format, level=own.level)
    traced = collecting(own.traces, service="license-reconciler", version=version("license-reconciler"))
    with (
        suppress(KeyboardInterrupt, Interrupted),
        traced as tracer,
        serving(given.settings, given.tenant_name, log=log, tracer=tracer) as up,
    ):
        click.echo(f"Pages:   {up.url}")
        if up.sandbox:
            click.echo(f"Sandbox: Graph {up.sandbox['graph']}, ServiceNow {up.sandbox['servicenow']}")
            click.echo(f"         Teams {up.sandbox['teams']}, with every card and what became of it")
            click.echo(f"         sign-in {up.sandbox['login']}, whose certificate comes from {up.sandbox['ca_file']}")
        Service(up.app, log).run(threading.Event())
    return 0
