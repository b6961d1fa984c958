"""A log in a list, for tests that read what was said."""

from __future__ import annotations

from reconciler.logs import Log


def into(said: list[str]) -> Log:
    """One text an event: the message and its fields."""

    def log(message: str, /, **fields: object) -> None:
        said.append(" ".join([message, *(f"{name}={value}" for name, value in fields.items())]))

    return log
