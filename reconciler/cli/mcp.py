"""`reconciler mcp`: the server for assistants, over standard input and output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from reconciler.cli.main import options

TOKEN, TOKEN_FILE = "RECONCILER_AGENT_TOKEN", "RECONCILER_AGENT_TOKEN_FILE"


@click.command()
@click.option(
    "--token-file", type=click.Path(path_type=Path, dir_okay=False), help="The agent's token: `reconciler agents add`."
)
@click.pass_context
def mcp(ctx: click.Context, token_file: Path | None) -> int:
    """Serve assistants over stdio (MCP): explain, why not, seats, dry run, and one tool that proposes.

    It decides nothing and changes nothing but to file a proposal, which waits for a person.
    """
    from reconciler.assistant import Assistant, serve
    from reconciler.errors import UserError
    from reconciler.wiring import open_app
    from reconciler.wiring.proposing import counter

    given = options(ctx)
    token = _token(token_file)
    with open_app(given.settings, given.tenant_name) as app:
        assistant = Assistant(
            tenant=app.name,
            mode=app.tenant.mode,
            database=app.database,
            clock=app.clock,
            catalogue=lambda: app.catalogue,
            counter=counter(app),
            rehearse=lambda number: _rehearsed(app, number),
            token=token,
        )
        try:
            server = serve(assistant)
        except ImportError:
            raise UserError(
                "the server for assistants needs the package mcp: install license-reconciler with the extra [mcp]",
                exit_code=1,
            ) from None
        server.run("stdio")
    return 0


def _rehearsed(app: Any, number: str) -> dict[str, Any]:
    """One cycle over a ticket that keeps and sends nothing; what went wrong is in the report, in one sentence."""
    from reconciler.errors import RemoteError, UserError
    from reconciler.loop.observe import Scope
    from reconciler.once import once

    try:
        return once(app, Scope(frozenset({number})), is_dry=True).as_json()
    except (UserError, RemoteError) as error:
        return {"problem": str(error)}


def _token(path: Path | None) -> str:
    """The agent's secret, "" where none is given. Raises UserError for a file that cannot be read."""
    from reconciler.errors import UserError

    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise UserError(f"--token-file: {path} cannot be read as text") from None
