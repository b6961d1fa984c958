"""What a ticket is told: the texts, and which answers a change of its lines calls for. Pure.

An answer is given when lines come to rest, once per change and episode (I6): its key is derived from what happened,
so a retry or a restart finds the same key. Texts are plain, survive both settings of the code tag, and hold facts of
ours only: nothing that somebody typed into a form is repeated here (I17).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from desired_state.model import LineKey, PlanId, ProductKey, Says, SkuId, Ticket
from desired_state.text import one_line
from reconciler.causes import CAUSES, Cause, Owner, TicketAnswer
from reconciler.digest import digest
from reconciler.lifecycle import Phase
from reconciler.line import (
    Decision,
    Ending,
    Known,
    Rest,
)
from reconciler.model import (
    AnswerKind,
    Outcome,
    Result,
    Verdict,
)

ITEM = "item"  # the title of a CLOSED answer whose target is the item itself
LEVELS = ("silent", "note", "task", "full")
NOTE_LENGTH_MAX = 3900  # a journal value is cut at 4000 characters (servicenow.md section 19)


@dataclass(frozen=True, slots=True)
class Manners:
    """How one catalogue item wants to be answered, and how far this tenant lets us go.

    `level` is silent, note, task or full; `our_groups` are sys_ids of the queues whose tasks are ours to close.
    """

    level: str = "silent"
    levels: Mapping[ProductKey, str] = field(default_factory=dict)  # narrower ones, per product
    may_reopen: bool = False
    follow_up_group: str = ""  # sys_id
    closes: str = "task"  # task, item, none
    our_groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to one ticket. `target` is the sys_id it is written to."""

    kind: AnswerKind
    key: str
    ticket: str
    target: str
    lines: tuple[LineKey, ...]
    text: str
    title: str = ""
    group: str = ""  # task: the queue's sys_id


@dataclass(frozen=True, slots=True)
class Names:
    """Names for people; an id stands for itself where none is known."""

    skus: Mapping[SkuId, str] = field(default_factory=dict)
    plans: Mapping[PlanId, str] = field(default_factory=dict)


class _Answer(Protocol):
    def __call__(self, kind: AnswerKind, target: str, text: str, *, title: str = "", group: str = "") -> Answer: ...


def answers(
    ticket: Ticket,
    endings: Sequence[Ending],
    before: Mapping[LineKey, Phase | None],
    manners: Manners,
    names: Names,
    *,
    tenant: str,
    at: datetime,
    earlier: Mapping[LineKey, tuple[str, ...]] | None = None,
) -> tuple[Answer, ...]:
    """What this cycle owes the ticket: a note, then a task, a reopening or a closing, as the item allows.

    `endings` are all lines of the ticket; `before` their phases when the cycle began; `earlier` what former cycles
    sent for a line, in words, so that a note leaves out nothing that was done.
    """
    done = earlier or {}
    news = [e for e in endings if _is_news(e, before.get(e.state.key), was_sent=e.state.key in done)]
    manners = replace(manners, level=_level(endings, manners))
    if not news or manners.level == "silent":
        return ()
    facts = [[str(e.state.key), e.state.episode, e.state.phase.value, e.state.cause] for e in news]
    keys = tuple(e.state.key for e in news)

    def answer(kind: AnswerKind, target: str, text: str, *, title: str = "", group: str = "") -> Answer:
        key = digest({"tenant": tenant, "ticket": ticket.number, "kind": kind.value, "target": target, "news": facts})[
            :20
        ]
        return Answer(kind, key, ticket.number, target, keys, text[:NOTE_LENGTH_MAX], title, group)

    text = _text(endings, news, names, at, done)
    given = [answer(AnswerKind.NOTE, ticket.sys_id, text)]
    if any(_is_handed_back(e) or _is_unrepaired(e) for e in news):
        given += _hand_back(ticket, news, manners, text, answer)
    else:
        given += _close(ticket, endings, manners, text, answer)
    return tuple(given)


def _is_handed_back(ending: Ending) -> bool:
    """Only what the ticket promised or was promised goes back; a mere doubt goes to review in silence."""
    cause = ending.state.cause
    return (
        ending.state.phase is Phase.REVIEW
        and ending.finding.rest is not Rest.REVIEW
        and cause is not None
        and CAUSES[Cause(cause)].answer is TicketAnswer.HAND_BACK
    )


