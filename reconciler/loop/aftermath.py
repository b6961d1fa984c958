"""What became of an access that was proven once, who did it, and what to do about it. Pure.

Nothing is written by default: the owner is asked. A product may say that removals are adopted (the entitlement ends)
or reverted, for all or by kind of actor; an actor counts only when certain, and where it is not, the most careful of
the configured answers does. What others undid twice is a fight, and a person is called.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from desired_state.model import Given, GivenKind, GroupId, Path, Product, SkuId, UserId
from reconciler.causes import Cause
from reconciler.digest import plain
from reconciler.lifecycle import Phase
from reconciler.line import (
    Access,
    Aftermath,
    Attribution,
    Confidence,
    Finding,
    Line,
    LineState,
    Loss,
    Observed,
    Rest,
)
from reconciler.loop.attribution import Sought, attribute, sentence, shown
from reconciler.model import ObservedUser
from reconciler.question import Decided, Question, Word, answered, question

ADOPTED = "adopted removal"  # why an entitlement ended, in the ledger's words
REVERSALS_MAX = 2
# The directory's log is late at times: somebody who is not named is looked for again after these.
ASK_AGAIN = tuple(timedelta(minutes=m) for m in (15, 60, 360, 1440))
_STANDING = frozenset({Phase.GRANTED, Phase.DRIFTED, Phase.EXPIRING, Phase.REVOKING})
_BEING_MENDED = frozenset({Phase.APPROVED, Phase.WAITING_FOR_SEAT, Phase.CONVERGING, Phase.VERIFYING})


def was_proven(line: Line) -> bool:
    """Whether the line's access was there once in this episode, and is not being put back already."""
    state = line.state
    if state is None or state.phase in _BEING_MENDED:
        return False
    return state.phase in _STANDING or state.granted_at is not None


def after(usual: Finding, observed: Observed) -> Finding:
    """The finding about an access that `was_proven` once and is not proven now.

    `usual` is what would be found had it never been there: it carries the drift that would be removed.
    """
    line, state, product, user = usual.line, usual.line.state, usual.line.product, usual.user
    assert state is not None and product is not None and user is not None
    if usual.rest is Rest.WAIT:  # it is being set up again: no loss yet
        return usual
    loss, what = _loss(usual, product, user, observed)
    by = None
    if loss is not Loss.ERROR and user.id in observed.audits:
        sought = Sought(_skus(line, product), _group(line, product) if loss is Loss.LEFT_GROUP else None)
        until = max(observed.at, user.read_at)
        trail, since = observed.audits[user.id], _last_good(state, observed.at)
        by = attribute(trail, sought, since=since, until=until, our_app=observed.our_app)
    told = what if by is None else f"{what} {sentence(by)}"
    if _told(state).startswith(what) and (by is None or by.confidence is Confidence.UNKNOWN):
        told = _told(state)  # nothing new: what was said before stands
    found = replace(
        usual, rest=Rest.HOLD, cause=Cause.REMOVED_LATER, sentence=told, drift=None, aftermath=Aftermath(loss, by)
    )
    asked = _question(usual, loss)
    found = replace(found, question=asked)
    said = answered(line.decided, asked)
    if said is not None:
        return _as_decided(found, usual, said)
    answer = _answer(product, loss, by)
    if answer == "adopt":
        return replace(found, rest=Rest.CANCEL)
    if answer == "revert" and usual.rest is Rest.ACT and usual.drift is not None:
        if reversals(line) >= REVERSALS_MAX:
            fight = f"Others undid it {REVERSALS_MAX} times, so it is not put back again; a person has to decide."
            return replace(found, rest=Rest.REVIEW, sentence=f"{told} {fight}")
        return replace(found, rest=Rest.ACT, drift=usual.drift)
    return found


