"""What a database error means to the person at the keyboard: one sentence, and what to do about it.

Only what the place or another process did is translated. A broken constraint or a wrong statement is a defect of
ours and stays what it is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoneLeft

from reconciler.errors import StoreUnusable, UserError

# The driver's own words (sqlite.org/rescode.html gives them for each result code), and ours.
_SENTENCES = (
    ("database is locked", "{name} is locked by another process; wait until it ends, or stop it, and try again"),
    ("database table is locked", "{name} is locked by another process; wait until it ends, or stop it, and try again"),
    ("database or disk is full", "there is no room left to write {name}; free some, and try again"),
    (
        "readonly database",
        "{name} cannot be written; give this account write permission to the file and its directory",
    ),
    (
        "read-only transaction",
        "{name} cannot be written: its server takes no writes, or it was opened for reading; name the primary server",
    ),
    (
        "unable to open database",
        "{name} cannot be opened; check that its directory exists and that this account may read and write there",
    ),
    (
        "file is not a database",
        "{name} is not a store of ours, or is damaged; restore it from a backup, or move it away",
    ),
    ("malformed", "{name} is damaged; restore it from a backup, or move it away"),
    ("disk i/o error", "the disk failed while {name} was used; check the disk, then run `reconciler db check`"),
)


@contextmanager
def sentences(name: str) -> Iterator[None]:
    """Turn what the database at `name` refused into a UserError with exit code 1; let everything else pass."""
    try:
        yield
    except DBAPIError as error:
        sentence = _sentence(str(error.orig), error.connection_invalidated)
        if sentence is None:
            raise
        raise StoreUnusable(sentence.format(name=name), exit_code=1) from error
    except NoneLeft as error:
        raise StoreUnusable(
            f"all connections of this process to {name} are in use; do less at a time (--concurrency), or see what "
            "holds them up",
            exit_code=1,
        ) from error
    except sqlite3.DatabaseError as error:
        sentence = _sentence(str(error), False)
        if sentence is None:
            raise
        raise StoreUnusable(sentence.format(name=name), exit_code=1) from error


@contextmanager
def placing(name: str) -> Iterator[None]:
    """Turn what the file system refused while a store is created into a UserError with exit code 1."""
    try:
        yield
    except OSError as error:
        why = error.strerror or "it was refused"
        raise UserError(
            f"{name} cannot be created ({why}); choose a place where this account may write", exit_code=1
        ) from error


def _sentence(words: str, is_connection_lost: bool) -> str | None:
    if is_connection_lost or "connection failed" in words or "connection refused" in words.lower():
        return "{name} cannot be reached; check that the database runs and that its address is right"
    lowered = words.lower()
    return next((sentence for needle, sentence in _SENTENCES if needle in lowered), None)
