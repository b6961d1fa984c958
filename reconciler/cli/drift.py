"""`reconciler drift`: access that is not as it was granted, and the word of the person who decides about it.

Both work beside a running cycle. A word is for what was seen: the next cycle looks again, and follows it only if it
finds the same.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.main import options
from reconciler.cli.signing import author_of, signature_option

if TYPE_CHECKING:
    from sqlmodel import Session

    from reconciler.question import Word
    from reconciler.store.questions import Asked

_OUTPUT = click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)


@click.group()
def drift() -> None:
    """Access that was lost, or that outlived its period, and what is to be done about it."""


@drift.command("list")
@_OUTPUT
@click.pass_context
def list_(ctx: click.Context, output: str) -> int:
    """What waits for a person's word, and what was said and is not carried out yet."""
    from reconciler.cli.table import console, plain_text
    from reconciler.store import questions
    from reconciler.store.questions import State
    from reconciler.wiring import open_store

    given = options(ctx)
    with open_store(given.settings) as database, database.read() as session:
        found = questions.load(session, given.tenant_name, State.ASKED, State.DECIDED).values()
    if output == "json":
        rows = [_as_json(asked) for asked in found]
        click.echo(json.dumps({"tenant": given.tenant_name, "questions": rows}, ensure_ascii=False, indent=2))
        return 0
    out = console()
    for asked in found:
        about = asked.question.about
        said = f", {asked.decided.by} said {asked.decided.word}" if asked.decided is not None else ""
        what = f"{asked.line}  {about.get('matter')}, {about.get('product')} ({asked.question.digest[:16]}){said}"
        out.print(plain_text(what), soft_wrap=True)
        for word, leads_to in sorted(asked.question.choices.items()):
            out.print(plain_text(f"    --{word}: {leads_to}"), soft_wrap=True)
    count = len(found)
    out.print(f"{count} {'line waits' if count == 1 else 'lines wait'}; `reconciler drift decide TICKET` answers.")
    return 0


@drift.command()
@click.argument("line", metavar="TICKET[/LINE]")
@click.option("--adopt", "word", flag_value="adopt", help="Accept what is there; the entitlement follows it.")
@click.option("--revert", "word", flag_value="revert", help="Make it again as it was granted.")
@click.option("--leave", "word", flag_value="leave", help="Do nothing, and ask nobody again while it stays so.")
@click.option("--by", metavar="NAME", help="Who decided; the account at this terminal where it is left out.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is kept in the audit log.")
@click.option("--digest", default="", metavar="HEX", help="Only if the question is still this one (or begins so).")
@signature_option
@_OUTPUT
@click.pass_context
def decide(
    ctx: click.Context,
    line: str,
    word: str | None,
    by: str | None,
    reason: str,
    digest: str,
    signature: Path | None,
    output: str,
) -> int:
    """Answer what `drift list` shows about a line.

    What follows passes the same rules, approvals, scope and guards as everything else. An expired licence that was not
    given by us is taken back only after it was adopted here.
    """
    from desired_state.text import one_line
    from reconciler.cli.operator import operator
    from reconciler.errors import UserError
    from reconciler.loosening import note, to_decide
    from reconciler.question import Word
    from reconciler.store import questions
    from reconciler.wiring import open_app

    if word is None:
        raise UserError("say one of --adopt, --revert and --leave")
    why = one_line(reason, questions.REASON_MAX)
    if not why:
        raise UserError("--reason TEXT says why, and --by NAME who decided")
    given, said = options(ctx), Word(word)
    with open_app(given.settings, given.tenant_name) as app:
        with app.database.read() as session:
            asked = _open(session, app.name, line, digest, said)
        payload = to_decide(app, asked, said, reason=why)
        who = author_of(app, payload, signature, by, default=operator())
        if who is None:
            return 0
        with app.database.write() as session:
            asked, at = _open(session, app.name, line, digest, said), app.clock.now()
            is_same = to_decide(app, asked, said, reason=why) == payload
            if not is_same or not questions.decide(
                session, app.name, asked, said, by=who.name, reason=why, operator=operator(), at=at
            ):
                raise UserError(f"{asked.line} is not asked about any more; see `reconciler drift list`", exit_code=1)
            note(session, app, who, "drift", said.value)
            (now,) = [
                a for k, a in questions.load(session, app.name, tickets=[asked.line.ticket]).items() if k == asked.line
            ]
    if output == "json":
        click.echo(json.dumps(_as_json(now), ensure_ascii=False, indent=2))
        return 0
    click.echo(
        f"{asked.line}: {who.name} decided to {said}. If the next cycle finds the same: {asked.question.choices[said]}."
    )
    return 0


def _open(session: Session, tenant: str, line: str, digest: str, said: Word) -> Asked:
    """The question about this line, if this is an answer to it."""
    from reconciler.errors import UserError
    from reconciler.store import questions

    asked = _of(questions.load(session, tenant, questions.State.ASKED, questions.State.DECIDED), line, digest)
    if said not in asked.question.choices:
        possible = " and ".join(f"--{w}" for w in sorted(asked.question.choices))
        raise UserError(
            f"--{said} is no answer for {asked.line}, only {possible}: see `reconciler drift list`", exit_code=1
        )
    return asked


def _of(found: dict[Any, Asked], line: str, digest: str) -> Asked:
    from desired_state.text import one_line
    from reconciler.errors import UserError

    named = line.strip().upper()
    mine = [asked for key, asked in found.items() if named in (str(key), key.ticket)]
    if not mine:
        raise UserError(f"nothing is asked about {one_line(named, 60)}; see `reconciler drift list`", exit_code=1)
    if len(mine) > 1:
        lines = " and ".join(str(asked.line) for asked in mine)
        raise UserError(f"{one_line(named, 60)} has several: name one of {lines}")
    if digest and not mine[0].question.digest.startswith(digest.strip().lower()):
        raise UserError(f"{mine[0].line} is now about {mine[0].question.digest[:16]}, not about {digest}", exit_code=1)
    return mine[0]


def _as_json(asked: Asked) -> dict[str, Any]:
    said = asked.decided
    return {
        "line": str(asked.line),
        "state": asked.state.value,
        "asked_at": asked.asked_at.isoformat(),
        "about": dict(asked.question.about),
        "choices": {word.value: leads_to for word, leads_to in sorted(asked.question.choices.items())},
        "digest": asked.question.digest,
        "decision": {"word": said.word.value, "by": said.by, "reason": asked.reason, "at": said.at.isoformat()}
        if said is not None
        else None,
    }
