"""The queue of a fleet: procrastinate over the store's PostgreSQL.

Periodic ticks are one job each however many workers there are; a tick queues one job for each tenant whose time has
come, and none for one that is queued already. A job has no `lock` of procrastinate's: a worker that died would keep it
for ever (dependencies.md section 1). What a dead worker had begun is put down as failed, never tried again: the tenant
is still due, so the next tick asks again.

Tenants that are slow or failing have a queue of their own and a share of the places, so that they wait for each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued
from procrastinate.jobs import Status

from reconciler.daemon.timetable import ALARM, Duty
from reconciler.store.looks import Look

CONTROL, PROMPT, TROUBLED = "control", "prompt", "troubled"
EVERY = "* * * * * */{}"  # the sixth field is the second
TICK_EVERY_S, BURY_EVERY_S = 2, 10
CUT_OFF = 1  # before everybody who waits for their time
STALE_S = 30.0  # a tick that waited so long for a place is behind others that say the same
HEARTBEAT_S, DEAD_AFTER_S = 5.0, 30.0
KEPT_H = 24 * 7  # for how long a job that failed can be looked at
NOTICES = Duty.NOTICES.value
WORK = (*(duty.value for duty in Duty), ALARM)


@dataclass(frozen=True)
class Crew:
    """What a worker's jobs call. Each is called in a thread of its own."""

    take: Callable[[str], object]  # one tenant's turn; says what became of it
    due: Callable[[], Iterable[Look]]  # whose time has come


def task_name(duty: str) -> str:
    """The task by which the queue's own tools show work for a duty."""
    return "reconciler." + (duty if duty in WORK else Duty.FULL.value).replace(" ", "_")


def build(conninfo: str, crew: Crew, *, pool: int = 4, tick_every_s: int = TICK_EVERY_S) -> App:
    """The queue with its tasks. `conninfo` is libpq's; nothing is contacted before it is opened."""
    app = App(connector=PsycopgConnector(conninfo=conninfo, min_size=1, max_size=pool, timeout=10.0))
    for duty in WORK:
        app.task(name=task_name(duty), queue=PROMPT)(_looking(crew))

    @app.periodic(cron=EVERY.format(tick_every_s))
    @app.task(name="reconciler.tick", queue=CONTROL)
    async def tick(timestamp: int) -> int:
        if await _age_s(app, timestamp) > STALE_S:
            return 0
        return await defer(app, crew.due)

    @app.periodic(cron=EVERY.format(BURY_EVERY_S))
    @app.task(name="reconciler.bury", queue=CONTROL)
    async def bury(timestamp: int) -> int:  # noqa: ARG001 (procrastinate hands it over)
        return await bury_dead(app)

    return app


def _looking(crew: Crew) -> Callable[[str], str]:
    def look(tenant: str) -> str:
        return str(crew.take(tenant))

    return look


async def defer(app: App, due: Callable[[], Iterable[Look]]) -> int:
    """Queue a job for each tenant that is due and has none waiting; how many were queued. What was cut off comes first.

    Who waits is read first: a tenant whose job was done in between is not due any more.
    """
    queued = 0
    waiting = await _waiting(app)
    for look in await asyncio.to_thread(lambda: tuple(due())):
        if look.tenant in waiting:
            continue
        task = app.configure_task(
            task_name(look.duty),
            queue=TROUBLED if look.is_troubled else PROMPT,
            queueing_lock=look.tenant,
            priority=CUT_OFF if look.is_cut else 0,
        )
        try:
            await task.defer_async(tenant=look.tenant)
            queued += 1
        except AlreadyEnqueued:  # by another worker's tick
            continue
    return queued


async def bury_dead(app: App) -> int:
    """Put down what workers had begun that show no life any more; how many jobs that were.

    They are kept as failed, to be looked at. A tenant they were for is still due.
    """
    manager = app.job_manager
    dead = list(await manager.get_stalled_jobs(seconds_since_heartbeat=DEAD_AFTER_S))
    for job in dead:
        await manager.finish_job(job, Status.FAILED, delete_job=False)
    await manager.delete_old_jobs(nb_hours=KEPT_H, include_failed=True, include_cancelled=True, include_aborted=True)
    return len(dead)


async def _waiting(app: App) -> frozenset[str]:
    rows: Iterable[Mapping[str, Any]] = await app.connector.execute_query_all_async(
        "SELECT queueing_lock FROM procrastinate_jobs WHERE status = 'todo' AND queueing_lock IS NOT NULL"
    )
    return frozenset(row["queueing_lock"] for row in rows)


async def _age_s(app: App, timestamp: int) -> float:
    row = await app.connector.execute_query_one_async(
        "SELECT extract(epoch from clock_timestamp())::float8 - %(then)s AS age", then=float(timestamp)
    )
    return float(row["age"])
