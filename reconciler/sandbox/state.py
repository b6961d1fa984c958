"""The state directory of a sandbox: its world between commands, owned by one process at a time.

`world.json` holds the world (`world_file`). A lock on `world.lock` says which process owns it; the lock goes with the
process, however that ends. While the owner serves, `control.json` (0600) tells others where, and they work on the
owner's world through its ports (`held`).
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from reconciler.clock import Clock, SystemClock
from reconciler.sandbox.held import Addresses, Owned, Remote
from reconciler.sandbox.stories import build
from reconciler.sandbox.world_file import DamagedWorld, read_world

__all__ = ["Addresses", "DamagedWorld", "Owned", "Remote", "SandboxState", "WorldBusy"]

PATIENCE_S = 15.0


class WorldBusy(RuntimeError):
    """Another process owns the world and does not serve it."""


class SandboxState:
    """The state directory of one sandbox."""

    def __init__(self, directory: Path, *, wall: Clock | None = None) -> None:
        """`wall` is the machine's clock, for waiting on another process only."""
        self._directory = directory
        self._wall = wall or SystemClock()

    @contextmanager
    def open(self, *, story: str | None = None, fresh: bool = False, patience_s: float = PATIENCE_S) -> Iterator[Owned]:
        """Own the world for this block; it is kept when the block ends, also by an exception or SIGTERM.

        A world that was kept goes on, unless `story` names another one than it tells: then that one starts.
        `fresh` starts over in any case, also where the file is damaged.
        Raises WorldBusy when another process owns it for longer than `patience_s`, DamagedWorld when the file is no
        world, ValueError when `story` is unknown.
        """
        with self._lock(patience_s), _terminating_as_exit():
            (self._directory / "control.json").unlink(missing_ok=True)  # its process is gone, or we had no lock
            owned = self._load(story, fresh=fresh)
            try:
                yield owned
            finally:
                owned.save()

    @contextmanager
    def connect(self, *, patience_s: float = PATIENCE_S) -> Iterator[Owned | Remote]:
        """The world, wherever it is: owned by this process for the block, or remote while another one serves it.

        Raises WorldBusy, DamagedWorld as `open`.
        """
        deadline = self._wall.monotonic() + patience_s
        with ExitStack() as held:
            found: Owned | Remote | None = self._remote()
            while found is None:
                try:
                    found = held.enter_context(self.open(patience_s=0))
                except WorldBusy:
                    if self._wall.monotonic() >= deadline:
                        raise
                    self._wall.sleep(0.1)
                    found = self._remote()
            if isinstance(found, Remote):
                held.callback(found.close)
            yield found

    def served(self) -> Remote | None:
        """The world of another process that serves it now, None when nobody does. Close it when done."""
        return self._remote()

    def _remote(self) -> Remote | None:
        try:
            known = json.loads((self._directory / "control.json").read_text("utf-8"))
            return Remote(known)
        except (FileNotFoundError, httpx.HTTPError):
            return None  # nobody serves, or the one who did was killed
        except (ValueError, KeyError):
            return None

    def _load(self, story: str | None, *, fresh: bool) -> Owned:
        path = self._directory / "world.json"
        kept_story = None
        if path.exists():
            try:
                world, kept_story = read_world(path)
            except DamagedWorld:
                if not fresh:
                    raise
            else:
                if not fresh and story in {None, kept_story}:
                    return Owned(self._directory, world, kept_story, wall=self._wall)
        wanted = story or kept_story or "contoso"
        owned = Owned(self._directory, build(wanted), wanted, wall=self._wall)
        owned.save()
        return owned

    @contextmanager
    def _lock(self, patience_s: float) -> Iterator[None]:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        deadline = self._wall.monotonic() + patience_s
        with (self._directory / "world.lock").open("a+", encoding="ascii") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if self._wall.monotonic() >= deadline:
                        file.seek(0)
                        raise WorldBusy(
                            f"the sandbox in {self._directory} is in use by process {file.read()}"
                        ) from None
                    self._wall.sleep(0.1)
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield


@contextmanager
def _terminating_as_exit() -> Iterator[None]:
    """SIGTERM ends the block as an exception, so that the world is kept; only where nobody else handles it."""
    unhandled = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if not unhandled or threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(_number: int, _frame: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
