"""Secrets: named in the configuration, read from their files when they are needed, never printed. (I15)

A secret is in a file that the configuration names, or comes from the environment or the secrets folder; it is never
written into config.toml. Reading is late, so a file that is rotated is read anew.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from reconciler.errors import UserError
from reconciler.secrecy import keep

_SECRET_BYTES_MAX = 65_536


def read_secret(inline: SecretStr | None, file: Path | None, *, what: str) -> SecretStr:
    """The secret itself, from the environment when it was set there, else from its file; a last line break is cut.

    Raises:
        UserError: neither is there, or the file cannot be read, is empty or is no text. Its contents are not shown.
    """
    if inline is not None:
        keep(inline.get_secret_value())
        return inline
    if file is None:
        raise UserError(f"{what} is not configured")
    try:
        data = file.read_bytes()[: _SECRET_BYTES_MAX + 1]
        text = data.decode("utf-8").rstrip("\r\n")
    except OSError as error:
        raise UserError(f"{what}: the file {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{what}: the file {file} is not text") from None
    if not text or len(data) > _SECRET_BYTES_MAX:
        raise UserError(f"{what}: the file {file} is {'too long for a secret' if text else 'empty'}")
    keep(text)
    return SecretStr(text)
