"""How tickets are told: the desk's register (work notes, tasks) and the requester's (comments). Pure.

The first line is the verdict; facts follow, one a line. Every sentence is made of values that are ours: what somebody
typed into a form is never repeated (I17), and a sentence that holds a piece of it is left out. Texts are plain and
survive both settings of the code tag.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from desired_state.model import GivenKind, LineKey, Request, Says
from desired_state.text import one_line
from reconciler.answers import done
from reconciler.answers.owners import ask_of, owner_of
from reconciler.answers.values import Deed, Names
from reconciler.causes import CAUSES, Cause
from reconciler.lifecycle import Phase
from reconciler.line import Ending, Known
from reconciler.model import ActionKind

FOOT = "Written by the license reconciler, which looks again by itself."


@dataclass(frozen=True, slots=True)
class Telling:
    """Everything that the texts of one ticket are made of. `matters` has the lines that it is told about."""

    endings: Sequence[Ending]
    matters: Mapping[LineKey, str]
    names: Names
    deeds: Mapping[LineKey, Sequence[Deed]]
    at: datetime

    def of(self, ending: Ending) -> Sequence[Deed]:
        return self.deeds.get(ending.state.key, ())

    def matter(self, ending: Ending) -> str:
        return self.matters.get(ending.state.key, "")


# --- for the desk ---------------------------------------------------------------------------------------------


def work_note(telling: Telling) -> str:
    """All lines of the ticket: the verdict, then the facts of each."""
    if len(telling.endings) == 1:
        (ending,) = telling.endings
        return "\n".join([verdict(telling, ending), *facts(telling, ending), "", FOOT])
    paragraphs = [_headline(telling)]
    for ending in telling.endings:
        head = f"Line {ending.state.key.line}: {verdict(telling, ending)}"
        paragraphs.append("\n".join([head, *facts(telling, ending)]))
    return "\n\n".join([*paragraphs, FOOT])


def _headline(telling: Telling) -> str:
    """How the lines of a ticket with several stand, in one line."""
    count = len(telling.endings)
    works = sum(1 for e in telling.endings if e.state.phase in WORKS)
    if works == count:
        return f"Microsoft 365 licences granted, and every service plan they need is provisioned: all {count} lines."
    others = Counter(
        _PHASES.get(e.state.phase, e.state.phase.value) for e in telling.endings if e.state.phase not in WORKS
    )
    rest = ", ".join(f"{n} {phase[0].lower()}{phase[1:]}" for phase, n in others.items())
    return f"Microsoft 365 licences: {works} of {count} lines work, {rest}."


def verdict(telling: Telling, ending: Ending) -> str:
    """One line that says how it stands."""
    what = f"{_product(ending)} for {_who(ending)}"
    match telling.matter(ending), ending.state.phase:
        case "handed_back" | "unrepaired", _:
            undone = "undone and " if _was_undone(telling.of(ending)) else ""
            return f"NO access: {what}; {undone}handed to the {owner_of(ending)}."
        case _, Phase.GRANTED:
            product = "Microsoft 365 licence" if len(telling.endings) == 1 else "Licence"
            return f"{product} granted, and every service plan it needs is provisioned: {what}."
        case _, Phase.WAITING_FOR_SEAT:
            return f"Waiting for a free licence: {what}."
        case "question", _:
            return f"Waiting for the requester: {what}."
        case "asked", Phase.DRIFTED | Phase.REVIEW if ending.state.cause == Cause.REMOVED_LATER:
            return f"Removed or changed after it was granted: {what}; was that meant?"
        case "asked", _ if ending.state.cause == Cause.WRONG_PRODUCT:
            return f"The licence that it takes the place of is still there: {what}; shall the two be exchanged?"
        case "asked", _:
            return f"The period is over and the licence is still there: {what}; shall it be taken back?"
        case "unpermitted", _:
            return f"Not done yet: {what}; the reconciler may not, and the {owner_of(ending)} was asked."
        case "kept", _:
            return f"Left to the colleague who has the task: {what}."
        case "reminded", _:
            return f"Ends soon: {what}."
        case "refused", _:
            return f"Not approved: {what}; nothing was assigned for it."
        case "unanswered", _:
            return f"Not decided: {what}; nothing was assigned for it, and the {owner_of(ending)} was asked."
        case _, Phase.REVOKED if ending.finding.heir is not None:
            return f"Ended, and the licence stays, because {ending.finding.heir} needs it: {what}."
        case _, Phase.REVOKED:
            return f"Ended, and nothing of it is left: {what}."
        case "ended", _:
            return f"Ended, because it was taken away by others: {what}."
        case _, Phase.CANCELLED:
            return f"Nothing was assigned: {what}."
        case _:
            return f"{_PHASES.get(ending.state.phase, ending.state.phase.value.capitalize())}: {what}."


WORKS = (Phase.GRANTED, Phase.EXPIRING)
_PHASES = {
    Phase.WAITING_FOR_SEAT: "waiting for a free licence",
    Phase.REVOKED: "ended",
    Phase.CANCELLED: "not assigned",
    Phase.HELD: "Held",
    Phase.REFUSED: "Refused",
    Phase.AWAITING_APPROVAL: "Waiting for an approval",
    Phase.EXPIRING: "Works and ends soon",
    Phase.DRIFTED: "Removed or changed after it was granted",
    Phase.REVIEW: "With a person",
}


def facts(telling: Telling, ending: Ending) -> list[str]:
    """What the verdict rests on, one fact a line."""
    state, deeds = ending.state, telling.of(ending)
    is_fine = state.phase in WORKS
    rows = [*_wrong(ending, deeds, is_fine=is_fine), *_happened(telling, ending, deeds)]
    refusal = "" if is_fine else done.refused(deeds)
    if refusal:
        rows.append(f"Microsoft's answer: {refusal}")
    if is_fine:
        rows += _proof(telling, ending)
    rows += _approved(ending) + _end(telling, ending)
    if not is_fine and state.cause is not None and telling.matter(ending) not in _OVER:
        rows.append(f"Whose move: {owner_of(ending)}. {ask_of(ending)}".rstrip())
    ids = list(dict.fromkeys(d.request_id for d in deeds if d.request_id))[-6:]
    if ids:
        rows.append(f"Microsoft request ids: {', '.join(ids)}")
    if deeds:
        rows.append(f"Digest of the change: {sent_digest(deeds) or ending.gated.proposal.digest}")
    return rows


_OVER = ("revoked", "ended", "refused", "unanswered")


def _wrong(ending: Ending, deeds: Sequence[Deed], *, is_fine: bool) -> list[str]:
    state, first = ending.state, ending.gated.proposal.finding
    if is_fine:
        found = _found_first(ending, deeds)
        was_promised = first.line.says is Says.FULFILLED
        return [f"What was wrong: {CAUSES[found].sentence}"] if found is not None and was_promised else []
    detail = ours(state.note or ending.gated.sentence or ending.finding.sentence, ending)
    cause = CAUSES[Cause(state.cause)].sentence if state.cause is not None else ""
    is_unanswered = state.phase is Phase.REVIEW and state.cause == Cause.POLICY_REFUSED
    if state.phase in (Phase.REVOKED, Phase.CANCELLED, Phase.REFUSED) or is_unanswered:
        return [f"Why: {detail or cause}"] if detail or cause else []
    label = "Why" if state.phase in (Phase.HELD, Phase.WAITING_FOR_SEAT, Phase.AWAITING_APPROVAL) else "What is wrong"
    return [f"{label}: {detail or cause}"] if detail or cause else []


def _found_first(ending: Ending, deeds: Sequence[Deed]) -> Cause | None:
    """What was wrong at first: as this cycle found it, or the one that began to change what now works."""
    found = ending.gated.proposal.finding
    before = found.line.state
    if before is None or before.phase not in (Phase.CONVERGING, Phase.VERIFYING):
        return found.cause
    began_with = next((d.found for d in reversed(deeds) if d.found), "")
    known = began_with or (before.cause if before.phase is Phase.CONVERGING else None)
    return Cause(known) if known else found.cause


def _happened(telling: Telling, ending: Ending, deeds: Sequence[Deed]) -> list[str]:
    """What was done for the line, what was undone, and what stays."""
    given = [d for d in deeds if d.is_done and not done.takes_back(d)]
    back = [d for d in deeds if d.is_done and done.takes_back(d)]
    vain = [d for d in given if _came_to_nothing(d, ending)]
    given = [d for d in given if d not in vain]
    rows = []
    if given:
        rows.append(f"What was done: {'; '.join(map(done.deed, given))}.")
        rows += [f"Mind: {warning}" for warning in done.warnings(given)]
    if vain:
        rows.append(f"What was tried without effect: {done.tried(vain)}.")
    if back:
        label = "Removed for it" if ending.state.phase in WORKS else "What was taken back"
        rows.append(f"{label}: {'; '.join(map(done.deed, back))}.")
        if ending.state.phase is Phase.REVOKED:
            rows.append(f"Checked: it is gone (read {telling.at:%Y-%m-%d %H:%M} UTC).")
    user = ending.finding.user
    stays = done.stays(deeds, user.usage_location if user is not None else None)
    is_said = "cannot be undone" in ending.state.note
    if stays and not is_said and (back or ending.state.phase in (Phase.REVIEW, Phase.REVOKED)):
        rows.append(f"What stays: {stays}.")
    if not given and not vain and not back:
        if ending.state.phase in WORKS:
            rows.append("What was done: nothing, the access was already there.")
        elif telling.matter(ending) == "unrepaired":
            rows.append("What was done: nothing; the reconciler only looks here (mode observe).")
        elif telling.matter(ending) in ("handed_back", "asked", "kept", "question", "left", "unpermitted"):
            rows.append("What was done: nothing was changed.")
    return rows


def _came_to_nothing(deed: Deed, ending: Ending) -> bool:
    """A change whose reply was lost, on a line that has gone to a person with nothing of it there."""
    if deed.result != "unknown" or ending.state.phase is not Phase.REVIEW or deed.kind == ActionKind.SET_USAGE_LOCATION:
        return False
    return all(g.kind in (GivenKind.LOCATION, GivenKind.WITHHELD) for g in ending.state.given)


def _was_undone(deeds: Sequence[Deed]) -> bool:
    return any(d.is_done and done.takes_back(d) for d in deeds)


def _proof(telling: Telling, ending: Ending) -> list[str]:
    proof, names = ending.finding.proof, telling.names
    rows = []
    if proof is not None and proof.plan is not None and proof.sku is not None:
        plan, sku = names.plans.get(proof.plan, proof.plan), names.skus.get(proof.sku, proof.sku)
        tier = f", tier {ending.state.tier}" if ending.state.tier else ""
        rows.append(f"Proof: service plan {plan} of {sku} is provisioned (read {telling.at:%Y-%m-%d %H:%M} UTC{tier}).")
    covered = ending.finding.covered_by
    if covered is not None:
        rows.append(f"Saved: {names.skus.get(covered, covered)} brings it already, so nothing was bought.")
    return rows


def _approved(ending: Ending) -> list[str]:
    declared = ending.finding.line.declared
    if not isinstance(declared, Request) or ending.state.phase not in (Phase.GRANTED, Phase.EXPIRING, Phase.REVOKED):
        return []
    said_yes = (*declared.approvers, *ending.finding.line.approved_by)
    approvers = dict.fromkeys(name if _IS_NAME.fullmatch(name) else _UNSHOWN for name in said_yes)
    return [f"Approved by: {', '.join(approvers)}"] if approvers else []


def _end(telling: Telling, ending: Ending) -> list[str]:
    """When it is taken back, and by which rule."""
    ends_at, declared = ending.state.ends_at, ending.finding.line.declared
    if ends_at is None or not isinstance(declared, Request):
        return []
    days, day = declared.period.duration_days, declared.period.ends_on
    why = f"{days} days from the verified grant" if days is not None else f"the end date of the request, {day}"
    ruled = [
        str(j.get("rule")) for j in ending.gated.judged if j.get("effect") == "hold" and j.get("outcome") == "missed"
    ]
    rule = f"; rule {', '.join(ruled)}" if ruled else ""
    label = (
        "The period was over" if ending.state.phase is Phase.REVOKED or telling.at >= ends_at else "Will be taken back"
    )
    return [f"{label}: {ends_at:%Y-%m-%d %H:%M} UTC ({why}{rule})"]


def task(telling: Telling, number: str, mine: Sequence[Ending], owner: str) -> tuple[str, str]:
    """Short description and description of the task for one owner."""
    first = mine[0]
    more = f" and {len(mine) - 1} more" if len(mine) > 1 else ""
    about = "nobody has decided" if telling.matter(first) == "unanswered" else "licence access is missing"
    if telling.matter(first) == "asked":
        about = (
            "a licence was removed, was it meant" if first.state.cause == Cause.REMOVED_LATER else "a period is over"
        )
    if telling.matter(first) == "unpermitted":
        about = "a permission is missing"
    if telling.matter(first) == "asked" and first.state.cause == Cause.WRONG_PRODUCT:
        about = "a larger licence was to be replaced"
    title = f"{number}: {about}, needs the {owner} ({_product(first)} for {_who(first)}{more})"
    paragraphs = ["\n".join([verdict(telling, e), *facts(telling, e)]) for e in mine]
    return title, "\n\n".join([*paragraphs, FOOT])


def reopening(telling: Telling) -> str:
    """Why a closed ticket is opened again."""
    lacking = [e for e in telling.endings if telling.matter(e) == "handed_back"]
    return " ".join(verdict(telling, e) for e in lacking)


# --- for the requester ----------------------------------------------------------------------------------------


def comment(telling: Telling, news: Sequence[LineKey]) -> str:
    """What the requester reads, "" when nothing concerns them. All lines are named as soon as one is news to them."""
    said = {e.state.key: _sentence(telling, e) for e in telling.endings}
    if not any(said[key] for key in news):
        return ""
    hint = _HINT if any(e.state.phase is Phase.GRANTED and said[e.state.key] for e in telling.endings) else ""
    return "\n".join(text for text in (*said.values(), hint) if text)


_HINT = "Where a service does not show yet, signing out and in again once helps."


def _sentence(telling: Telling, ending: Ending) -> str:
    """One line's sentence for the requester, "" for nothing."""
    product, who, state = _product(ending), _who(ending), ending.state
    cause = CAUSES[Cause(state.cause)].sentence if state.cause is not None else ""
    match telling.matter(ending), state.phase:
        case "left" | "kept", _:
            return ""
        case "handed_back" | "unrepaired", _:
            return f"{product} for {who} does not work yet. {cause} It was passed to the {owner_of(ending)}."
        case "unpermitted", _:
            return f"{product} for {who} has to wait. {cause} The {owner_of(ending)} was asked."
        case "question", _:
            return f"{product} for {who} has to wait for your answer. {_question(ending, cause)}"
        case "asked", Phase.DRIFTED | Phase.REVIEW if state.cause == Cause.REMOVED_LATER:
            return f"{product} for {who}: {cause} The {owner_of(ending)} was asked whether that was meant."
        case "asked", _:
            return ""
        case "refused", _:
            return f"{product} for {who} was not approved. {ours(state.note, ending)}".rstrip()
        case "unanswered", _:
            return f"{product} for {who} was not decided in time. It was passed to the {owner_of(ending)}."
        case "ended", _:
            return f"{product} for {who} has been taken away. If it is still needed, please order it again."
        case "revoked", _:
            return f"{product} for {who} has ended, as the request said. If it is still needed, please order it again."
        case _, Phase.EXPIRING:
            return (
                f"{product} for {who} ends on {_day(state.ends_at)}. If it is needed for longer, please order it again "
                "with a later end."
            )
        case _, Phase.GRANTED:
            until = f" until {_day(state.ends_at)}" if state.ends_at is not None else ""
            return f"{product} works for {who}{until}."
        case _, Phase.WAITING_FOR_SEAT:
            place = ours(state.note, ending)
            return f"{product} for {who} has to wait. {place or cause} It is given as soon as it can be."
        case _, Phase.AWAITING_APPROVAL:
            return f"{product} for {who} waits for an approval."
        case _:
            return ""