def _question(usual: Finding, loss: Loss) -> Question:
    """What the owner is asked. Who did it is no part of it: the directory's log may name them later."""
    line, product = usual.line, usual.line.product
    assert product is not None and line.state is not None
    may_revert = usual.rest is Rest.ACT and usual.drift is not None
    about = {
        "matter": Cause.REMOVED_LATER.value,
        "line": str(line.key),
        "episode": line.state.episode + (line.state.phase is Phase.GRANTED),  # the one that begins with this loss
        "user": line.account,
        "product": product.key,
        "loss": loss.value,
        "change": plain(usual.drift) if may_revert else None,
    }
    choices = {
        Word.ADOPT: f"{product.name} is not put back, and the entitlement of {line.key} ends",
        Word.REVERT: f"{product.name} is given again as it was granted, through the same rules and guards",
        Word.LEAVE: "nothing is changed, and nobody is asked again while it stays so",
    }
    if not may_revert:  # there is nothing that could be sent
        del choices[Word.REVERT]
    return question(about, choices)


def _as_decided(found: Finding, usual: Finding, said: Decided) -> Finding:
    """The finding as a person answered the question about it."""
    match said.word:
        case Word.ADOPT:
            told = f"{said.by} accepted that."
            return replace(found, rest=Rest.CANCEL, sentence=_once(found.sentence, told), decided=said)
        case Word.REVERT:
            told = f"{said.by} wants it back."
            return replace(found, rest=Rest.ACT, drift=usual.drift, sentence=_once(found.sentence, told), decided=said)
        case Word.LEAVE:
            return replace(found, sentence=_once(found.sentence, f"{said.by} leaves it so."), decided=said)


def _once(text: str, more: str) -> str:
    return text if text.endswith(more) else f"{text} {more}"


def _answer(product: Product, loss: Loss, by: Attribution | None) -> str:
    """ask, adopt or revert. What Microsoft reports as an error nobody did: people are asked."""
    if loss is Loss.ERROR:
        return "ask"
    per_actor = dict(product.on_drift_by)
    if not per_actor:
        return product.on_drift
    if by is not None and by.confidence is Confidence.CERTAIN:
        return per_actor.get(by.kind.value, product.on_drift)
    possible = {product.on_drift, *per_actor.values()}
    return next(answer for answer in ("ask", "revert", "adopt") if answer in possible)


def reversals(line: Line) -> int:
    """How often others undid what we did for the line, a loss that is found now included."""
    state = line.state
    if state is None:
        return 0
    is_ours = line.is_by_us or bool(_given(line))
    return state.reversals + (state.phase is Phase.GRANTED and is_ours)


def needs_second_look(finding: Finding) -> bool:
    """Whether this is bad news about a grant, which is believed only when a second read says the same."""
    state = finding.line.state
    return finding.aftermath is not None and state is not None and state.phase is Phase.GRANTED


def as_json(found: Aftermath | None) -> dict[str, Any] | None:
    """A loss and who caused it, as the audit row keeps it."""
    if found is None:
        return None
    by = found.by
    return {
        "loss": found.loss.value,
        "actor": by.name if by is not None else None,
        "kind": by.kind.value if by is not None else None,
        "confidence": by.confidence.value if by is not None else None,
        "at": by.at.isoformat() if by is not None and by.at is not None else None,
        "event": by.event if by is not None else None,
        "correlation_id": by.correlation_id if by is not None else None,
        "why": by.why if by is not None else None,
    }


# --- asking the directory's log -----------------------------------------------------------------------------------


def to_ask(findings: Iterable[Finding], at: datetime) -> dict[UserId, datetime]:
    """Whose entries are worth reading now, and from when on: what was lost newly, or is due to be asked again."""
    wanted: dict[UserId, datetime] = {}
    for finding in findings:
        state, user = finding.line.state, finding.user
        if finding.aftermath is None or finding.aftermath.loss is Loss.ERROR or state is None or user is None:
            continue
        is_due = state.next_at is not None and state.next_at <= at
        is_news = state.phase is not Phase.DRIFTED or is_due or finding.sentence != _told(state)
        if is_news and state.phase is not Phase.REVIEW:
            since = _last_good(state, at)
            wanted[user.id] = min(since, wanted.get(user.id, since))
    return wanted


def ask_again_at(finding: Finding, at: datetime) -> datetime | None:
    """When the log is to be read again for a line that ends this cycle drifted; None when that is settled."""
    found, state = finding.aftermath, finding.line.state
    if found is None or found.loss is Loss.ERROR or state is None:
        return None
    if finding.rest is Rest.ACT:  # it could not be put back now: whoever did it has to be known the next time too
        return at
    was_drifted = state.phase is Phase.DRIFTED
    if found.by is None:
        return state.next_at if was_drifted else None
    if found.by.confidence is not Confidence.UNKNOWN:
        return None
    since = state.since if was_drifted and state.since is not None else at
    return next((since + wait for wait in ASK_AGAIN if since + wait > at), None)


