"""One cycle now: the lease around it, its heartbeat, and its report. What the one-shot and the service share.

A dry run needs no lease and works on a rehearsal of the store, so it may run beside a cycle.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from reconciler.errors import RemoteError, UserError
from reconciler.governance.standing import Standing
from reconciler.holding import Hold, held
from reconciler.line import Lane, Trip
from reconciler.logs import about
from reconciler.loop.cycle import cycle
from reconciler.loop.deps import Run
from reconciler.loop.observe import Scope
from reconciler.metrics import UNCOUNTED, counting
from reconciler.report import CycleReport
from reconciler.store import breakglass, directories, heartbeat, journal, leases, retention
from reconciler.wiring import App, governed
from reconciler.wiring.kept import nothing
from reconciler.wiring.one_key import require_one_key


class CycleLost(UserError):
    """The tenant was taken over, or could not be held for long enough, while the cycle ran."""


def once(
    app: App,
    scope: Scope,
    *,
    is_dry: bool = False,
    stop: Callable[[], None] = nothing,
    only_due: bool = False,
    next_in_s: float | None = None,
    hold: Hold | None = None,
) -> CycleReport:
    """Run one cycle of one tenant. `stop` is called before each write and raises to end it there.

    A service says when the one after it is due (`next_in_s`), and with `only_due` runs none that another service on the
    same store has done. A worker of a fleet holds the tenant already (`hold`) and says both for itself.

    Raises:
        UserError: another cycle runs (`holding.TenantBusy`), the lease was lost on the way, or the log is kept with
            keys that are not here.
        NotDue: only what is due was asked for.
        RemoteError: a system could not be read at all; nothing was written.
    """
    app = governed(app)
    name = app.cycle_name()
    with about(tenant=app.name, cycle=name), app.tracer.span("cycle", tenant=app.name, cycle=name, is_dry=is_dry):
        if is_dry:
            return _rehearsed(app, name, scope)
        require_one_key(app.settings, app.name, app.database)
        if hold is not None:
            return _once(app, name, scope, hold)
        with held(app, stop=stop, only_due=only_due, next_in_s=next_in_s) as hold:
            return _once(app, name, scope, hold)


def _rehearsed(app: App, name: str, scope: Scope) -> CycleReport:
    with app.database.dry() as rehearsal:
        dry = replace(app, database=rehearsal, meter=UNCOUNTED)
        dry.prepare(name)
        report = cycle(dry.deps(), Run(name, scope, is_dry=True, guard=lambda *_: None))
    with app.database.read() as session:  # what was rehearsed is gone: the log is the one before
        head = journal.head(session, app.name)
    return _seen(_told(app, replace(report, audit_head=head.hash, audit_size=head.size)), scope)


def _once(app: App, name: str, scope: Scope, hold: Hold) -> CycleReport:
    app.prepare(name)
    app.own_meter.modes(app.modes())
    app.own_meter.shares(app.shares())
    with app.database.write() as session:
        heartbeat.start(session, app.name, name, app.clock.now())
    try:
        found = cycle(app.deps(), Run(name, scope, is_dry=False, guard=lambda s, _: hold.guard(s)))
        report = _announced(app, _told(app, found))
    except leases.LeaseLost as lost:
        _finish(app, name, None, str(lost))
        raise CycleLost(f"the cycle stopped: {lost}; nothing more was written", exit_code=1) from None
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
        retention.forget_days(session, app.name, app.clock.now())
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
