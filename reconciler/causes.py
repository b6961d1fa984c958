"""Every cause: what the requester is told, who owns it, the safe automatic step, and the ticket's answer. Pure.

The list is closed: these are the only values in metrics, tables and output. What cannot be named is `unknown`,
shown with the remote system's own words, and goes to a person. `{}` fields are filled with facts that are ours
(product names, plan names, country codes), never with free text of a ticket.
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
    """What the ticket is told when the line comes to rest with this cause."""

    NOTHING = "nothing"
    NOTE = "note"
    QUESTION = "question"
    HAND_BACK = "hand_back"


@dataclass(frozen=True, slots=True)
class CauseFacts:
    """One row of the table. `step` is what the reconciler does by itself, "" for nothing."""

    sentence: str
    owner: Owner
    step: str
    answer: TicketAnswer
    ask: str = ""  # what its owner should do, in one sentence for the ticket


def _row(
    sentence: str, owner: Owner, step: str = "", answer: TicketAnswer = TicketAnswer.NOTHING, ask: str = ""
) -> CauseFacts:
    return CauseFacts(sentence, owner, step, answer, ask)


_C, _O, _A = Cause, Owner, TicketAnswer
CAUSES: dict[Cause, CauseFacts] = {
    _C.USAGE_LOCATION_MISSING: _row(
        "The account has no usage location, and Microsoft gives no licence without one.",
        _O.RECONCILER,
        "set the country where two sources agree, then assign",
    ),
    _C.USAGE_LOCATION_REFUSED: _row(
        "The usage location that was set did not stay, so the licence cannot be given yet.",
        _O.IDENTITY,
        answer=_A.HAND_BACK,
        ask="Please set the usage location where it is mastered, then close the ticket again.",
    ),
    _C.NEVER_ASSIGNED: _row("The licence was never assigned to the account.", _O.RECONCILER, "assign it"),
    _C.PLAN_DISABLED: _row(
        "The licence is there, but the service that was asked for is switched off in it.",
        _O.RECONCILER,
        "switch the service on, leave the others as they are",
    ),
    _C.WRONG_PRODUCT: _row(
        "Another product than the one asked for was assigned.",
        _O.LICENCE_ADMIN,
        answer=_A.HAND_BACK,
        ask="Please assign the product that was asked for, then close the ticket again.",
    ),
    _C.PRODUCT_AMBIGUOUS: _row("The request fits more than one product.", _O.REQUESTER, answer=_A.QUESTION),
    _C.PRODUCT_UNMAPPED: _row(
        "What was asked for is not a product that is set up for licences.",
        _O.LICENCE_ADMIN,
        answer=_A.HAND_BACK,
        ask="Please set the product up for licences, or fulfil the request by hand.",
    ),
    _C.NOT_IN_GROUP: _row(
        "The account is not in the group that carries the licence.", _O.RECONCILER, "add it to the group"
    ),
    _C.GROUP_PENDING: _row("Microsoft is still processing the licence group.", _O.RECONCILER, "wait"),
    _C.GROUP_ERROR: _row("The licence group reports an error for the account.", _O.LICENCE_ADMIN, "reprocess"),
    _C.GROUP_NOT_WRITABLE: _row(
        "The licence group is managed elsewhere and cannot be changed here.", _O.IDENTITY, answer=_A.HAND_BACK
    ),
    _C.NO_SEAT: _row("No licence of this product is free.", _O.LICENCE_ADMIN, "queue", _A.NOTE),
    _C.PLAN_CONFLICT: _row(
        "Another licence of the account excludes this one.",
        _O.LICENCE_ADMIN,
        answer=_A.HAND_BACK,
        ask="Please decide which of the two licences the person keeps, then close the ticket again.",
    ),
    _C.DEPENDENCY_MISSING: _row(
        "The account lacks a licence that this product builds on.",
        _O.LICENCE_ADMIN,
        answer=_A.HAND_BACK,
        ask="Please assign the base licence first, then close the ticket again.",
    ),
    _C.PROVISIONING_PENDING: _row("Microsoft is still setting the service up.", _O.RECONCILER, "wait"),
    _C.PROVISIONING_ERROR: _row(
        "Microsoft reports an error while setting the service up.",
        _O.LICENCE_ADMIN,
        answer=_A.HAND_BACK,
        ask="Please look at the service of this account in the admin centre, then close the ticket again.",
    ),
    _C.WORKLOAD_UNPROVEN: _row(
        "The licence is complete, but the service itself does not work yet.", _O.TELECOM, answer=_A.HAND_BACK
    ),
    _C.REMOVED_LATER: _row(
        "The access was there and has been removed or changed since.", _O.LICENCE_ADMIN, answer=_A.QUESTION
    ),
    _C.EXPIRED_NOT_REMOVED: _row("The period is over and the licence is still there.", _O.RECONCILER, "revoke it"),
    _C.USER_MISSING: _row(
        "There is no account for the person in the directory.",
        _O.IDENTITY,
        "wait for the sync",
        _A.HAND_BACK,
        ask="Please create the account or correct the person of the request, then close the ticket again.",
    ),
    _C.IDENTITY_MISMATCH: _row("The account that has this name now may belong to somebody else.", _O.SERVICE_DESK),
    _C.SUBJECT_LEFT: _row(
        "The account is disabled; nothing is assigned to people who left.",
        _O.SERVICE_DESK,
        answer=_A.NOTE,
        ask="Nothing has to be done; if the person still works here, enable the account and ask again.",
    ),
    _C.USER_OUT_OF_SCOPE: _row("The account is outside of what the reconciler may change.", _O.LICENCE_ADMIN),
    _C.TICKET_INCONSISTENT: _row("The ticket's own fields disagree with each other.", _O.SERVICE_DESK),
    _C.HELD_BY_PERSON: _row("A person is working on this ticket.", _O.SERVICE_DESK),
    _C.POLICY_REFUSED: _row("A rule does not allow this as it was asked.", _O.REQUESTER, answer=_A.QUESTION),
    _C.PERMISSION_MISSING: _row("The reconciler may not read or write what this needs.", _O.OPERATOR),
    _C.REMOTE_FAILING: _row("A remote system fails; the reconciler tries again by itself.", _O.RECONCILER, "retry"),
    _C.UNKNOWN: _row(
        "The reason could not be determined.",
        _O.LICENCE_ADMIN,
        answer=_A.HAND_BACK,
        ask="Please look at the words above; when it is mended, close the ticket again.",
    ),
}
