"""How each ticket of Contoso stands after the first cycle, after two days and after forty (architecture.md section 6).

A story is written as it is seen from outside: the line's phase and cause, what the person holds in the directory, the
writes that were announced in the audit log for it, and what its ticket was told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from reconciler.line import Ending
from reconciler.store import journal
from tests.simulation.make_day import TENANT, Day

DESK, IDENTITY, TELECOM = "M365 Licence Desk", "Identity", "Telecom"
# Minutes before each cycle. The service looks far more often; nothing here depends on how often.
TWO_DAYS = (5, 55, 120, 360, 720, 1020, 600)
TO_DAY_FORTY = (*(4320 for _ in range(12)), 2880, 60)
OPEN, WORKING, CLOSED = "1", "2", "3"
LOCATE, GIVE, JOIN, TAKE, AGAIN = (
    "set_usage_location", "assign_license", "add_group_member", "remove_license", "reprocess",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stand:
    """One line at one time. SKUs by part number, `@` for one that comes from a group, `-n` for n plans off.

    `holds` and `location` are None where no account belongs to the line, or nobody looks any more; tasks are
    (group, state) in the order in which they were made.
    """

    phase: str
    cause: str | None = None
    holds: tuple[str, ...] | None = None
    location: str | None = None
    writes: tuple[str, ...] = ()
    notes: int = 0
    comments: int = 0
    tasks: tuple[tuple[str, str], ...] = ()
    ticket: str = CLOSED


@dataclass(frozen=True, slots=True)
class Story:
    """The three times of a line; a time that is not given is as the one before."""

    first: Stand
    two_days: Stand | None = None
    forty_days: Stand | None = None
    says: tuple[str, ...] = field(default=())  # parts of the first work note
    never: tuple[str, ...] = field(default=())  # what no work note may say

    def at(self, when: str) -> Stand:
        later = self.two_days or self.first
        return {"first": self.first, "two_days": later, "forty_days": self.forty_days or later}[when]


@dataclass(frozen=True, slots=True)
class Seen:
    """All lines at one time."""

    stands: dict[str, Stand]
    notes: dict[str, list[str]]
    log: tuple[dict[str, Any], ...]


def seen(day: Day) -> Seen:
    """What is so now, read from the sandbox's own rows and the audit log; never from the report alone."""
    with day.app.database.read() as session:
        log = tuple(journal.export(session, TENANT))
    endings = day.reports[-1].endings
    numbers = {e.state.key.ticket for e in endings}
    return Seen(
        {str(e.state.key): _stand(day, e, log) for e in endings}, {n: day.notes(n) for n in sorted(numbers)}, log
    )


def writes(log: tuple[dict[str, Any], ...], key: str) -> tuple[str, ...]:
    """The directory writes that were announced for a line, in order."""
    mine = (r["body"] for r in log if r["kind"] == "intent" and r["body"]["system"] == "graph")
    return tuple(body["action"] for body in mine if key in body["lines"])


def _stand(day: Day, ending: Ending, log: tuple[dict[str, Any], ...]) -> Stand:
    key = ending.state.key
    ticket = day.ticket(key.ticket)
    user = ending.finding.user
    groups = {g["sys_id"]: g["name"] for g in day.world.instance.records("sys_user_group")}
    return Stand(
        ending.state.phase.value,
        ending.state.cause,
        tuple(sorted(_held(day, user.id))) if user is not None else None,
        day.world.directory.user(user.id).usage_location or None if user is not None else None,
        writes(log, str(key)),
        len(day.notes(key.ticket)),
        len(day.world.instance.notes(ticket["sys_id"], "comments")),
        tuple((groups.get(t["assignment_group"], ""), t["state"]) for t in day.tasks(key.ticket)),
        ticket["state"],
    )


def _held(day: Day, user: str) -> Iterator[str]:
    names = {s.sku_id: s.part_number for s in day.world.directory.store.skus.values()}
    for state in day.world.directory.assign_states(user):
        if state.is_in_force:
            off = f"-{len(state.disabled)}" if state.disabled else ""
            yield f"{names[state.sku_id]}{'@' if state.group_id is not None else ''}{off}"


