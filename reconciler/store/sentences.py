"""What a database error means to the person at the keyboard: one sentence, and what to do about it.

Only what the place or another process did is translated. A broken constraint or a wrong statement is a defect of
ours and stays what it is.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoneLeft

from reconciler.errors import StoreUnusable, UserError

# What PostgreSQL says when it is asked for a connection, or by an account that may not do what it tries.
_SERVER = (
    (
        r"password authentication failed|no password supplied",
        "{name} refuses the password; put a URL with the right one into the file that `store.url_file` names",
    ),
    (
        r"no pg_hba\.conf entry",
        "{name} lets nobody in from here by this name; have its administrator allow it in pg_hba.conf",
    ),
    (r'role ".*" does not exist', "{name} does not know the account; create it, or name another one in the URL"),
    (
        r'database ".*" does not exist',
        "{name} is not on its server; create that database, then run `reconciler db upgrade`",
    ),
    (r"too many clients|remaining connection slots", "{name} has no connection left; end some, or let it have more"),
    (
        r"permission denied|must be owner of",
        "this account may not do that in {name}; the owner gives what it needs by `reconciler db grants`, "
        "and what changes tables or removes what was kept is for their owner",
    ),
    (
        r"connection failed|connection is bad|connection refused|failed to resolve host|connection timeout"
        r"|terminating connection|server closed the connection|the connection is (closed|lost)|consuming input failed",
        "{name} cannot be reached; check that the database runs and that its address is right",
    ),
)

# The driver's own words (sqlite.org/rescode.html gives them for each result code), and ours.
_SENTENCES = (
    ("database is locked", "{name} is locked by another process; wait until it ends, or stop it, and try again"),
    ("lock timeout", "{name} is locked by another process; wait until it ends, or stop it, and try again"),
    ("database table is locked", "{name} is locked by another process; wait until it ends, or stop it, and try again"),
    ("database or disk is full", "there is no room left to write {name}; free some, and try again"),
    ("no space left on device", "there is no room left to write {name}; free some, and try again"),
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
    lowered = words.lower()
    found = next((sentence for pattern, sentence in _SERVER if re.search(pattern, lowered)), None)
    if found is not None:
        return found
    if is_connection_lost:
        return _SERVER[-1][1]
    return next((sentence for needle, sentence in _SENTENCES if needle in lowered), None)
