"""What the rows of a log say about how it went: pairs, order, plans, approvals. Pure.

The chain proves that nothing was changed afterwards; this judges what was written. A finding is what must never be:

    unpaired     a result without its intent, a second result, or one about something else
    backwards    an instant long before the one of the row before, which the log itself did not notice
    replanned    an intent that names another plan or request digest than its cycle recorded
    unapproved   a write to the directory whose request waits for approval, or was refused, expired or void; also one
                 that the rules, as its cycle recorded them, denied, held back or wanted asked, and nobody was asked
    self         an approval by who asked for it or gets it; by who ordered it, unless a rule trusts them to

What may be is a notice: an intent without result (the process died; the next cycle looks first), a clock that was seen
to step back, and an approval by who ordered something for others.
Logs from before approvals existed hold none, and are not blamed for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

CLOCK_WARNING = "clock_warning"  # of a body: the instant of the row before, when this one's is long before it
STEP_BACK = timedelta(minutes=2)  # rows of one transaction are told in any order; clocks are set by less
_PARTIES = ("requester", "beneficiary", "opener")
_GOOD = frozenset({"approved", "executing", "done", "partly", "failed"})  # states behind a valid approval
_OPEN = frozenset({"draft", "pending"})


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, or worth knowing, at one row. `why` is one of the words that the documentation lists."""

    tenant: str
    seq: int
    why: str
    sentence: str


@dataclass(slots=True)
class _Tenant:
    at: datetime | None = None
    intents: dict[int, tuple[str, object]] = field(default_factory=dict)
    settled: set[int] = field(default_factory=set)
    cycle: str = ""
    plan: str = ""
    digests: dict[str, tuple[str, str]] = field(default_factory=dict)  # line -> cycle, digest
    rulings: dict[str, tuple[str, str]] = field(default_factory=dict)  # request digest -> cycle, what the rules said
    approvals: dict[str, str] = field(default_factory=dict)  # request digest -> state
    parties: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # id -> the body that opened it
    begins: int = 1