def _level(endings: Sequence[Ending], manners: Manners) -> str:
    """The narrowest level of the tenant and of the products that the ticket is about."""
    keys = [e.finding.line.product.key for e in endings if e.finding.line.product is not None]
    return min([manners.level, *(manners.levels.get(k, manners.level) for k in keys)], key=LEVELS.index)


def _is_unrepaired(ending: Ending) -> bool:
    """A closed ticket that is false and that this mode only looks at: people have to repair it."""
    return ending.gated.decision is Decision.PLANNED and ending.gated.proposal.finding.verdict is Verdict.FALSE


def _is_news(ending: Ending, before: Phase | None, *, was_sent: bool) -> bool:
    state = ending.state
    if state.phase is before or not ending.gated.may_answer:
        return False
    if _is_unrepaired(ending):
        return True
    if state.phase is Phase.GRANTED:
        return ending.gated.proposal.finding.line.says is Says.APPROVED or _wrote(ending) or was_sent
    if state.phase is Phase.CANCELLED:
        return state.cause == Cause.SUBJECT_LEFT.value
    return _is_handed_back(ending)


def _wrote(ending: Ending) -> bool:
    return any(o.result is Result.APPLIED or o.is_unsure for o in ending.outcomes)


def _hand_back(
    ticket: Ticket, news: Sequence[Ending], manners: Manners, text: str, answer: _Answer
) -> Iterable[Answer]:
    if manners.level not in ("task", "full"):
        return
    if manners.follow_up_group:
        owner = next(owner_of(e) for e in news if e.state.cause)
        title = f"{ticket.number}: licence access is missing, needs the {owner}"
        yield answer(AnswerKind.TASK, ticket.sys_id, text, title=title[:160], group=manners.follow_up_group)
    is_closed = any(e.finding.line.says is Says.FULFILLED for e in news)
    is_ours = any(_is_handed_back(e) for e in news)  # what a mode merely looks at is not reopened
    if manners.level == "full" and manners.may_reopen and is_closed and is_ours:
        yield answer(AnswerKind.REOPENED, ticket.sys_id, text)


def _close(ticket: Ticket, endings: Sequence[Ending], manners: Manners, text: str, answer: _Answer) -> Iterable[Answer]:
    """Our own task is closed when every line is granted; the item itself only where no flow owns it."""
    if manners.level != "full" or manners.closes == "none":
        return
    if any(e.state.phase is not Phase.GRANTED or e.finding.line.says is not Says.APPROVED for e in endings):
        return
    if manners.closes == "item":
        yield answer(AnswerKind.CLOSED, ticket.sys_id, text, title=ITEM)
        return
    for task in ticket.tasks:
        if task.is_active and not task.assigned_to and task.assignment_group in manners.our_groups:
            yield answer(AnswerKind.CLOSED, task.sys_id, text)


# --- texts --------------------------------------------------------------------------------------------------


def _text(
    endings: Sequence[Ending],
    news: Sequence[Ending],
    names: Names,
    at: datetime,
    earlier: Mapping[LineKey, tuple[str, ...]],
) -> str:
    many = len(endings) > 1
    paragraphs = [
        _headline(endings, news),
        *(_paragraph(e, names, at, earlier.get(e.state.key, ()), numbered=many) for e in endings),
        _FOOT,
    ]
    return "\n\n".join(paragraphs)


def _headline(endings: Sequence[Ending], news: Sequence[Ending]) -> str:
    granted = sum(1 for e in endings if e.state.phase is Phase.GRANTED)
    if granted == len(endings):
        return "Microsoft 365 licence: granted, and every service plan it needs is provisioned."
    if any(_is_handed_back(e) or _is_unrepaired(e) for e in news):
        return "Microsoft 365 licence: the person has NO access, and somebody has to act."
    if any(e.state.phase is Phase.CANCELLED for e in news):
        return "Microsoft 365 licence: nothing was assigned."
    return f"Microsoft 365 licence: {granted} of {len(endings)} lines work."


_FOOT = "Written by the license reconciler. It looks again by itself; nothing has to be answered here."