_HELD = " Held: "


def held(said: str, reason: str) -> str:
    """The note of a loss that is not mended for a reason of ours."""
    return f"{said}{_HELD}{reason}" if reason and reason != said else said


def _told(state: LineState) -> str:
    return state.note.partition(_HELD)[0] if state.phase is Phase.DRIFTED else ""


# --- what is gone -----------------------------------------------------------------------------------------------


def _loss(usual: Finding, product: Product, user: ObservedUser, observed: Observed) -> tuple[Loss, str]:
    """What became of it, and a sentence that is the same as long as that is."""
    worked = f"{product.name} worked for this account"
    rows = [a for a in user.assignments or () if a.sku in _skus(usual.line, product)]
    broken = sorted({shown(a.error) for a in rows if a.error} - {""})
    access = usual.proof.access if usual.proof is not None else Access.ABSENT
    if access is Access.DISABLED:
        return Loss.ALTERED, f"{worked}, and its service has been switched off in the licence since."
    if access is Access.OUT_OF_SERVICE:
        return Loss.ERROR, f"{worked}, and the subscription of its licence is suspended in the tenant since."
    if access in (Access.ERROR, Access.PENDING):
        now = "reports an error for its service" if access is Access.ERROR else "does not finish setting it up again"
        return Loss.ERROR, f"{worked}, and Microsoft {now}."
    if broken and not any(a.is_in_force for a in rows):
        return Loss.ERROR, f"{worked}, and its licence is in error now: {', '.join(broken)}."
    group = _group(usual.line, product)
    if group is not None and observed.members.get((group, user.id)) is False:
        return Loss.LEFT_GROUP, f"{worked}, and the account has left its licence group since."
    state = usual.line.state
    assert state is not None
    newer = _newer(user, product, _last_good(state, observed.at))
    if newer:
        names = " and ".join(sorted(_part_number(sku, user.id, observed) for sku in newer))
        return Loss.REPLACED, f"{worked}, and its licence has been replaced since: {names} came later."
    return Loss.REMOVED, f"{worked}, and its licence has been removed since."


def _newer(user: ObservedUser, product: Product, since: datetime) -> frozenset[SkuId]:
    """SKUs that came after the access was last known to be there, and prove nothing for the product."""
    mine = {*product.candidate_skus, *product.covering_skus}
    late = [a for a in user.assignments or () if a.is_in_force and a.updated_at is not None and a.updated_at > since]
    return frozenset(a.sku for a in late if a.sku not in mine)


def _part_number(sku: SkuId, user: UserId, observed: Observed) -> str:
    details = observed.details.get(user, ())
    names = {d.sku: d.part_number for d in details} if isinstance(details, tuple) else {}
    return shown(names.get(sku, "") or str(sku))


def _skus(line: Line, product: Product) -> frozenset[SkuId]:
    given = {g.sku for g in _given(line) if g.sku is not None}
    return frozenset({*product.candidate_skus, *product.covering_skus, *given})


def _group(line: Line, product: Product) -> GroupId | None:
    joined = [g.group for g in _given(line) if g.kind is GivenKind.MEMBER and g.group is not None]
    if joined:
        return joined[-1]
    return product.group if product.path is Path.GROUP else None


def _given(line: Line) -> tuple[Given, ...]:
    return (*line.given, *(line.state.given if line.state is not None else ()))


def _last_good(state: LineState, at: datetime) -> datetime:
    """The last instant that is remembered at which the access was there."""
    if state.phase is Phase.GRANTED and state.since is not None:
        return state.since
    return state.granted_at or state.since or at


def duplicated(user: ObservedUser) -> frozenset[SkuId]:
    """SKUs that are assigned directly and by a group as well: one seat, no loss of access, and worth a look."""
    rows = [a for a in user.assignments or () if a.is_in_force]
    return frozenset(a.sku for a in rows if a.group is None) & frozenset(a.sku for a in rows if a.group is not None)
