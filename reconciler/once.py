"""One cycle now: the lease around it, its heartbeat, and its report. What the one-shot and the service share.

A dry run needs no lease and works on a rehearsal of the store, so it may run beside a cycle.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime

from sqlmodel import Session

from reconciler.errors import RemoteError, UserError
from reconciler.governance.standing import Standing
from reconciler.line import Lane, Trip
from reconciler.logs import about
from reconciler.loop.cycle import Run, cycle
from reconciler.loop.observe import Scope
from reconciler.loop.send import Write
from reconciler.metrics import UNCOUNTED, counting
from reconciler.report import CycleReport
from reconciler.store import breakglass, directories, heartbeat, journal, leases
from reconciler.wiring import App, governed, owner_name

TTL_S = 60.0


def once(app: App, scope: Scope, *, is_dry: bool = False) -> CycleReport:
    """Run one cycle of one tenant.

    Raises:
        UserError: another cycle runs, or the lease was lost on the way.
        RemoteError: a system could not be read at all; nothing was written.
    """
    app = governed(app)
    name = app.cycle_name()
    with about(tenant=app.name, cycle=name), app.tracer.span("cycle", tenant=app.name, cycle=name, is_dry=is_dry):
        return _once(app, name, scope, is_dry=is_dry)


def _once(app: App, name: str, scope: Scope, *, is_dry: bool) -> CycleReport:
    if is_dry:
        with app.database.dry() as rehearsal:
            dry = replace(app, database=rehearsal, meter=UNCOUNTED)
            dry.prepare(name)
            report = cycle(dry.deps(), Run(name, scope, is_dry=True, guard=lambda *_: None))
        with app.database.read() as session:  # what was rehearsed is gone: the log is the one before
            head = journal.head(session, app.name)
        return _seen(_told(app, replace(report, audit_head=head.hash, audit_size=head.size)), scope)
    with _lease(app) as guard:
        app.prepare(name)
        app.own_meter.modes(app.modes())
        with app.database.write() as session:
            heartbeat.start(session, app.name, name, app.clock.now())
        try:
            report = _announced(app, _told(app, cycle(app.deps(), Run(name, scope, is_dry=False, guard=guard))))
        except leases.LeaseLost as lost:
            _finish(app, name, None, str(lost))
            raise UserError(f"the cycle stopped: {lost}; nothing more was written", exit_code=1) from None
        except BaseException as error:
            with suppress(Exception):  # the first error is the one to report
                _finish(app, name, None, str(error) if isinstance(error, Exception) else "interrupted")
                app.notary.seal()
                if isinstance(error, RemoteError) and app.notifier is not None:
                    app.notifier.deliver()
            raise
        app.notary.seal()
        if app.notary.broken:
            report = replace(report, problems=(*report.problems, *app.notary.broken))
        _finish(app, name, report, "; ".join(report.problems))
        counting.guards(app.own_meter, report)
        return _seen(report, scope)


def _told(app: App, report: CycleReport) -> CycleReport:
    """The report with what people have to be told whatever the cycle was about."""
    with app.database.read() as session:
        owed = breakglass.owed(session, app.name)
        shared = directories.shared(session, app.name)
    at = app.clock.now()
    return replace(
        report,
        trips=(*configuration_trips(app.standing), *report.trips),
        warnings=(*report.warnings, *([shared] if shared else [])),
        problems=(*report.problems, *(use.sentence(at) for use in owed)),
    )


def configuration_trips(standing: Standing | None) -> tuple[Trip, ...]:
    """A configuration that was not accepted is a guard that keeps directory and tickets from what it says."""
    if standing is None:
        return ()
    why = standing.why()
    return tuple(
        Trip("configuration", lane, wanted=len(standing.wider), limit=0, digest=standing.digest, sentence=why)
        for lane in (Lane.GRANTS, Lane.ANSWERS)
    )


def _announced(app: App, report: CycleReport) -> CycleReport:
    """The report, once people were told what they are owed. What could not be told is a problem, never an error."""
    if app.notifier is None:
        return report
    problems: tuple[str, ...]
    try:
        app.notifier.trips(report.trips)
        app.notifier.samples()
        problems = app.notifier.deliver()
    except Exception as error:  # everything else of this cycle is done and has to be reported
        why = str(error) if isinstance(error, UserError | RemoteError) else f"a defect ({type(error).__name__})"
        problems = (f"people could not be told what they are owed: {why}",)
    with app.database.read() as session:
        head = journal.head(session, app.name)
    return replace(report, problems=(*report.problems, *problems), audit_head=head.hash, audit_size=head.size)


def _seen(report: CycleReport, scope: Scope) -> CycleReport:
    """The report, unless it was asked for by name and nothing of that name is there."""
    named = [*sorted(scope.tickets), *sorted(scope.users)]
    if named and not report.endings:
        raise UserError(
            f"ServiceNow shows no ticket of a configured catalogue item for {', '.join(named)}; check the spelling",
            exit_code=1,
        )
    return report


def _finish(app: App, name: str, report: CycleReport | None, error: str) -> None:
    with app.database.write() as session:
        heartbeat.finish(
            session,
            app.name,
            name,
            app.clock.now(),
            is_converged=report is not None and report.is_converged,
            counts=report.counts() if report is not None else {},
            head=journal.head(session, app.name),
            error=error[:500],
        )


@contextmanager
def _lease(app: App) -> Iterator[Callable[[Session, Write], None]]:
    """Hold the tenant for a block; it is prolonged beside the cycle and checked in each intent's transaction."""
    owner = owner_name()
    lease = _claim(app, owner)
    ended = threading.Event()

    def prolong() -> None:
        while not ended.wait(TTL_S / 3):
            with suppress(UserError), app.database.write() as session:  # a locked store: the next turn tries again
                if not leases.renew(session, lease, ttl_s=TTL_S):
                    return

    keeper = threading.Thread(target=prolong, name="lease", daemon=True)
    keeper.start()
    try:
        yield lambda session, _: leases.guard(session, lease)
    finally:
        ended.set()
        keeper.join(timeout=5)
        with suppress(UserError), app.database.write() as session:
            leases.release(session, lease)


def _claim(app: App, owner: str) -> leases.Lease:
    with app.database.write() as session:
        found = leases.claim(session, app.name, owner, ttl_s=TTL_S)
        if isinstance(found, leases.Held) and _is_dead(found.by):
            leases.abandon(session, app.name, found.by)
            found = leases.claim(session, app.name, owner, ttl_s=TTL_S)
    if isinstance(found, leases.Held):
        raise UserError(_refused(app.name, found), exit_code=1)
    return found


def _is_dead(owner: str) -> bool:
    """The holder was a process of this machine and does not exist any more: it was killed."""
    host, _, rest = owner.partition(":")
    pid = rest.partition(":")[0]
    if host != os.uname().nodename or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _refused(tenant: str, held: leases.Held) -> str:
    since: datetime = held.since
    return (
        f"another cycle of tenant {tenant} is running: {held.by}, since {since:%Y-%m-%d %H:%M:%S} UTC; "
        "wait until it ends"
    )
