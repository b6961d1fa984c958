"""`reconciler status`: where everything stands, from the store alone, and with --full from every account too."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.main import options
from reconciler.suggested import FATES, measured

if TYPE_CHECKING:
    from rich.console import Console
    from sqlmodel import Session

GUESSES_OVER = timedelta(days=90)


@click.command()
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--full", is_flag=True, help="Read every account too: licences without a ticket, or held twice.")
@click.pass_context
def status(ctx: click.Context, output: str, full: bool) -> int:
    """Lines by phase with their oldest age, what is owed, the last cycle. Nothing remote is asked without --full."""
    from reconciler.cli.progress import progress
    from reconciler.cli.table import console, plain_text, usage_line
    from reconciler.wiring import open_app

    given = options(ctx)
    with open_app(given.settings, given.tenant_name) as app:
        found = _status(app)
        if full:
            with progress() as tell:
                tell("reading every account")
                found["unticketed"] = _unticketed(app)
    if output == "json":
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return 0
    out = console()
    out.print(f"Tenant {found['tenant']}, mode {found['mode']}, answers {found['answers']}")
    if full:
        _show_unticketed(out, found["unticketed"])
    for loud in (found["configuration"]["why"], *found["reviews_owed"]):
        if loud:
            out.print(plain_text(f"Attention: {loud}", style="bold yellow"), soft_wrap=True)
    cycle = found["last_cycle"]
    if cycle is None:
        out.print("No cycle has run yet: `reconciler reconcile`.")
        return 0
    ended = cycle["finished_at"] or "not finished"
    out.print(f"Last cycle {cycle['cycle']} (number {cycle['number']}): started {cycle['started_at']}, ended {ended}")
    if cycle["error"]:
        out.print(f"  it ended with: {cycle['error']}")
    if found["running"]:
        out.print(f"  a cycle is running: {found['running']['by']} since {found['running']['since']}")
    out.print("Lines by phase (oldest in it)")
    for row in found["phases"]:
        out.print(f"  {row['phase']:<18} {row['lines']:>5}   {row['oldest_h']} h")
    out.print("Seats: SKU, owned, consumed, in grace, free, waiting")
    for seat in found["seats"]:
        counts = f"{seat['owned']:>6} {seat['consumed']:>6} {seat['grace']:>6} {seat['free']:>6} {seat['waiting']:>6}"
        out.print(f"  {seat['name'][:40]:<40} {counts}")
        for place in seat["queue"]:
            likely = f", likely on {place['likely_on']}" if place["likely_on"] else ", nothing known"
            out.print(f"    {place['place']}. {place['line']} since {place['since'][:10]}{likely}")
        for idle in seat["idle"]:
            where = idle["cost_center"] or idle["department"] or "cost centre not known"
            out.print(f"    idle: {idle['user']} ({idle['why']}, {where}), for a person to decide")
    out.print("Used in the last 24 hours, of what one day may change")
    for lane, budget in found["budgets"].items():
        out.print(f"  {lane:<24} {budget['used']:>5} of {budget['per_day']}")
    for budget in (found["cost_budget"], *found["product_budgets"]):
        out.print(f"  {usage_line(budget)}")
    out.print("Causes")
    for cause, count in found["causes"].items():
        out.print(f"  {cause:<24} {count:>5}")
    out.print("Another product was granted than asked for, of tickets closed as fulfilled in the last 90 days")
    for row in found["guessed"]:
        if row["guessed"]:
            out.print(f"  {row['product']:<24} {row['guessed']:>5} of {row['of']}")
    for row in found["proposals"]:
        share = f", people took {row['taken_percent']} %" if row["taken_percent"] is not None else ""
        fates = ", ".join(f"{row[word]} {word}" for word in FATES if row[word])
        out.print(plain_text(f"Proposals of AI agent {row['agent']}: {row['suggested']}{share} ({fates})"))
    sample = found["samples_owed"]
    if sample["count"]:
        out.print(
            f"Approved by rules, for a person to look at: {sample['count']}, the oldest of {sample['since'][:10]}"
        )
    out.print(f"Answers not given yet: {found['answers_owed']}")
    for row in found["answers_given_up"]:
        sentence = f"  given up: the {row['kind']} of {row['ticket']}, to be looked at by a person: {row['why']}"
        out.print(plain_text(sentence), soft_wrap=True)
    told = found["notices"]
    if told["queued"] or told["dead"]:
        out.print(f"Notices not told yet: {told['queued']}, given up: {told['dead']} (`reconciler notify list`)")
    for stop in found["stops"]:
        out.print(plain_text(f"Stopped: {stop}"), soft_wrap=True)
    _show_guards(out, found["guards"])
    signed = found["audit"]["signed"]
    by_then = f", signed up to row {signed['size']} at {signed['at']}" if signed else ", nothing signed yet"
    out.print(f"Audit log: {found['audit']['size']} rows, head {found['audit']['head'][:16]}{by_then}")
    for place in found["audit"]["sinks"]:
        if place["failing_since"]:
            owed = f", {place['behind']} rows owed" if place["behind"] is not None else ""
            out.print(f"  ALARM since {place['failing_since']}{owed}: {place['error']}")
        else:
            out.print(f"  {place['sink']}: {place['behind'] or 0} rows owed")
    return 0


def _show_guards(out: Console, found: Mapping[str, Any]) -> None:
    """Plans that guards stopped and that nobody has let through, and the ends of the week."""
    from reconciler.cli.table import plain_text

    for plan in found["plans"]:
        if plan["release"] is None:
            out.print(
                plain_text(f"Guard {plan['guard']} stopped {plan['digest'][:16]}: {plan['sentence']}"), soft_wrap=True
            )
    for system, breaker in found["breakers"].items():
        out.print(plain_text(f"Nothing is sent to {system} until {breaker['until']}: {breaker['why']}"), soft_wrap=True)
    for day in found["ahead"]:
        out.print(f"Ends on {day['day']}: {len(day['ends'])}, of {day['users']} people")


def _show_unticketed(out: Console, found: Mapping[str, Any]) -> None:
    """Counts and cost; people are named in JSON only."""
    out.print(f"Licences without a ticket: {found['licences']} ({found['users']} accounts read)")
    for row in found["skus"]:
        cost = f"{row['cost_monthly']} a month" if row["cost_monthly"] is not None else "no price configured"
        out.print(f"  {row['sku']:<40} {row['users']:>6}   {cost}")
    if found["cost_monthly"] is not None:
        out.print(f"  together {found['cost_monthly']} a month, {found['without_price']} licences without a price")
    out.print(f"Held directly and by a group as well: {len(found['duplicates'])}")
    if found["unknown"]:
        out.print(f"Accounts that did not show their licences: {found['unknown']}")


def _unticketed(app: Any) -> dict[str, Any]:
    from desired_state import ledger
    from reconciler.loop.unticketed import as_json, promised, unticketed

    with app.database.read() as session:
        standings = ledger.standings(session, app.name)
    skus = app.graph.subscribed_skus()
    behind = promised(standings.values(), app.catalogue, skus)
    found = unticketed(app.graph.scan_users(), behind)
    return as_json(found, {sku.sku: sku.part_number for sku in skus}, app.sku_prices())


def _status(app: Any) -> dict[str, Any]:
    from reconciler.guesses import guesses
    from reconciler.loop.guards.usage import COST
    from reconciler.loop.releasing import overview, overview_json
    from reconciler.overview import seat_books
    from reconciler.proposing import selections, views
    from reconciler.store import breakglass, heartbeat, journal, leases, lines, notices, outbox, rulings, switches
    from reconciler.wiring.governing import standing_of

    now, guarding = app.clock.now(), app.guarding()
    with app.database.read() as session:
        guessed = guesses(*_recorded(session, app.name, now - GUESSES_OVER))
        states = list(lines.load(session, app.name).values())
        usage = guarding.usage(session, now)
        beat = heartbeat.last(session, app.name)
        held = leases.holder(session, app.name)
        head = journal.head(session, app.name)
        owed = len(outbox.unsent(session, app.name))
        given_up = [
            {"ticket": o.answer.ticket, "kind": o.answer.kind.value, "why": o.remote_id}
            for o in outbox.failed(session, app.name)
        ]
        every = views(session, app.name)
        suggested = measured((v.suggestion for v in every), selections(session, app.name) if every else ())
        told = notices.counts(session, app.name)
        stops = [f"{s.name} ({s.scope}): {s.reason}" for s in switches.stops(session, app.name) if s.is_on]
        stops += [
            f"{s.name} ({', '.join(sorted(s.lanes))}): {s.why}"
            for s in guarding.stops(None, now)
            if s.name not in stops
        ]
        watched = overview(session, app.name, now)
        reviews = [use.sentence(now) for use in breakglass.owed(session, app.name)]
        sample = rulings.sample(session, app.name)
    standing = standing_of(app)
    lanes = [s for s in usage if s.what != COST and not s.product]
    phases = Counter(s.phase for s in states)
    oldest = {p: max(int((now - s.since).total_seconds() // 3600) for s in states if s.phase is p) for p in phases}
    return {
        "tenant": app.name,
        "mode": app.tenant.mode,
        "answers": app.tenant.answers,
        "at": now.isoformat(),
        "configuration": {
            "digest": standing.digest,
            "accepted": standing.accepted,
            "is_accepted": standing.is_accepted,
            "why": standing.why() or None,
        },
        "reviews_owed": reviews,
        "samples_owed": {"count": len(sample), "since": sample[0].at.isoformat() if sample else None},
        "lines": len(states),
        "phases": [{"phase": p.value, "lines": n, "oldest_h": oldest[p]} for p, n in sorted(phases.items())],
        "causes": dict(sorted(Counter(s.cause for s in states if s.cause).items())),
        "seats": seat_books(app.database, app.name, app.catalogue, now),
        "budgets": {s.what: {"used": s.used, "per_day": s.per_day} for s in sorted(lanes, key=lambda s: s.what)},
        "cost_budget": next(s.as_json() for s in usage if s.what == COST and not s.product),
        "product_budgets": [s.as_json() for s in usage if s.product],
        "guessed": [{"product": g.product, "guessed": g.guessed, "of": g.of} for g in guessed],
        "proposals": suggested,
        "answers_owed": owed,
        "answers_given_up": given_up,
        "notices": told,
        "stops": stops,
        "guards": overview_json(watched, now),
        "running": {"by": held.by, "since": held.since.isoformat()} if held is not None else None,
        "last_cycle": None
        if beat is None
        else {
            "cycle": beat.cycle,
            "number": beat.number,
            "started_at": beat.started_at.isoformat(),
            "finished_at": beat.finished_at.isoformat() if beat.finished_at else None,
            "converged": beat.is_converged,
            "error": beat.error,
            "counts": dict(beat.counts),
        },
        "next_cycle": None,  # one-shot commands have no timetable; the service fills it in
        "audit": {"size": head.size, "head": head.hash, **_audit(app)},
    }


def _audit(app: Any) -> dict[str, Any]:
    """What is signed, and which second place lacks what since when; only places that are configured count."""
    from reconciler.store import checkpoints, journal, sinks

    with app.database.read() as session:
        signed, known = checkpoints.last(session, app.name), sinks.positions(session, app.name)
        size = journal.head(session, app.name).size
    named = [place.name for place in app.notary.places]
    places = [known.get(name, sinks.Position(name, behind=size)) for name in named]
    return {
        "signed": {"size": signed.size, "at": signed.at.isoformat()} if signed is not None else None,
        "policy": app.settings.audit.sink_policy,
        "sinks": [
            {
                "sink": place.sink,
                "behind": place.behind if not place.sink.startswith("heads:") else None,
                "failing_since": place.failing_since.isoformat() if place.failing_since else None,
                "error": place.error,
            }
            for place in places
        ],
    }


def _recorded(session: Session, tenant: str, since: datetime) -> tuple[list[dict[str, Any]], dict[Any, Any]]:
    """The moves of lines since then, and the product that each line asks for."""
    from desired_state import ledger
    from desired_state.model import LineKey
    from reconciler.store import journal

    moves = []
    for row in journal.rows_since(session, tenant, since, "line_moved"):
        ticket, _, line = row.subject.rpartition("/")
        moves.append({**row.body, "key": LineKey(ticket, int(line))})
    standings = ledger.standings(session, tenant, tickets={m["key"].ticket for m in moves})
    return moves, {key: s.request.product for key, s in standings.items() if s.request is not None}
