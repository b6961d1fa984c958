"""`reconciler kill-switch` and `reconciler freeze`: stop writes at once, or for a while. Notices still go out."""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.main import Options, options
from reconciler.cli.operator import me
from reconciler.cli.signing import author_of, signature_option

if TYPE_CHECKING:
    from reconciler.loop.releasing import Lifted
    from reconciler.wiring import App

LANES = ("grants", "removals", "usage_locations", "answers")


@click.command("kill-switch")
@click.argument("what", type=click.Choice(["on", "off", "status"]))
@click.option("--reason", default="", help="Why; lifting it needs one.")
@click.option("--by", metavar="NAME", help="Who; the account at this terminal where it is left out.")
@signature_option
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def kill_switch(ctx: click.Context, what: str, reason: str, by: str | None, signature: Path | None, output: str) -> int:
    """Stop every write to the directory and to tickets, at once; also of a cycle that is running.

    Without --tenant it is about every tenant. It is on as well while a file named KILL is in the state directory or
    RECONCILER_KILL_SWITCH is set. In mode enforce, lifting it may take two people (guards.second_person). Where
    approvals.break_glass_signers names people, lifting it prints the bytes that one of them signs; stopping takes none.
    """
    given = options(ctx)
    if what == "on":
        return _throw(given, reason, by or me())
    if what == "off":
        return _lift(given, reason, by, signature)
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


def _lift(given: Options, reason: str, by: str | None, signature: Path | None) -> int:
    from reconciler.errors import UserError
    from reconciler.loosening import takes_signature
    from reconciler.wiring import open_app
    from reconciler.wiring.stops import outside_stop

    names, is_off = _tenants(given), True
    for name in names:
        with open_app(given.settings, name) as app:
            if len(names) > 1 and (signature is not None or takes_signature(app)):
                raise UserError(f"a signature is for one tenant: name {name} with --tenant")
            done = _lift_one(app, reason, by, signature)
        if done is None:
            return 0
        click.echo(f"{name}: {done.sentence}")
        is_off = is_off and done.is_off
    left = outside_stop(given.settings.state_dir, os.environ)
    if left:
        click.echo(f"It is still on, because {left}; remove that as well.")
    return 0 if is_off and not left else 1


def _lift_one(app: App, reason: str, by: str | None, signature: Path | None) -> Lifted | None:
    """Lift it for one tenant; None where the bytes to sign were printed instead."""
    from reconciler.loop.releasing import Lifted, lift
    from reconciler.loosening import checked, note, stops_of, to_lift, unmoved
    from reconciler.store import switches
    from reconciler.wiring.governing import lifting_takes_two

    why, takes_two = checked(reason), lifting_takes_two(app)
    with app.database.read() as session:
        thrown = stops_of(session, app, switches.KILL)
    if not thrown:
        return Lifted(True, "The kill switch was not thrown.")
    payload = to_lift(app, thrown, reason=why)
    who = author_of(app, payload, signature, by)
    if who is None:
        return None
    with app.database.write() as session:
        unmoved(to_lift(app, stops_of(session, app, switches.KILL) or thrown, reason=why), payload)
        at = app.clock.now()
        done = lift(session, app.name, by=who.name, who=who.account, reason=why, at=at, takes_two=takes_two)
        note(session, app, who, "lift", "lifted" if done.is_off else "asked")
    return done


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
@signature_option
@click.pass_context
def freeze_lift(ctx: click.Context, name: str, reason: str, by: str | None, signature: Path | None) -> int:
    """Lift a freeze that was added. Where approvals.break_glass_signers names people, one of them signs."""
    from reconciler.errors import UserError
    from reconciler.loosening import checked, note, stops_of, to_lift, unmoved
    from reconciler.store import switches

    if name == switches.KILL:
        raise UserError("the kill switch is lifted with `reconciler kill-switch off`")
    why = checked(reason)
    with _app(ctx) as app:
        with app.database.read() as session:
            added = stops_of(session, app, name)
        if not added:
            raise UserError(f"there is no freeze {name}; see `reconciler freeze list`", exit_code=1)
        payload = to_lift(app, added, reason=why)
        who = author_of(app, payload, signature, by)
        if who is None:
            return 0
        with app.database.write() as session:
            now = stops_of(session, app, name)
            unmoved(to_lift(app, now, reason=why) if now else b"", payload)
            for stop in now:
                switches.lift(session, stop.tenant, name, reason=why, by=who.name, at=app.clock.now())
            note(session, app, who, "unfreeze", "unfrozen")
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
