"""`reconciler promotion`: how far each product goes, what people made of it so far, and which step that carries."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from desired_state.model import ProductKey
from reconciler.cli.main import options

if TYPE_CHECKING:
    from rich.console import Console

    from reconciler.ladder import Ladder
    from reconciler.promotion.advice import Advice

_OUTPUT = click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
_AXES = {"mode": "directory", "answers": "tickets"}


@click.group(invoke_without_command=True)
@_OUTPUT
@click.pass_context
def promotion(ctx: click.Context, output: str) -> int | None:
    """From observe to enforce with evidence: what would have been done against what people did, by product.

    Nothing is changed, and neither is the configuration: it says the lines that make the next step.
    """
    if ctx.invoked_subcommand is not None:
        return None
    from reconciler.cli.table import console, plain_text
    from reconciler.ladder import as_json
    from reconciler.wiring import governed, open_app
    from reconciler.wiring.promoting import ladder_of

    given = options(ctx)
    with open_app(given.settings, given.tenant_name) as opened:
        app = governed(opened)
        found, catalogue = ladder_of(app), app.catalogue
    if output == "json":
        click.echo(json.dumps(as_json(found, catalogue), ensure_ascii=False, indent=2))
        return 0
    out = console()
    out.print(plain_text(f"Tenant {found.tenant}, judged since {found.at - found.watching.window:%Y-%m-%d}"))
    for product in sorted(found.positions):
        out.print(plain_text(product, style="bold"))
        for advice in found.of(product):
            _show(out, advice)
    ready = sorted({a.product for a in found.advice if a.is_ready})
    back = sorted({a.product for a in found.advice if a.back})
    if back:
        out.print(plain_text(f"A step back is advised for {', '.join(back)}.", style="yellow"), soft_wrap=True)
    said = f"A step is carried for {', '.join(ready)}" if ready else "No step is carried by the evidence yet"
    out.print(plain_text(f"{said}; `reconciler promotion show PRODUCT` says every line."), soft_wrap=True)
    return 0


def _show(out: Console, advice: Advice) -> None:
    from reconciler.cli.table import plain_text

    axis, now = _AXES[advice.axis.value], advice.now.on(advice.axis)
    out.print(plain_text(f"  {axis}: {now}; {advice.agreement.sentence()}"), soft_wrap=True)
    if advice.back:
        out.print(plain_text(f"      a step back is advised: {advice.back}", style="yellow"), soft_wrap=True)
    elif advice.next is not None:
        to = advice.next.on(advice.axis)
        said = f"not yet {to}; missing: {' and '.join(advice.missing)}" if advice.missing else f"ready for {to}"
        out.print(plain_text(f"      {said}", style="green" if advice.is_ready else ""), soft_wrap=True)


@promotion.command()
@click.argument("product")
@_OUTPUT
@click.pass_context
def show(ctx: click.Context, product: str, output: str) -> int:
    """One product: every line that people decided otherwise, and the lines of config.toml that make the next step."""
    from reconciler.cli.table import console, plain_text
    from reconciler.errors import UserError
    from reconciler.ladder import product_json
    from reconciler.promotion.words import line_json, told
    from reconciler.wiring import governed, open_app
    from reconciler.wiring.promoting import ladder_of

    given = options(ctx)
    with open_app(given.settings, given.tenant_name) as opened:
        app = governed(opened)
        found, catalogue = ladder_of(app), app.catalogue
    if product not in found.positions:
        known = ", ".join(sorted(found.positions)) or "none"
        raise UserError(f"this tenant offers no product '{product}'; it offers {known}")
    if output == "json":
        every = [line_json(s) for s in found.lines_of(product)]
        click.echo(json.dumps(product_json(found, product, catalogue) | {"lines": every}, ensure_ascii=False, indent=2))
        return 0
    out = console()
    out.print(plain_text(f"{product}: {catalogue.products[ProductKey(product)].name}", style="bold"))
    for advice in found.of(product):
        _show(out, advice)
        _show_config(out, found, advice)
    for shadow in found.lines_of(product):
        style = "yellow" if shadow.outcome.value == "differed" else ""
        words = f"  {shadow.line}, {_AXES[shadow.axis.value]}: {shadow.outcome.value.replace('_', ' ')}; {told(shadow)}"
        out.print(plain_text(words, style=style), soft_wrap=True)
    return 0


def _show_config(out: Console, found: Ladder, advice: Advice) -> None:
    from reconciler.cli.table import plain_text

    if advice.next is None or advice.back:
        return
    to = advice.next.on(advice.axis)
    out.print(plain_text(f"      in config.toml, for {to} (a key that is there already is replaced):"), soft_wrap=True)
    for line in found.config(advice):
        out.print(plain_text(f"          {line}"), soft_wrap=True)
