"""A backtest of one tenant: its tickets from ServiceNow or from a file, its directory, and nothing that writes."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from desired_state.items import Item
from reconciler.backtest import exported, replay
from reconciler.backtest.values import Replayed
from reconciler.errors import UserError
from reconciler.metrics import UNCOUNTED
from reconciler.wiring import configured
from reconciler.wiring.app import App
from reconciler.wiring.kept import Fence


class WriteRefused(AssertionError):
    """A backtest was about to send a change: a defect of ours, stopped before it left."""


def backtest(app: App, *, since: timedelta, file: Path | None, log_kept: timedelta = replay.LOG_KEPT) -> Replayed:
    """Replay what was closed in the last `since`. Nothing is written: not to the store, nor to either system.

    Raises:
        UserError: the file cannot be read; the sentence says where.
        RemoteError: a system could not be read at all.
    """
    app = read_only(app)
    at = app.clock.now()
    from_ = at - since
    if file is None:
        items: dict[str, Item] = dict(app.items)
        app.progress("reading closed tickets")
        given = replay.from_servicenow(app.servicenow, items, from_, app.tenant.servicenow.page_size)
    else:
        items = {item.sys_id or item.name: item for item in app.settings.items_for(app.name)}
        given = _from_file(app, file, items, at)
    means = replay.Meaning(
        tenant=app.name,
        tenant_id=app.systems.tenant_id,
        catalogue=app.catalogue,
        items=items,
        words=app.tenant.servicenow.words(),
        zone=configured.zone(app.tenant),
        windows=configured.sync_windows(app.tenant),
        bounds=app.bounds(configured.names(app.catalogue)),
    )
    eyes = replace(app.eyes(), sees_roles=False)  # nobody is judged by them
    return replay.replay(given, means, eyes, since=from_, at=at, log_kept=log_kept, progress=app.progress)


def read_only(app: App) -> App:
    """The same tenant by clients of its own, which refuse every write before it is sent and count for no meter.

    Their tokens are their own too: those that are kept would count their sign-ins for whoever made them. What a system
    can still take is one number for all, so the budgets stay.
    """
    return replace(app, fence=Fence(_never), meter=UNCOUNTED, kept=replace(app.kept, tokens={}))


def _from_file(app: App, file: Path, items: dict[str, Item], at: datetime) -> replay.Tickets:
    """The file's tickets; ServiceNow is not asked for anything."""
    try:
        if file.stat().st_size > exported.BYTES_MAX:  # said before it is read into memory
            raise UserError(f"{file} has more than {exported.BYTES_MAX // 2**20} MB; export a shorter time")
        data = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}") from None
    complete = next(iter(app.tenant.servicenow.complete_states), "3")
    found = exported.read(data, str(file), items, at=at, complete=complete)
    return replay.Tickets(
        file.name, found.tickets, {}, found.groups, {"of a catalogue item that is not configured": found.strange}
    )


def _never() -> None:
    raise WriteRefused("a backtest sends nothing")
