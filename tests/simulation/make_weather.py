"""Bad days: for each seed another mixture of what the contracts say can go wrong, and what must hold all the same.

`SAFETY` is checked after every cycle, however bad the day; `final` is compared once the weather has cleared.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

from reconciler.sandbox.faults import FaultRule
from reconciler.store import journal, lines
from tests.simulation.make_day import MARK, TENANT, Day

STORIES = tuple(f"RITM00100{n:02d}" for n in (1, 4, 6, 11, 13, 15, 19, 21, 26, 30, 32, 34))
# What may be told besides: these go on for days, or wait for people, so their ends are compared elsewhere.
TOLD = {*STORIES, *(f"RITM00100{n:02d}" for n in (2, 5, 7, 8, 9, 10, 14, 16, 17, 18, 20, 24, 25, 27, 28, 29))}
LINES = {"RITM0010032": 3}  # each of them may be told when it is done

# Whose licences the stories let us change, and whose usage location with the country that both systems give.
GIVEN = {"anna.berger", "daniel.hughes", "marco.bianchi", "bianca.ferrari", "dora.meier", "emil.koch"}
GIVEN |= {"ivan.petrov", "noor.jansen", "emma.larsson", "fiona.byrne"}
# Two seats for three of one ticket: whom of them a bad day makes wait is all the same, as long as it is one.
ALIKE = ("dora.meier@contoso.example", "emil.koch@contoso.example", "fiona.byrne@contoso.example")
BY_GROUP = {"chloe.martin", "bram.devries", "william.clarke"}  # the directory itself finishes what was begun
TAKEN = {"emma.larsson", "rachel.stone", "noor.jansen"}  # declared to be replaced; over; given by us and in error
LOCATED = {"anna.berger": "DE", "daniel.hughes": "US", "bianca.ferrari": "DE", "xenia.popova": "US"}
LOCATED["tara.kowalska"] = "PL"

ANYWHERE = (
    *("throttled", "unavailable", "server_error", "bad_gateway"),
    *("reply_lost", "reply_timeout", "done_then_500", "done_then_504"),
)
AT_SERVICENOW = (
    *("429_rule", "429_semaphore", "202_drop", "200_cancel_partial", "200_html_hibernate", "503_html"),
    *("empty_page_acl", "late_visible_row", "same_second_burst", "row_moves_while_paging", "slow", "clock_skew"),
    *("dropped_invalid_clause", "string_in_result"),
)
DENIED = ("403_but_done", "200_not_applied")


def weather(day: Day, seed: int, *, faults: tuple[str, ...] = (*ANYWHERE, "stale_read", *AT_SERVICENOW)) -> str:
    """Let four kinds of failure happen now and then; says which, for whoever reads a failed test."""
    rng = random.Random(f"weather-{seed}")
    day.world.faults.clear()
    chosen = rng.sample(faults, min(4, len(faults)))
    for fault in chosen:
        rule = FaultRule(fault, share=rng.choice((0.03, 0.1, 0.25)), burst=rng.choice((1, 1, 2, 6)))
        day.world.faults.add(rule)
    switches = day.world.switches
    switches.licence_lock_tail_s = rng.choice((0.0, 0.0, 8.0))
    switches.replica_lag_s = rng.choice((0.0, 0.0, 20.0, 90.0))
    switches.empty_pages = rng.choice((0.0, 0.3))
    return f"seed {seed}: {', '.join(chosen)}; {switches.licence_lock_tail_s}, {switches.replica_lag_s}"


def clear_up(day: Day) -> None:
    day.world.faults.clear()
    day.world.switches.licence_lock_tail_s = 0.0
    day.world.switches.replica_lag_s = 0.0
    day.world.switches.empty_pages = 0.0


@dataclass
class Before:
    """The tenant and the tickets as they were before we did anything."""

    licences: dict[str, list[tuple[str, bool, tuple[str, ...]]]]
    locations: dict[str, str | None]

    @classmethod
    def of(cls, day: Day) -> Before:
        people = day.world.directory.store.users.values()
        return cls({u.upn: day.licences(u.upn) for u in people}, {u.upn: u.usage_location for u in people})


def unsafe(day: Day, before: Before) -> list[str]:
    """What must never happen and did, one sentence each; () on every day, good or bad."""
    directory, instance = day.world.directory, day.world.instance
    found = [f"{sku} is overspent" for sku in directory.store.skus if directory.store.seats_free(sku) < 0]
    found += [f"a write that nothing announced: {w}" for w in day.watch.unannounced]
    may_lose = {u.user_id for u in directory.store.users.values() if u.upn.partition("@")[0] in TAKEN}
    found += [f"a removal: {w}" for w in day.watch.removals if not any(user in w for user in may_lose)]
    for user in directory.store.users.values():
        name, was = user.upn.partition("@")[0], before.licences.get(user.upn, [])
        now = day.licences(user.upn)
        if name not in TAKEN and {s[:2] for s in was} - {s[:2] for s in now}:
            found.append(f"{name} lost a licence")
        if now != was and name not in GIVEN | BY_GROUP | TAKEN:
            found.append(f"{name} was given something")
        if user.usage_location != before.locations.get(user.upn) and user.usage_location != LOCATED.get(name):
            found.append(f"{name} was put into {user.usage_location}")
    for item in instance.records("sc_req_item"):
        number = item["number"]
        marks = Counter(mark for note in instance.notes(item["sys_id"]) for mark in MARK.findall(note))
        tasks = Counter(t["correlation_id"] for t in day.tasks(number) if t["correlation_id"])
        found += [f"{number} was told {n} times under {k}" for k, n in (marks + tasks).items() if n > 1]
        if len(marks) > LINES.get(number, 1) or len(tasks) > 1:
            found.append(f"{number} was told {len(marks)} things and given {len(tasks)} tasks")
        if (marks or tasks) and number not in TOLD:
            found.append(f"{number} was told something")
    return found + _unkept(day)


def _unkept(day: Day) -> list[str]:
    with day.app.database.read() as session:
        verified = journal.verify(journal.export(session))
        states = lines.load(session, TENANT)
    found = [] if verified.ok else ["the audit log does not verify"]
    for report in day.reports[-1:]:
        known = {e.state.key for e in report.endings}
        found += [f"{key} fell out of the store" for key in sorted(known - set(states))]
    return found


def final(day: Day) -> dict[str, Any]:
    """Where the tenant, the tickets and the lines of the stories ended."""
    people = sorted(u.upn for u in day.world.directory.store.users.values())
    items = {n: day.ticket(n) for n in STORIES}
    phases = {key: phase for key, phase in day.phases().items() if key.split("/")[0] in STORIES}
    alike = [key for key in phases if key.startswith("RITM0010032")]
    return {
        "licences": {upn: day.licences(upn) for upn in people if upn not in ALIKE},
        "licences of those who are alike": sorted(day.licences(upn) for upn in ALIKE),
        "locations": {upn: day.world.directory.user(upn).usage_location for upn in people},
        "tickets": {n: (r["state"], r["active"], bool(r["correlation_id"])) for n, r in items.items()},
        "notes": {n: len(day.notes(n)) for n in STORIES},
        "tasks": {n: sorted((t["state"], t["assigned_to"]) for t in day.tasks(n)) for n in STORIES},
        "phases": {key: phase for key, phase in phases.items() if key not in alike},
        "phases of those who are alike": sorted(phases[key] for key in alike),
    }
