"""Tells people what they are owed, at the end of a cycle and between cycles. Never in the way of a decision or a write.

Notices are no writes to the directory or to tickets: kill switch, freezes and budgets do not stop them, a webhook's own
rate does. One webhook gets a card every two seconds and twenty in five minutes; what is over it, and more than ten like
ones in ten minutes, comes as one digest. A notice that cannot be told is tried again later; a request for approval that
reached nobody is a problem of the cycle until it is answered.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta, tzinfo

from pydantic import SecretStr
from sqlmodel import Session

from reconciler.approvals.values import Approval
from reconciler.cards.check import BadCard, message
from reconciler.cards.short import digest_card, trial_card
from reconciler.cards.telling import DESK, PERSON, Ways, guard_notice, nobody, notices, sample_notice
from reconciler.cards.values import Channel, Kind
from reconciler.clients.teams import Posted, Teams
from reconciler.clock import Clock
from reconciler.errors import Rejected, RemoteError, Throttled, UserError
from reconciler.line import Trip
from reconciler.loop.mailing import Mailing
from reconciler.store import approvals, rulings
from reconciler.store import notices as outbox
from reconciler.store.approvals import Tell
from reconciler.store.database import Database
from reconciler.store.notices import Owed

EVERY_S = 2.0
BURST, BURST_OVER = 20, timedelta(minutes=5)
SAMPLED_AGAIN = timedelta(days=7)  # what nobody has looked at is told of again
LIKE_MAX, LIKE_OVER = 10, timedelta(minutes=10)
ROUND_S = 90.0  # one round of telling takes no longer; the rest is told in the next one
TOO_LARGE = 413
QUIETED = frozenset({Kind.REMINDER})  # the other kinds are told at any hour (approvals.md section 5)
_ASKING = (Kind.REQUEST, Kind.REMINDER)


@dataclass(frozen=True, slots=True)
class Quiet:
    """Hours of the day in which nobody is reminded. It may span midnight."""

    begins: time
    ends: time
    zone: tzinfo

    def until(self, at: datetime) -> datetime | None:
        """When the quiet that holds at this instant ends; None when none holds."""
        local = at.astimezone(self.zone)
        now = local.time()
        is_quiet = self.begins <= now < self.ends if self.begins < self.ends else now >= self.begins or now < self.ends
        if not is_quiet:
            return None
        day = local.date() + timedelta(days=1 if now >= self.ends else 0)
        return datetime.combine(day, self.ends, tzinfo=self.zone)


@dataclass(frozen=True, slots=True)
class Notifier:
    """How a tenant's people are told. `address_of` gives the webhook of a recipient, None where there is none.

    `mailing` is how mail goes out, None where none does; `zones` are of people with another clock than the tenant.

    Raises UserError from `address_of` where its file cannot be read.
    """

    tenant: str
    database: Database
    clock: Clock
    rng: random.Random
    ways: Ways
    teams: Teams
    address_of: Callable[[str], SecretStr | None]
    quiet: Quiet | None = None
    mailing: Mailing | None = None
    zones: Mapping[str, tzinfo] = field(default_factory=dict)

    def tell(self) -> Tell:
        """What queues the notices of an event of a request, in the transaction of that event."""

        def told(session: Session, event: str, approval: Approval, at: datetime) -> None:
            problem = ""
            try:
                found = notices(event, approval, self.ways)
            except Exception as error:  # no defect of a card keeps anybody from deciding
                found, problem = (nobody(event, approval),), f"no card could be made ({type(error).__name__})"
            for notice in found:
                outbox.queue(session, self.tenant, notice, at, problem=problem)

        return told

    def trips(self, trips: Iterable[Trip]) -> None:
        """Queue what guards have stopped."""
        every = tuple(trips)
        if not every:
            return
        with self.database.write() as session:
            for t in every:
                for notice in guard_notice(
                    self.ways,
                    tenant=self.tenant,
                    guard=t.guard,
                    lane=t.lane.value,
                    wanted=t.wanted,
                    limit=t.limit,
                    digest=t.digest,
                    sentence=t.sentence,
                ):
                    outbox.queue(session, self.tenant, notice, self.clock.now())

    def samples(self) -> None:
        """Queue what rules approved and a person has to look at; again each week until somebody has."""
        at = self.clock.now()
        with self.database.read() as session:
            waiting = rulings.sample(session, self.tenant)
        found = [
            notice
            for a in waiting
            for notice in sample_notice(
                self.ways, line=a.line, rule=a.rule, digest=a.digest, again=(at - a.at) // SAMPLED_AGAIN
            )
        ]
        if not found:
            return
        with self.database.write() as session:
            for notice in found:
                outbox.queue(session, self.tenant, notice, at)

    def deliver(self) -> tuple[str, ...]:
        """One round: tell what is due. Problems that a person has to look at, one sentence each.

        Raises:
            UserError: the store cannot be used.
        """
        at = self.clock.now()
        with self.database.read() as session:
            owed = outbox.due(session, self.tenant, at)
            pending = {a.id for a in approvals.pending(session, self.tenant)} if owed else set()
        if owed:
            worth = self._worth_telling(owed, pending, at)
            self._round([one for one in worth if one.notice.channel is Channel.TEAMS])
            self._mail([one for one in worth if one.notice.channel is Channel.MAIL])
            with self.database.write() as session:
                outbox.prune(session, self.tenant, at)
        return self._unreached()

    def try_out(self, to: str) -> Posted:
        """Send a test card to "desk" or to a sign-in name, now.

        Raises:
            UserError: there is no webhook for it.
            RemoteError: it was not taken, or that is not known.
        """
        recipient = DESK if to == "desk" else f"{PERSON}{to}"
        address = self.address_of(recipient)
        if address is None:
            raise UserError(f"no webhook is configured for {to}", exit_code=1)
        card = trial_card(self.ways.links, tenant=self.tenant, at=self.clock.now())
        return self.teams.post(address, message(card))

    def try_mail(self, to: str) -> str:
        """Send a test mail now, to "desk", a sign-in name or a listed address; the addresses that were written to.

        Raises:
            UserError: no mail is sent, or there is no address for it.
            RemoteError: it was not taken, or that is not known.
        """
        mails = self.ways.mails
        if self.mailing is None or mails is None:
            raise UserError("no mail server is configured in [notify]", exit_code=1)
        listed = {*mails.desk, *mails.admins}
        found = mails.desk if to == "desk" else (to,) if to in listed else (mails.address_of(to),)
        if not any(found):
            raise UserError(f"no mail address is configured for {to}", exit_code=1)
        card = trial_card(self.ways.links, tenant=self.tenant, at=self.clock.now())
        for address in found:
            self.mailing.try_out(address, card)
        return ", ".join(found)

    def _mail(self, owed: Sequence[Owed]) -> None:
        """What is owed by mail; where no mail is sent any more it stays owed, and says so."""
        if self.mailing is not None:
            self.mailing.round(owed)
            return
        for one in owed:
            with self.database.write() as session:
                if outbox.claim(session, self.tenant, [one], self.clock.now(), chance=self.rng.random()):
                    problem = "no mail server is configured any more"
                    outbox.failed(session, self.tenant, one, self.clock.now(), problem=problem)

    def _quiet_until(self, one: Owed, at: datetime) -> datetime | None:
        """When this may be told, by the recipient's own clock where that is known; None: now."""
        if self.quiet is None or one.notice.kind not in QUIETED:
            return None
        zone = self.zones.get(one.notice.recipient)
        return (replace(self.quiet, zone=zone) if zone is not None else self.quiet).until(at)

    def _worth_telling(self, owed: Sequence[Owed], pending: set[str], at: datetime) -> list[Owed]:
        kept = []
        for one in owed:
            quiet_until = self._quiet_until(one, at)
            if one.notice.kind in _ASKING and one.notice.request not in pending:
                with self.database.write() as session:
                    outbox.drop(session, self.tenant, one, at)
            elif quiet_until is not None:
                with self.database.write() as session:
                    outbox.put_off(session, self.tenant, one, quiet_until)
            else:
                kept.append(one)
        return kept

    def _round(self, owed: Sequence[Owed]) -> None:
        """The recipients in turn, so that nobody's many cards keep the others waiting."""
        began = self.clock.monotonic()
        lines: deque[tuple[str, deque[tuple[Owed, ...]]]] = deque()
        last: dict[str, datetime] = {}
        for recipient in dict.fromkeys(one.notice.recipient for one in owed):
            mine = [one for one in owed if one.notice.recipient == recipient]
            batches, last_at = self._batches(recipient, mine)
            lines.append((recipient, deque(batches)))
            if last_at is not None:
                last[recipient] = last_at
        while lines and self.clock.monotonic() - began < ROUND_S:
            recipient, left = lines.popleft()
            if not left:
                continue
            if recipient in last:
                since = (self.clock.now() - last[recipient]).total_seconds()
                if since < EVERY_S:
                    self.clock.sleep(EVERY_S - since)
            if self._send(recipient, left.popleft()):
                lines.append((recipient, left))
            last[recipient] = self.clock.now()

    def _batches(self, recipient: str, owed: Sequence[Owed]) -> tuple[list[tuple[Owed, ...]], datetime | None]:
        """What goes in one card each, and when this recipient was last sent one."""
        at = self.clock.now()
        with self.database.read() as session:
            before = outbox.sent_since(session, self.tenant, recipient, at - LIKE_OVER)
        like = Counter(kind for kind, _ in before) + Counter(one.notice.kind.value for one in owed)
        many = tuple(one for one in owed if like[one.notice.kind.value] > LIKE_MAX)
        batches = [*((one,) for one in owed if one not in many), *([many] if many else [])]
        recent = {sent_at for _, sent_at in before if at - sent_at < BURST_OVER}
        left = BURST - len(recent)
        if left <= 0:
            with self.database.write() as session:
                for one in owed:
                    outbox.put_off(session, self.tenant, one, min(recent) + BURST_OVER)
            return [], None
        if len(batches) > left:
            over = tuple(one for batch in batches[left - 1 :] for one in batch)
            batches = [*batches[: left - 1], over]
        return batches, max((sent_at for _, sent_at in before), default=None)

    def _send(self, recipient: str, batch: tuple[Owed, ...]) -> bool:
        """One card. False when this recipient is to be left alone for now."""
        chance = self.rng.random()
        with self.database.write() as session:
            mine = outbox.claim(session, self.tenant, batch, self.clock.now(), chance=chance)
        if not mine:
            return True
        try:
            posted = self._post(recipient, mine)
        except Throttled as error:
            self._failed(mine, error, after_s=error.retry_after_s)
            return False
        except BadCard as error:
            self._failed(mine, error, is_final=True)
            return True
        except RemoteError as error:
            self._failed(mine, error, is_final=isinstance(error, Rejected) and error.status == TOO_LARGE)
            return False
        except UserError as error:
            self._failed(mine, error)
            return False
        at = self.clock.now()
        with self.database.write() as session:
            for one in mine:
                outbox.sent(
                    session,
                    self.tenant,
                    one,
                    at,
                    is_proven=posted.is_proven,
                    run=posted.run,
                    in_digest=len(mine) if len(mine) > 1 else 0,
                )
        return True

    def _post(self, recipient: str, batch: tuple[Owed, ...]) -> Posted:
        address = self.address_of(recipient)
        if address is None:
            raise UserError(f"no webhook is configured for {recipient} any more")
        if len(batch) == 1:
            return self.teams.post(address, message(batch[0].notice.body))
        lines = [one.notice.line for one in batch]
        return self.teams.post(address, message(digest_card(self.ways.links, lines, count=len(batch))))

    def _failed(
        self, batch: tuple[Owed, ...], error: Exception, *, is_final: bool = False, after_s: float | None = None
    ) -> None:
        at = self.clock.now()
        retry_at = at + timedelta(seconds=min(after_s, 86_400.0)) if after_s is not None else None
        with self.database.write() as session:
            for one in batch:
                outbox.failed(session, self.tenant, one, at, problem=str(error), is_final=is_final, retry_at=retry_at)

    def _unreached(self) -> tuple[str, ...]:
        """Requests that wait for people of whom nobody was told."""
        with self.database.read() as session:
            waiting = approvals.pending(session, self.tenant)
            found = outbox.unreached(session, self.tenant, [a.id for a in waiting])
        for one in found:
            with self.database.write() as session:
                outbox.alert(session, self.tenant, one, self.clock.now())
        return tuple(
            f"request {one.request} ({one.ticket}) reached nobody: {one.problem or 'nothing was sent'}; "
            "whoever may answer it finds it on the page /inbox"
            for one in found
        )
