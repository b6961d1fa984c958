"""Keys of this installation: read from the configured file, or made once in the state folder, for this account only."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from reconciler.audit.checkpoints import ORIGIN
from reconciler.audit.notes import Signer, Verifier
from reconciler.audit.veil import Veil
from reconciler.config import Settings
from reconciler.errors import UserError


def signer(settings: Settings, tenant: str) -> Signer:
    """The key that signs the log of a tenant; made when there is none and the configuration names none.

    Raises:
        UserError: the file cannot be read or made, or holds no Ed25519 key. Its contents are not shown.
    """
    return Signer(ORIGIN + tenant, _private(settings))


def known_verifier(settings: Settings, tenant: str) -> Verifier | None:
    """The public half of that key; None when no key was made yet. Raises UserError."""
    if settings.audit.key_file is None and not _made(settings, "audit-key.pem").exists():
        return None
    return signer(settings, tenant).verifier


def persons_veil(settings: Settings) -> Veil:
    """What puts persons behind signs. Raises UserError."""
    path = settings.audit.persons_key_file or _made(settings, "audit-persons.key")
    key = _read(
        path, "audit.persons_key_file", None if settings.audit.persons_key_file else lambda: secrets.token_bytes(32)
    )
    if len(key) != 32:
        raise UserError(f"audit.persons_key_file: {path} has to hold 32 random bytes, it holds {len(key)}")
    return Veil(key, secrets.token_bytes)


def _private(settings: Settings) -> Ed25519PrivateKey:
    path = settings.audit.key_file or _made(settings, "audit-key.pem")
    data = _read(path, "audit.key_file", None if settings.audit.key_file else _new_pem)
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise UserError(f"audit.key_file: {path} holds no Ed25519 key in PEM without a passphrase")
    return key


def _new_pem() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _made(settings: Settings, name: str) -> Path:
    return settings.state_dir / name


def _read(path: Path, what: str, make: Callable[[], bytes] | None) -> bytes:
    try:
        if make is not None and not path.exists():
            _make(path, make())
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{what}: the file {path} cannot be read or made: {error.strerror}", exit_code=1) from None


def _make(path: Path, data: bytes) -> None:
    """Write a new file in one step, mode 0600; whoever comes second uses what the first has made."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(new)
        except FileExistsError:
            return
    finally:
        new.unlink()
