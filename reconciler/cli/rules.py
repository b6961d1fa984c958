"""`reconciler rules`: example requests against the rules, and what rules approved that somebody should look at."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.main import options

if TYPE_CHECKING:
    from desired_state.catalogue import Catalogue
    from desired_state.rules import Rules
    from desired_state.rules.examples import Examples, Tried
    from reconciler.store.rulings import AutoApproval

_OUTPUT = click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
_MARKS = {"hit": "hit", "missed": "missed", "not_applicable": "not about it", "cannot_tell": "cannot tell"}


@click.group()
def rules() -> None:
    """Try the rules on example requests; look through what they approved by themselves."""


@rules.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_OUTPUT
@click.pass_context
def test(ctx: click.Context, file: Path, output: str) -> int:
    """Judge the example requests of FILE (TOML) by the tenant's rules. Nothing is contacted.

    Exit code 0: all are as expected; 1: some are not; 2: the file cannot be read, or names what does not exist.
    """
    from desired_state.rules.examples import try_out

    given = options(ctx)
    name = given.tenant_name
    tenant_rules, catalogue = given.settings.rules_for(name), given.settings.catalogue()
    text = _read(file)
    found = _parsed(file, text, tenant_rules, catalogue)
    tried = try_out(found, tenant_rules, catalogue)
    failed = sum(1 for t in tried if t.wrong)
    if output == "json":
        told = {
            "tenant": name,
            "file": str(file),
            "rules_hash": tenant_rules.hash(),
            "passed": len(tried) - failed,
            "failed": failed,
            "examples": [_as_json(t) for t in tried],
        }
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        _show(tried, failed)
    return 1 if failed else 0


def _read(file: Path) -> str:
    from reconciler.errors import UserError

    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{file} is not UTF-8 text") from None


def _parsed(file: Path, text: str, tenant_rules: Rules, catalogue: Catalogue) -> Examples:
    import tomllib

    from pydantic import ValidationError

    from desired_state.rules.examples import Examples, faults
    from reconciler.config.lines import line_of
    from reconciler.config.sentences import place, sentence
    from reconciler.errors import UserError

    try:
        data = tomllib.loads(text)
        found = Examples.model_validate(data)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{file}: this is not TOML: {error}") from None
    except ValidationError as error:
        raise UserError(sentence(error, file=str(file), text=text, data=data, origins={}, root=Examples)) from None
    for where, fault in faults(found, tenant_rules, catalogue):
        raise UserError(f"{place(str(file), line_of(text, where))}: {fault}")
    return found


def _as_json(tried: Tried) -> dict[str, Any]:
    from reconciler.loop.judging import hit_as_json

    ruling = tried.ruling
    return {
        "name": tried.example.name,
        "result": "FAIL" if tried.wrong else "PASS",
        "wrong": list(tried.wrong),
        "expected": tried.example.expect,
        "says": ruling.says,
        "sentence": ruling.sentence,
        "stages": [stage.stage for stage in ruling.stages],
        "approved_by": ruling.approved_by or None,
        "rules": [hit_as_json(hit) for hit in ruling.hits],
    }


def _show(tried: tuple[Tried, ...], failed: int) -> None:
    from reconciler.cli.table import console, plain_text

    out = console()
    for t in tried:
        style = "bold red" if t.wrong else "green"
        out.print(plain_text(f"{'FAIL' if t.wrong else 'PASS'} {t.example.name}: {t.ruling.says}", style=style))
        for wrong in t.wrong:
            out.print(plain_text(f"      {wrong}"), soft_wrap=True)
        if t.ruling.sentence:
            out.print(plain_text(f"      {t.ruling.sentence}"), soft_wrap=True)
        for hit in t.ruling.hits:
            inputs = ", ".join(f"{k} {_value(v)}" for k, v in hit.inputs.items())
            row = f"      {_MARKS[hit.outcome]}: {hit.rule} ({hit.effect.replace('_', ' ')})"
            out.print(plain_text(f"{row}, {inputs}" if inputs else row), soft_wrap=True)
    out.print(f"{len(tried) - failed} of {len(tried)} examples are as expected.")


def _value(value: str | int | bool | None) -> str:
    if value is None:
        return "not known"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value) or "nothing"


@rules.command()
@_OUTPUT
@click.pass_context
def sample(ctx: click.Context, output: str) -> int:
    """What rules approved by themselves and a person should look at, oldest first."""
    from reconciler.cli.table import console, plain_text
    from reconciler.store import rulings
    from reconciler.wiring import open_store

    given = options(ctx)
    with open_store(given.settings) as database, database.read() as session:
        found = rulings.sample(session, given.tenant_name)
    if output == "json":
        rows = [_sampled(a) for a in found]
        click.echo(json.dumps({"tenant": given.tenant_name, "sample": rows}, ensure_ascii=False, indent=2))
        return 0
    out = console()
    for a in found:
        out.print(
            plain_text(f"{a.line}  {a.at:%Y-%m-%d %H:%M} UTC, rule {a.rule}, {a.cost:.2f} a month, {a.digest[:16]}…"),
            soft_wrap=True,
        )
    what = "request waits" if len(found) == 1 else "requests wait"
    out.print(f"{len(found)} {what} for a look. `reconciler rules reviewed LINE --by NAME --note TEXT` settles one.")
    return 0


def _sampled(approval: AutoApproval) -> dict[str, Any]:
    return {
        "line": str(approval.line),
        "rule": approval.rule,
        "digest": approval.digest,
        "cost_monthly": str(approval.cost),
        "at": approval.at.isoformat(),
    }


@rules.command()
@click.argument("line", metavar="LINE")
@click.option("--by", required=True, metavar="NAME", help="Who looked.")
@click.option("--note", required=True, metavar="TEXT", help="What they found.")
@click.pass_context
def reviewed(ctx: click.Context, line: str, by: str, note: str) -> int:
    """Note that somebody looked at what a rule approved. LINE is a ticket, or a ticket and its line: RITM0010001/2."""
    from desired_state.model import LineKey
    from desired_state.text import one_line
    from reconciler.errors import UserError
    from reconciler.store import journal, rulings
    from reconciler.wiring import open_app

    given = options(ctx)
    named = re.fullmatch(r"([A-Z0-9]{1,40})(?:/([0-9]{1,6}))?", line.strip().upper())
    if named is None:
        raise UserError(f"'{one_line(line, 60)}' is no line; write a ticket, or a ticket and its line: RITM0010001/2")
    key = LineKey(named[1], int(named[2] or 1))
    who, what = one_line(by, 120), one_line(note, 500)
    if not who or not what:
        raise UserError("--by and --note must not be empty")
    with open_app(given.settings, given.tenant_name) as app, app.database.write() as session:
        at = app.clock.now()
        count = rulings.review(session, app.name, key, by=who, note=what, at=at)
        if count:
            body = {"by": who, "note": what}
            journal.append(session, app.name, kind="auto_approval_reviewed", subject=str(key), body=body, at=at)
    if not count:
        raise UserError(f"no rule approved {key}, or it was looked at already", exit_code=1)
    click.echo(f"{key}: noted.")
    return 0