E3 = ("SPE_E3@",)
OUR_TASK = ((DESK, OPEN),)
OUR_TASK_CLOSED = ((DESK, CLOSED),)
STORIES = {
    "RITM0010001/1": Story(
        Stand("granted", None, ("PROJECTPROFESSIONAL",), "DE", (LOCATE, GIVE), 1, 1),
        says=("granted, and every service plan it needs is provisioned", "sage location", "DE"),
    ),
    "RITM0010002/1": Story(
        Stand("verifying", "group_pending", E3, "NL", (JOIN,)),
        Stand("granted", None, (*E3, "VISIOCLIENT@"), "NL", (JOIN,), 1, 1),
        says=("What was wrong: The account was not in the group", "added to the group M365-Visio-Plan-2"),
    ),
    "RITM0010003/1": Story(
        Stand("verifying", "group_pending", E3, "FR"), Stand("granted", None, (*E3, "VISIOCLIENT@"), "FR")
    ),
    "RITM0010004/1": Story(
        Stand("granted", None, ("MCOEV", *E3), "US", (LOCATE, GIVE), 1, 1, OUR_TASK_CLOSED, WORKING),
        says=("Microsoft request ids", "Digest of the change", "tier V3"),
    ),
    "RITM0010005/1": Story(
        Stand("granted", None, ("MCOEV", "MCOPSTN2@", *E3), "SE", (TAKE, AGAIN), 1, 1),
    ),
    "RITM0010006/1": Story(Stand("granted", None, ("SPE_E5",), "GB")),
    "RITM0010007/1": Story(
        Stand("review", "wrong_product", ("PROJECT_P1", *E3), "SE", (), 1, 1, OUR_TASK, WORKING),
        says=("Project Plan 3",),
    ),
    "RITM0010008/1": Story(
        Stand("waiting_for_seat", "no_seat", E3, "DE", (), 1, 1),
        forty_days=Stand("granted", None, (*E3, "VISIOONLINE_PLAN1"), "DE", (GIVE,), 2, 2),
    ),
    "RITM0010009/1": Story(
        Stand("granted", None, ("PROJECTPROFESSIONAL",), "PL", (GIVE,), 1, 1, OUR_TASK_CLOSED, WORKING),
        forty_days=Stand("revoked", None, None, None, (GIVE, TAKE), 3, 3, OUR_TASK_CLOSED, WORKING),
    ),
    "RITM0010010/1": Story(
        Stand("held", "policy_refused", (), "ES", (), 1, 1, OUR_TASK, WORKING),
        forty_days=Stand("granted", None, ("PROJECTPROFESSIONAL",), "ES", (GIVE,), 3, 2, OUR_TASK_CLOSED, WORKING),
    ),
    "RITM0010011/1": Story(Stand("review", "user_missing", None, None, (), 1, 1, ((IDENTITY, OPEN),), WORKING)),
    "RITM0010012/1": Story(  # nobody answers in this telling; see tests/simulation/test_approvals.py for answers
        Stand("awaiting_approval", None, ("SPE_E3",), "DE", ticket=OPEN),
        forty_days=Stand("review", "policy_refused", ("SPE_E3",), "DE", (), 1, 1, OUR_TASK, OPEN),
    ),
    "RITM0010013/1": Story(Stand("granted", None, ("SPE_E3-3",), "DE", (GIVE,), 1, 1)),
    "RITM0010014/1": Story(
        Stand("verifying", "provisioning_pending", ("POWERAUTOMATE_ATTENDED_RPA",), "NL", (GIVE,), 0, 0, OUR_TASK,
              WORKING),
        Stand("review", "provisioning_error", (), "NL", (GIVE, TAKE), 1, 1, (*OUR_TASK, *OUR_TASK), WORKING),
    ),
    "RITM0010015/1": Story(Stand("review", "ticket_inconsistent", tasks=((DESK, "4"),))),
    "RITM0010016/1": Story(
        Stand("review", "plan_conflict", ("MCOPSTN2", "SPE_E5"), "ES", (), 1, 1, (*OUR_TASK, *OUR_TASK), WORKING),
        says=("Microsoft 365 Domestic Calling Plan", "DOMESTIC AND INTERNATIONAL CALLING PLAN", "close the ticket."),
    ),
    "RITM0010017/1": Story(
        Stand("drifted", "removed_later", E3, "FR", (), 1, 1, OUR_TASK), says=("Tom Weber",),
    ),
    "RITM0010018/1": Story(
        Stand("revoked", None, E3, "GB", (TAKE,), 1, 1), Stand("revoked", None, None, None, (TAKE,), 1, 1)
    ),
    "RITM0010019/1": Story(
        Stand("cancelled", "subject_left", (), "DE", (), 1), Stand("cancelled", "subject_left", notes=1)
    ),
    "RITM0010020/1": Story(
        Stand("verifying", "usage_location_missing", (), "PL", (LOCATE,)),
        Stand("review", "usage_location_refused", (), None, (LOCATE,), 1, 1, ((IDENTITY, OPEN),), WORKING),
        says=("synced from on-premises",), never=("What stays",),
    ),
    "RITM0010021/1": Story(Stand("granted", None, ("PROJECTPROFESSIONAL", *E3), "DE")),
    "RITM0010022/1": Story(Stand("granted", None, ("PROJECTPROFESSIONAL", *E3), "DE")),
    "RITM0010023/1": Story(  # nobody answers in this telling; see tests/simulation/test_approvals.py for answers
        Stand("awaiting_approval", None, ("SPE_E3",), "DE", ticket=OPEN),
        forty_days=Stand("review", "policy_refused", ("SPE_E3",), "DE", (), 1, 1, OUR_TASK, OPEN),
    ),
    "RITM0010024/1": Story(
        Stand("waiting_for_seat", "group_error", E3, "GB", (), 1, 1),
        forty_days=Stand(
            "granted", None, ("PBI_PREMIUM_PER_USER@", "POWERAPPS_PER_USER@", *E3), "GB", (AGAIN,), 2, 2
        ),
        says=("no seat of Power BI Premium Per User", "Please buy a licence"),
        never=("close the ticket",),
    ),
    "RITM0010025/1": Story(
        Stand("converging", "remote_failing", E3, "US", (LOCATE, GIVE), 0, 0, OUR_TASK, WORKING),
        Stand("review", "remote_failing", E3, "US", (LOCATE, *(GIVE for _ in range(7))), 1, 1,
              (*OUR_TASK, (TELECOM, OPEN)), WORKING),
        says=("status 500 Service_InternalServerError: Encountered an internal server error", "cannot be undone",
              "What was tried without effect: Microsoft Teams Phone Standard assigned (7 times",
              "handed to the telecom team"),
        never=("What was done: Microsoft Teams Phone", "close the ticket again"),
    ),
    "RITM0010026/1": Story(Stand("review", "identity_mismatch")),
    "RITM0010027/1": Story(
        Stand("held", "expired_not_removed", ("PROJECT_P1", *E3), "DE", (), 1, 0, OUR_TASK),
    ),
    "RITM0010028/1": Story(
        Stand("review", "group_not_writable", E3, "NL", (), 1, 1, (*OUR_TASK, (IDENTITY, OPEN)), WORKING),
        forty_days=Stand("granted", None, (*E3, "VISIOCLIENT@"), "NL", (), 2, 2,
                         (*OUR_TASK_CLOSED, (IDENTITY, CLOSED)), WORKING),
    ),
    "RITM0010029/1": Story(
        Stand("held", "held_by_person", None, None, (), 1, 0, OUR_TASK, WORKING),
        forty_days=Stand("granted", None, ("MCOMEETADV", *E3), "US", (GIVE,), 2, 1, OUR_TASK_CLOSED, WORKING),
    ),
    "RITM0010030/1": Story(
        Stand("verifying", "user_missing"), Stand("granted", None, ("SPE_E3",), "DE", (GIVE,), 1, 1)
    ),
    "RITM0010031/1": Story(
        Stand("awaiting_approval", "plan_disabled", ("SPE_E3@-1",), "SE"),
        forty_days=Stand("granted", None, E3, "SE"),
    ),
    **{
        f"RITM0010032/{n}": Story(
            Stand("granted", None, ("POWER_BI_PRO", *E3), "DE", (GIVE,), 1, 1, OUR_TASK, WORKING)
        )
        for n in (1, 2)
    },
    "RITM0010032/3": Story(
        Stand("waiting_for_seat", "no_seat", E3, "GB", (), 1, 1, OUR_TASK, WORKING),
        says=("2 of 3 lines work", "Line 1", "Line 2", "Line 3"),
    ),
    "RITM0010033/1": Story(
        Stand("awaiting_approval", None, E3, "GB", (), 0, 0, OUR_TASK, WORKING),
        forty_days=Stand("review", "policy_refused", E3, "GB", (), 1, 1, (*OUR_TASK, *OUR_TASK), WORKING),
    ),
    "RITM0010034/1": Story(
        Stand("review", "workload_unproven", ("SPE_E5",), "SE", (), 1, 1, ((TELECOM, OPEN),), WORKING),
    ),
}  # fmt: skip
