"""`reconciler explain`: the chain of one ticket or of one person."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from reconciler.cli.main import options

if TYPE_CHECKING:
    from rich.console import Console

    from desired_state.catalogue import Catalogue
    from reconciler.explain import Chain, LineChain


@click.command()
@click.argument("subject", metavar="TICKET|UPN")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def explain(ctx: click.Context, subject: str, output: str) -> int:
    """The whole chain of a ticket, or of every ticket of a person: asked, found, decided, sent, seen, told.

    Reads the store only; a first `reconciler reconcile` fills it.
    """
    from reconciler.cli.table import console
    from reconciler.errors import UserError
    from reconciler.explain import as_json
    from reconciler.explain import explain as chains_of
    from reconciler.wiring import open_store

    given = options(ctx)
    with open_store(given.settings) as database:
        chains = chains_of(database, given.tenant_name, subject.strip())
    if not chains:
        raise UserError(
            f"nothing is known about {subject}: a ticket has to be read by `reconciler reconcile` first", exit_code=1
        )
    catalogue = given.settings.catalogue()
    if output == "json":
        found = [as_json(chain, catalogue) for chain in chains]
        click.echo(json.dumps(found[0] if len(found) == 1 else found, ensure_ascii=False, indent=2))
        return 0
    out = console()
    for chain in chains:
        _show(out, chain, catalogue)
    return 0


def _show(out: Console, chain: Chain, catalogue: Catalogue) -> None:
    from reconciler.cli.table import plain_text

    t = chain.ticket
    out.print(plain_text(f"{t.number}  ({t.request_number}, {t.item_name})", style="bold"))
    closed = f", closed {t.closed_at:%Y-%m-%d %H:%M} UTC by {t.closed_by or '?'}" if t.closed_at else ""
    out.print(plain_text(f"  opened {t.opened_at:%Y-%m-%d %H:%M} UTC{closed}; state {t.state}, stage {t.stage or '-'}"))
    for approver in t.approvals:
        out.print(plain_text(f"  approval: {approver.approver_name or approver.approver} {approver.state}"))
    for line in chain.lines:
        _line(out, line, catalogue)
    if chain.answers:
        out.print(plain_text("  told", style="bold"))
    for owed in chain.answers:
        remote = f" ({owed.remote_id})" if owed.remote_id else ""
        out.print(plain_text(f"    {owed.answer.kind.value}: {owed.state.value}{remote}, key {owed.answer.key}"))
        if owed.answer.kind.value in ("note", "question"):
            for row in owed.answer.text.splitlines():
                out.print(plain_text(f"      | {row}"), soft_wrap=True)
    out.print()


def _line(out: Console, line: LineChain, catalogue: Catalogue) -> None:
    from desired_state.model import Refusal
    from reconciler.cli.table import plain_text
    from reconciler.explain import owner_of

    standing, state = line.standing, line.state
    out.print(plain_text(f"  line {line.key.line}", style="bold"))
    request = standing.request if standing is not None else None
    if request is not None:
        ends = f", until {request.period.ends_on}" if request.period.ends_on else ""
        ends += f", for {request.period.duration_days} days" if request.period.duration_days else ""
        cap = f", approved up to {request.price_cap} a month" if request.price_cap is not None else ""
        out.print(plain_text(f"    asked: {catalogue.product_name(request.product)}{ends}{cap}"))
        if request.justification:
            out.print(plain_text(f"    why, as typed: {request.justification}"), soft_wrap=True)
    elif standing is not None and isinstance(standing.declaration, Refusal):
        out.print(plain_text(f"    not taken in: {standing.declaration.sentence}"), soft_wrap=True)
    if standing is not None and standing.entitlement is not None:
        out.print(plain_text(f"    person: {standing.entitlement.upn}, object {standing.entitlement.user}"))
    if state is not None:
        verdict = f", verdict {state.verdict.value}" if state.verdict else ""
        cause = f", cause {state.cause}" if state.cause else ""
        out.print(
            plain_text(
                f"    now: {state.phase.value}{verdict}{cause}{', proven at ' + state.tier if state.tier else ''}"
            )
        )
        if state.note:
            out.print(plain_text(f"    because: {state.note}"), soft_wrap=True)
        if whose := owner_of(line, catalogue):
            out.print(plain_text(f"    whose move: {whose}"))
    for event in line.events:
        out.print(plain_text(f"    {event.at:%Y-%m-%d %H:%M:%S}  #{event.seq}  {event.what}"), soft_wrap=True)
        for change in event.changes:
            out.print(plain_text(f"        {change}"), soft_wrap=True)
        for said in (event.facts.get("what") or {}).get("lasting") or ():
            out.print(plain_text(f"        cannot be undone: {said}"), soft_wrap=True)
        for judged in event.facts.get("rules") or ():
            out.print(
                plain_text(f"        rule {judged['rule']}: {judged['outcome']}, {judged['sentence']}"), soft_wrap=True
            )
        if event.kind == "intent" and event.facts.get("digest"):
            out.print(plain_text(f"        digest {event.facts['digest']}, plan {str(event.facts.get('plan'))[:16]}…"))
