"""The pages of a request for approval: read it, decide it, and what waits for me.

The link carries no authority and a GET decides nothing. Whoever has no part in a request gets the page of what is not
there, and the attempt is in the audit log. Every check is made again in the transaction that takes the answer in
(`store.approvals.decide`).
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from desired_state.text import one_line
from reconciler.approvals.judge import may_see
from reconciler.approvals.values import Approval, Assurance, Channel, Code, Decision, Refusal, State, Verdict
from reconciler.errors import UserError
from reconciler.store import approvals, leases
from reconciler.web.identity import Role
from reconciler.web.pages import Pages
from reconciler.web.showing import monthly_cost, show
from reconciler.web.signing_in import begin
from reconciler.web.site import Site
from reconciler.web.trust import APPROVAL_ID, issue_key, place, shown_at
from reconciler.web.visits import Visitor, is_from_our_form, visitor, way

Text = Annotated[str, Form(max_length=20_000)]
REASON_MAX = 500  # of asking anew
STATUS = {
    Code.NOT_FOUND: 404,
    Code.NOT_APPROVER: 404,
    Code.COMMENT: 422,
    Code.SELF: 403,
    Code.LOST_ROLE: 403,
    Code.CHANNEL: 403,
}
NO_ROLE = "Your account lacks the app role Licence.Approver, so it cannot decide here. Ask the licence desk for it."


def routes(site: Site, pages: Pages) -> APIRouter:
    """The inbox, one request, and its decision."""
    router = APIRouter()

    @router.get("/inbox")
    def inbox(request: Request) -> Response:
        """What waits for the person who is signed in."""
        who = visitor(site, request)
        if who is None:
            return begin(site, pages, request, place("/inbox"))
        at = site.now()
        with site.database.read() as session:
            waiting = approvals.inbox(session, site.tenant, who.human, at)
        shown = [show(approval, who.human, at) for approval in waiting]
        return pages.page("inbox.html", who, here="inbox", waiting=shown, lacks_role=not who.has(Role.APPROVER))

    @router.get("/approvals/{id}")
    def approval(request: Request, id: str) -> Response:
        """One request."""
        who = visitor(site, request)
        if who is None:
            return begin(site, pages, request, place(f"/approvals/{id}"))
        at = site.now()
        found = _seen(site, who, id, at)
        return pages.not_found(who) if found is None else _page(site, pages, who, found, at)

    @router.post("/approvals/{id}/decision")
    def decision(
        request: Request,
        id: str,
        form_token: Text = "",
        stage: Text = "",
        digest: Text = "",
        verdict: Text = "",
        reason: Text = "",
        key: Text = "",
    ) -> Response:
        """Take in an answer; then show the request as it is now."""
        who = visitor(site, request)
        if who is None:
            back = place(f"/approvals/{id}")
            sentence = "You are not signed in any more, so nothing was decided."
            return pages.message("Nothing was decided", sentence, status=401, link=(back, "Sign in and decide"))
        opened_at = shown_at(key, who.secret, id)
        if not is_from_our_form(site, request, who, form_token) or opened_at is None:
            return pages.forged(who)
        at = site.now()
        found = _seen(site, who, id, at, is_new_view=False)
        if found is None:
            return pages.not_found(who)
        if not may_see(found, who.human, at):
            return _nothing(pages, who, id, "You may look at this request and not decide it.", 403)
        if not who.has(Role.APPROVER):
            return _nothing(pages, who, id, NO_ROLE, 403)
        if verdict not in set(Verdict):
            return _nothing(pages, who, id, "Say whether you approve or reject.", 400)
        if _wants_credentials(site, who, found, at):
            return _nothing(pages, who, id, "For this decision you have to sign in again first.", 403)
        by = way(site, request, who)
        answer = Decision(
            stage=stage,
            verdict=Verdict(verdict),
            actor=who.human,
            digest=digest,
            decided_at=at,
            channel=Channel.PAGE,
            assurance=Assurance.STRONG,
            evidence=by.evidence,
            comment=reason.replace("\r\n", "\n").strip(),
            asked_at=next((s.opened_at for s in found.stages if s.name == stage), None),
            opened_at=opened_at,
            source=by.source,
            agent=by.agent,
            correlation=by.correlation,
            key=key,
        )
        with site.database.write() as session:
            judged = approvals.decide(session, site.tenant, id, answer, at, tell=site.tell)
        if isinstance(judged, Approval):
            _act_on_it(site)
            return RedirectResponse(f"/approvals/{id}", 303)
        if judged.code is Code.COMMENT:
            return _page(site, pages, who, found, at, fault=judged, typed_reason=reason, status=422)
        return _nothing(pages, who, id, judged.sentence, STATUS.get(judged.code, 409))

    @router.post("/approvals/{id}/renewal")
    def renewal(request: Request, id: str, form_token: Text = "", reason: Text = "") -> Response:
        """Have people asked anew about what nobody answered in time. For the licence desk."""
        who = visitor(site, request)
        if who is None:
            return begin(site, pages, request, place(f"/approvals/{id}"))
        if not is_from_our_form(site, request, who, form_token):
            return pages.forged(who)
        at = site.now()
        found = _seen(site, who, id, at, is_new_view=False)
        if found is None:
            return pages.not_found(who)
        if not who.has(Role.ADMIN):
            return _nothing(pages, who, id, "Only the licence desk (Licence.Admin) asks anew.", 403)
        why = one_line(reason, REASON_MAX)
        if len(why) < found.terms.comment_min:
            sentence = f"A reason of at least {found.terms.comment_min} characters is needed."
            return _nothing(pages, who, id, sentence, 422)
        try:
            with site.database.write() as session:
                approvals.renew(session, site.tenant, id, by=who.actor, reason=why, at=at)
        except ValueError as error:
            return _nothing(pages, who, id, f"{error}.", 409)
        _act_on_it(site)
        return RedirectResponse(f"/approvals/{id}", 303)

    @router.post("/approvals/{id}/sign-in")
    def again(request: Request, id: str, form_token: Text = "") -> Response:
        """Give credentials again before a decision that needs them fresh."""
        who = visitor(site, request)
        if who is None:
            return begin(site, pages, request, place(f"/approvals/{id}"))
        if not is_from_our_form(site, request, who, form_token):
            return pages.forged(who)
        max_age = site.step_up.max_age if site.step_up is not None else None
        back = place(f"/approvals/{id}")
        return begin(site, pages, request, back, prompt="login", max_age=max_age, replaces=who.session.id)

    return router


def _act_on_it(site: Site) -> None:
    """Have a cycle see what was answered: whoever does it. The bell is heard in this process only."""
    with suppress(UserError), site.database.write() as session:  # it is kept; whoever looks next finds it
        leases.ask(session, site.tenant)
    site.ring()


def _seen(site: Site, who: Visitor, id: str, at: datetime, *, is_new_view: bool = True) -> Approval | None:
    """The request, if this person may see it; who looked, and who tried to, is in the audit log."""
    if not APPROVAL_ID.fullmatch(id):
        return None
    with site.database.read() as session:
        found = approvals.load(session, site.tenant, id)
    is_allowed = found is not None and (may_see(found, who.human, at) or who.has(Role.AUDITOR, Role.ADMIN))
    if is_new_view or not is_allowed:
        with site.database.write() as session:
            approvals.note_view(session, site.tenant, id, who.human, is_allowed, at)
    return found if is_allowed else None


def _page(
    site: Site,
    pages: Pages,
    who: Visitor,
    approval: Approval,
    at: datetime,
    *,
    fault: Refusal | None = None,
    typed_reason: str = "",
    status: int = 200,
) -> Response:
    with site.database.read() as session:
        changers = approvals.changers(session, site.tenant, approval, at)
    return pages.page(
        "approval.html",
        who,
        status=status,
        shown=show(approval, who.human, at, changers=changers),
        key=issue_key(who.secret, approval.id, at, site.secret()[:16].replace(".", "-")),
        fault=fault.sentence if fault is not None else "",
        typed_reason=typed_reason,
        has_role=who.has(Role.APPROVER),
        may_renew=approval.state is State.EXPIRED and not approval.renewed_by and who.has(Role.ADMIN),
        no_role=NO_ROLE,
        wants_credentials=_wants_credentials(site, who, approval, at),
    )


def _wants_credentials(site: Site, who: Visitor, approval: Approval, at: datetime) -> bool:
    """Whether this decision needs credentials that were given a short time ago. An unknown cost counts as high."""
    if site.step_up is None:
        return False
    cost = monthly_cost(approval)
    if cost is not None and cost < site.step_up.above:
        return False
    given = who.session.credentials_at
    return given is None or at - given > site.step_up.max_age


def _nothing(pages: Pages, who: Visitor, id: str, sentence: str, status: int) -> Response:
    if status == 404:
        return pages.not_found(who)
    link = (place(f"/approvals/{id}"), "Open the request as it is now")
    return pages.message("Nothing was decided", sentence, who, status=status, link=link)