def _question(ending: Ending, cause: str) -> str:
    """The rule's own sentence where there is one: it says what is missing."""
    return ours(ending.gated.sentence or ending.state.note, ending) or f"{cause} Please answer here."


def _day(at: datetime | None) -> str:
    return f"{at.day} {at:%B %Y}" if at is not None else "a day that is not known"


# --- names ----------------------------------------------------------------------------------------------------


# People choose their own display names: what does not read like one is not repeated (I17).
_IS_NAME = re.compile(r"(?=.{2,60}$)[^\W\d_]+(?:[ .,'’-]{1,2}[^\W\d_]+)*\.?")
_UNSHOWN = "a person whose name is not repeated here, see the ticket's approvals"
_IS_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def ours(sentence: str, ending: Ending) -> str:
    """The sentence, or "" when it repeats something that was typed into the form, or was never meant for a ticket."""
    declared = ending.finding.line.declared
    if not isinstance(declared, Request):
        return ""
    ticket = ending.finding.line.ticket
    typed = [
        *(declared.justification, declared.cost_center, declared.manager, ticket.short_description, ticket.close_notes),
        *(ticket.variables or {}).values(),
        *(value for row in ticket.rows for value in row.values()),
    ]
    known = {_product(ending).casefold(), _who(ending).casefold()}
    # A day says nothing but when, and one plain word ("needed") steers nobody: our own sentences have such words too.
    words = [t.strip() for t in typed if not _IS_DATE.fullmatch(t.strip()) and not t.strip().isalpha()]
    is_echo = any(len(t) > 3 and t.casefold() not in known and t in sentence for t in words)
    return "" if is_echo else one_line(sentence, 600)


def _product(ending: Ending) -> str:
    product = ending.finding.line.product
    return product.name if product is not None else "A licence"


def _who(ending: Ending) -> str:
    if ending.finding.user is not None:
        return ending.finding.user.upn
    line = ending.finding.line
    if line.person is not None and (line.person.email or line.person.user_name):
        return one_line(line.person.email or line.person.user_name or "", 120)
    return "an account that could not be found" if line.binding.known is Known.MISSING else "the person of the request"


def sent_digest(deeds: Sequence[Deed]) -> str:
    """The digest of the request whose change was sent last, "" for none: a later cycle has nothing left to name."""
    return next((deed.digest for deed in reversed(deeds) if deed.digest), "")
