"""The page where an approver names who stands in for them, ends it, and sees for whom they stand in themselves.

A signed-in approver arranges it for themselves; an administrator (Licence.Admin) for an approver who cannot, and never
to stand in themselves. Who is named is looked up in the directory, never taken as typed.
What a delegate may answer is judged at each answer anew (`approvals.judge`), so nobody answers their own request here.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from reconciler.approvals.delegating import Wish, arranged
from reconciler.approvals.values import Human, same
from reconciler.errors import RemoteError
from reconciler.store import delegations
from reconciler.web.identity import Role
from reconciler.web.pages import Pages
from reconciler.web.signing_in import begin
from reconciler.web.site import Site
from reconciler.web.trust import place
from reconciler.web.visits import Visitor, is_from_our_form, visitor

Text = Annotated[str, Form(max_length=500)]
PATH = "/inbox/delegation"
_NO_ROLE = "Your account lacks the app role Licence.Approver, so there is nothing of yours that somebody could answer."


def routes(site: Site, pages: Pages) -> APIRouter:
    """`/inbox/delegation`."""
    router = APIRouter()

    @router.get(PATH)
    def delegation(request: Request) -> Response:
        """Who stands in for me, and for whom I do."""
        who = visitor(site, request)
        if who is None:
            return begin(site, pages, request, place(PATH))
        return _page(site, pages, who)

    @router.post(PATH)
    def name(
        request: Request,
        form_token: Text = "",
        to: Text = "",
        starts_on: Text = "",
        ends_on: Text = "",
        of: Text = "",
    ) -> Response:
        """Let somebody stand in for whoever is signed in; for `of`, a sign-in name, where an administrator says so."""
        who = visitor(site, request)
        refused = _refused(site, pages, request, who, form_token, Role.ADMIN if of else Role.APPROVER)
        if refused is not None or who is None:
            return refused or pages.forged(None)
        typed = {"to": to, "starts_on": starts_on, "ends_on": ends_on, "of": of}
        try:
            wish = Wish(to.strip(), _day(ends_on), _day(starts_on))
        except ValueError:
            return _page(site, pages, who, fault="A day is written as 2026-12-31.", typed=typed)
        try:
            me = site.colleagues.account(who.human.oid)
            mine = me.human if me is not None else who.human  # with the employee id, which a sign-in does not tell
            own = _named(site, of) if of else mine
            found = site.colleagues.named(wish.to) if _is_name(wish.to) else None
        except RemoteError as error:
            site.log("the directory could not be read", path=PATH, why=str(error))
            sentence = "The directory could not be read, so nothing was changed. Try again in a minute."
            return _page(site, pages, who, fault=sentence, typed=typed, status=503)
        at, by = site.now(), mine if of else None
        if own is None:
            return _page(site, pages, who, fault="The directory has no account of the approver's name.", typed=typed)
        made = arranged(own, wish, found, at=at, longest=site.delegate_at_most, by=by)
        if isinstance(made, str):
            return _page(site, pages, who, fault=made, typed=typed)
        with site.database.write() as session:
            delegations.delegate(session, site.tenant, made, at)
        return RedirectResponse(PATH, 303)

    @router.post(f"{PATH}/end")
    def end(request: Request, form_token: Text = "", name: Text = "") -> Response:
        """End a delegation of one's own; for an administrator, anybody's."""
        who = visitor(site, request)
        refused = _refused(site, pages, request, who, form_token, Role.APPROVER, Role.ADMIN)
        if refused is not None or who is None:
            return refused or pages.forged(None)
        at = site.now()
        with site.database.write() as session:
            every, is_admin = delegations.delegations(session, site.tenant), who.has(Role.ADMIN)
            mine = (d for d in every if is_admin or same(d.of, who.human))
            found = next((d for d in mine if delegations.name_of(d) == name), None)
            if found is not None:
                delegations.end(session, site.tenant, found, at, by=who.actor)
        return RedirectResponse(PATH, 303)

    return router


def _named(site: Site, name: str) -> Human | None:
    """The account of a sign-in name. Raises RemoteError."""
    found = site.colleagues.named(name.strip()) if _is_name(name.strip()) else None
    return found.human if found is not None else None


def _refused(
    site: Site, pages: Pages, request: Request, who: Visitor | None, form_token: str, *roles: Role
) -> Response | None:
    if who is None:
        sentence = "You are not signed in any more, so nothing was changed."
        return pages.message("Nothing was changed", sentence, status=401, link=(place(PATH), "Sign in"))
    if not is_from_our_form(site, request, who, form_token):
        return pages.forged(who)
    if not who.has(*roles):
        return pages.message("Nothing was changed", _NO_ROLE, who, status=403, link=(place("/inbox"), "Your inbox"))
    return None


def _page(
    site: Site,
    pages: Pages,
    who: Visitor,
    *,
    fault: str = "",
    typed: dict[str, str] | None = None,
    status: int = 422,
) -> Response:
    at = site.now()
    with site.database.read() as session:
        every = [d for d in delegations.delegations(session, site.tenant) if d.ends_at > at and d.ends_at > d.starts_at]
    return pages.page(
        "delegation.html",
        who,
        here="delegation",
        status=status if fault else 200,
        mine=[(d, _called(d.to), delegations.name_of(d), d.starts_at <= at) for d in every if same(d.of, who.human)],
        is_admin=who.has(Role.ADMIN),
        all=[
            (d, _called(d.of), _called(d.to), delegations.name_of(d), d.starts_at <= at)
            for d in (every if who.has(Role.ADMIN) else ())
            if not same(d.of, who.human)
        ],
        others=[(d, _called(d.of), d.starts_at <= at) for d in every if same(d.to, who.human)],
        days=site.delegate_at_most.days,
        lacks_role=not who.has(Role.APPROVER),
        today=f"{at:%Y-%m-%d}",
        fault=fault,
        typed_in={"to": "", "starts_on": "", "ends_on": "", "of": "", **(typed or {})},
    )


def _is_name(text: str) -> bool:
    """Whether it can be a sign-in name at all: anything else names nobody, and is not asked about."""
    return "@" in text and text.isprintable() and " " not in text and "/" not in text


def _called(human: Human) -> str:
    return f"{human.name} ({human.upn})" if human.name and human.upn else human.name or human.upn or human.oid


def _day(text: str) -> date | None:
    return date.fromisoformat(text.strip()) if text.strip() else None
