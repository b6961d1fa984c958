"""Keys of this installation: read from the configured file, or made once in the state folder, for this account only."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    return Signer(ORIGIN + tenant, _private(settings, tenant))


def known_verifier(settings: Settings, tenant: str) -> Verifier | None:
    """The public half of that key; None when no key was made yet. Raises UserError."""
    if _signs(settings, tenant)[1] is None and not _made(settings, "audit-key.pem").exists():
        return None
    return signer(settings, tenant).verifier


def persons_veil(settings: Settings, tenant: str) -> Veil:
    """What puts the persons of a tenant behind signs. Raises UserError."""
    what, given = "audit.persons_key_file", settings.audit.persons_key_file
    if tenant in settings.tenants and settings.tenants[tenant].keys.persons_file is not None:
        what, given = f"tenants.{tenant}.keys.persons_file", settings.tenants[tenant].keys.persons_file
    path = given or _made(settings, "audit-persons.key")
    key = _read(path, what, None if given else lambda: secrets.token_bytes(32))
    if len(key) != 32:
        raise UserError(f"{what}: {path} has to hold 32 random bytes, it holds {len(key)}")
    return Veil(key, secrets.token_bytes)


def is_named(settings: Settings, tenant: str) -> tuple[bool, bool]:
    """Whether people named the key of a tenant's log, and that of its persons. Others are made in the state folder."""
    own = settings.tenants[tenant].keys if tenant in settings.tenants else None
    is_persons = settings.audit.persons_key_file is not None or (own is not None and own.persons_file is not None)
    return _signs(settings, tenant)[1] is not None, is_persons


def _signs(settings: Settings, tenant: str) -> tuple[str, Path | None]:
    """The setting that names the key of a tenant's log, and the file that it names. What concerns all tenants is signed
    by the installation's."""
    if tenant in settings.tenants and settings.tenants[tenant].keys.audit_file is not None:
        return f"tenants.{tenant}.keys.audit_file", settings.tenants[tenant].keys.audit_file
    return "audit.key_file", settings.audit.key_file


def _private(settings: Settings, tenant: str) -> Ed25519PrivateKey:
    what, given = _signs(settings, tenant)
    path = given or _made(settings, "audit-key.pem")
    data = _read(path, what, None if given else _new_pem)
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise UserError(f"{what}: {path} holds no Ed25519 key in PEM without a passphrase")
    return key


@contextmanager
def new_keys(folder: Path, tenant: str) -> Iterator[Callable[[], None]]:
    """Make the keys of a new tenant for a block: they stay if it calls what it was given, and are removed otherwise.

    Raises:
        UserError: there are such keys already, or they cannot be made.
    """
    made: list[Path] = []
    is_kept = False

    def keep() -> None:
        nonlocal is_kept
        is_kept = True

    try:
        for name, data in ((f"{tenant}-audit.pem", _new_pem()), (f"{tenant}-persons", secrets.token_bytes(32))):
            path = folder / name
            if path.exists():
                raise UserError(f"{path} is there already, from a tenant of that name; move it away, or use it by hand")
            try:
                _make(path, data)
            except OSError as error:
                raise UserError(f"the key {path} cannot be made: {error.strerror}", exit_code=1) from None
            made.append(path)
        yield keep
    finally:
        for path in made if not is_kept else []:
            path.unlink(missing_ok=True)


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
