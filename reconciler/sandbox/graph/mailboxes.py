"""What a mailbox is for: /users/{id}/mailboxSettings, reduced to `userPurpose`.

Source: Graph v1.0 reference, "Get user mailbox settings" and "mailboxSettings" (userPurpose: user, linked, shared,
room, equipment, others; least permission MailboxSettings.Read); read 2026-11, not in graph.md.
"""

from __future__ import annotations

from reconciler.sandbox.graph.answers import Answer, Problem
from reconciler.sandbox.graph.calls import Call


class Mailboxes:
    """Routes under /users/{id}/mailboxSettings."""

    def settings(self, call: Call, key: str) -> Answer:
        """GET /users/{id}/mailboxSettings"""
        call.refuse_options("$select")
        head = {"@odata.context": call.url(f"/$metadata#users('{key}')/mailboxSettings")}
        return Answer(200, head | {"userPurpose": purpose(call, key)})

    def user_purpose(self, call: Call, key: str) -> Answer:
        """GET /users/{id}/mailboxSettings/userPurpose"""
        head = {"@odata.context": call.url(f"/$metadata#users('{key}')/mailboxSettings/userPurpose")}
        return Answer(200, head | {"value": purpose(call, key)})


def purpose(call: Call, key: str) -> str:
    """The kind of a person's mailbox.

    Raises:
        Refused: 404, nobody.
        Problem: 404, an account without a mailbox.
    """
    user = call.store.live_user(key, stale=call.is_stale)
    if user.mailbox is None:
        raise no_mailbox()
    return user.mailbox


def no_mailbox() -> Problem:
    return Problem(
        404,
        "MailboxNotEnabledForRESTAPI",
        "The mailbox is either inactive, soft-deleted, or is hosted on-premise.",
    )
