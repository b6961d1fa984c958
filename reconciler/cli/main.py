"""The command `reconciler`. Commands are a few lines over `wiring`; every failure is one sentence, never a traceback.

Exit codes: 0 converged or nothing to do, 1 failed, 2 usage or configuration error, 3 drift is left that needs time or
a person, 4 a guard stopped a lane. Heavy imports happen inside commands, so `--help` is quick.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from reconciler.config import Settings
    from reconciler.errors import RemoteError

COMMANDS = {
    "reconcile": "reconciler.cli.reconcile:reconcile",
    "run": "reconciler.cli.run:run",
    "worker": "reconciler.cli.worker:worker",
    "status": "reconciler.cli.status:status",
    "explain": "reconciler.cli.explain:explain",
    "why-not": "reconciler.cli.explain:why_not",
    "agents": "reconciler.cli.agents:agents",
    "mcp": "reconciler.cli.mcp:mcp",
    "notify": "reconciler.cli.notify:notify",
    "drift": "reconciler.cli.drift:drift",
    "backtest": "reconciler.cli.backtest:backtest",
    "promotion": "reconciler.cli.promotion:promotion",
    "obligations": "reconciler.cli.obligations:obligations",
    "kill-switch": "reconciler.cli.stops:kill_switch",
    "freeze": "reconciler.cli.stops:freeze",
    "guards": "reconciler.cli.guards:guards",
    "approvals": "reconciler.cli.approvals:approvals",
    "approve": "reconciler.cli.approvals:approve",
    "config": "reconciler.cli.config:config",
    "audit": "reconciler.cli.audit:audit",
    "doctor": "reconciler.cli.doctor:doctor",
    "catalogue": "reconciler.cli.catalogue:catalogue",
    "rules": "reconciler.cli.rules:rules",
    "tenants": "reconciler.cli.tenants:tenants",
    "sandbox": "reconciler.cli.sandbox:sandbox",
    "db": "reconciler.cli.db:db",
}


@dataclass
class Options:
    """What comes before the command. The configuration is read when a command first needs it."""

    config: Path | None
    tenant: str | None
    _settings: Settings | None = None

    @property
    def settings(self) -> Settings:
        if self._settings is None:
            from reconciler.config import load

            self._settings = load(self.config, os.environ)
        return self._settings

    @property
    def tenant_name(self) -> str:
        from reconciler.wiring import pick_tenant

        return pick_tenant(self.settings, self.tenant)


class _Lazy(click.Group):
    """A group whose commands are imported when they are called or described."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        where = COMMANDS.get(cmd_name)
        if where is None:
            return None
        module, name = where.split(":")
        command: click.Command = getattr(import_module(module), name)
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="Configuration file.")
@click.option("--tenant", metavar="NAME", help="Which tenant, where the configuration has several.")
@click.version_option(package_name="license-reconciler", prog_name="reconciler")
@click.pass_context
def cli(ctx: click.Context, config: Path | None, tenant: str | None) -> None:
    """Find tickets that say "licence granted" while the user has no access, and repair what is safe."""
    ctx.obj = Options(config, tenant)


class Interrupted(BaseException):
    """SIGTERM: leave as Ctrl-C does, through every `finally`."""


def _on_term(_number: int, _frame: object) -> None:
    raise Interrupted


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    signal.signal(signal.SIGTERM, _on_term)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a letter still gets the report
    sys.exit(run(argv))


def run(argv: list[str] | None = None) -> int:
    """The exit code of one command line; what went wrong is one sentence on standard error."""
    from reconciler.errors import RemoteError, UserError

    try:
        result = cli.main(args=argv, prog_name="reconciler", standalone_mode=False)
    except UserError as error:
        return _say(str(error), error.exit_code)
    except RemoteError as error:
        return _say(f"{error}{_hint(error)}", 1)
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort, Interrupted):
        return _say(
            "interrupted; what was under way is in the audit log, and the next cycle looks before it sends anything", 1
        )
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        return _say(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 1)
    except Exception as error:
        return _defect(error)
    return result if isinstance(result, int) else 0


def _hint(error: RemoteError) -> str:
    """What to check when a system cannot be reached at all."""
    if error.then.value == "stop" or not any(word in str(error) for word in ("Connect", "nothing was sent")):
        return ""
    section = "graph" if "graph" in error.system.lower() or "sign-in" in error.system.lower() else "servicenow"
    key = "the network and the addresses" if section == "graph" else "the network and `instance`"
    return f". Check {key} in [tenants.NAME.{section}]"


def _say(sentence: str, code: int) -> int:
    click.echo(f"reconciler: {sentence}", err=True)
    return code


def _defect(error: Exception) -> int:
    """A defect of ours: one sentence, and the details in a file that a bug report can carry."""
    folder = Path(os.environ.get("RECONCILER_STATE_DIR") or "var")
    path = folder / "defect.txt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        from reconciler.secrecy import PROCESS

        path.write_text(PROCESS.scrub("".join(traceback.format_exception(error))), encoding="utf-8")
        where = f"; details are in {path}"
    except OSError:
        where = ""
    return _say(f"this is a defect of the reconciler ({type(error).__name__}){where}. Please report it", 1)


def options(ctx: click.Context) -> Options:
    """The options before the command, for commands."""
    found: Any = ctx.find_object(Options)
    assert isinstance(found, Options)
    return found
