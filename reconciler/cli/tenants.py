"""`reconciler tenants`: which tenants there are, whether each can be served and is its own, and a new one."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from desired_state.text import one_line
from reconciler.cli.main import Options, options
from reconciler.errors import RemoteError, UserError

if TYPE_CHECKING:
    from reconciler.config import Settings

SECTION = """
[tenants.{name}]
mode = "observe"                 # reads, and says what it would do; `reconciler promotion` says when to go on
answers = "silent"

[tenants.{name}.graph]
tenant_id = "{directory}"
client_id = "{client}"
{proof} = {proof_file}

[tenants.{name}.servicenow]
instance = "{instance}"
client_id = "{oauth_client}"
client_secret_file = {secret_file}

[tenants.{name}.keys]
audit_file = "keys/{name}-audit.pem"                # signs the log
persons_file = "keys/{name}-persons"                # used where audit.persons = "pseudonym"

[tenants.{name}.guards]
allow_users = []                 # nobody is in scope until somebody is named here, or in allow_groups
"""


@click.group()
def tenants() -> None:
    """The tenants of this configuration."""


@tenants.command(name="list")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def listing(ctx: click.Context, output: str) -> int:
    """What each may do, and how far it is, from the store alone."""
    from reconciler.cli.table import console, plain_text

    rows = _rows(options(ctx).settings)
    if output == "json":
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return 0
    out = console()
    for row in rows:
        last = row["last_cycle"] or {}
        ended = "no cycle yet" if not last else f"last cycle {last['finished_at'] or 'not finished'}"
        next_ = f"held by {row['held_by']}" if row["held_by"] else f"next look {row['next_look_at'] or 'not planned'}"
        told = f"{row['tenant']:<20} {row['mode']}, answers {row['answers']}; {ended}; {next_}"
        style = "yellow" if row["is_troubled"] or last.get("error") else ""
        out.print(plain_text(told, style=style), soft_wrap=True)
        out.print(plain_text(f"{'':<20} directory {row['directory']}, tickets {row['servicenow']}"), soft_wrap=True)
        if last.get("error"):
            out.print(plain_text(f"{'':<20} it ended with: {last['error']}"), soft_wrap=True)
    return 0


def _rows(settings: Settings) -> list[dict[str, Any]]:
    from reconciler.store import heartbeat, leases, looks
    from reconciler.wiring import open_store

    found = []
    with open_store(settings) as database, database.read() as session:
        for name, tenant in sorted(settings.tenants.items()):
            last, holder = heartbeat.last(session, name), leases.holder(session, name)
            look = looks.next_of(session, name)
            found.append(
                {
                    "tenant": name,
                    "mode": tenant.mode,
                    "answers": tenant.answers,
                    "directory": "sandbox" if tenant.sandbox else str(tenant.graph.tenant_id),
                    "servicenow": "sandbox" if tenant.sandbox else str(tenant.servicenow.instance),
                    "last_cycle": None
                    if last is None
                    else {
                        "cycle": last.cycle,
                        "started_at": last.started_at.isoformat(),
                        "finished_at": last.finished_at.isoformat() if last.finished_at is not None else None,
                        "error": last.error,
                    },
                    "held_by": holder.by if holder is not None else "",
                    "next_look_at": look.at.isoformat() if look is not None else None,
                    "next_look_for": look.duty if look is not None else "",
                    "is_troubled": look is not None and look.is_troubled,
                }
            )
    return found


@tenants.command()
@click.argument("names", nargs=-1)
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def check(ctx: click.Context, names: tuple[str, ...], output: str) -> int:
    """Check the tenants NAMES, or all: that each can be served (as `doctor` does), and what they share. Reads only.

    Exit code 1 when something of any of them is at fault. One that cannot be reached does not keep others from being
    checked.
    """
    from reconciler.cli.table import console, plain_text
    from reconciler.config.sharing import shared
    from reconciler.wiring import pick_tenant

    given = options(ctx)
    chosen = [pick_tenant(given.settings, name) for name in names] or sorted(given.settings.tenants)
    rows = [_checked(given, name) for name in chosen]
    common = [(sorted(who), what) for who, what in shared(given.settings) if who & set(chosen)]
    is_faulty = any(row["faults"] for row in rows)
    if output == "json":
        told = {
            "ok": not is_faulty,
            "tenants": rows,
            "shared": [{"tenants": who, "what": what} for who, what in common],
        }
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
        return 1 if is_faulty else 0
    out = console()
    for row in rows:
        health = "fault" if row["faults"] else "warning" if row["warnings"] else "ok"
        style = {"fault": "red", "warning": "yellow", "ok": "green"}[health]
        out.print(plain_text(f"{health:<8}{row['tenant']}: {row['checks']} checks", style=style), soft_wrap=True)
        for sentence in (*row["faults"], *row["warnings"]):
            out.print(plain_text(f"          {sentence}"), soft_wrap=True)
    for who, what in common:
        out.print(plain_text(f"shared  {', '.join(who)} share {what}", style="yellow"), soft_wrap=True)
    return 1 if is_faulty else 0


def _checked(given: Options, name: str) -> dict[str, Any]:
    from reconciler.clients.wire import Patience
    from reconciler.doctor import Finding, Health, examine
    from reconciler.wiring import open_app

    found: list[Finding] = []
    faults: list[str] = []
    try:
        with open_app(given.settings, name, patience=Patience(attempts=1)) as app:
            found.extend(examine(app))
    except (UserError, RemoteError) as error:  # what no check foresees: the other tenants are checked all the same
        faults.append(str(error))
    said = {
        health: [f"{f.area} {f.name}: {f.sentence}" for f in found if f.health is health]
        for health in (Health.FAULT, Health.WARNING)
    }
    return {
        "tenant": name,
        "checks": len(found),
        "faults": [*faults, *said[Health.FAULT]],
        "warnings": said[Health.WARNING],
    }


@tenants.command()
@click.argument("name")
@click.option("--directory", required=True, help="Id of the Entra tenant.")
@click.option("--client", required=True, help="Client id of our application there.")
@click.option("--certificate-file", type=click.Path(path_type=Path), help="Its certificate with private key, PEM.")
@click.option("--client-secret-file", type=click.Path(path_type=Path), help="Or its secret.")
@click.option("--instance", required=True, help="https://NAME.service-now.com")
@click.option("--oauth-client", required=True, help="Client id of our OAuth application there.")
@click.option("--servicenow-secret-file", required=True, type=click.Path(path_type=Path), help="Its secret.")
@click.pass_context
def add(
    ctx: click.Context,
    name: str,
    directory: str,
    client: str,
    certificate_file: Path | None,
    client_secret_file: Path | None,
    instance: str,
    oauth_client: str,
    servicenow_secret_file: Path,
) -> int:
    """Write a new tenant into the configuration file: it observes, says nothing, and nobody is in its scope.

    Keys of its own are made in the folder keys/ beside the file. Everything that stands in the file stays; the new text
    is read as a configuration before it takes the place of the old one.
    """
    settings = options(ctx).settings
    path = Path(settings.source)
    if not path.is_file():
        raise UserError(f"{settings.source} is no file that could be written; name one with --config")
    if name in settings.tenants:
        raise UserError(f"{settings.source} has a tenant '{name}' already; change it there, or choose another name")
    proof_file = certificate_file or client_secret_file
    if proof_file is None or (certificate_file is not None and client_secret_file is not None):
        raise UserError("say how we sign in: with --certificate-file or with --client-secret-file")
    given = {
        "name": name,
        "directory": directory,
        "client": client,
        "proof": "certificate_file" if certificate_file is not None else "client_secret_file",
        "proof_file": _quoted(proof_file.absolute()),
        "instance": instance,
        "oauth_client": oauth_client,
        "secret_file": _quoted(servicenow_secret_file.absolute()),
    }
    _write(path, SECTION.format(**given), name)
    click.echo(f"{settings.source} has the tenant {name} now: it observes, and nobody is in its scope.")
    click.echo(f"Next: reconciler tenants check {name}")
    return 0


def _quoted(path: Path) -> str:
    return json.dumps(str(path), ensure_ascii=False)  # a basic string of TOML is written like one of JSON


def _write(path: Path, section: str, name: str) -> None:
    """Put the section at the end of the file and make its keys, in one step or not at all. Raises UserError."""
    from reconciler.config import load
    from reconciler.wiring.keys import new_keys

    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise UserError(f"a tenant's name has letters, digits, - and _ only; '{one_line(name, 60)}' has others")
    new = path.with_name(f".{path.name}.{os.getpid()}")
    with new_keys(path.parent / "keys", name) as keep:
        try:
            new.write_text(path.read_text("utf-8").rstrip("\n") + "\n" + section, "utf-8")
            new.chmod(path.stat().st_mode & 0o777)
            try:
                load(new, os.environ)
            except UserError as error:
                raise UserError(f"nothing was written: {str(error).replace(str(new), str(path))}") from None
            new.replace(path)
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}", exit_code=1) from None
        finally:
            new.unlink(missing_ok=True)
        keep()
