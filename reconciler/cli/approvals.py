"""`reconciler approvals` and `approve`: requests seen and decided from the terminal.

Looking needs the store alone. Deciding is for the people of `approvals.break_glass_signers`, by their signature:
whoever sits at this keyboard is nobody in particular.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.main import options

if TYPE_CHECKING:
    from rich.console import Console

    from reconciler.approvals.values import Approval, Delegation

_OUTPUT = click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def approvals() -> None:
    """Requests for approval: what waits, what one is about, and a rejection by signature."""


@approvals.command("list")
@click.option("--all", "every", is_flag=True, help="Approved ones that are not carried out yet, too.")
@_OUTPUT
@click.pass_context
def list_(ctx: click.Context, every: bool, output: str) -> int:
    """Requests that wait for an answer, oldest first. Nothing is asked but the store."""
    from reconciler.cli.table import console, plain_text
    from reconciler.store import approvals as kept
    from reconciler.wiring import open_store

    given = options(ctx)
    with open_store(given.settings) as database, database.read() as session:
        read = kept.unfinished if every else kept.pending
        found = read(session, given.tenant_name)
    if output == "json":
        rows = [_short(a) for a in found]
        click.echo(json.dumps({"tenant": given.tenant_name, "requests": rows}, ensure_ascii=False, indent=2))
        return 0
    out = console()
    for approval in found:
        row = _short(approval)
        who = ", ".join(row["approvers"]) or "nobody yet"
        stage = f", {row['stage'].replace('_', ' ')}: {who}" if row["stage"] else ""
        expires = f", expires {row['expires_at'][:16]} UTC" if row["expires_at"] else ""
        text = f"{row['id']}  {row['line']}  {row['product']} for {row['person']} ({row['state']}{stage}{expires})"
        out.print(plain_text(text), soft_wrap=True)
    what = "request waits" if len(found) == 1 else "requests wait"
    out.print(f"{len(found)} {what}. People answer on the page of each; `reconciler approvals show ID` tells more.")
    return 0


@approvals.command()
@click.option("--all", "every", is_flag=True, help="Those that are over, too.")
@_OUTPUT
@click.pass_context
def delegations(ctx: click.Context, every: bool, output: str) -> int:
    """Who stands in for which approver, as they arranged it on the page /inbox/delegation."""
    from reconciler.cli.table import console, plain_text
    from reconciler.store import delegations as kept
    from reconciler.wiring import open_app

    given = options(ctx)
    with open_app(given.settings, given.tenant_name) as app, app.database.read() as session:
        at = app.clock.now()
        found = [d for d in kept.delegations(session, app.name) if every or d.ends_at > at]
    if output == "json":
        rows = [
            {
                "of": d.of.upn or d.of.one,
                "to": d.to.upn or d.to.one,
                "starts_at": d.starts_at.isoformat(),
                "ends_at": d.ends_at.isoformat(),
                "standing": _standing(d, at),
            }
            for d in found
        ]
        click.echo(json.dumps({"tenant": given.tenant_name, "delegations": rows}, ensure_ascii=False, indent=2))
        return 0
    out = console()
    for d in found:
        when = f"from {d.starts_at:%Y-%m-%d %H:%M} until {d.ends_at:%Y-%m-%d %H:%M} UTC"
        text = f"{d.to.upn or d.to.one} stands in for {d.of.upn or d.of.one}, {when} ({_standing(d, at)})"
        out.print(plain_text(text), soft_wrap=True)
    out.print(f"{len(found)} arranged here. What ServiceNow knows (sys_user_delegate) counts as well.")
    return 0


@approvals.command()
@click.argument("id", metavar="ID")
@_OUTPUT
@click.pass_context
def show(ctx: click.Context, id: str, output: str) -> int:
    """One request: who, what, why, what would change, who answered what."""
    from reconciler.cards.facts import changes_of
    from reconciler.cli.table import console
    from reconciler.errors import UserError
    from reconciler.store import approvals as kept
    from reconciler.wiring import open_store

    given = options(ctx)
    with open_store(given.settings) as database, database.read() as session:
        found = kept.load(session, given.tenant_name, id.strip().upper())
    if found is None:
        raise UserError("there is no request of this id; `reconciler approvals list` shows them", exit_code=1)
    if output == "json":
        click.echo(json.dumps(_full(found), ensure_ascii=False, indent=2))
        return 0
    _show(console(), _full(found), changes_of(found) or [])
    return 0


@approvals.command()
@click.argument("id", metavar="ID")
@click.option("--reason", required=True, metavar="TEXT", help="Why; the requester reads it.")
@click.option("--signature", type=_FILE, help="A file that ssh-keygen -Y sign wrote.")
@click.pass_context
def reject(ctx: click.Context, id: str, reason: str, signature: Path | None) -> int:
    """Reject a request, by the signature of one of approvals.break_glass_signers. Without one: print what is signed."""
    from reconciler import breakglass
    from reconciler.cli.operator import operator
    from reconciler.cli.signing import how_to_sign, read_signature
    from reconciler.governance.payloads import APPROVAL
    from reconciler.wiring import open_app

    given = options(ctx)
    with open_app(given.settings, given.tenant_name) as app:
        found = breakglass.request(app, id)
        if signature is None:
            how_to_sign(breakglass.to_sign(app, found, "reject", reason=reason), APPROVAL)
            return 0
        done = breakglass.reject(app, found, read_signature(signature), reason=reason, by=operator())
    who = done.decisions[-1].actor.upn
    click.echo(f"{done.id} is rejected by {who}. The next cycle tells the ticket.")
    return 0


@approvals.command()
@click.argument("id", metavar="ID")
@click.option("--by", required=True, metavar="NAME", help="Who wants it asked anew.")
@click.option("--reason", required=True, metavar="TEXT", help="Why it is still wanted.")
@click.pass_context
def renew(ctx: click.Context, id: str, by: str, reason: str) -> int:
    """Have people asked anew about a line whose request expired, over what would be done now."""
    from desired_state.text import one_line
    from reconciler.cli.operator import operator
    from reconciler.errors import UserError
    from reconciler.store import approvals as kept
    from reconciler.wiring import open_app

    given = options(ctx)
    who = f"{one_line(by, 120)} ({operator()})" if by.strip() else ""
    with open_app(given.settings, given.tenant_name) as app, app.database.write() as session:
        at = app.clock.now()
        try:
            why = one_line(reason, 500)
            found = kept.renew(session, app.name, id.strip().upper(), by=who, reason=why, at=at)
        except ValueError as error:
            raise UserError(str(error), exit_code=1) from None
    click.echo(
        f"Line {found.line} is asked about anew by the next cycle; `reconcile --ticket {found.line.ticket}` is one."
    )
    return 0


@approvals.command()
@click.argument("id", metavar="ID")
@click.option("--note", required=True, metavar="TEXT", help="What was found.")
@click.option("--signature", type=_FILE, help="A file that ssh-keygen -Y sign wrote.")
@click.pass_context
def reviewed(ctx: click.Context, id: str, note: str, signature: Path | None) -> int:
    """Note that somebody has looked at a use of break-glass, by signature. Without one: print what is signed."""
    from reconciler import breakglass
    from reconciler.cli.signing import how_to_sign, read_signature
    from reconciler.governance.payloads import APPROVAL
    from reconciler.wiring import open_app

    given = options(ctx)
    with open_app(given.settings, given.tenant_name) as app:
        found = breakglass.request(app, id)
        if signature is None:
            how_to_sign(breakglass.to_sign(app, found, "review", reason=note), APPROVAL)
            return 0
        who = breakglass.review(app, found, read_signature(signature), note=note)
    click.echo(f"{found.id}: looked at by {who}.")
    return 0


@click.command()
@click.argument("id", metavar="ID")
@click.option("--break-glass", "is_glass", is_flag=True, help="The only way to approve from the terminal.")
@click.option("--reason", default="", metavar="TEXT", help="Why it cannot wait for the pages.")
@click.option("--ticket", default="", metavar="NUMBER", help="The incident that it is for.")
@click.option("--signature", "signatures", multiple=True, type=_FILE, help="A file that ssh-keygen -Y sign wrote.")
@click.pass_context
def approve(ctx: click.Context, id: str, is_glass: bool, reason: str, ticket: str, signatures: tuple[Path, ...]) -> int:
    """Approve a request in an emergency: two people of approvals.break_glass_signers sign within an hour.

    Without a signature it prints the bytes that they sign. It holds for an hour, everybody hears of it, and a third
    person has to look at it within two working days. Scope, budgets, freezes and the kill switch hold as ever.
    """
    from reconciler import breakglass
    from reconciler.approvals.values import State
    from reconciler.cli.operator import operator
    from reconciler.cli.signing import how_to_sign, read_signature
    from reconciler.errors import UserError
    from reconciler.governance.payloads import APPROVAL
    from reconciler.wiring import open_app

    if not is_glass:
        raise UserError(
            "people approve on the request's page; from the terminal only with --break-glass, in emergencies"
        )
    given = options(ctx)
    with open_app(given.settings, given.tenant_name) as app:
        found = breakglass.request(app, id)
        if not signatures:
            how_to_sign(breakglass.to_sign(app, found, "approve", reason=reason, ticket=ticket), APPROVAL)
            return 0
        texts = [read_signature(path) for path in signatures]
        done = breakglass.approve(app, found, texts, reason=reason, ticket=ticket, by=operator())
    if done.state is not State.APPROVED:
        click.echo(f"{done.id}: one signature counts. A second person has to sign the same within the hour.")
        return 3
    until = f"{done.valid_until:%Y-%m-%d %H:%M} UTC" if done.valid_until is not None else ""
    click.echo(f"{done.id} is approved by break-glass until {until}. Somebody else has to look at it afterwards.")
    return 0


def _standing(delegation: Delegation, at: datetime) -> str:
    if delegation.ends_at <= at:
        return "over"
    return "now" if delegation.starts_at <= at else "later"


def _short(approval: Approval) -> dict[str, Any]:
    stage = approval.stage
    person = approval.beneficiary
    return {
        "id": approval.id,
        "line": str(approval.line),
        "state": approval.state.value,
        "product": str(approval.shown.get("product", "")),
        "person": (person.upn or person.name) if person is not None else "",
        "stage": stage.name if stage is not None else None,
        "approvers": [h.upn or h.name for h in stage.everyone] if stage is not None else [],
        "created_at": approval.created_at.isoformat(),
        "expires_at": stage.expires_at.isoformat() if stage is not None and stage.expires_at is not None else None,
        "valid_until": approval.valid_until.isoformat() if approval.valid_until is not None else None,
        "digest": approval.digest,
    }


def _full(approval: Approval) -> dict[str, Any]:
    from reconciler.digest import plain

    return {
        **_short(approval),
        "label": approval.label,
        "reason": approval.reason or None,
        "shown": plain(approval.shown),
        "decisions": [
            {
                "stage": d.stage,
                "verdict": d.verdict.value,
                "by": d.actor.upn or d.actor.one,
                "for": (d.acting_for.upn or d.acting_for.one) if d.acting_for is not None else None,
                "channel": d.channel.value,
                "assurance": d.assurance.value,
                "comment": d.comment,
                "at": d.decided_at.isoformat(),
            }
            for d in approval.decisions
        ],
    }


def _show(out: Console, found: dict[str, Any], changes: list[tuple[str, str, str, str]]) -> None:
    from reconciler.cli.table import plain_text

    def line(text: str) -> None:
        out.print(plain_text(text), soft_wrap=True)

    line(f"{found['id']}  {found['line']}  {found['state']}{': ' + found['reason'] if found['reason'] else ''}")
    line(f"  {found['product']} for {found['person']}, digest {found['digest']}")
    for name, value in found["shown"].items():
        if name not in ("product", "changes", "irreversible", "rules") and value not in ("", [], {}):
            line(f"  {name.replace('_', ' ')}: {_words(value)}")
    for what, before, after, undo in changes:
        line(f"  change: {what}, before: {before}; after: {after}; can be undone: {undo}")
    for said in found["shown"].get("irreversible") or ():
        line(f"  cannot be undone: {said}")
    for rule in found["shown"].get("rules") or ():
        line(f"  rule {rule.get('rule')}: {str(rule.get('outcome')).replace('_', ' ')}. {rule.get('sentence')}")
    if found["stage"]:
        line(f"  waits for {found['stage'].replace('_', ' ')}: {', '.join(found['approvers']) or 'nobody yet'}")
    for d in found["decisions"]:
        why = f": {d['comment']}" if d["comment"] else ""
        line(f"  {d['verdict']} by {d['by']} ({d['channel']}, {d['assurance']}) {d['at'][:16]} UTC{why}")


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_words(v)}" for k, v in value.items() if v not in (None, "", {}, []))
    if isinstance(value, list):
        return ", ".join(_words(v) for v in value)
    return "not known" if value is None else str(value)
