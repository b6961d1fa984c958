"""Where values come from: environment over secrets folder over file, as nested plain values.

Variables are checked before they are used: one that names no key is an error (the library would ignore it), and so
is one that would set a rule, a mode, a scope or an approver: those are in the file, where a change is seen and
accepted. A variable sets one value, never a whole section.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from pydantic import BaseModel
from pydantic_settings import EnvSettingsSource, SettingsError

from reconciler.config.model import Settings
from reconciler.errors import UserError

PREFIX = "RECONCILER_"
_CONFIG, _SECRETS = "RECONCILER_CONFIG", "RECONCILER_SECRETS_DIR"
KILL_SWITCH = "RECONCILER_KILL_SWITCH"  # no key: it stops every write, see wiring/stops.py
_OURS = frozenset({_CONFIG, _SECRETS, KILL_SWITCH})
_FILE_ONLY_SECTIONS = frozenset({"rules", "items", "guards", "approvals", "promotion"})
_FILE_ONLY_KEYS = frozenset(
    {"mode", "answers", "enforce_share", "sandbox", "act_on_tickets_since", "act_max_age", "agents", "our_groups"}
)
_FILE_ONLY_KEYS |= {"like", "path", "group", "skus", "sku_names", "replaces", "held"}
KeyPath = tuple[str, ...]


def from_environment(env: Mapping[str, str], known: Mapping[str, Any]) -> tuple[dict[str, Any], dict[KeyPath, str]]:
    """Values that the environment sets, and which variable set which key. `known` is what the file has.

    Raises:
        UserError: a variable that names nothing, or that only the file may set.
    """
    named = {
        name: value for name, value in env.items() if name.upper().startswith(PREFIX) and name.upper() not in _OURS
    }
    return _read(named, known, what="environment variable")


def from_secrets(env: Mapping[str, str], known: Mapping[str, Any]) -> tuple[dict[str, Any], dict[KeyPath, str]]:
    """The same from a folder of files named like the variables, RECONCILER_SECRETS_DIR or systemd's own.

    Raises:
        UserError: the folder or a file in it cannot be read, or a file names nothing.
    """
    chosen = env.get(_SECRETS, "")
    folder = chosen or env.get("CREDENTIALS_DIRECTORY", "")
    if not folder:
        return {}, {}
    try:
        files = sorted(
            file for file in Path(folder).iterdir() if file.name.upper().startswith(PREFIX) and file.is_file()
        )
        named = {file.name: file.read_text(encoding="utf-8").rstrip("\r\n") for file in files}
    except UnicodeDecodeError:
        raise UserError(f"the secrets folder {folder} holds a file that is not text") from None
    except OSError as error:
        where = _SECRETS if chosen else "CREDENTIALS_DIRECTORY"
        raise UserError(f"{where}: {error.filename or folder} cannot be read: {error.strerror}") from None
    return _read(named, known, what="secret file")


def config_path(path: Path | None, env: Mapping[str, str]) -> Path | None:
    """Which file is meant: the argument, else RECONCILER_CONFIG, else ./config.toml, else None for the packaged one."""
    if path is not None:
        return path
    if env.get(_CONFIG):
        return Path(env[_CONFIG])
    here = Path("config.toml")
    return here if here.is_file() else None


def is_secret(path: tuple[str | int, ...]) -> bool:
    """Whether a key holds a secret itself, which is never written into the file nor shown."""
    node: Any = Settings
    for step in path:
        node = _child(node, str(step)) if not isinstance(step, int) else None
        if node is None:
            return False
    return "SecretStr" in str(node)


def _read(
    named: Mapping[str, str], known: Mapping[str, Any], *, what: str
) -> tuple[dict[str, Any], dict[KeyPath, str]]:
    origins: dict[KeyPath, str] = {}
    flat: dict[str, str] = {}
    for name in sorted(named):
        path = _path(name, known, what)
        if path in origins:
            raise UserError(f"{what}s {origins[path]} and {name} set the same key")
        origins[path] = name
        flat["__".join((PREFIX.lower() + path[0], *path[1:]))] = named[name]
    try:
        values = _Source(flat)()
    except SettingsError as error:
        field = str(error).partition('"')[2].partition('"')[0]
        names = [name for path, name in origins.items() if path[0] == field] or list(origins.values())
        raise UserError(f'{what} {names[0]}: a list is written as JSON, for example ["one", "two"]') from None
    return values, origins


class _Source(EnvSettingsSource):
    """The library's reader of variables, over the mapping that it is given instead of the machine's environment."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        super().__init__(Settings, case_sensitive=False, env_prefix=PREFIX, env_nested_delimiter="__")

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return dict(self._variables)


def _path(name: str, known: Mapping[str, Any], what: str) -> KeyPath:
    """The key that a variable names, spelt as in the file.

    Raises:
        UserError: there is no such key, or it is the file's alone.
    """
    parts = name[len(PREFIX) :].lower().split("__")
    node: Any = Settings
    path: list[str] = []
    there: Any = known
    for part in parts:
        choices = _children(node, there)
        key = next((c for c in choices if c.replace("-", "_").lower() == part.replace("-", "_")), None)
        if key is None:
            near = _near([*path, part], choices, parts[len(path) + 1 :])
            raise UserError(f"{what} {name} names no key of the configuration{near}")
        path.append(key)
        node = _child(node, key)
        there = there.get(key) if isinstance(there, Mapping) else None
        if key in _FILE_ONLY_SECTIONS or (key in _FILE_ONLY_KEYS and path[0] in ("tenants", "products")):
            where = ".".join(path)
            raise UserError(
                f"{what} {name} may not set {where}: rules, modes, scopes and approvers are set in the file only"
            )
    if _children(node, there) or _is_section(node):
        raise UserError(f"{what} {name} names a whole section; set one of its keys, as in {name}__KEY")
    return tuple(path)


def _near(path: list[str], choices: list[str], rest: list[str]) -> str:
    close = difflib.get_close_matches(path[-1], choices, n=1, cutoff=0.6)
    return f"; did you mean {PREFIX}{'__'.join([*path[:-1], close[0], *rest]).upper()}?" if close else ""


def _children(node: Any, there: Any) -> list[str]:
    """The keys under a node: fields of a section, or the names that the file has under a table of tables."""
    if _is_section(node):
        return [name for name in node.model_fields if name != "source"]  # which is ours to say
    if typing.get_origin(node) is dict:
        return list(there) if isinstance(there, Mapping) else []
    return []


def _child(node: Any, key: str) -> Any:
    if _is_section(node):
        field = node.model_fields.get(key)
        return None if field is None else field.annotation
    return typing.get_args(node)[1] if typing.get_origin(node) is dict else None


def _is_section(node: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(node, type) and issubclass(node, BaseModel)
