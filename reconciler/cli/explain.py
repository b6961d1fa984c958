"""`reconciler explain` and `reconciler why-not`: the chain of a ticket or a person, and what is in the way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.main import options

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from desired_state.catalogue import Catalogue
    from reconciler.explain import Chain, LineChain, Obstacle
    from reconciler.wiring import App

_OUTPUT = click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)


@click.command()
@click.argument("subject", metavar="TICKET|UPN")
@_OUTPUT
@click.pass_context
def explain(ctx: click.Context, subject: str, output: str) -> int:
    """The whole chain of a ticket, or of every ticket of a person: asked, judged, approved, sent, seen, told.

    Reads the store only; a first `reconciler reconcile` fills it.
    """
    from reconciler.explain import as_json, obstacles
    from reconciler.wiring import open_app

    given = options(ctx)
    with open_app(given.settings, given.tenant_name) as app:
        chains, at, mode = _chains(app, subject), app.clock.now(), app.tenant.mode
    catalogue = given.settings.catalogue()
    if output == "json":
        _json([as_json(chain, catalogue) for chain in chains])
        return 0
    say = _printer()
    for chain in chains:
        _head(say, chain)
        for line in chain.lines:
            _line(say, line, catalogue)
            _in_the_way(say, obstacles(chain, line, catalogue, at, mode=mode))
        _told(say, chain)
    return 0


@click.command("why-not")
@click.argument("subject", metavar="TICKET")
@_OUTPUT
@click.pass_context
def why_not(ctx: click.Context, subject: str, output: str) -> int:
    """What stands in the way of each line: one sentence each, whose move it is, and what exactly they should do.

    Exit code 0: nothing is in the way; 3: something is.
    """
    from reconciler.explain import obstacles
    from reconciler.explain import why_not as told_of
    from reconciler.wiring import open_app

    given = options(ctx)
    with open_app(given.settings, given.tenant_name) as app:
        chains, at, mode = _chains(app, subject), app.clock.now(), app.tenant.mode
    catalogue = given.settings.catalogue()
    told = [told_of(chain, catalogue, at, mode=mode) for chain in chains]
    is_free = not any(line["in_the_way"] for one in told for line in one["lines"])
    if output == "json":
        _json(told)
        return 0 if is_free else 3
    say = _printer()
    for chain in chains:
        for line in chain.lines:
            found = obstacles(chain, line, catalogue, at, mode=mode)
            say(f"{line.key}  {_phase(line)}")
            if not found:
                say("  nothing is in the way")
            _in_the_way(say, found)
    return 0 if is_free else 3


def _chains(app: App, subject: str) -> tuple[Chain, ...]:
    """The chains, and a row in the log that they were read."""
    from desired_state.text import one_line
    from reconciler.cli.operator import operator
    from reconciler.errors import UserError
    from reconciler.explain import explain as chains_of
    from reconciler.store import journal

    named = subject.strip()
    chains = chains_of(app.database, app.name, named)
    if not chains:
        raise UserError(
            f"nothing is known about {one_line(named, 100)}: a ticket has to be read by `reconciler reconcile` first",
            exit_code=1,
        )
    with app.database.write() as session:
        what = ", ".join(chain.ticket.number for chain in chains)
        journal.note_read(session, app.name, what=f"tickets {what}", by=operator(), at=app.clock.now())
    return chains


def _json(found: list[Any]) -> None:
    click.echo(json.dumps(found[0] if len(found) == 1 else found, ensure_ascii=False, indent=2))


def _printer() -> Callable[[str], None]:
    from reconciler.cli.table import console, plain_text

    out = console()
    return lambda text: out.print(plain_text(text), soft_wrap=True)


def _when(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _head(say: Callable[[str], None], chain: Chain) -> None:
    t = chain.ticket
    say(f"{t.number}  ({t.request_number}, {t.item_name})" if t.request_number else f"{t.number}  ({t.item_name})")
    closed = f", closed {_when(t.closed_at)} by {t.closed_by or '?'}" if t.closed_at else ""
    says = f"; state {t.state}, stage {t.stage or '-'}" if t.state else ""
    say(f"  opened {_when(t.opened_at)}{closed}{says}")
    if chain.proposal is not None:
        source = f", from {chain.proposal.source_ticket}" if chain.proposal.source_ticket else ""
        say(f"  proposed by AI agent {chain.proposal.agent}, for whom {chain.proposal.owner} answers{source}")
    for approver in t.approvals:
        say(f"  approval: {approver.approver_name or approver.approver} {approver.state}")


def _phase(line: LineChain) -> str:
    return line.state.phase.value if line.state is not None else "not looked at yet"


def _line(say: Callable[[str], None], line: LineChain, catalogue: Catalogue) -> None:
    from reconciler.promotion.words import told

    say(f"  line {line.key.line}")
    _asked(say, line, catalogue)
    _now(say, line, catalogue)
    _rules(say, line)
    _approvals(say, line)
    for shadow in line.compared:
        say(f"    {shadow.axis.value}, {shadow.outcome.value.replace('_', ' ')}: {told(shadow)}")
    for event in line.events:
        say(f"    {event.at:%Y-%m-%d %H:%M:%S}  #{event.seq}  {event.what}")
        for change in event.changes:
            say(f"        {change}")
        for said in (event.facts.get("what") or {}).get("lasting") or ():
            say(f"        cannot be undone: {said}")
        if event.kind == "intent" and event.facts.get("digest"):
            say(f"        digest {event.facts['digest']}, plan {str(event.facts.get('plan'))[:16]}…")


def _asked(say: Callable[[str], None], line: LineChain, catalogue: Catalogue) -> None:
    from desired_state.model import Refusal

    standing = line.standing
    request = standing.request if standing is not None else None
    if request is not None:
        ends = f", until {request.period.ends_on}" if request.period.ends_on else ""
        ends += f", for {request.period.duration_days} days" if request.period.duration_days else ""
        cap = f", shown at {request.price_cap} a month" if request.price_cap is not None else ""
        say(f"    asked: {catalogue.product_name(request.product)}{ends}{cap}")
        if request.justification:
            say(f"    why, as typed: {request.justification}")
    elif standing is not None and isinstance(standing.declaration, Refusal):
        say(f"    not taken in: {standing.declaration.sentence}")
    if standing is not None and standing.entitlement is not None:
        say(f"    person: {standing.entitlement.upn}, object {standing.entitlement.user}")


def _now(say: Callable[[str], None], line: LineChain, catalogue: Catalogue) -> None:
    from reconciler.explain import owner_of

    state = line.state
    if state is None:
        return
    verdict = f", verdict {state.verdict.value}" if state.verdict else ""
    cause = f", cause {state.cause}" if state.cause else ""
    say(f"    now: {state.phase.value}{verdict}{cause}{', proven at ' + state.tier if state.tier else ''}")
    if state.note:
        say(f"    because: {state.note}")
    if whose := owner_of(line, catalogue):
        say(f"    whose move: {whose}")


def _rules(say: Callable[[str], None], line: LineChain) -> None:
    from reconciler.explain.told import rules_of

    told = rules_of(line)
    if told is None:
        return
    for judged in told["judged"]:
        looked = ", ".join(f"{name}={_value(value)}" for name, value in (judged.get("inputs") or {}).items())
        more = f" [{looked}]" if looked else ""
        say(f"    rule {judged['rule']}: {judged['outcome'].replace('_', ' ')}. {judged['sentence']}{more}")


def _value(value: object) -> str:
    return "not known" if value is None else str(value)


def _approvals(say: Callable[[str], None], line: LineChain) -> None:
    for approval in line.approvals:
        say(f"    request {approval.id}: {approval.state.value}, digest {approval.digest}")
        for d in approval.decisions:
            who = d.actor.name or d.actor.upn
            for_ = f" for {d.acting_for.name or d.acting_for.upn}" if d.acting_for is not None else ""
            sure = f"by {d.channel.value}, assurance {d.assurance.value}"
            say(f"      {d.stage}: {d.verdict.value} by {who}{for_} on {_when(d.decided_at)}, {sure}")
            if d.comment:
                say(f"        as typed: {d.comment}")


def _in_the_way(say: Callable[[str], None], found: tuple[Obstacle, ...]) -> None:
    for obstacle in found:
        say(f"    in the way: {obstacle.what}")
        say(f"      whose move: {obstacle.whose}. {obstacle.do}")


def _told(say: Callable[[str], None], chain: Chain) -> None:
    if chain.answers:
        say("  told")
    for owed in chain.answers:
        remote = f" ({owed.remote_id})" if owed.remote_id else ""
        say(f"    {owed.answer.kind.value}: {owed.state.value}{remote}, key {owed.answer.key}")
        if owed.answer.kind.value in ("note", "question"):
            for row in owed.answer.text.splitlines():
                say(f"      | {row}")
    say("")
