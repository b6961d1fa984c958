"""Tells by mail what is owed by mail: at most one mail to a recipient in an interval, what hurries at once.

A mail that was begun keeps its Message-ID, its date and its notices: a try whose outcome is unknown is made again with
the same bytes, which a mail system may know again, and that it may have come twice is kept with the notice. Where part
of it need not be told any more, what is left is another mail.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from reconciler.cards import mail
from reconciler.cards.links import APPROVAL_ID
from reconciler.cards.telling import REQUESTER, Ways
from reconciler.cards.values import Channel, Kind
from reconciler.clients.mail import Deferred, Letter, Mailer, letter
from reconciler.clock import Clock
from reconciler.errors import OutcomeUnknown, Rejected, RemoteError, Throttled, UserError
from reconciler.store import notices as outbox
from reconciler.store.database import Database
from reconciler.store.notices import Owed

URGENT = frozenset({Kind.GUARD, Kind.BREAK_GLASS})  # do not wait for the end of an interval
URGENT_ALONE_MAX = 10  # to one recipient in an interval; what is over it waits like the rest
ROUND_S = 60.0  # one round of mail takes little longer; the rest is sent in the next one
TWICE = "it may have arrived twice: no reply came to an earlier try"


class _Unlisted(UserError):
    """This recipient is not told by mail any more."""


@dataclass(frozen=True, slots=True)
class Mailing:
    """How a tenant's mail goes out. `every` is the interval in which a recipient gets one mail at most."""

    tenant: str
    database: Database
    clock: Clock
    rng: random.Random
    ways: Ways
    mailer: Mailer
    sender: str
    every: timedelta

    def round(self, owed: Sequence[Owed]) -> None:
        """Send what is due, the recipients in the order of their oldest notice. A server in trouble ends the round."""
        began = self.clock.monotonic()
        for recipient in dict.fromkeys(one.notice.recipient for one in owed):
            mine = [one for one in owed if one.notice.recipient == recipient]
            for batch in self._batches(recipient, mine):
                if self.clock.monotonic() - began >= ROUND_S or not self._send(recipient, batch):
                    return

    def try_out(self, address: str, card: dict[str, object]) -> str:
        """Send a card to an address now; the server's word for having it. Raises UserError, RemoteError."""
        at, shown = self.clock.now(), mail.page(card)
        id = batch_id([f"test {address} {self.rng.random()}"], at)
        return self.mailer.send(self._letter(address, shown, id, ""))

    def _batches(self, recipient: str, owed: Sequence[Owed]) -> list[tuple[Owed, ...]]:
        """What goes in one mail each; what has to wait for the end of an interval is put off."""
        begun: dict[str, list[Owed]] = {}
        for one in owed:
            if one.batch:
                begun.setdefault(one.batch, []).append(one)
        fresh = [one for one in owed if not one.batch]
        urgent = [one for one in fresh if one.notice.kind in URGENT and one.next_at <= one.queued_at]  # not put off
        rest = [one for one in fresh if one not in urgent]
        found = [tuple(batch) for batch in begun.values()]
        with self.database.read() as session:
            since = self.clock.now() - self.every
            sent = outbox.sent_since(session, self.tenant, recipient, since, channel=Channel.MAIL)
        hurried = {at for kind, at in sent if Kind(kind) in URGENT}
        if len(hurried) + len(urgent) > URGENT_ALONE_MAX:
            rest, urgent, before = [*urgent, *rest], [], {at for _, at in sent}
        else:
            before = {at for kind, at in sent if Kind(kind) not in URGENT}
        found += [(one,) for one in urgent]
        if rest and before:
            with self.database.write() as session:
                for one in rest:
                    outbox.put_off(session, self.tenant, one, max(before) + self.every)
        elif rest:
            found.append(tuple(rest))
        return found

    def _send(self, recipient: str, batch: tuple[Owed, ...]) -> bool:
        """One mail. False when the server is to be left alone for now."""
        at, chance = self.clock.now(), self.rng.random()
        id = _same_mail(batch) or batch_id([one.notice.key for one in batch], at)
        with self.database.write() as session:
            mine = outbox.claim(session, self.tenant, batch, at, chance=chance, batch=id)
        if not mine:
            return True
        try:
            said = self.mailer.send(self._made(recipient, mine, id))
        except (Rejected, ValueError) as error:
            self._failed(mine, error, is_final=True)
            return True
        except (Deferred, _Unlisted) as error:
            self._failed(mine, error)
            return True
        except (RemoteError, UserError) as error:
            self._failed(mine, error, after_s=error.retry_after_s if isinstance(error, Throttled) else None)
            return False
        with self.database.write() as session:
            for one in mine:
                outbox.sent(
                    session,
                    self.tenant,
                    one,
                    self.clock.now(),
                    is_proven=False,  # taken by a mail server is not read by a person
                    run=said,
                    in_digest=len(mine) if len(mine) > 1 else 0,
                    note=TWICE if one.problem.startswith(TWICE) else "",
                    message_id=id,
                )
        return True

    def _made(self, recipient: str, batch: tuple[Owed, ...], id: str) -> Letter:
        mails = self.ways.mails
        address = mails.of(recipient) if mails is not None else ""
        if not address:
            raise _Unlisted("no mail address is configured for this recipient any more")
        if len(batch) == 1:
            one = batch[0].notice
            thread = one.request if APPROVAL_ID.fullmatch(one.request) else ""
            return self._letter(address, mail.page(one.body, about=one.ticket), id, thread)
        url = "" if recipient.startswith(REQUESTER) else self.ways.links.page("inbox")
        shown = mail.digest([one.notice.line for one in batch], count=len(batch), url=url)
        return self._letter(address, shown, id, "")

    def _letter(self, address: str, shown: mail.Page, id: str, thread: str) -> Letter:
        return letter(
            sender=self.sender,
            recipient=address,
            subject=shown.subject,
            text=shown.text,
            html=shown.html,
            id=id,
            at=begun_at(id),
            thread=thread,
        )

    def _failed(
        self, batch: Sequence[Owed], error: Exception, *, is_final: bool = False, after_s: float | None = None
    ) -> None:
        at = self.clock.now()
        retry_at = at + timedelta(seconds=min(after_s, 86_400.0)) if after_s is not None else None
        with self.database.write() as session:
            for one in batch:
                is_unsure = isinstance(error, OutcomeUnknown) or one.problem.startswith(TWICE)
                problem = f"{TWICE}; {error}" if is_unsure else str(error)
                outbox.failed(session, self.tenant, one, at, problem=problem, is_final=is_final, retry_at=retry_at)


def _same_mail(batch: Sequence[Owed]) -> str:
    """The id of the mail that these were begun as; "" for new ones, and where that mail said more than these."""
    begun = batch[0].batch
    return begun if begun and batch_id([one.notice.key for one in batch], begun_at(begun)) == begun else ""


def batch_id(keys: Sequence[str], at: datetime) -> str:
    """Names a mail by what it tells and when it was first to be sent; both can be read from it again or tried again."""
    told = hashlib.sha256("\x1f".join(sorted(keys)).encode()).hexdigest()[:32]
    return f"{int(at.timestamp())}.{told}"


def begun_at(id: str) -> datetime:
    """When the mail of this id was first to be sent."""
    return datetime.fromtimestamp(int(id.partition(".")[0]), UTC)
