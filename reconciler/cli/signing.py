"""What commands that take SSH signatures share: the bytes to sign on standard output, and the files that come back."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.errors import UserError


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