def _paragraph(ending: Ending, names: Names, at: datetime, earlier: tuple[str, ...], *, numbered: bool) -> str:
    line, state, found = ending.finding.line, ending.state, ending.gated.proposal.finding
    who = ending.finding.user.upn if ending.finding.user is not None else _claimed(ending)
    what = line.product.name if line.product is not None else "(product not clear)"
    rows = [f"{'Line ' + str(state.key.line) + ': ' if numbered else ''}{what} for {who}"]
    wrong = _wrong(ending)
    if wrong is not None and (found.line.says is Says.FULFILLED or state.phase is not Phase.GRANTED):
        detail = state.note or ending.finding.sentence
        is_open = state.phase is not Phase.GRANTED and detail
        rows.append(f"What is wrong: {detail}" if is_open else f"What was wrong: {CAUSES[wrong].sentence}")
    if earlier:
        rows.append("Done before: " + "; ".join(earlier) + ".")
    done = [_done(o) for o in ending.outcomes]
    if done:
        rows.append("What was done: " + "; ".join(done) + ".")
    elif state.phase is Phase.GRANTED and earlier:
        rows.append("What was done: an earlier cycle made the change; this one proved it.")
    elif state.phase is Phase.GRANTED:
        rows.append("What was done: nothing, the access was already there.")
    elif _is_unrepaired(ending):
        rows.append("What was done: nothing; the reconciler only looks here (mode observe).")
    proof = ending.finding.proof
    if state.phase is Phase.GRANTED and proof is not None and proof.plan is not None and proof.sku is not None:
        plan, sku = names.plans.get(proof.plan, proof.plan), names.skus.get(proof.sku, proof.sku)
        rows.append(f"Proof: service plan {plan} of {sku} is provisioned (read {at:%Y-%m-%d %H:%M} UTC).")
    if state.phase is not Phase.GRANTED and state.cause is not None:
        rows.append(f"Whose move: {owner_of(ending)}. {CAUSES[Cause(state.cause)].ask}".rstrip())
    ids = [o.request_id for o in ending.outcomes if o.request_id]
    if ids:
        rows.append("Microsoft request ids: " + ", ".join(ids))
    if ending.gated.proposal.actions:
        rows.append(f"Digest of the change: {ending.gated.proposal.digest}")
    return "\n".join(rows)


def owner_of(ending: Ending) -> str:
    """Whose move it is. What the reconciler would do itself, and does not here, is the licence admin's."""
    owner = CAUSES[Cause(ending.state.cause or Cause.UNKNOWN)].owner
    is_idle = owner is Owner.RECONCILER and ending.state.phase in (Phase.HELD, Phase.REVIEW, Phase.DRIFTED)
    return (Owner.LICENCE_ADMIN if is_idle else owner).value


def _wrong(ending: Ending) -> Cause | None:
    """What was found at first: by this cycle, or by the one that was cut short while it changed the line."""
    found = ending.gated.proposal.finding
    before = found.line.state
    if before is not None and before.phase is Phase.CONVERGING and before.cause:
        return Cause(before.cause)
    return found.cause


def _claimed(ending: Ending) -> str:
    line = ending.finding.line
    if line.person is not None and (line.person.email or line.person.user_name):
        return one_line(line.person.email or line.person.user_name or "", 120)
    return "an account that could not be found" if line.binding.known is Known.MISSING else "the account of the request"


def _done(outcome: Outcome) -> str:
    action, after = outcome.action, outcome.action.after
    if action.country is not None:
        what = f"usage location set to {action.country} ({' and '.join(action.sources)} agree; this cannot be undone)"
    else:
        licence = after.get("licence") or {}
        was = (action.before.get("licence") or {}).get("disabled_plans", [])
        now = licence.get("disabled_plans", [])
        turned_on = [p for p in was if p not in now]
        name = licence.get("sku", "the licence")
        what = f"{', '.join(turned_on)} switched on in {name}" if turned_on else f"{name} assigned"
    if outcome.is_unsure:
        return f"{what} (the reply was lost; what is there now says whether it was done)"
    return what if outcome.result is Result.APPLIED else f"{what}: {outcome.result.value} ({outcome.why})"
