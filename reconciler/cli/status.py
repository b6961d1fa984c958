"""`reconciler status`: where everything stands, from the store alone."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import click

from reconciler.cli.main import options


@click.command()
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def status(ctx: click.Context, output: str) -> int:
    """Lines by phase with their oldest age, what is owed, the last cycle. Nothing remote is asked."""
    from reconciler.cli.table import console
    from reconciler.wiring import open_app

    given = options(ctx)
    with open_app(given.settings, given.tenant_name) as app:
        found = _status(app)
    if output == "json":
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return 0
    out = console()
    out.print(f"Tenant {found['tenant']}, mode {found['mode']}, answers {found['answers']}")
    cycle = found["last_cycle"]
    if cycle is None:
        out.print("No cycle has run yet: `reconciler reconcile`.")
        return 0
    ended = cycle["finished_at"] or "not finished"
    out.print(f"Last cycle {cycle['cycle']} (number {cycle['number']}): started {cycle['started_at']}, ended {ended}")
    if cycle["error"]:
        out.print(f"  it ended with: {cycle['error']}")
    if found["running"]:
        out.print(f"  a cycle is running: {found['running']['by']} since {found['running']['since']}")
    out.print("Lines by phase (oldest in it)")
    for row in found["phases"]:
        out.print(f"  {row['phase']:<18} {row['lines']:>5}   {row['oldest_h']} h")
    out.print("Causes")
    for cause, count in found["causes"].items():
        out.print(f"  {cause:<24} {count:>5}")
    out.print(f"Answers not given yet: {found['answers_owed']}")
    for stop in found["stops"]:
        out.print(f"Stopped: {stop}")
    out.print(f"Audit log: {found['audit']['size']} rows, head {found['audit']['head'][:16]}")
    return 0


def _status(app: Any) -> dict[str, Any]:
    from reconciler.store import heartbeat, journal, leases, lines, outbox, switches

    now = app.clock.now()
    with app.database.read() as session:
        states = list(lines.load(session, app.name).values())
        beat = heartbeat.last(session, app.name)
        held = leases.holder(session, app.name)
        head = journal.head(session, app.name)
        owed = len(outbox.unsent(session, app.name))
        stops = [f"{s.name} ({s.scope}): {s.reason}" for s in switches.stops(session, app.name) if s.is_on]
    phases = Counter(s.phase for s in states)
    oldest = {p: max(int((now - s.since).total_seconds() // 3600) for s in states if s.phase is p) for p in phases}
    return {
        "tenant": app.name,
        "mode": app.tenant.mode,
        "answers": app.tenant.answers,
        "at": now.isoformat(),
        "lines": len(states),
        "phases": [{"phase": p.value, "lines": n, "oldest_h": oldest[p]} for p, n in sorted(phases.items())],
        "causes": dict(sorted(Counter(s.cause for s in states if s.cause).items())),
        "answers_owed": owed,
        "stops": stops,
        "running": {"by": held.by, "since": held.since.isoformat()} if held is not None else None,
        "last_cycle": None
        if beat is None
        else {
            "cycle": beat.cycle,
            "number": beat.number,
            "started_at": beat.started_at.isoformat(),
            "finished_at": beat.finished_at.isoformat() if beat.finished_at else None,
            "converged": beat.is_converged,
            "error": beat.error,
            "counts": dict(beat.counts),
        },
        "next_cycle": None,  # one-shot commands have no timetable; the service fills it in
        "audit": {"size": head.size, "head": head.hash},
    }
