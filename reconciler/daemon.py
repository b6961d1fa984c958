"""The service: cycles for ever. The pages beside them are up while `wiring.serving` holds them.

The first cycle runs at once, each next one `schedule.every` after the one before has ended, and one in between when a
person has answered a request: it asks the next stage, or does what was approved; at once after an answer on the pages,
which ring, within seconds after one from a terminal. Only a cycle opens a stage. A cycle that fails is one line in the
log and the next one comes as planned: no error ends the service. The loop runs in the main thread, so a
signal ends it at once, through every `finally` of the cycle.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

import schedule

from reconciler.clients.wire import Counts
from reconciler.clock import Clock, SystemClock
from reconciler.errors import RemoteError, UserError
from reconciler.loop.observe import Scope
from reconciler.metrics.counting import cycle_result
from reconciler.once import once
from reconciler.report import CycleReport
from reconciler.store import approvals, questions
from reconciler.wiring import App

Say = Callable[[str], None]
TELL_EVERY_S = 15  # what people decided is acted on, and told to others, so soon
LOOK_EVERY_S = 0.5  # how long a stop that comes without a signal may take to be seen


@dataclass
class Service:
    """One tenant's cycles. `log` takes one line."""

    app: App
    log: Say
    tell_every_s: int = TELL_EVERY_S
    wall: Clock = field(default_factory=SystemClock)  # times cycles, whatever the sandbox's clock does
    _answers: object = field(default=None, init=False)  # of people, when the last cycle began

    def run(self, stop: threading.Event) -> None:
        """Run cycles until `stop` is set. What the pages put into the log since the last one is signed at the end."""
        timetable = schedule.Scheduler()
        try:
            self.cycle()
            timetable.every(_seconds(self.app.settings.schedule.every)).seconds.do(self.cycle)
            timetable.every(self.tell_every_s).seconds.do(self.attend)
            while not stop.is_set():
                if self.app.woken.wait(min(LOOK_EVERY_S, max(0.0, timetable.idle_seconds or 0.0))):
                    self.app.woken.clear()
                    self.attend()
                timetable.run_pending()
        finally:
            self._seal()

    def _seal(self) -> None:
        try:
            self.app.notary.seal()
        except UserError as error:
            self.log(f"the audit log was not signed at the end: {error}")

    def cycle(self) -> CycleReport | None:
        """One cycle, with everything that was read at its start read anew. None when it failed: the log says why.

        Nothing but an exit or a signal leaves here as an exception: `schedule` would never plan the next one.
        """
        fresh = replace(self.app, counts={"graph": Counts(), "servicenow": Counts()})
        began = self.wall.monotonic()
        report = self._cycle(fresh)
        self.app.own_meter.cycle_ended(cycle_result(report), self.wall.monotonic() - began)
        return report

    def _cycle(self, fresh: App) -> CycleReport | None:
        try:
            self._answers = self._answered()
            report = once(fresh, Scope())
        except (UserError, RemoteError) as error:
            self.log(f"the cycle failed: {error}")
            return None
        except Exception as error:
            self.log(f"the cycle failed by a defect of the reconciler ({type(error).__name__}); the next one is tried")
            return None
        for problem in (*report.problems, *report.warnings):
            self.log(problem)
        self.log(_summary(report))
        return report

    def attend(self) -> None:
        """Between cycles: one at once if somebody has answered since the last one began; and tell what is owed."""
        try:
            is_news = self._answered() != self._answers
        except UserError as error:
            self.log(f"whether somebody has answered could not be read: {error}")
            return
        if is_news:
            self.cycle()
        self.tell()

    def _answered(self) -> object:
        with self.app.database.read() as session:
            return approvals.answers(session, self.app.name), questions.answers(session, self.app.name)

    def tell(self) -> None:
        """Tell people what they are owed, between cycles. The next cycle reports what could not be told."""
        try:
            if self.app.notifier is not None:
                self.app.notifier.deliver()
        except (UserError, RemoteError) as error:
            self.log(f"notices could not be told: {error}")
        except Exception as error:
            self.log(f"notices could not be told by a defect of the reconciler ({type(error).__name__})")


def _seconds(span: timedelta) -> int:
    return max(1, int(span.total_seconds()))


def _summary(report: CycleReport) -> str:
    counts = {name: count for name, count in report.counts().items() if count}
    said = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
    return f"cycle {report.cycle}: {said or 'no lines'}{'; converged' if report.is_converged else ''}"
