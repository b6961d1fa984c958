"""config.toml and the environment -> one frozen Settings, or one sentence that says what to mend."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from reconciler.config.checks import faults
from reconciler.config.lines import line_of
from reconciler.config.model import Settings
from reconciler.config.sentences import place, sentence
from reconciler.config.sources import config_path, from_environment, from_secrets, is_secret
from reconciler.errors import UserError

PACKAGED = "the packaged default"
_AT = re.compile(r"\s*\(at line (\d+), column (\d+)\)$")
_FILE_KEYS = re.compile(r"(_file|^checkpoint_copy)$")


def load(path: Path | None, env: Mapping[str, str]) -> Settings:
    """Read the effective configuration. Environment wins over the secrets folder, which wins over the file.

    The file is `path`, else RECONCILER_CONFIG, else ./config.toml, else the packaged sandbox default. Relative names
    of files in it count from its own folder.

    Raises:
        UserError: one sentence with file, line where it can be found, key, what was expected and the closest word.
    """
    chosen = config_path(path, env)
    file, text = (PACKAGED, _packaged()) if chosen is None else (str(chosen), _read(chosen))
    data = _parsed(file, text)
    _no_secrets_in(data, (), file, text)
    for key in ("source", "state_dir"):
        if key in data:
            hint = "; it comes from RECONCILER_STATE_DIR" if key == "state_dir" else ""
            raise UserError(f"{place(file, line_of(text, (key,)))}: there is no key '{key}'{hint}")
    _anchored(data, chosen.parent if chosen is not None else Path())
    secrets, from_files = from_secrets(env, data)
    variables, from_env = from_environment(env, data)
    merged = _over(_over(data, secrets), variables)
    try:
        settings = Settings(**merged, source=file)
    except ValidationError as error:
        origins = {p: f"secret file {name}" for p, name in from_files.items()}
        origins |= {p: f"environment variable {name}" for p, name in from_env.items()}
        raise UserError(sentence(error, file=file, text=text, data=merged, origins=origins)) from None
    for where, fault in faults(settings):
        raise UserError(f"{place(file, line_of(text, where))}: {fault}")
    return settings


def _over(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """`low` with the values of `high` put over it, table by table."""
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        merged[key] = _over(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def _packaged() -> str:
    return resources.files("reconciler.config").joinpath("default.toml").read_text(encoding="utf-8")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"there is no configuration file {path}") from None
    except OSError as error:
        raise UserError(f"the configuration file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"the configuration file {path} is not UTF-8 text") from None


def _parsed(file: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = _AT.search(str(error))
        where = f"{file}, line {at[1]}, column {at[2]}" if at else file
        raise UserError(f"{where}: this is not TOML: {_AT.sub('', str(error))}") from None


def _no_secrets_in(node: Any, path: tuple[str, ...], file: str, text: str) -> None:
    if not isinstance(node, Mapping):
        return
    for key, value in node.items():
        here = (*path, key)
        if is_secret(here):
            raise UserError(
                f"{place(file, line_of(text, here))}: {'.'.join(here)} is a secret and is not written into the file; "
                f"put it into a file of its own and name that with {key}_file"
            )
        _no_secrets_in(value, here, file, text)


def _anchored(node: Any, folder: Path) -> None:
    """Make relative names of files count from the folder of the configuration file."""
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if isinstance(value, str) and _FILE_KEYS.search(key):
            node[key] = str(folder / value)
        else:
            _anchored(value, folder)
