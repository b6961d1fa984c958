"""What commands that take SSH signatures share: the bytes to sign on standard output, and the files that come back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.errors import UserError

if TYPE_CHECKING:
    from reconciler.loosening import Author
    from reconciler.wiring import App

signature_option = click.option(
    "--signature",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="What ssh-keygen -Y sign wrote, where approvals.break_glass_signers names people.",
)


def author_of(app: App, payload: bytes, signature: Path | None, by: str | None, *, default: str = "") -> Author | None:
    """Who loosens something here; None after the bytes were printed that have to be signed first. Raises UserError."""
    from reconciler.cli.operator import me, operator
    from reconciler.governance.payloads import APPROVAL
    from reconciler.loosening import author, takes_signature

    if takes_signature(app):
        if by:
            raise UserError("--by is for where nobody is named who signs; here the signature says who it is")
        if signature is None:
            how_to_sign(payload, APPROVAL)
            return None
    text = read_signature(signature) if signature is not None else None
    return author(app, payload, text, typed=by or default or me(), operator=operator())


def how_to_sign(payload: bytes, namespace: str) -> None:
    """Print exactly what is signed on standard output, and how on standard error."""
    click.echo(
        "reconciler: these bytes are signed. Put them into a file (… > FILE), then:\n"
        f"reconciler:   ssh-keygen -Y sign -f KEY -n {namespace} FILE\n"
        "reconciler: and give FILE.sig with --signature, with everything else as now",
        err=True,
    )
    click.echo(payload, nl=False)


def read_signature(path: Path) -> str:
    """The text of a signature's file. Raises UserError."""
    from reconciler.signatures import SIGNATURE_MAX

    try:
        with path.open("rb") as file:
            return file.read(SIGNATURE_MAX + 1).decode("ascii")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is no signature of ssh-keygen") from None
