"""The judge of what we keep and what tickets are told: rows of the store, the audit log, notes, tasks and phases.

Reads the store by plain SQL and ServiceNow by its own rows. Called around each write, after each cycle, and once at
the end, when the weather has been calm for long enough that only people's work may be left.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import httpx
from sqlalchemy import text

from reconciler.line import LineState
from reconciler.sandbox import hosts
from reconciler.store import journal
from reconciler.store.database import Database
from tests.simulation.make_tenant import NEVER_SERVED, Made, Wish
from tests.simulation.make_writes import announced, parts, unannounced
from tests.simulation.oracle import Oracle

FAILING = frozenset({"server_error", "bad_gateway", "unavailable", "done_then_500", "done_then_504", "reply_lost"})
GROUP_TAKES, SERVICE_TAKES = timedelta(minutes=30), timedelta(hours=2)
MARK = re.compile(r"\[m365r:([A-Za-z0-9:._-]+)\]")
RECORD = re.compile(r"/table/(sc_task|sc_req_item)/([0-9a-f]{32})$")
UNREST = frozenset({"received", "converging", "verifying", "revoking"})
EXPLAINED = frozenset({"held", "review", "drifted", "waiting_for_seat", "awaiting_approval", "refused"})
OVER = frozenset({"revoked", "cancelled", "refused"})
DECIDED = frozenset({"held", "review", "drifted", "cancelled"})  # not on the way to something else
# Where a person has a line for good: what was said then was true (see `_reasons`), and it is their move.
HANDED_BACK = {
    ("review", c)
    for c in ("user_missing", "unknown", "dependency_missing", "plan_conflict", "group_not_writable", "group_error")
} | {
    ("cancelled", "subject_left"),
    ("review", "usage_location_refused"),
    ("review", "workload_unproven"),
    ("review", "plan_disabled"),  # a group switches it off: people change the group, or the person's membership
}


class Books:
    """Watches the store of one customer and what its tickets are told."""

    def __init__(self, tenant: Made, database: Database, oracle: Oracle) -> None:
        self.tenant, self.database, self.oracle = tenant, database, oracle
        self.instance = tenant.world.instance
        self.tells = 0  # writes to ServiceNow
        self.last = ""
        self._seq, self._hash = 0, "0" * 64
        self._open: set[int] = set()  # intents without a result
        self._granted: set[str] = set()
        self.may_rest = False  # what is well or over may be left out of the next cycle
        self._said: dict[str, tuple[str, str]] = {}
        self._cycles = 0
        self._began_at = tenant.world.clock.now()
        self._had: set[str] = set()
        self._off: set[str] = set()

    # --- each write

    def before_write(self, request: httpx.Request) -> None:
        """The intent of this very write is committed, and what closes a ticket is true."""
        path = request.url.path
        if request.method == "GET" or request.url.host == hosts.LOGIN_HOST or "oauth" in path:
            return
        writes = [] if path.endswith("/v1/batch") else parts(request)
        if not writes:
            return
        self.last = f"{request.method} {path} {request.content[:300]!r}"
        self.tells += request.url.host == hosts.SERVICENOW_HOST
        self.oracle.checked["intent"] += len(writes)
        told = announced(self.database)
        for part in writes:
            if missing := unannounced(part, told):
                self.oracle.fail("intent", f"{told} was announced and it was {missing} of {self.last}")
        body = writes[0].body
        if record := RECORD.search(path):
            self._closing(record[1], record[2], body)

    def _closing(self, table: str, sys_id: str, body: dict[str, str]) -> None:
        """No ticket is closed as done by us while somebody on it has no access."""
        row = self.instance.record(table, sys_id) or {}
        if body.get("state") != "3" or row.get("correlation_id", "").startswith("m365r:"):
            return
        item = row if table == "sc_req_item" else self.instance.record("sc_req_item", row["request_item"]) or {}
        self.oracle.checked["closing"] += 1
        now = self.tenant.world.clock.now()
        for wish in self.tenant.wishes_of(item["number"]):
            if wish.days or not self.oracle.truth.may_run(wish, now):
                continue  # its period may have ended before it could be told
            self._works(wish, "closing", f"{wish.number} was closed")

    def _was_tried_in_vain(self, state: LineState) -> bool:
        """A day of errors that a person is told of; what they see in Microsoft's portals is theirs to settle."""
        failing = self.tenant.world.faults.met.keys() & FAILING
        return (
            (state.phase.value, state.cause) == ("review", "remote_failing")
            and "tried for" in state.note
            and bool(failing)
        )

    def _began_just_now(self, state: LineState) -> bool:
        """A seat that came free in the last calm cycle is given in it, a period may end in it; groups and services take
        their time."""
        takes = {"group_pending": GROUP_TAKES, "provisioning_pending": SERVICE_TAKES}.get(state.cause or "")
        takes = GROUP_TAKES if state.phase == "revoking" else takes
        is_timed = takes is not None and state.since is not None
        return is_timed and self.tenant.world.clock.now() - state.since < takes

    def _works(self, wish: Wish, rule: str, what: str) -> None:
        user_id = wish.human.user_id or ""
        if wish.product is None or self.oracle.may_be_stale(user_id):
            return
        if not self.oracle.truth.has_access(user_id, self.oracle.truth.sold(wish)):
            self.oracle.fail(rule, f"{what}, and {wish.human.name} has no {wish.product}")

    # --- each cycle

    def cycle_begins(self) -> None:
        """Remember who has what they asked for, and for whom groups switch it off: what comes and goes meanwhile may be
        said to be there or not."""
        self._began_at = self.tenant.world.clock.now()
        self.oracle.looks_again()
        truth = self.oracle.truth
        wishes = [
            (f"{w.number}/{w.line}", w.human.user_id or "", w) for w in self.tenant.wishes if w.product is not None
        ]
        self._had = {key for key, user_id, w in wishes if truth.has_access(user_id, truth.sold(w))}
        self._off = {key for key, user_id, w in wishes if truth.is_off_by_groups(user_id, truth.sold(w))}

    def cycle_ends(self, states: Sequence[LineState] | None, *, was_cut: bool = False) -> None:
        """Judge the rows that were added, the notes and tasks of every ticket, and where each line stands; None where
        nobody came to say so. `was_cut`: somebody did not, whoever came after them."""
        self._cycles += 1
        self._chain(was_cut=was_cut or states is None)
        self._told_once()
        if states is not None:
            if not was_cut:
                self.oracle.looked()
            self._phases(states)

    def _chain(self, *, was_cut: bool) -> None:
        """Each row follows the one before; each intent has its result. Every tenth time the whole log is verified."""
        self.oracle.checked["audit"] += 1
        with self.database.read() as session:
            query = "select seq, kind, body, prev, hash from audit where tenant = 'contoso' and seq > :seq order by seq"
            rows = session.connection().execute(text(query), {"seq": self._seq}).all()
            if self._cycles % 10 == 0 and not journal.verify(journal.export(session)).ok:
                self.oracle.fail("audit", "the log does not verify")
        for row in rows:
            if row.seq != self._seq + 1 or row.prev != self._hash:
                self.oracle.fail("audit", f"row {row.seq} does not follow {self._seq}")
            self._seq, self._hash = row.seq, row.hash
            if row.kind == "intent":
                self._open.add(row.seq)
            elif row.kind == "result":
                self._open.discard(json.loads(row.body)["intent"])
        if self._open and not was_cut:
            self.oracle.fail("audit", f"intents {sorted(self._open)} have no result")
        self._open.clear()

    def _told_once(self) -> None:
        """Each answer at most once a key, and never the same words twice in a row."""
        self.oracle.checked["answers"] += 1
        for item in self.instance.records("sc_req_item"):
            entries = [*self.instance.notes(item["sys_id"]), *self.instance.notes(item["sys_id"], "comments")]
            marks = Counter(mark for note in entries for mark in MARK.findall(note))
            tasks = self.instance.records("sc_task", request_item=item["sys_id"])
            made = Counter(t["correlation_id"] for t in tasks if t["correlation_id"])
            for key, times in (marks + made).items():
                if times > 1:
                    self.oracle.fail("answers", f"{item['number']} was told {times} times under {key}")

    def _phases(self, states: Sequence[LineState]) -> None:
        """Every line that was ever taken up is still there, in a phase with a reason; what is granted works."""
        self.oracle.checked["phases"] += 1
        with self.database.read() as session:
            rows = session.connection().execute(text("select ticket || '/' || line, phase, cause from line")).all()
        shown = {str(state.key) for state in states}
        at_rest = {key for key, phase, cause in rows if phase in OVER or (phase == "granted" and not cause)}
        if missing := {key for key, _, _ in rows} - shown - (at_rest if self.may_rest else set()):
            self.oracle.fail("phases", f"{sorted(missing)} fell out of the cycle")
        granted = self._granted & at_rest - shown
        for state in states:
            if state.phase.value in EXPLAINED and not (state.cause or state.note):
                self.oracle.fail("phases", f"{state.key} is {state.phase} and nobody knows why")
            if state.phase.value == "granted":
                granted.add(str(state.key))
                wish = self._wish(str(state.key))
                if wish is not None and str(state.key) not in self._granted:
                    self.oracle.checked["granted"] += 1
                    self._works(wish, "granted", f"{state.key} is granted")
            is_next = "It waits for" in state.note  # so it was before this cycle's writes, and the next one looks again
            if state.since is not None and state.since >= self._began_at and not is_next:
                self._reasons(str(state.key), state.phase.value, state.cause or "")
        self._granted = granted

    def _reasons(self, key: str, phase: str, cause: str) -> None:
        """What a line is newly said to suffer from is so."""
        if self._said.get(key) == (phase, cause):
            return
        self._said[key] = (phase, cause)
        wish = self._wish(key)
        if phase not in DECIDED or wish is None or wish.product is None:
            return
        if self.oracle.may_be_stale(wish.human.user_id or ""):
            return
        truth, human = self.oracle.truth, wish.human
        user, sold = truth.user(human.user_id or ""), truth.sold(wish)
        on = truth.plans_on(human.user_id or "")
        near = on | truth.plans_coming(human.user_id or "")
        person = self.instance.record("sys_user", human.sys_id) or {}
        is_so = {
            "user_missing": user is None or person["email"].lower() != user.upn.lower(),
            "subject_left": user is None or not user.enabled,
            "usage_location_missing": user is None or not user.usage_location,
            "dependency_missing": not {truth.plan(p) for p in sold.needs} <= on,
            "plan_conflict": bool({truth.plan(p) for p in sold.excludes} & near),
            "plan_disabled": phase != "review" or key in self._off or truth.is_off_by_groups(human.user_id or "", sold),
            "removed_later": key not in self._had or not truth.has_access(human.user_id or "", sold),
        }
        if cause in is_so:
            self.oracle.checked["reasons"] += 1
            if not is_so[cause]:
                self.oracle.fail("reasons", f"{key} {wish.product} for {human.name} is {phase} for {cause}")

    def _wish(self, key: str) -> Wish | None:
        return next((w for w in self.tenant.wishes if f"{w.number}/{w.line}" == key), None)

    # --- the end

    def settled(self, states: Sequence[LineState] | None) -> None:
        """Whatever can be served is granted, what is granted works, and the rest is people's work."""
        if states is None:
            return
        with self.database.read() as session:
            if not journal.verify(journal.export(session)).ok:
                self.oracle.fail("audit", "the log does not verify")
        stands = {str(state.key): state for state in states}
        for wish in self.tenant.wishes:
            key = f"{wish.number}/{wish.line}"
            self.oracle.checked["liveness"] += 1
            if key not in stands:
                self.oracle.fail("liveness", f"{key} ({wish.how}) was never taken up")
                continue
            state = stands[key]
            phase = state.phase.value
            if phase in UNREST and not self._began_just_now(state):
                self.oracle.fail("liveness", f"{key} is still {phase}: {state.cause} {state.note}")
            if phase in ("granted", "expiring"):
                self._works(wish, "liveness", f"{key} is granted at rest")
            elif (
                state.granted_at is None
                and (phase, state.cause) not in HANDED_BACK
                and not self._was_tried_in_vain(state)
                and (why := self._can_be_served(wish))
            ):
                sentence = f"{key} {wish.product} for {wish.human.name} ({wish.human.trait}) is {phase}"
                self.oracle.fail("liveness", f"{sentence}, {state.cause} {state.note!r}, and {why}")

    def _can_be_served(self, wish: Wish) -> str:
        """Why this line should be granted by now, "" when something is in the way that is people's to remove."""
        truth, human = self.oracle.truth, wish.human
        user = truth.user(human.user_id or "")
        person = self.instance.record("sys_user", human.sys_id) or {}
        if wish.product is None or user is None or not user.enabled or human.trait in NEVER_SERVED:
            return ""
        says = truth.says(wish)
        if says not in ("ours", "closed") or person["email"] != user.upn:
            return ""
        sold = truth.sold(wish)
        if truth.has_access(user.user_id, sold) and not wish.starts_on and not wish.ends_on and not wish.days:
            return "the access is there"
        if wish.product in self.tenant.site.by_group or wish.ends_on or wish.days or wish.starts_on:
            return ""
        if not user.usage_location and (user.synced or human.trait in ("disagreeing", "one source", "overwritten")):
            return ""
        if not truth.is_priced(wish) or (human.is_contractor and says == "ours"):
            return ""
        on, proofs = truth.plans_on(user.user_id), {truth.plan(p) for p in sold.proofs}
        if not {truth.plan(p) for p in sold.needs} <= on or {truth.plan(p) for p in sold.excludes} & on:
            return ""
        bearing = [s for s in truth.holds(user.user_id) if proofs & set(truth.store.skus[s].plan_ids)]
        if bearing:  # switched off, still on its way, or in error
            direct = truth.direct(user.user_id)
            return "it is only switched off" if any(proofs & direct.get(s, frozenset()) for s in bearing) else ""
        sku = truth.sku(sold.skus[0])
        free = truth.store.seats_free(sku) - truth.pending_seats(sku)
        return f"{free} seats of {sold.skus[0]} are free" if free > 0 else ""
