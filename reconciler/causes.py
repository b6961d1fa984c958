"""Every cause: what the requester is told, who owns it, the safe automatic step, and the ticket's answer. Pure.

The list is closed: these are the only values in metrics, tables and output. What cannot be named is `unknown`,
shown with the remote system's own words, and goes to a person. The sentences are for people who know neither Entra
nor ServiceNow; facts about one case are added by `answers`, from values that are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    USAGE_LOCATION_MISSING = "usage_location_missing"
    USAGE_LOCATION_REFUSED = "usage_location_refused"
    NEVER_ASSIGNED = "never_assigned"
    PLAN_DISABLED = "plan_disabled"
    WRONG_PRODUCT = "wrong_product"
    PRODUCT_AMBIGUOUS = "product_ambiguous"
    PRODUCT_UNMAPPED = "product_unmapped"
    NOT_IN_GROUP = "not_in_group"
    GROUP_PENDING = "group_pending"
    GROUP_ERROR = "group_error"
    GROUP_NOT_WRITABLE = "group_not_writable"
    NO_SEAT = "no_seat"
    PLAN_CONFLICT = "plan_conflict"
    DEPENDENCY_MISSING = "dependency_missing"
    PROVISIONING_PENDING = "provisioning_pending"
    PROVISIONING_ERROR = "provisioning_error"
    WORKLOAD_UNPROVEN = "workload_unproven"
    REMOVED_LATER = "removed_later"
    EXPIRED_NOT_REMOVED = "expired_not_removed"
    USER_MISSING = "user_missing"
    IDENTITY_MISMATCH = "identity_mismatch"
    SUBJECT_LEFT = "subject_left"
    USER_OUT_OF_SCOPE = "user_out_of_scope"
    TICKET_INCONSISTENT = "ticket_inconsistent"
    HELD_BY_PERSON = "held_by_person"
    POLICY_REFUSED = "policy_refused"
    PERMISSION_MISSING = "permission_missing"
    REMOTE_FAILING = "remote_failing"
    UNKNOWN = "unknown"


# What says that nobody looked, or could: it tells nothing about what is there, nor about what was asked for.
UNSEEN = frozenset({Cause.REMOTE_FAILING, Cause.PERMISSION_MISSING, Cause.UNKNOWN, Cause.HELD_BY_PERSON})


class Owner(StrEnum):
    """Whose move it is."""

    RECONCILER = "reconciler"
    REQUESTER = "requester"
    SERVICE_DESK = "service desk"
    LICENCE_ADMIN = "licence admin"
    IDENTITY = "identity team"
    TELECOM = "telecom team"
    APPROVER = "approver"
    OPERATOR = "operator of the reconciler"


class TicketAnswer(StrEnum):
    """What the ticket is told when the line comes to rest with this cause.

    A hand back is given when the line is in review: a person has to act. A question goes to the cause's owner: to the
    requester in the ticket, to anybody else also by a task in their queue.
    """

    NOTHING = "nothing"
    NOTE = "note"
    QUESTION = "question"
    HAND_BACK = "hand_back"


@dataclass(frozen=True, slots=True)
class CauseFacts:
    """One row of the table. `step` is what the reconciler does by itself, "" for nothing.

    `sentence` is what the requester reads, `ask` what the owner should do. `is_workload` marks trouble of the service
    itself, where the product's own owner, if it has one, knows better than the cause's.
    """

    sentence: str
    owner: Owner
    step: str
    answer: TicketAnswer
    ask: str = ""
    is_workload: bool = False


def _row(
    sentence: str,
    owner: Owner,
    step: str = "",
    answer: TicketAnswer = TicketAnswer.NOTHING,
    ask: str = "",
    *,
    is_workload: bool = False,
) -> CauseFacts:
    return CauseFacts(sentence, owner, step, answer, ask, is_workload)


_AGAIN = "then close the ticket again"


_C, _O, _A = Cause, Owner, TicketAnswer
CAUSES: dict[Cause, CauseFacts] = {
    _C.USAGE_LOCATION_MISSING: _row(
        "The account does not say in which country it is used, and Microsoft gives no licence without that.",
        _O.IDENTITY,
        "set the country where two sources agree, then assign",
        _A.HAND_BACK,
        ask=f"Please set the usage location of the account, {_AGAIN}.",
    ),
    _C.USAGE_LOCATION_REFUSED: _row(
        "The account's country is in the way: it did not stay as it was set, or the service is not allowed there.",
        _O.IDENTITY,
        answer=_A.HAND_BACK,
        ask=f"Please set the usage location where the account is mastered, or have another product ordered, {_AGAIN}.",
    ),
    _C.NEVER_ASSIGNED: _row(
        "The licence had not been assigned to the account.",
        _O.RECONCILER,
        "assign it",
        _A.HAND_BACK,
        ask=f"Please assign the licence, {_AGAIN}.",
    ),
    _C.PLAN_DISABLED: _row(
        "The licence is there, and the service that was asked for is switched off in it.",
        _O.RECONCILER,
        "switch the service on, leave the others as they are",
        _A.HAND_BACK,
        ask=f"Please switch the service on in the licence that the person has, {_AGAIN}.",
    ),
    _C.WRONG_PRODUCT: _row(
        "Another product than the one that was asked for had been assigned.",
        _O.LICENCE_ADMIN,
        answer=_A.HAND_BACK,
        ask=f"Please assign the product that was asked for, or have its price approved, {_AGAIN}.",
    ),
    _C.PRODUCT_AMBIGUOUS: _row(
        "The request fits more than one product. Please say which one is meant.",
        _O.REQUESTER,
        answer=_A.QUESTION,
        ask="Please say which product is meant; the service desk then corrects the request.",
    ),
    _C.PRODUCT_UNMAPPED: _row(
        "What was asked for is not known as a licence that can be given automatically.",
        _O.LICENCE_ADMIN,
        answer=_A.HAND_BACK,
        ask="Please set the product up for licences, or fulfil the request by hand.",
    ),
    _C.NOT_IN_GROUP: _row(
        "The account was not in the group that carries the licence.",
        _O.RECONCILER,
        "add it to the group",
        _A.HAND_BACK,
        ask=f"Please add the account to the licence group, {_AGAIN}.",
    ),
    _C.GROUP_PENDING: _row(
        "Microsoft is still working out the licences of the group that the account was put into.",
        _O.RECONCILER,
        "wait, and ask for it to be worked out again when it takes too long",
        _A.HAND_BACK,
        ask=f"Please look at the group in the admin centre (Licences, Reprocess), {_AGAIN}.",
    ),
    _C.GROUP_ERROR: _row(
        "The group that carries the licence could not give it to the account.",
        _O.LICENCE_ADMIN,
        "have the group worked out again once what stands in the way is gone",
        _A.HAND_BACK,
        ask=f"Please remove what keeps the group from giving its licences, as named above, {_AGAIN}.",
    ),
    _C.GROUP_NOT_WRITABLE: _row(
        "The group that carries the licence is managed by another system, so the account has to be added there.",
        _O.IDENTITY,
        answer=_A.HAND_BACK,
        ask="Please add the account to the group where the group is mastered. The rest is noticed by itself.",
    ),
    _C.NO_SEAT: _row(
        "No licence of this product is free at the moment.",
        _O.LICENCE_ADMIN,
        "queue, and assign as soon as one is free",
        _A.NOTE,
        ask="Please buy a licence or free one that is not used; it is then assigned by itself.",
    ),
    _C.PLAN_CONFLICT: _row(
        "The account has another licence that excludes the one that was asked for.",
        _O.LICENCE_ADMIN,
        answer=_A.HAND_BACK,
        ask=f"Please decide which of the two licences the person keeps, {_AGAIN}.",
    ),
    _C.DEPENDENCY_MISSING: _row(
        "The product builds on another licence that the account does not have.",
        _O.LICENCE_ADMIN,
        answer=_A.HAND_BACK,
        ask=f"Please assign the base licence first, {_AGAIN}.",
    ),
    _C.PROVISIONING_PENDING: _row(
        "The licence is assigned, and Microsoft is still setting the service up.",
        _O.RECONCILER,
        "wait",
        _A.HAND_BACK,
        ask=f"Please look at the service of this account in the admin centre, {_AGAIN}.",
        is_workload=True,
    ),
    _C.PROVISIONING_ERROR: _row(
        "Microsoft reports an error while setting the service up.",
        _O.LICENCE_ADMIN,
        answer=_A.HAND_BACK,
        ask=f"Please look at the service of this account in the admin centre, {_AGAIN}.",
        is_workload=True,
    ),
    _C.WORKLOAD_UNPROVEN: _row(
        "The licence is complete, and the service itself does not work yet.",
        _O.TELECOM,
        answer=_A.HAND_BACK,
        ask=f"Please finish setting the service up for this person (for calling: a number and a policy), {_AGAIN}.",
        is_workload=True,
    ),
    _C.REMOVED_LATER: _row(
        "The access had been there and has been removed or changed since.",
        _O.LICENCE_ADMIN,
        answer=_A.QUESTION,
        ask="Was this meant? If so, nothing has to be done but to say so here; if not, please assign it again.",
    ),
    _C.EXPIRED_NOT_REMOVED: _row(
        "The period that was asked for is over, and the licence is still there.",
        _O.LICENCE_ADMIN,
        "revoke what we granted",
        _A.QUESTION,
        ask="Please decide: take the licence back, or have it asked for anew with a later end.",
    ),
    _C.USER_MISSING: _row(
        "There is no account for the person yet.",
        _O.IDENTITY,
        "wait for the sync",
        _A.HAND_BACK,
        ask=f"Please create the account or correct the person of the request, {_AGAIN}.",
    ),
    _C.IDENTITY_MISMATCH: _row(
        "The account that has this name now may belong to somebody else.",
        _O.SERVICE_DESK,
        ask="Please find out which account is meant and correct the person of the request.",
    ),
    _C.SUBJECT_LEFT: _row(
        "The account is disabled; nothing is assigned to people who left.",
        _O.SERVICE_DESK,
        answer=_A.NOTE,
        ask="Nothing has to be done; if the person still works here, enable the account and ask again.",
    ),
    _C.USER_OUT_OF_SCOPE: _row(
        "The account is one of those that are not changed automatically.",
        _O.LICENCE_ADMIN,
        ask="Please fulfil the request by hand, or widen the scope in the configuration.",
    ),
    _C.TICKET_INCONSISTENT: _row(
        "The ticket's own fields disagree with each other.",
        _O.SERVICE_DESK,
        ask="Please correct state, stage or approval of the ticket, so that they say the same.",
    ),
    _C.HELD_BY_PERSON: _row(
        "A colleague is working on this request.",
        _O.SERVICE_DESK,
        answer=_A.NOTE,
        ask="Please finish it, or take your name off the task to have it done automatically.",
    ),
    _C.POLICY_REFUSED: _row(
        "A rule of the company does not allow this as it was asked for.",
        _O.REQUESTER,
        answer=_A.QUESTION,
        ask="Please answer here; the service desk then completes the request.",
    ),
    _C.PERMISSION_MISSING: _row(
        "The automation may not read or change what this request needs.",
        _O.OPERATOR,
        answer=_A.HAND_BACK,
        ask="Please run `reconciler doctor` and grant the permission that it names.",
    ),
    _C.REMOTE_FAILING: _row(
        "Microsoft's service does not answer as it should.",
        _O.RECONCILER,
        "retry",
        _A.HAND_BACK,
        ask=f"Please look at the words above, with Microsoft's support if need be; when it is mended, {_AGAIN[5:]}.",
        is_workload=True,
    ),
    _C.UNKNOWN: _row(
        "The reason could not be found out automatically.",
        _O.LICENCE_ADMIN,
        answer=_A.HAND_BACK,
        ask=f"Please look at the words above; when it is mended, {_AGAIN[5:]}.",
        is_workload=True,
    ),
}
