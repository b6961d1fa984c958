"""`reconciler catalogue`: the products, whether the tenant's SKUs agree with them, and names for people."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.main import options

if TYPE_CHECKING:
    from desired_state.catalogue import Catalogue
    from desired_state.model import Product
    from reconciler.wiring import App

_OUTPUT = click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)


@click.group()
def catalogue() -> None:
    """List the products, check them against the tenant's SKUs, import Microsoft's list of names."""


@catalogue.command(name="list")
@_OUTPUT
@click.pass_context
def list_(ctx: click.Context, output: str) -> int:
    """What can be asked for: SKUs to assign, plans that prove it, how it is given. Nothing remote is asked."""
    from reconciler.cli.table import console, plain_text
    from reconciler.wiring import open_app

    given = options(ctx)
    with open_app(given.settings, given.tenant_name) as app:
        rows = [_row(product, app.catalogue) for _, product in sorted(app.catalogue.products.items())]
    if output == "json":
        click.echo(json.dumps({"tenant": given.tenant_name, "products": rows}, ensure_ascii=False, indent=2))
        return 0
    out = console()
    for row in rows:
        price = f", {row['price']} a month" if row["price"] is not None else ""
        out.print(plain_text(f"{row['key']}: {row['name']} ({row['path']}, {row['tier']}{price})"))
        out.print(plain_text(f"  SKUs {', '.join(s['part_number'] for s in row['skus'])}"))
        out.print(plain_text(f"  proven by {row['proof_mode']} of {', '.join(p['name'] for p in row['proof_plans'])}"))
    return 0


def _row(product: Product, names: Catalogue) -> dict[str, Any]:
    return {
        "key": product.key,
        "name": product.name,
        "aliases": list(product.aliases),
        "kind": product.kind,
        "path": product.path.value,
        "group": product.group,
        "tier": product.tier.value,
        "price": f"{product.price:.2f}" if product.price is not None else None,
        "skus": [
            {"id": s, "part_number": names.sku_part_number(s), "name": names.sku_name(s)}
            for s in product.candidate_skus
        ],
        "proof_mode": product.proof_mode,
        "proof_plans": [_plan(p, product, names) for p in product.proof_plans],
        "prerequisite_mode": product.prerequisite_mode,
        "prerequisite_plans": [_plan(p, product, names) for p in product.prerequisite_plans],
        "replaces": list(product.replaces),
        "note": product.note,
    }


def _plan(plan: Any, product: Product, names: Catalogue) -> dict[str, Any]:
    code, shown = names.plans.get(plan, (plan, plan))
    return {
        "id": plan,
        "name": code,
        "display_name": shown,
        "retired": plan in product.retired,
        "waived": plan in product.waived_plans,
    }


@catalogue.command()
@_OUTPUT
@click.pass_context
def lint(ctx: click.Context, output: str) -> int:
    """Check the products in use against the tenant's own SKUs. Reads only. Exit code 3 when there are findings."""
    from desired_state.model import ProductKey
    from reconciler.cli.progress import progress
    from reconciler.cli.table import console, plain_text
    from reconciler.lint import lint as check
    from reconciler.wiring import open_app

    given = options(ctx)
    with progress() as say, open_app(given.settings, given.tenant_name) as app:
        say("reading the tenant's SKUs")
        owned = {sku.sku: sku for sku in app.graph.subscribed_skus()}
        used = _used(app)
        listed = [ProductKey(key) for key, overlay in app.settings.products.items() if overlay.skus is not None]
        found = check(app.catalogue, used, owned, listed=listed)
    if output == "json":
        rows = [
            {
                "flaw": f.flaw.value,
                "product": f.product,
                "sku": f.sku,
                "part_number": owned[f.sku].part_number if f.sku in owned else None,
                "sentence": f.sentence,
            }
            for f in found
        ]
        counts = dict(sorted(Counter(f.flaw.value for f in found).items()))
        told = {"tenant": given.tenant_name, "checked": sorted(used), "counts": counts, "findings": rows}
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        out = console()
        for f in found:
            out.print(plain_text(f"{f.product}: {f.flaw.value}. {f.sentence}"), soft_wrap=True)
        flaws = f"{len(found)} finding{'' if len(found) == 1 else 's'}"
        out.print(f"{len(used)} products in use checked against {len(owned)} SKUs: {flaws}.")
    return 3 if found else 0


def _used(app: App) -> frozenset[Any]:
    """Products that the configuration names: overlaid ones, and those that an item leads to."""
    from desired_state.model import ProductKey

    items = app.settings.items_for(app.name)
    keys = {ProductKey(key) for item in items for key in item.product_keys()}
    return frozenset({ProductKey(key) for key in app.settings.products} | keys)


@catalogue.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_OUTPUT
@click.pass_context
def import_(ctx: click.Context, file: Path, output: str) -> int:
    """Take display names from Microsoft's "Product names and service plan identifiers" CSV.

    Only names: SKUs, plans and what proves a product stay as they are. The same file again changes nothing.
    """
    from desired_state.published import BadList, read_published
    from reconciler.errors import UserError
    from reconciler.store import published_names
    from reconciler.wiring import open_app

    try:
        published = read_published(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}", exit_code=1) from None
    except BadList as error:
        hint = 'download "Product names and service plan identifiers for licensing" as CSV from Microsoft and try again'
        raise UserError(f"{file} is not Microsoft's list: {error}; {hint}", exit_code=1) from None
    given = options(ctx)
    with open_app(given.settings, given.tenant_name) as app:
        before = app.catalogue
        with app.database.write() as session:
            changed = published_names.keep(session, published, before.skus, before.plans)
    if output == "json":
        told = {
            "rows": published.rows,
            "repeated": published.repeated,
            "skipped": published.skipped,
            "skus": len(published.skus),
            "plans": len(published.plans),
            "changed": [
                {"kind": c.kind, "id": c.id, "code": c.code, "before": c.before or None, "after": c.after}
                for c in changed
            ],
        }
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
        return 0
    _show(changed, published)
    return 0


NEW_SHOWN = 10  # of the names of SKUs that nothing here had a name for


def _show(changed: Any, published: Any) -> None:
    from reconciler.cli.table import console, plain_text

    out = console()
    new = [c for c in changed if not c.before]
    for c in (*(c for c in changed if c.before), *new[:NEW_SHOWN]):
        was = f"{c.before} → " if c.before else "new: "
        out.print(plain_text(f"{c.kind} {c.code}: {was}{c.after}"), soft_wrap=True)
    if len(new) > NEW_SHOWN:
        out.print(f"… and {len(new) - NEW_SHOWN} more that had no name before; --output json lists them all.")
    out.print(
        f"{published.rows} rows with {len(published.skus)} SKUs and {len(published.plans)} service plans; "
        f"{published.repeated} repeated, {published.skipped} without a usable id. {len(changed)} names changed."
    )
