"""Who holds a lease, by name, and whether whoever it was is known to be dead.

A process is known to be dead when it ran where this one runs and does not exist any more. Where that is, is told by the
machine's name, its start and its space of process ids: containers that share a name see none of each other's
processes, and a machine that was started again gives the same numbers out anew. Of anybody else nothing is known, and
their lease has to run out.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path

from sqlmodel import Session

from reconciler.store import leases
from reconciler.store.database import Database


def name_of(pid: int) -> str:
    """A holder: process and thread of this machine, a part that no restart repeats, and where the process id counts."""
    where = f"{threading.get_ident() % 10000}:{secrets.token_hex(3)}:{_place()}"
    return f"{os.uname().nodename}:{pid}:{where}"


def is_dead(holder: str) -> bool:
    """Whether it was a process of this machine and does not exist any more: it was killed."""
    host, pid, _thread, _token, place = holder.split(":") if holder.count(":") == 4 else [""] * 5
    if host != os.uname().nodename or place != _place() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False


def free(session: Session, tenant: str, holder: str) -> bool:
    """Take the tenant from a holder that is known to be dead; False when nothing was taken."""
    return is_dead(holder) and leases.abandon(session, tenant, holder)


def free_all(database: Database) -> frozenset[str]:
    """Take their tenants from all holders that are known to be dead: which ones. Raises StoreUnusable."""
    with database.read() as session:
        held = {tenant: holder for tenant, holder in leases.holders(session).items() if is_dead(holder)}
    if not held:
        return frozenset()
    with database.write() as session:
        return frozenset(tenant for tenant, holder in held.items() if leases.abandon(session, tenant, holder))


@cache
def _place() -> str:
    """Where process ids count as ours do: since the machine's last start, in this space of process ids."""
    parts = []
    with suppress(OSError):  # no such files but on Linux
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip())
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").stat().st_ino))
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:8]
