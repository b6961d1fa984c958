"""The service as a process: started, measured from outside, killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Sample:
    """What the operating system says of it. `rss_mb` in MiB."""

    hours: float  # of virtual time since the soak began
    cycles: int
    rss_mb: float
    files: int
    threads: int


@dataclass
class Life:
    """One process from its start to its end."""

    number: int
    samples: list[Sample] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @property
    def cycles(self) -> int:
        return sum(1 for line in self.said if "Z cycle ended " in line)

    @property
    def troubles(self) -> list[str]:
        return [line for line in self.said if "Z cycle ended " not in line]


class Process:
    """`reconciler run`, with a thread that reads its log so that it never waits for us."""

    def __init__(self, life: Life, folder: Path, env: Mapping[str, str]) -> None:
        self.life = life
        self._process = subprocess.Popen(
            [sys.executable, "-m", "reconciler", "run"],
            cwd=folder,
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.url = ""
        self._readers = [
            threading.Thread(target=self._read_log, daemon=True),
            threading.Thread(target=self._read_pages, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.life.said.append(line.rstrip("\n"))

    def _read_pages(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            found = re.match(r"Pages: +(\S+)", line)
            if found:
                self.url = found[1]

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def measure(self, hours: float) -> None:
        """Keep a sample, when it runs."""
        place = Path(f"/proc/{self._process.pid}")
        try:
            status = (place / "status").read_text("ascii")
            files = len(list((place / "fd").iterdir()))
        except OSError:
            return
        found = {name: re.search(rf"{name}:\s+(\d+)", status) for name in ("VmRSS", "Threads")}
        rss, threads = found["VmRSS"], found["Threads"]
        if rss is not None and threads is not None:
            self.life.samples.append(Sample(hours, self.life.cycles, int(rss[1]) / 1024, files, int(threads[1])))

    def kill(self) -> None:
        """As the out-of-memory killer does it."""
        self._process.kill()
        self._end()

    def stop(self) -> int:
        """As systemd does it; its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._end()

    def _end(self) -> int:
        code = self._process.wait(60)
        for reader in self._readers:
            reader.join(10)
        return code
