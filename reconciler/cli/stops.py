"""`reconciler kill-switch` and `reconciler freeze`: stop writes at once, or for a while. Notices still go out."""

from __future__ import annotations

import getpass
import json
import os
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.main import Options, options

if TYPE_CHECKING:
    from reconciler.wiring import App

LANES = ("grants", "removals", "usage_locations", "answers")


def me() -> str:
    """The account at this terminal, for who did it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


@click.command("kill-switch")
@click.argument("what", type=click.Choice(["on", "off", "status"]))
@click.option("--reason", default="", help="Why; lifting it needs one.")
@click.option("--by", metavar="NAME", help="Who; the account at this terminal where it is left out.")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def kill_switch(ctx: click.Context, what: str, reason: str, by: str | None, output: str) -> int:
    """Stop every write to the directory and to tickets, at once; also of a cycle that is running.

    Without --tenant it is about every tenant. It is on as well while a file named KILL is in the state directory or
    RECONCILER_KILL_SWITCH is set. In mode enforce, lifting it may take two people (guards.second_person).
    """
    given = options(ctx)
    if what == "on":
        return _throw(given, reason, by or me())
    if what == "off":
        return _lift(given, reason, by or me())
    found = _standing(given)
    if output == "json":
        click.echo(json.dumps({"on": bool(found), "by": found}, ensure_ascii=False, indent=2))
    else:
        click.echo("\n".join(f"The kill switch is on: {s}" for s in found) or "The kill switch is off.")
    return 0


def _tenants(given: Options) -> list[str]:
    return [given.tenant_name] if given.tenant is not None else sorted(given.settings.tenants)


def _throw(given: Options, reason: str, by: str) -> int:
    """In the store, and where that cannot be written, as a file that every process looks for."""
    from reconciler.errors import UserError
    from reconciler.store import switches
    from reconciler.wiring import open_app
    from reconciler.wiring.stops import throw_outside

    names = _tenants(given)
    try:
        for name in names:
            with open_app(given.settings, name) as app, app.database.write() as session:
                switches.throw(session, name, reason=reason, by=by, at=app.clock.now())
    except UserError as error:
        path = throw_outside(given.settings.state_dir, f"{reason or 'no reason was given'} ({by})")
        click.echo(f"The store could not be written ({error}), so {path} stops every tenant instead.")
        return 0
    click.echo(f"The kill switch is on for {', '.join(names)}: nothing is written any more.")
    return 0


def _lift(given: Options, reason: str, by: str) -> int:
    from reconciler.errors import UserError
    from reconciler.loop.releasing import lift
    from reconciler.wiring import open_app
    from reconciler.wiring.governing import lifting_takes_two
    from reconciler.wiring.stops import outside_stop

    is_off = True
    for name in _tenants(given):
        with open_app(given.settings, name) as app:
            takes_two = lifting_takes_two(app)
            try:
                with app.database.write() as session:
                    done = lift(session, name, by=by, reason=reason, at=app.clock.now(), takes_two=takes_two)
            except ValueError as error:
                raise UserError(f"{error}: --reason TEXT") from None
        click.echo(f"{name}: {done.sentence}")
        is_off = is_off and done.is_off
    left = outside_stop(given.settings.state_dir, os.environ)
    if left:
        click.echo(f"It is still on, because {left}; remove that as well.")
    return 0 if is_off and not left else 1


def _standing(given: Options) -> list[str]:
    from reconciler.store import switches
    from reconciler.wiring import open_store
    from reconciler.wiring.stops import outside_stop

    left = outside_stop(given.settings.state_dir, os.environ)
    found = [left] if left else []
    with open_store(given.settings) as database, database.read() as session:
        for name in _tenants(given):
            for stop in switches.stops(session, name):
                if stop.kind is switches.SwitchKind.KILL:
                    why = stop.reason or "no reason was given"
                    found.append(f"{name}, by {stop.by} since {stop.changed_at:%Y-%m-%d %H:%M} UTC: {why}")
    return found


@click.group()
def freeze() -> None:
    """Stop the writes of one lane, or of all, for a while."""


@freeze.command("add")
@click.argument("name")
@click.option("--reason", required=True, help="Why.")
@click.option("--lane", type=click.Choice(LANES), help="Only this lane; left out, all of them.")
@click.option("--from", "begins", metavar="INSTANT", help="When it begins, as 2026-12-24T18:00+01:00; left out, now.")
@click.option("--until", "ends", metavar="INSTANT", help="When it ends; left out, when it is lifted.")
@click.option("--by", metavar="NAME", help="Who; the account at this terminal where it is left out.")
@click.pass_context
def freeze_add(
    ctx: click.Context, name: str, reason: str, lane: str | None, begins: str | None, ends: str | None, by: str | None
) -> int:
    """Freeze now, or for a window."""
    from reconciler.errors import UserError
    from reconciler.store import switches

    with _app(ctx) as app, app.database.write() as session:
        from_at, until_at = _instant(begins, "--from"), _instant(ends, "--until")
        scope = lane or switches.EVERYTHING
        window = {"from_at": from_at, "until_at": until_at}
        try:
            switches.freeze(
                session, app.name, name, reason=reason, by=by or me(), at=app.clock.now(), scope=scope, **window
            )
        except ValueError as error:
            raise UserError(str(error)) from None
    click.echo(f"The freeze {name} stops {lane or 'every lane'}{f' until {until_at}' if until_at else ''}.")
    return 0


@freeze.command("list")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def freeze_list(ctx: click.Context, output: str) -> int:
    """Freezes that were added, and the windows of the configuration that hold now."""
    from reconciler.store import switches

    with _app(ctx) as app:
        now = app.clock.now()
        with app.database.read() as session:
            added = [s for s in switches.stops(session, app.name) if s.kind is switches.SwitchKind.FREEZE]
        windows = [s for s in app.guarding().stops(None, now) if s.guard == "freeze"]
    rows: list[dict[str, Any]] = [
        {
            "name": s.name,
            "lanes": list(LANES) if s.scope == switches.EVERYTHING else [s.scope],
            "reason": s.reason,
            "by": s.by,
            "from": s.from_at.isoformat() if s.from_at is not None else None,
            "until": s.until_at.isoformat() if s.until_at is not None else None,
            "holds": any(s.stops(lane, now) for lane in LANES),
        }
        for s in added
    ]
    rows += [
        {"name": s.name, "lanes": sorted(s.lanes), "reason": s.why, "by": "config.toml", "from": None, "until": None,
         "holds": True}
        for s in windows
    ]  # fmt: skip
    if output == "json":
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return 0
    for row in rows:
        holds = "holds" if row["holds"] else "does not hold now"
        click.echo(f"{row['name']} ({', '.join(row['lanes'])}) {holds}, by {row['by']}: {row['reason']}")
    if not rows:
        click.echo("There is no freeze.")
    return 0


@freeze.command("lift")
@click.argument("name")
@click.option("--reason", required=True, help="Why.")
@click.option("--by", metavar="NAME", help="Who; the account at this terminal where it is left out.")
@click.pass_context
def freeze_lift(ctx: click.Context, name: str, reason: str, by: str | None) -> int:
    """Lift a freeze that was added."""
    from reconciler.errors import UserError
    from reconciler.store import directories, switches

    with _app(ctx) as app, app.database.write() as session:
        if name == switches.KILL:
            raise UserError("the kill switch is lifted with `reconciler kill-switch off`")
        try:
            at = app.clock.now()
            lifted = [
                switches.lift(session, known, name, reason=reason, by=by or me(), at=at)
                for known in directories.names(session, app.name)
            ]
        except ValueError as error:
            raise UserError(str(error)) from None
    if not any(lifted):
        raise UserError(f"there is no freeze {name}; see `reconciler freeze list`", exit_code=1)
    click.echo(f"The freeze {name} is lifted.")
    return 0


def _app(ctx: click.Context) -> AbstractContextManager[App]:
    from reconciler.wiring import open_app

    given = options(ctx)
    return open_app(given.settings, given.tenant_name)


def _instant(text: str | None, option: str) -> datetime | None:
    from reconciler.errors import UserError

    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise UserError(f"{option} {text}: an instant with its offset is expected, for example 2026-12-24T18:00+01:00")
    return found.astimezone(UTC)