class Conduct:
    """Sees the rows of a log in their order. `begins` names, by tenant, the first row where earlier ones are gone."""

    def __init__(self, begins: Mapping[str, int] | None = None) -> None:
        self._begins = dict(begins or {})
        self._tenants: dict[str, _Tenant] = {}
        self.findings: list[Finding] = []
        self.notices: list[Finding] = []

    def see(self, row: Mapping[str, Any]) -> None:
        """Judge one row. Never raises for what it says."""
        tenant = self._tenants.get(row["tenant"])
        if tenant is None:
            tenant = self._tenants[row["tenant"]] = _Tenant(begins=self._begins.get(row["tenant"], 1))
        body = row["body"]
        self._order(tenant, row, body)
        kind = row["kind"]
        if kind == "intent":
            self._intent(tenant, row, body)
        elif kind == "result":
            self._result(tenant, row, body)
        elif kind.startswith("approval."):
            self._approval(tenant, row, body)
        elif kind == "line_moved":
            self._plan(tenant, row, body)
            if isinstance(body.get("digest"), str):
                tenant.digests[row["subject"]] = (row["cycle"], body["digest"])
                tenant.rulings[body["digest"]] = (row["cycle"], _says(body.get("ruling")))

    def finish(self) -> None:
        """Say what only the end shows: intents that never had a result."""
        for name, tenant in sorted(self._tenants.items()):
            left = sorted(set(tenant.intents) - tenant.settled)
            for seq in left:
                said = f"the intent in row {seq} of {name} has no result: the process ended before it was known"
                self.notices.append(Finding(name, seq, "open", said))

    def _find(self, row: Mapping[str, Any], why: str, sentence: str) -> None:
        self.findings.append(Finding(row["tenant"], row["seq"], why, f"row {row['seq']} of {row['tenant']} {sentence}"))

    def _order(self, tenant: _Tenant, row: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        try:
            at = datetime.fromisoformat(row["at"])
            back = tenant.at is not None and tenant.at - at > STEP_BACK
        except (ValueError, TypeError):
            self._find(row, "backwards", f"has no instant: {str(row['at'])[:40]!r}")
            return
        if CLOCK_WARNING in body:
            said = f"the clock stood earlier at row {row['seq']} of {row['tenant']} than at the row before; it says so"
            self.notices.append(Finding(row["tenant"], row["seq"], "clock", said))
        elif back:
            self._find(row, "backwards", f"is dated {row['at']}, before the row before it, and does not say so")
        tenant.at = at

    def _intent(self, tenant: _Tenant, row: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        tenant.intents[row["seq"]] = (row["subject"], body.get("action"))
        self._plan(tenant, row, body)
        digest = body.get("digest")
        if body.get("system") != "graph" or not isinstance(digest, str) or not digest:
            return
        told = [tenant.digests.get(line) for line in body.get("lines") or () if isinstance(line, str)]
        planned = {known[1] for known in told if known is not None and known[0] == row["cycle"]}
        if planned and digest not in planned:
            self._find(row, "replanned", "intends another request than its cycle recorded for that line")
        state = tenant.approvals.get(digest)
        if state == "superseded":  # the rules or the mode need no approval of it any more; the row before says so
            said = f"row {row['seq']} of {row['tenant']} writes what had been asked for, once nobody had to be asked"
            self.notices.append(Finding(row["tenant"], row["seq"], "unasked", said))
        elif state is not None and state not in _GOOD:
            self._find(row, "unapproved", f"writes to the directory while the approval of its request is {state}")
        elif state is None:
            cycle, says = tenant.rulings.get(digest, ("", ""))
            if cycle == row["cycle"] and says in _AGAINST:
                self._find(row, "unapproved", f"writes to the directory what the rules {_AGAINST[says]}")

    def _result(self, tenant: _Tenant, row: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        seq = body.get("intent")
        if type(seq) is not int:
            self._find(row, "unpaired", "is a result that names no intent")
        elif seq not in tenant.intents:
            if seq >= tenant.begins or seq >= row["seq"]:  # else retention removed it
                self._find(row, "unpaired", f"is a result of row {seq}, which is no intent")
        elif seq in tenant.settled:
            self._find(row, "unpaired", f"is a second result of the intent in row {seq}")
        elif tenant.intents[seq] != (row["subject"], body.get("action")):
            self._find(row, "unpaired", f"is a result about something else than the intent in row {seq}")
        else:
            tenant.settled.add(seq)

    def _plan(self, tenant: _Tenant, row: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        plan = body.get("plan")
        if not isinstance(plan, str) or not plan or not row["cycle"]:
            return
        if tenant.cycle != row["cycle"]:
            tenant.cycle, tenant.plan = row["cycle"], plan
        elif tenant.plan != plan:
            self._find(row, "replanned", "names another plan than the rows of its cycle before it")

    def _approval(self, tenant: _Tenant, row: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        name = str(body.get("id") or row["subject"])
        if row["kind"] == "approval.requested":
            tenant.parties[name] = body
        digest, state = body.get("digest"), body.get("state")
        if isinstance(digest, str) and digest:
            state = state if isinstance(state, str) else _STATES.get(row["kind"])
            if state is not None:
                tenant.approvals[digest] = state
        if row["kind"] == "approval.decided" and body.get("verdict") == "approve":
            opened = tenant.parties.get(name, {})
            deciders = {_one(body.get("actor") or row["actor"]), _one(body.get("acting_for"))} - {""}
            for role in _PARTIES:
                if _one(body.get(role) or opened.get(role)) not in deciders:
                    continue
                if role == "opener" and opened.get("opener_may_approve") is not False:
                    said = f"row {row['seq']} of {row['tenant']} is an approval by who ordered it for others"
                    self.notices.append(Finding(row["tenant"], row["seq"], "opener", said))
                else:
                    self._find(row, "self", f"is an approval by the {role} of the request")


_AGAINST = {
    "denied": "denied",
    "held": "held back",
    "asked": "wanted a person to be asked about, and nobody was",
    "staged": "wanted people's approval of, and nobody was asked",
}


def _says(ruling: object) -> str:
    """What the rules said of a request that was not fulfilled yet; "" where they only looked at a closed ticket."""
    if not isinstance(ruling, Mapping):
        return ""
    facts = ruling.get("facts")
    is_open = isinstance(facts, Mapping) and facts.get("says") in ("approved", "waiting")
    return str(ruling.get("says") or "") if is_open else ""


_STATES = {
    "approval.requested": "pending",
    "approval.expired": "expired",
    "approval.void": "void",
    "approval.cancelled": "cancelled",
    "approval.superseded": "superseded",
}


def _one(human: object) -> str:
    """One name for a human over all accounts; "" when nobody is named. Humans are mappings, or a name as text."""
    if isinstance(human, str):
        return human.lower()
    if not isinstance(human, Mapping):
        return ""
    if human.get("employee_id"):
        return f"employee:{str(human['employee_id']).strip().casefold()}"
    if human.get("oid"):
        return f"account:{human.get('tid', '')}/{human['oid']}".lower()
    return f"name:{human.get('upn') or ''}".lower() if human.get("upn") else ""
