"""Meters: CPU of this process, memory of this process, and what machine it was."""

from __future__ import annotations

import gc
import os
import platform
import resource
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median

PACKAGES = ("httpx", "httpcore", "h11", "msgspec")


@dataclass
class Spread:
    """CPU seconds of several runs of one thing."""

    name: str
    seconds: list[float] = field(default_factory=list)

    def run(self, work: Callable[[], object]) -> None:
        """Once more. Garbage of others is collected before, its own is part of the figure."""
        gc.collect()
        before = cpu_s()
        work()
        self.seconds.append(cpu_s() - before)

    @property
    def least(self) -> float:
        return min(self.seconds)

    @property
    def middle(self) -> float:
        return median(self.seconds)

    def line(self) -> str:
        return f"{self.name:<58}{self.least:>9.3f}{self.middle:>9.3f}{max(self.seconds):>9.3f}"


HEADER = f"{'CPU seconds of the client process':<58}{'min':>9}{'median':>9}{'max':>9}"


def cpu_s() -> float:
    """User and system time of this process, all threads, in seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def waited_s() -> float:
    """How long this thread was ready to run and others had the core, in seconds; 0 where the kernel does not say.

    Source: the kernel's documentation, sched-stats, "/proc/<pid>/schedstat", second field (read 2026-11).
    """
    found = Path("/proc/thread-self/schedstat")
    return int(found.read_text().split()[1]) / 1e9 if found.exists() else 0.0


def rss_bytes() -> int:
    """Resident memory now. Linux only."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def rss_peak_bytes() -> int:
    """The most that was ever resident in this program. Linux only.

    Not ru_maxrss: a child process starts with its parent's.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def machine() -> str:
    """One line: processor, cores, system, Python and what decodes and transports."""
    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":", 1)[1].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    cpu = names[0] if names else platform.machine()
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{cpu}, {os.cpu_count()} cores, {system}, {packages}"
