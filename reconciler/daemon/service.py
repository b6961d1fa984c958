"""The loop of the service: one tenant's cycles, what is told between them, and how it ends.

`schedule` wakes it, `timetable` says what is due, `once` does a cycle. It runs in the main thread and does one thing at
a time, so no two cycles of a process overlap; over processes the lease sees to that (I16). No error ends it: what is
wrong is a condition of `health`, said once, and the cycle is tried again after a growing wait.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import cast

import schedule

from reconciler import health as words
from reconciler.clients.wire import Counts
from reconciler.clock import Clock, SystemClock
from reconciler.daemon.clockwatch import ClockWatch
from reconciler.daemon.hearing import Hearing
from reconciler.daemon.memory import Memory
from reconciler.daemon.timetable import Duty, Timetable
from reconciler.daemon.troubles import defect, trouble
from reconciler.daemon.waits import Stoppable
from reconciler.daemon.wishes import Stopping, Wishes
from reconciler.errors import Next, RemoteError, StoreUnusable, UserError
from reconciler.health import Health
from reconciler.holding import Hold, NotDue, TenantBusy
from reconciler.logs import Log
from reconciler.loop.observe import Pace, Scope
from reconciler.loop.reader import Reader
from reconciler.metrics.counting import cycle_result
from reconciler.once import once
from reconciler.report import CycleReport
from reconciler.store import agenda, approvals, leases, questions
from reconciler.wiring import App

TELL_EVERY_S = 15.0  # what people decided is acted on, and told to others, so soon
LOOK_EVERY_S = 1.0
LOOK_MIN_S = 0.02
BUSY_S = 20.0  # after which a tenant that somebody else has is asked for again
BY_NAME_EVERY = 4  # full scans: the first one after a start, and each so many later, read everybody by name
PARTLY_FROM = 3  # lines that a system fails for; fewer are about those lines, and told there
NAMES_AGAIN_S = 3600.0  # so soon names are asked for again where a poll meets what it cannot explain
SLOW_FROM_S = 60.0  # a cycle that takes no longer is never slow, however often cycles come


@dataclass
class Service:
    """One tenant's service. `log` takes one event; `reload` gives the tenant by the configuration as it is now."""

    app: App
    log: Log
    wishes: Wishes = field(default_factory=Wishes)
    health: Health | None = None
    reload: Callable[[], App] | None = None
    tell_every_s: float = TELL_EVERY_S
    wall: Clock = field(default_factory=SystemClock)
    stopwatch: Callable[[], float] | None = None  # of a fleet: the seconds that all its workers share
    hold: Hold | None = None  # of a fleet: the tenant is held around everything that is due, not around a cycle
    rng: random.Random = field(default_factory=random.SystemRandom)
    table: Timetable = field(init=False)
    hearing: Hearing = field(init=False)
    _answers: str = field(default="", init=False)  # of people, when the last cycle began
    _scans: int = field(default=0, init=False)
    _clockwatch: ClockWatch = field(init=False)
    _last: App | None = field(default=None, init=False)  # of the last cycle, with the ids that it asked for

    def __post_init__(self) -> None:
        self.health = self.health or Health(self.log, self.wall.monotonic)
        self.app = self._own(self.app)
        after = self.app.settings.schedule.first_cycle_after
        first_after_s = after.total_seconds() * self._pace() if after is not None else 0.0
        self.table = Timetable.starting(self._intervals(), self._now_s(), first_after_s=first_after_s)
        self.hearing = Hearing(self.app.database, self.app.name, self._now_s())
        self._clockwatch = ClockWatch((self._at(), self._now_s()), (self._at(), self.wall.monotonic()))
        self.tell_conditions()

    # --- the loop -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Do what is due until the service has to stop. What was put into the log meanwhile is signed at the end."""
        waker = schedule.Scheduler()
        every = self._plan(waker)
        try:
            self.turn()
            while not self.wishes.is_stopping:
                self.wishes.wait(min(every, max(0.0, waker.idle_seconds or 0.0)))
                if self.wishes.is_wanted:
                    waker.run_all()
                waker.run_pending()
                if (waker.idle_seconds or 0.0) > 2 * every:  # it counts by the wall clock, which was set back
                    every = self._plan(waker)
        except Stopping:
            pass
        finally:
            self._pulse.state(words.STOPPING, self.app.clock.now())
            self._seal()

    def turn(self) -> None:
        """Everything that is due now, one after the other."""
        self._pulse.beat()
        if self.wishes.take_reload():
            self._read_again()
        self._heed_the_clock()
        if self.wishes.take_look():  # tickets may have moved, or a page took an answer in
            self.table = self.table.asked()
            self.attend()
        self.work_off()
        if not self.wishes.is_stopping and self._pulse.pulse().state != words.STANDBY:
            self._pulse.state(words.WAITING, self.app.clock.now())
        self.tell_conditions()

    def work_off(self, *, for_s: float | None = None) -> None:
        """Do what is due until nothing is, or until so many seconds of the machine have gone by."""
        began_s = self.wall.monotonic()
        while not self.wishes.is_stopping:
            duty = self.table.due(self._now_s(), self.app.clock.now())
            if duty is None:
                if not self._scan_on():
                    return
                continue  # in the same turn: who was heard of is in this process's mind alone
            try:
                self._do(duty)
            except Exception as error:  # what no duty foresees; the loop goes on all the same
                self._failed(duty, error)
            self._pulse.beat()
            if for_s is not None and self.wall.monotonic() - began_s >= for_s:
                return

    def remember(self, epoch: int) -> Memory:
        """What the next cycle has to know of this one, whoever does it; under the lease of this epoch."""
        return Memory(self.table, self._answers, self._scans, epoch, self._now_s(), self._pulse.known())

    def resume(self, left_over: str, *, epoch: int) -> None:
        """Go on where another one stopped, or from the beginning; under the lease of this epoch.

        Whoever held the tenant in between and left nothing died in a cycle, or did one by hand: a cycle is wanted.
        """
        memory = Memory.from_text(left_over, self._intervals(), self._now_s())
        if memory is None:
            self.table, self._answers, self._scans = Timetable.starting(self._intervals(), self._now_s()), "", 0
            return
        self.table, self._answers, self._scans = memory.table, memory.answers, memory.scans
        self._pulse.adopt(memory.known)
        if memory.epoch != epoch - 1 or self._is_asked(None):
            self.table = self.table.called()

    def _do(self, duty: Duty) -> None:
        match duty:
            case Duty.FULL | Duty.QUICK:
                now_s = self._now_s()
                waited_s = now_s - max(self.table.next_s[duty], self.table.closed_until_s)
                self.app.own_meter.waited(max(0.0, waited_s) / self._pace())
                is_for_its_time = self.table.is_for_its_time(duty, self._now_s())
                self.cycle(duty, only_due=is_for_its_time and not self._is_sandbox())
            case Duty.PULL:
                self._pull()
            case Duty.NOTICES:
                self.attend()
                self.table = self.table.done(duty, self._now_s(), self.rng.random())
            case Duty.CHECKPOINT:
                self._seal()
                self.table = self.table.done(duty, self._now_s(), self.rng.random())

    def _plan(self, waker: schedule.Scheduler) -> float:
        """Wake the loop often enough for the shortest interval; the seconds between two looks."""
        shortest = min(self._intervals().values()) / self._pace() / 4
        every = max(LOOK_MIN_S, min(LOOK_EVERY_S, shortest))
        waker.clear()
        waker.every(cast(int, every)).seconds.do(self.turn).tag(self.app.name)
        return every

    # --- a cycle ----------------------------------------------------------------------------------------------------

    def cycle(self, duty: Duty = Duty.FULL, *, only_due: bool = False) -> CycleReport | None:
        """One cycle, with everything that was read at its start read anew. None when there was none: the log says why.

        Nothing but an exit, a stop or a signal leaves here as an exception.
        """
        at, began_s, began = self.app.clock.now(), self._now_s(), self.wall.monotonic()
        self._pulse.state(words.CYCLE, at)
        fresh = self._fresh()
        if self.hold is not None:  # the next poll may be another worker's, who has not seen whom this one wrote to
            fresh.hear = lambda seen: self.hearing.listen(fresh, seen)
        next_in_s = self.app.settings.schedule.every.total_seconds()
        moved = self.hearing.people
        try:
            answers = self._answered()
            report = once(
                fresh,
                Scope(pace=self._scope_pace(duty), moved=moved),
                stop=self.wishes.check,
                only_due=only_due,
                next_in_s=next_in_s,
                hold=self.hold,
            )
        except NotDue as early:
            self._stand_by(duty, early.in_s, "")
            return None
        except TenantBusy as busy:
            self._stand_by(duty, BUSY_S, busy.held.by)
            return None
        except Exception as error:
            self._failed(duty, error)
            self.app.own_meter.cycle_ended(cycle_result(None), self.wall.monotonic() - began)
            return None
        self.app.own_meter.cycle_ended(cycle_result(report), self.wall.monotonic() - began)
        self._answers, self._last = answers, fresh
        self.hearing.have_left(report.endings)
        read = moved | self.hearing.settled(report.endings)
        self.hearing.have_read(read, self.app.clock.now(), is_full=duty is Duty.FULL)
        self._ended(duty, report, at, self._now_s() - began_s)
        if self.hearing.is_lost:
            self._scan_all()
        return report

    def _scope_pace(self, duty: Duty) -> Pace:
        if duty is Duty.QUICK:
            return Pace.QUICK
        return Pace.SCAN if self._scans % BY_NAME_EVERY else Pace.EVERY

    def _ended(self, duty: Duty, report: CycleReport, at: datetime, took_s: float) -> None:
        now = self.app.clock.now()
        self._scans += duty is Duty.FULL
        self.table = self.table.done(duty, self._now_s(), self.rng.random())
        self._set_alarm(at)
        for name in (words.SERVICENOW, words.GRAPH, words.SIGN_IN, words.STORE, words.DEFECT, words.LEASE, words.CLOCK):
            self._pulse.good(name, now)
        self._pulse.succeeded(now)
        self._pulse.state(words.WAITING, now)
        limit_s = max(SLOW_FROM_S, self.app.settings.schedule.every.total_seconds())
        is_slow = took_s > limit_s
        self._is(words.SLOW, is_slow, "a cycle took longer than the time between two", seconds=round(took_s))
        failing = sum(1 for e in report.endings if e.state.cause == "remote_failing")
        is_failing = failing >= PARTLY_FROM
        self._is(words.PARTLY, is_failing, "a system fails for some lines: not read, or not changed", lines=failing)
        self._pulse.note((*report.problems, *report.warnings), now)
        counts = {name: count for name, count in report.counts().items() if count}
        self.log("cycle ended", cycle=report.cycle, is_converged=report.is_converged, **counts)

    def _failed(self, duty: Duty, error: Exception) -> None:
        now, wish = self.app.clock.now(), getattr(error, "retry_after_s", None)
        self.table = self.table.failed(duty, self._now_s(), self.rng.random(), retry_after_s=wish)
        self._pulse.failed()
        self._pulse.state(words.WAITING, now)
        wait_s = self.table.closed_until_s - self._now_s()
        if isinstance(error, RemoteError) and error.then is Next.STOP:  # a secret may have been replaced: read it anew
            self.app.kept.tokens.clear()
        name, why = trouble(error)
        self._pulse.bad(
            name, "the cycle failed and is tried again until it works", now, why=why, next_in_s=round(wait_s)
        )

    def _stand_by(self, duty: Duty, for_s: float, by: str) -> None:
        self.table = self.table.put_off(duty, self._now_s(), for_s)
        self._pulse.state(words.STANDBY, self.app.clock.now(), standby_for=by)

    def _own(self, app: App) -> App:
        """The tenant with waits that end when the service has to."""
        clock = Stoppable(app.systems.clock, self.wishes, self._pulse.beat)

        def moves(_what: str) -> None:
            self._pulse.beat()
            app.own_meter.progress()

        return replace(app, systems=replace(app.systems, clock=clock), progress=moves)

    def _fresh(self) -> App:
        return replace(self.app, counts={"graph": Counts(), "servicenow": Counts()})

    def _set_alarm(self, after: datetime) -> None:
        try:
            with self.app.database.read() as session:
                at = agenda.next_instant(session, self.app.name, after=after)
        except StoreUnusable:  # the next cycle says so
            return
        self.table = self.table.alarmed(at, self._now_s())

    # --- between cycles -----------------------------------------------------------------------------------------------

    def _pull(self) -> None:
        """Whether a ticket or a person has moved. What they say now, the cycle reads."""
        app = self._last or self._fresh()
        try:
            is_news = self.hearing.is_news(app.deps().reader, self._anew)
            is_known = self.hearing.ask(app)
        except Stopping:
            raise
        except Exception as error:
            self._failed(Duty.PULL, error)
            return
        self.table = self.table.done(Duty.PULL, self._now_s(), self.rng.random())
        self._pulse.good(words.SERVICENOW, self.app.clock.now())
        if not is_known:
            self._scan_all()
        elif is_news or self.hearing.people:
            self.table = self.table.called()

    def _anew(self) -> Reader | None:
        """A reader that has asked for the names of the configuration again; None where that was done of late."""
        if not self.app.kept.ids.forget(self.app.clock.monotonic(), older_than_s=NAMES_AGAIN_S):
            return None
        self._last = self._fresh()
        return self._last.deps().reader

    def _scan_all(self) -> None:
        self.hearing.is_lost = False
        self.log("the directory forgot what it told us of its users: all of them are scanned")
        self.table = self.table.wanted(Duty.FULL, self._now_s())

    def _scan_on(self) -> bool:
        """Read a page of all users when one is due; whether a cycle is wanted for somebody whom the pass shows."""
        if self.wishes.is_stopping or self._pulse.pulse().state == words.STANDBY:
            return False
        full_s, not_before_s = self._intervals()[Duty.FULL], self.table.closed_until_s
        try:
            is_wanted = self.hearing.scan_on(
                self._last or self.app, self._now_s(), full_s=full_s, not_before_s=not_before_s
            )
        except (RemoteError, StoreUnusable):  # the next full scan is done whole
            return False
        except Exception as error:
            self._failed(Duty.PULL, error)
            return False
        if is_wanted:
            self.table = self.table.called()
        return is_wanted

    def attend(self) -> None:
        """Between cycles: see whether somebody has answered or wants a cycle, and tell what is owed."""
        try:
            lease = self.hold.lease if self.hold is not None else None  # what was asked before it, its turn begins with
            if self._answered() != self._answers or self._is_asked(lease):
                self.table = self.table.called()
        except StoreUnusable as error:
            self._pulse.bad(words.STORE, "it cannot be read whether somebody has answered", self._at(), why=str(error))
            return
        self.tell()

    def tell(self) -> None:
        """Tell people what they are owed, between cycles. The next cycle reports what could not be told."""
        why = ""
        try:
            if self.app.notifier is not None:
                self.app.notifier.deliver()
        except (UserError, RemoteError) as error:
            why = str(error)
        except Exception as error:
            why = defect(error)
        self._is(words.NOTICES, bool(why), "notices could not be told", why=why)

    def _answered(self) -> str:
        with self.app.database.read() as session:
            return f"{approvals.answers(session, self.app.name)} {questions.answers(session, self.app.name)}"

    def _is_asked(self, since: leases.Lease | None) -> bool:
        with self.app.database.read() as session:
            return leases.is_asked(session, self.app.name, since=since)

    def _seal(self) -> None:
        try:
            self.app.notary.seal()
            why = "; ".join(self.app.notary.alarms.values())
        except UserError as error:
            why = str(error)
        self._is(words.AUDIT, bool(why), "the audit log is not signed and kept twice as it should be", why=why)

    def _read_again(self) -> None:
        """The configuration, because somebody asked for it. One that is refused changes nothing."""
        if self.reload is None:
            return
        try:
            fresh = self.reload()
        except UserError as error:
            self._pulse.bad(
                words.CONFIGURATION,
                "the configuration is refused, the one before stays",
                self._at(),
                why=str(error),
            )
            return
        fresh.kept.budgets.update(self.app.kept.budgets)  # whoever wants to be left alone still does
        fresh.kept.sizes = self.app.kept.sizes
        self.app, self._last = self._own(fresh), None
        self.hearing.use(self.app.database)
        self.table = self.table.paced(self._intervals(), self._now_s()).called()
        self._pulse.good(words.CONFIGURATION, self._at())
        self.log("the configuration was read again and is in use")

    def _heed_the_clock(self) -> None:
        """A clock that is set moves no interval; what is due by its new time is looked for at once."""
        if self._is_sandbox() and not self._runs_by_itself():
            return  # that clock goes by waits, and stands still by intention; the stopwatch is the machine's
        at = self._at()
        # What is due by a clock that does not go is never due, and in a sandbox that runs by itself no cycle is.
        is_standing = self._clockwatch.stands(at, self.wall.monotonic())
        self._is(words.STANDSTILL, is_standing, "the clock stands still", stands_at=at)
        by = self._clockwatch.set_by(at, self._now_s())
        if by is not None:
            self._pulse.bad(words.CLOCK, "the clock was set", at, by_s=round(by.total_seconds()))
            self.table = self.table.called()

    def tell_conditions(self) -> None:
        """Have the gauges say what is wrong now."""
        self.app.own_meter.conditions({condition.name for condition in self._pulse.pulse().conditions})

    # --- small things -------------------------------------------------------------------------------------------------

    @property
    def _pulse(self) -> Health:
        assert self.health is not None
        return self.health

    def _at(self) -> datetime:
        return self.app.clock.now()

    def _is(self, name: str, is_bad: bool, message: str, *, why: str = "", **fields: object) -> None:
        if is_bad:
            self._pulse.bad(name, message, self._at(), why=why, **fields)
        else:
            self._pulse.good(name, self._at())

    def _pace(self) -> float:
        """Seconds of the tenant's clock to one of the machine's."""
        return self.app.settings.sandbox.speed if self._runs_by_itself() else 1.0

    def _now_s(self) -> float:
        """The service's stopwatch: the tenant's, or the machine's where a sandbox's stands still."""
        if self.stopwatch is not None:
            return self.stopwatch()
        return self.app.clock.monotonic() if self._runs_by_itself() or not self._is_sandbox() else self.wall.monotonic()

    def _is_sandbox(self) -> bool:
        return self.app.tenant.sandbox

    def _runs_by_itself(self) -> bool:
        return self._is_sandbox() and self.app.settings.sandbox.speed > 0

    def _intervals(self) -> Mapping[Duty, float]:
        timing, audit = self.app.settings.schedule, self.app.settings.audit
        return {
            Duty.FULL: timing.full_scan_every.total_seconds(),
            Duty.QUICK: timing.every.total_seconds(),
            Duty.PULL: timing.pull_every.total_seconds(),
            Duty.NOTICES: self.tell_every_s,
            Duty.CHECKPOINT: audit.checkpoint_every.total_seconds(),
        }
