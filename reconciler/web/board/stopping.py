"""`/guards`: what stops writes, and for admins the kill switch, freezes and releases.

The forms call what `reconciler kill-switch`, `freeze` and `guards release` call. Stopping asks for nothing but the
role; loosening takes a reason, and fresh credentials where the site asks for those before dear decisions. Each act is
two rows of the log in one transaction: the switch's own, and who it was by which sign-in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse
from sqlmodel import Session

from desired_state.text import one_line
from reconciler.approvals.values import Assurance
from reconciler.errors import UserError
from reconciler.line import Lane
from reconciler.loop.releasing import ASKED, lift, overview, release
from reconciler.store import guards, journal, switches
from reconciler.store.switches import Switch, SwitchKind
from reconciler.web.board.access import Reader, reader, turned_away
from reconciler.web.identity import Role
from reconciler.web.pages import Pages
from reconciler.web.signing_in import begin
from reconciler.web.site import Site
from reconciler.web.trust import place
from reconciler.web.visits import Visitor, is_from_our_form, way

Text = Annotated[str, Form(max_length=4_000)]
REASON_MAX, NAME_MAX = 500, 60
LASTS = {"1h": timedelta(hours=1), "4h": timedelta(hours=4), "24h": timedelta(hours=24)}
DONE = {
    "thrown": "The kill switch is on: nothing is written any more.",
    "was-thrown": "The kill switch was on already.",
    "outside": "The store could not be written, so a file in the state directory stops every tenant instead.",
    "lifted": "The kill switch of this tenant is off.",
    "asked": "You ask to lift the kill switch. It stays on until another admin does the same, within an hour.",
    "frozen": "The freeze is set.",
    "was-frozen": "That freeze stood already.",
    "unfrozen": "The freeze is lifted.",
    "released": "The plan is let through by the next cycle, once.",
}


class _Refused(Exception):
    """A form that cannot be taken in; its text is for whoever sent it."""


@dataclass(frozen=True, slots=True)
class Given:
    """What somebody typed, so that nothing is lost with a fault. `form` is the one that it was typed into."""

    form: str = ""
    fault: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)

    def of(self, form: str, name: str) -> str:
        return self.fields.get(name, "") if self.form == form else ""


def routes(site: Site, pages: Pages) -> APIRouter:
    """`/guards` and its forms."""
    router = APIRouter()

    @router.get("/guards")
    def look(request: Request, done: str = "") -> Response:
        """What stops writes now, what guards stopped, what ends in a week."""
        asks = reader(site, request)
        if not asks.may("guards"):
            return turned_away(site, pages, request, asks, "/guards")
        if asks.sees_people and asks.who is not None and not done:
            with site.database.write() as session:
                journal.note_read(session, site.tenant, what="guards", by=asks.who.actor, at=site.now())
        return _page(site, pages, asks, done=DONE.get(done, ""))

    @router.post("/guards/kill-switch/throw")
    def throw(request: Request, form_token: Text = "", reason: Text = "") -> Response:
        """Stop every write of this tenant, at once."""

        def act(session: Session, who: Visitor, at: datetime) -> str:
            is_new = switches.throw(session, site.tenant, reason=_line(reason), by=_name(who), at=at)
            return "thrown" if is_new else "was-thrown"

        def by_file(who: Visitor) -> str:
            if site.controls is None:
                raise _Refused("The store cannot be written, and nothing else stops writes here.")
            site.controls.throw_outside(f"{_line(reason) or 'no reason was given'} ({_name(who)})")
            return "outside"

        return _act(site, pages, request, form_token, act, Given("throw", fields={"reason": reason}), otherwise=by_file)

    @router.post("/guards/kill-switch/lift")
    def lift_(request: Request, form_token: Text = "", reason: Text = "") -> Response:
        """Let writes happen again; may take a second person."""

        def act(session: Session, who: Visitor, at: datetime) -> str:
            by, says = _name(who), _line(reason)
            done = lift(session, site.tenant, by=by, who=who.actor, reason=says, at=at, takes_two=takes_two)
            return "lifted" if done.is_off else "asked"

        takes_two = site.controls is None or site.controls.takes_two()
        given = Given("lift", fields={"reason": reason})
        return _act(site, pages, request, form_token, act, given, loosens=True)

    @router.post("/guards/freezes")
    def freeze(
        request: Request,
        form_token: Text = "",
        name: Text = "",
        lane: Text = "",
        begins: Text = "",
        ends: Text = "",
        reason: Text = "",
    ) -> Response:
        """Freeze one lane or all, now or for a window."""

        def act(session: Session, who: Visitor, at: datetime) -> str:
            called = _line(name, NAME_MAX)
            if not called:
                raise _Refused("Give the freeze a name.")
            if not _line(reason):
                raise _Refused("Say why.")
            if lane not in {"", *Lane}:
                raise _Refused("Choose one of the lanes.")
            is_new = switches.freeze(
                session,
                site.tenant,
                called,
                reason=_line(reason),
                by=_name(who),
                at=at,
                scope=lane or switches.EVERYTHING,
                from_at=_instant(begins),
                until_at=_instant(ends),
            )
            return "frozen" if is_new else "was-frozen"

        fields = {"name": name, "lane": lane, "begins": begins, "ends": ends, "reason": reason}
        return _act(site, pages, request, form_token, act, Given("freeze", fields=fields))

    @router.post("/guards/freezes/lift")
    def unfreeze(request: Request, form_token: Text = "", name: Text = "", reason: Text = "") -> Response:
        """Lift a freeze that was added."""

        def act(session: Session, who: Visitor, at: datetime) -> str:
            if name == switches.KILL:
                raise _Refused("The kill switch is no freeze.")
            if not switches.lift(session, site.tenant, name, reason=_line(reason), by=_name(who), at=at):
                raise _Refused("There is no such freeze any more.")
            return "unfrozen"

        given = Given("unfreeze", fields={"name": name, "reason": reason})
        return _act(site, pages, request, form_token, act, given, loosens=True)

    @router.post("/guards/releases")
    def let_through(
        request: Request, form_token: Text = "", digest: Text = "", lasts: Text = "1h", reason: Text = ""
    ) -> Response:
        """Let one stopped plan through, once, or the ends of one day before they come."""

        def act(session: Session, who: Visitor, at: datetime) -> str:
            if len(digest) != 64 or lasts not in LASTS:
                raise _Refused("Choose a plan of this page.")
            span = LASTS[lasts]
            release(session, site.tenant, digest, by=_name(who), reason=_line(reason), at=at, lasts=span)
            return "released"

        given = Given("release", fields={"digest": digest, "lasts": lasts, "reason": reason})
        return _act(site, pages, request, form_token, act, given, loosens=True)

    @router.post("/guards/sign-in")
    def again(request: Request, form_token: Text = "") -> Response:
        """Give credentials again before loosening anything."""
        asks = reader(site, request)
        if asks.who is None:
            return begin(site, pages, request, place("/guards"))
        if not is_from_our_form(site, request, asks.who, form_token):
            return pages.forged(asks.who)
        max_age = site.step_up.max_age if site.step_up is not None else None
        replaces = asks.who.session.id
        return begin(site, pages, request, place("/guards"), prompt="login", max_age=max_age, replaces=replaces)

    return router


def _act(
    site: Site,
    pages: Pages,
    request: Request,
    token: str,
    act: Callable[[Session, Visitor, datetime], str],
    given: Given,
    *,
    loosens: bool = False,
    otherwise: Callable[[Visitor], str] | None = None,
) -> Response:
    """One form: who sent it, whether they may, what it does, and who it was. Then the page as it is now."""
    asks = reader(site, request)
    who = asks.who
    if who is None:
        sentence = "You are not signed in any more, so nothing was changed."
        return pages.message("Nothing was changed", sentence, status=401, link=("/guards", "Sign in"))
    if not who.reads_all:
        return pages.not_found(who)
    if not is_from_our_form(site, request, who, token):
        return pages.forged(who)
    at = site.now()
    if not who.has(Role.ADMIN):
        return _fault(site, pages, asks, given, "Your account lacks the app role Licence.Admin.", 403)
    if loosens and not _is_fresh(site, who, at):
        return _fault(site, pages, asks, given, "For this you have to sign in again first.", 403)
    by = way(site, request, who)
    try:
        with site.database.write() as session:
            done = act(session, who, at)
            journal.append(
                session,
                site.tenant,
                kind="guard.operator",
                subject=given.form,
                body={
                    "who": who.human.told,
                    "done": done,
                    "assurance": Assurance.STRONG.value,
                    "evidence": by.evidence,
                    "source": by.source,
                    "agent": by.agent,
                },
                at=at,
                actor=who.actor,
            )
    except (ValueError, _Refused) as error:
        return _fault(site, pages, asks, given, f"{str(error)[:1].upper()}{str(error)[1:].rstrip('.')}.", 422)
    except UserError as error:
        if otherwise is None:
            raise
        site.log("the kill switch is thrown by a file, as the store cannot be written", why=str(error))
        try:
            done = otherwise(who)
        except OSError as failure:
            raise UserError(f"neither the store nor the file of the kill switch could be written: {failure}") from None
    return RedirectResponse(f"/guards?done={done}", 303)


def _fault(site: Site, pages: Pages, asks: Reader, given: Given, sentence: str, status: int) -> Response:
    return _page(site, pages, asks, given=Given(given.form, sentence, given.fields), status=status)


def _page(
    site: Site, pages: Pages, asks: Reader, *, done: str = "", given: Given | None = None, status: int = 200
) -> Response:
    at, who, controls = site.now(), asks.who, site.controls
    with site.database.read() as session:
        found = overview(session, site.tenant, at)
        stops = switches.stops(session, site.tenant)
        asked = guards.fact(session, site.tenant, ASKED)
        budgets = [b.as_json() for b in controls.budgets(session, at)] if controls is not None else []
    kill = next((s for s in stops if s.kind is SwitchKind.KILL), None)
    plans = [(plan, _standing(plan.is_released(at), plan.used_at is not None)) for plan in found.plans]
    is_admin = who is not None and who.has(Role.ADMIN)
    return pages.page(
        "guards.html",
        who,
        status=status,
        here="guards",
        opened=asks.opened,
        names=asks.sees_people,
        found=found,
        plans=plans,
        kill=kill,
        own_kill=kill is not None and kill.tenant == site.tenant,
        outside=controls.outside() if controls is not None else "",
        asked=asked[0] if asked is not None and at - asked[1] < timedelta(hours=1) else None,
        freezes=[(s, _holds(s, at), s.tenant == site.tenant) for s in stops if s.kind is SwitchKind.FREEZE],
        windows=controls.windows(at) if controls is not None else (),
        budgets=budgets,
        lanes=[lane.value for lane in Lane],
        lasts=list(LASTS),
        is_admin=is_admin,
        is_fresh=is_admin and who is not None and _is_fresh(site, who, at),
        takes_two=controls is None or controls.takes_two(),
        done=done,
        given=given or Given(),
    )


def _standing(is_released: bool, is_used: bool) -> str:
    if is_used:
        return "was let through"
    return "is let through by the next cycle" if is_released else "is stopped"


def _holds(switch: Switch, at: datetime) -> bool:
    return any(switch.stops(lane.value, at) for lane in Lane)


def _is_fresh(site: Site, who: Visitor, at: datetime) -> bool:
    if site.step_up is None:
        return True
    given = who.session.credentials_at
    return given is not None and at - given <= site.step_up.max_age


def _name(who: Visitor) -> str:
    return one_line(who.session.upn or who.name, 120)


def _line(text: str, length_max: int = REASON_MAX) -> str:
    return one_line(text, length_max)


def _instant(text: str) -> datetime | None:
    """What a field for date and time says, in UTC; None where it is empty."""
    if not text.strip():
        return None
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise _Refused("Write an instant as 2026-12-24T18:00; it is read as UTC.") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
